//! What comes with each operation: who asks, and the services.

use async_graphql::Context;

use inngest_core::access::Actor;
use inngest_services::Services;

/// Who asks, for one operation.
#[derive(Clone)]
pub(crate) struct Asking {
    pub(crate) services: Services,
    pub(crate) actor: Actor,
    pub(crate) request_id: String,
}

/// The asking side of the operation that is being executed.
pub(crate) fn asking<'a>(ctx: &Context<'a>) -> &'a Asking {
    ctx.data_unchecked::<Asking>()
}
