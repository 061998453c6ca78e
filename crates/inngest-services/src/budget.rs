//! What one caller may ask of the API: points over time, and operations, streams and sockets at once. It keeps a caller from taking the server away from
//! the others; it is no account of anything.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use inngest_core::{access::Actor, budget::Charge, time::Timestamp};
use inngest_queue::budget::Budget;

use crate::engine::Shared;

/// What one principal may have a number of at once in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// A query or a mutation that is carried out. In `dev` nobody counts them.
    Operation,
    /// A websocket.
    Socket,
    /// An operation on a websocket, or a stream of events over HTTP.
    Stream,
}

impl Kept {
    /// How many.
    pub const fn most(self) -> usize {
        match self {
            Self::Operation => 30,
            Self::Socket => 20,
            Self::Stream => 500,
        }
    }
}

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
    /// How long an empty bucket takes to be full again.
    pub window: Duration,
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

    /// One more until the guard is dropped; none when the principal has as many as it may.
    pub fn hold(&self, kept: Kept, actor: &Actor) -> Option<Held> {
        if kept == Kept::Operation && self.0.budget.is_none() {
            return Some(Held(None));
        }
        self.0.open.hold(kept, actor.principal())
    }
}

fn bucket(budget: &Budget, charge: &Charge) -> Bucket {
    Bucket {
        limit: budget.limit(),
        window: budget.window(),
        remaining: charge.remaining,
        full_at: Timestamp::from_millis(
            i64::try_from(charge.full_at.div_ceil(1_000)).unwrap_or(i64::MAX),
        ),
        wait: (!charge.is_allowed).then(|| Duration::from_micros(charge.wait)),
    }
}

/// What callers have open, by what it is and by principal. Only those with at least one are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open(Arc<Mutex<HashMap<(Kept, String), usize>>>);

/// One that is open, until this is dropped.
#[derive(Debug)]
pub struct Held(Option<(Open, (Kept, String))>);

impl Open {
    fn hold(&self, kept: Kept, principal: String) -> Option<Held> {
        let key = (kept, principal);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.clone()).or_default();
        if *count >= kept.most() {
            return None;
        }
        *count += 1;
        Some(Held(Some((self.clone(), key))))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some((open, key)) = &self.0 else {
            return;
        };
        let mut counts = open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_counted_by_principal_and_forgotten_when_it_ends() {
        let open = Open::default();
        let hold = |kept: Kept, name: &str| open.hold(kept, name.to_owned());
        let mut held: Vec<_> = (0..Kept::Operation.most())
            .map(|_| hold(Kept::Operation, "ada").unwrap())
            .collect();
        assert!(hold(Kept::Operation, "ada").is_none());
        assert!(hold(Kept::Operation, "bob").is_some());
        assert!(hold(Kept::Socket, "ada").is_some());
        held.pop();
        held.push(hold(Kept::Operation, "ada").unwrap());
        drop(held);
        assert!(open.0.lock().unwrap().is_empty());
    }
}
