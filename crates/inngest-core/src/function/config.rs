//! What an app says about a function, read and checked (`wire::sync` reads it).

use std::time::Duration;

use crate::limits;

/// A function's configuration. Made by `wire::sync::parse_config` from the JSON that is stored with the function.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionConfig {
    /// The composite id, `<app>-<function>`.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// What starts it, in declared order; the first match counts.
    pub triggers: Vec<Trigger>,
    /// The URL of its one step as registered, without `deployId` and `probe`.
    pub url: String,
    /// Retries after the first attempt, at most [`limits::MAX_RETRIES`].
    pub retries: u32,
    /// Rules that cancel its runs.
    pub cancels: Vec<CancelRule>,
    /// How long a run may wait for its first call, and work after it.
    pub timeouts: Timeouts,
    /// Expression whose value starts at most one run in 24 hours.
    pub idempotency: Option<String>,
    /// Limits on flow.
    pub flow: FlowControl,
}

impl FunctionConfig {
    /// Attempts that each call of this function gets.
    pub fn max_attempts(&self) -> u32 {
        self.retries.min(limits::MAX_RETRIES) + 1
    }
}

/// What starts a function.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// An event whose name fits the pattern, if the expression is true.
    Event {
        pattern: String,
        expression: Option<String>,
    },
    /// A cron schedule, each tick put off by a fixed part of `jitter`.
    Cron {
        schedule: String,
        jitter: Option<Duration>,
    },
}

/// Events of this name for which the expression holds end the runs of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct CancelRule {
    /// Exact name.
    pub event: String,
    /// Over `event` (the run's) and `async` (the incoming one).
    pub expression: Option<String>,
    /// How long the rule lives after the run was scheduled.
    pub timeout: Option<Duration>,
}

/// See [`FunctionConfig::timeouts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From scheduling to the first call.
    pub start: Option<Duration>,
    /// From the first call to the end.
    pub finish: Option<Duration>,
}

/// Settings that limit how many runs or steps go at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlowControl {
    /// Steps at once, at most two limits.
    pub concurrency: Vec<Concurrency>,
    /// Whole runs at once.
    pub run_concurrency: Option<Concurrency>,
    /// Run starts per period; the excess waits.
    pub throttle: Option<Throttle>,
    /// Run starts per period; the excess is dropped.
    pub rate_limit: Option<RateLimit>,
    /// One run for the last event of a burst.
    pub debounce: Option<Debounce>,
    /// One run for many events.
    pub batch: Option<Batch>,
    /// One run at a time.
    pub singleton: Option<Singleton>,
    /// Expression that gives seconds by which a run is put forward.
    pub priority: Option<String>,
}

impl FlowControl {
    /// Names of the settings that are present, as the SDKs spell them.
    pub fn present(&self) -> Vec<&'static str> {
        let named = [
            (
                "concurrency",
                !self.concurrency.is_empty() || self.run_concurrency.is_some(),
            ),
            ("throttle", self.throttle.is_some()),
            ("rateLimit", self.rate_limit.is_some()),
            ("debounce", self.debounce.is_some()),
            ("batchEvents", self.batch.is_some()),
            ("singleton", self.singleton.is_some()),
            ("priority", self.priority.is_some()),
        ];
        named
            .into_iter()
            .filter_map(|(name, present)| present.then_some(name))
            .collect()
    }
}

/// At most `limit` at once, in all or for each value of `key`.
#[derive(Clone, Debug, PartialEq)]
pub struct Concurrency {
    /// 0 means no limit.
    pub limit: u32,
    /// Expression.
    pub key: Option<String>,
    /// Who shares the limit.
    pub scope: ConcurrencyScope,
}

/// Who shares a concurrency limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConcurrencyScope {
    /// The runs of this function.
    #[default]
    Function,
    /// All functions of the environment with the same key expression.
    Environment,
    /// All functions of the organization with the same key expression.
    Organization,
}

/// At most `limit + burst` starts at once, then one each `period / limit`.
#[derive(Clone, Debug, PartialEq)]
pub struct Throttle {
    /// At least 1.
    pub limit: u32,
    /// Longer than zero.
    pub period: Duration,
    /// 0 when not set.
    pub burst: u32,
    /// Expression.
    pub key: Option<String>,
}

/// At most `limit` starts in any `period`.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// At least 1.
    pub limit: u32,
    /// At most 24 h.
    pub period: Duration,
    /// Expression.
    pub key: Option<String>,
}

/// Start once no event came for `period`, at the latest after `timeout`.
#[derive(Clone, Debug, PartialEq)]
pub struct Debounce {
    /// 1 s to 7 days.
    pub period: Duration,
    /// From the first event.
    pub timeout: Option<Duration>,
    /// Expression.
    pub key: Option<String>,
}

/// Collect up to `max_size` events, for at most `timeout`.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// At least 2.
    pub max_size: u32,
    /// At least 1 s, from the first event.
    pub timeout: Duration,
    /// Expression.
    pub key: Option<String>,
    /// Events for which this is false run alone.
    pub condition: Option<String>,
}

/// One run at a time for each value of `key`.
#[derive(Clone, Debug, PartialEq)]
pub struct Singleton {
    /// Expression.
    pub key: Option<String>,
    /// What happens to a second run.
    pub mode: SingletonMode,
}

/// What happens when a run is active already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingletonMode {
    /// The new run is skipped.
    Skip,
    /// The active run is cancelled.
    Cancel,
}
