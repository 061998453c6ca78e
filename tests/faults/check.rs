//! The oracle: what was accepted has happened once, and nothing else has.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use inngest_tests::server::{Run, Server};
use serde_json::json;

use crate::{app::StubApp, load::Accepted};

/// A time without a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    /// When it began, or earlier.
    pub(crate) at: Instant,
    /// When the server was back.
    pub(crate) until: Instant,
}

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
    let mut wrong = Vec::new();
    let deadline = Instant::now() + patience;
    let mut ended: Vec<(&Accepted, Run)> = Vec::new();
    for event in accepted {
        let (is_done, mut runs) = loop {
            let runs = server.runs_of(&event.event);
            let is_done = !runs.is_empty() && runs.iter().all(Run::is_ended);
            if is_done || Instant::now() >= deadline {
                break (is_done, runs);
            }
            thread::sleep(Duration::from_millis(20));
        };
        // C1 lost, C2 twins, C4 stuck.
        match (is_done, runs.len()) {
            (_, 0) => wrong.push(format!("{event:?} started no run")),
            (false, _) => wrong.push(format!("{event:?} has a run that does not end: {runs:?}")),
            (true, 1) => ended.push((event, runs.remove(0))),
            (true, count) => wrong.push(format!("{event:?} started {count} runs")),
        }
    }
    // C5: each ended well, with its own result.
    for (event, run) in &ended {
        if run.status != "Completed" || run.output != json!({"n": event.number}) {
            wrong.push(format!("{event:?} ended as {run:?}"));
        }
    }
    // C6: each end was told once.
    for (event, run) in &ended {
        let told = wait_for_telling(app, &run.id, deadline);
        if told != 1 {
            wrong.push(format!(
                "the end of run {} of `{}` was told {told} times",
                run.id, event.kind
            ));
        }
    }
    let journal = app.journal();
    // C3: a result, once handed out, stays.
    wrong.extend(journal.contradictions.iter().cloned());
    // C7: code is run again only because of a kill.
    let mut again = BTreeMap::new();
    for (key, executions) in &journal.executed {
        let (first, last) = (executions[0].0, executions[executions.len() - 1].0);
        let excuses = kills
            .iter()
            .filter(|kill| kill.until >= first && kill.at <= last)
            .count();
        if executions.len() > 1 + excuses {
            wrong.push(format!(
                "{key:?} was executed {} times with {excuses} kills meanwhile",
                executions.len()
            ));
        }
        *again.entry(executions.len()).or_insert(0) += 1;
    }
    eprintln!("steps by number of executions: {again:?}");
    let shown: Vec<_> = wrong.iter().take(20).collect();
    assert!(
        wrong.is_empty(),
        "{} things are wrong: {shown:#?}\n{}",
        wrong.len(),
        server.log_tail()
    );
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
