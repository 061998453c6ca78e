//! Every entry of the schedule, and what happens to one. No waiting and no clock: `now` comes in, decisions come out.

use std::collections::{BTreeSet, HashMap};

use inngest_core::{
    ids::{FunctionId, WorkId},
    job::Work,
    time::Timestamp,
};
use slab::Slab;

use crate::{
    error::Error,
    limits::{AdmissionKeys, PartitionLimits},
    memory::{
        admission::{Admission, EntryNo, LaneNo},
        entry::{After, Entry, Fate, Held, Place},
    },
    model::{
        Enqueued, EntryPlace, Lease, PartitionStats, QueueSettings, QueueStats, Settled, Verdict,
    },
};

/// Entries that become due and are moved in one go, so that ten thousand sleepers do not hold the lock for long.
const DUE_AT_ONCE: usize = 1_024;

#[derive(Debug)]
pub(super) struct State {
    settings: QueueSettings,
    entries: Slab<Entry>,
    by_id: HashMap<WorkId, EntryNo>,
    delayed: BTreeSet<(Timestamp, u64, EntryNo)>,
    leased: BTreeSet<(Timestamp, u64, EntryNo)>,
    admission: Admission,
    last_seq: u64,
    last_token: u64,
    expired: u64,
    crashes: u64,
}

/// Who offers a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Whoever has just committed it.
    Commit,
    /// Whoever has read it, some time ago.
    Refill,
}

/// What became of one offered row.
pub(super) enum Offered {
    Added,
    Replaced,
    Known,
    Beyond,
    Full,
}

impl State {
    pub(super) fn new(settings: QueueSettings) -> Self {
        Self {
            settings,
            entries: Slab::new(),
            by_id: HashMap::new(),
            delayed: BTreeSet::new(),
            leased: BTreeSet::new(),
            admission: Admission::default(),
            last_seq: 0,
            last_token: 0,
            expired: 0,
            crashes: 0,
        }
    }

    pub(super) fn has_open(&self) -> bool {
        self.admission.has_open()
    }

    /// The next instant at which something changes by itself.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let due = self.delayed.first().map(|&(at, _, _)| at);
        let end = self.leased.first().map(|&(at, _, _)| at);
        match (due, end) {
            (Some(due), Some(end)) => Some(due.min(end)),
            (due, end) => due.or(end),
        }
    }

    pub(super) fn enqueue(
        &mut self,
        work: &[Work],
        source: Source,
        now: Timestamp,
    ) -> Result<Enqueued, Error> {
        let mut counts = Enqueued::default();
        let mut left_out = 0;
        for work in work {
            match self.offer(work.clone(), AdmissionKeys::of(work), source, now) {
                Offered::Added => counts.added += 1,
                Offered::Replaced => counts.replaced += 1,
                Offered::Known => counts.known += 1,
                Offered::Beyond => counts.beyond += 1,
                Offered::Full => left_out += 1,
            }
        }
        if left_out > 0 {
            Err(Error::Full { left_out })
        } else {
            Ok(counts)
        }
    }

    pub(super) fn remove(&mut self, ids: &[WorkId]) {
        for id in ids {
            if let Some(&entry_no) = self.by_id.get(id) {
                self.remove_entry(entry_no);
            }
        }
    }

    pub(super) fn places(&self, ids: &[WorkId]) -> HashMap<WorkId, EntryPlace> {
        let place = |id: &WorkId| match self.entries[*self.by_id.get(id)?].place {
            Place::Nowhere => None,
            Place::Delayed => Some((*id, EntryPlace::Delayed)),
            Place::Waiting(_) => Some((*id, EntryPlace::Waiting)),
            Place::Leased(_) => Some((*id, EntryPlace::Leased)),
        };
        ids.iter().filter_map(place).collect()
    }

    /// Moves what became due, and what was leased too long, to where it can be leased. Returns whether there is more of it.
    pub(super) fn catch_up(&mut self, now: Timestamp) -> bool {
        while let Some(&(at, _, entry_no)) = self.leased.first()
            && at <= now
        {
            self.expire(entry_no, now);
        }
        for _ in 0..DUE_AT_ONCE {
            let Some(&(at, _, entry_no)) = self.delayed.first() else {
                return false;
            };
            if at > now {
                return false;
            }
            self.delayed.pop_first();
            self.wait_in_lane(entry_no);
        }
        true
    }

    pub(super) fn lease(&mut self, max: usize, now: Timestamp) -> Vec<Lease> {
        let mut leases = Vec::new();
        while leases.len() < max {
            let Some((entry_no, lane)) = self.admission.take_next() else {
                break;
            };
            leases.push(self.hold(entry_no, lane, now));
        }
        leases
    }

    pub(super) fn extend(
        &mut self,
        id: WorkId,
        token: u64,
        now: Timestamp,
    ) -> Result<Timestamp, Error> {
        let entry_no = self.holder(id, token).ok_or(Error::LeaseLost { id })?;
        let until = now.plus(self.settings.lease);
        let Place::Leased(held) = &mut self.entries[entry_no].place else {
            return Err(Error::LeaseLost { id });
        };
        let before = std::mem::replace(&mut held.expires_at, until);
        self.leased.remove(&(before, token, entry_no));
        self.leased.insert((until, token, entry_no));
        Ok(until)
    }

    pub(super) fn settle(&mut self, lease: &Lease, verdict: Verdict, now: Timestamp) -> Settled {
        let mut settled = Settled::default();
        let ended = self.end_lease(lease.work.id, lease.token);
        settled.lease_lost = ended.is_none();
        match verdict {
            Verdict::Done {
                next,
                remove,
                continue_with,
            } => {
                if let Some((entry_no, after)) = ended {
                    self.apply(entry_no, after.or(Fate::Forget), now, &mut settled);
                }
                self.remove(&remove);
                for work in next {
                    self.offer_counted(work, now, &mut settled);
                }
                if let Some(work) = continue_with {
                    let may_continue = !settled.lease_lost
                        && work.due_at <= now
                        && !self.by_id.contains_key(&work.id);
                    settled.continued = if may_continue {
                        self.lease_at_once(&work, now)
                    } else {
                        None
                    };
                    if settled.continued.is_none() {
                        self.offer_counted(work, now, &mut settled);
                    }
                }
            }
            Verdict::RetryAt { work } => {
                debug_assert_eq!(work.id, lease.work.id, "a retry is of the same work");
                match ended {
                    Some((entry_no, after)) => {
                        self.apply(entry_no, after.or(Fate::retry(work)), now, &mut settled)
                    }
                    None => self.offer_counted(work, now, &mut settled),
                }
            }
            Verdict::Release => {
                if let Some((entry_no, after)) = ended {
                    self.apply(entry_no, after.or(Fate::Keep), now, &mut settled);
                }
            }
        }
        settled
    }

    pub(super) fn settle_crashed(&mut self, lease: &Lease, retry_at: Timestamp, now: Timestamp) {
        self.crashes += 1;
        if let Some((entry_no, after)) = self.end_lease(lease.work.id, lease.token) {
            let entry = &mut self.entries[entry_no];
            entry.crashes = entry.crashes.saturating_add(1);
            entry.ready_at = retry_at;
            self.apply(entry_no, after.or(Fate::Keep), now, &mut Settled::default());
        }
    }

    pub(super) fn set_limits(&mut self, function: FunctionId, limits: PartitionLimits) {
        self.admission.set_limits(function, limits);
    }

    pub(super) fn partitions(&self, max: usize) -> Vec<PartitionStats> {
        self.admission.partitions(max)
    }

    pub(super) fn partitions_of(&self, functions: &[FunctionId]) -> Vec<PartitionStats> {
        self.admission.partitions_of(functions)
    }

    pub(super) fn stats(&self) -> QueueStats {
        let depth = self.admission.depth();
        QueueStats {
            entries: self.entries.len(),
            delayed: self.delayed.len(),
            ready: depth.ready,
            backlog: depth.backlog,
            leased: self.leased.len(),
            partitions: depth.partitions,
            oldest_due: depth.oldest_due,
            next_due: self.delayed.first().map(|&(at, _, _)| at),
            expired: self.expired,
            crashes: self.crashes,
            wakeups: 0,
            rebuild: None,
        }
    }

    pub(super) fn offer(
        &mut self,
        work: Work,
        keys: AdmissionKeys,
        source: Source,
        now: Timestamp,
    ) -> Offered {
        let is_beyond = work.due_at > now.plus(self.settings.horizon);
        if let Some(&entry_no) = self.by_id.get(&work.id) {
            let entry = &mut self.entries[entry_no];
            let current = match &entry.place {
                Place::Leased(Held {
                    after: After::Removed,
                    ..
                }) => None,
                Place::Leased(Held {
                    after: After::Replaced(newer),
                    ..
                }) => Some(newer.0.epoch),
                Place::Leased(_) | Place::Nowhere | Place::Delayed | Place::Waiting(_) => {
                    Some(entry.work.epoch)
                }
            };
            if current.is_some_and(|epoch| epoch >= work.epoch) {
                return Offered::Known;
            }
            if is_beyond {
                self.remove_entry(entry_no);
                return Offered::Beyond;
            }
            if let Place::Leased(held) = &mut entry.place {
                held.after = After::Replaced(Box::new((work, keys)));
                return Offered::Replaced;
            }
            let lost = entry.lost;
            self.remove_entry(entry_no);
            let entry_no = self.insert(work, keys, lost, now);
            self.entries[entry_no].unsure = source == Source::Refill;
            return Offered::Replaced;
        }
        if is_beyond {
            return Offered::Beyond;
        }
        let max = self.settings.max_entries;
        let timers_are_full = work.due_at > now && self.delayed.len() >= max - max / 4;
        if self.entries.len() >= max || timers_are_full {
            return Offered::Full;
        }
        let entry_no = self.insert(work, keys, false, now);
        self.entries[entry_no].unsure = source == Source::Refill;
        Offered::Added
    }

    fn offer_counted(&mut self, work: Work, now: Timestamp, settled: &mut Settled) {
        let keys = AdmissionKeys::of(&work);
        match self.offer(work, keys, Source::Commit, now) {
            Offered::Added | Offered::Replaced | Offered::Known => {}
            Offered::Beyond => settled.beyond += 1,
            Offered::Full => settled.left_out += 1,
        }
    }

    /// A lease on work that is not in the schedule yet, if limits admit it.
    fn lease_at_once(&mut self, work: &Work, now: Timestamp) -> Option<Lease> {
        if self.entries.len() >= self.settings.max_entries {
            return None;
        }
        let keys = AdmissionKeys::of(work);
        let lane = self
            .admission
            .try_take(work.function, &keys, work.kind.calls_app())?;
        let entry_no = self.link(work.clone(), keys);
        Some(self.hold(entry_no, lane, now))
    }

    fn hold(&mut self, entry_no: EntryNo, lane: LaneNo, now: Timestamp) -> Lease {
        self.last_token += 1;
        let token = self.last_token;
        let expires_at = now.plus(self.settings.lease);
        let entry = &mut self.entries[entry_no];
        entry.place = Place::Leased(Held {
            lane,
            token,
            expires_at,
            after: After::Verdict,
        });
        self.leased.insert((expires_at, token, entry_no));
        Lease {
            work: entry.work.clone(),
            token,
            expires_at,
            lost: entry.lost,
            unsure: entry.unsure,
            crashes: entry.crashes,
            poisoned: false,
        }
    }

    fn holder(&self, id: WorkId, token: u64) -> Option<EntryNo> {
        let &entry_no = self.by_id.get(&id)?;
        match &self.entries[entry_no].place {
            Place::Leased(held) if held.token == token => Some(entry_no),
            Place::Leased(_) | Place::Nowhere | Place::Delayed | Place::Waiting(_) => None,
        }
    }

    /// Frees the slots of a lease that is still held; the entry is nowhere then, and the caller puts it somewhere.
    fn end_lease(&mut self, id: WorkId, token: u64) -> Option<(EntryNo, After)> {
        let entry_no = self.holder(id, token)?;
        Some((entry_no, self.take_back(entry_no)?))
    }

    fn take_back(&mut self, entry_no: EntryNo) -> Option<After> {
        match std::mem::replace(&mut self.entries[entry_no].place, Place::Nowhere) {
            Place::Leased(held) => {
                self.leased.remove(&(held.expires_at, held.token, entry_no));
                self.admission.release(held.lane);
                Some(held.after)
            }
            other => {
                self.entries[entry_no].place = other;
                None
            }
        }
    }

    /// The holder has vanished: whoever comes next must raise the epoch first.
    fn expire(&mut self, entry_no: EntryNo, now: Timestamp) {
        let Some(after) = self.take_back(entry_no) else {
            debug_assert!(false, "only leased entries are in the list of leases");
            return;
        };
        self.expired += 1;
        self.entries[entry_no].lost = true;
        self.apply(entry_no, after.or(Fate::Keep), now, &mut Settled::default());
    }

    /// Puts an entry that is nowhere to its place.
    fn apply(&mut self, entry_no: EntryNo, fate: Fate, now: Timestamp, settled: &mut Settled) {
        match fate {
            Fate::Forget => drop(self.unlink(entry_no)),
            Fate::Keep => self.place(entry_no, now),
            Fate::Replace {
                work,
                keys,
                keeps_lost,
            } => {
                let old = self.unlink(entry_no);
                if work.due_at > now.plus(self.settings.horizon) {
                    settled.beyond += 1;
                    return;
                }
                self.insert(work, keys, old.lost && keeps_lost, now);
            }
        }
    }

    fn insert(&mut self, work: Work, keys: AdmissionKeys, lost: bool, now: Timestamp) -> EntryNo {
        let entry_no = self.link(work, keys);
        self.entries[entry_no].lost = lost;
        self.place(entry_no, now);
        entry_no
    }

    fn place(&mut self, entry_no: EntryNo, now: Timestamp) {
        let entry = &mut self.entries[entry_no];
        debug_assert!(
            matches!(entry.place, Place::Nowhere),
            "an entry has one place"
        );
        if entry.ready_at > now {
            entry.place = Place::Delayed;
            self.delayed.insert((entry.ready_at, entry.seq, entry_no));
        } else {
            self.wait_in_lane(entry_no);
        }
    }

    fn wait_in_lane(&mut self, entry_no: EntryNo) {
        let entry = &mut self.entries[entry_no];
        let lane = self
            .admission
            .insert(entry.work.function, &entry.keys, entry.order(), entry_no);
        entry.place = Place::Waiting(lane);
    }

    /// Removes an entry; a leased one when its lease ends.
    fn remove_entry(&mut self, entry_no: EntryNo) {
        let entry = &mut self.entries[entry_no];
        match &mut entry.place {
            Place::Leased(held) => {
                held.after = After::Removed;
                return;
            }
            Place::Delayed => {
                self.delayed.remove(&(entry.ready_at, entry.seq, entry_no));
            }
            Place::Waiting(lane) => self.admission.remove(*lane, entry.order()),
            Place::Nowhere => debug_assert!(false, "no operation starts with an entry in between"),
        }
        self.unlink(entry_no);
    }

    /// Adds an entry that is nowhere yet to the table and the indexes.
    fn link(&mut self, work: Work, keys: AdmissionKeys) -> EntryNo {
        self.last_seq += 1;
        let id = work.id;
        let entry_no = self.entries.insert(Entry {
            ready_at: work.due_at,
            work,
            keys,
            seq: self.last_seq,
            place: Place::Nowhere,
            lost: false,
            crashes: 0,
            unsure: false,
        });
        self.by_id.insert(id, entry_no);
        entry_no
    }

    fn unlink(&mut self, entry_no: EntryNo) -> Entry {
        let entry = self.entries.remove(entry_no);
        self.by_id.remove(&entry.work.id);
        entry
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
