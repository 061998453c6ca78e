//! How figures are stored: numbers in as few bytes as they need, and only those that are not 0.

use uuid::Uuid;

use super::{Counter, Latency, Measures, Sketch, Tally, Width};
use crate::{ids::FunctionId, time::Timestamp};

const VERSION: u8 = 1;

pub(super) fn encode(measures: &Measures) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for (function, start, tally) in measures.iter() {
        let function = function.map_or(Uuid::nil(), FunctionId::raw);
        bytes.extend_from_slice(function.as_bytes());
        let number = start.as_millis() / Width::TenSeconds.millis();
        put_varint(&mut bytes, u64::try_from(number).unwrap_or(0));
        put_tally(&mut bytes, tally);
    }
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Option<Measures> {
    let mut reader = Reader(bytes);
    if reader.byte()? != VERSION {
        return None;
    }
    let mut measures = Measures::default();
    while !reader.0.is_empty() {
        let function = Uuid::from_slice(reader.take(16)?).ok()?;
        let function = (!function.is_nil()).then(|| FunctionId::from_raw(function));
        let number = i64::try_from(reader.varint()?).ok()?;
        let start = number.checked_mul(Width::TenSeconds.millis())?;
        let tally = reader.tally()?;
        let start = Timestamp::from_millis(start);
        measures.tally(function, start).merge(&tally);
    }
    Some(measures)
}

/// First how many numbers there are of each sort, each with its number or length before it.
fn put_tally(bytes: &mut Vec<u8>, tally: &Tally) {
    let counts = Counter::ALL.map(|counter| (counter, tally.count(counter)));
    let counts: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
    put_varint(bytes, counts.len() as u64);
    for (counter, count) in counts {
        bytes.push(*counter as u8);
        put_varint(bytes, *count);
    }
    let sketches = Latency::ALL.map(|latency| (latency, tally.sketch(latency)));
    let sketches: Vec<_> = sketches
        .iter()
        .filter(|(_, sketch)| !sketch.is_empty())
        .collect();
    put_varint(bytes, sketches.len() as u64);
    for (latency, sketch) in sketches {
        let stored = sketch.to_bytes();
        bytes.push(*latency as u8);
        put_varint(bytes, stored.len() as u64);
        bytes.extend_from_slice(&stored);
    }
}

/// Seven bits a byte, the lowest first; all but the last byte have the eighth set.
pub(super) fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for place in 0..10 {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if place == 9 && bits > 1 {
                return None;
            }
            number |= bits << (7 * place);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn tally(&mut self) -> Option<Tally> {
        let mut tally = Tally::default();
        for _ in 0..self.varint()? {
            let (number, count) = (self.byte()?, self.varint()?);
            if let Some(counter) = Counter::ALL.get(usize::from(number)) {
                tally.add(*counter, count);
            }
        }
        for _ in 0..self.varint()? {
            let number = usize::from(self.byte()?);
            let length = usize::try_from(self.varint()?).ok()?;
            let sketch = Sketch::from_bytes(self.take(length)?)?;
            if let Some(own) = tally.sketches.get_mut(number) {
                own.merge(&sketch);
            }
        }
        Some(tally)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn measures() -> Measures {
        let mut measures = Measures::default();
        let function = FunctionId::from_raw(Uuid::from_u128(7));
        let at = Timestamp::from_millis(1_800_000_012_345);
        let tally = measures.tally(Some(function), at);
        tally.add(Counter::RunsQueued, 1);
        tally.add(Counter::RunsFailed, u64::MAX);
        tally.measure(Latency::QueueDelay, Duration::from_millis(3));
        tally.measure(Latency::EndToEnd, Duration::ZERO);
        measures.tally(None, at).add(Counter::Events, 200);
        measures
    }

    #[test]
    fn what_is_stored_is_read_as_it_was() {
        let bytes = measures().to_bytes();
        assert_eq!(Measures::from_bytes(&bytes), Some(measures()));
        assert_eq!(Measures::from_bytes(&[VERSION]), Some(Measures::default()));
        for length in 0..bytes.len() {
            assert_ne!(Measures::from_bytes(&bytes[..length]), Some(measures()));
        }
        assert_eq!(Measures::from_bytes(&[VERSION + 1]), None);
        let mut more = bytes;
        more.push(0xff);
        assert_eq!(Measures::from_bytes(&more), None);
    }

    #[test]
    fn lonely_run_is_measured_in_few_bytes() {
        let mut measures = Measures::default();
        let function = FunctionId::from_raw(Uuid::from_u128(7));
        let tally = measures.tally(Some(function), Timestamp::from_millis(1_800_000_000_000));
        for counter in [
            Counter::RunsStarted,
            Counter::RunsCompleted,
            Counter::RequestsOk,
        ] {
            tally.add(counter, 1);
        }
        for latency in [
            Latency::QueueDelay,
            Latency::RunDuration,
            Latency::SdkRequest,
            Latency::EndToEnd,
        ] {
            tally.measure(latency, Duration::from_millis(2));
        }
        let length = measures.to_bytes().len();
        assert!(length <= 72, "{length} bytes");
    }

    #[test]
    fn figures_of_a_newer_version_are_left_out() {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&[0, 2, 12, 5, 200, 1, 0]);
        let read = Measures::from_bytes(&bytes).unwrap();
        let (function, start, tally) = read.iter().next().unwrap();
        assert_eq!((function, start), (None, Timestamp::default()));
        assert_eq!(tally.count(Counter::Events), 5);
    }

    #[test]
    fn numbers_are_read_as_they_were_and_too_long_ones_are_none() {
        for number in [0, 1, 127, 128, 300, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            assert_eq!(Reader(&bytes).varint(), Some(number));
        }
        assert_eq!(Reader(&[0xff; 10]).varint(), None);
        assert_eq!(Reader(&[0xff; 3]).varint(), None);
    }
}
