//! Which limits the runs of a function have.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use inngest_core::{
    ids::{EnvId, FunctionId},
    run::RunLimits,
};

use crate::Error;

/// Most functions that can have other limits at once.
const MOST: usize = 1_000;

/// Functions whose runs have other limits than the product's. This process alone knows of them, and forgets them when it stops.
#[derive(Debug, Default)]
pub(crate) struct Overrides(RwLock<HashMap<(EnvId, FunctionId), RunLimits>>);

impl Overrides {
    /// The limits of this function's runs.
    pub(crate) fn of(&self, env: EnvId, function: FunctionId) -> RunLimits {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&(env, function)).copied().unwrap_or_default()
    }

    /// Changes them; what is the product's own again is forgotten.
    ///
    /// # Errors
    /// `OverLimit` with `too_many_limits` when as many functions have others as can be.
    pub(crate) fn change(
        &self,
        env: EnvId,
        function: FunctionId,
        change: impl FnOnce(&mut RunLimits),
    ) -> Result<(), Error> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let key = (env, function);
        let mut limits = known.get(&key).copied().unwrap_or_default();
        change(&mut limits);
        if limits == RunLimits::default() {
            known.remove(&key);
            return Ok(());
        }
        if known.len() >= MOST && !known.contains_key(&key) {
            return Err(Error::OverLimit {
                code: "too_many_limits",
                what: "functions with other limits",
                limit: MOST as u64,
                actual: MOST as u64 + 1,
            });
        }
        known.insert(key, limits);
        Ok(())
    }

    /// Gives all functions of an environment the product's limits.
    pub(crate) fn forget(&self, env: EnvId) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, _), _| *of != env);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

    use inngest_core::ids::{AppId, DEFAULT_ENV};

    use super::*;

    #[test]
    fn functions_with_other_limits_are_bounded_in_number_and_by_environment() {
        let overrides = Overrides::default();
        let function =
            |n: usize| FunctionId::derive(AppId::derive(DEFAULT_ENV, "a"), &n.to_string());
        let other: EnvId = "00000000-0000-4000-b000-000000000007".parse().unwrap();
        let one_step = |limits: &mut RunLimits| limits.steps = 1;
        for n in 0..MOST {
            overrides
                .change(DEFAULT_ENV, function(n), one_step)
                .unwrap();
        }
        let over = overrides.change(other, function(0), one_step);
        assert_eq!(over.unwrap_err().code(), "too_many_limits");
        let few_bytes = |limits: &mut RunLimits| limits.state_bytes = 9;
        overrides
            .change(DEFAULT_ENV, function(0), few_bytes)
            .unwrap();
        let expected = RunLimits {
            steps: 1,
            state_bytes: 9,
        };
        assert_eq!(overrides.of(DEFAULT_ENV, function(0)), expected);
        assert_eq!(overrides.of(other, function(0)), RunLimits::default());
        let restore = |limits: &mut RunLimits| *limits = RunLimits::default();
        overrides.change(DEFAULT_ENV, function(0), restore).unwrap();
        overrides.change(other, function(0), one_step).unwrap();
        overrides.forget(DEFAULT_ENV);
        assert_eq!(overrides.of(DEFAULT_ENV, function(1)), RunLimits::default());
        assert_eq!(overrides.of(other, function(0)).steps, 1);
    }
}
