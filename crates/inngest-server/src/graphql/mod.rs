//! GraphQL: the schema, and its transports on one path (`/graphql`): POST for one operation, answered once or by a stream of events, and a
//! websocket for many.
//!
//! The schema holds no state. Who asks, the services and the loaders come with each operation, so nothing of one caller can be seen by
//! another.

pub(crate) mod asking;
mod connection;
pub(crate) mod document;
pub(crate) mod error;
pub(crate) mod http;
mod ids;
mod listed;
pub(crate) mod loaders;
mod mutation;
mod objects;
mod operation;
pub(crate) mod parents;
mod query;
pub(crate) mod related;
pub(crate) mod response;
pub(crate) mod scalars;
mod sse;
pub(crate) mod stage;
mod subscription;
pub(crate) mod trusted;
mod ws;
mod ws_protocol;

use async_graphql::{SDLExportOptions, Schema, SchemaBuilder};

use connection::{Counted, EventPage, Page, RunPage};
use mutation::Mutation;
use query::Query;
use subscription::Subscription;

pub(crate) type ApiSchema = Schema<Query, Mutation, Subscription>;

/// Limits of one operation. All are published by `server.limits`.
pub(crate) mod limits {
    use std::time::Duration;

    /// Deepest selection; tools need 13 for the standard introspection query.
    pub(crate) const DEPTH: usize = 15;
    /// Highest complexity.
    pub(crate) const COMPLEXITY: usize = 20_000;
    /// Most aliases in one document.
    pub(crate) const ALIASES: usize = 60;
    /// Most directives on one field.
    pub(crate) const DIRECTIVES: usize = 5;
    /// Longest document, in bytes.
    pub(crate) const DOCUMENT_BYTES: usize = 64 * 1024;
    /// Most root fields of one mutation.
    pub(crate) const MUTATION_FIELDS: usize = 20;
    /// Longest execution of a query.
    pub(crate) const QUERY_TIME: Duration = Duration::from_secs(10);
    /// Longest execution of a mutation.
    pub(crate) const MUTATION_TIME: Duration = Duration::from_secs(30);
    /// Most operations running on one websocket.
    pub(crate) const OPERATIONS_PER_SOCKET: usize = 50;
}

/// Builds the schema with its limits, for requests of at most so many bytes.
pub(crate) fn schema(body_bytes: usize) -> ApiSchema {
    builder().data(BodyLimit(body_bytes)).finish()
}

/// Bytes of the largest request that is read.
pub(crate) struct BodyLimit(pub(crate) usize);

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query, Mutation::new(), Subscription)
        .register_output_type::<objects::feed::FeedMessage>()
        .override_output_type_description::<Page<objects::app::AppObject, Counted>>(
            "A page of apps.",
        )
        .override_output_type_description::<Page<objects::event::EventObject, EventPage>>(
            "A page of events.",
        )
        .override_output_type_description::<Page<objects::function::FunctionObject, Counted>>(
            "A page of functions.",
        )
        .override_output_type_description::<Page<objects::run::RunObject, RunPage>>(
            "A page of runs.",
        )
        .override_output_type_description::<Page<objects::step::StepObject, Counted>>(
            "A page of steps.",
        )
        .override_output_type_description::<Page<objects::environment::EnvironmentObject, Counted>>(
            "A page of environments.",
        )
        .override_output_type_description::<Page<objects::event_type::EventTypeObject, Counted>>(
            "A page of event names.",
        )
        .override_output_type_description::<Page<objects::function_version::FunctionVersionObject, Counted>>(
            "A page of function versions.",
        )
        .override_output_type_description::<Page<objects::wait::WaitObject, Counted>>(
            "A page of waits.",
        )
        .override_output_type_description::<Page<objects::queue::FunctionBacklog, Counted>>(
            "A page of function backlogs.",
        )
        .override_output_type_description::<Page<objects::trace::TraceSpanObject, Counted>>(
            "A page of spans.",
        )
        .override_output_type_description::<Page<objects::sync::SyncObject, Counted>>(
            "A page of syncs.",
        )
        .limit_aliases(limits::ALIASES)
        .limit_directives(limits::DIRECTIVES)
        .extension(stage::Stages)
}

/// The schema as text, sorted, as it stands in `schema.graphql`.
pub fn sdl() -> String {
    let options = SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items()
        .use_space_ident()
        .prefer_single_line_descriptions();
    builder().finish().sdl_with_options(options)
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
