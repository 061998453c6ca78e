//! What was read for one subscriber and serves the others: of two hundred who watch the same runs, one reads.

use std::{collections::HashMap, hash::Hash};

use inngest_state::LogPosition;
use tokio::sync::Mutex;

use crate::Error;

/// Most bytes that are kept, roughly.
const BYTES: usize = 8 * 1024 * 1024;

/// Values by id, each with the position as of which it was read. One read at a time: who comes meanwhile waits and mostly finds what it
/// wants.
#[derive(Debug)]
pub(super) struct Shelf<K, V>(Mutex<Held<K, V>>);

#[derive(Debug)]
struct Held<K, V> {
    values: HashMap<K, (LogPosition, Option<V>)>,
    bytes: usize,
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Held {
            values: HashMap::new(),
            bytes: 0,
        }))
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Shelf<K, V> {
    /// The first of `wanted`, not older than the position beside it; none when there is no such thing. What is read is read together
    /// with the others of `wanted`.
    ///
    /// `position` must be a position up to which all changes can be read when `load` begins; `size` is the size of a value in bytes.
    pub(super) async fn first<F>(
        &self,
        wanted: &[(K, LogPosition)],
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
        let mut held = self.0.lock().await;
        let is_fresh = |held: &Held<K, V>, (key, since): &(K, LogPosition)| {
            held.values.get(key).is_some_and(|(at, _)| at >= since)
        };
        if !is_fresh(&held, &wanted[0]) {
            let missing: Vec<K> = wanted
                .iter()
                .filter(|entry| !is_fresh(&held, entry))
                .map(|(key, _)| *key)
                .collect();
            let at = position();
            let mut found: HashMap<K, V> = load(missing.clone()).await?.into_iter().collect();
            if held.bytes > BYTES {
                held.values.clear();
                held.bytes = 0;
            }
            for key in missing {
                let value = found.remove(&key);
                held.bytes += 256 + value.as_ref().map_or(0, &size);
                held.values.insert(key, (at, value));
            }
        }
        Ok(held.values.get(first).and_then(|(_, value)| value.clone()))
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
                .first(&wanted, || position(now), load, String::len)
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
    async fn what_is_kept_is_bounded() {
        let shelf: Shelf<u32, String> = Shelf::default();
        for key in 0..40 {
            let load = |keys: Vec<u32>| {
                let found = keys.into_iter().map(|key| (key, "x".repeat(1_000_000)));
                std::future::ready(Ok(found.collect()))
            };
            let wanted = [(key, position(1))];
            shelf
                .first(&wanted, || position(1), load, String::len)
                .await
                .unwrap();
            assert!(shelf.0.lock().await.values.len() <= 10);
        }
    }
}
