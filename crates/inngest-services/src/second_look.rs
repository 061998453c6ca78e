//! Waits and events of transactions that were under way at the same time, which see nothing of each other.
//!
//! Where several processes write, each wait that was stored looks back once more, when every transaction has ended that was under way
//! when the wait became visible: one that has begun since sees it by itself. All waits of some [`GATHER`] share that look. A process that
//! dies between storing a wait and looking again leaves it to those who notice its death, and to the next start: they match the events
//! of the last minutes once more ([`Engine::match_recent`]). In a healthy system that finds nothing.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use inngest_core::{ids::EventId, time::Timestamp, wait::Wait};
use inngest_state::{Commit, Committed, NewEvent, Refused, TenantEvent, fail_point};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    Error,
    engine::{Counters, Engine, PAUSE},
};

/// How long waits are gathered before they look again together.
const GATHER: Duration = Duration::from_millis(50);
/// How long transactions under way are waited for; what is longer on its way than this is no transaction of ours.
const LONGEST: Duration = Duration::from_secs(60);
/// How often it is asked whether they have ended.
const ASK: Duration = Duration::from_millis(20);
/// Most waits that are kept for their look; beyond it the events of the last minutes are matched instead.
const MAX_WAITS: usize = 50_000;
/// Waits, or events, of one commit.
const PAGE: usize = 500;
/// How far back events are matched once more.
const RECENT: Duration = Duration::from_secs(120);

/// The waits that have to look again.
#[derive(Default)]
pub(crate) struct SecondLook {
    fresh: Mutex<Vec<Wait>>,
    come: Notify,
    /// Since when there were too many to keep, or it is not known which there were.
    unknown_since: Mutex<Option<Timestamp>>,
}

impl SecondLook {
    /// Takes note of the waits of a commit that was made `now`.
    pub(crate) fn note(&self, committed: &Committed, now: Timestamp) {
        if committed.fresh_waits.is_empty() {
            return;
        }
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh.len() + committed.fresh_waits.len() > MAX_WAITS {
            self.set_unknown(Some(now));
        } else {
            fresh.extend(committed.fresh_waits.iter().cloned());
        }
        self.come.notify_one();
    }

    /// Takes note of a commit of which it is not known whether it stored waits or events.
    pub(crate) fn note_unknown(&self, since: Timestamp) {
        self.set_unknown(Some(since));
        self.come.notify_one();
    }

    /// Keeps the earliest; takes it out when told nothing.
    fn set_unknown(&self, since: Option<Timestamp>) -> Option<Timestamp> {
        let mut unknown = self
            .unknown_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = unknown.take();
        if since.is_some() {
            *unknown = before.into_iter().chain(since).min();
        }
        before
    }

    fn take(&self) -> Vec<Wait> {
        std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn give_back(&self, waits: Vec<Wait>) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.extend(waits);
        self.come.notify_one();
    }
}

impl Engine {
    /// Lets waits look again until `stop`; those that are there by then look once more.
    pub(crate) async fn look_twice(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.second_look.come.notified() => {}
                () = stop.cancelled() => break,
            }
            sleep(GATHER).await;
            if let Err(error) = self.look_twice_once().await {
                warn!(error = %error, "waits could not look again; trying again");
                sleep(PAUSE).await;
            }
        }
        let last = tokio::time::timeout(PAUSE, self.look_twice_once());
        if !matches!(last.await, Ok(Ok(()))) {
            warn!("some waits did not look again; whoever starts next matches the latest events");
        }
    }

    /// All waits that have been noted look again.
    pub(crate) async fn look_twice_once(&self) -> Result<(), Error> {
        if let Some(since) = self.second_look.set_unknown(None)
            && let Err(error) = self.match_since(since.minus(RECENT)).await
        {
            self.second_look.note_unknown(since);
            return Err(error);
        }
        let waits = self.second_look.take();
        if waits.is_empty() {
            return Ok(());
        }
        let looked = self.look_for(&waits).await;
        if looked.is_err() {
            self.second_look.give_back(waits);
        }
        looked
    }

    async fn look_for(&self, waits: &[Wait]) -> Result<(), Error> {
        let (_, next) = self.store.transactions_under_way().await?;
        let begun = tokio::time::Instant::now();
        while self.store.transactions_under_way().await?.0 < next && begun.elapsed() < LONGEST {
            sleep(ASK).await;
        }
        for page in waits.chunks(PAGE) {
            let found = self
                .commit_look(Commit {
                    look_again: page.to_vec(),
                    ..Commit::default()
                })
                .await?;
            Counters::add(&self.counters.second_looks, found);
        }
        Ok(())
    }

    /// Matches the latest events once more, however long ago they came: whoever accepted them may have died right after.
    pub(crate) async fn match_latest(&self, stop: CancellationToken) {
        loop {
            let matched = async {
                match self.store.last_event_at().await? {
                    Some(last) => self.match_recent(last).await,
                    None => Ok(0),
                }
            };
            tokio::select! {
                matched = matched => match matched {
                    Ok(_) => return,
                    Err(error) => warn!(error = %error, "the latest events could not be matched once more; trying again"),
                },
                () = stop.cancelled() => return,
            }
            sleep(PAUSE).await;
        }
    }

    /// Matches the events of the minutes before `until` with the waits once more. Returns how many waits they satisfied.
    pub(crate) async fn match_recent(&self, until: Timestamp) -> Result<usize, Error> {
        self.match_since(until.minus(RECENT)).await
    }

    async fn match_since(&self, since: Timestamp) -> Result<usize, Error> {
        let late = self.store.late_events(since, PAGE as u64).await?;
        let mut found = self.match_page(late).await?;
        let mut after: Option<EventId> = None;
        loop {
            let page = self.store.recent_events(since, after, PAGE as u64).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|(_, _, event)| event.id).or(after);
            found += self.match_page(page).await?;
            if is_last {
                break;
            }
        }
        if found > 0 {
            Counters::add(&self.counters.second_looks, found);
            info!(
                waits = found,
                "events of the last minutes satisfied waits that had missed them"
            );
        }
        Ok(found)
    }

    async fn match_page(&self, events: Vec<TenantEvent>) -> Result<usize, Error> {
        if events.is_empty() {
            return Ok(0);
        }
        let events = events.into_iter().map(|(org, env, event)| NewEvent {
            org,
            env,
            event,
            may_exist: true,
            runs: Vec::new(),
        });
        self.commit_look(Commit {
            match_again: events.collect(),
            ..Commit::default()
        })
        .await
    }

    async fn commit_look(&self, commit: Commit) -> Result<usize, Error> {
        match self.commit(commit).await {
            Ok(committed) => {
                fail_point!("op::second_look");
                self.schedule(&committed.work).await;
                Ok(committed.work.len())
            }
            Err(Refused::Store(error)) => {
                self.note_failed_commit(&error);
                Err(error.into())
            }
            Err(refused) => Err(Error::Internal {
                what: refused.to_string(),
            }),
        }
    }
}
