//! One of several servers dies at a named place while there is load: the others do not notice more than that.
//!
//! `FAULT_PLACE_KILLS` says how often one dies (each place once); `INNGEST_FAILPOINTS_BIN` names a binary with the feature `failpoints`,
//! without which all this is left out.

use std::{
    collections::BTreeMap,
    env,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use inngest_tests::{http, server::Server, wait::wait_until};
use serde_json::json;

use crate::{
    chaos::Driver,
    check::Kill,
    field::{DRAIN, Field},
    load::Accepted,
    number,
};

/// Named places and how often each is passed soon.
const PLACES: [(&str, u64); 24] = [
    ("ingest::after_parse", 9),
    ("ingest::in_tx", 9),
    ("ingest::after_commit", 9),
    ("route::after_push", 9),
    ("exec::leased", 9),
    ("exec::before_send", 9),
    ("exec::got_response", 9),
    ("exec::in_tx", 9),
    ("exec::after_commit", 9),
    ("final::in_tx", 5),
    ("final::after_commit", 5),
    ("op::wait_register", 3),
    ("op::wait_matched", 2),
    ("op::second_look", 2),
    ("op::sleep", 3),
    ("op::parallel_join", 2),
    ("op::invoke_child", 2),
    ("cancel::requested", 2),
    ("checkpoint::twice", 2),
    ("rollup::in_tx", 2),
    ("rollup::after_commit", 2),
    ("rebuild::begun", 1),
    ("rebuild::mid", 1),
    ("rebuild::filled", 1),
];
/// Servers of a field.
const SERVERS: usize = 3;
/// A pause between two events.
const PACE: Duration = Duration::from_millis(12);
/// Events a second, and senders, so that no place is waited for because one request is.
const RATE: (u64, usize) = (20, 8);
/// How long a server may live that is to die at a place.
const LIFE: Duration = Duration::from_secs(300);

fn failing_binary() -> Option<PathBuf> {
    let binary = env::var_os("INNGEST_FAILPOINTS_BIN").map(PathBuf::from);
    if binary.is_none() {
        eprintln!("INNGEST_FAILPOINTS_BIN is not set: no death at named places");
    }
    binary
}

fn armed(action: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("INNGEST_FAILPOINTS".to_owned(), action.to_owned())])
}

fn wait_for_death(server: &mut Server, place: &str) {
    wait_until(&format!("the server to die at {place}"), LIFE, || {
        server.has_ended().then_some(())
    });
}

#[test]
fn death_at_each_named_place_costs_the_others_nothing() {
    let Some(binary) = failing_binary() else {
        return;
    };
    let Some(mut field) = Field::start("places", SERVERS, &[]) else {
        return;
    };
    let driver = Driver::start(field.base(), RATE.0, RATE.1);
    let mut deaths = Vec::new();
    let mut victim = SERVERS - 1;
    let kills = number("FAULT_PLACE_KILLS", PLACES.len() as u64);
    for kill in 0..kills {
        let round = kill / PLACES.len() as u64;
        let place_of = usize::try_from(kill % PLACES.len() as u64).expect("small");
        let (place, most) = PLACES[place_of];
        let next = (SERVERS - 1 + usize::try_from(round).expect("small")) % SERVERS;
        if next != victim {
            field.restart(victim);
            victim = next;
        }
        let at = Instant::now();
        field.servers[victim].kill();
        let passage = 1 + (round * 7 + 3) % most;
        let dying = armed(&format!("{place}=kill@{passage}"));
        let mut server = field.launch(victim, Some(binary.clone()), dying);
        if place.starts_with("rebuild::") {
            server.wait_until_healthy();
            // Nobody else is there to rebuild it.
            let others = || (0..SERVERS).filter(|number| *number != victim);
            others().for_each(|number| field.servers[number].signal("STOP"));
            field.redis.command(&["FLUSHALL"]);
            wait_for_death(&mut server, place);
            others().for_each(|number| field.servers[number].signal("CONT"));
        } else {
            wait_for_death(&mut server, place);
        }
        field.servers[victim] = server;
        deaths.push(Kill {
            at,
            until: Instant::now(),
        });
        eprintln!("death {} of {kills}: {place}", kill + 1);
    }
    field.restart(victim);
    let sent = driver.stop();
    let accepted: Vec<_> = sent.into_iter().map(|sent| sent.accepted).collect();
    eprintln!("{} events accepted, {kills} deaths", accepted.len());
    field.check_sent(&accepted, &deaths);
}

#[test]
fn death_while_taking_over_from_the_dead_loses_nothing() {
    /// Calls that the first dead one had made.
    const CALLS: u64 = 12;
    let Some(binary) = failing_binary() else {
        return;
    };
    let Some(mut field) = Field::start("takeover", 2, &[]) else {
        return;
    };
    let (mut deaths, mut accepted) = (Vec::new(), Vec::new());
    for place in ["takeover::leased", "takeover::raised"] {
        field.servers[1].kill();
        field.app.journal().is_held_up = true;
        let before = field.app.journal().held;
        for _ in 0..CALLS {
            let number = accepted.len() as u64;
            let event = json!({"name": "fault/held", "data": {"n": number}});
            accepted.push(Accepted {
                event: field.servers[0].send(&event).remove(0),
                kind: "held",
                number,
            });
        }
        wait_until("all calls to be in flight", LIFE, || {
            (field.app.journal().held == before + CALLS).then_some(())
        });
        let at = Instant::now();
        field.servers[0].kill();
        field.app.journal().is_held_up = false;
        // It is the only one that can take over what the first one had.
        let dying = armed(&format!("{place}=kill@3"));
        let mut server = field.launch(1, Some(binary.clone()), dying);
        wait_for_death(&mut server, place);
        field.servers[1] = server;
        field.restart(0);
        let until = Instant::now() + Duration::from_secs(45);
        // Once for the one who had the work, and once for the one who died with it.
        deaths.extend([Kill { at, until }; 2]);
    }
    field.restart(1);
    field.check_sent(&accepted, &deaths);
}

#[test]
fn redis_that_forgets_while_it_is_being_rebuilt_is_rebuilt_all_the_same() {
    let Some(binary) = failing_binary() else {
        return;
    };
    let Some(mut field) = Field::start("forgets-again", SERVERS, &[]) else {
        return;
    };
    for number in 0..SERVERS {
        field.servers[number].kill();
        // There may be nothing to fill it with.
        let slow = armed("rebuild::mid=slow@300;rebuild::filled=slow@500");
        field.servers[number] = field.launch(number, Some(binary.clone()), slow);
        field.servers[number].wait_until_healthy();
    }
    let load = field.load(PACE);
    let is_being_rebuilt = || {
        let asked = |server: &Server| {
            let health = http::request("GET", &format!("{}/health", server.base()), &[], None);
            health.body["rebuild"].is_object()
        };
        field.servers.iter().any(asked)
    };
    for _ in 0..number("FAULT_WIPES", 5) {
        wait_until("a rebuild to be under way", DRAIN, || {
            field.redis.command(&["FLUSHALL"]);
            (0..20)
                .any(|_| {
                    thread::sleep(Duration::from_millis(20));
                    is_being_rebuilt()
                })
                .then_some(())
        });
        field.redis.command(&["FLUSHALL"]);
    }
    wait_until("a rebuild to end", DRAIN, || {
        let is_whole = |server: &Server| server.get("/health").body["redis"] == "connected";
        (!is_being_rebuilt() && field.servers.iter().all(is_whole)).then_some(())
    });
    // Whoever forgets makes nobody do a thing twice.
    field.check(load, &[]);
}
