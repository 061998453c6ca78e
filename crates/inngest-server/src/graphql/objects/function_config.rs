//! Flow control and retry settings of a function.

use async_graphql::{Enum, Object, SimpleObject};

use inngest_core::{
    function::config::{self, FunctionConfig},
    json::Json,
    limits,
};

use crate::graphql::scalars::{CelExpression, DurationString, JsonScalar};

/// Flow control and retry settings of a function version.
pub(crate) struct FunctionConfigObject {
    pub(crate) config: FunctionConfig,
    pub(crate) raw: Json,
}

/// Flow control and retry settings of a function version.
#[Object(name = "FunctionConfig")]
impl FunctionConfigObject {
    /// Retries per step and per function body.
    async fn retries(&self) -> RetryConfig {
        RetryConfig {
            attempts: int(self.config.retries),
            is_default: self.config.retries == limits::DEFAULT_RETRIES,
        }
    }

    /// Limits on steps executing at the same time, or on runs that have not ended.
    async fn concurrency(&self) -> Vec<ConcurrencyConfig> {
        let read = |target: ConcurrencyTarget| {
            move |limit: &config::Concurrency| ConcurrencyConfig {
                scope: match limit.scope {
                    config::ConcurrencyScope::Function => ConcurrencyScope::Function,
                    config::ConcurrencyScope::Environment => ConcurrencyScope::Environment,
                    config::ConcurrencyScope::Organization => ConcurrencyScope::Organization,
                },
                limit: int(limit.limit),
                key: cel(limit.key.as_deref()),
                target,
            }
        };
        let flow = &self.config.flow;
        let steps = flow.concurrency.iter().map(read(ConcurrencyTarget::Step));
        steps
            .chain(
                flow.run_concurrency
                    .iter()
                    .map(read(ConcurrencyTarget::Run)),
            )
            .collect()
    }

    /// Delays starts beyond a rate.
    async fn throttle(&self) -> Option<ThrottleConfig> {
        self.config
            .flow
            .throttle
            .as_ref()
            .map(|throttle| ThrottleConfig {
                limit: int(throttle.limit),
                period: DurationString::of(throttle.period),
                burst: int(throttle.burst),
                key: cel(throttle.key.as_deref()),
            })
    }

    /// Drops starts beyond a rate.
    async fn rate_limit(&self) -> Option<RateLimitConfig> {
        self.config
            .flow
            .rate_limit
            .as_ref()
            .map(|limit| RateLimitConfig {
                limit: int(limit.limit),
                period: DurationString::of(limit.period),
                key: cel(limit.key.as_deref()),
            })
    }

    /// Waits until events stop arriving.
    async fn debounce(&self) -> Option<DebounceConfig> {
        self.config
            .flow
            .debounce
            .as_ref()
            .map(|debounce| DebounceConfig {
                period: DurationString::of(debounce.period),
                timeout: debounce.timeout.map(DurationString::of),
                key: cel(debounce.key.as_deref()),
            })
    }

    /// Collects events into one run.
    async fn batch(&self) -> Option<BatchConfig> {
        self.config.flow.batch.as_ref().map(|batch| BatchConfig {
            max_size: int(batch.max_size),
            timeout: DurationString::of(batch.timeout),
            key: cel(batch.key.as_deref()),
            condition: cel(batch.condition.as_deref()),
        })
    }

    /// Reorders waiting runs.
    async fn priority(&self) -> Option<PriorityConfig> {
        self.config
            .flow
            .priority
            .clone()
            .map(|expression| PriorityConfig {
                expression: CelExpression(expression),
            })
    }

    /// At most one run at a time.
    async fn singleton(&self) -> Option<SingletonConfig> {
        self.config
            .flow
            .singleton
            .as_ref()
            .map(|singleton| SingletonConfig {
                mode: match singleton.mode {
                    config::SingletonMode::Skip => SingletonMode::Skip,
                    config::SingletonMode::Cancel => SingletonMode::Cancel,
                },
                key: cel(singleton.key.as_deref()),
            })
    }

    /// Limits on waiting and running time.
    async fn timeouts(&self) -> TimeoutConfig {
        let timeouts = self.config.timeouts;
        TimeoutConfig {
            start: timeouts.start.map(DurationString::of),
            finish: timeouts.finish.map(DurationString::of),
        }
    }

    /// Events that cancel a run.
    async fn cancel_on(&self) -> Vec<CancelOnConfig> {
        let read = |rule: &config::CancelRule| CancelOnConfig {
            event_name: rule.event.clone(),
            expression: cel(rule.expression.as_deref()),
            timeout: rule.timeout.map(DurationString::of),
        };
        self.config.cancels.iter().map(read).collect()
    }

    /// Key that suppresses repeated runs for 24 hours.
    async fn idempotency_key(&self) -> Option<CelExpression> {
        cel(self.config.idempotency.as_deref())
    }

    /// The registration exactly as the SDK sent it.
    async fn raw(&self) -> JsonScalar {
        JsonScalar(self.raw.clone())
    }
}

/// Retry settings.
#[derive(SimpleObject)]
pub(crate) struct RetryConfig {
    /// Retries after the first attempt.
    attempts: i32,
    /// Whether it is the number that applies when the SDK leaves it out.
    is_default: bool,
}

/// One concurrency limit.
#[derive(SimpleObject)]
pub(crate) struct ConcurrencyConfig {
    /// What the limit counts.
    scope: ConcurrencyScope,
    /// Steps that may execute at the same time, 0 for no limit.
    limit: i32,
    /// Expression that splits the limit by value.
    key: Option<CelExpression>,
    /// Whether steps or whole runs are counted.
    target: ConcurrencyTarget,
}

/// What a concurrency limit counts.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConcurrencyScope {
    /// This function.
    Function,
    /// All functions of the environment that share the key.
    Environment,
    /// All functions of the organization that share the key.
    Organization,
}

/// Unit of a concurrency limit.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConcurrencyTarget {
    /// Executing steps.
    Step,
    /// Started runs that have not ended.
    Run,
}

/// Throttle settings.
#[derive(SimpleObject)]
pub(crate) struct ThrottleConfig {
    /// Starts per period.
    limit: i32,
    /// Length of the period.
    period: DurationString,
    /// Starts that may come at once besides.
    burst: i32,
    /// Expression that splits the throttle by value.
    key: Option<CelExpression>,
}

/// Rate limit settings.
#[derive(SimpleObject)]
pub(crate) struct RateLimitConfig {
    /// Starts per period.
    limit: i32,
    /// Length of the period.
    period: DurationString,
    /// Expression that splits the limit by value.
    key: Option<CelExpression>,
}

/// Debounce settings.
#[derive(SimpleObject)]
pub(crate) struct DebounceConfig {
    /// Quiet time before the run starts.
    period: DurationString,
    /// Longest total wait.
    timeout: Option<DurationString>,
    /// Expression that splits debounces by value.
    key: Option<CelExpression>,
}

/// Batch settings.
#[derive(SimpleObject)]
pub(crate) struct BatchConfig {
    /// Events per batch.
    max_size: i32,
    /// Longest wait for a full batch.
    timeout: DurationString,
    /// Expression that splits batches by value.
    key: Option<CelExpression>,
    /// Only events for which this is true are batched.
    condition: Option<CelExpression>,
}

/// Priority settings.
#[derive(SimpleObject)]
pub(crate) struct PriorityConfig {
    /// Expression yielding seconds of head start.
    expression: CelExpression,
}

/// Singleton settings.
#[derive(SimpleObject)]
pub(crate) struct SingletonConfig {
    /// What happens to a second run.
    mode: SingletonMode,
    /// Expression that splits singletons by value.
    key: Option<CelExpression>,
}

/// What happens to a second singleton run.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SingletonMode {
    /// The new run is skipped.
    Skip,
    /// The present run is cancelled.
    Cancel,
}

/// Timeout settings.
#[derive(SimpleObject)]
pub(crate) struct TimeoutConfig {
    /// Longest time between queueing and starting.
    start: Option<DurationString>,
    /// Longest time between starting and ending.
    finish: Option<DurationString>,
}

/// Event that cancels a run.
#[derive(SimpleObject)]
pub(crate) struct CancelOnConfig {
    /// Event name.
    event_name: String,
    /// Condition over the triggering event and the cancelling event.
    expression: Option<CelExpression>,
    /// How long after the start the rule applies.
    timeout: Option<DurationString>,
}

fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn cel(text: Option<&str>) -> Option<CelExpression> {
    text.map(|text| CelExpression(text.to_owned()))
}
