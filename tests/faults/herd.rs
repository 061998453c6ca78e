//! Very many runs that sleep until the same second.

use std::time::{Duration, Instant};

use inngest_tests::wait::wait_until;
use serde_json::json;

use crate::{chaos::resident_kb, check, field::Field, number};

/// How long the first run may take to fall asleep.
const PATIENCE: Duration = Duration::from_secs(20);

/// Copies of the one sleeping run, its step and its wake-up, which is due in so many seconds. Ids end in the number of the copy.
const COPY: &str = "
CREATE FUNCTION pg_temp.id(n bigint, kind text) RETURNS uuid LANGUAGE sql AS
    $$ SELECT (substr(r.id::text, 1, 18) || kind || lpad(to_hex(n), 12, '0'))::uuid FROM runs r ORDER BY id LIMIT 1 $$;
BEGIN;
CREATE TEMP TABLE seed_runs AS SELECT * FROM runs;
CREATE TEMP TABLE seed_steps AS SELECT * FROM steps;
CREATE TEMP TABLE seed_work AS SELECT * FROM work WHERE kind = 3;
DO $$ BEGIN
    IF (SELECT count(*) FROM seed_runs) <> 1 OR (SELECT count(*) FROM seed_steps) <> 1 OR (SELECT count(*) FROM seed_work) <> 1 THEN
        RAISE 'expected one sleeping run';
    END IF;
END $$;
CREATE TEMP TABLE copies AS SELECT n, pg_temp.id(n, '-a000-') AS run, pg_temp.id(n, '-b000-') AS work FROM generate_series(1, COUNT) n;
";

#[test]
fn herd_of_sleepers_wakes_without_a_crowd_in_memory() {
    let herd = number("FAULT_HERD", 10_000);
    let Some(mut field) = Field::start("herd", 1, &[]) else {
        return;
    };
    let event = json!({"name": "fault/napper", "id": "first", "data": {"n": 0}});
    field.servers[0].send(&event);
    wait_until("the first run to sleep", PATIENCE, || {
        let asleep = field
            .postgres
            .sql("SELECT count(*) FROM work WHERE kind = 3");
        (asleep.as_deref() == Ok("1")).then_some(())
    });
    let counted =
        "SELECT count(*) FROM rollups WHERE width = 86400 AND runs_queued > 0 AND runs_started > 0";
    wait_until("the first run to be counted", PATIENCE, || {
        let counted = field.postgres.sql(counted);
        counted.is_ok_and(|rows| rows != "0").then_some(())
    });
    let columns = |table: &str, replaced: &[(&str, &str)]| {
        let listed = field
            .postgres
            .sql(&format!(
                "SELECT string_agg(column_name, ',' ORDER BY ordinal_position) FROM information_schema.columns \
                 WHERE table_schema = 'public' AND table_name = '{table}'"
            ))
            .expect("the table has columns");
        let values: Vec<_> = listed
            .split(',')
            .map(|column| {
                let other = replaced.iter().find(|(name, _)| *name == column);
                other.map_or(format!("s.{column}"), |(_, value)| (*value).to_owned())
            })
            .collect();
        format!(
            "INSERT INTO {table} ({listed}) SELECT {} FROM seed_{table} s CROSS JOIN copies c;\n",
            values.join(",")
        )
    };
    // All of them in one second, once they are there and the server is back.
    let after = 10_000 + herd / 2;
    let begin = format!(
        "CREATE TABLE herd AS SELECT (extract(epoch FROM now()) * 1000)::bigint + {after} AS due;\n"
    );
    let due = "(SELECT due FROM herd) + c.n % 1000";
    let copy = begin
        + &COPY.replace("COUNT", &herd.to_string())
        + &columns("runs", &[("id", "c.run")])
        + &columns("steps", &[("run_id", "c.run")])
        + &columns(
            "work",
            &[("id", "c.work"), ("run_id", "c.run"), ("due_at", due)],
        )
        + &format!(
            "UPDATE rollups SET runs_queued = runs_queued + {herd}, runs_started = runs_started + {herd} WHERE runs_queued > 0;\n"
        )
        + "COMMIT;";
    // As after a restart on a database that holds them: it reads what it must do from there.
    let process = field.servers[0].id().expect("it is ours");
    let before = resident_kb(process);
    field.postgres.sql(&copy).expect("the herd is copied");
    field.servers[0].kill();
    field.redis.command(&["FLUSHALL"]);
    field.restart(0);
    let process = field.servers[0].id().expect("it is ours");
    let (begun, mut most) = (Instant::now(), 0);
    let patience = Duration::from_secs(60 + herd / 50);
    let left = "SELECT count(*) FROM runs WHERE ended_at IS NULL AND event_name = 'fault/napper'";
    wait_until("the herd to end", patience, || {
        most = most.max(resident_kb(process));
        let left = field.postgres.sql(left).expect("the database answers");
        // The first one still sleeps.
        (left == "1").then_some(())
    });
    eprintln!(
        "{herd} sleepers ended {:?} after the start; resident {before} KiB before, {most} KiB at most",
        begun.elapsed()
    );
    assert!(
        most < before + 64 * 1024 + herd / 4,
        "resident memory grew from {before} to {most} KiB"
    );
    // Nobody early.
    let early =
        "SELECT count(*) FROM runs, herd WHERE event_name = 'fault/napper' AND ended_at < due";
    assert_eq!(field.postgres.sql(early).as_deref(), Ok("0"));
    let late = "SELECT max(ended_at) - min(due) FROM runs, herd WHERE event_name = 'fault/napper'";
    eprintln!(
        "the last one ended {:?} ms after the first was due",
        field.postgres.sql(late)
    );
    // Each once, and no other.
    let ended = field
        .postgres
        .sql("SELECT status, count(*) FROM runs WHERE event_name = 'fault/napper' GROUP BY status ORDER BY count(*) DESC LIMIT 1");
    assert_eq!(ended.as_deref(), Ok(format!("3|{herd}").as_str()));
    assert_eq!(field.app.journal().naps, herd, "calls after the sleep");
    // The ends of copies are told like all others.
    let told = || {
        let told = field
            .postgres
            .sql("SELECT count(*) FROM events WHERE name = 'inngest/function.finished'");
        told.ok()?.parse::<u64>().ok()
    };
    assert!(told() >= Some(herd), "{:?} ends were told", told());
    let wrong = check::rows(&field.postgres.uri(), patience);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
