//! What a run waits for.

use async_graphql::{Context, Enum, Error, ID, InputObject, Object};

use inngest_core::{
    ids::{FunctionId, RunId},
    page::PageRequest,
    wait::{Wait, WaitKind},
    wire::finish,
};
use inngest_services as services;

use crate::graphql::{
    connection::{Counted, Length, Page},
    ids::{self, GlobalId},
    listed::{Total, WaitList},
    loaders::{StepsOf, load},
    objects::{
        run::{self, RunObject},
        step::StepObject,
    },
    related::{FirstRunOf, WaitsOf, answer},
    scalars::{CelExpression, DateTime},
};

/// A point where a run waits for something outside.
pub(crate) struct WaitObject(pub(crate) Wait);

/// The open waits of a run, oldest first; rules that would cancel it are none.
pub(crate) async fn of_run(ctx: &Context<'_>, run: RunId) -> Result<Vec<WaitObject>, Error> {
    let waits = load(ctx, WaitsOf(run)).await?.unwrap_or_default();
    Ok(waits.into_iter().map(WaitObject).collect())
}

/// A point where a run waits for something outside.
#[Object(name = "Wait")]
impl WaitObject {
    /// Global id, prefix wait.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.global()
    }

    /// The run.
    #[graphql(complexity = "10 + child_complexity")]
    async fn run(&self, ctx: &Context<'_>) -> Result<RunObject, Error> {
        run::get(ctx, self.0.run).await
    }

    /// The step.
    async fn step(&self, ctx: &Context<'_>) -> Option<Result<StepObject, Error>> {
        let wanted = self.0.step.as_ref()?;
        match load(ctx, StepsOf(self.0.run)).await {
            Ok(steps) => steps?
                .into_iter()
                .find(|step| step.step == *wanted)
                .map(|step| Ok(StepObject(step))),
            Err(error) => Some(Err(error)),
        }
    }

    /// What it waits for.
    async fn kind(&self) -> WaitKindEnum {
        match self.0.kind {
            WaitKind::Event | WaitKind::Cancel => WaitKindEnum::Event,
            WaitKind::Signal => WaitKindEnum::Signal,
            WaitKind::Invoke => WaitKindEnum::Invoke,
        }
    }

    /// Present state.
    async fn status(&self) -> WaitStatus {
        WaitStatus::Open
    }

    /// Event name.
    async fn event_name(&self) -> Option<&str> {
        self.0
            .event_name
            .as_deref()
            .filter(|_| self.0.kind == WaitKind::Event)
    }

    /// Condition.
    async fn expression(&self) -> Option<CelExpression> {
        self.0
            .expression
            .clone()
            .filter(|_| self.0.kind == WaitKind::Event)
            .map(CelExpression)
    }

    /// Signal name.
    async fn signal(&self) -> Option<&str> {
        self.0.signal.as_deref()
    }

    /// Invoked run, known as soon as it is queued.
    #[graphql(complexity = "10 + child_complexity")]
    async fn invoked_run(&self, ctx: &Context<'_>) -> Option<Result<RunObject, Error>> {
        let step = self.0.step.as_ref();
        let step = step.filter(|_| self.0.kind == WaitKind::Invoke)?;
        let event = finish::invocation_id(self.0.run, step);
        let found = load(ctx, FirstRunOf(event)).await.transpose();
        found.map(|found| found.map(RunObject))
    }

    /// Since when.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.since)
    }

    /// When it gives up.
    async fn expires_at(&self) -> DateTime {
        DateTime(self.0.expires_at)
    }
}

/// Filter for waits; all given parts must hold.
#[derive(InputObject, Default)]
pub(crate) struct WaitFilter {
    /// Only these kinds.
    kinds: Option<Vec<WaitKindEnum>>,
    /// Only for this event.
    event_name: Option<String>,
    /// Only for this signal.
    signal: Option<String>,
    /// Only of these functions.
    function_ids: Option<Vec<ID>>,
}

impl WaitFilter {
    /// A page of the open waits of the caller's environment.
    pub(crate) async fn list(
        self,
        ctx: &Context<'_>,
        request: PageRequest,
    ) -> Result<Page<WaitObject, Counted>, Error> {
        let functions = self.function_ids.as_deref();
        let filter = services::WaitFilter {
            kinds: self
                .kinds
                .map(|list| list.into_iter().map(WaitKindEnum::stored).collect()),
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
}

impl WaitKindEnum {
    fn stored(self) -> WaitKind {
        match self {
            Self::Event => WaitKind::Event,
            Self::Signal => WaitKind::Signal,
            Self::Invoke => WaitKind::Invoke,
        }
    }
}

/// State of a wait.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitStatus {
    /// Still waiting.
    Open,
}
