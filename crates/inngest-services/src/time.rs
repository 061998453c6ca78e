//! The clock follows the database's, and knows how far it may be off.
//!
//! An answer that took long says little about now; so a clock that was set by a quick one is kept, and drifts, until another quick one
//! comes. What two processes say of the same moment differs by no more than both may be off. How far another one is off is not known here:
//! each asks again and again until it is off by [`USUAL`] at most, and is taken to be no worse than that, or than this one.

use std::{
    sync::{Mutex, PoisonError},
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
/// How often it is asked while the clock may be off by more than [`USUAL`].
const IN_DOUBT: Duration = Duration::from_millis(250);
/// How far a clock may be off at most, as long as the database gives a quick answer now and then.
const USUAL: Duration = Duration::from_millis(5);
/// How much a clock that is not set may gain or lose, in parts of a million.
const DRIFT: u128 = 50;
/// What is assumed before the first answer, and at most.
const MOST: Duration = Duration::from_millis(50);

/// How far the clock may be off.
#[derive(Debug, Default)]
pub(crate) struct Uncertainty(Mutex<Option<Anchor>>);

/// The last answer by which the clock was set.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    at: Instant,
    off: Duration,
}

impl Anchor {
    fn drifted(self) -> Duration {
        let gained = self.at.elapsed().as_micros() * DRIFT / 1_000_000;
        self.off + Duration::from_micros(u64::try_from(gained).unwrap_or(u64::MAX))
    }
}

impl Uncertainty {
    fn off(&self) -> Duration {
        let anchor = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        anchor.map_or(MOST, |anchor| anchor.drifted().min(MOST))
    }

    /// How much earlier than here the same moment may be elsewhere, whole milliseconds and their rounding included.
    pub(crate) fn between_two(&self) -> Duration {
        let off = self.off();
        off + off.max(USUAL) + Duration::from_millis(1)
    }

    async fn set(&self, clock: &Clock, store: &Store) {
        let asked = Instant::now();
        let answer = store.now().await;
        let off = asked.elapsed() / 2;
        match answer {
            // The database looked at its clock about halfway.
            Ok(now) if off <= self.off() => {
                clock.anchor(now.plus(off));
                let anchor = Anchor {
                    at: Instant::now(),
                    off,
                };
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(anchor);
            }
            Ok(_) => debug!("the database was slow to tell the time"),
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
            let pause = if self.uncertainty.off() > USUAL {
                IN_DOUBT
            } else {
                EVERY
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => self.uncertainty.set(&self.clock, &self.store).await,
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

    #[tokio::test(start_paused = true)]
    async fn other_clocks_are_not_taken_to_be_as_good_as_this_one() {
        let ms = Duration::from_millis;
        let uncertainty = Uncertainty::default();
        assert_eq!(uncertainty.between_two(), 2 * MOST + ms(1));
        let set = |off| {
            let anchor = Anchor {
                at: Instant::now(),
                off,
            };
            *uncertainty.0.lock().unwrap() = Some(anchor);
        };
        set(Duration::from_micros(200));
        assert_eq!(
            uncertainty.between_two(),
            Duration::from_micros(200) + USUAL + ms(1)
        );
        // 50 parts in a million of 100 s.
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(uncertainty.off(), Duration::from_micros(5_200));
        tokio::time::advance(Duration::from_secs(100_000)).await;
        assert_eq!(uncertainty.off(), MOST);
        set(ms(20));
        assert_eq!(uncertainty.between_two(), ms(41));
    }
}
