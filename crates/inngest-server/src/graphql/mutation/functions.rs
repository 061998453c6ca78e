//! Pausing and resuming functions.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use inngest_core::{app::Function, ids::FunctionId};
use inngest_services::{Error as ServiceError, PauseRequest};

use crate::graphql::{
    asking::asking,
    ids,
    objects::{
        function::FunctionObject,
        pause::{PauseInFlight, PauseNewEvents},
        user_error::UserError,
    },
    scalars::DateTime,
};

#[derive(Default)]
pub(super) struct FunctionMutations;

/// Function to pause.
#[derive(InputObject)]
struct PauseFunctionInput {
    /// The function.
    function_id: ID,
    /// What happens to started runs; CONTINUE when omitted.
    in_flight: Option<PauseInFlight>,
    /// What happens to new triggers; SKIP when omitted.
    new_events: Option<PauseNewEvents>,
    /// Note, of at most 1,024 bytes.
    reason: Option<String>,
    /// When it ends by itself.
    resumes_at: Option<DateTime>,
}

/// Result of pauseFunction.
#[derive(SimpleObject)]
struct PauseFunctionPayload {
    /// The paused function.
    function: Option<FunctionObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// Function to resume.
#[derive(InputObject)]
struct ResumeFunctionInput {
    /// The function.
    function_id: ID,
}

/// Result of resumeFunction.
#[derive(SimpleObject)]
struct ResumeFunctionPayload {
    /// The resumed function.
    function: Option<FunctionObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// Pausing and resuming functions.
#[Object]
impl FunctionMutations {
    /// Pauses a function, or changes how it is paused. Needs FUNCTIONS_MANAGE.
    async fn pause_function(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: PauseFunctionInput,
    ) -> Result<PauseFunctionPayload, Error> {
        let asking = asking(ctx);
        let id: FunctionId = ids::parse(&input.function_id)?;
        let request = PauseRequest {
            in_flight: input.in_flight.map(Into::into).unwrap_or_default(),
            new_events: input.new_events.map(Into::into).unwrap_or_default(),
            reason: input.reason,
            resumes_at: input.resumes_at.map(|at| at.0),
        };
        let functions = asking.services.functions();
        let done = functions.pause(&asking.actor, id, request).await;
        let (function, errors) = sorted(ctx, done, &input.function_id)?;
        Ok(PauseFunctionPayload { function, errors })
    }

    /// Resumes a function; what was held back goes on. Needs FUNCTIONS_MANAGE.
    async fn resume_function(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: ResumeFunctionInput,
    ) -> Result<ResumeFunctionPayload, Error> {
        let asking = asking(ctx);
        let id: FunctionId = ids::parse(&input.function_id)?;
        let functions = asking.services.functions();
        let done = functions.resume(&asking.actor, id).await;
        let (function, errors) = sorted(ctx, done, &input.function_id)?;
        Ok(ResumeFunctionPayload { function, errors })
    }
}

fn sorted(
    ctx: &Context<'_>,
    done: Result<Function, ServiceError>,
    id: &ID,
) -> Result<(Option<FunctionObject>, Vec<UserError>), Error> {
    match done {
        Ok(function) => Ok((Some(FunctionObject(function)), Vec::new())),
        Err(error) => {
            let path = ["input", "functionId"];
            let sorted = UserError::sort(&error, &path, Some(id), &asking(ctx).request_id)?;
            Ok((None, vec![sorted]))
        }
    }
}
