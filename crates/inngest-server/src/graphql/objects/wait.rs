//! What a run waits for, or has waited for.

use async_graphql::{Context, Enum, Error, ID, InputObject, Object};

use inngest_core::{
    ids::{FunctionId, RunId},
    page::PageRequest,
    run::{StepDetails, StepKind, StepWait, WaitStatus},
    wire::finish,
};
use inngest_services as services;

use crate::graphql::{
    connection::{Counted, Length, Page},
    error::failed,
    ids,
    listed::{Total, WaitList},
    loaders::load,
    objects::{
        event::EventObject,
        run::{self, RunObject},
        step::{self, StepObject},
    },
    related::{FirstRunOf, WaitsOf, answer},
    scalars::{CelExpression, DateTime},
};

/// A point where a run waits for something outside.
pub(crate) struct WaitObject(pub(crate) StepWait);

/// The open waits of a run, oldest first; rules that would cancel it are none.
pub(crate) async fn of_run(ctx: &Context<'_>, run: RunId) -> Result<Vec<WaitObject>, Error> {
    let waits = load(ctx, WaitsOf(run)).await?.unwrap_or_default();
    Ok(waits.into_iter().map(WaitObject).collect())
}

/// A point where a run waits for something outside, or has waited for it.
#[Object(name = "Wait")]
impl WaitObject {
    /// Global id, prefix wait; it stays when the wait has ended.
    pub(crate) async fn id(&self) -> ID {
        ids::wait(self.0.run, &self.0.step)
    }

    /// The run.
    #[graphql(complexity = "10 + child_complexity")]
    async fn run(&self, ctx: &Context<'_>) -> Result<RunObject, Error> {
        run::get(ctx, self.0.run).await
    }

    /// The step.
    async fn step(&self, ctx: &Context<'_>) -> Result<StepObject, Error> {
        let (run, step) = (self.0.run, self.0.step.clone());
        match step::find(ctx, run, &step).await {
            Some(found) => found,
            None => {
                let (what, id) = ("step", format!("{run}.{step}"));
                Err(failed(ctx, &services::Error::NotFound { what, id }))
            }
        }
    }

    /// What it waits for.
    async fn kind(&self) -> WaitKindEnum {
        match self.0.asked {
            StepDetails::Signal { .. } => WaitKindEnum::Signal,
            StepDetails::Invoke { .. } => WaitKindEnum::Invoke,
            StepDetails::Sleep { .. } => WaitKindEnum::Sleep,
            // The other two ask for no wait.
            StepDetails::Event { .. } | StepDetails::Code { .. } | StepDetails::Fetch { .. } => {
                WaitKindEnum::Event
            }
        }
    }

    /// Present state.
    async fn status(&self) -> WaitStatusEnum {
        self.0.status.into()
    }

    /// Event name.
    async fn event_name(&self) -> Option<&str> {
        self.0.event_name()
    }

    /// Condition; null when there is none, or it is longer than 8 KiB.
    async fn expression(&self) -> Option<CelExpression> {
        match &self.0.asked {
            StepDetails::Event { expression, .. } => expression.clone().map(CelExpression),
            _ => None,
        }
    }

    /// Signal name.
    async fn signal(&self) -> Option<&str> {
        self.0.signal()
    }

    /// Invoked run, known as soon as it is queued.
    #[graphql(complexity = "10 + child_complexity")]
    async fn invoked_run(&self, ctx: &Context<'_>) -> Option<Result<RunObject, Error>> {
        if self.0.kind != StepKind::Invoke {
            return None;
        }
        let event = finish::invocation_id(self.0.run, &self.0.step);
        let found = load(ctx, FirstRunOf(event)).await.transpose();
        found.map(|found| found.map(RunObject))
    }

    /// Since when.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.since)
    }

    /// When it gives up; of a sleep, when it ends.
    async fn expires_at(&self) -> DateTime {
        DateTime(self.0.until)
    }

    /// When it ended.
    async fn resolved_at(&self) -> Option<DateTime> {
        self.0.ended_at.map(DateTime)
    }

    /// Event that ended it: the one that it waited for, or the end of the invoked run. Null when nothing of the kind ended it, and when the event is
    /// no longer kept.
    async fn matched_event(&self, ctx: &Context<'_>) -> Option<Result<EventObject, Error>> {
        let found = load(ctx, self.0.ended_by?).await.transpose();
        found.map(|found| found.map(EventObject))
    }
}

/// Filter for waits; all given parts must hold.
#[derive(InputObject, Default)]
pub(crate) struct WaitFilter {
    /// Only these kinds.
    kinds: Option<Vec<WaitKindEnum>>,
    /// Only these states; OPEN when omitted.
    statuses: Option<Vec<WaitStatusEnum>>,
    /// Only for this event.
    event_name: Option<String>,
    /// Only for this signal.
    signal: Option<String>,
    /// Only of these functions.
    function_ids: Option<Vec<ID>>,
}

impl WaitFilter {
    /// A page of the waits of the caller's environment.
    pub(crate) async fn list(
        self,
        ctx: &Context<'_>,
        request: PageRequest,
    ) -> Result<Page<WaitObject, Counted>, Error> {
        let functions = self.function_ids.as_deref();
        let filter = services::WaitFilter {
            statuses: self
                .statuses
                .map(|list| list.into_iter().map(WaitStatus::from).collect()),
            kinds: self
                .kinds
                .map(|list| list.into_iter().map(WaitKindEnum::of_step).collect()),
            event_name: self.event_name,
            signal: self.signal,
            functions: functions.map(ids::parse_all::<FunctionId>).transpose()?,
        };
        let backward = request.backward;
        let found = answer(ctx, WaitList(filter.clone(), request)).await?;
        let extra = Counted(Length::Total(Total::Waits(filter)));
        Ok(Page::listed(found, backward, extra, WaitObject))
    }
}

/// What a wait is for.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "WaitKind")]
pub(crate) enum WaitKindEnum {
    /// An event.
    Event,
    /// A signal.
    Signal,
    /// An invoked run.
    Invoke,
    /// Time.
    Sleep,
}

impl WaitKindEnum {
    fn of_step(self) -> StepKind {
        match self {
            Self::Event => StepKind::WaitForEvent,
            Self::Signal => StepKind::WaitForSignal,
            Self::Invoke => StepKind::Invoke,
            Self::Sleep => StepKind::Sleep,
        }
    }
}

/// State of a wait.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "WaitStatus", remote = "WaitStatus")]
pub(crate) enum WaitStatusEnum {
    /// Still waiting.
    Open,
    /// Ended by what it waited for, or by an error in its place.
    Resolved,
    /// Ended by its timeout.
    TimedOut,
    /// The run ended first.
    Cancelled,
}
