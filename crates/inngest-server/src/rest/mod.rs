//! REST: `/api/v1`, and under `/v1` and `/v2` what users of the SDKs know by these paths.
//!
//! An operation is a row of a table (`operation.rs`): method, path, what it asks of its caller, parameters, the types of its body and
//! answer, its handler. Router and OpenAPI document are made of it. A handler makes one service call.

mod about;
mod apps;
mod body;
mod bulk;
mod events;
mod functions;
mod input;
mod jobs;
mod notes;
mod openapi;
mod operation;
mod pauses;
pub(crate) mod problem;
mod query;
mod reply;
mod runs;
mod signals;
mod v2;

use axum::Router;

use crate::state::AppState;

/// Every operation.
fn operations() -> Vec<operation::Operation> {
    [
        about::operations(),
        apps::operations(),
        functions::operations(),
        pauses::operations(),
        events::operations(),
        runs::operations(),
        jobs::operations(),
        bulk::operations(),
        signals::operations(),
        v2::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The routes of every operation.
pub(crate) fn routes() -> Router<AppState> {
    operation::routes(operations())
}
