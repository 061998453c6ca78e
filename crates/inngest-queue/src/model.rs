//! What goes in and out of the schedule.

use std::time::Duration;

use inngest_core::{
    ids::{FunctionId, WorkId},
    job::Work,
    time::Timestamp,
};

/// How a schedule behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Work due later than now + this is not kept.
    pub horizon: Duration,
    /// How long a lease lasts unless it is extended.
    pub lease: Duration,
    /// Most entries at once. Those that are not due yet get three quarters of it, so that timers cannot keep out what is due.
    pub max_entries: usize,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            horizon: Duration::from_secs(600),
            lease: Duration::from_secs(30),
            max_entries: 1_000_000,
        }
    }
}

/// What became of offered work. The counts add up to what was offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enqueued {
    /// New entries.
    pub added: usize,
    /// Entries that a higher epoch replaced.
    pub replaced: usize,
    /// Left as they were: there already, with the same or a higher epoch.
    pub known: usize,
    /// Not kept because due beyond the horizon.
    pub beyond: usize,
}

/// The right to work on something until a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// What to do.
    pub work: Work,
    /// Tells this lease from every other one of the same work.
    pub token: u64,
    /// When somebody else may take over, unless extended before.
    pub expires_at: Timestamp,
    /// Whether an earlier holder vanished without settling. It may still write, so raise the epoch in the durable list first.
    pub lost: bool,
    /// Whether the row may be gone by now: the entry comes from a reading of the list, or from a schedule that others fill as well. Look
    /// before working on it.
    pub unsure: bool,
    /// How many holders of this work have panicked.
    pub crashes: u32,
    /// Set by the worker pool when the holders have panicked too often: end it (fail its run) instead of trying once more.
    pub poisoned: bool,
}

/// What a holder says became of its work.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The outcome is recorded (or was refused, because the work is not the holder's any more): forget the entry.
    Done {
        /// Other work that the outcome made necessary, to be added in the same step.
        next: Vec<Work>,
        /// Other work that the outcome made needless, to be forgotten in the same step.
        remove: Vec<WorkId>,
        /// Work that this worker would go on with at once, in the same slot if limits still admit it. It is added like `next` if not.
        continue_with: Option<Work>,
    },
    /// The row stays, with a new due time, attempt and epoch; `work` is the same id.
    RetryAt {
        /// The row as it is now in the durable list.
        work: Work,
    },
    /// Nothing was done and nothing changed, for example at shutdown: give it to somebody else.
    Release,
}

impl Verdict {
    /// Done, and nothing follows.
    pub fn done() -> Self {
        Self::Done {
            next: Vec::new(),
            remove: Vec::new(),
            continue_with: None,
        }
    }
}

/// What became of a lease.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// The lease to go on with, when `continue_with` was admitted at once.
    pub continued: Option<Lease>,
    /// How much of the added work lies beyond the horizon.
    pub beyond: usize,
    /// How much of the added work was left out because the schedule is full; offer it again later.
    pub left_out: usize,
    /// Whether the lease was lost before it was settled. The commit's fence has decided already; nothing is left to do.
    pub lease_lost: bool,
}

/// What one look at the schedule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Leased by this look.
    pub leases: Vec<Lease>,
    /// When another look may find more, if nothing happens before: the next due time, or the next end of a lease.
    pub next_at: Option<Timestamp>,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryPlace {
    /// Not due yet.
    Delayed,
    /// Due, and waiting for a worker or for a slot.
    Waiting,
    /// Held by a worker.
    Leased,
}

/// How a schedule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleState {
    /// It has everything that it was ever told.
    Whole,
    /// It is being filled from the durable list, and works.
    Filling,
    /// It is being rebuilt, and leases nothing yet.
    Closed,
    /// It is gone and has to be rebuilt.
    Lost,
    /// It does not answer.
    Unreachable,
}

/// Figures of one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// All entries.
    pub entries: usize,
    /// Not due yet.
    pub delayed: usize,
    /// Due and admitted, waiting for a worker. Counts a partition's or key's queue as a whole: admitted until its limit is reached.
    pub ready: usize,
    /// Due, but held back by a limit.
    pub backlog: usize,
    /// Held by workers.
    pub leased: usize,
    /// Partitions with any entry.
    pub partitions: usize,
    /// Earliest due time among the due entries that come next in their partitions and keys; `None` when nothing is due.
    pub oldest_due: Option<Timestamp>,
    /// When the next entry becomes due.
    pub next_due: Option<Timestamp>,
    /// Leases that ran out, ever.
    pub expired: u64,
    /// Holders that panicked, ever.
    pub crashes: u64,
    /// How often a waiter was woken to look again, ever. Stands still while nothing happens.
    pub wakeups: u64,
    /// How far the rebuild is that some process carries out.
    pub rebuild: Option<RebuildProgress>,
}

/// How far a rebuild of the schedule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildProgress {
    /// Entries added so far.
    pub added: u64,
    /// Entries that there were to add when it began.
    pub total: u64,
}

/// Figures of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionStats {
    /// Whose work it is.
    pub function: FunctionId,
    /// Due and admitted, waiting for a worker.
    pub ready: usize,
    /// Due, but held back by a limit.
    pub backlog: usize,
    /// Held by workers.
    pub leased: usize,
    /// Due time of the entry that has waited longest among those that come next.
    pub oldest_due: Option<Timestamp>,
}

impl PartitionStats {
    pub(crate) fn of(function: FunctionId) -> Self {
        Self {
            function,
            ready: 0,
            backlog: 0,
            leased: 0,
            oldest_due: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready + self.backlog + self.leased == 0
    }

    /// Those that are not empty, at most `max`, the deepest first.
    pub(crate) fn deepest(mut all: Vec<Self>, max: usize) -> Vec<Self> {
        all.retain(|one| !one.is_empty());
        all.sort_unstable_by_key(|one| (std::cmp::Reverse(one.ready + one.backlog), one.function));
        all.truncate(max);
        all
    }
}
