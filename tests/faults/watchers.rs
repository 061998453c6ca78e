//! Two hundred who watch two servers, of which one dies: at the end each of them has seen what the tables hold.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use inngest_tests::{http::SIGNING_KEY, server, wait::wait_until};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::TaskTracker;

use crate::{
    chaos::Driver,
    check,
    field::{DRAIN, Field},
    number,
    watcher::{Watched, Watcher, list},
};

/// How many watch.
const WATCHERS: u64 = 200;
/// Sockets that one of them may have; they share tokens.
const SOCKETS: u64 = 20;
/// How long those who watch may take to see the last change once all has ended, their next connection included.
const PATIENCE: Duration = Duration::from_secs(90);

/// `FAULT_WATCH_SECONDS` is the duration of the load, `FAULT_WATCH_RATE` its events a second, `FAULT_WATCH_KILLS` how often a server dies
/// meanwhile, each in turn.
#[test]
fn everyone_who_watches_sees_what_the_tables_hold_though_servers_die() {
    let Some(mut field) = Field::start("watchers", 2, &["--api-points-per-second", "0"]) else {
        return;
    };
    let runtime: Runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let base = field.base().to_owned();
    let function = function(&field, "steps");
    let tasks = TaskTracker::new();
    let tokens: Vec<String> = (0..WATCHERS.div_ceil(SOCKETS))
        .map(|number| token(&field, &format!("watcher-{number}")))
        .collect();
    let watchers: Vec<Watcher> = runtime.block_on(async {
        (0..WATCHERS)
            .map(|number| {
                let token = &tokens[usize::try_from(number / SOCKETS).expect("small")];
                Watcher::start(&tasks, &base, token, watched(number, &function), number)
            })
            .collect()
    });
    wait_until("all to watch", PATIENCE, || {
        watchers.iter().all(Watcher::is_live).then_some(())
    });

    let driver = Driver::start(&base, number("FAULT_WATCH_RATE", 10), 8);
    let kills = number("FAULT_WATCH_KILLS", 2);
    let span = Duration::from_secs(number("FAULT_WATCH_SECONDS", 15));
    let part = span / u32::try_from(kills + 1).expect("small");
    for kill in 0..kills {
        thread::sleep(part);
        let victim = usize::try_from(kill % 2).expect("small");
        field.servers[victim].kill();
        field.restart(victim);
    }
    thread::sleep(part);
    let accepted = driver.stop().len();
    let open = "SELECT count(*) FROM runs WHERE ended_at IS NULL";
    let deadline = Instant::now() + DRAIN;
    while field.postgres.sql(open).as_deref() != Ok("0") {
        assert!(Instant::now() < deadline, "{}", field.unended());
        thread::sleep(Duration::from_millis(100));
    }

    // What there is to see, by the lists, and how much that must be, by the tables.
    let kinds = [0, 1, 2, 3].map(|number| watched(number, &function));
    let truths = kinds.map(|watched| {
        let listed = runtime.block_on(list(&base, &watched));
        (watched, listed.expect("a healthy server lists"))
    });
    let runs = field.postgres.sql("SELECT count(*) FROM runs");
    assert_eq!(runs, Ok(truths[0].1.len().to_string()));
    let events = field
        .postgres
        .sql("SELECT count(*) FROM events WHERE NOT internal");
    assert_eq!(events, Ok(truths[3].1.len().to_string()));
    assert!(truths[1].1.len() * KINDS_AT_MOST >= accepted);
    assert!(
        truths[2].1.is_empty(),
        "{:?} are still running",
        truths[2].1
    );

    let behind = || {
        let late = watchers.iter().enumerate().filter(|(_, watcher)| {
            let truth = truths
                .iter()
                .find(|(watched, _)| *watched == watcher.watched);
            truth.is_none_or(|(_, truth)| watcher.seen().holds != *truth)
        });
        late.map(|(number, _)| number).collect::<Vec<_>>()
    };
    let deadline = Instant::now() + PATIENCE;
    while !behind().is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    if let Some(number) = behind().into_iter().next() {
        let watcher = &watchers[number];
        let truth = truths
            .iter()
            .find(|(watched, _)| *watched == watcher.watched);
        let (truth, seen) = (&truth.expect("one of the kinds").1, watcher.seen());
        let missing: Vec<_> = truth
            .iter()
            .filter(|it| !seen.holds.iter().any(|seen| seen == *it))
            .take(5)
            .collect();
        let extra: Vec<_> = seen
            .holds
            .iter()
            .filter(|it| !truth.iter().any(|true_| true_ == *it))
            .take(5)
            .collect();
        panic!(
            "watcher {number} of {:?} lacks {missing:?} and has {extra:?} after {} messages on {} connections",
            watcher.watched, seen.messages, seen.connections
        );
    }
    report(&watchers, accepted);
    let wrong: Vec<String> = watchers
        .iter()
        .flat_map(|watcher| watcher.seen().wrong.clone())
        .take(10)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    drop(runtime);
    let wrong = check::rows(&field.postgres.uri(), PATIENCE);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A function has at least one of so many events.
const KINDS_AT_MOST: usize = 12;

/// What those with this number watch.
fn watched(number: u64, function: &str) -> Watched {
    match number % 4 {
        0 => Watched::Runs(json!({})),
        1 => Watched::Runs(json!({ "functionIds": [function] })),
        2 => Watched::Runs(json!({ "statuses": ["RUNNING"] })),
        _ => Watched::Events(vec!["fault/*".to_owned()]),
    }
}

/// A token of this installation.
fn token(field: &Field, subject: &str) -> String {
    let made = Command::new(server::binary())
        .args(["token", "create", "--as", "viewer", "--subject", subject])
        .args(["--signing-key", SIGNING_KEY, "--event-key", "test"])
        .args(["--postgres-uri", &field.postgres.uri()])
        .output()
        .expect("the program runs");
    let text = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    text
}

fn function(field: &Field, name: &str) -> String {
    let query = "{ environment { functions(first: 50) { nodes { id slug } } } }";
    let answer = field.servers[0].post("/graphql", &json!({ "query": query }));
    let nodes = answer.body["data"]["environment"]["functions"]["nodes"].as_array();
    let found = nodes.and_then(|nodes| {
        let of_name = |slug: &str| slug.ends_with(&format!("-{name}"));
        nodes
            .iter()
            .find(|node| node["slug"].as_str().is_some_and(of_name))
    });
    let id = found.and_then(|node| node["id"].as_str());
    id.unwrap_or_else(|| panic!("no function {name}: {:?}", answer.body))
        .to_owned()
}

fn report(watchers: &[Watcher], events: usize) {
    let mut delays: Vec<u64> = watchers
        .iter()
        .flat_map(|watcher| watcher.seen().delays.clone())
        .collect();
    delays.sort_unstable();
    let at = |permille: usize| delays.get(delays.len().saturating_sub(1) * permille / 1000);
    let sum = |of: fn(&Watcher) -> u64| watchers.iter().map(of).sum::<u64>();
    eprintln!(
        "{events} events; {} messages on {} connections, {} resets; from commit to watcher p50 {:?} ms, p99 {:?} ms",
        sum(|watcher| watcher.seen().messages),
        sum(|watcher| watcher.seen().connections),
        sum(|watcher| watcher.seen().resets),
        at(500),
        at(990),
    );
}
