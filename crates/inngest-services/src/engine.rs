//! What all services share, and the ways every change goes: to the store, from there to the schedule, and as a hint to whoever watches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use inngest_core::{
    ids::{EnvId, FunctionId, IdSource, RunId, WorkId},
    job::Work,
    run::progress::Progress,
    time::Clock,
};
use inngest_executor::AppClient;
use inngest_queue::{
    Queue,
    live::{Hint, Live},
};
use inngest_state::Store;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::{
    cells::Cells, jobs::Failures, programs::Programs, registry::Registries,
    second_look::SecondLook, settings::ServiceSettings,
};

/// How often a decision is made again because the run or the functions changed meanwhile.
pub(crate) const TRIES: usize = 16;

pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) queue: Queue,
    pub(crate) client: AppClient,
    pub(crate) live: Live,
    pub(crate) clock: Clock,
    pub(crate) ids: IdSource,
    pub(crate) settings: ServiceSettings,
    pub(crate) programs: Programs,
    pub(crate) registries: Registries,
    pub(crate) cells: Cells,
    pub(crate) tracker: TaskTracker,
    pub(crate) counters: Counters,
    pub(crate) failures: Failures,
    pub(crate) second_look: SecondLook,
    /// One sync at a time: a second one would only find that the functions have changed.
    pub(crate) syncing: tokio::sync::Mutex<()>,
    /// Work was left out of the schedule because it was full.
    pub(crate) left_out: AtomicBool,
    /// Somebody must look for work that the schedule does not have.
    pub(crate) refill: Notify,
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
    /// Runs ended.
    pub runs_ended: AtomicU64,
    /// Calls made to apps.
    pub calls: AtomicU64,
    /// Outcomes refused because the work had been handed to somebody else.
    pub stale_writes: AtomicU64,
    /// Decisions made again because the run had changed.
    pub conflicts: AtomicU64,
    /// Waits that events of other processes had missed, found at their second look.
    pub second_looks: AtomicU64,
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
    /// Tells the schedule of work that a commit has stored.
    pub(crate) async fn schedule(&self, work: &[Work]) {
        if work.is_empty() {
            return;
        }
        if let Err(error) = self.queue.enqueue(work).await {
            // The rows are there; the refill finds them.
            warn!(error = %error, "work was left out of the schedule for now");
            self.note_left_out();
        }
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

    pub(crate) fn note_left_out(&self) {
        self.left_out.store(true, Ordering::Relaxed);
        self.refill.notify_one();
    }

    pub(crate) fn hint(&self, env: EnvId, run: RunId, function: FunctionId) {
        self.live.publish(Hint { env, run, function });
    }

    pub(crate) fn hint_progress(&self, run: &Progress) {
        self.hint(run.env, run.run, run.function);
    }
}

/// Keeps a pause between repairs that did not succeed.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

pub(crate) type Shared = Arc<Engine>;
