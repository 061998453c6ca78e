//! Named places at which a test can end the process, as a power cut would, or slow it down. Only with the feature `failpoints`.
//!
//! `INNGEST_FAILPOINTS="exec::in_tx=kill@3;op::sleep=kill@1"` ends it at the third passage of the one or the first of the other;
//! `rebuild::mid=slow@500` lets every passage take half a second, of the thread as well.

use std::{
    collections::HashMap,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use inngest_core::job::JobKind;

use crate::commit::Commit;

/// What happens, by place.
static ARMED: OnceLock<HashMap<String, Action>> = OnceLock::new();

enum Action {
    /// The process ends after so many passages.
    Kill(AtomicU64),
    /// A passage takes so long.
    Slow(Duration),
}

impl Action {
    fn read(text: &str) -> Option<Self> {
        let (action, number) = text.split_once('@')?;
        let number = number.parse().ok()?;
        match action {
            "kill" => Some(Self::Kill(AtomicU64::new(number))),
            "slow" => Some(Self::Slow(Duration::from_millis(number))),
            _ => None,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a switch of test builds is no configuration"
)]
fn armed() -> &'static HashMap<String, Action> {
    ARMED.get_or_init(|| {
        let text = std::env::var("INNGEST_FAILPOINTS").unwrap_or_default();
        text.split(';')
            .filter_map(|entry| {
                let (name, action) = entry.trim().split_once('=')?;
                Some((name.to_owned(), Action::read(action)?))
            })
            .collect()
    })
}

/// Passes the place `name`; may not come back.
pub fn pass(name: &str) {
    let left = match armed().get(name) {
        None => return,
        Some(Action::Slow(pause)) => return thread::sleep(*pause),
        Some(Action::Kill(left)) => left,
    };
    let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        left.checked_sub(1)
    });
    if before == Ok(1) {
        // No destructor and no buffer gets a chance.
        std::process::abort();
    }
}

/// Passes the places that lie between the rows of these commits and their being durable.
pub(crate) fn pass_in_transaction(commits: &[Commit]) {
    for commit in commits {
        let ends_run = commit.run.as_ref().is_some_and(|run| run.ended.is_some());
        if commit.run.is_none() && commit.fence.is_none() && !commit.events.is_empty() {
            pass("ingest::in_tx");
        }
        if commit.fence.is_some() && commit.run.is_some() {
            pass(if ends_run {
                "final::in_tx"
            } else {
                "exec::in_tx"
            });
        }
        if !commit.waits.is_empty() {
            pass("op::wait_register");
        }
        if commit.run.is_some() && !ends_run && !commit.events.is_empty() {
            pass("op::invoke_child");
        }
        let joins = commit
            .steps
            .iter()
            .any(|step| step.group.is_some() && step.position.is_some())
            && commit
                .work
                .iter()
                .any(|work| work.kind == JobKind::Discover);
        if joins {
            pass("op::parallel_join");
        }
    }
}
