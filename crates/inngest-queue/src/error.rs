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
}
