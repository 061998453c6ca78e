//! Root fields.

use std::str::FromStr;

use async_graphql::{Context, Error, ID, InputObject, Object};

use inngest_core::{
    ids::{EventId, RunId},
    wire::v0::trace::OutputId,
};

use crate::{
    graphql::{
        asking::asking,
        error::{bad_input, failed},
        loaders::load_many,
        scalars::UlidText,
    },
    v0::{
        event::{Event, EventV2},
        filter::{EventsFilter, EventsQuery, RunsFilter, RunsOrder, StreamQuery},
        function::Function,
        list::{self, EventsConnection, RunsConnection},
        rules::{EVENTS, EVENTS_LISTED, PageSizes, RUNS, STREAM},
        run::{FunctionRun, FunctionRunV2, RunTraceTrigger},
        span::RunTraceSpanOutput,
        stream::{self, StreamItem},
    },
};

/// Reads events and runs.
pub(crate) struct Query;

/// Names an event.
#[derive(InputObject)]
struct EventQuery {
    /// Ignored: the credential says which environment is meant.
    #[graphql(default_with = "ID::from(\"local\")")]
    workspace_id: ID,
    /// Id given by the server.
    event_id: ID,
}

/// Names a run.
#[derive(InputObject)]
struct FunctionRunQuery {
    /// Ignored: the credential says which environment is meant.
    #[graphql(default_with = "ID::from(\"local\")")]
    workspace_id: ID,
    /// Its ULID.
    function_run_id: ID,
}

fn parse<T: FromStr>(id: &str) -> Result<T, Error> {
    id.parse()
        .map_err(|_| bad_input("this is not a ULID, so there is nothing of this id"))
}

/// What a page of so many entries costs.
fn cost(sizes: PageSizes, asked: i32, children: usize) -> usize {
    5 + (sizes.of(asked) as usize).saturating_mul(children)
}

async fn event(ctx: &Context<'_>, id: &str) -> Result<inngest_core::event::Event, Error> {
    let (asking, id) = (asking(ctx), parse::<EventId>(id)?);
    let found = asking.services.events().get(&asking.actor, id).await;
    found.map_err(|error| failed(ctx, &error))
}

async fn run(ctx: &Context<'_>, id: &str) -> Result<inngest_core::run::Run, Error> {
    let (asking, id) = (asking(ctx), parse::<RunId>(id)?);
    let found = asking.services.runs().get(&asking.actor, id).await;
    found.map_err(|error| failed(ctx, &error))
}

/// Reads events and runs. An id that names nothing is an error, because clients that wait for it try again then.
#[Object]
impl Query {
    /// An event.
    async fn event_v2(&self, ctx: &Context<'_>, id: UlidText) -> Result<EventV2, Error> {
        event(ctx, &id.0).await.map(EventV2)
    }

    /// An event.
    async fn event(&self, ctx: &Context<'_>, query: EventQuery) -> Result<Option<Event>, Error> {
        event(ctx, &query.event_id).await.map(Event).map(Some)
    }

    /// Events, newest first. A page has 1 to 51 of them; another number stands for 40.
    #[graphql(complexity = "cost(EVENTS, first, child_complexity)")]
    async fn events_v2(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 40)] first: i32,
        after: Option<String>,
        filter: EventsFilter,
    ) -> Result<EventsConnection, Error> {
        list::events(ctx, first, after, filter).await
    }

    /// The latest events, newest first.
    #[graphql(complexity = "5 + EVENTS_LISTED as usize * child_complexity")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        query: EventsQuery,
    ) -> Result<Option<Vec<Event>>, Error> {
        stream::events(ctx, query).await.map(Some)
    }

    /// The latest events, newest first, each with the runs that it started.
    #[graphql(complexity = "cost(STREAM, query.limit, child_complexity)")]
    async fn stream(
        &self,
        ctx: &Context<'_>,
        query: StreamQuery,
    ) -> Result<Vec<StreamItem>, Error> {
        stream::items(ctx, query).await
    }

    /// Runs. A page has 1 to 399 of them; another number stands for 40.
    #[graphql(complexity = "cost(RUNS, first, child_complexity)")]
    async fn runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 100)] first: i32,
        after: Option<String>,
        order_by: Vec<RunsOrder>,
        filter: RunsFilter,
        #[graphql(name = "preview")] _preview: Option<bool>,
    ) -> Result<RunsConnection, Error> {
        list::runs(ctx, first, after, &order_by, filter).await
    }

    /// Functions of the environment.
    #[graphql(complexity = "5 + 50 * child_complexity")]
    async fn functions(&self, ctx: &Context<'_>) -> Result<Option<Vec<Function>>, Error> {
        let asking = asking(ctx);
        let functions = asking.services.functions();
        let found = functions.list(&asking.actor, None, false).await;
        let found = found.map_err(|error| failed(ctx, &error))?;
        Ok(Some(found.into_iter().map(Function).collect()))
    }

    /// A run.
    async fn function_run(
        &self,
        ctx: &Context<'_>,
        query: FunctionRunQuery,
    ) -> Result<Option<FunctionRun>, Error> {
        let found = run(ctx, &query.function_run_id).await;
        found.map(FunctionRun).map(Some)
    }

    /// A run.
    async fn run(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "runID")] id: String,
    ) -> Result<Option<FunctionRunV2>, Error> {
        run(ctx, &id).await.map(FunctionRunV2).map(Some)
    }

    /// What a span brought.
    #[graphql(name = "runTraceSpanOutputByID", complexity = "20 + child_complexity")]
    async fn run_trace_span_output_by_id(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "outputID")] id: String,
    ) -> Result<RunTraceSpanOutput, Error> {
        let asking = asking(ctx);
        let id =
            OutputId::parse(&id).ok_or_else(|| bad_input("this is not the id of an output"))?;
        let found = asking.services.runs().span_output(&asking.actor, &id).await;
        found
            .map(RunTraceSpanOutput::from)
            .map_err(|error| failed(ctx, &error))
    }

    /// What started a run.
    async fn run_trigger(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "runID")] id: String,
    ) -> Result<RunTraceTrigger, Error> {
        let run = run(ctx, &id).await?;
        let mut found = load_many(ctx, run.events.clone()).await?;
        let events = run
            .events
            .iter()
            .filter_map(|id| found.remove(id))
            .collect();
        Ok(RunTraceTrigger { run, events })
    }
}
