//! One entry of the schedule: where it is, and what takes its place when its lease ends.

use inngest_core::{job::Work, time::Timestamp};

use crate::{
    limits::AdmissionKeys,
    memory::admission::{LaneNo, Order},
};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) work: Work,
    pub(super) keys: AdmissionKeys,
    /// Order of arrival; also tells entries of one due time apart.
    pub(super) seq: u64,
    /// When it may be leased; later than `work.due_at` after a crash.
    pub(super) ready_at: Timestamp,
    pub(super) place: Place,
    pub(super) lost: bool,
    pub(super) crashes: u32,
    /// See [`Lease::unsure`].
    pub(super) unsure: bool,
}

#[derive(Debug)]
pub(super) enum Place {
    /// Between two places, inside one operation.
    Nowhere,
    Delayed,
    Waiting(LaneNo),
    Leased(Held),
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) lane: LaneNo,
    pub(super) token: u64,
    pub(super) expires_at: Timestamp,
    /// What takes the entry's place when the lease ends.
    pub(super) after: After,
}

#[derive(Debug)]
pub(super) enum After {
    /// Whatever the verdict says.
    Verdict,
    /// Nothing: it was removed meanwhile.
    Removed,
    /// A newer epoch of it, unless the verdict has a newer one still.
    Replaced(Box<(Work, AdmissionKeys)>),
}

impl Entry {
    pub(super) fn order(&self) -> Order {
        Order {
            calls_app: self.work.kind.calls_app(),
            rank: self.work.rank,
            due_at: self.work.due_at,
            seq: self.seq,
        }
    }
}

/// What becomes of an entry whose lease has ended.
pub(super) enum Fate {
    Forget,
    Keep,
    /// A newer epoch. A vanished holder may know that one too (it may have raised it itself), so only a holder's own word ends
    /// `lost`.
    Replace {
        work: Work,
        keys: AdmissionKeys,
        keeps_lost: bool,
    },
}

impl Fate {
    pub(super) fn retry(work: Work) -> Self {
        Self::Replace {
            keys: AdmissionKeys::of(&work),
            work,
            keeps_lost: false,
        }
    }
}

impl After {
    pub(super) fn or(self, verdict: Fate) -> Fate {
        match (self, verdict) {
            (Self::Verdict, verdict) => verdict,
            (Self::Removed, _) => Fate::Forget,
            (
                Self::Replaced(newer),
                Fate::Replace {
                    work,
                    keys,
                    keeps_lost,
                },
            ) if work.epoch > newer.0.epoch => Fate::Replace {
                work,
                keys,
                keeps_lost,
            },
            (Self::Replaced(newer), _) => {
                let (work, keys) = *newer;
                Fate::Replace {
                    work,
                    keys,
                    keeps_lost: true,
                }
            }
        }
    }
}
