//! The latest events, each with the runs that it started.

use async_graphql::{Context, Error, ID, Object};

use inngest_core::{
    event::{self, SCHEDULED_TIMER},
    ids::EventId,
    page::Direction,
};
use inngest_services::Found;

use crate::{
    graphql::{asking::asking, error::failed, parents::EventRunsOf, related::answer},
    v0::{
        event::Event,
        filter::{Bounds, EventsQuery, StreamQuery},
        list,
        rules::{EVENTS_LISTED, STREAM},
        run::FunctionRun,
    },
};

/// An event, and what it started.
pub(crate) struct StreamItem {
    event: EventId,
    name: String,
}

/// An event, and what it started.
#[Object]
impl StreamItem {
    /// The event's id.
    async fn id(&self) -> ID {
        ID(self.event.to_string())
    }

    /// The name of the event, or the schedule that was due.
    async fn trigger(&self, ctx: &Context<'_>) -> Result<String, Error> {
        let mut schedule = None;
        if self.name == SCHEDULED_TIMER {
            let runs = answer(ctx, EventRunsOf::first_of_all(self.event)).await?;
            schedule = runs.items.into_iter().find_map(|run| run.cron);
        }
        Ok(schedule.unwrap_or_else(|| self.name.clone()))
    }

    /// The runs that it started.
    #[graphql(complexity = "child_complexity")]
    async fn runs(&self, ctx: &Context<'_>) -> Result<Option<Vec<Option<FunctionRun>>>, Error> {
        let runs = answer(ctx, EventRunsOf::first_of_all(self.event)).await?;
        let shown = runs.items.into_iter().map(|run| Some(FunctionRun(run)));
        Ok(Some(shown.collect()))
    }
}

/// Reads the latest events of a stream.
pub(crate) async fn items(ctx: &Context<'_>, query: StreamQuery) -> Result<Vec<StreamItem>, Error> {
    // Of each event only this is kept while the next ones are read.
    let item = |event: event::Event| StreamItem {
        event: event.id,
        name: event.name,
    };
    let bounds = query.bounds()?;
    let newer_than = bounds.newer_than;
    let mut items = latest(ctx, STREAM.of(query.limit), bounds, item).await?;
    items.retain(|item| newer_than.is_none_or(|id| id < item.event));
    Ok(items)
}

/// Reads the latest events.
pub(crate) async fn events(ctx: &Context<'_>, query: EventsQuery) -> Result<Vec<Event>, Error> {
    latest(ctx, EVENTS_LISTED, query.bounds()?, Event).await
}

async fn latest<T>(
    ctx: &Context<'_>,
    limit: u32,
    bounds: Bounds,
    make: impl Fn(event::Event) -> T + Copy,
) -> Result<Vec<T>, Error> {
    let asking = asking(ctx);
    let (events, actor) = (&asking.services.events(), &asking.actor);
    let (filter, newest) = (&bounds.filter, Direction::Descending);
    let whole = list::read(limit, bounds.after.clone(), false, |request| async move {
        let found = events.page(actor, filter, None, newest, &request).await;
        let found = found.map_err(|error| failed(ctx, &error))?;
        Ok(Found {
            page: found.page.map(make),
            scan: found.scan,
        })
    });
    Ok(whole.await?.page.items)
}
