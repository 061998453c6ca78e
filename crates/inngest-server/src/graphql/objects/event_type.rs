//! Names of events.

use async_graphql::{Context, Error, ID, Object};

use inngest_core::{event::is_internal, time::Timestamp};

use crate::graphql::{
    asking::asking,
    error::failed,
    ids,
    loaders::load,
    objects::{
        environment::EnvironmentObject,
        filter::TimeRange,
        function::FunctionObject,
        metrics::{MetricBucket, range_of},
        series::TimeSeries,
    },
    related::{KnownName, SeenOf, VolumeOf, answer},
    scalars::DateTime,
};

/// An event name.
pub(crate) struct EventTypeObject(pub(crate) String);

/// The event name, if an event or a trigger has it.
pub(crate) async fn find(
    ctx: &Context<'_>,
    name: String,
) -> Option<Result<EventTypeObject, Error>> {
    let found = load(ctx, KnownName(name.clone())).await.transpose()?;
    Some(found.map(|()| EventTypeObject(name)))
}

/// An event name.
#[Object(name = "EventType")]
impl EventTypeObject {
    /// Global id, prefix evty.
    pub(crate) async fn id(&self, ctx: &Context<'_>) -> ID {
        ids::event_type(asking(ctx).actor.env, &self.0)
    }

    /// Event name.
    async fn name(&self) -> &str {
        &self.0
    }

    /// Environment it belongs to.
    async fn environment(&self, ctx: &Context<'_>) -> EnvironmentObject {
        EnvironmentObject::of(asking(ctx))
    }

    /// Whether the server itself produces it.
    async fn is_internal(&self) -> bool {
        is_internal(&self.0)
    }

    /// The first of these events that is still stored.
    #[graphql(complexity = 10)]
    async fn first_seen_at(&self, ctx: &Context<'_>) -> Option<Result<DateTime, Error>> {
        self.seen(ctx, |(first, _)| first).await
    }

    /// The last of these events.
    #[graphql(complexity = 10)]
    async fn last_seen_at(&self, ctx: &Context<'_>) -> Option<Result<DateTime, Error>> {
        self.seen(ctx, |(_, last)| last).await
    }

    /// Events over time; null for a name of events that the server produces, which are not counted, and 0 where others had no room: see
    /// EnvironmentMetrics.events.
    #[graphql(complexity = "100 + child_complexity")]
    async fn volume(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Over which time; at most 1,000 buckets.")] range: TimeRange,
        #[graphql(desc = "Width of the buckets; chosen by the length of the range when omitted.")]
        bucket: Option<MetricBucket>,
    ) -> Option<Result<TimeSeries, Error>> {
        if is_internal(&self.0) {
            return None;
        }
        let key = VolumeOf {
            name: self.0.clone(),
            range: range_of(&range, bucket),
        };
        let found = answer(ctx, key).await;
        Some(found.map(|(span, series)| TimeSeries::of_counts(span, series)))
    }

    /// Functions that listen to it, whatever their conditions, by slug.
    #[graphql(complexity = "5 + 5 * child_complexity")]
    async fn functions(&self, ctx: &Context<'_>) -> Result<Vec<FunctionObject>, Error> {
        let asking = asking(ctx);
        let functions = asking.services.functions();
        let found = functions.listening(&asking.actor, &self.0).await;
        let found = found.map_err(|error| failed(ctx, &error))?;
        Ok(found.into_iter().map(FunctionObject).collect())
    }
}

impl EventTypeObject {
    async fn seen(
        &self,
        ctx: &Context<'_>,
        which: impl FnOnce((Timestamp, Timestamp)) -> Timestamp,
    ) -> Option<Result<DateTime, Error>> {
        let seen = load(ctx, SeenOf(self.0.clone())).await.transpose()?;
        Some(seen.map(|seen| DateTime(which(seen))))
    }
}
