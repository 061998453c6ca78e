//! What comes with each operation: who asks, and the services.

use async_graphql::Context;

use inngest_core::access::Actor;
use inngest_services::{Services, Standing};

/// Who asks, for one operation.
#[derive(Clone)]
pub(crate) struct Asking {
    pub(crate) services: Services,
    pub(crate) actor: Actor,
    /// The same one over time, for what lasts.
    pub(crate) standing: Standing,
    pub(crate) request_id: String,
}

impl Asking {
    /// A caller whose credential is not renewed while it asks.
    pub(crate) fn once(services: Services, actor: Actor, request_id: String) -> Self {
        Self {
            services,
            standing: Standing::of(actor.clone()),
            actor,
            request_id,
        }
    }
}

/// The asking side of the operation that is being executed.
pub(crate) fn asking<'a>(ctx: &Context<'a>) -> &'a Asking {
    ctx.data_unchecked::<Asking>()
}
