//! A number that a chain of steps counts up, and that must be exact at every moment while one server is killed again and again.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use inngest_tests::{http, wait::wait_until};

use crate::{
    Dice,
    app::{APART, COUNTED},
    check,
    field::{DRAIN, Field},
    load, number, seed,
};

/// Senders, each with a number of its own.
const KEYS: u64 = 16;
/// Servers, of which one is killed at a time.
const SERVERS: usize = 3;

#[test]
fn number_that_steps_count_up_is_exact_while_servers_are_killed() {
    let Some(mut field) = Field::start("counter", SERVERS, &[]) else {
        return;
    };
    let length = Duration::from_secs(number("FAULT_COUNTER_SECONDS", 25));
    let mut dice = Dice::new(seed());
    let (is_over, runs, mut kills) = (AtomicBool::new(false), AtomicU64::new(0), 0);
    let base = field.base().to_owned();
    thread::scope(|scope| {
        for key in 0..KEYS {
            let (base, is_over, runs) = (&base, &is_over, &runs);
            scope.spawn(move || {
                let mut successes = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let count = count(base, key, successes);
                    successes += 1;
                    assert_eq!(
                        count,
                        successes * COUNTED,
                        "number {key} after {successes} runs"
                    );
                    runs.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < length {
            thread::sleep(Duration::from_millis(1_000 + dice.roll(3_000)));
            let victim = usize::try_from(dice.roll(SERVERS as u64)).expect("small");
            field.servers[victim].kill();
            field.restart(victim);
            kills += 1;
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let runs = runs.into_inner();
    eprintln!("{runs} runs of {COUNTED} steps counted exactly, {kills} kills");
    assert!(runs >= KEYS, "only {runs} runs ended");
    let wrong = check::rows(&field.postgres.uri(), DRAIN);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Starts one run and waits for its end; returns what it has counted to. Requests are repeated until they are answered.
fn count(base: &str, key: u64, successes: u64) -> u64 {
    let id = format!("count{key:02}{successes:05}");
    let url = format!("{base}/e/test");
    let (event, _) = load::send(&url, "fault/counter", key * APART + successes, &id);
    let output = wait_until("a run to end", DRAIN, || {
        let url = format!("{base}/v1/events/{event}/runs");
        let answer = http::try_request("GET", &url, &[], None).ok()?;
        let run = answer.body["data"].get(0)?;
        (run["status"] == "Completed").then(|| run["output"].clone())
    });
    output["count"].as_u64().expect("a run counts")
}
