//! Events.

use async_graphql::{Context, Enum, Error, ID, Object, SimpleObject};

use inngest_core::event::{Door, Event, SourceKind};

use crate::graphql::{
    asking::asking,
    connection::{self, Length, Page, RunPage},
    ids::GlobalId,
    loaders::load,
    objects::{
        dispatch::EventDispatch, environment::EnvironmentObject, pause::ActorObject,
        run::RunObject, run_parts::RunStatusCounts,
    },
    parents::{EventRunCountOf, EventRunsOf},
    related::{DispatchesOf, StatusesOf, answer},
    scalars::{DateTime, JsonScalar, UlidText},
};

/// One received event.
pub(crate) struct EventObject(pub(crate) Event);

/// One received event.
#[Object(name = "Event")]
impl EventObject {
    /// Global id, prefix evt.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.global()
    }

    /// Native id assigned at receipt.
    async fn event_id(&self) -> UlidText {
        UlidText(self.0.id.to_string())
    }

    /// The id field given by the producer.
    async fn idempotency_key(&self) -> Option<&str> {
        self.0.has_own_key().then_some(self.0.key.as_str())
    }

    /// Event name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Event data.
    async fn data(&self) -> Option<JsonScalar> {
        self.0.body.member("data").map(JsonScalar)
    }

    /// User object of the event.
    async fn user(&self) -> Option<JsonScalar> {
        self.0.body.member("user").map(JsonScalar)
    }

    /// The event as the SDKs see it: id, name, data, ts, v.
    async fn raw(&self) -> Option<JsonScalar> {
        Some(JsonScalar(self.0.body.clone()))
    }

    /// The v field.
    async fn version(&self) -> Option<String> {
        self.0
            .body
            .member("v")
            .and_then(|version| version.to_text())
    }

    /// The ts field, or the time of receipt.
    async fn occurred_at(&self) -> DateTime {
        DateTime(self.0.ts)
    }

    /// When the server stored it.
    async fn received_at(&self) -> DateTime {
        DateTime(self.0.received_at)
    }

    /// Size of the stored payload.
    async fn size_bytes(&self) -> i32 {
        i32::try_from(self.0.body.len()).unwrap_or(i32::MAX)
    }

    /// Whether the server itself produced it.
    async fn is_internal(&self) -> bool {
        self.0.is_internal()
    }

    /// Where it came from; null for events of before this was kept.
    async fn source(&self) -> Option<EventSource> {
        let author = self.0.door.as_ref().and_then(Door::author);
        Some(EventSource {
            kind: self.0.source_kind()?.into(),
            actor: author.map(ActorObject::of),
        })
    }

    /// Environment it belongs to.
    async fn environment(&self, ctx: &Context<'_>) -> EnvironmentObject {
        EnvironmentObject::of(asking(ctx))
    }

    /// Runs it started or joined.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
    ) -> Result<Page<RunObject, RunPage>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        let found = answer(ctx, EventRunsOf(self.0.id, request)).await?;
        let length = Length::EventRuns(EventRunCountOf(self.0.id));
        Ok(Page::of(found, RunPage::nested(length), RunObject))
    }

    /// What happened for every function that listens to it, by the slug of the function. Of a function that was registered or changed later,
    /// and of a duplicate after a day, nothing may be known.
    #[graphql(complexity = "10 + 5 * child_complexity")]
    async fn dispatches(&self, ctx: &Context<'_>) -> Result<Vec<EventDispatch>, Error> {
        let found = load(ctx, DispatchesOf(self.0.id))
            .await?
            .unwrap_or_default();
        Ok(found.into_iter().map(EventDispatch).collect())
    }

    /// Number of those runs by status.
    async fn run_counts(&self, ctx: &Context<'_>) -> Result<RunStatusCounts, Error> {
        let counts = load(ctx, StatusesOf(self.0.id)).await?.unwrap_or_default();
        Ok(RunStatusCounts::of(&counts))
    }
}

/// Where an event came from.
#[derive(SimpleObject)]
pub(crate) struct EventSource {
    /// Sort of source.
    kind: EventSourceKind,
    /// Who asked, where it came through an API.
    actor: Option<ActorObject>,
}

/// Sort of event source.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "SourceKind")]
pub(crate) enum EventSourceKind {
    /// The ingest address with an event key. Steps of runs send events there as well, and nothing tells them apart.
    EventApi,
    /// This API or the one over REST.
    Api,
    /// The server itself, such as schedules and function-finished events.
    System,
}
