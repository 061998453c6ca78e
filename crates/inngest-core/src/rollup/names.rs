//! How many events of which name there were.
//!
//! Senders can make up any number of names, so one transaction tells only some of them apart. All of its events are in its [`Measures`], and
//! what is left of these beside the names is what had no room.
//!
//! [`Measures`]: super::Measures

use std::collections::BTreeMap;

use super::{
    Width,
    codec::{Reader, put_varint},
};
use crate::{limits, time::Timestamp};

const VERSION: u8 = 1;

/// Events by the smallest bucket and by name: what one transaction stored in one environment, up to
/// [`limits::EVENT_NAMES_PER_COMMIT`] names of a bucket in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameCounts(BTreeMap<Timestamp, BTreeMap<String, u64>>);

impl NameCounts {
    /// Counts an event of that time; not one of a new name that there is no room for.
    pub fn add(&mut self, name: &str, at: Timestamp) {
        let has_room = self.iter().count() < limits::EVENT_NAMES_PER_COMMIT;
        let names = self.0.entry(Width::TenSeconds.floor(at)).or_default();
        match names.get_mut(name) {
            Some(count) => *count = count.saturating_add(1),
            None if has_room => drop(names.insert(name.to_owned(), 1)),
            None => {}
        }
    }

    /// Each start of a bucket and name with the number of events.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &str, u64)> {
        self.0.iter().flat_map(|(start, names)| {
            names
                .iter()
                .map(|(name, count)| (*start, name.as_str(), *count))
        })
    }

    /// As it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for (start, name, count) in self.iter() {
            let number = start.as_millis() / Width::TenSeconds.millis();
            put_varint(&mut bytes, u64::try_from(number).unwrap_or(0));
            put_varint(&mut bytes, name.len() as u64);
            bytes.extend_from_slice(name.as_bytes());
            put_varint(&mut bytes, count);
        }
        bytes
    }

    /// None when this is not what [`NameCounts::to_bytes`] of this version makes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.byte()? != VERSION {
            return None;
        }
        let mut counts = Self::default();
        while !reader.0.is_empty() {
            let number = i64::try_from(reader.varint()?).ok()?;
            let start = number.checked_mul(Width::TenSeconds.millis())?;
            let length = usize::try_from(reader.varint()?).ok()?;
            let name = String::from_utf8(reader.take(length)?.to_vec()).ok()?;
            let count = reader.varint()?;
            let names = counts.0.entry(Timestamp::from_millis(start)).or_default();
            let sum = names.entry(name).or_default();
            *sum = sum.saturating_add(count);
        }
        Some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_800_000_012_345);

    fn counts() -> NameCounts {
        let mut counts = NameCounts::default();
        for name in ["shop/order", "", "shop/ordér", "shop/order"] {
            counts.add(name, AT);
        }
        counts.add("shop/order", Timestamp::from_millis(1_800_000_020_000));
        counts
    }

    #[test]
    fn what_is_stored_is_read_as_it_was() {
        let bytes = counts().to_bytes();
        let read = NameCounts::from_bytes(&bytes).unwrap();
        assert_eq!(read, counts());
        let start = |ms: i64| Timestamp::from_millis(1_800_000_000_000 + ms);
        assert_eq!(
            read.iter().collect::<Vec<_>>(),
            [
                (start(10_000), "", 1),
                (start(10_000), "shop/order", 2),
                (start(10_000), "shop/ordér", 1),
                (start(20_000), "shop/order", 1),
            ]
        );
        for length in 0..bytes.len() {
            assert_ne!(NameCounts::from_bytes(&bytes[..length]), Some(counts()));
        }
        assert_eq!(NameCounts::from_bytes(&[VERSION + 1]), None);
        assert_eq!(NameCounts::from_bytes(&[VERSION, 1, 1, 0xff, 1]), None);
        let empty = NameCounts::default();
        assert_eq!(NameCounts::from_bytes(&empty.to_bytes()), Some(empty));
    }

    #[test]
    fn names_beyond_the_bound_are_left_out_and_known_ones_still_counted() {
        let mut counts = NameCounts::default();
        for number in 0..limits::EVENT_NAMES_PER_COMMIT + 5 {
            counts.add(&format!("n{number:03}"), AT);
        }
        counts.add("n000", AT);
        counts.add("n000", AT.plus(std::time::Duration::from_secs(60)));
        assert_eq!(counts.iter().count(), limits::EVENT_NAMES_PER_COMMIT);
        assert_eq!(counts.iter().next().map(|(_, _, count)| count), Some(2));
        assert!(counts.iter().all(|(_, name, _)| name < "n100"));
    }
}
