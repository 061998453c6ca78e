//! What was read for one subscriber and serves the others: of two hundred who watch the same runs, one reads.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering},
};

use inngest_state::LogPosition;
use tokio::sync::Mutex;

use crate::Error;

/// Most bytes that are kept, roughly.
const BYTES: usize = 8 * 1024 * 1024;

/// Values by id, each with the position as of which it was read. One read at a time: who comes meanwhile waits and mostly finds what it
/// wants.
#[derive(Debug)]
pub(super) struct Shelf<K, V> {
    held: Mutex<Held<K, V>>,
    /// Reads that were begun.
    reads: AtomicU64,
}

#[derive(Debug)]
struct Held<K, V> {
    values: HashMap<K, Kept<V>>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept<V> {
    /// A position up to which it holds all changes.
    at: LogPosition,
    /// The number of the read that brought it.
    read: u64,
    value: Option<V>,
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self {
            held: Mutex::new(Held {
                values: HashMap::new(),
                bytes: 0,
            }),
            reads: AtomicU64::new(0),
        }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Shelf<K, V> {
    /// How many reads have begun. Who keeps the number of the time when it came is given nothing that was read before: elsewhere it may
    /// have been told something newer.
    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// The first of `wanted`, read after the first `since` reads, and not older than the position beside it; none when there is no such thing. What is read is read together
    /// with the others of `wanted`.
    ///
    /// `position` must be a position up to which all changes can be read when `load` begins; `size` is the size of a value in bytes.
    pub(super) async fn first<F>(
        &self,
        wanted: &[(K, LogPosition)],
        since: u64,
        position: impl Fn() -> LogPosition,
        load: impl FnOnce(Vec<K>) -> F,
        size: impl Fn(&V) -> usize,
    ) -> Result<Option<V>, Error>
    where
        F: Future<Output = Result<Vec<(K, V)>, Error>>,
    {
        let Some((first, _)) = wanted.first() else {
            return Ok(None);
        };
        let mut held = self.held.lock().await;
        let is_fresh = |held: &Held<K, V>, (key, latest): &(K, LogPosition)| {
            let kept = held.values.get(key);
            kept.is_some_and(|kept| kept.read > since && kept.at >= *latest)
        };
        if !is_fresh(&held, &wanted[0]) {
            let missing: Vec<K> = wanted
                .iter()
                .filter(|entry| !is_fresh(&held, entry))
                .map(|(key, _)| *key)
                .collect();
            let read = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
            let at = position();
            let mut found: HashMap<K, V> = load(missing.clone()).await?.into_iter().collect();
            if held.bytes > BYTES {
                held.values.clear();
                held.bytes = 0;
            }
            for key in missing {
                let value = found.remove(&key);
                held.bytes += 256 + value.as_ref().map_or(0, &size);
                held.values.insert(key, Kept { at, read, value });
            }
        }
        Ok(held.values.get(first).and_then(|kept| kept.value.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn position(seq: i64) -> LogPosition {
        LogPosition { txid: 0, seq }
    }

    #[tokio::test]
    async fn one_reads_for_all_until_something_has_changed() {
        let shelf: Shelf<u8, String> = Shelf::default();
        let reads = AtomicUsize::new(0);
        let get = async |key: u8, since: i64, now: i64| {
            let load = |keys: Vec<u8>| {
                let count = reads.fetch_add(1, Ordering::Relaxed);
                let known = keys.into_iter().filter(|key| *key != 9);
                let found = known.map(|key| (key, format!("{key}/{count}"))).collect();
                std::future::ready(Ok(found))
            };
            let wanted = [(key, position(since)), (2, position(1))];
            shelf
                .first(&wanted, 0, || position(now), load, String::len)
                .await
                .unwrap()
        };
        assert_eq!(get(1, 3, 5).await.as_deref(), Some("1/0"));
        assert_eq!(get(2, 5, 5).await.as_deref(), Some("2/0"));
        assert_eq!(get(1, 5, 9).await.as_deref(), Some("1/0"));
        assert_eq!(get(1, 6, 9).await.as_deref(), Some("1/1"));
        assert_eq!(get(9, 6, 9).await, None);
        assert_eq!(get(9, 6, 9).await, None);
        assert_eq!(reads.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn who_comes_later_is_given_nothing_that_was_read_before() {
        let shelf: Shelf<u8, u8> = Shelf::default();
        let get = async |since: u64, value: u8| {
            let load = |_| std::future::ready(Ok(vec![(1, value)]));
            let wanted = [(1, position(5))];
            let size = |_: &u8| 1;
            shelf
                .first(&wanted, since, || position(5), load, size)
                .await
                .unwrap()
        };
        assert_eq!(get(shelf.reads(), 10).await, Some(10));
        let later = shelf.reads();
        assert_eq!(get(0, 11).await, Some(10));
        assert_eq!(get(later, 12).await, Some(12));
        assert_eq!(get(0, 13).await, Some(12));
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let shelf: Shelf<u32, String> = Shelf::default();
        for key in 0..40 {
            let load = |keys: Vec<u32>| {
                let found = keys.into_iter().map(|key| (key, "x".repeat(1_000_000)));
                std::future::ready(Ok(found.collect()))
            };
            let wanted = [(key, position(1))];
            shelf
                .first(&wanted, 0, || position(1), load, String::len)
                .await
                .unwrap();
            assert!(shelf.held.lock().await.values.len() <= 10);
        }
    }
}
