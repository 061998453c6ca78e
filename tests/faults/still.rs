//! A server that stands still until others have its work, and then goes on as if nothing had happened.

use std::{
    thread,
    time::{Duration, Instant},
};

use inngest_tests::{process::free_port, wait::wait_until};
use serde_json::json;

use crate::{
    check::Kill,
    field::{DRAIN, Field, figure},
    load::Accepted,
    number,
};

/// Calls that are in flight when it is stopped.
const CALLS: u64 = 20;
/// How long calls may take to be made.
const PATIENCE: Duration = Duration::from_secs(30);
/// The figure that counts what came too late.
const REFUSED: &str = "inngest_stale_writers_refused_total";

#[test]
fn server_that_stood_still_is_refused_what_others_have_done_meanwhile() {
    let listen = format!("127.0.0.1:{}", free_port());
    let Some(mut field) = Field::start("still", 2, &[]) else {
        return;
    };
    // Its figures are asked for.
    field.servers[1].kill();
    field.restart_with(1, &["--metrics-listen", &listen]);
    field.app.journal().is_held_up = true;
    // All are called by the one that is going to stand still, because the other does so first.
    field.servers[0].signal("STOP");
    let accepted: Vec<Accepted> = (0..CALLS)
        .map(|number| {
            let event = json!({"name": "fault/held", "data": {"n": number}});
            Accepted {
                event: field.servers[1].send(&event).remove(0),
                kind: "held",
                number,
            }
        })
        .collect();
    wait_until("all calls to be in flight", PATIENCE, || {
        (field.app.journal().held == CALLS).then_some(())
    });
    field.servers[0].signal("CONT");
    let at = Instant::now();
    field.servers[1].signal("STOP");
    // The answers are there, and nobody takes them.
    field.app.journal().is_held_up = false;
    let load = field.load(Duration::from_millis(30));
    let ended = "SELECT count(ended_at) FROM runs WHERE event_name = 'fault/held'";
    wait_until("the other to have done its work", DRAIN, || {
        let count = field.postgres.sql(ended);
        (count == Ok(CALLS.to_string())).then_some(())
    });
    // Twice the time for which a server is waited for that says nothing.
    let still = Duration::from_secs(number("FAULT_STILL_SECONDS", 30));
    thread::sleep(still.saturating_sub(at.elapsed()));
    // It must not hear from the schedule first that it has lost its leases: then it would not even try.
    field.to_redis[1].set_silent(true);
    field.servers[1].signal("CONT");
    let refused = wait_until("what it says to be refused", PATIENCE, || {
        let refused = figure(&listen, REFUSED);
        (refused > 0.0).then_some(refused)
    });
    field.to_redis[1].set_silent(false);
    let until = Instant::now() + Duration::from_secs(5);
    eprintln!("{refused} outcomes of {CALLS} calls were refused at first");
    wait_until("it to be ready again", PATIENCE, || {
        (field.servers[1].get("/ready").status == 200).then_some(())
    });
    let mut accepted = accepted;
    accepted.extend(load.stop());
    field.check_sent(&accepted, &[Kill { at, until }]);
}
