//! Filters of lists. Members are joined by "and", values inside a member by "or"; an empty list matches nothing.

use async_graphql::{Context, Error, ID, InputObject};

use inngest_core::{
    app::Function,
    function::config::Trigger,
    ids::{AppId, FunctionId},
    page::PageRequest,
    run::RunStatus,
    wire,
};
use inngest_services::ListRuns;

use crate::graphql::{
    asking::asking,
    connection::{self, Counted, Page},
    error::failed,
    ids,
    objects::{function::FunctionObject, run_parts::RunStatusEnum},
    scalars::DateTime,
};

/// Half-open interval from <= t < until.
#[derive(InputObject)]
pub(crate) struct TimeRange {
    /// Inclusive start.
    pub(crate) from: DateTime,
    /// Exclusive end; now when omitted.
    pub(crate) until: Option<DateTime>,
}

/// Filter for runs; all given parts must hold.
#[derive(InputObject)]
pub(crate) struct RunFilter {
    /// Interval in which the runs were queued.
    time: TimeRange,
    /// Only these states; SKIPPED only when listed.
    statuses: Option<Vec<RunStatusEnum>>,
    /// Only of these functions.
    pub(crate) function_ids: Option<Vec<ID>>,
    /// Only of functions with these slugs.
    function_slugs: Option<Vec<String>>,
    /// Only of these apps.
    app_ids: Option<Vec<ID>>,
}

impl RunFilter {
    /// The request for the service; none when nothing can match.
    pub(crate) async fn into_request(
        self,
        ctx: &Context<'_>,
        page: PageRequest,
    ) -> Result<Option<ListRuns>, Error> {
        let unless_skipped = || {
            RunStatus::ALL
                .iter()
                .copied()
                .filter(|status| *status != RunStatus::Skipped)
                .collect()
        };
        let statuses: Vec<RunStatus> = self.statuses.map_or_else(unless_skipped, |list| {
            list.into_iter().map(RunStatus::from).collect()
        });
        let apps = self
            .app_ids
            .map(|list| ids::parse_all::<AppId>(&list))
            .transpose()?;
        let mut functions = self
            .function_ids
            .map(|list| ids::parse_all::<FunctionId>(&list))
            .transpose()?;
        if let Some(slugs) = self.function_slugs {
            let named = of_slugs(ctx, &slugs).await?;
            functions = Some(match functions {
                None => named,
                Some(ids) => ids.into_iter().filter(|id| named.contains(id)).collect(),
            });
        }
        let nothing = statuses.is_empty()
            || functions.as_ref().is_some_and(Vec::is_empty)
            || apps.as_ref().is_some_and(Vec::is_empty);
        if nothing {
            return Ok(None);
        }
        Ok(Some(ListRuns {
            statuses,
            functions: functions.unwrap_or_default(),
            apps: apps.unwrap_or_default(),
            from: Some(self.time.from.0),
            until: self.time.until.map(|until| until.0),
            page,
        }))
    }
}

async fn of_slugs(ctx: &Context<'_>, slugs: &[String]) -> Result<Vec<FunctionId>, Error> {
    let asking = asking(ctx);
    let mut found = Vec::new();
    for slug in slugs.iter().take(100) {
        let function = asking
            .services
            .functions()
            .find_by_slug(&asking.actor, slug)
            .await
            .map_err(|error| failed(ctx, &error))?;
        found.extend(function.map(|function| function.id));
    }
    Ok(found)
}

/// Filter for events; all given parts must hold.
#[derive(InputObject)]
pub(crate) struct EventFilter {
    /// Interval of receipt.
    pub(crate) time: TimeRange,
    /// Only these names.
    pub(crate) names: Option<Vec<String>>,
    /// Also events produced by the server; false when omitted.
    pub(crate) include_internal: Option<bool>,
}

/// Filter for functions.
#[derive(InputObject, Default)]
pub(crate) struct FunctionFilter {
    /// Only of these apps.
    app_ids: Option<Vec<ID>>,
    /// Only those that listen to this event.
    trigger_event_name: Option<String>,
    /// Also archived ones; false when omitted.
    include_archived: Option<bool>,
    /// Case-insensitive part of name or slug.
    name_contains: Option<String>,
}

impl FunctionFilter {
    /// A page of functions by slug, of one app or of all.
    pub(crate) async fn list(
        self,
        ctx: &Context<'_>,
        app: Option<AppId>,
        page: (Option<i32>, Option<&str>),
    ) -> Result<Page<FunctionObject, Counted>, Error> {
        let asking = asking(ctx);
        let apps = self
            .app_ids
            .as_deref()
            .map(ids::parse_all::<AppId>)
            .transpose()?;
        let with_archived = self.include_archived.unwrap_or(false);
        let mut functions = asking
            .services
            .functions()
            .list(&asking.actor, app, with_archived)
            .await
            .map_err(|error| failed(ctx, &error))?;
        let part = self.name_contains.map(|part| part.to_lowercase());
        functions.retain(|function| {
            apps.as_ref()
                .is_none_or(|apps| apps.contains(&function.app))
                && part.as_ref().is_none_or(|part| {
                    function.name.to_lowercase().contains(part)
                        || function.slug.to_lowercase().contains(part)
                })
                && self
                    .trigger_event_name
                    .as_ref()
                    .is_none_or(|name| listens_to(function, name))
        });
        functions.sort_by(|a, b| a.slug.cmp(&b.slug));
        connection::cut_counted(
            functions,
            page,
            |function| function.slug.clone(),
            FunctionObject,
        )
    }
}

fn listens_to(function: &Function, name: &str) -> bool {
    let Ok(config) = wire::sync::parse_config(&function.config) else {
        return false;
    };
    config
        .triggers
        .iter()
        .any(|trigger| matches!(trigger, Trigger::Event { pattern, .. } if pattern == name))
}
