//! The runs that this process is working on, kept in memory between calls.
//!
//! A cell holds what a run looks like after its last commit, so that a run of n steps does not read n² rows. It is a copy: every
//! commit states the revision it was decided under, and whoever finds it outdated reads again. What is done to one run is done one
//! after the other, under the cell's lock; while an app is being called the lock is not held.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use inngest_core::{
    ids::{RunId, WorkId},
    run::progress::Progress,
    time::Timestamp,
};

/// One run.
#[derive(Default)]
pub(crate) struct Cell {
    /// The run after its last commit, if it is known here.
    pub(crate) progress: tokio::sync::Mutex<Option<Progress>>,
    /// Calls on their way.
    calls: Mutex<HashMap<WorkId, InFlight>>,
    /// How often the run went on in place since it last went through the schedule.
    continuations: AtomicU32,
    weight: AtomicUsize,
}

/// A call on its way to an app.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    /// The epoch under which it was made.
    pub(crate) epoch: i64,
    /// See `CallInfo::stack_len`.
    pub(crate) stack_len: usize,
    /// When it was made.
    pub(crate) since: Timestamp,
}

impl Cell {
    /// Whether the run may go on once more without a round through the schedule.
    pub(crate) fn may_continue(&self) -> bool {
        let count = self.continuations.fetch_add(1, Ordering::Relaxed);
        let may = count < inngest_core::limits::CONTINUATIONS;
        if !may {
            self.continuations.store(0, Ordering::Relaxed);
        }
        may
    }

    pub(crate) fn call_started(&self, work: WorkId, call: InFlight) {
        lock(&self.calls).insert(work, call);
    }

    /// The call that was made under `epoch` is over. A later call for the same work, made after it was taken over, stays.
    pub(crate) fn call_ended(&self, work: WorkId, epoch: i64) -> Option<InFlight> {
        let mut calls = lock(&self.calls);
        let is_same = calls.get(&work).is_some_and(|call| call.epoch == epoch);
        if is_same { calls.remove(&work) } else { None }
    }

    pub(crate) fn call(&self, work: WorkId) -> Option<InFlight> {
        lock(&self.calls).get(&work).copied()
    }

    /// The app of this call has reported `count` steps by itself, under a new epoch of the work.
    pub(crate) fn call_reported(&self, work: WorkId, count: usize) {
        if let Some(call) = lock(&self.calls).get_mut(&work) {
            call.stack_len += count;
        }
    }
}

/// All cells, bounded by the bytes they hold.
pub(crate) struct Cells {
    inner: Mutex<Inner>,
    capacity: usize,
}

#[derive(Default)]
struct Inner {
    cells: HashMap<RunId, Arc<Cell>>,
    order: VecDeque<RunId>,
    weight: usize,
}

impl Cells {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            inner: Mutex::default(),
            capacity,
        }
    }

    /// The cell of a run, empty if it is not known here.
    pub(crate) fn get(&self, run: RunId) -> Arc<Cell> {
        let mut inner = lock(&self.inner);
        if let Some(cell) = inner.cells.get(&run) {
            return cell.clone();
        }
        let cell = Arc::new(Cell::default());
        inner.cells.insert(run, cell.clone());
        inner.order.push_back(run);
        cell
    }

    /// Since when the app of this run is being called, if this process is calling it. Does not bring a cell to life.
    pub(crate) fn called_since(&self, run: RunId) -> Option<Timestamp> {
        let cell = lock(&self.inner).cells.get(&run).cloned()?;
        let calls = lock(&cell.calls);
        calls.values().map(|call| call.since).min()
    }

    /// Since when this process is making the call that `work` stands for, if it is. Does not bring a cell to life.
    pub(crate) fn call_since(&self, run: RunId, work: WorkId) -> Option<Timestamp> {
        let cell = lock(&self.inner).cells.get(&run).cloned()?;
        cell.call(work).map(|call| call.since)
    }

    /// Puts a run that was just scheduled where its first call will find it. When there is no room it is left to be read: the runs that
    /// came before it are called first.
    pub(crate) fn put(&self, progress: Progress) {
        let (run, weight) = (progress.run, progress.weight());
        if lock(&self.inner).weight + weight > self.capacity {
            return;
        }
        if let Ok(mut held) = self.get(run).progress.try_lock() {
            *held = Some(progress);
        }
        self.weigh(run, weight);
    }

    /// Records what a run weighs now, and forgets the oldest idle runs while all together weigh too much.
    pub(crate) fn weigh(&self, run: RunId, weight: usize) {
        let mut inner = lock(&self.inner);
        let Some(cell) = inner.cells.get(&run) else {
            return;
        };
        let before = cell.weight.swap(weight, Ordering::Relaxed);
        inner.weight = (inner.weight + weight).saturating_sub(before);
        let mut tries = 64;
        while inner.weight > self.capacity && tries > 0 {
            tries -= 1;
            let Some(oldest) = inner.order.pop_front() else {
                break;
            };
            // Two holders: the map, and this look.
            let is_idle = inner
                .cells
                .get(&oldest)
                .is_some_and(|cell| Arc::strong_count(cell) == 1);
            if is_idle {
                inner.remove(oldest);
            } else if inner.cells.contains_key(&oldest) {
                inner.order.push_back(oldest);
            }
        }
    }

    /// Forgets a run, because it has ended.
    pub(crate) fn remove(&self, run: RunId) {
        let mut inner = lock(&self.inner);
        inner.remove(run);
        // Ended runs leave their place in the order behind; clear them out when they are the majority.
        if inner.order.len() > 1_024 && inner.order.len() > inner.cells.len() * 2 {
            let Inner { cells, order, .. } = &mut *inner;
            order.retain(|run| cells.contains_key(run));
        }
    }
}

impl Inner {
    fn remove(&mut self, run: RunId) {
        if let Some(cell) = self.cells.remove(&run) {
            self.weight = self
                .weight
                .saturating_sub(cell.weight.load(Ordering::Relaxed));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
