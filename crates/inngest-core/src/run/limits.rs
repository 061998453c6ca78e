//! How large a run may get.

use crate::limits;

/// How large a run may get. The defaults are the product's; only tests have others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Most steps.
    pub steps: usize,
    /// Most bytes of trigger events and results together.
    pub state_bytes: usize,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            steps: limits::STEPS_PER_RUN,
            state_bytes: limits::STATE_BYTES,
        }
    }
}
