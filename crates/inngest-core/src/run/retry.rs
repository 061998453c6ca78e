//! When a failed attempt is tried again.

use std::time::Duration;

use crate::{duration, limits, run::reply::RetryHint, time::Timestamp};

/// How long to wait after attempt 0, 1, 2, …; afterwards the last one.
const BACKOFF: [Duration; 10] = [
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(2 * 60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(20 * 60),
    Duration::from_secs(40 * 60),
    Duration::from_secs(3_600),
    Duration::from_secs(2 * 3_600),
];

/// Jitter is drawn evenly from zero to this.
pub const JITTER: Duration = Duration::from_secs(30);

/// What retries of one call go by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all.
    pub max_attempts: u32,
    /// A fixed delay in place of the table (`--retry-interval`).
    pub interval: Option<Duration>,
    /// A number from 0 up to 1 that places this delay within the jitter.
    pub jitter: f64,
}

/// When the attempt after the `attempt`-th (counted from 0) is made; `None` when that was the last one or no other is wanted.
///
/// A delay that the app asks for counts before the table and has no jitter, but uses up the same number of attempts.
pub fn next_attempt(
    attempt: u32,
    hint: &RetryHint,
    policy: RetryPolicy,
    now: Timestamp,
) -> Option<Timestamp> {
    if hint.no_retry || attempt.saturating_add(1) >= policy.max_attempts {
        return None;
    }
    let asked = hint
        .after
        .as_deref()
        .and_then(|text| duration::retry_after(text, now.as_millis()));
    if let Some(delay_ms) = asked {
        return Some(now.plus(Duration::from_millis(delay_ms)));
    }
    if let Some(interval) = policy.interval {
        return Some(now.plus(interval));
    }
    let base = BACKOFF[(attempt as usize).min(BACKOFF.len() - 1)];
    let delay = base + JITTER.mul_f64(policy.jitter.clamp(0.0, 1.0));
    Some(now.plus(delay.clamp(limits::RETRY_DELAY_MIN, limits::RETRY_DELAY_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn policy(max_attempts: u32) -> RetryPolicy {
        RetryPolicy {
            max_attempts,
            interval: None,
            jitter: 0.0,
        }
    }

    fn delay(attempt: u32, after: Option<&str>, policy: RetryPolicy) -> Option<u64> {
        let hint = RetryHint {
            no_retry: false,
            after: after.map(str::to_owned),
        };
        next_attempt(attempt, &hint, policy, NOW).map(|at| at.since(NOW).as_secs())
    }

    #[test]
    fn delays_follow_the_table() {
        for (attempt, seconds) in [
            (0, 15),
            (1, 30),
            (2, 60),
            (3, 120),
            (8, 3_600),
            (9, 7_200),
            (20, 7_200),
        ] {
            assert_eq!(
                delay(attempt, None, policy(30)),
                Some(seconds),
                "attempt {attempt}"
            );
        }
    }

    #[test]
    fn last_attempt_has_no_successor() {
        assert_eq!(delay(0, None, policy(1)), None);
        assert_eq!(delay(4, Some("30"), policy(5)), None);
        assert!(delay(3, None, policy(5)).is_some());
    }

    #[test]
    fn app_may_ask_for_a_delay_within_bounds() {
        assert_eq!(delay(0, Some("30"), policy(5)), Some(30));
        assert_eq!(delay(0, Some("0"), policy(5)), Some(1));
        assert_eq!(delay(0, Some("9999999"), policy(5)), Some(24 * 3_600));
        assert_eq!(delay(0, Some("garbage"), policy(5)), Some(15));
    }

    #[test]
    fn no_retry_is_final_and_interval_replaces_the_table() {
        let hint = RetryHint {
            no_retry: true,
            after: Some("30".into()),
        };
        assert_eq!(next_attempt(0, &hint, policy(5), NOW), None);
        let linear = RetryPolicy {
            interval: Some(Duration::from_secs(2)),
            ..policy(5)
        };
        assert_eq!(delay(3, None, linear), Some(2));
    }
}
