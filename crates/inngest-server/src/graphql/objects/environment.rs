//! Environments: where lists of apps, functions, events and runs begin.

use async_graphql::{Context, Enum, Error, ID, Object};

use inngest_core::{
    ids::{AppId, EnvId},
    page::PageRequest,
};
use inngest_services::Mode;

use crate::graphql::{
    asking::{Asking, asking},
    connection::{self, Counted, EventPage, Length, Page, RunPage},
    error::{bad_input, failed, nullable},
    ids::{self, GlobalId},
    loaders::load,
    objects::{
        app::AppObject,
        event::EventObject,
        event_type::{self, EventTypeObject},
        filter::{AppFilter, EventFilter, EventOrder, FunctionFilter, RunFilter, RunOrder},
        function::FunctionObject,
        metrics::EnvironmentMetrics,
        queue::QueueStats,
        run::RunObject,
        viewer::OrganizationObject,
        wait::{WaitFilter, WaitObject},
    },
    scalars::{CelExpression, UuidText},
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
        let asking = asking(ctx);
        let events = asking.services.events();
        let names = events.names(&asking.actor, name_contains.as_deref()).await;
        connection::cut_counted(
            names.map_err(|error| failed(ctx, &error))?,
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

    /// Present state of the queue; null, with an error, when the schedule does not answer.
    #[graphql(complexity = "10 + child_complexity")]
    async fn queue(&self, ctx: &Context<'_>) -> Option<Result<QueueStats, Error>> {
        let asking = asking(ctx);
        let found = asking.services.functions().backlogs(&asking.actor).await;
        let at = asking.services.clock().now();
        let found = found.map(|backlogs| QueueStats::new(at, backlogs));
        Some(found.map_err(|error| failed(ctx, &error)))
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
        let filter = filter.unwrap_or_default().into();
        let asking = asking(ctx);
        let found = asking
            .services
            .apps()
            .page(&asking.actor, &filter, &request)
            .await
            .map_err(|error| failed(ctx, &error))?;
        Ok(Page::of(found, Counted(Length::Apps(filter)), AppObject))
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
        filter.unwrap_or_default().list(ctx, None, &request).await
    }

    /// One function by its full slug.
    async fn function(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "App id and function id joined by a hyphen.")] slug: String,
    ) -> Option<Result<FunctionObject, Error>> {
        let asking = asking(ctx);
        match asking
            .services
            .functions()
            .find_by_slug(&asking.actor, &slug)
            .await
        {
            Ok(found) => found.map(|function| Ok(FunctionObject(function))),
            Err(error) => nullable(ctx, Err(error)),
        }
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
        list_events(ctx, filter, order_by, &request).await
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

    /// Open waits for events, signals and invoked runs, oldest first.
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
        filter.unwrap_or_default().list(ctx, &request).await
    }
}

/// The present position of feeds, if it was asked for.
async fn feed_cursor(ctx: &Context<'_>) -> Result<Option<String>, Error> {
    if !ctx.look_ahead().field("feedCursor").exists() {
        return Ok(None);
    }
    let asking = asking(ctx);
    let position = asking.services.live().position(&asking.actor).await;
    let position = position.map_err(|error| failed(ctx, &error))?;
    Ok(Some(position.to_string()))
}

/// A page of events of the caller's environment.
async fn list_events(
    ctx: &Context<'_>,
    mut filter: EventFilter,
    order: Option<EventOrder>,
    request: &PageRequest,
) -> Result<Page<EventObject, EventPage>, Error> {
    let direction = EventOrder::direction(order);
    let search = filter.search.take();
    let filter = filter.into();
    // Before the page, so that the feed tells of whatever the page misses.
    let feed_cursor = feed_cursor(ctx).await?;
    let asking = asking(ctx);
    let events = asking.services.events();
    let Some(CelExpression(text)) = search else {
        let found = events.list(&asking.actor, &filter, direction, request);
        let found = found.await.map_err(|error| failed(ctx, &error))?;
        let extra = EventPage {
            length: Length::Events(filter),
            scan: None,
            feed_cursor,
        };
        return Ok(Page::of(found, extra, EventObject));
    };
    let found = events.search(&asking.actor, &filter, &text, direction, request);
    let found = found.await.map_err(|error| failed(ctx, &error))?;
    let extra = EventPage {
        length: Length::FoundEvents(filter, text),
        scan: Some((&found.scan).into()),
        feed_cursor,
    };
    Ok(Page::found(found, request.backward, extra, EventObject))
}

/// A page of runs of the caller's environment.
pub(crate) async fn list_runs(
    ctx: &Context<'_>,
    mut filter: RunFilter,
    order: Option<RunOrder>,
    request: &PageRequest,
) -> Result<Page<RunObject, RunPage>, Error> {
    let direction = RunOrder::direction(order);
    let search = filter.search.take();
    let filter = filter.into_service(ctx).await?;
    // Before the page, so that the feed tells of whatever the page misses.
    let feed_cursor = feed_cursor(ctx).await?;
    let asking = asking(ctx);
    let runs = asking.services.runs();
    let Some(CelExpression(text)) = search else {
        let found = runs.list(&asking.actor, &filter, direction, request);
        let found = found.await.map_err(|error| failed(ctx, &error))?;
        let extra = RunPage {
            length: Length::Runs(filter),
            scan: None,
            feed_cursor,
        };
        return Ok(Page::of(found, extra, RunObject));
    };
    let found = runs.search(&asking.actor, &filter, &text, direction, request);
    let found = found.await.map_err(|error| failed(ctx, &error))?;
    let extra = RunPage {
        length: Length::FoundRuns(filter, text),
        scan: Some((&found.scan).into()),
        feed_cursor,
    };
    Ok(Page::found(found, request.backward, extra, RunObject))
}
