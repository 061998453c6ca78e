//! Environments: where lists of apps, functions, events and runs begin.

use std::sync::Arc;

use async_graphql::{Context, Enum, Error, ID, Object};

use inngest_core::{
    ids::{AppId, EnvId, FunctionId},
    page::{self, PageRequest},
};
use inngest_services::Mode;

use crate::graphql::{
    asking::{Asking, asking},
    connection::{self, Counted, EventPage, Length, Page, RunPage},
    error::bad_input,
    ids::{self, GlobalId},
    listed::{AllBacklogs, AppList, EventList, EventNames, LastSynced, RunList, Total},
    loaders::load,
    objects::{
        app::AppObject,
        bulk::{BulkOperationFilter, BulkPreview, BulkRunFilter, CancellationObject, ReplayObject},
        event::EventObject,
        event_type::{self, EventTypeObject},
        filter::{AppFilter, EventFilter, EventOrder, FunctionFilter, RunFilter, RunOrder},
        function::FunctionObject,
        metrics::EnvironmentMetrics,
        queue::QueueStats,
        quick::{self, QuickSearchHit},
        run::RunObject,
        sync::{SyncFilter, SyncObject},
        viewer::OrganizationObject,
        wait::{WaitFilter, WaitObject},
    },
    parents::{FunctionRunCountOf, FunctionRunsOf},
    related::{BySlug, FeedPosition, answer},
    scalars::{CelExpression, DateTime, UuidText},
};

/// Isolated space of apps, events and runs inside an organization.
pub(crate) struct EnvironmentObject {
    id: EnvId,
    mode: Mode,
}

/// Purpose of an environment.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "EnvironmentKind")]
pub(crate) enum EnvironmentKind {
    /// The default environment.
    Production,
    /// The single environment of the dev server.
    Development,
}

impl EnvironmentObject {
    /// The environment of the caller's credential.
    pub(crate) fn of(asking: &Asking) -> Self {
        Self {
            id: asking.actor.env,
            mode: asking.services.settings().mode,
        }
    }

    pub(crate) fn slug_text(&self) -> &'static str {
        match self.mode {
            Mode::Dev => "dev",
            Mode::Start => "production",
        }
    }

    /// Reads an argument that names an environment, which must be the caller's.
    pub(crate) fn check(asking: &Asking, id: &ID) -> Result<(), Error> {
        if ids::parse::<EnvId>(id)? == asking.actor.env {
            Ok(())
        } else {
            Err(bad_input("there is no such environment"))
        }
    }
}

/// Isolated space of apps, events and runs inside an organization.
#[Object(name = "Environment")]
impl EnvironmentObject {
    /// Global id, prefix env.
    pub(crate) async fn id(&self) -> ID {
        self.id.global()
    }

    /// Native id.
    async fn environment_id(&self) -> UuidText {
        UuidText(self.id.to_string())
    }

    /// Unique name within the organization; SDKs send it in the environment header.
    async fn slug(&self) -> &'static str {
        self.slug_text()
    }

    /// Display name.
    async fn name(&self) -> &'static str {
        match self.mode {
            Mode::Dev => "Dev",
            Mode::Start => "Production",
        }
    }

    /// What the environment is for.
    async fn kind(&self) -> EnvironmentKind {
        match self.mode {
            Mode::Dev => EnvironmentKind::Development,
            Mode::Start => EnvironmentKind::Production,
        }
    }

    /// Owner.
    async fn organization(&self) -> OrganizationObject {
        OrganizationObject
    }

    /// Event names that are stored or listened to, in order; at most 1,000 of each sort.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn event_types(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
        #[graphql(desc = "Part of the name, in any case.")] name_contains: Option<String>,
    ) -> Result<Page<EventTypeObject, Counted>, Error> {
        let names = answer(ctx, EventNames(name_contains)).await?;
        connection::cut_counted(
            Arc::unwrap_or_clone(names),
            "event_types.name",
            &connection::request(ctx, first, after, last, before)?,
            Clone::clone,
            EventTypeObject,
        )
    }

    /// One event name, if an event or a trigger has it.
    #[graphql(complexity = "10 + child_complexity")]
    async fn event_type(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Event name.")] name: String,
    ) -> Option<Result<EventTypeObject, Error>> {
        event_type::find(ctx, name).await
    }

    /// Jump to a run, event, function or app by id, or to an app, function or event name by a part of its name, in any case. What the
    /// term is the id or the whole name of comes first.
    #[graphql(complexity = "quick::cost(first, child_complexity)")]
    async fn quick_search(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Id, native or global, or part of a name.")] term: String,
        #[graphql(desc = "How many, 1 to 50; 10 when omitted.")] first: Option<i32>,
    ) -> Result<Vec<QuickSearchHit>, Error> {
        quick::find(ctx, term, first).await
    }

    /// Present state of the queue; null, with an error, when the schedule does not answer.
    #[graphql(complexity = "10 + child_complexity")]
    async fn queue(&self, ctx: &Context<'_>) -> Option<Result<QueueStats, Error>> {
        let found = answer(ctx, AllBacklogs).await;
        let at = asking(ctx).services.clock().now();
        Some(found.map(|backlogs| QueueStats::new(at, backlogs)))
    }

    /// Aggregates over time.
    async fn metrics(&self) -> EnvironmentMetrics {
        EnvironmentMetrics
    }

    /// Apps, by name.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn apps(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
        #[graphql(desc = "Only these apps.")] filter: Option<AppFilter>,
    ) -> Result<Page<AppObject, Counted>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        let filter: inngest_services::AppFilter = filter.unwrap_or_default().into();
        let found = answer(ctx, AppList(filter.clone(), request)).await?;
        let extra = Counted(Length::Total(Total::Apps(filter)));
        Ok(Page::of(found, extra, AppObject))
    }

    /// One app by the id given in code.
    async fn app(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id given in code.")] external_id: String,
    ) -> Option<Result<AppObject, Error>> {
        // The id of an app follows from its name.
        let id = AppId::derive(self.id, &external_id);
        let found = load(ctx, id).await.transpose()?;
        Some(found.map(AppObject))
            .filter(|app| app.as_ref().map_or(true, |app| app.0.archived_at.is_none()))
    }

    /// Sync attempts including failed ones without an app, newest first.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn syncs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
        #[graphql(desc = "Only these syncs.")] filter: Option<SyncFilter>,
    ) -> Result<Page<SyncObject, Counted>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        filter.unwrap_or_default().list(ctx, request).await
    }

    /// Last successful app sync, to a minute.
    async fn last_synced_at(&self, ctx: &Context<'_>) -> Option<Result<DateTime, Error>> {
        let found = answer(ctx, LastSynced).await.transpose()?;
        Some(found.map(DateTime))
    }

    /// Functions of all apps, by slug.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn functions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
        #[graphql(desc = "Only these functions.")] filter: Option<FunctionFilter>,
    ) -> Result<Page<FunctionObject, Counted>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        filter.unwrap_or_default().list(ctx, request).await
    }

    /// One function by its full slug.
    async fn function(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "App id and function id joined by a hyphen.")] slug: String,
    ) -> Option<Result<FunctionObject, Error>> {
        let found = load(ctx, BySlug(slug)).await.transpose();
        found.map(|found| found.map(FunctionObject))
    }

    /// Events of a time range.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
        #[graphql(desc = "Which events; a time range is required.")] filter: EventFilter,
        #[graphql(desc = "In which order; those received last come first when omitted.")]
        order_by: Option<EventOrder>,
    ) -> Result<Page<EventObject, EventPage>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        list_events(ctx, filter, order_by, request).await
    }

    /// Runs of a time range.
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
        #[graphql(desc = "Which runs; a time range is required.")] filter: RunFilter,
        #[graphql(desc = "In which order; those queued last come first when omitted.")]
        order_by: Option<RunOrder>,
    ) -> Result<Page<RunObject, RunPage>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        list_runs(ctx, filter, order_by, &request).await
    }

    /// Bulk cancellations, newest first. Those that have ended are kept as long as they are among the newest 1,000 bulk
    /// operations.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn cancellations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
        #[graphql(desc = "Only these bulk cancellations.")] filter: Option<BulkOperationFilter>,
    ) -> Result<Page<CancellationObject, Counted>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        filter.unwrap_or_default().cancellations(ctx, request).await
    }

    /// Replays, newest first. Those that have ended are kept as long as they are among the newest 1,000 bulk operations.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn replays(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
        #[graphql(desc = "Only these replays.")] filter: Option<BulkOperationFilter>,
    ) -> Result<Page<ReplayObject, Counted>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        filter.unwrap_or_default().replays(ctx, request).await
    }

    /// What a bulk operation with this filter would touch.
    #[graphql(complexity = "500 + 10 * child_complexity")]
    async fn bulk_preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What it would match.")] filter: BulkRunFilter,
    ) -> Option<Result<BulkPreview, Error>> {
        Some(filter.preview(ctx).await)
    }

    /// Waits for events, signals, invoked runs and time, those of the newest runs first; only open ones when the filter does not name others.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn waits(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
        #[graphql(desc = "Only these waits.")] filter: Option<WaitFilter>,
    ) -> Result<Page<WaitObject, Counted>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        filter.unwrap_or_default().list(ctx, request).await
    }
}

/// The present position of feeds, if it was asked for.
pub(crate) async fn feed_cursor(ctx: &Context<'_>) -> Result<Option<String>, Error> {
    if !ctx.look_ahead().field("feedCursor").exists() {
        return Ok(None);
    }
    let position = load(ctx, FeedPosition).await?;
    Ok(position.map(|position| position.to_string()))
}

/// A page of events of the caller's environment.
async fn list_events(
    ctx: &Context<'_>,
    mut filter: EventFilter,
    order: Option<EventOrder>,
    request: PageRequest,
) -> Result<Page<EventObject, EventPage>, Error> {
    let backward = request.backward;
    let list = EventList {
        search: filter.search.take().map(|CelExpression(text)| text),
        filter: filter.into(),
        direction: EventOrder::direction(order),
        request,
    };
    // Before the page, so that the feed tells of whatever the page misses.
    let feed_cursor = feed_cursor(ctx).await?;
    let found = answer(ctx, list.clone()).await?;
    let extra = EventPage {
        length: Length::Total(Total::Events(list.filter, list.search)),
        scan: found.1.as_ref().map(Into::into),
        feed_cursor,
    };
    Ok(Page::listed(found, backward, extra, EventObject))
}

/// Which runs are asked for.
async fn run_list(
    ctx: &Context<'_>,
    mut filter: RunFilter,
    order: Option<RunOrder>,
    request: PageRequest,
) -> Result<RunList, Error> {
    Ok(RunList {
        sought: filter.sought(),
        filter: filter.into_service(ctx).await?,
        direction: RunOrder::direction(order),
        request,
    })
}

/// A page of runs of the caller's environment.
pub(crate) async fn list_runs(
    ctx: &Context<'_>,
    filter: RunFilter,
    order: Option<RunOrder>,
    request: &PageRequest,
) -> Result<Page<RunObject, RunPage>, Error> {
    let backward = request.backward;
    let list = run_list(ctx, filter, order, request.clone()).await?;
    // Before the page, so that the feed tells of whatever the page misses.
    let feed_cursor = feed_cursor(ctx).await?;
    let found = answer(ctx, list.clone()).await?;
    let extra = RunPage {
        length: Length::Total(Total::Runs(Box::new(list.filter), list.sought)),
        scan: found.1.as_ref().map(Into::into),
        feed_cursor,
    };
    Ok(Page::listed(found, backward, extra, RunObject))
}

/// A page of runs of a function.
pub(crate) async fn list_runs_of(
    ctx: &Context<'_>,
    function: FunctionId,
    filter: RunFilter,
    order: Option<RunOrder>,
    request: PageRequest,
) -> Result<Page<RunObject, RunPage>, Error> {
    let backward = request.backward;
    let mut list = run_list(ctx, filter, order, request).await?;
    let asked_for = list.filter.functions.take();
    let feed_cursor = feed_cursor(ctx).await?;
    let is_asked_for = asked_for.is_none_or(|functions| functions.contains(&function));
    let (found, length) = match is_asked_for {
        false => ((page::Page::empty(), None), Length::Known(0)),
        true => {
            let found = answer(ctx, FunctionRunsOf(function, list.clone())).await?;
            let key = FunctionRunCountOf(function, list.filter, list.sought);
            (found, Length::FunctionRuns(Box::new(key)))
        }
    };
    let extra = RunPage {
        length,
        scan: found.1.as_ref().map(Into::into),
        feed_cursor,
    };
    Ok(Page::listed(found, backward, extra, RunObject))
}
