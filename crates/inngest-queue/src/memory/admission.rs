//! Who is next: partitions, the lanes in them, and the slots that limits give out.
//!
//! A *lane* is the queue of due entries of one partition that name the same limits; a *group* is one limit. A lane with entries is
//! **open** (its head may be leased) or **parked** at one group that is full. The rule that keeps it live: when a group has a free
//! slot and lanes are parked at it, enough lanes are open on its account to use the slot; so a lane that stops being open hands
//! the chance on to the others of its groups.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use inngest_core::{ids::FunctionId, time::Timestamp};
use slab::Slab;

use crate::{
    limits::{AdmissionKeys, PartitionLimits},
    model::PartitionStats,
};

/// An entry's number in the table of entries.
pub(super) type EntryNo = usize;
/// A lane's number.
pub(super) type LaneNo = usize;
type GroupNo = usize;
type PartitionNo = usize;

/// Partitions kept although empty, so that fairness remembers when they were served.
const KEPT_PARTITIONS: usize = 1_024;

/// Order inside a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    /// Kinds that do not call the app go first.
    pub(super) calls_app: bool,
    pub(super) rank: i64,
    pub(super) due_at: Timestamp,
    pub(super) seq: u64,
}

#[derive(Debug, Default)]
pub(super) struct Admission {
    partitions: Slab<Partition>,
    by_function: HashMap<FunctionId, PartitionNo>,
    lanes: Slab<Lane>,
    groups: Slab<Group>,
    by_key: HashMap<u128, GroupNo>,
    /// Partitions with an open lane, the one served longest ago first.
    ring: BTreeSet<(u64, PartitionNo)>,
    served: u64,
    /// No forgotten partition was served later than this.
    forgotten: u64,
    purge_above: usize,
}

#[derive(Debug)]
struct Partition {
    function: FunctionId,
    limits: PartitionLimits,
    /// The limit on concurrency of the whole partition.
    group: GroupNo,
    /// For entries without keys, and for those that take no slot at all.
    plain: Option<LaneNo>,
    internal: Option<LaneNo>,
    keyed: HashMap<AdmissionKeys, LaneNo>,
    open: BTreeSet<(Order, LaneNo)>,
    last_served: u64,
    in_ring: bool,
    /// Entries waiting in lanes, and leases.
    members: usize,
}

#[derive(Debug)]
struct Lane {
    partition: PartitionNo,
    keys: AdmissionKeys,
    groups: Box<[GroupNo]>,
    waiting: BTreeMap<Order, EntryNo>,
    place: Place,
    leased: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Idle,
    Open(Order),
    Parked(GroupNo, Order),
}

#[derive(Debug, Default)]
struct Group {
    /// Set for keys, whose groups are forgotten with their last lane.
    key: Option<u128>,
    limit: Option<u32>,
    in_use: u32,
    parked: BTreeSet<(Order, LaneNo)>,
    lanes: usize,
}

impl Group {
    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.in_use >= limit)
    }

    fn free(&self) -> usize {
        match self.limit {
            Some(limit) => limit.saturating_sub(self.in_use) as usize,
            None => usize::MAX,
        }
    }
}

/// Figures for [`crate::model::QueueStats`].
#[derive(Debug, Default)]
pub(super) struct Depth {
    pub(super) ready: usize,
    pub(super) backlog: usize,
    pub(super) partitions: usize,
    pub(super) oldest_due: Option<Timestamp>,
}

impl Admission {
    /// Whether some entry may be leasable; a look finds out for sure.
    pub(super) fn has_open(&self) -> bool {
        !self.ring.is_empty()
    }

    /// An entry that is due starts to wait. Returns the lane it waits in.
    pub(super) fn insert(
        &mut self,
        function: FunctionId,
        keys: &AdmissionKeys,
        order: Order,
        entry: EntryNo,
    ) -> LaneNo {
        let lane_no = self.lane(function, keys, order.calls_app);
        let lane = &mut self.lanes[lane_no];
        let replaced = lane.waiting.insert(order, entry);
        debug_assert!(replaced.is_none(), "an order is used once");
        let partition = lane.partition;
        self.partitions[partition].members += 1;
        self.place(lane_no);
        lane_no
    }

    /// An entry stops waiting without having been leased.
    pub(super) fn remove(&mut self, lane_no: LaneNo, order: Order) {
        let lane = &mut self.lanes[lane_no];
        let removed = lane.waiting.remove(&order);
        debug_assert!(removed.is_some(), "the entry waits in this lane");
        let partition = lane.partition;
        self.partitions[partition].members -= 1;
        self.place(lane_no);
        self.forget_lane_if_unused(lane_no);
    }

    /// Takes the entry that is next, and its slots. They are held until [`Admission::release`].
    pub(super) fn take_next(&mut self) -> Option<(EntryNo, LaneNo)> {
        loop {
            let &(_, partition_no) = self.ring.first()?;
            let &(_, lane_no) = self.partitions[partition_no]
                .open
                .first()
                .expect("a partition in the ring has an open lane");
            if self.full_group(lane_no).is_some() {
                self.place(lane_no);
                continue;
            }
            let (_, entry) = self.lanes[lane_no]
                .waiting
                .pop_first()
                .expect("an open lane has entries");
            self.hold(lane_no);
            self.mark_served(partition_no);
            self.place(lane_no);
            return Some((entry, lane_no));
        }
    }

    /// Takes slots for an entry that goes on in place of another one, without waiting in a lane; `None` when a limit is reached.
    pub(super) fn try_take(
        &mut self,
        function: FunctionId,
        keys: &AdmissionKeys,
        calls_app: bool,
    ) -> Option<LaneNo> {
        let lane_no = self.lane(function, keys, calls_app);
        if self.full_group(lane_no).is_some() {
            self.forget_lane_if_unused(lane_no);
            return None;
        }
        let partition = self.lanes[lane_no].partition;
        self.partitions[partition].members += 1;
        self.hold(lane_no);
        Some(lane_no)
    }

    /// Gives back the slots of a lease, and opens what they had kept back.
    pub(super) fn release(&mut self, lane_no: LaneNo) {
        let lane = &mut self.lanes[lane_no];
        lane.leased -= 1;
        let partition = lane.partition;
        self.partitions[partition].members -= 1;
        for index in 0..self.lanes[lane_no].groups.len() {
            let group = self.lanes[lane_no].groups[index];
            self.groups[group].in_use -= 1;
        }
        self.refill_groups_of(lane_no);
        self.forget_lane_if_unused(lane_no);
    }

    pub(super) fn set_limits(&mut self, function: FunctionId, limits: PartitionLimits) {
        let partition_no = self.partition(function);
        self.partitions[partition_no].limits = limits;
        let group = self.partitions[partition_no].group;
        self.set_group_limit(group, limits.concurrency);
    }

    pub(super) fn depth(&self) -> Depth {
        let mut depth = Depth::default();
        for (_, partition) in &self.partitions {
            depth.partitions += usize::from(partition.members > 0);
        }
        for (lane_no, lane) in &self.lanes {
            let Some((head, _)) = lane.waiting.first_key_value() else {
                continue;
            };
            if self.full_group(lane_no).is_some() {
                depth.backlog += lane.waiting.len();
            } else {
                depth.ready += lane.waiting.len();
            }
            depth.oldest_due = Some(
                depth
                    .oldest_due
                    .map_or(head.due_at, |oldest| oldest.min(head.due_at)),
            );
        }
        depth
    }

    /// Figures of up to `max` partitions with entries, those with the most due entries first.
    pub(super) fn partitions(&self, max: usize) -> Vec<PartitionStats> {
        let all = self.partitions.iter();
        let all = all.map(|(_, partition)| self.figures(partition)).collect();
        PartitionStats::deepest(all, max)
    }

    /// Figures of the partitions of these functions that have due entries or leases.
    pub(super) fn partitions_of(&self, functions: &[FunctionId]) -> Vec<PartitionStats> {
        functions
            .iter()
            .filter_map(|function| self.by_function.get(function))
            .map(|&partition_no| self.figures(&self.partitions[partition_no]))
            .filter(|stats| !stats.is_empty())
            .collect()
    }

    fn figures(&self, partition: &Partition) -> PartitionStats {
        let mut stats = PartitionStats::of(partition.function);
        let lanes = partition.plain.iter().chain(&partition.internal);
        for &lane_no in lanes.chain(partition.keyed.values()) {
            let lane = &self.lanes[lane_no];
            stats.leased += lane.leased;
            let Some((head, _)) = lane.waiting.first_key_value() else {
                continue;
            };
            match self.full_group(lane_no) {
                Some(_) => stats.backlog += lane.waiting.len(),
                None => stats.ready += lane.waiting.len(),
            }
            stats.oldest_due = Some(
                stats
                    .oldest_due
                    .map_or(head.due_at, |oldest| oldest.min(head.due_at)),
            );
        }
        stats
    }

    #[cfg(test)]
    pub(super) fn slots_in_use(&self) -> u64 {
        self.groups
            .iter()
            .map(|(_, group)| u64::from(group.in_use))
            .sum()
    }

    fn hold(&mut self, lane_no: LaneNo) {
        let lane = &mut self.lanes[lane_no];
        lane.leased += 1;
        for &group in &lane.groups {
            self.groups[group].in_use += 1;
        }
    }

    fn full_group(&self, lane_no: LaneNo) -> Option<GroupNo> {
        self.lanes[lane_no]
            .groups
            .iter()
            .copied()
            .find(|&group| self.groups[group].is_full())
    }

    /// Puts a lane where it belongs after its entries or its groups changed.
    fn place(&mut self, lane_no: LaneNo) {
        let lane = &self.lanes[lane_no];
        let before = lane.place;
        let target = match (lane.waiting.first_key_value(), before) {
            (None, _) => Place::Idle,
            (Some((&head, _)), Place::Parked(group, _)) if self.groups[group].is_full() => {
                Place::Parked(group, head)
            }
            (Some((&head, _)), _) => match self.full_group(lane_no) {
                Some(group) => Place::Parked(group, head),
                None => Place::Open(head),
            },
        };
        if target == before {
            return;
        }
        self.move_lane(lane_no, target);
        // An open lane that has lost its head, or stops being open, is no longer the best one for the free slots of its groups.
        let has_lost_its_turn = match (before, target) {
            (Place::Open(before), Place::Open(head)) => head > before,
            (Place::Open(_), Place::Idle | Place::Parked(..)) => true,
            (Place::Idle | Place::Parked(..), _) => false,
        };
        if has_lost_its_turn {
            self.refill_groups_of(lane_no);
        }
    }

    fn move_lane(&mut self, lane_no: LaneNo, target: Place) {
        let lane = &mut self.lanes[lane_no];
        let before = std::mem::replace(&mut lane.place, target);
        let partition_no = lane.partition;
        match before {
            Place::Idle => {}
            Place::Open(order) => {
                self.partitions[partition_no].open.remove(&(order, lane_no));
            }
            Place::Parked(group, order) => {
                self.groups[group].parked.remove(&(order, lane_no));
            }
        }
        match target {
            Place::Idle => {}
            Place::Open(order) => {
                self.partitions[partition_no].open.insert((order, lane_no));
            }
            Place::Parked(group, order) => {
                self.groups[group].parked.insert((order, lane_no));
            }
        }
        let partition = &mut self.partitions[partition_no];
        let belongs_in_ring = !partition.open.is_empty();
        if belongs_in_ring != partition.in_ring {
            partition.in_ring = belongs_in_ring;
            let place = (partition.last_served, partition_no);
            if belongs_in_ring {
                self.ring.insert(place);
            } else {
                self.ring.remove(&place);
            }
        }
    }

    fn mark_served(&mut self, partition_no: PartitionNo) {
        self.served += 1;
        let partition = &mut self.partitions[partition_no];
        if partition.in_ring {
            self.ring.remove(&(partition.last_served, partition_no));
            self.ring.insert((self.served, partition_no));
        }
        partition.last_served = self.served;
    }

    fn refill_groups_of(&mut self, lane_no: LaneNo) {
        for index in 0..self.lanes[lane_no].groups.len() {
            self.refill(self.lanes[lane_no].groups[index]);
        }
    }

    /// Opens as many parked lanes as the group has free slots.
    fn refill(&mut self, group_no: GroupNo) {
        let mut free = self.groups[group_no].free();
        while free > 0 {
            let Some(&(order, lane_no)) = self.groups[group_no].parked.first() else {
                return;
            };
            match self.full_group(lane_no) {
                Some(other) => self.move_lane(lane_no, Place::Parked(other, order)),
                None => {
                    self.move_lane(lane_no, Place::Open(order));
                    free -= 1;
                }
            }
        }
    }

    fn set_group_limit(&mut self, group_no: GroupNo, limit: Option<u32>) {
        if self.groups[group_no].limit != limit {
            self.groups[group_no].limit = limit;
            self.refill(group_no);
        }
    }

    fn lane(&mut self, function: FunctionId, keys: &AdmissionKeys, calls_app: bool) -> LaneNo {
        let partition_no = self.partition(function);
        let partition = &self.partitions[partition_no];
        let found = match (calls_app, keys.is_empty()) {
            (false, _) => partition.internal,
            (true, true) => partition.plain,
            (true, false) => partition.keyed.get(keys).copied(),
        };
        if let Some(lane_no) = found {
            if calls_app {
                for key in keys.as_slice() {
                    self.key_group(key.key, key.limit);
                }
            }
            return lane_no;
        }
        let mut groups = Vec::new();
        if calls_app {
            groups.push(partition.group);
            groups.extend(
                keys.as_slice()
                    .iter()
                    .map(|key| self.key_group(key.key, key.limit)),
            );
        }
        for &group in &groups {
            self.groups[group].lanes += 1;
        }
        let lane_no = self.lanes.insert(Lane {
            partition: partition_no,
            keys: if calls_app {
                keys.clone()
            } else {
                AdmissionKeys::default()
            },
            groups: groups.into_boxed_slice(),
            waiting: BTreeMap::new(),
            place: Place::Idle,
            leased: 0,
        });
        let partition = &mut self.partitions[partition_no];
        match (calls_app, keys.is_empty()) {
            (false, _) => partition.internal = Some(lane_no),
            (true, true) => partition.plain = Some(lane_no),
            (true, false) => {
                partition.keyed.insert(keys.clone(), lane_no);
            }
        }
        lane_no
    }

    fn key_group(&mut self, key: u128, limit: u32) -> GroupNo {
        if let Some(&group_no) = self.by_key.get(&key) {
            self.set_group_limit(group_no, Some(limit));
            return group_no;
        }
        let group_no = self.groups.insert(Group {
            key: Some(key),
            limit: Some(limit),
            ..Group::default()
        });
        self.by_key.insert(key, group_no);
        group_no
    }

    fn partition(&mut self, function: FunctionId) -> PartitionNo {
        if let Some(&partition_no) = self.by_function.get(&function) {
            return partition_no;
        }
        if self.partitions.len() >= self.purge_above.max(KEPT_PARTITIONS) {
            self.purge_partitions();
        }
        let group = self.groups.insert(Group::default());
        let partition_no = self.partitions.insert(Partition {
            function,
            limits: PartitionLimits::default(),
            group,
            plain: None,
            internal: None,
            keyed: HashMap::new(),
            open: BTreeSet::new(),
            last_served: self.forgotten,
            in_ring: false,
            members: 0,
        });
        self.by_function.insert(function, partition_no);
        partition_no
    }

    /// Forgets empty partitions without limits. One that comes back counts as served no earlier than it was, so it gains nothing.
    fn purge_partitions(&mut self) {
        let unused: Vec<PartitionNo> = self
            .partitions
            .iter()
            .filter(|(_, partition)| {
                partition.members == 0 && partition.limits == PartitionLimits::default()
            })
            .map(|(partition_no, _)| partition_no)
            .collect();
        for partition_no in unused {
            let partition = self.partitions.remove(partition_no);
            debug_assert!(
                partition.keyed.is_empty(),
                "keyed lanes go with their last entry"
            );
            for lane_no in partition.plain.into_iter().chain(partition.internal) {
                self.lanes.remove(lane_no);
            }
            self.groups.remove(partition.group);
            self.by_function.remove(&partition.function);
            self.forgotten = self.forgotten.max(partition.last_served);
        }
        self.purge_above = self.partitions.len() * 2;
    }

    /// Keyed lanes are many and short-lived; the others stay with their partition.
    fn forget_lane_if_unused(&mut self, lane_no: LaneNo) {
        let lane = &self.lanes[lane_no];
        if lane.keys.is_empty() || !lane.waiting.is_empty() || lane.leased > 0 {
            return;
        }
        let lane = self.lanes.remove(lane_no);
        self.partitions[lane.partition].keyed.remove(&lane.keys);
        for &group_no in &lane.groups {
            let group = &mut self.groups[group_no];
            group.lanes -= 1;
            if group.lanes == 0
                && let Some(key) = group.key
            {
                debug_assert_eq!(group.in_use, 0, "slots are held by lanes");
                self.by_key.remove(&key);
                self.groups.remove(group_no);
            }
        }
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
