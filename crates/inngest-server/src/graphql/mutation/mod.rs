//! Root fields that change something. Each takes one `input` and returns one payload; in its `errors` is what a correct client can run
//! into, everything else is a top-level error.

mod apps;
mod bulk;
mod events;
mod functions;
mod runs;

use async_graphql::{Context, MergedObject};

use inngest_core::json::Json;
use inngest_services::{Error as ServiceError, RequestKey};

/// Write operations; each takes one input and returns one payload.
#[derive(MergedObject)]
pub(crate) struct Mutation(
    events::EventMutations,
    runs::RunMutations,
    bulk::BulkMutations,
    functions::FunctionMutations,
    apps::AppMutations,
);

/// The key by which the caller marks the mutation that is being executed, with all of its input.
fn request_key(ctx: &Context<'_>, key: Option<&str>) -> Result<Option<RequestKey>, ServiceError> {
    let Some(key) = key else { return Ok(None) };
    let input = serde_json::to_value(ctx.field().arguments().unwrap_or_default());
    let input = Json::from_value(&input.unwrap_or_default());
    RequestKey::new(key, ctx.field().name(), &input).map(Some)
}

impl Mutation {
    pub(crate) fn new() -> Self {
        Self(
            events::EventMutations,
            runs::RunMutations,
            bulk::BulkMutations,
            functions::FunctionMutations,
            apps::AppMutations,
        )
    }
}
