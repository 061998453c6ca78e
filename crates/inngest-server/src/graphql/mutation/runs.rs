//! Ending and repeating runs.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use inngest_core::{ids::RunId, run::Run};
use inngest_services::Error as ServiceError;

use crate::graphql::{
    asking::asking,
    ids,
    objects::{run::RunObject, user_error::UserError},
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
        let (run, errors) = sorted(ctx, done, &input.run_id)?;
        Ok(CancelRunPayload { run, errors })
    }

    /// Repeats a run as a whole. Needs RUNS_MANAGE.
    async fn rerun_run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: RerunRunInput,
    ) -> Result<RerunRunPayload, Error> {
        let asking = asking(ctx);
        let id: RunId = ids::parse(&input.run_id)?;
        let done = asking.services.runs().rerun(&asking.actor, id).await;
        let (run, errors) = sorted(ctx, done, &input.run_id)?;
        Ok(RerunRunPayload { run, errors })
    }
}

fn sorted(
    ctx: &Context<'_>,
    done: Result<Run, ServiceError>,
    id: &ID,
) -> Result<(Option<RunObject>, Vec<UserError>), Error> {
    match done {
        Ok(run) => Ok((Some(RunObject(run)), Vec::new())),
        Err(error) => Ok((
            None,
            vec![UserError::sort(
                &error,
                &["input", "runId"],
                Some(id),
                &asking(ctx).request_id,
            )?],
        )),
    }
}
