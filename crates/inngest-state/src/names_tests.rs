//! Events by name over time: as many as there are, of as many names as there is room for.

use std::time::Duration;

use inngest_core::{
    ids::{DEFAULT_ENV, EnvId},
    limits,
    rollup::{Counter, Span, Width},
    time::Timestamp,
};

use crate::{
    NewEvent, Store,
    plans_tests::{complaints, noted},
    rollup_tests::{query, roll, sum},
    samples::*,
    testing::{TestDatabase, on_each},
};

fn named(number: u64, name: &str, env: EnvId) -> NewEvent {
    NewEvent {
        env,
        ..new_event(number, name, "{}")
    }
}

/// The day of the tests and the one after it.
fn span(width: Width) -> Span {
    let span = query(DEFAULT_ENV, width).span;
    Span {
        until: span.until.plus(Duration::from_secs(86_400)),
        ..span
    }
}

/// How many events of these names were counted in all, over buckets of this width.
async fn counted<const N: usize>(
    store: &Store,
    env: EnvId,
    width: Width,
    names: [&str; N],
) -> [u64; N] {
    let asked: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let points = store.rolled_names(env, span(width), &asked).await.unwrap();
    names.map(|name| {
        let own = points.iter().filter(|point| point.name == name);
        own.map(|point| point.events).sum()
    })
}

/// Compares the buckets of every width with the events of a name.
pub(crate) async fn assert_exact_name(store: &Store, name: &str) {
    let sql = format!("SELECT count(*) AS n FROM events WHERE name = '{name}'");
    let events = store.number(&sql).await.unsigned_abs();
    for width in Width::ALL {
        let found = counted(store, DEFAULT_ENV, width, [name]).await;
        assert_eq!(found, [events], "{name} by {width:?}");
    }
}

#[tokio::test]
async fn names_are_counted_by_tenant_and_every_width_without_those_of_the_server() {
    on_each(async |store| {
        store
            .ensure_environment(OTHER_ORG, OTHER_ENV, "other", NOW)
            .await
            .unwrap();
        let own = |number, name| named(number, name, DEFAULT_ENV);
        store
            .must(send(vec![
                own(1, "b"),
                own(2, "a"),
                own(3, "b"),
                own(4, "inngest/function.finished"),
                named(5, "b", OTHER_ENV),
                // Two buckets later, of the smallest.
                own(20_001, "b"),
                own(20_002, "c"),
            ]))
            .await;
        store.must(send(vec![own(6, "a"), own(7, "b")])).await;
        roll(&store).await;
        assert_eq!(roll(&store).await, 0);
        let names = ["a", "b", "c", "inngest/function.finished", "none", "x\0"];
        for width in Width::ALL {
            let found = counted(&store, DEFAULT_ENV, width, names).await;
            assert_eq!(found, [2, 4, 1, 0, 0, 0], "{width:?}");
            let found = counted(&store, OTHER_ENV, width, names).await;
            assert_eq!(found, [0, 1, 0, 0, 0, 0], "{width:?}");
            let top = async |env, most| {
                let top = store.rolled_top_names(env, span(width), most).await;
                top.unwrap().join(" ")
            };
            assert_eq!(top(DEFAULT_ENV, 9).await, "b a c", "{width:?}");
            assert_eq!(top(DEFAULT_ENV, 1).await, "b", "{width:?}");
            assert_eq!(top(OTHER_ENV, 9).await, "b", "{width:?}");
        }
        let ten = span(Width::TenSeconds);
        let asked = ["b".to_owned()];
        let points = store.rolled_names(DEFAULT_ENV, ten, &asked).await;
        let mut points = points.unwrap();
        points.sort_by_key(|point| point.start);
        let points: Vec<(Timestamp, u64)> = points
            .into_iter()
            .map(|point| (point.start, point.events))
            .collect();
        assert_eq!(points, [(at(0), 3), (at(20_000), 1)]);
        // A bucket that begins at the end is not part of a span.
        let short = Span {
            until: at(20_000),
            ..ten
        };
        let top = store.rolled_top_names(DEFAULT_ENV, short, 9).await;
        assert_eq!(top.unwrap(), ["b", "a"]);
    })
    .await;
}

#[tokio::test]
async fn no_more_names_are_counted_on_a_day_than_there_is_room_for() {
    on_each(async |store| {
        let per_commit = limits::EVENT_NAMES_PER_COMMIT as u64;
        let most = limits::EVENT_NAMES_PER_DAY as u64;
        // Each transaction makes up ten more names than it may tell of.
        for number in 0..most / per_commit {
            let first = number * 1_000;
            let event = |it| named(first + it, &format!("made/{number}-{it:03}"), DEFAULT_ENV);
            let events = (0..per_commit + 10).map(event).collect();
            store.must(send(events)).await;
        }
        roll(&store).await;
        store.must(send(vec![named(900_000, "late", DEFAULT_ENV)])).await;
        store.must(send(vec![named(900_001, "made/3-099", DEFAULT_ENV)])).await;
        roll(&store).await;
        // More of those that have room, and more of one that has none.
        let events = [(900_002, "made/3-099"), (900_003, "late")];
        let events = events.map(|(number, name)| named(number, name, DEFAULT_ENV));
        store.must(send(events.into())).await;
        let tomorrow = 86_400_000;
        store.must(send(vec![named(tomorrow, "late", DEFAULT_ENV)])).await;
        roll(&store).await;

        let end = query(DEFAULT_ENV, Width::Day).span.until.as_millis();
        for width in Width::ALL {
            let sql = format!(
                "SELECT count(DISTINCT name) AS n FROM event_rollups WHERE width = {} AND start < {end}",
                width.seconds(),
            );
            assert_eq!(store.number(&sql).await.unsigned_abs(), most, "{width:?}");
            let names = ["made/3-099", "made/3-100", "late"];
            let found = counted(&store, DEFAULT_ENV, width, names).await;
            assert_eq!(found, [3, 0, 1], "{width:?}");
        }
        let all = sum(&store, &query(DEFAULT_ENV, Width::Day), Counter::Events).await;
        assert_eq!(all, most / per_commit * (per_commit + 10) + 4);
    })
    .await;
}

#[tokio::test]
async fn names_with_most_events_come_first_where_room_is_short() {
    on_each(async |store| {
        let room = limits::EVENT_NAMES_PER_DAY - 1;
        let day = Width::Day.floor(NOW).as_millis();
        let env = match store.kind() {
            "postgres" => format!("'{DEFAULT_ENV}'::uuid"),
            _ => format!("X'{}'", DEFAULT_ENV.raw().simple()),
        };
        store
            .behind(&format!(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {room}) \
                 INSERT INTO event_rollups (env_id, name, width, start, events) SELECT {env}, 'old' || i, 86400, {day}, 1 FROM n"
            ))
            .await;
        let names = ["a", "b", "c", "b"];
        for (number, name) in (1..).zip(names) {
            store.must(send(vec![named(number, name, DEFAULT_ENV)])).await;
        }
        roll(&store).await;
        let found = counted(&store, DEFAULT_ENV, Width::Minute, ["a", "b", "c"]).await;
        assert_eq!(found, [0, 2, 0]);
    })
    .await;
}

#[tokio::test]
async fn what_an_older_version_writes_or_none_can_read_is_counted_without_a_name() {
    on_each(async |store| {
        let bad = match store.kind() {
            "postgres" => "'\\xff'::bytea",
            _ => "X'FF'",
        };
        for (number, names) in [(1, "NULL"), (2, bad)] {
            store.must(send(vec![named(number, "a", DEFAULT_ENV)])).await;
            store
                .behind(&format!(
                    "UPDATE change_log SET event_names = {names} WHERE seq = (SELECT max(seq) FROM change_log)"
                ))
                .await;
        }
        store.must(send(vec![named(3, "a", DEFAULT_ENV)])).await;
        assert_eq!(roll(&store).await, 3);
        let query = query(DEFAULT_ENV, Width::Day);
        assert_eq!(sum(&store, &query, Counter::Events).await, 3);
        assert_eq!(counted(&store, DEFAULT_ENV, Width::Day, ["a"]).await, [1]);
    })
    .await;
}

#[tokio::test]
async fn figures_of_names_and_what_is_to_be_added_are_read_by_their_indexes() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let (store, log) = noted(&database, database.open().await).await;
    let from = query(DEFAULT_ENV, Width::Minute).span.from.as_millis();
    for sql in [
        format!(
            "INSERT INTO change_log (txid, seq, env_id, changes) SELECT 1, n, '{DEFAULT_ENV}', '' FROM generate_series(1, 5000) AS n"
        ),
        // 200 names, each in every minute of three hours.
        format!(
            "INSERT INTO event_rollups (env_id, name, width, start, events) SELECT '{DEFAULT_ENV}', 'n' || n, 60, {from} + 60000 * t, 1 \
             FROM generate_series(0, 199) AS n, generate_series(0, 179) AS t"
        ),
        "ANALYZE change_log".to_owned(),
        "ANALYZE event_rollups".to_owned(),
    ] {
        store.behind(&sql).await;
    }
    let back = "UPDATE rollup_position SET txid = 1, seq = 4990";
    store.behind(back).await;
    assert_eq!(store.roll_up().await.unwrap().rows, 10);
    store.behind(back).await;
    // Ten rows, and what is known of the log.
    let mut wrong = complaints(&store, &log, "what is to be added", 20).await;

    let whole = span(Width::Minute);
    let hour = Span {
        until: whole.from.plus(Duration::from_secs(3_600)),
        ..whole
    };
    let names = ["n1", "n77", "none"].map(str::to_owned);
    let found = store.rolled_names(DEFAULT_ENV, hour, &names).await.unwrap();
    assert_eq!(found.len(), 120);
    wrong.extend(complaints(&store, &log, "names", 120).await);
    let top = store.rolled_top_names(DEFAULT_ENV, hour, 9).await;
    assert_eq!(top.unwrap().len(), 9);
    // Each may be counted twice, in the index and in the table.
    wrong.extend(complaints(&store, &log, "most frequent names", 2 * 200 * 60).await);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
