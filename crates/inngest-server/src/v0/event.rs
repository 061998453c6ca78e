//! Events, in the two shapes that this API has grown.

use async_graphql::{Context, Error, Object};

use inngest_core::{event, wire::v0};

use crate::{
    graphql::{parents::EventRunsOf, related::answer, scalars::UlidText},
    v0::{
        run::{FunctionRun, FunctionRunV2},
        scalars::Time,
    },
};

/// An event.
pub(crate) struct Event(pub(crate) event::Event);

/// An event.
#[Object]
impl Event {
    /// Id given by the server.
    async fn id(&self) -> UlidText {
        UlidText(self.0.id.to_string())
    }

    /// Name.
    async fn name(&self) -> Option<&str> {
        Some(&self.0.name)
    }

    /// Data as JSON text.
    async fn payload(&self) -> Option<String> {
        Some(v0::event_data(&self.0))
    }

    /// The runs that it started.
    #[graphql(complexity = "5 * child_complexity")]
    async fn function_runs(&self, ctx: &Context<'_>) -> Result<Option<Vec<FunctionRun>>, Error> {
        let runs = answer(ctx, EventRunsOf::first_of_all(self.0.id))
            .await?
            .items;
        Ok(Some(runs.into_iter().map(FunctionRun).collect()))
    }
}

/// An event.
pub(crate) struct EventV2(pub(crate) event::Event);

/// An event.
#[Object]
impl EventV2 {
    /// Id given by the server.
    async fn id(&self) -> UlidText {
        UlidText(self.0.id.to_string())
    }

    /// Name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// When it happened.
    async fn occurred_at(&self) -> Time {
        Time(self.0.ts)
    }

    /// When it was accepted.
    async fn received_at(&self) -> Time {
        Time(self.0.received_at)
    }

    /// The event as compact JSON text.
    async fn raw(&self) -> String {
        v0::event_text(&self.0)
    }

    /// The runs that it started.
    #[graphql(complexity = "5 * child_complexity")]
    async fn runs(&self, ctx: &Context<'_>) -> Result<Vec<FunctionRunV2>, Error> {
        let runs = answer(ctx, EventRunsOf::first_of_all(self.0.id))
            .await?
            .items;
        Ok(runs.into_iter().map(FunctionRunV2).collect())
    }

    /// The id that its sender gave it; empty text when it gave none.
    async fn idempotency_key(&self) -> Option<&str> {
        Some(v0::event_key(&self.0))
    }

    /// Version of its shape.
    async fn version(&self) -> Option<String> {
        self.0
            .body
            .member("v")
            .and_then(|version| version.to_text())
    }
}
