//! A distribution of durations in little room, of which any two can be added up.
//!
//! Durations are counted in bins whose bounds grow by a constant factor, so that the middle of a bin is within [`RELATIVE_ERROR`] of
//! everything in it. What a sketch says of a quantile is therefore within that error of the measurement that is there, however many
//! sketches it was added up from. Sum and largest are exact.

use std::{collections::BTreeMap, time::Duration};

use super::codec::{Reader, put_varint};

/// How far a quantile may be off, as a share of the measurement.
pub const RELATIVE_ERROR: f64 = 0.02;

/// The factor from one bound to the next.
const GROWTH: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);

/// Durations, to the microsecond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// How many are in each bin, never 0. Bin 0 is for what took no time, bin `n` for what is above `GROWTH^(n - 2)` and at most
    /// `GROWTH^(n - 1)` microseconds.
    bins: BTreeMap<u16, u64>,
    sum: u64,
    max: u64,
}

impl Sketch {
    /// Adds a measurement.
    pub fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let count = self.bins.entry(bin_of(micros)).or_default();
        *count = count.saturating_add(1);
        self.sum = self.sum.saturating_add(micros);
        self.max = self.max.max(micros);
    }

    /// Adds all measurements of another one.
    pub fn merge(&mut self, other: &Self) {
        for (bin, more) in &other.bins {
            let count = self.bins.entry(*bin).or_default();
            *count = count.saturating_add(*more);
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// Takes the measurements of a part out again. The largest of what is left is then known within [`RELATIVE_ERROR`] only.
    pub fn take_out(&mut self, part: &Self) {
        for (bin, fewer) in &part.bins {
            if let Some(count) = self.bins.get_mut(bin) {
                *count = count.saturating_sub(*fewer);
            }
        }
        self.bins.retain(|_, count| *count > 0);
        self.sum = self.sum.saturating_sub(part.sum);
        if self.max == part.max {
            let last = self.bins.last_key_value();
            let estimate = last.map_or(0.0, |(bin, _)| middle_of(*bin));
            self.max = self.max.min(estimate.round() as u64);
        }
    }

    /// Number of measurements.
    pub fn count(&self) -> u64 {
        self.bins
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    /// The mean in ms; none when nothing was measured.
    pub fn mean_ms(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.sum as f64 / self.count() as f64 / 1_000.0)
    }

    /// The largest in ms; none when nothing was measured.
    pub fn max_ms(&self) -> Option<f64> {
        (!self.is_empty()).then_some(self.max as f64 / 1_000.0)
    }

    /// The least duration in ms, within [`RELATIVE_ERROR`], that a share of `quantile` (0 to 1) of all does not exceed; none when nothing
    /// was measured.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let rank = (quantile.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64;
        let mut seen = 0u64;
        for (bin, count) in &self.bins {
            seen = seen.saturating_add(*count);
            if seen >= rank.max(1) {
                return Some(middle_of(*bin).min(self.max as f64) / 1_000.0);
            }
        }
        None
    }

    /// As it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 + self.bins.len() * 3);
        put_varint(&mut bytes, self.bins.len() as u64);
        let mut before = 0;
        for (bin, count) in &self.bins {
            put_varint(&mut bytes, u64::from(bin - before));
            put_varint(&mut bytes, *count);
            before = *bin;
        }
        put_varint(&mut bytes, self.sum);
        put_varint(&mut bytes, self.max);
        bytes
    }

    /// None when this is not what [`Sketch::to_bytes`] makes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let mut bins = BTreeMap::new();
        let mut bin = 0u16;
        for number in 0..reader.varint()? {
            let step = u16::try_from(reader.varint()?).ok()?;
            bin = bin.checked_add(step)?;
            let count = reader.varint()?;
            if bin > bin_of(u64::MAX) || count == 0 || (number > 0 && step == 0) {
                return None;
            }
            bins.insert(bin, count);
        }
        let (sum, max) = (reader.varint()?, reader.varint()?);
        reader.0.is_empty().then_some(Self { bins, sum, max })
    }
}

fn bin_of(micros: u64) -> u16 {
    if micros == 0 {
        return 0;
    }
    // At most 1,110.
    1 + ((micros as f64).ln() / GROWTH.ln()).ceil() as u16
}

/// What is within the error of everything in the bin.
fn middle_of(bin: u16) -> f64 {
    if bin == 0 {
        return 0.0;
    }
    2.0 * GROWTH.powi(i32::from(bin) - 1) / (GROWTH + 1.0)
}
