//! How much a caller may ask for: a bucket of points that fills at a steady rate (GCRA, so that one number is its whole state).

/// Microseconds of a second.
const SECOND: u64 = 1_000_000;

/// How much one principal may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Points of a full bucket; at least 1.
    pub limit: u64,
    /// Points that come back in a second; at least 1.
    pub per_second: u64,
}

/// What came of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Whether the points were taken.
    pub is_allowed: bool,
    /// Points that are left.
    pub remaining: u64,
    /// When the bucket will be full, in microseconds since the epoch: the whole state of the bucket.
    pub full_at: u64,
    /// Microseconds until the same charge can be allowed; 0 when it was.
    pub wait: u64,
}

impl Rate {
    /// Takes `points` (more than a full bucket holds count as a full bucket) from a bucket that is full at `full_at`. A charge that is
    /// not allowed takes nothing. Times are microseconds since the epoch; a clock that steps back gives nobody points.
    pub fn charge(self, full_at: u64, now: u64, points: u64) -> Charge {
        let whole = self.whole();
        // Another rate, or a clock that was ahead, must not lock anybody out for longer than a full bucket takes.
        let missing = full_at.saturating_sub(now).min(whole);
        let after = missing.saturating_add(self.price(points));
        let wait = after.saturating_sub(whole);
        self.outcome(if wait == 0 { after } else { missing }, wait, now)
    }

    /// What came of a charge that was judged elsewhere by the rule of [`Rate::charge`]: what the bucket lacks after it, and how long
    /// the charge has to wait.
    pub fn outcome(self, missing: u64, wait: u64, now: u64) -> Charge {
        let left = self.whole().saturating_sub(missing);
        Charge {
            is_allowed: wait == 0,
            remaining: left.saturating_mul(self.per_second) / SECOND,
            full_at: now.saturating_add(missing),
            wait,
        }
    }

    /// What an empty bucket lacks, as the time that it takes to come back, in microseconds.
    pub fn whole(self) -> u64 {
        self.time(self.limit)
    }

    /// What a charge takes, in the same measure.
    pub fn price(self, points: u64) -> u64 {
        self.time(points.min(self.limit))
    }

    /// How long `points` take to come back, in microseconds, rounded up so that nobody gains by small charges.
    fn time(self, points: u64) -> u64 {
        points
            .saturating_mul(SECOND)
            .div_ceil(self.per_second.max(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate {
        limit: 100,
        per_second: 10,
    };
    const NOW: u64 = 1_790_000_000_000_000;

    #[test]
    fn bucket_empties_refuses_and_fills_again() {
        for (missing, points, is_allowed, remaining, wait) in [
            (0, 1, true, 99, 0),
            (0, 100, true, 0, 0),
            // Dearer than any bucket: once, when it is full.
            (0, 1_000, true, 0, 0),
            (100_000, 1_000, false, 99, 100_000),
            (9_900_000, 1, true, 0, 0),
            (10_000_000, 1, false, 0, 100_000),
            (10_000_000, 20, false, 0, 2_000_000),
            // State of a larger bucket that was set before.
            (99_000_000, 1, false, 0, 100_000),
        ] {
            let charge = RATE.charge(NOW + missing, NOW, points);
            let found = (charge.is_allowed, charge.remaining, charge.wait);
            assert_eq!(
                found,
                (is_allowed, remaining, wait),
                "{missing} missing, {points} points"
            );
        }
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_the_rate_and_waiting_is_always_enough(
            charges in prop::collection::vec((0u64..3_000_000, 1u64..150), 1..60)
        ) {
            let (mut full_at, mut now, mut taken) = (0, NOW, 0u64);
            for (pause, points) in charges {
                now += pause;
                let charge = RATE.charge(full_at, now, points);
                if charge.is_allowed {
                    taken += points.min(RATE.limit);
                } else {
                    let later = RATE.charge(charge.full_at, now + charge.wait, points);
                    prop_assert!(later.is_allowed);
                }
                full_at = charge.full_at;
                let earned = (now - NOW) * RATE.per_second / 1_000_000;
                prop_assert!(taken <= RATE.limit + earned);
            }
        }
    }
}
