//! Ending and repeating runs.

use async_graphql::{Context, Enum, Error, ID, InputObject, Object, OneofObject, SimpleObject};

use inngest_core::{
    ids::{RunId, StepId},
    json::Json,
    run::{RerunFrom, Run},
};
use inngest_services::{Beginning, Error as ServiceError, Rerun, RerunVersion};

use crate::graphql::{
    asking::asking,
    ids,
    mutation::request_key,
    objects::{
        node::Node,
        run::{self, RunObject},
        user_error::UserError,
    },
    scalars::JsonScalar,
};

#[derive(Default)]
pub(super) struct RunMutations;

/// Run to cancel.
#[derive(InputObject)]
struct CancelRunInput {
    /// The run.
    run_id: ID,
}

/// Result of cancelRun.
#[derive(SimpleObject)]
struct CancelRunPayload {
    /// The run, already in state CANCELLED.
    run: Option<RunObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// Run to repeat.
#[derive(InputObject)]
struct RerunRunInput {
    /// The run.
    run_id: ID,
    /// Where to begin; the start when omitted.
    from: Option<RerunFromInput>,
    /// Which version to use; LATEST when omitted.
    function_version: Option<RerunVersionEnum>,
    /// Repeating the call with the same key within 24 hours returns the first run.
    idempotency_key: Option<String>,
}

/// Where a rerun begins.
#[derive(OneofObject)]
enum RerunFromInput {
    /// At a step; results of earlier steps are kept.
    Step(RerunFromStepInput),
    /// At the start with other event data.
    Event(RerunFromEventInput),
}

/// Step a rerun begins at.
#[derive(InputObject)]
struct RerunFromStepInput {
    /// Hashed id of the step.
    step_id: String,
    /// New arguments of the step; the recorded ones when omitted.
    input: Option<Vec<JsonScalar>>,
}

/// Event data a rerun begins with.
#[derive(InputObject)]
struct RerunFromEventInput {
    /// New event data.
    data: JsonScalar,
}

/// Version a rerun uses.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "RerunVersion", remote = "RerunVersion")]
enum RerunVersionEnum {
    /// The version in force.
    Latest,
    /// The version of the run that is repeated, as far as flow control is concerned.
    Original,
}

impl RerunFromInput {
    fn into_beginning(self) -> Result<Beginning, ServiceError> {
        Ok(match self {
            Self::Step(from) => Beginning::Step(RerunFrom {
                step: StepId::parse(&from.step_id)?,
                input: from
                    .input
                    .map(|input| Json::array(input.iter().map(|argument| &argument.0))),
            }),
            Self::Event(from) => Beginning::Data(from.data.0),
        })
    }
}

/// Result of rerunRun.
#[derive(SimpleObject)]
struct RerunRunPayload {
    /// The new run.
    run: Option<RunObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// Ending and repeating runs.
#[Object]
impl RunMutations {
    /// Cancels one run; repeating it is harmless. Needs RUNS_MANAGE.
    async fn cancel_run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: CancelRunInput,
    ) -> Result<CancelRunPayload, Error> {
        let asking = asking(ctx);
        let id: RunId = ids::parse(&input.run_id)?;
        let done = asking.services.runs().cancel(&asking.actor, id).await;
        let (run, errors) = sorted(ctx, done, &input.run_id).await?;
        Ok(CancelRunPayload { run, errors })
    }

    /// Repeats a run as a whole or from a step. Needs RUNS_MANAGE.
    async fn rerun_run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: RerunRunInput,
    ) -> Result<RerunRunPayload, Error> {
        let asking = asking(ctx);
        let id: RunId = ids::parse(&input.run_id)?;
        let done = async {
            let key = request_key(ctx, input.idempotency_key.as_deref())?;
            let from = input.from.map(RerunFromInput::into_beginning).transpose()?;
            let rerun = Rerun {
                from: from.unwrap_or_default(),
                version: input.function_version.map(Into::into).unwrap_or_default(),
            };
            asking
                .services
                .runs()
                .rerun(&asking.actor, id, rerun, key)
                .await
        };
        let (run, errors) = sorted(ctx, done.await, &input.run_id).await?;
        Ok(RerunRunPayload { run, errors })
    }
}

async fn sorted(
    ctx: &Context<'_>,
    done: Result<Run, ServiceError>,
    id: &ID,
) -> Result<(Option<RunObject>, Vec<UserError>), Error> {
    match done {
        Ok(run) => Ok((Some(RunObject(run)), Vec::new())),
        Err(error) => {
            let path = ["input", "runId"];
            let mut sorted = UserError::sort(&error, &path, Some(id), &asking(ctx).request_id)?;
            if let ServiceError::RunEnded { run } = error
                && let Some(Ok(run)) = run::find(ctx, run).await
            {
                sorted = sorted.with_current(Node::Run(run));
            }
            Ok((None, vec![sorted]))
        }
    }
}
