//! One server's clock is minutes off, and jumps while it works: time is the database's, and nobody notices.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use inngest_tests::{
    process::{free_port, own_directory},
    wait::wait_until,
};
use serde_json::json;

use crate::{
    edges::post,
    field::{DRAIN, Field, figure},
    number,
};

/// How far the clock is off, in seconds.
const OFF: i64 = 300;
/// A pause between two events.
const PACE: Duration = Duration::from_millis(15);
/// How much earlier than asked for a timer may end.
const EARLY: Duration = Duration::from_millis(50);
/// How long the sleepers of the app sleep.
const NAP: Duration = Duration::from_millis(700);
/// From which difference on clocks are said to differ; SDKs refuse signatures that are five minutes off.
const SKEW: u64 = 60;

#[test]
fn clock_that_is_minutes_off_and_jumps_makes_no_difference() {
    let Some(library) = faking_library() else {
        eprintln!("libfaketime is not installed: no server with a clock of its own");
        return;
    };
    let listens: Vec<String> = (0..2)
        .map(|_| format!("127.0.0.1:{}", free_port()))
        .collect();
    let Some(mut field) = Field::start("clocks", 2, &[]) else {
        return;
    };
    let offset = own_directory("clocks-offset").join("offset");
    let set = |seconds: i64| {
        // Never half of it is read.
        let next = offset.with_extension("next");
        fs::write(&next, format!("{seconds:+}\n")).expect("the directory is ours");
        fs::rename(&next, &offset).expect("the directory is ours");
    };
    set(-OFF);
    field.servers[0].kill();
    field.restart_with(0, &["--metrics-listen", &listens[0]]);
    field.servers[1].kill();
    let more = ["--metrics-listen", listens[1].as_str()];
    field.servers[1] = field.launch_with(1, None, faking(&library, &offset), &more);
    field.servers[1].wait_until_healthy();

    let load = field.load(PACE);
    for (off, is_seen) in [(-OFF, true), (OFF, true), (-OFF, false), (0, false)] {
        set(off);
        // The date of answers does not go back; the first two show that the clock does what it is told.
        wait_until("the server's clock to be off", DRAIN, || {
            let seen = clock_of(field.servers[1].base())? - now();
            (!is_seen || (seen - off).abs() < 10).then_some(())
        });
        // Long enough for sleeps to begin before a jump and to end after it.
        thread::sleep(Duration::from_millis(number("FAULT_CLOCK_MILLIS", 3_000)));
    }
    let takeovers: f64 = listens
        .iter()
        .map(|listen| figure(listen, "inngest_lease_takeovers_total"))
        .sum();
    assert_eq!(takeovers, 0.0, "leases of the living were taken over");
    let calls = figure(&listens[1], "inngest_calls_total");
    assert!(
        calls > 0.0,
        "the server whose clock is off has done nothing"
    );
    let (shortest, skew, signed) = {
        let journal = field.app.journal();
        (journal.shortest_nap, journal.signature_skew, journal.signed)
    };
    eprintln!(
        "{calls} calls by the server whose clock is off; shortest sleep {shortest:?}; {signed} signatures, {skew} s off at most"
    );
    let shortest = shortest.expect("somebody has slept");
    assert!(shortest + EARLY >= NAP, "a sleep ended after {shortest:?}");
    assert!(signed > 0 && skew < SKEW, "signatures are {skew} s off");
    // Nothing excuses a step that is run again.
    field.check(load, &[]);
}

/// What makes a program believe in another time, where it is installed.
fn faking_library() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").ok()?.flatten();
    places
        .map(|place| place.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
}

/// The environment of a program whose time of day is as far off as the file says. Durations stay true, as they do when a clock is set.
fn faking(library: &Path, offset: &Path) -> BTreeMap<String, String> {
    let text = |path: &Path| path.display().to_string();
    [
        ("LD_PRELOAD", text(library)),
        ("FAKETIME_TIMESTAMP_FILE", text(offset)),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What time a server has, in seconds, by the date of its answers.
fn clock_of(base: &str) -> Option<i64> {
    let heard = post(base, &json!([]))?;
    let date = heard.header("date")?;
    let read = Command::new("date")
        .args(["-u", "+%s", "-d", date])
        .output()
        .ok()?;
    String::from_utf8_lossy(&read.stdout).trim().parse().ok()
}

/// The time of this machine, in seconds.
#[expect(
    clippy::disallowed_methods,
    reason = "it is what the time of the server is compared with"
)]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("it is later than 1970").as_secs()).expect("small")
}
