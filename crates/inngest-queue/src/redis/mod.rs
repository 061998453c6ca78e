//! The schedule in Redis, shared by any number of processes.
//!
//! Every operation is one script and so one atomic step; what a script does is said in its file. This side turns arguments into bytes,
//! wakes the waiters of this process, and remembers what the process holds, because Redis may forget it: a schedule that is lost is
//! rebuilt (`rebuild`) from the durable list, and who held leases says so again.

mod address;
mod codec;
mod conn;
mod figures;
pub(crate) mod inspect;
mod keys;
pub(crate) mod live;
#[cfg(test)]
mod model_tests;
mod presence;
pub(crate) mod rebuild;
#[cfg(test)]
pub(crate) mod redis_tests;
mod scripts;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use inngest_core::{
    budget::{Charge, Rate},
    ids::{FunctionId, WorkId},
    job::Work,
    time::{Clock, Timestamp},
};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;
use tracing::error;
use uuid::Uuid;

pub use address::BadAddress;
pub use conn::Timeouts;

use crate::{
    error::Error,
    limits::PartitionLimits,
    model::{Enqueued, EntryPlace, Lease, Look, QueueSettings, ScheduleState, Settled, Verdict},
    redis::{
        codec::Known,
        conn::Connection,
        keys::Keys,
        scripts::{Answer, Args, Scripts},
    },
};

/// Where the schedule is and how it is reached.
#[derive(Clone)]
pub struct RedisSettings {
    /// See [`BadAddress`] for what is accepted; it may hold a password.
    pub uri: String,
    /// Begins the name of every key. Default `inngest`. Two installations on one Redis need different ones.
    pub prefix: String,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl RedisSettings {
    /// The defaults, at this place.
    pub fn at(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            prefix: "inngest".to_owned(),
            timeouts: Timeouts::default(),
        }
    }
}

/// Most rows given to a script at once, so that none keeps the others waiting for long.
const ROWS_AT_ONCE: usize = 500;
/// Entries that become due and are moved by one look.
const DUE_AT_ONCE: usize = 512;
/// Who waits looks this often although nobody woke it, in case whoever was woken in its place has died.
const SLOW_LOOK: Duration = Duration::from_secs(1);

/// A handle; clones share everything. Its tasks end with the last one.
#[derive(Clone, Debug)]
pub(crate) struct RedisQueue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    settings: QueueSettings,
    /// Tells this process from every other one.
    process: String,
    keys: Keys,
    scripts: Scripts,
    connection: Arc<Connection>,
    /// Wakes waiters of this process.
    woken: Notify,
    kicked: Notify,
    waiters: AtomicUsize,
    looked_again: AtomicU64,
    commands: AtomicU64,
    /// When this process has to look although nobody wakes it.
    next_at: Mutex<Option<Timestamp>>,
    /// What this process holds, by token.
    held: Mutex<HashMap<u64, (Work, Timestamp)>>,
    limits: Mutex<HashMap<FunctionId, PartitionLimits>>,
    state: watch::Sender<ScheduleState>,
    memory: Mutex<presence::Memory>,
    /// Rebuilds that this process carries out; one, if the schedule was not lost twice at once.
    builders: AtomicUsize,
    /// Shared by whoever may be given leases, and held alone while those are given back that nobody knows of.
    leasing: tokio::sync::RwLock<()>,
    /// Processes that died, and were told to this one.
    deaths: watch::Sender<u64>,
}

impl RedisQueue {
    /// Connects when it is first used. Its tasks are spawned here.
    pub(crate) fn new(
        clock: Clock,
        settings: QueueSettings,
        redis: &RedisSettings,
        tracker: &TaskTracker,
    ) -> Result<Self, BadAddress> {
        let inner = Inner {
            clock,
            settings,
            process: Uuid::new_v4().simple().to_string(),
            keys: Keys::new(&redis.prefix),
            scripts: Scripts::new(),
            connection: Connection::new(&redis.uri, redis.timeouts, tracker)?,
            woken: Notify::new(),
            kicked: Notify::new(),
            waiters: AtomicUsize::new(0),
            looked_again: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            next_at: Mutex::default(),
            held: Mutex::default(),
            limits: Mutex::default(),
            state: watch::Sender::new(ScheduleState::Unreachable),
            memory: Mutex::default(),
            builders: AtomicUsize::new(0),
            leasing: tokio::sync::RwLock::default(),
            deaths: watch::Sender::new(0),
        };
        let queue = Self(Arc::new(inner));
        queue.start_presence();
        Ok(queue)
    }

    pub(crate) async fn enqueue(&self, work: &[Work]) -> Result<Enqueued, Error> {
        let mut enqueued = Enqueued::default();
        let mut left_out = 0;
        for rows in work.chunks(ROWS_AT_ONCE) {
            let now = self.0.clock.now();
            let args = self
                .args(|scripts| &scripts.enqueue)
                .time(now)
                .number(self.0.settings.horizon.as_millis().cast_signed())
                .count(self.0.settings.max_entries)
                .text(&self.0.process)
                .rows(rows);
            let mut answer = self.run(args).await?;
            self.wake_if(answer.flag()?);
            enqueued.added += answer.size()?;
            enqueued.replaced += answer.size()?;
            enqueued.known += answer.size()?;
            enqueued.beyond += answer.size()?;
            left_out += answer.size()?;
        }
        if left_out > 0 {
            Err(Error::Full { left_out })
        } else {
            Ok(enqueued)
        }
    }

    pub(crate) async fn remove(&self, ids: &[WorkId]) -> Result<(), Error> {
        for ids in ids.chunks(ROWS_AT_ONCE) {
            let args = self.args(|scripts| &scripts.remove).text(&self.0.process);
            let args = ids
                .iter()
                .fold(args, |args, id| args.bytes(id.raw().as_bytes()));
            let mut answer = self.run(args).await?;
            self.wake_if(answer.flag()?);
        }
        Ok(())
    }

    pub(crate) async fn places(
        &self,
        ids: &[WorkId],
    ) -> Result<HashMap<WorkId, EntryPlace>, Error> {
        let mut found = HashMap::new();
        for ids in ids.chunks(ROWS_AT_ONCE) {
            let args = self.args(|scripts| &scripts.places);
            let args = ids
                .iter()
                .fold(args, |args, id| args.bytes(id.raw().as_bytes()));
            let mut answer = self.run(args).await?;
            for id in ids {
                let place = match answer.text()?.as_str() {
                    "d" => EntryPlace::Delayed,
                    "w" => EntryPlace::Waiting,
                    "l" => EntryPlace::Leased,
                    _ => continue,
                };
                found.insert(*id, place);
            }
        }
        Ok(found)
    }

    pub(crate) async fn try_lease(&self, max: usize) -> Result<Look, Error> {
        loop {
            let _leasing = self.0.leasing.read().await;
            let args = self
                .args(|scripts| &scripts.lease)
                .time(self.0.clock.now())
                .number(self.0.settings.horizon.as_millis().cast_signed())
                .number(self.0.settings.lease.as_millis().cast_signed())
                .text(&self.0.process)
                .count(max)
                .count(DUE_AT_ONCE)
                .number(presence::COUNTS.as_millis().cast_signed());
            let asked = self.run(args).await;
            if matches!(asked, Err(Error::Unavailable { .. })) {
                // The answer may have been on its way: what it said is given back once there is a connection again.
                lock(&self.0.memory).has_unknown_leases = true;
            }
            let mut answer = asked?;
            let next_at = answer.time()?;
            let has_more = answer.flag()?;
            let mut leases = Vec::new();
            while !answer.is_empty() {
                leases.extend(self.read_lease(&mut answer, true)?);
            }
            if leases.is_empty() && has_more {
                continue;
            }
            *lock(&self.0.next_at) = next_at;
            if !leases.is_empty() && self.0.waiters.load(Ordering::Acquire) > 0 {
                self.0.woken.notify_one();
            }
            return Ok(Look { leases, next_at });
        }
    }

    fn read_lease(&self, answer: &mut Answer, unsure: bool) -> Result<Option<Lease>, Error> {
        let known = Known {
            id: WorkId::from_raw(answer.uuid()?),
            epoch: answer.signed()?,
            function: FunctionId::from_raw(answer.uuid()?),
            rank: answer.signed()?,
            due_at: answer.time()?.unwrap_or_default(),
        };
        let (fixed, other) = (answer.bytes()?, answer.bytes()?);
        let token = answer.number()?;
        let expires_at = answer.time()?.unwrap_or_default();
        let lost = answer.flag()?;
        let crashes = u32::try_from(answer.number()?).unwrap_or(u32::MAX);
        let Some(work) = codec::decode(known, &fixed, &other) else {
            // It stays leased, and comes back when the lease has run out: another version may be able to read it.
            error!("work in Redis that this version cannot read was left alone");
            return Ok(None);
        };
        lock(&self.0.held).insert(token, (work.clone(), expires_at));
        Ok(Some(Lease {
            work,
            token,
            expires_at,
            lost,
            unsure,
            crashes,
            poisoned: false,
        }))
    }

    /// Returns when something may be there to be leased, or at `deadline`.
    pub(crate) async fn wait(&self, deadline: Option<Timestamp>) {
        let woken = self.0.woken.notified();
        let kicked = self.0.kicked.notified();
        let _waiter = Waiter::begin(&self.0.waiters);
        let next_at = *lock(&self.0.next_at);
        let at = match (next_at, deadline) {
            (Some(next), Some(deadline)) => Some(next.min(deadline)),
            (next, deadline) => next.or(deadline),
        };
        let now = self.0.clock.now();
        let pause = at
            .map(|at| at.since(now))
            .filter(|_| !self.0.clock.is_manual() || at.is_some_and(|at| at <= now))
            .map_or(SLOW_LOOK, |until| until.min(SLOW_LOOK));
        tokio::select! {
            () = woken => {}
            () = kicked => {}
            () = tokio::time::sleep(pause) => {}
        }
        self.0.looked_again.fetch_add(1, Ordering::Relaxed);
    }

    /// Sleeps by the schedule's clock, whatever happens to the schedule.
    pub(crate) async fn sleep_until(&self, at: Timestamp) {
        loop {
            let kicked = self.0.kicked.notified();
            let now = self.0.clock.now();
            if now >= at {
                return;
            }
            if self.0.clock.is_manual() {
                kicked.await;
            } else {
                tokio::time::sleep(at.since(now)).await;
            }
        }
    }

    pub(crate) async fn extend(&self, id: WorkId, token: u64) -> Result<Timestamp, Error> {
        let args = self
            .args(|scripts| &scripts.extend)
            .time(self.0.clock.now())
            .number(self.0.settings.lease.as_millis().cast_signed())
            .bytes(id.raw().as_bytes())
            .number(token);
        let restored = lock(&self.0.memory).restored.clone();
        let mut answer = self.run(args).await?;
        let Some(expires_at) = answer.time()? else {
            // A schedule that was lost does not know yet what this process holds; it will in a moment.
            if lock(&self.0.memory).announced != restored {
                return Err(Error::Lost);
            }
            lock(&self.0.held).remove(&token);
            return Err(Error::LeaseLost { id });
        };
        if let Some(held) = lock(&self.0.held).get_mut(&token) {
            held.1 = expires_at;
        }
        Ok(expires_at)
    }

    pub(crate) async fn settle(&self, lease: &Lease, verdict: Verdict) -> Result<Settled, Error> {
        let (word, rows, remove, continue_with) = match verdict {
            Verdict::Done {
                next,
                remove,
                continue_with,
            } => ("d", next, remove, continue_with),
            Verdict::RetryAt { work } => ("t", vec![work], Vec::new(), None),
            Verdict::Release => ("r", Vec::new(), Vec::new(), None),
        };
        // A run that plans thousands of steps at once: all but the last part is added before the lease ends.
        let mut rows = rows.as_slice();
        let mut early = Settled::default();
        if word == "d" && rows.len() > ROWS_AT_ONCE {
            let (first, last) = rows.split_at(rows.len() - ROWS_AT_ONCE);
            match self.enqueue(first).await {
                Ok(added) => early.beyond = added.beyond,
                Err(Error::Full { left_out }) => early.left_out = left_out,
                Err(error) => return Err(error),
            }
            rows = last;
        }
        let args = self
            .settle_args(lease, word, Timestamp::default())
            .rows(rows);
        let args = remove.iter().fold(args.count(remove.len()), |args, id| {
            args.bytes(id.raw().as_bytes())
        });
        let args = match &continue_with {
            Some(work) => args.text("1").row(work),
            None => args.text("0"),
        };
        let settled = self.run_settle(lease, args).await?;
        Ok(Settled {
            beyond: settled.beyond + early.beyond,
            left_out: settled.left_out + early.left_out,
            ..settled
        })
    }

    pub(crate) async fn settle_crashed(
        &self,
        lease: &Lease,
        retry_at: Timestamp,
    ) -> Result<(), Error> {
        let args = self.settle_args(lease, "c", retry_at);
        let args = args.count(0).count(0).text("0");
        self.run_settle(lease, args).await.map(drop)
    }

    fn settle_args(&self, lease: &Lease, word: &str, retry_at: Timestamp) -> Args<'_> {
        self.args(|scripts| &scripts.settle)
            .time(self.0.clock.now())
            .number(self.0.settings.horizon.as_millis().cast_signed())
            .count(self.0.settings.max_entries)
            .number(self.0.settings.lease.as_millis().cast_signed())
            .text(&self.0.process)
            .bytes(lease.work.id.raw().as_bytes())
            .number(lease.token)
            .text(word)
            .time(retry_at)
    }

    async fn run_settle(&self, lease: &Lease, args: Args<'_>) -> Result<Settled, Error> {
        let _leasing = self.0.leasing.read().await;
        let asked = self.run(args).await;
        if matches!(asked, Err(Error::Unavailable { .. })) {
            // It may go on with work of which this process has not been told.
            lock(&self.0.memory).has_unknown_leases = true;
        }
        lock(&self.0.held).remove(&lease.token);
        let mut answer = asked?;
        self.wake_if(answer.flag()?);
        let lease_lost = answer.flag()?;
        let beyond = answer.size()?;
        let left_out = answer.size()?;
        let continued = if answer.is_empty() {
            None
        } else {
            self.read_lease(&mut answer, false)?
        };
        Ok(Settled {
            continued,
            beyond,
            left_out,
            lease_lost,
        })
    }

    pub(crate) async fn set_limits(
        &self,
        function: FunctionId,
        limits: PartitionLimits,
    ) -> Result<(), Error> {
        lock(&self.0.limits).insert(function, limits);
        let limit = limits
            .concurrency
            .map_or_else(String::new, |limit| limit.to_string());
        let args = self
            .args(|scripts| &scripts.limits)
            .text(&self.0.process)
            .function(function)
            .text(&limit);
        let mut answer = self.run(args).await?;
        self.wake_if(answer.flag()?);
        Ok(())
    }

    /// See [`crate::budget::Budget::charge`]. Says nothing of the schedule, which may be lost.
    pub(crate) async fn charge(
        &self,
        principal: &str,
        rate: Rate,
        now: u64,
        points: u64,
    ) -> Result<Charge, Error> {
        self.0.commands.fetch_add(1, Ordering::Relaxed);
        let args = self
            .args(|scripts| &scripts.charge)
            .bytes(&Sha256::digest(principal))
            .number(now)
            .number(rate.whole())
            .number(rate.price(points));
        let mut answer = args.run(&self.0.connection).await?;
        let _generation = answer.text()?;
        let missing = answer.number()?;
        let wait = answer.number()?;
        Ok(rate.outcome(missing, wait, now))
    }

    pub(crate) fn kick(&self) {
        self.0.kicked.notify_waiters();
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn lease_length(&self) -> Duration {
        self.0.settings.lease
    }

    pub(crate) fn state(&self) -> watch::Receiver<ScheduleState> {
        self.0.state.subscribe()
    }

    pub(crate) fn deaths(&self) -> watch::Receiver<u64> {
        self.0.deaths.subscribe()
    }

    /// Scripts run so far.
    pub(crate) fn commands(&self) -> u64 {
        self.0.commands.load(Ordering::Relaxed)
    }

    fn args(&self, script: impl Fn(&Scripts) -> &redis::Script) -> Args<'_> {
        Args::of(script(&self.0.scripts), &self.0.keys.generation())
    }

    /// Runs a script and takes note of the generation that it saw.
    async fn run(&self, args: Args<'_>) -> Result<Answer, Error> {
        self.0.commands.fetch_add(1, Ordering::Relaxed);
        let outcome = args.run(&self.0.connection).await;
        let mut answer = outcome.inspect_err(|_| self.note_unreachable())?;
        let generation = answer.text()?;
        if generation == "NOGEN" || generation.is_empty() {
            self.note_state(ScheduleState::Lost);
            return Err(Error::Lost);
        }
        self.note_generation(&generation);
        Ok(answer)
    }

    fn wake_if(&self, is_to_look: bool) {
        if is_to_look {
            self.0.woken.notify_one();
        }
    }
}

/// Somebody who waits, counted until dropped.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn begin(waiters: &'a AtomicUsize) -> Self {
        waiters.fetch_add(1, Ordering::AcqRel);
        Self(waiters)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
