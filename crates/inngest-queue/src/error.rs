//! What can go wrong.

use inngest_core::ids::WorkId;

/// An operation on the schedule that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller no longer holds the work; somebody else may.
    #[error("the lease on work `{id}` is lost")]
    LeaseLost {
        /// What was leased.
        id: WorkId,
    },
    /// The bound on entries is reached.
    #[error("the schedule is full: {left_out} entries were left out")]
    Full {
        /// How many of the offered entries are not in the schedule. The others are.
        left_out: usize,
    },
    /// Redis cannot be reached or does not take the command. Whether it was carried out is not known; doing it again is harmless.
    #[error("the schedule in Redis cannot be reached: {reason}")]
    Unavailable {
        /// Why, in words that hold nothing of what was sent.
        reason: &'static str,
    },
    /// Redis has lost the schedule; it has to be rebuilt from the durable list.
    #[error("the schedule in Redis is lost and has to be rebuilt")]
    Lost,
}
