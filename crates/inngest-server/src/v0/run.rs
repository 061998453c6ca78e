//! Runs, in the two shapes that this API has grown, and what started them.

use std::sync::Arc;

use async_graphql::{Context, Enum, Error, ID, Object};

use inngest_core::{
    event::Event,
    run::{Run, RunStatus, trace::TraceId},
    wire::v0::{self, trace::View},
};

use crate::{
    graphql::{asking::asking, error::failed, scalars::UlidText},
    v0::{
        function::{self, Function},
        scalars::{Bytes, Time},
        span::RunTraceSpan,
    },
};

/// Where a run is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FunctionRunStatus {
    /// The function returned.
    Completed,
    /// The function failed for good.
    Failed,
    /// It was ended from outside.
    Cancelled,
    /// Its app was called.
    Running,
    /// Its app was not called yet.
    Queued,
    /// It was never executed.
    Skipped,
}

impl From<RunStatus> for FunctionRunStatus {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Queued => Self::Queued,
            RunStatus::Running => Self::Running,
            RunStatus::Completed => Self::Completed,
            RunStatus::Failed => Self::Failed,
            RunStatus::Cancelled => Self::Cancelled,
            RunStatus::Skipped => Self::Skipped,
        }
    }
}

impl From<FunctionRunStatus> for RunStatus {
    fn from(status: FunctionRunStatus) -> Self {
        match status {
            FunctionRunStatus::Queued => Self::Queued,
            FunctionRunStatus::Running => Self::Running,
            FunctionRunStatus::Completed => Self::Completed,
            FunctionRunStatus::Failed => Self::Failed,
            FunctionRunStatus::Cancelled => Self::Cancelled,
            FunctionRunStatus::Skipped => Self::Skipped,
        }
    }
}

/// A run.
pub(crate) struct FunctionRun(pub(crate) Run);

/// A run.
#[Object]
impl FunctionRun {
    /// Its ULID.
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    /// Where it is; running from the moment on when it is scheduled.
    async fn status(&self) -> Option<FunctionRunStatus> {
        Some(match self.0.status {
            RunStatus::Queued => FunctionRunStatus::Running,
            status => status.into(),
        })
    }

    /// Its result or its error, as JSON text.
    async fn output(&self) -> Option<String> {
        v0::run_output(&self.0)
    }

    /// Its function.
    async fn function(&self, ctx: &Context<'_>) -> Result<Option<Function>, Error> {
        function::get(ctx, self.0.function).await.map(Some)
    }
}

/// A run.
pub(crate) struct FunctionRunV2(pub(crate) Run);

/// A run.
#[Object]
impl FunctionRunV2 {
    /// Its ULID.
    async fn id(&self) -> UlidText {
        UlidText(self.0.id.to_string())
    }

    /// Where it is.
    async fn status(&self) -> FunctionRunStatus {
        self.0.status.into()
    }

    /// 32 hex digits.
    #[graphql(name = "traceID")]
    async fn trace_id(&self) -> String {
        TraceId::of(self.0.id).to_string()
    }

    /// Its spans, nested below one that stands for the run.
    #[graphql(complexity = "20 + child_complexity")]
    async fn trace(
        &self,
        ctx: &Context<'_>,
        preview: Option<bool>,
    ) -> Result<Option<RunTraceSpan>, Error> {
        let view = if preview.unwrap_or_default() {
            View::Preview
        } else {
            View::Old
        };
        let asking = asking(ctx);
        let runs = asking.services.runs();
        let found = runs.nested_trace(&asking.actor, self.0.id, view).await;
        found
            .map(|root| Some(RunTraceSpan(Arc::new(root))))
            .map_err(|error| failed(ctx, &error))
    }

    /// When it was scheduled.
    async fn queued_at(&self) -> Time {
        Time(self.0.queued_at)
    }

    /// When its app was first called.
    async fn started_at(&self) -> Option<Time> {
        self.0.started_at.map(Time)
    }

    /// When it ended.
    async fn ended_at(&self) -> Option<Time> {
        self.0.ended.as_ref().map(|ended| Time(ended.at))
    }

    /// Its function.
    async fn function(&self, ctx: &Context<'_>) -> Result<Function, Error> {
        function::get(ctx, self.0.function).await
    }

    /// Whether several events started it.
    async fn is_batch(&self) -> bool {
        self.0.events.len() > 1
    }

    /// When its batch was begun; not known here.
    async fn batch_created_at(&self) -> Option<Time> {
        None
    }

    /// The cron schedule that started it.
    async fn cron_schedule(&self) -> Option<&str> {
        self.0.cron.as_deref()
    }

    /// Its result or its error, as JSON text.
    async fn output(&self) -> Option<Bytes> {
        v0::run_output(&self.0).map(Bytes)
    }
}

/// What started a run.
pub(crate) struct RunTraceTrigger {
    pub(crate) run: Run,
    /// In the order of the run's.
    pub(crate) events: Vec<Event>,
}

/// What started a run.
#[Object]
impl RunTraceTrigger {
    /// Name of the first event.
    async fn event_name(&self) -> Option<&str> {
        Some(&self.run.event_name)
    }

    /// The events.
    #[graphql(name = "IDs")]
    async fn ids(&self) -> Vec<UlidText> {
        let ids = self.run.events.iter();
        ids.map(|id| UlidText(id.to_string())).collect()
    }

    /// When the first of them was accepted.
    async fn timestamp(&self) -> Time {
        let accepted = self.events.iter().map(|event| event.received_at).min();
        Time(accepted.unwrap_or(self.run.queued_at))
    }

    /// The events as JSON texts.
    async fn payloads(&self) -> Vec<Bytes> {
        let events = self.events.iter();
        events.map(|event| Bytes(v0::event_text(event))).collect()
    }

    /// Whether there are several.
    async fn is_batch(&self) -> bool {
        self.run.events.len() > 1
    }

    /// The batch; not known here.
    #[graphql(name = "batchID")]
    async fn batch_id(&self) -> Option<UlidText> {
        None
    }

    /// The cron schedule.
    async fn cron(&self) -> Option<&str> {
        self.run.cron.as_deref()
    }
}
