//! Arbitrary interleavings against a model that looks at every entry each time.

#[path = "state_model.rs"]
mod model;

use std::time::Duration;

use bytes::Bytes;
use inngest_core::{
    ids::{DEFAULT_ENV, DEFAULT_ORG},
    job::JobKind,
};
use proptest::prelude::*;
use uuid::Uuid;

use self::model::{Holder, Item, Model};
use super::*;
use crate::limits::AdmissionKey;

const LEASE: Duration = Duration::from_secs(30);
const HORIZON: Duration = Duration::from_secs(100);

#[derive(Clone, Debug)]
enum Step {
    Offer(Row),
    Lease(usize),
    Advance(u64),
    Settle {
        which: usize,
        verdict: Said,
    },
    Extend {
        which: usize,
    },
    Remove(u128),
    Limit {
        function: u128,
        concurrency: Option<u32>,
    },
}

#[derive(Clone, Debug)]
enum Said {
    Done {
        next: Option<Row>,
        continue_with: Option<Row>,
    },
    RetryAfter {
        secs: u64,
        epochs: i64,
    },
    Release,
    Crash {
        secs: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Row {
    id: u128,
    epoch: i64,
    delay_secs: u64,
    rank: i64,
}

fn function_of(id: u128) -> u128 {
    id % 3
}

fn work(row: Row, now: Timestamp) -> Work {
    let kind = if row.id.is_multiple_of(4) {
        JobKind::Wake
    } else {
        JobKind::Discover
    };
    Work {
        id: WorkId::from_raw(Uuid::from_u128(row.id)),
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        kind,
        function: function(function_of(row.id)),
        run: None,
        step: None,
        due_at: now.plus(Duration::from_secs(row.delay_secs)),
        rank: row.rank,
        attempt: 0,
        epoch: row.epoch,
        payload: Bytes::new(),
    }
}

fn function(number: u128) -> FunctionId {
    FunctionId::from_raw(Uuid::from_u128(number))
}

/// Up to two limits that items of several functions share.
fn keys_of(id: u128) -> AdmissionKeys {
    let mut keys = Vec::new();
    if id.is_multiple_of(2) {
        keys.push(AdmissionKey {
            key: 100 + id % 3,
            limit: 1,
        });
    }
    if id % 7 < 3 {
        keys.push(AdmissionKey { key: 200, limit: 2 });
    }
    AdmissionKeys::new(keys)
}

fn row() -> impl Strategy<Value = Row> {
    let delay = prop_oneof![4 => Just(0), 2 => 0_u64..40, 1 => Just(101)];
    (0_u128..24, 1_i64..4, delay, 0_i64..3).prop_map(|(id, epoch, delay_secs, rank)| Row {
        id,
        epoch,
        delay_secs,
        rank,
    })
}

fn said() -> impl Strategy<Value = Said> {
    let row = || proptest::option::of(row());
    prop_oneof![
        4 => (row(), row()).prop_map(|(next, continue_with)| Said::Done { next, continue_with }),
        2 => (0_u64..20, 0_i64..3).prop_map(|(secs, epochs)| Said::RetryAfter { secs, epochs }),
        2 => Just(Said::Release),
        1 => (0_u64..9).prop_map(|secs| Said::Crash { secs }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => row().prop_map(Step::Offer),
        6 => (1_usize..4).prop_map(Step::Lease),
        3 => prop_oneof![0_u64..5, Just(30)].prop_map(Step::Advance),
        6 => (0_usize..64, said()).prop_map(|(which, verdict)| Step::Settle { which, verdict }),
        1 => (0_usize..64).prop_map(|which| Step::Extend { which }),
        1 => (0_u128..24).prop_map(Step::Remove),
        2 => (0_u128..3, proptest::option::of(0_u32..3)).prop_map(|(function, concurrency)| Step::Limit { function, concurrency }),
    ]
}

struct Test {
    state: State,
    model: Model,
    now: Timestamp,
    leases: Vec<Lease>,
}

impl Test {
    fn new(has_keys: bool) -> Self {
        let settings = QueueSettings {
            horizon: HORIZON,
            lease: LEASE,
            max_entries: 1_000,
        };
        Self {
            state: State::new(settings),
            model: Model {
                has_keys,
                ..Model::default()
            },
            now: Timestamp::from_millis(1_000_000),
            leases: Vec::new(),
        }
    }

    fn take(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Offer(row) => self.offer(work(row, now)),
            Step::Lease(max) => {
                while self.state.catch_up(now) {}
                self.model.expire(now);
                let leases = self.state.lease(max, now);
                for lease in &leases {
                    self.model.check_leased(lease, now);
                }
                if leases.len() < max {
                    assert!(
                        self.model.eligible(now).is_empty(),
                        "{:?} waits in vain",
                        self.model.eligible(now)
                    );
                }
                self.leases.extend(leases);
            }
            Step::Advance(secs) => self.now = now.plus(Duration::from_secs(secs)),
            Step::Settle { which, verdict } => {
                if !self.leases.is_empty() {
                    let lease = self.leases.remove(which % self.leases.len());
                    self.settle(lease, verdict);
                }
            }
            Step::Extend { which } => {
                if !self.leases.is_empty() {
                    let lease = &self.leases[which % self.leases.len()];
                    let result = self.state.extend(lease.work.id, lease.token, now);
                    let item = self.model.items.get_mut(&lease.work.id);
                    let holder = item
                        .and_then(|item| item.holder.as_mut())
                        .filter(|held| held.token == lease.token);
                    assert_eq!(result.is_ok(), holder.is_some());
                    if let Some(holder) = holder {
                        holder.expires_at = now.plus(LEASE);
                    }
                }
            }
            Step::Remove(id) => {
                let id = WorkId::from_raw(Uuid::from_u128(id));
                self.state.remove(&[id]);
                self.model.remove(id);
            }
            Step::Limit {
                function: number,
                concurrency,
            } => {
                self.state
                    .set_limits(function(number), PartitionLimits { concurrency });
                match concurrency {
                    Some(limit) => self.model.limits.insert(function(number), limit),
                    None => self.model.limits.remove(&function(number)),
                };
            }
        }
        self.check_counts();
    }

    fn offer(&mut self, work: Work) {
        self.state.offer(
            work.clone(),
            self.model.keys(&work),
            Source::Commit,
            self.now,
        );
        self.model.offer(work, self.now);
    }

    fn settle(&mut self, lease: Lease, said: Said) {
        let now = self.now;
        let ended = self.model.end(&lease);
        let was_held = ended.is_some();
        let mut verdict_work = None;
        let mut verdict = Verdict::Release;
        match &said {
            // The keys of new work come from the row, which has none yet.
            Said::Done { .. } | Said::RetryAfter { .. } if self.model.has_keys => {
                verdict = Verdict::done()
            }
            Said::Done {
                next,
                continue_with,
            } => {
                let next = next.map(|row| work(row, now));
                let continue_with = continue_with.map(|row| work(row, now));
                verdict = Verdict::Done {
                    next: next.into_iter().collect(),
                    remove: Vec::new(),
                    continue_with,
                };
            }
            Said::RetryAfter { secs, epochs } => {
                let due_at = now.plus(Duration::from_secs(*secs));
                let retry = Work {
                    epoch: lease.work.epoch + epochs,
                    due_at,
                    ..lease.work.clone()
                };
                verdict_work = Some(retry.clone());
                verdict = Verdict::RetryAt { work: retry };
            }
            Said::Release => {}
            Said::Crash { secs } => {
                let retry_at = now.plus(Duration::from_secs(*secs));
                self.state.settle_crashed(&lease, retry_at, now);
                if let Some((item, holder)) = ended {
                    self.put_back(
                        Item {
                            ready_at: retry_at,
                            ..item
                        },
                        holder,
                        None,
                    );
                }
                return;
            }
        }
        let settled = self.state.settle(&lease, verdict.clone(), now);
        assert_eq!(settled.lease_lost, !was_held);
        if let Some((item, holder)) = ended {
            if let Verdict::Done { .. } = verdict {
                if let Some(newer) = holder.newer {
                    self.model.put(newer, item.lost, now);
                }
            } else {
                self.put_back(item, holder, verdict_work);
            }
        } else if let Some(work) = verdict_work {
            self.model.offer(work, now);
        }
        if let Verdict::Done {
            next,
            continue_with,
            ..
        } = verdict
        {
            next.into_iter()
                .for_each(|work| self.model.offer(work, now));
            if let Some(work) = continue_with {
                let may = was_held
                    && work.due_at <= now
                    && !self.model.items.contains_key(&work.id)
                    && self.model.is_admitted(&work);
                assert_eq!(
                    settled.continued.is_some(),
                    may,
                    "goes on in place exactly if it may"
                );
                self.model.offer(work, now);
                if let Some(lease) = settled.continued {
                    self.model.hold(&lease);
                    self.leases.push(lease);
                }
            }
        }
    }

    fn put_back(&mut self, item: Item, holder: Holder, retry: Option<Work>) {
        if holder.removed {
            return;
        }
        match (holder.newer, retry) {
            (Some(newer), Some(retry)) if retry.epoch > newer.epoch => {
                self.model.put(retry, false, self.now)
            }
            (Some(newer), _) => self.model.put(newer, item.lost, self.now),
            (None, Some(retry)) => self.model.put(retry, false, self.now),
            (None, None) => drop(self.model.items.insert(item.work.id, item)),
        }
    }

    fn check_counts(&self) {
        let stats = self.state.stats();
        assert_eq!(
            stats.entries,
            self.model.items.len(),
            "nothing is lost and nothing is left"
        );
        assert_eq!(
            stats.leased,
            self.model
                .items
                .values()
                .filter(|item| item.holder.is_some())
                .count()
        );
        assert_eq!(
            stats.entries,
            stats.delayed + stats.ready + stats.backlog + stats.leased
        );
    }

    /// With all limits lifted and all leases over, everything is given out, and no slot is left in use.
    fn drain(mut self) {
        for number in 0..3 {
            self.take(Step::Limit {
                function: number,
                concurrency: None,
            });
        }
        for _ in 0..2 {
            self.now = self.now.plus(HORIZON);
            for _ in 0..100 {
                self.take(Step::Lease(3));
                while let Some(lease) = self.leases.pop() {
                    self.settle(
                        lease,
                        Said::Done {
                            next: None,
                            continue_with: None,
                        },
                    );
                }
            }
        }
        assert_eq!(self.state.stats().entries, 0);
        assert_eq!(self.state.admission.slots_in_use(), 0);
        assert!(self.state.by_id.is_empty() && self.state.next_at().is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_interleaving_agrees_with_the_model(steps in proptest::collection::vec(step(), 1..120)) {
        let mut test = Test::new(false);
        steps.into_iter().for_each(|step| test.take(step));
        test.drain();
    }

    #[test]
    fn shared_limits_are_kept_and_never_stall(steps in proptest::collection::vec(step(), 1..120)) {
        let mut test = Test::new(true);
        steps.into_iter().for_each(|step| test.take(step));
        test.drain();
    }
}

#[test]
fn large_backlog_is_worked_off_completely() {
    const ENTRIES: u128 = 200_000;
    let now = Timestamp::from_millis(1_000_000);
    let mut state = State::new(QueueSettings::default());
    for id in 0..ENTRIES {
        let delay_secs = if id < ENTRIES / 2 { 1 } else { 0 };
        state.offer(
            work(
                Row {
                    id,
                    epoch: 1,
                    delay_secs,
                    rank: 0,
                },
                now,
            ),
            AdmissionKeys::default(),
            Source::Commit,
            now,
        );
    }
    let now = now.plus(Duration::from_secs(1));
    while state.catch_up(now) {}
    let mut count = 0;
    loop {
        let leases = state.lease(64, now);
        if leases.is_empty() {
            break;
        }
        count += leases.len();
        for lease in leases {
            assert!(!state.settle(&lease, Verdict::done(), now).lease_lost);
        }
    }
    assert_eq!((count as u128, state.stats().entries), (ENTRIES, 0));
}
