//! The clock follows the database's, and knows how far it may be off.
//!
//! An answer that took long says little about now; so a clock that was set by a quick one is kept, and drifts, until another quick one
//! comes. What two processes say of the same moment differs by no more than both may be off.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use inngest_core::time::Clock;
use inngest_state::Store;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::engine::Engine;

/// How often the database is asked for the time.
const EVERY: Duration = Duration::from_secs(5);
/// How often it is asked at the start, so that one answer is quick.
const AT_START: usize = 8;
/// How much a clock that is not set may gain or lose in [`EVERY`]: 50 parts in a million.
const DRIFT_MICROS: u64 = 250;
/// What is assumed before the first answer, and at most.
const MOST_MICROS: u64 = 50_000;

/// How far the clock may be off, in microseconds.
#[derive(Debug)]
pub(crate) struct Uncertainty(AtomicU64);

impl Default for Uncertainty {
    fn default() -> Self {
        Self(MOST_MICROS.into())
    }
}

impl Uncertainty {
    /// How much earlier than here the same moment may be elsewhere, whole milliseconds and their rounding included.
    pub(crate) fn between_two(&self) -> Duration {
        Duration::from_micros(2 * self.0.load(Ordering::Relaxed)) + Duration::from_millis(1)
    }

    async fn set(&self, clock: &Clock, store: &Store) {
        let asked = Instant::now();
        let answer = store.now().await;
        let half = asked.elapsed() / 2;
        let off = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        let drifted = self.0.load(Ordering::Relaxed).saturating_add(DRIFT_MICROS);
        match answer {
            // The database looked at its clock about halfway.
            Ok(now) if off <= drifted => {
                clock.anchor(now.plus(half));
                self.0.store(off, Ordering::Relaxed);
            }
            Ok(_) => {
                self.0.store(drifted.min(MOST_MICROS), Ordering::Relaxed);
                debug!("the database was slow to tell the time");
            }
            // The clock runs on by itself; what else fails is told where it fails.
            Err(error) => debug!(error = %error, "the database did not tell the time"),
        }
    }
}

impl Engine {
    /// Sets the clock by the database's every few seconds until `stop`. A clock that tests move is left alone.
    pub(crate) async fn keep_time(&self, stop: CancellationToken) {
        if self.clock.is_manual() {
            return;
        }
        for _ in 0..AT_START {
            self.uncertainty.set(&self.clock, &self.store).await;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(EVERY) => self.uncertainty.set(&self.clock, &self.store).await,
            }
        }
    }

    /// How far a wait looks back before its call was sent, because the event may have been accepted by another process, whose clock is
    /// another.
    pub(crate) fn skew(&self) -> Duration {
        if self.queue.is_shared() {
            self.uncertainty.between_two()
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use inngest_core::time::Timestamp;
    use inngest_state::testing::on_each;

    use super::*;

    #[tokio::test]
    async fn clock_that_lags_is_set_by_the_database() {
        on_each(async |store| {
            let before = store.now().await.unwrap();
            let clock = Clock::starting_at(Timestamp::from_millis(1_000));
            assert!(clock.now() < before);
            let uncertainty = Uncertainty::default();
            uncertainty.set(&clock, &store).await;
            assert!(clock.now() >= before);
            // Two clocks that were set by the same database agree as far as they say.
            let other = Clock::starting_at(Timestamp::from_millis(1_000));
            let others = Uncertainty::default();
            others.set(&other, &store).await;
            let between = uncertainty.between_two().max(others.between_two());
            let (one, two) = (clock.now(), other.now());
            assert!(one.since(two).max(two.since(one)) <= between);
        })
        .await;
    }
}
