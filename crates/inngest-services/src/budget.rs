//! What one caller may ask of the API: points over time, and operations at once. It keeps a caller from taking the server away from
//! the others; it is no account of anything.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use inngest_core::{access::Actor, budget::Charge, time::Timestamp};
use inngest_queue::budget::Budget;

use crate::engine::Shared;

/// Operations of one principal that are carried out at once by this process.
pub const OPERATIONS_AT_ONCE: usize = 30;

/// What callers may ask.
pub struct Budgets<'a>(pub(crate) &'a Shared);

/// What an operation cost, and what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Points of this operation.
    pub requested: u64,
    /// How the bucket stands; none where nobody counts.
    pub bucket: Option<Bucket>,
}

/// The bucket of one principal after an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Points of a full bucket.
    pub limit: u64,
    /// Points left.
    pub remaining: u64,
    /// When it is full again.
    pub full_at: Timestamp,
    /// How long the operation has to wait; none when its points were taken.
    pub wait: Option<Duration>,
}

impl Budgets<'_> {
    /// Takes the points of an operation, at least 1, from the bucket of whoever asks. In `dev` nobody counts.
    pub async fn charge(&self, actor: &Actor, points: u64) -> Cost {
        let requested = points.max(1);
        let bucket = match &self.0.budget {
            Some(budget) => {
                let charge = budget.charge(&actor.principal(), requested).await;
                Some(bucket(budget, &charge))
            }
            None => None,
        };
        Cost { requested, bucket }
    }

    /// Counts an operation until the guard is dropped; none when the principal has as many under way as it may. In `dev` nobody counts.
    pub fn begin(&self, actor: &Actor) -> Option<UnderWay> {
        if self.0.budget.is_none() {
            return Some(UnderWay(None));
        }
        self.0.operations.begin(actor.principal())
    }
}

fn bucket(budget: &Budget, charge: &Charge) -> Bucket {
    Bucket {
        limit: budget.limit(),
        remaining: charge.remaining,
        full_at: Timestamp::from_millis(
            i64::try_from(charge.full_at.div_ceil(1_000)).unwrap_or(i64::MAX),
        ),
        wait: (!charge.is_allowed).then(|| Duration::from_micros(charge.wait)),
    }
}

/// Operations under way, by principal. Only those with at least one are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operations(Arc<Mutex<HashMap<String, usize>>>);

/// An operation, until dropped.
#[derive(Debug)]
pub struct UnderWay(Option<(Operations, String)>);

impl Operations {
    fn begin(&self, principal: String) -> Option<UnderWay> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(principal.clone()).or_default();
        if *count >= OPERATIONS_AT_ONCE {
            return None;
        }
        *count += 1;
        Some(UnderWay(Some((self.clone(), principal))))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Some((operations, principal)) = &self.0 else {
            return;
        };
        let mut counts = operations.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(principal) {
            *count -= 1;
            if *count == 0 {
                counts.remove(principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_by_principal_and_forgotten_when_they_end() {
        let operations = Operations::default();
        let begin = |name: &str| operations.begin(name.to_owned());
        let mut under_way: Vec<_> = (0..OPERATIONS_AT_ONCE)
            .map(|_| begin("ada").unwrap())
            .collect();
        assert!(begin("ada").is_none());
        assert!(begin("bob").is_some());
        under_way.pop();
        under_way.push(begin("ada").unwrap());
        drop(under_way);
        assert!(operations.0.lock().unwrap().is_empty());
    }
}
