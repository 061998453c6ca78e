//! Operations on many runs.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use inngest_core::bulk::BulkKind;
use inngest_services::{BulkRequest, Error as ServiceError};

use crate::graphql::{
    asking::asking,
    ids::{self, CancellationId, ReplayId},
    mutation::request_key,
    objects::{
        bulk::{BulkRunFilter, CancellationObject, ReplayObject},
        environment::EnvironmentObject,
        user_error::UserError,
    },
};

#[derive(Default)]
pub(super) struct BulkMutations;

/// Runs to cancel.
#[derive(InputObject)]
struct CancelRunsInput {
    /// Environment of the runs.
    environment_id: ID,
    /// What to match.
    filter: BulkRunFilter,
    /// Label, of at most 256 bytes.
    name: Option<String>,
    /// Repeating the call with the same key within 24 hours returns the first result.
    idempotency_key: Option<String>,
}

/// Result of cancelRuns.
#[derive(SimpleObject)]
struct CancelRunsPayload {
    /// The bulk cancellation.
    cancellation: Option<CancellationObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// Bulk cancellation to end.
#[derive(InputObject)]
struct DeleteCancellationInput {
    /// The bulk cancellation.
    cancellation_id: ID,
}

/// Result of deleteCancellation.
#[derive(SimpleObject)]
struct DeleteCancellationPayload {
    /// The ended bulk cancellation.
    cancellation: Option<CancellationObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// Runs to start again.
#[derive(InputObject)]
struct CreateReplayInput {
    /// Environment of the runs.
    environment_id: ID,
    /// What to match.
    filter: BulkRunFilter,
    /// Label, of at most 256 bytes.
    name: Option<String>,
    /// Pace of starting runs, 1 to 10,000; as fast as they can be stored when omitted.
    rate_per_second: Option<i32>,
    /// Repeating the call with the same key within 24 hours returns the first result.
    idempotency_key: Option<String>,
}

/// Result of createReplay.
#[derive(SimpleObject)]
struct CreateReplayPayload {
    /// The replay.
    replay: Option<ReplayObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// Replay to stop.
#[derive(InputObject)]
struct StopReplayInput {
    /// The replay.
    replay_id: ID,
}

/// Result of stopReplay.
#[derive(SimpleObject)]
struct StopReplayPayload {
    /// The stopped replay.
    replay: Option<ReplayObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// Operations on many runs.
#[Object]
impl BulkMutations {
    /// Starts a bulk cancellation. Needs RUNS_MANAGE.
    async fn cancel_runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: CancelRunsInput,
    ) -> Result<CancelRunsPayload, Error> {
        let asking = asking(ctx);
        EnvironmentObject::check(asking, &input.environment_id)?;
        let request = input.filter.into_service(input.name)?;
        let done = async {
            let key = request_key(ctx, input.idempotency_key.as_deref())?;
            let bulk = asking.services.bulk();
            bulk.cancel(&asking.actor, request, key).await
        };
        Ok(match done.await {
            Ok(operation) => CancelRunsPayload {
                cancellation: Some(CancellationObject(operation)),
                errors: Vec::new(),
            },
            Err(error) => CancelRunsPayload {
                cancellation: None,
                errors: refused(ctx, &error, &["input", "filter"], None)?,
            },
        })
    }

    /// Ends a bulk cancellation so that it matches no more runs. Needs RUNS_MANAGE.
    async fn delete_cancellation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: DeleteCancellationInput,
    ) -> Result<DeleteCancellationPayload, Error> {
        let asking = asking(ctx);
        let CancellationId(id) = ids::parse(&input.cancellation_id)?;
        let bulk = asking.services.bulk();
        let done = bulk.stop(&asking.actor, BulkKind::Cancellation, id).await;
        Ok(match done {
            Ok(operation) => DeleteCancellationPayload {
                cancellation: Some(CancellationObject(operation)),
                errors: Vec::new(),
            },
            Err(error) => {
                let (path, id) = (["input", "cancellationId"], &input.cancellation_id);
                DeleteCancellationPayload {
                    cancellation: None,
                    errors: refused(ctx, &error, &path, Some(id))?,
                }
            }
        })
    }

    /// Starts new runs for many past runs. Needs RUNS_MANAGE.
    async fn create_replay(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: CreateReplayInput,
    ) -> Result<CreateReplayPayload, Error> {
        let asking = asking(ctx);
        EnvironmentObject::check(asking, &input.environment_id)?;
        let rate = input.rate_per_second;
        let request = BulkRequest {
            // What is below zero is refused like zero.
            rate: rate.map(|rate| u32::try_from(rate).unwrap_or(0)),
            ..input.filter.into_service(input.name)?
        };
        let done = async {
            let key = request_key(ctx, input.idempotency_key.as_deref())?;
            let bulk = asking.services.bulk();
            bulk.replay(&asking.actor, request, key).await
        };
        Ok(match done.await {
            Ok(operation) => CreateReplayPayload {
                replay: Some(ReplayObject(operation)),
                errors: Vec::new(),
            },
            Err(error) => CreateReplayPayload {
                replay: None,
                errors: refused(ctx, &error, &["input", "filter"], None)?,
            },
        })
    }

    /// Stops a replay; runs already started go on. Needs RUNS_MANAGE.
    async fn stop_replay(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: StopReplayInput,
    ) -> Result<StopReplayPayload, Error> {
        let asking = asking(ctx);
        let ReplayId(id) = ids::parse(&input.replay_id)?;
        let bulk = asking.services.bulk();
        Ok(match bulk.stop(&asking.actor, BulkKind::Replay, id).await {
            Ok(operation) => StopReplayPayload {
                replay: Some(ReplayObject(operation)),
                errors: Vec::new(),
            },
            Err(error) => {
                let (path, id) = (["input", "replayId"], &input.replay_id);
                StopReplayPayload {
                    replay: None,
                    errors: refused(ctx, &error, &path, Some(id))?,
                }
            }
        })
    }
}

fn refused(
    ctx: &Context<'_>,
    error: &ServiceError,
    path: &[&str],
    id: Option<&ID>,
) -> Result<Vec<UserError>, Error> {
    Ok(vec![UserError::sort(
        error,
        path,
        id,
        &asking(ctx).request_id,
    )?])
}
