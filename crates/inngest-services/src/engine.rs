//! What all services share, and the ways every change goes: to the store, from there to the schedule, and as a hint to whoever watches.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use inngest_core::{
    ids::{EnvId, IdSource, OrgId, WorkId},
    job::Work,
    time::Clock,
};
use inngest_executor::AppClient;
use inngest_queue::{Queue, budget::Budget, live::Live};
use inngest_state::{Commit, Committed, Refused, Store};
use tokio::sync::{RwLock, Semaphore};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::{
    auth::{SignInFailures, Tokens},
    budget::Open,
    cells::Cells,
    epochs::Epochs,
    jobs::Failures,
    limits::Overrides,
    live::{Hubs, Meters, Queues},
    metrics::Lag,
    programs::Programs,
    refill::LeftOut,
    registry::Registries,
    rollups::Rolling,
    second_look::SecondLook,
    settings::ServiceSettings,
    time::Uncertainty,
};

/// How often a decision is made again because the run or the functions changed meanwhile.
pub(crate) const TRIES: usize = 16;

pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) queue: Queue,
    pub(crate) client: AppClient,
    pub(crate) live: Live,
    pub(crate) hubs: Hubs,
    pub(crate) clock: Clock,
    pub(crate) ids: IdSource,
    pub(crate) settings: ServiceSettings,
    pub(crate) programs: Programs,
    /// Functions whose runs have other limits.
    pub(crate) limits: Overrides,
    pub(crate) registries: Registries,
    pub(crate) cells: Cells,
    pub(crate) tracker: TaskTracker,
    pub(crate) counters: Counters,
    pub(crate) lag: Lag,
    pub(crate) uncertainty: Uncertainty,
    /// Functions that have figures of their own.
    pub(crate) shown_functions: tokio::sync::Mutex<HashSet<String>>,
    pub(crate) sign_in_failures: SignInFailures,
    pub(crate) tokens: Tokens,
    /// None where nobody counts.
    pub(crate) budget: Option<Budget>,
    pub(crate) open: Open,
    /// Environments that tokens have named.
    pub(crate) environments: RwLock<HashMap<(OrgId, String), (EnvId, String)>>,
    pub(crate) failures: Failures,
    pub(crate) second_look: SecondLook,
    pub(crate) rolling: Rolling,
    pub(crate) meters: Meters,
    /// What is read for those who watch queues.
    pub(crate) queues: Queues,
    /// One sync at a time: a second one would only find that the functions have changed.
    pub(crate) syncing: tokio::sync::Mutex<()>,
    /// Work that the schedule lacks.
    pub(crate) left_out: Arc<LeftOut>,
    /// See [`Engine::schedule`].
    pub(crate) telling: Arc<Semaphore>,
    pub(crate) epochs: Epochs,
    /// The schedule has been filled since the start.
    pub(crate) ready: AtomicBool,
}

/// What happened since the start, for metrics and tests.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events stored.
    pub events: AtomicU64,
    /// Runs started.
    pub runs_started: AtomicU64,
    /// Runs that completed.
    pub runs_completed: AtomicU64,
    /// Runs that failed.
    pub runs_failed: AtomicU64,
    /// Runs that were cancelled.
    pub runs_cancelled: AtomicU64,
    /// Calls made to apps.
    pub calls: AtomicU64,
    /// Outcomes refused because the work had been handed to somebody else.
    pub stale_writes: AtomicU64,
    /// Decisions made again because the run had changed.
    pub conflicts: AtomicU64,
    /// Waits that events of other processes had missed, found at their second look.
    pub second_looks: AtomicU64,
    /// Schedules that this process has rebuilt.
    pub rebuilds: AtomicU64,
    /// Leases that this process was given.
    pub leases: AtomicU64,
    /// Leases on work whose holder had vanished.
    pub takeovers: AtomicU64,
    /// Leases on work that was gone or somebody else's by then.
    pub stale_entries: AtomicU64,
    /// Commits of unknown outcome that turned out to have been written.
    pub resolved_as_written: AtomicU64,
    /// Commits of unknown outcome that turned out not to have been written.
    pub resolved_as_lost: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl Engine {
    /// Commits, and tells whoever watches.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Committed, Refused> {
        let env = commit.changed_env();
        let outcome = self.store.commit(commit).await;
        self.hint(env, &outcome);
        outcome
    }

    /// Tells whoever watches that there is something to see; also when the commit may have been written without an answer.
    pub(crate) fn hint(&self, env: Option<EnvId>, outcome: &Result<Committed, Refused>) {
        if let (Some(env), Ok(_) | Err(Refused::Store(_))) = (env, outcome) {
            self.live.publish(env);
            self.rolling.note();
        }
    }

    /// Tells the schedule of work that a commit has stored. A schedule that is elsewhere is told in the background, so that whoever has
    /// committed does not wait for it, least of all when it is down.
    pub(crate) async fn schedule(&self, work: &[Work]) {
        if work.is_empty() {
            return;
        }
        if !self.queue.is_shared() {
            tell(&self.queue, work, &self.left_out).await;
            return;
        }
        let Ok(permit) = self.telling.clone().try_acquire_owned() else {
            self.note_left_out();
            return;
        };
        let (queue, work, left_out) = (self.queue.clone(), work.to_vec(), self.left_out.clone());
        self.tracker.spawn(async move {
            tell(&queue, &work, &left_out).await;
            drop(permit);
        });
    }

    /// Tells the schedule of work that a commit has removed.
    pub(crate) async fn unschedule(&self, work: &[WorkId]) {
        if work.is_empty() {
            return;
        }
        if let Err(error) = self.queue.remove(work).await {
            // It is looked at when it is due, and found gone.
            debug!(error = %error, "work that is gone stays in the schedule until it is looked at");
        }
    }

    /// A commit has failed, and may have been written all the same: then the schedule lacks what follows, and waits have not looked twice.
    pub(crate) fn note_failed_commit(&self, error: &inngest_state::Error) {
        self.note_left_out();
        if error.is_outcome_unknown() {
            self.second_look.note_unknown(self.clock.now());
        }
    }

    pub(crate) fn note_left_out(&self) {
        self.left_out.note();
    }
}

async fn tell(queue: &Queue, work: &[Work], left_out: &LeftOut) {
    if let Err(error) = queue.enqueue(work).await {
        // The rows are there; the refill finds them.
        debug!(error = %error, "work was left out of the schedule for now");
        left_out.note();
    }
    inngest_state::fail_point!("route::after_push");
}

/// Tellings under way; beyond it the refill tells.
pub(crate) const TELLINGS: usize = 4_096;

/// Keeps a pause between repairs that did not succeed.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

pub(crate) type Shared = Arc<Engine>;
