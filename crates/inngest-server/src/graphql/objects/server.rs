//! Facts about the server.

use async_graphql::{Context, Enum, Object, SimpleObject};

use inngest_core::{limits as product, page::MAX_PAGE};
use inngest_services::Mode;

use crate::graphql::{
    BodyLimit,
    asking::asking,
    limits,
    objects::run::millis,
    scalars::{DateTime, Long, Milliseconds},
};

/// Facts about this server.
pub(crate) struct ServerInfo;

/// Facts about this server that a client needs before anything else.
#[Object]
impl ServerInfo {
    /// Version of the server binary.
    async fn version(&self, ctx: &Context<'_>) -> &'static str {
        asking(ctx).services.health().await.version
    }

    /// How the server was started.
    async fn mode(&self, ctx: &Context<'_>) -> ServerMode {
        match asking(ctx).services.settings().mode {
            Mode::Dev => ServerMode::Dev,
            Mode::Start => ServerMode::Production,
        }
    }

    /// Ways to say who asks that are switched on.
    async fn auth_methods(&self, ctx: &Context<'_>) -> Vec<AuthMethod> {
        match asking(ctx).services.settings().mode {
            Mode::Dev => vec![AuthMethod::None],
            Mode::Start => vec![AuthMethod::Jwt, AuthMethod::SigningKey],
        }
    }

    /// Limits of this API.
    async fn limits(&self, ctx: &Context<'_>) -> ApiLimits {
        ApiLimits {
            max_body_bytes: Long(ctx.data_unchecked::<BodyLimit>().0 as u64),
            max_depth: int(limits::DEPTH),
            max_complexity: int(limits::COMPLEXITY),
            max_aliases: int(limits::ALIASES),
            max_page_size: int(MAX_PAGE as usize),
            max_event_bytes: Long(product::EVENT_BYTES as u64),
            max_events_per_request: int(product::EVENTS_PER_REQUEST),
            max_subscriptions_per_connection: int(limits::OPERATIONS_PER_SOCKET),
            query_timeout_ms: millis(limits::QUERY_TIME),
            mutation_timeout_ms: millis(limits::MUTATION_TIME),
        }
    }

    /// Server clock, for skew checks.
    async fn time(&self, ctx: &Context<'_>) -> DateTime {
        DateTime(asking(ctx).services.clock().now())
    }
}

/// How the server was started.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerMode {
    /// Single tenant, embedded storage, no authentication.
    Dev,
    /// Authentication required.
    Production,
}

/// Ways to say who asks.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthMethod {
    /// A token of the server or of its configured issuer, as `Authorization: Bearer`.
    Jwt,
    /// A signing key of the environment, as `Authorization: Bearer`.
    SigningKey,
    /// Nothing is asked for.
    None,
}

/// Limits of this API, so that clients can adapt.
#[derive(SimpleObject)]
pub(crate) struct ApiLimits {
    /// Deepest allowed selection.
    max_depth: i32,
    /// Highest allowed complexity of one operation.
    max_complexity: i32,
    /// Highest allowed number of aliases in one document.
    max_aliases: i32,
    /// Highest allowed value of first.
    max_page_size: i32,
    /// Largest accepted request body.
    max_body_bytes: Long,
    /// Largest accepted single event.
    max_event_bytes: Long,
    /// Most events accepted by one sendEvents call.
    max_events_per_request: i32,
    /// Most concurrent operations on one WebSocket.
    max_subscriptions_per_connection: i32,
    /// Time budget of a query.
    query_timeout_ms: Milliseconds,
    /// Time budget of a mutation.
    mutation_timeout_ms: Milliseconds,
}

fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
