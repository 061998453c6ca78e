//! Live streams. Each message carries the latest state of an object; a slow reader misses states, never the last one.

use std::time::Duration;

use async_graphql::{Context, Error, ID, InputObject, Subscription};
use futures_util::{Stream, StreamExt};

use inngest_core::{
    bulk::BulkKind,
    ids::{AppId, EventId, FunctionId, RunId},
    run::{RunStatus, TriggerKind},
};
use inngest_services::{
    Error as ServiceError, EventFeedFilter as ServiceEventFilter, FeedCursor,
    RunFeedFilter as ServiceRunFilter, Update,
};

use crate::graphql::{
    asking::{Asking, asking},
    error::{as_error, bad_cursor, bad_input, failed},
    ids::{self, GlobalId, Target},
    objects::{
        bulk::{BulkOperationObject, BulkOperationUpdate},
        environment::EnvironmentObject,
        feed::{AppFeedUpdate, EventFeedUpdate, RunFeedUpdate, RunTraceUpdate, RunUpdate},
        queue::QueueStatsTick,
        run_parts::{RunStatusEnum, RunTriggerKind},
        series::FunctionMetricsTick,
    },
    scalars::{CelExpression, DateTime},
};

/// Filter of runFeed.
#[derive(InputObject, Default)]
pub(crate) struct RunFeedFilter {
    /// Only these states.
    statuses: Option<Vec<RunStatusEnum>>,
    /// Only of these functions.
    function_ids: Option<Vec<ID>>,
    /// Only of these apps.
    app_ids: Option<Vec<ID>>,
    /// Only started by these events.
    event_ids: Option<Vec<ID>>,
    /// Only started this way.
    trigger_kinds: Option<Vec<RunTriggerKind>>,
    /// Condition evaluated on each change.
    search: Option<CelExpression>,
}

impl RunFeedFilter {
    fn into_service(self) -> Result<ServiceRunFilter, Error> {
        let (statuses, triggers) = (self.statuses, self.trigger_kinds);
        Ok(ServiceRunFilter {
            statuses: statuses.map(|list| list.into_iter().map(RunStatus::from).collect()),
            functions: parse_all::<FunctionId>(self.function_ids)?,
            apps: parse_all::<AppId>(self.app_ids)?,
            events: parse_all::<EventId>(self.event_ids)?,
            triggers: triggers.map(|list| list.into_iter().map(TriggerKind::from).collect()),
            search: self.search.map(|search| search.0),
        })
    }
}

fn parse_all<T: GlobalId>(list: Option<Vec<ID>>) -> Result<Option<Vec<T>>, Error> {
    list.as_deref().map(ids::parse_all::<T>).transpose()
}

/// Filter of eventFeed.
#[derive(InputObject, Default)]
pub(crate) struct EventFeedFilter {
    /// Only these names, with a trailing star as wildcard.
    names: Option<Vec<String>>,
    /// Also events produced by the server; false when omitted.
    include_internal: Option<bool>,
    /// Condition evaluated on each event.
    search: Option<CelExpression>,
}

/// Live streams; exactly one root field per operation.
pub(crate) struct Subscription;

/// Live streams; exactly one root field per operation.
#[Subscription]
impl Subscription {
    /// Every change of one run; ends when the run has ended and been delivered.
    async fn run_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The run.")] run_id: ID,
        #[graphql(desc = "Position to resume from; the present state is sent first in any case.")]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<RunUpdate, Error>> + use<>, Error> {
        cursor(after)?;
        let asking = asking(ctx);
        let id: RunId = ids::parse(&run_id)?;
        let live = asking.services.live();
        let stream = live.watch_run(asking.standing.clone(), id).await;
        Ok(messages(
            asking,
            stream.map_err(|error| failed(ctx, &error))?,
        ))
    }

    /// New and changed runs that match a filter.
    async fn run_feed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Environment of the runs.")] environment_id: ID,
        #[graphql(desc = "Which runs; all when omitted.")] filter: Option<RunFeedFilter>,
        #[graphql(desc = "Position to resume from.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<RunFeedUpdate, Error>> + use<>, Error> {
        let asking = asking(ctx);
        EnvironmentObject::check(asking, &environment_id)?;
        let filter = filter.unwrap_or_default().into_service()?;
        let live = asking.services.live();
        let stream = live
            .watch_runs(asking.standing.clone(), filter, cursor(after)?)
            .await;
        Ok(messages(
            asking,
            stream.map_err(|error| failed(ctx, &error))?,
        ))
    }

    /// New and changed steps and spans of one run.
    async fn run_trace_feed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The run.")] run_id: ID,
        #[graphql(desc = "Position to resume from.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<RunTraceUpdate, Error>> + use<>, Error> {
        let asking = asking(ctx);
        let id: RunId = ids::parse(&run_id)?;
        let live = asking.services.live();
        let stream = live
            .watch_steps(
                asking.standing.clone(),
                id,
                ctx.look_ahead().field("spans").exists(),
                cursor(after)?,
            )
            .await;
        Ok(messages(
            asking,
            stream.map_err(|error| failed(ctx, &error))?,
        ))
    }

    /// Progress of a bulk operation; the present state first. Ends with it.
    async fn bulk_operation_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The bulk operation, by its global id.")] id: ID,
    ) -> Result<impl Stream<Item = Result<BulkOperationUpdate, Error>> + use<>, Error> {
        let asking = asking(ctx);
        let (kind, bulk) = match ids::target(&id) {
            Some(Target::Cancellation(bulk)) => (BulkKind::Cancellation, bulk),
            Some(Target::Replay(bulk)) => (BulkKind::Replay, bulk),
            _ => return Err(bad_input("this is not the id of a bulk operation")),
        };
        let standing = asking.standing.clone();
        let watched = asking.services.bulk();
        let stream = watched.watch(standing, kind, bulk).await;
        let stream = stream.map_err(|error| failed(ctx, &error))?;
        let (request_id, clock) = (asking.request_id.clone(), asking.services.clock().clone());
        Ok(stream.map(move |found| match found {
            Ok(operation) => Ok(BulkOperationUpdate {
                at: DateTime(clock.now()),
                operation: BulkOperationObject::of(operation),
            }),
            Err(error) => Err(as_error(&error, &request_id)),
        }))
    }

    /// New events that match a filter.
    async fn event_feed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Environment of the events.")] environment_id: ID,
        #[graphql(desc = "Which events; all that senders sent when omitted.")] filter: Option<
            EventFeedFilter,
        >,
        #[graphql(desc = "Position to resume from.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<EventFeedUpdate, Error>> + use<>, Error> {
        let asking = asking(ctx);
        EnvironmentObject::check(asking, &environment_id)?;
        let filter = filter.unwrap_or_default();
        let filter = ServiceEventFilter {
            names: filter.names,
            with_internal: filter.include_internal.unwrap_or(false),
            search: filter.search.map(|search| search.0),
        };
        let live = asking.services.live();
        let stream = live
            .watch_events(asking.standing.clone(), filter, cursor(after)?)
            .await;
        Ok(messages(
            asking,
            stream.map_err(|error| failed(ctx, &error))?,
        ))
    }

    /// Apps and functions that are synced, paused, changed or removed. Open it and wait for READY before you query the list, and nothing
    /// falls between the two.
    async fn app_feed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Environment of the apps.")] environment_id: ID,
        #[graphql(desc = "Position to resume from.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<AppFeedUpdate, Error>> + use<>, Error> {
        let asking = asking(ctx);
        EnvironmentObject::check(asking, &environment_id)?;
        let live = asking.services.live();
        let stream = live
            .watch_apps(asking.standing.clone(), cursor(after)?)
            .await;
        Ok(messages(
            asking,
            stream.map_err(|error| failed(ctx, &error))?,
        ))
    }

    /// Counters of one function, at once and then at an interval of 1 to 60 seconds.
    async fn function_metrics(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The function.")] function_id: ID,
        #[graphql(desc = "Seconds from one message to the next, 1 to 60; 5 when omitted.")]
        interval_seconds: Option<i32>,
    ) -> Result<impl Stream<Item = Result<FunctionMetricsTick, Error>> + use<>, Error> {
        let asking = asking(ctx);
        let id: FunctionId = ids::parse(&function_id)?;
        let every = interval(interval_seconds)?;
        let live = asking.services.live();
        let ticks = live.watch_function(asking.standing.clone(), id, every);
        let ticks = ticks.await.map_err(|error| failed(ctx, &error))?;
        let request_id = asking.request_id.clone();
        Ok(ticks.map(move |tick| match tick {
            Ok(tick) => Ok(FunctionMetricsTick(tick)),
            Err(error) => Err(as_error(&error, &request_id)),
        }))
    }

    /// Queue of an environment, at once and then at an interval of 1 to 60 seconds; nothing while the schedule does not answer.
    async fn queue_stats(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Environment of the queue.")] environment_id: ID,
        #[graphql(desc = "Seconds from one message to the next, 1 to 60; 5 when omitted.")]
        interval_seconds: Option<i32>,
    ) -> Result<impl Stream<Item = Result<QueueStatsTick, Error>> + use<>, Error> {
        let asking = asking(ctx);
        EnvironmentObject::check(asking, &environment_id)?;
        let every = interval(interval_seconds)?;
        let live = asking.services.live();
        let ticks = live.watch_queue(asking.standing.clone(), every).await;
        let ticks = ticks.map_err(|error| failed(ctx, &error))?;
        let request_id = asking.request_id.clone();
        Ok(ticks.map(move |tick| match tick {
            Ok(tick) => Ok(QueueStatsTick::from(tick)),
            Err(error) => Err(as_error(&error, &request_id)),
        }))
    }
}

fn cursor(after: Option<String>) -> Result<Option<FeedCursor>, Error> {
    after
        .map(|text| text.parse())
        .transpose()
        .map_err(|_| bad_cursor())
}

fn interval(seconds: Option<i32>) -> Result<Duration, Error> {
    match seconds.map_or(Ok(5), u64::try_from) {
        Ok(seconds @ 1..=60) => Ok(Duration::from_secs(seconds)),
        _ => Err(bad_input("intervalSeconds is a number from 1 to 60")),
    }
}

/// What a service tells, as messages.
fn messages<N, M, S>(
    asking: &Asking,
    updates: S,
) -> impl Stream<Item = Result<M, Error>> + use<N, M, S>
where
    M: From<Update<N>>,
    S: Stream<Item = Result<Update<N>, ServiceError>>,
{
    let request_id = asking.request_id.clone();
    updates.map(move |update| match update {
        Ok(update) => Ok(update.into()),
        Err(error) => Err(as_error(&error, &request_id)),
    })
}
