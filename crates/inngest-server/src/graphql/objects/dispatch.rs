//! What became of an event.

use async_graphql::{Context, Enum, Error, Object};

use inngest_services::{Dispatch, DispatchOutcome};

use crate::graphql::{
    error::bad_input,
    loaders::load,
    objects::{function::FunctionObject, run::RunObject},
    scalars::DateTime,
};

/// Decision for one event and one function.
pub(crate) struct EventDispatch(pub(crate) Dispatch);

/// Decision for one event and one function. What did not happen is told from the function as it is now.
#[Object]
impl EventDispatch {
    /// The function.
    async fn function(&self, ctx: &Context<'_>) -> Result<FunctionObject, Error> {
        let found = load(ctx, self.0.function).await?;
        let found = found.map(FunctionObject);
        found.ok_or_else(|| bad_input("the function of this dispatch is gone"))
    }

    /// What was decided.
    async fn outcome(&self) -> DispatchOutcomeEnum {
        self.0.outcome.into()
    }

    /// The run that was started or skipped; of a duplicate, the one that was there before, as long as it is kept.
    async fn run(&self, ctx: &Context<'_>) -> Result<Option<RunObject>, Error> {
        match self.0.run {
            Some(run) => Ok(load(ctx, run).await?.map(RunObject)),
            None => Ok(None),
        }
    }

    /// Sentence that explains the decision; null where a run was started.
    async fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// When the run was queued, or the event accepted.
    async fn at(&self) -> DateTime {
        DateTime(self.0.at)
    }
}

/// What was decided for an event and a function.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "DispatchOutcome", remote = "DispatchOutcome")]
pub(crate) enum DispatchOutcomeEnum {
    /// A run was queued.
    Started,
    /// Skipped because the function is paused.
    SkippedPaused,
    /// Suppressed by idempotency.
    Duplicate,
    /// The trigger expression was false.
    NotMatched,
    /// The trigger expression failed.
    ExpressionError,
}
