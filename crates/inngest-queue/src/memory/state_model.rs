//! The schedule as it ought to be: one list, looked at as a whole each time.

use std::collections::HashMap;

use inngest_core::{
    ids::{FunctionId, WorkId},
    job::Work,
    time::Timestamp,
};

use super::{HORIZON, keys_of};
use crate::{limits::AdmissionKeys, model::Lease};

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) work: Work,
    pub(super) ready_at: Timestamp,
    /// Order of arrival.
    pub(super) arrived: u64,
    pub(super) holder: Option<Holder>,
    pub(super) lost: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) token: u64,
    pub(super) expires_at: Timestamp,
    pub(super) removed: bool,
    pub(super) newer: Option<Work>,
}

/// What the schedule ought to hold.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) items: HashMap<WorkId, Item>,
    pub(super) limits: HashMap<FunctionId, u32>,
    pub(super) last_served: HashMap<FunctionId, u64>,
    pub(super) served: u64,
    pub(super) arrived: u64,
    pub(super) has_keys: bool,
}

impl Model {
    pub(super) fn put(&mut self, work: Work, lost: bool, now: Timestamp) {
        if work.due_at > now.plus(HORIZON) {
            return;
        }
        self.arrived += 1;
        let item = Item {
            ready_at: work.due_at,
            arrived: self.arrived,
            holder: None,
            lost,
            work,
        };
        self.items.insert(item.work.id, item);
    }

    pub(super) fn offer(&mut self, work: Work, now: Timestamp) {
        let is_beyond = work.due_at > now.plus(HORIZON);
        let Some(item) = self.items.get_mut(&work.id) else {
            return self.put(work, false, now);
        };
        let current = match &item.holder {
            Some(Holder { removed: true, .. }) => i64::MIN,
            Some(Holder {
                newer: Some(newer), ..
            }) => newer.epoch,
            Some(_) | None => item.work.epoch,
        };
        if current >= work.epoch {
            return;
        }
        match &mut item.holder {
            Some(holder) => {
                holder.removed = is_beyond;
                holder.newer = (!is_beyond).then_some(work);
            }
            None => {
                let lost = item.lost;
                self.items.remove(&work.id);
                self.put(work, lost, now);
            }
        }
    }

    pub(super) fn remove(&mut self, id: WorkId) {
        match self.items.get_mut(&id) {
            Some(Item {
                holder: Some(holder),
                ..
            }) => {
                holder.removed = true;
                holder.newer = None;
            }
            Some(_) => drop(self.items.remove(&id)),
            None => {}
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let mut ended: Vec<(Timestamp, u64, WorkId)> = Vec::new();
        for (id, item) in &self.items {
            ended.extend(
                item.holder
                    .as_ref()
                    .filter(|held| held.expires_at <= now)
                    .map(|held| (held.expires_at, held.token, *id)),
            );
        }
        ended.sort_unstable();
        for (_, _, id) in ended {
            let Some(item) = self.items.get_mut(&id) else {
                continue;
            };
            let Some(holder) = item.holder.take() else {
                continue;
            };
            item.lost = true;
            match (holder.removed, holder.newer) {
                (true, _) => drop(self.items.remove(&id)),
                (false, Some(newer)) => {
                    self.items.remove(&id);
                    self.put(newer, true, now);
                }
                (false, None) => {}
            }
        }
    }

    pub(super) fn in_use(&self, function: FunctionId) -> usize {
        let holds = |item: &&Item| {
            item.holder.is_some() && item.work.kind.calls_app() && item.work.function == function
        };
        self.items.values().filter(holds).count()
    }

    pub(super) fn is_admitted(&self, work: &Work) -> bool {
        if !work.kind.calls_app() {
            return true;
        }
        let has_slot = self
            .limits
            .get(&work.function)
            .is_none_or(|&limit| self.in_use(work.function) < limit as usize);
        has_slot
            && self
                .keys(work)
                .as_slice()
                .iter()
                .all(|key| self.key_in_use(key.key) < key.limit as usize)
    }

    pub(super) fn keys(&self, work: &Work) -> AdmissionKeys {
        if self.has_keys {
            keys_of(work.id.raw().as_u128())
        } else {
            AdmissionKeys::default()
        }
    }

    pub(super) fn key_in_use(&self, key: u128) -> usize {
        let names = |work: &Work| {
            self.keys(work)
                .as_slice()
                .iter()
                .any(|other| other.key == key)
        };
        self.items
            .values()
            .filter(|i| i.holder.is_some() && i.work.kind.calls_app() && names(&i.work))
            .count()
    }

    pub(super) fn eligible(&self, now: Timestamp) -> Vec<&Item> {
        self.items
            .values()
            .filter(|item| {
                item.holder.is_none() && item.ready_at <= now && self.is_admitted(&item.work)
            })
            .collect()
    }

    /// Checks that this lease is the right one, and notes it.
    pub(super) fn check_leased(&mut self, lease: &Lease, now: Timestamp) {
        let eligible = self.eligible(now);
        let found = eligible.iter().find(|item| item.work.id == lease.work.id);
        let item = found.unwrap_or_else(|| panic!("{lease:?} may not be leased"));
        assert_eq!((&item.work, item.lost), (&lease.work, lease.lost));
        let order = |item: &Item| {
            (
                item.work.kind.calls_app(),
                item.work.rank,
                item.work.due_at,
                item.arrived,
            )
        };
        let same_lane = |other: &&&Item| {
            other.work.function == item.work.function
                && (!self.has_keys
                    || (self.keys(&other.work) == self.keys(&item.work)
                        && item.work.kind.calls_app())
                    || !other.work.kind.calls_app())
        };
        let best = eligible
            .iter()
            .filter(same_lane)
            .map(|other| order(other))
            .min();
        assert_eq!(best, Some(order(item)), "order inside a partition");
        let turn = |item: &Item| {
            self.last_served
                .get(&item.work.function)
                .copied()
                .unwrap_or(0)
        };
        if !self.has_keys {
            let first = eligible.iter().map(|other| turn(other)).min();
            assert_eq!(
                first,
                Some(turn(item)),
                "the partition served longest ago goes first"
            );
        }
        self.served += 1;
        self.last_served.insert(lease.work.function, self.served);
        self.hold(lease);
    }

    pub(super) fn hold(&mut self, lease: &Lease) {
        let holder = Holder {
            token: lease.token,
            expires_at: lease.expires_at,
            removed: false,
            newer: None,
        };
        self.items
            .get_mut(&lease.work.id)
            .expect("it is known")
            .holder = Some(holder);
    }

    /// Ends a lease if it is held; returns whether it was, and what must be put back in any case.
    pub(super) fn end(&mut self, lease: &Lease) -> Option<(Item, Holder)> {
        let item = self.items.get(&lease.work.id)?;
        let is_holder = item
            .holder
            .as_ref()
            .is_some_and(|holder| holder.token == lease.token);
        if !is_holder {
            return None;
        }
        let mut item = self.items.remove(&lease.work.id)?;
        let holder = item.holder.take()?;
        Some((item, holder))
    }
}
