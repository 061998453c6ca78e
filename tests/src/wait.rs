//! Waiting for a condition, never for a moment.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before a test gives up. Generous, because it is only ever reached by a failure.
pub const DEADLINE: Duration = Duration::from_secs(30);

const FIRST_PAUSE: Duration = Duration::from_millis(15);
const LONGEST_PAUSE: Duration = Duration::from_millis(120);

/// Asks `condition` until it has an answer. Pauses grow, so that many waiting tests do not slow the server down.
///
/// # Panics
/// After `deadline`, with `what` in the message.
pub fn wait_until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(
            started.elapsed() < deadline,
            "waited {deadline:?} in vain for {what}"
        );
        thread::sleep(pause);
        pause = LONGEST_PAUSE.min(pause * 3 / 2);
    }
}

/// Asks `condition` again and again for the whole of `span`; for what must *not* happen.
///
/// # Panics
/// As soon as the condition does not hold.
pub fn holds_for(what: &str, span: Duration, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < span {
        assert!(condition(), "{what} did not hold for {span:?}");
        thread::sleep(LONGEST_PAUSE);
    }
}
