//! The built server on a directory of its own, killed again and again while an app and a sender are at work. Afterwards everything
//! that was accepted must have happened, once.
//!
//! `FAULT_KILLS` says how often it is killed at random (20), `FAULT_SEED` repeats a sequence of kills, and `INNGEST_FAILPOINTS_BIN`
//! names a binary with the feature `failpoints`, without which the named places are skipped.

mod app;
mod bulk;
mod chaos;
mod check;
mod clocks;
mod counter;
mod edges;
mod field;
mod fleet;
mod flood;
mod herd;
mod load;
mod places;
mod redis_ways;
mod still;
mod watcher;
mod watchers;

use std::{
    collections::BTreeMap,
    env,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use inngest_tests::{
    process::{free_port, own_directory},
    server::{Server, ServerOptions},
    wait::wait_until,
};

use crate::{app::StubApp, check::Kill, load::Load};

/// How long everything that was accepted may take to end after the last kill.
const DRAIN: Duration = Duration::from_secs(60);

/// Each named place and whether it is passed often enough to be met more than once in a short load.
const PLACES: [(&str, u32); 15] = [
    ("ingest::in_tx", 5),
    ("ingest::after_commit", 5),
    ("exec::leased", 9),
    ("exec::before_send", 9),
    ("exec::got_response", 9),
    ("exec::in_tx", 9),
    ("exec::after_commit", 9),
    ("final::in_tx", 5),
    ("final::after_commit", 5),
    ("op::wait_register", 2),
    ("op::wait_matched", 2),
    ("op::sleep", 2),
    ("op::parallel_join", 2),
    ("checkpoint::twice", 2),
    ("sync::in_tx", 1),
];

fn number(name: &str, default: u64) -> u64 {
    env::var_os(name)
        .and_then(|text| text.to_str()?.parse().ok())
        .unwrap_or(default)
}

/// Pseudo-random numbers, repeatable (xorshift).
struct Dice(u64);

fn seed() -> u64 {
    let seed = number("FAULT_SEED", u64::from(std::process::id()) + 1);
    eprintln!("FAULT_SEED={seed}");
    seed
}

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn options(name: &str, port: u16, data: &str) -> ServerOptions {
    ServerOptions {
        name: name.to_owned(),
        arguments: ["--sqlite-dir", data, "--retry-interval", "1"]
            .map(str::to_owned)
            .to_vec(),
        port: Some(port),
    }
}

#[test]
fn nothing_is_lost_or_done_twice_however_often_the_server_is_killed() {
    let kills = number("FAULT_KILLS", 20);
    let mut dice = Dice::new(seed());
    let (port, data) = (free_port(), own_directory("killed-data"));
    let options = options("killed", port, &data.display().to_string());
    let mut server = Server::start(&options);
    let app = StubApp::start(server.base());
    app.register(&server);
    let load = Load::start(server.base(), Duration::from_millis(8), None);
    let mut killed = Vec::new();
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(300 + dice.roll(1_200)));
        let at = Instant::now();
        server.kill();
        server = Server::start(&options);
        killed.push(Kill {
            at,
            until: Instant::now(),
        });
    }
    let accepted = load.stop();
    eprintln!("{} events accepted, {} kills", accepted.len(), killed.len());
    check::drained(&server, &app, &accepted, &killed, DRAIN);
}

#[test]
fn death_at_each_named_place_loses_nothing_and_doubles_nothing() {
    let Some(binary) = env::var_os("INNGEST_FAILPOINTS_BIN").map(PathBuf::from) else {
        eprintln!("INNGEST_FAILPOINTS_BIN is not set: no death at named places");
        return;
    };
    let only = env::var_os("FAULT_PLACE");
    let rounds = number("FAULT_ROUNDS", 1);
    for (place, most) in PLACES {
        if only.as_ref().is_some_and(|only| *only != *place) {
            continue;
        }
        for round in 0..rounds {
            let passage = 1 + (u64::from(most) * (round + 1) / (rounds + 1));
            die_at(&binary, place, if most == 1 { 1 } else { passage }, round);
        }
    }
}

fn die_at(binary: &std::path::Path, place: &str, passage: u64, round: u64) {
    let name = format!("{}-{round}", place.replace("::", "-"));
    let data = own_directory(&format!("{name}-data"));
    let port = free_port();
    let options = options(&name, port, &data.display().to_string());
    let armed = BTreeMap::from([(
        "INNGEST_FAILPOINTS".to_owned(),
        format!("{place}=kill@{passage}"),
    )]);
    let mut server = Server::start_other(binary.to_owned(), armed, &options);
    let app = StubApp::start(server.base());
    let load = if place == "sync::in_tx" {
        // The one who registers gets no answer, and tries again later.
        app.try_register(&server);
        None
    } else {
        app.register(&server);
        Some(Load::start(
            server.base(),
            Duration::from_millis(5),
            Some(40),
        ))
    };
    let begun = Instant::now();
    wait_until(
        &format!("the server to die at {place}"),
        Duration::from_secs(20),
        || server.has_ended().then_some(()),
    );
    let at = Instant::now().min(begun + Duration::from_secs(20));
    server = Server::start_other(binary.to_owned(), BTreeMap::new(), &options);
    let killed = [Kill {
        at: begun.min(at),
        until: Instant::now(),
    }];
    let load = load.unwrap_or_else(|| {
        app.register(&server);
        Load::start(server.base(), Duration::from_millis(5), Some(40))
    });
    let accepted = load.finish();
    check::drained(&server, &app, &accepted, &killed, DRAIN);
    eprintln!("{place} at passage {passage}: {} events", accepted.len());
}
