//! Environments: where lists of apps, functions, events and runs begin.

use async_graphql::{Context, Enum, Error, ID, Object};

use inngest_core::{ids::EnvId, page::Cursor};
use inngest_services::{ListEvents, Mode};

use crate::graphql::{
    asking::{Asking, asking},
    connection::{self, Counted, EventPage, Page, RunPage},
    error::{bad_input, failed, nullable},
    ids::{self, GlobalId},
    objects::{
        app::AppObject,
        event::EventObject,
        filter::{EventFilter, FunctionFilter, RunFilter},
        function::FunctionObject,
        run::RunObject,
    },
    scalars::UuidText,
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

    /// Apps, by name.
    #[graphql(complexity = "connection::cost(first, child_complexity)")]
    async fn apps(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries, 1 to 200; 50 when omitted.")] first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
    ) -> Result<Page<AppObject, Counted>, Error> {
        let asking = asking(ctx);
        let mut apps = asking
            .services
            .apps()
            .list(&asking.actor)
            .await
            .map_err(|error| failed(ctx, &error))?;
        apps.sort_by(|a, b| a.name.cmp(&b.name));
        connection::cut_counted(
            apps,
            (first, after.as_deref()),
            |app| app.name.clone(),
            AppObject,
        )
    }

    /// One app by the id given in code.
    async fn app(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id given in code.")] external_id: String,
    ) -> Option<Result<AppObject, Error>> {
        let asking = asking(ctx);
        match asking.services.apps().list(&asking.actor).await {
            Ok(apps) => apps
                .into_iter()
                .find(|app| app.name == external_id)
                .map(|app| Ok(AppObject(app))),
            Err(error) => Some(Err(failed(ctx, &error))),
        }
    }

    /// Functions of all apps, by slug.
    #[graphql(complexity = "connection::cost(first, child_complexity)")]
    async fn functions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries, 1 to 200; 50 when omitted.")] first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "Only these functions.")] filter: Option<FunctionFilter>,
    ) -> Result<Page<FunctionObject, Counted>, Error> {
        FunctionFilter::list(
            filter.unwrap_or_default(),
            ctx,
            None,
            (first, after.as_deref()),
        )
        .await
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

    /// Events, newest first.
    #[graphql(complexity = "connection::cost(first, child_complexity)")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries, 1 to 200; 50 when omitted.")] first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "Which events; a time range is required.")] filter: EventFilter,
    ) -> Result<Page<EventObject, EventPage>, Error> {
        let asking = asking(ctx);
        let page = connection::page(first, after.as_deref())?;
        let names_nothing = filter.names.as_ref().is_some_and(Vec::is_empty);
        if names_nothing {
            let feed_cursor = feed_cursor(ctx).await?;
            return Ok(Page::with_additional_fields(
                false,
                false,
                EventPage { feed_cursor },
            ));
        }
        // Before the page, so that the feed tells of whatever the page misses.
        let feed_cursor = feed_cursor(ctx).await?;
        let request = ListEvents {
            names: filter.names.unwrap_or_default(),
            with_internal: filter.include_internal.unwrap_or(false),
            from: Some(filter.time.from.0),
            until: filter.time.until.map(|until| until.0),
            page,
        };
        let found = asking
            .services
            .events()
            .list(&asking.actor, request)
            .await
            .map_err(|error| failed(ctx, &error))?;
        let extra = EventPage { feed_cursor };
        Ok(connection::stored(
            found,
            page.after.is_some(),
            extra,
            |event| Cursor(event.id.raw()),
            EventObject,
        ))
    }

    /// Runs, newest first.
    #[graphql(complexity = "connection::cost(first, child_complexity)")]
    async fn runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries, 1 to 200; 50 when omitted.")] first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "Which runs; a time range is required.")] filter: RunFilter,
    ) -> Result<Page<RunObject, RunPage>, Error> {
        list_runs(ctx, filter, (first, after.as_deref())).await
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

/// A page of runs of the caller's environment.
pub(crate) async fn list_runs(
    ctx: &Context<'_>,
    filter: RunFilter,
    (first, after): (Option<i32>, Option<&str>),
) -> Result<Page<RunObject, RunPage>, Error> {
    let asking = asking(ctx);
    let page = connection::page(first, after)?;
    let Some(request) = filter.into_request(ctx, page).await? else {
        return Ok(Page::with_additional_fields(
            false,
            false,
            RunPage::Known(0),
        ));
    };
    // Before the page, so that the feed tells of whatever the page misses.
    let feed_cursor = feed_cursor(ctx).await?;
    let found = asking
        .services
        .runs()
        .list(&asking.actor, request.clone())
        .await
        .map_err(|error| failed(ctx, &error))?;
    let extra = RunPage::Stored {
        request,
        feed_cursor,
    };
    Ok(connection::stored(
        found,
        page.after.is_some(),
        extra,
        |run| Cursor(run.id.raw()),
        RunObject,
    ))
}
