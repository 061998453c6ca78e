//! The oracle: what was accepted has happened once, and nothing else has.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use inngest_state::{Migrate, Place, Store, StoreSettings, Writers};
use inngest_tests::server::{Run, Server};
use serde_json::json;
use tokio_util::task::TaskTracker;

use crate::{app::StubApp, load::Accepted};

/// A time without a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    /// When it began, or earlier.
    pub(crate) at: Instant,
    /// When the server was back.
    pub(crate) until: Instant,
}

/// Runs are asked for by so many at once.
const ASKING: usize = 8;

/// Waits until all runs have ended, and checks everything.
///
/// # Panics
/// With everything that is wrong.
pub(crate) fn drained(
    server: &Server,
    app: &StubApp,
    accepted: &[Accepted],
    kills: &[Kill],
    patience: Duration,
) {
    let found = look(server, app, accepted, kills, patience);
    eprintln!("steps by number of executions: {:?}", found.executions);
    let all: Vec<_> = found.wrong.values().flatten().collect();
    let shown: Vec<_> = all.iter().take(20).collect();
    assert!(
        all.is_empty(),
        "{} things are wrong: {shown:#?}\n{}",
        all.len(),
        server.log_tail()
    );
}

/// What a look found.
pub(crate) struct Found {
    /// Each check with what offends it.
    pub(crate) wrong: BTreeMap<&'static str, Vec<String>>,
    /// How many steps were executed how often.
    pub(crate) executions: BTreeMap<usize, u64>,
}

/// Each check of [`look`] by name; all are in its answer.
const CHECKS: [&str; 6] = [
    "every accepted event has its run",
    "no event has two runs",
    "every run ends",
    "every run ends as it should",
    "every end is told once",
    "a result stays what it was",
];
/// The one that counts executions.
const REPEATS: &str = "steps are repeated only because of a fault";

/// Waits until all runs have ended, and says what is wrong.
pub(crate) fn look(
    server: &Server,
    app: &StubApp,
    accepted: &[Accepted],
    kills: &[Kill],
    patience: Duration,
) -> Found {
    let deadline = Instant::now() + patience;
    let part = accepted.len().div_ceil(ASKING).max(1);
    let mut wrong: BTreeMap<&'static str, Vec<String>> =
        CHECKS.iter().map(|check| (*check, Vec::new())).collect();
    thread::scope(|scope| {
        let asking: Vec<_> = accepted
            .chunks(part)
            .map(|events| scope.spawn(move || look_at(server, app, events, deadline)))
            .collect();
        for asked in asking {
            for (check, text) in asked.join().expect("a look does not panic") {
                wrong.entry(check).or_default().push(text);
            }
        }
    });
    let journal = app.journal();
    wrong
        .entry(CHECKS[5])
        .or_default()
        .extend(journal.contradictions.iter().cloned());
    let (mut executions, mut repeats) = (BTreeMap::new(), Vec::new());
    for (key, times) in &journal.executed {
        let (first, last) = (times[0].0, times[times.len() - 1].0);
        let excuses = kills
            .iter()
            .filter(|kill| kill.until >= first && kill.at <= last)
            .count();
        if times.len() > 1 + excuses {
            repeats.push(format!(
                "{key:?} was executed {} times with {excuses} faults meanwhile",
                times.len()
            ));
        }
        *executions.entry(times.len()).or_insert(0) += 1;
    }
    wrong.insert(REPEATS, repeats);
    Found { wrong, executions }
}

fn look_at(
    server: &Server,
    app: &StubApp,
    events: &[Accepted],
    deadline: Instant,
) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    let mut ended: Vec<(&Accepted, Run)> = Vec::new();
    for event in events {
        let (is_done, mut runs) = loop {
            let runs = server.runs_of(&event.event);
            let is_done = !runs.is_empty() && runs.iter().all(Run::is_ended);
            if is_done || Instant::now() >= deadline {
                break (is_done, runs);
            }
            thread::sleep(Duration::from_millis(20));
        };
        match (is_done, runs.len()) {
            (_, 0) => wrong.push((CHECKS[0], format!("{event:?} started no run"))),
            (_, 2..) => wrong.push((CHECKS[1], format!("{event:?} started {runs:?}"))),
            (false, _) => wrong.push((CHECKS[2], format!("{event:?} started {runs:?}"))),
            (true, _) => ended.push((event, runs.remove(0))),
        }
    }
    for (event, run) in &ended {
        let is_right = if event.kind == "cancelled" {
            run.status == "Cancelled"
        } else {
            run.status == "Completed" && run.output == json!({"n": event.number})
        };
        if !is_right {
            wrong.push((CHECKS[3], format!("{event:?} ended as {run:?}")));
        }
    }
    for (event, run) in &ended {
        let told = wait_for_telling(app, &run.id, deadline);
        if told != 1 {
            let text = format!(
                "the end of run {} of `{}` was told {told} times",
                run.id, event.kind
            );
            wrong.push((CHECKS[4], text));
        }
    }
    wrong
}

fn wait_for_telling(app: &StubApp, run: &str, deadline: Instant) -> usize {
    loop {
        let told = app.journal().told.get(run).map_or(0, Vec::len);
        if told > 0 || Instant::now() >= deadline {
            return told;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What is wrong with the rows of a database once its servers have nothing more to do: the rules that the engine's own tests ask for.
/// Work that is due may take `patience` to be done.
pub(crate) fn rows(postgres: &str, patience: Duration) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let settings = StoreSettings {
        writers: Writers::Several,
        migrate: Migrate::Separately,
        ..StoreSettings::at(Place::Postgres(postgres.to_owned()))
    };
    runtime.block_on(async {
        let tracker = TaskTracker::new();
        let opening = Store::open(&settings, Arc::new(|_, _, _| false), &tracker).await;
        let store = opening.expect("the database is there");
        let deadline = Instant::now() + patience;
        loop {
            let now = store.now().await.expect("the database tells the time");
            let asked = store.complaints(Some(now)).await;
            let complaints = asked.expect("the database answers");
            if complaints.is_empty() || Instant::now() >= deadline {
                return complaints;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
}
