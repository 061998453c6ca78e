//! Time as the product knows it: whole milliseconds since the epoch, and one clock.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// An instant in milliseconds since the Unix epoch, the precision of the wire and of the database alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The latest instant.
    pub const MAX: Self = Self(i64::MAX);

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// `self + duration`, held at the ends of the range. Parts of a millisecond are dropped.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// `self - duration`, held at the ends of the range.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with milliseconds, for example `2026-08-22T10:15:30.123Z`.
    pub fn to_rfc3339(self) -> String {
        chrono::DateTime::from_timestamp_millis(self.0)
            .unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC)
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// Where "now" comes from. Cheap to clone; clones of one clock move together.
///
/// A running clock starts from an instant that its owner gives it (the database's time) and goes on by a monotonic counter, so
/// that a jump of the machine's own clock moves nothing; re-anchoring never turns it back.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Running(Arc<Mutex<Anchor>>),
    Manual(Arc<Mutex<Timestamp>>),
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    time: Timestamp,
    taken: Instant,
    floor: Timestamp,
}

impl Clock {
    /// A clock that shows `now` at this instant and runs on from there.
    pub fn starting_at(now: Timestamp) -> Self {
        Self(Source::Running(Arc::new(Mutex::new(Anchor {
            time: now,
            taken: Instant::now(),
            floor: now,
        }))))
    }

    /// A clock that stands at `now` until it is moved, for tests.
    pub fn manual(now: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(now))))
    }

    /// The present time; never earlier than an answer given before.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Running(anchor) => {
                let mut anchor = lock(anchor);
                let now = anchor.time.plus(anchor.taken.elapsed()).max(anchor.floor);
                anchor.floor = now;
                now
            }
            Source::Manual(now) => *lock(now),
        }
    }

    /// Sets a running clock by its source. A source that is behind holds the clock still until it has caught up.
    pub fn anchor(&self, now: Timestamp) {
        if let Source::Running(anchor) = &self.0 {
            let mut anchor = lock(anchor);
            anchor.time = now;
            anchor.taken = Instant::now();
        }
    }

    /// Moves a manual clock forward; a running one is not touched.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            let mut now = lock(now);
            *now = now.plus(by);
        }
    }

    /// Whether this clock only moves by [`Clock::advance`].
    pub fn is_manual(&self) -> bool {
        matches!(self.0, Source::Manual(_))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_set_back_stands_still_instead_of_going_back() {
        let clock = Clock::starting_at(Timestamp::from_millis(10_000));
        let before = clock.now();
        clock.anchor(Timestamp::from_millis(1_000));
        assert!(clock.now() >= before);
    }

    #[test]
    fn arithmetic_stops_at_the_ends() {
        assert_eq!(Timestamp::MAX.plus(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(
            Timestamp::from_millis(5).since(Timestamp::from_millis(9)),
            Duration::ZERO
        );
    }
}
