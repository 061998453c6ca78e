//! What one principal may have open at once in this process: sockets, and operations that last.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kept {
    /// A websocket.
    Socket,
    /// An operation on a websocket, or a stream of events over HTTP.
    Operation,
}

/// Counts by principal. A cheap handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quotas(Arc<Mutex<HashMap<(Kept, String), usize>>>);

/// One that is open, until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    quotas: Quotas,
    key: (Kept, String),
}

impl Quotas {
    /// One more of this principal's; none when it has as many as it may.
    pub(crate) fn take(&self, kept: Kept, principal: String, most: usize) -> Option<Held> {
        let key = (kept, principal);
        let mut counts = self.lock();
        let count = counts.entry(key.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Held {
            quotas: self.clone(),
            key,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Kept, String), usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.quotas.lock();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_principal_has_its_own_and_gets_it_back() {
        let quotas = Quotas::default();
        let take = |name: &str| quotas.take(Kept::Socket, name.to_owned(), 2);
        let (one, two) = (take("a"), take("a"));
        assert!(one.is_some() && two.is_some());
        assert!(take("a").is_none());
        assert!(take("b").is_some());
        let operation = quotas.take(Kept::Operation, "a".to_owned(), 2);
        assert!(operation.is_some());
        drop(one);
        assert!(take("a").is_some());
        drop((two, operation));
        assert!(quotas.lock().is_empty());
    }
}
