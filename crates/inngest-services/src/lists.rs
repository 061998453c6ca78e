//! Lists of events, runs, functions and apps, and how long they are.

use inngest_core::{
    access::{Actor, Scope},
    app::{App, Function},
    event::Event,
    function::{config::Trigger, trigger::name_matches},
    ids::{AppId, EnvId, FunctionId},
    page::{Count, Direction, Page, PageRequest},
    run::Run,
    wire,
};
use inngest_state::{
    AppFilter as StoredApps, EventFilter, FunctionFilter as StoredFunctions, RunFilter, Store,
};

use crate::{
    Error,
    apps::{Apps, Functions},
    events::Events,
    runs::Runs,
    sift::{self, Rows},
};

/// Most values in one list of a filter.
const FILTER_VALUES: usize = 500;

/// Which functions to list. All parts must hold; a part that is none says nothing, and an empty list matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FunctionFilter {
    /// Of any of these apps.
    pub apps: Option<Vec<AppId>>,
    /// Started by events of this name, perhaps through a wildcard.
    pub trigger_event: Option<String>,
    /// With such a trigger.
    pub triggers: Option<Vec<FunctionTrigger>>,
    /// Only those that are paused, or only those that are not.
    pub is_paused: Option<bool>,
    /// Archived ones too.
    pub with_archived: bool,
    /// Part of the name or the slug, in any letter case.
    pub name_contains: Option<String>,
}

/// What can start a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionTrigger {
    /// An event.
    Event,
    /// A schedule.
    Cron,
    /// Nothing but an invocation.
    Invoke,
}

/// Which apps to list. All parts must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AppFilter {
    /// Archived ones too.
    pub with_archived: bool,
    /// Part of the name, in any letter case.
    pub name_contains: Option<String>,
}

impl Runs<'_> {
    /// One page of runs in the order in which they were queued.
    ///
    /// # Errors
    /// `invalid_cursor`; `filter_too_long` for more than 500 values in a part of the filter; `one_function_needed` for a version without
    /// exactly one function.
    pub async fn list(
        &self,
        actor: &Actor,
        filter: &RunFilter,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Page<Run>, Error> {
        actor.require(Scope::RunsRead)?;
        check_runs(filter)?;
        let store = &self.0.store;
        let page = store
            .list_runs(actor.env, filter, direction, request)
            .await?;
        Ok(page.map(|run| self.0.shown(run)))
    }

    /// How many runs a list has.
    ///
    /// # Errors
    /// Those of the filter, as for the list.
    pub async fn count(&self, actor: &Actor, filter: &RunFilter) -> Result<Count, Error> {
        actor.require(Scope::RunsRead)?;
        check_runs(filter)?;
        Ok(self.0.store.count_runs(actor.env, filter).await?)
    }
}

impl Events<'_> {
    /// One page of events in the order in which they were accepted.
    ///
    /// # Errors
    /// `invalid_cursor`, and `filter_too_long` for more than 500 values in a part of the filter.
    pub async fn list(
        &self,
        actor: &Actor,
        filter: &EventFilter,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Page<Event>, Error> {
        actor.require(Scope::EventsRead)?;
        bounded(filter.longest_list())?;
        let store = &self.0.store;
        Ok(store
            .list_events(actor.env, filter, direction, request)
            .await?)
    }

    /// How many events a list has.
    ///
    /// # Errors
    /// `filter_too_long`, as for the list.
    pub async fn count(&self, actor: &Actor, filter: &EventFilter) -> Result<Count, Error> {
        let filter = self.named(actor, filter).await?;
        Ok(self.0.store.count_events(actor.env, &filter).await?)
    }
}

impl Functions<'_> {
    /// One page of functions by slug.
    ///
    /// # Errors
    /// `invalid_cursor`, and `filter_too_long` for more than 500 values in a part of the filter.
    pub async fn page(
        &self,
        actor: &Actor,
        filter: &FunctionFilter,
        request: &PageRequest,
    ) -> Result<Page<Function>, Error> {
        actor.require(Scope::AppsRead)?;
        let rows = self.rows(actor, filter)?;
        match filter.needs_a_look() {
            true => {
                let keep = |function: &Function| filter.keeps(function);
                let found = sift::page(&rows, request, keep, u64::MAX).await?;
                Ok(found.page)
            }
            false => rows.read(request).await,
        }
    }

    /// How many functions a list has.
    ///
    /// # Errors
    /// `filter_too_long`, as for the list.
    pub async fn count(&self, actor: &Actor, filter: &FunctionFilter) -> Result<Count, Error> {
        actor.require(Scope::AppsRead)?;
        let rows = self.rows(actor, filter)?;
        match filter.needs_a_look() {
            true => sift::count(&rows, |function| filter.keeps(function), u64::MAX).await,
            false => Ok(rows.store.count_functions(rows.env, &rows.filter).await?),
        }
    }

    fn rows(&self, actor: &Actor, filter: &FunctionFilter) -> Result<FunctionRows<'_>, Error> {
        bounded(filter.apps.as_ref().map_or(0, Vec::len))?;
        Ok(FunctionRows {
            store: &self.0.store,
            env: actor.env,
            filter: StoredFunctions {
                apps: filter.apps.clone(),
                with_archived: filter.with_archived,
                is_paused: filter.is_paused,
            },
        })
    }

    /// The functions that have any of these slugs, archived ones too.
    ///
    /// # Errors
    /// `filter_too_long` for more than 500 slugs.
    pub async fn ids_of_slugs(
        &self,
        actor: &Actor,
        slugs: &[String],
    ) -> Result<Vec<FunctionId>, Error> {
        actor.require(Scope::AppsRead)?;
        bounded(slugs.len())?;
        Ok(self.0.store.functions_of_slugs(actor.env, slugs).await?)
    }
}

impl Apps<'_> {
    /// One page of apps by name.
    ///
    /// # Errors
    /// `invalid_cursor`.
    pub async fn page(
        &self,
        actor: &Actor,
        filter: &AppFilter,
        request: &PageRequest,
    ) -> Result<Page<App>, Error> {
        actor.require(Scope::AppsRead)?;
        let rows = self.rows(actor, filter);
        match &filter.name_contains {
            Some(part) => {
                let keep = |app: &App| contains(&app.name, part);
                Ok(sift::page(&rows, request, keep, u64::MAX).await?.page)
            }
            None => rows.read(request).await,
        }
    }

    /// How many apps a list has.
    pub async fn count(&self, actor: &Actor, filter: &AppFilter) -> Result<Count, Error> {
        actor.require(Scope::AppsRead)?;
        let rows = self.rows(actor, filter);
        match &filter.name_contains {
            Some(part) => sift::count(&rows, |app| contains(&app.name, part), u64::MAX).await,
            None => Ok(rows.store.count_apps(rows.env, &rows.filter).await?),
        }
    }

    fn rows(&self, actor: &Actor, filter: &AppFilter) -> AppRows<'_> {
        AppRows {
            store: &self.0.store,
            env: actor.env,
            filter: StoredApps {
                with_archived: filter.with_archived,
            },
        }
    }
}

struct FunctionRows<'a> {
    store: &'a Store,
    env: EnvId,
    filter: StoredFunctions,
}

impl Rows for FunctionRows<'_> {
    type Row = Function;

    async fn read(&self, request: &PageRequest) -> Result<Page<Function>, Error> {
        let page = self.store.page_functions(self.env, &self.filter, request);
        Ok(page.await?)
    }
}

/// The apps of an environment, by name.
pub(crate) struct AppRows<'a> {
    pub(crate) store: &'a Store,
    pub(crate) env: EnvId,
    pub(crate) filter: StoredApps,
}

impl Rows for AppRows<'_> {
    type Row = App;

    async fn read(&self, request: &PageRequest) -> Result<Page<App>, Error> {
        Ok(self
            .store
            .page_apps(self.env, &self.filter, request)
            .await?)
    }
}

impl FunctionFilter {
    /// Whether some part of it is about what the database does not know.
    pub(crate) fn needs_a_look(&self) -> bool {
        self.trigger_event.is_some() || self.triggers.is_some() || self.name_contains.is_some()
    }

    pub(crate) fn keeps(&self, function: &Function) -> bool {
        let is_named = self
            .name_contains
            .as_ref()
            .is_none_or(|part| contains(&function.name, part) || contains(&function.slug, part));
        if !is_named || (self.trigger_event.is_none() && self.triggers.is_none()) {
            return is_named;
        }
        // What was registered by a version that read configurations otherwise has no trigger that this one knows.
        let triggers = wire::sync::parse_config(&function.config)
            .map_or_else(|_| Vec::new(), |it| it.triggers);
        let listens = self.trigger_event.as_ref().is_none_or(|name| {
            triggers.iter().any(|trigger| {
                matches!(trigger, Trigger::Event { pattern, .. } if name_matches(pattern, name))
            })
        });
        let is_wanted = self.triggers.as_ref().is_none_or(|kinds| {
            kinds.iter().any(|kind| match kind {
                FunctionTrigger::Event => triggers
                    .iter()
                    .any(|it| matches!(it, Trigger::Event { .. })),
                FunctionTrigger::Cron => {
                    triggers.iter().any(|it| matches!(it, Trigger::Cron { .. }))
                }
                FunctionTrigger::Invoke => triggers.is_empty(),
            })
        });
        listens && is_wanted
    }
}

pub(crate) fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

pub(crate) fn check_runs(filter: &RunFilter) -> Result<(), Error> {
    bounded(filter.longest_list())?;
    let functions = filter.functions.as_ref().map_or(0, Vec::len);
    if filter.function_version.is_some() && functions != 1 {
        return Err(Error::Invalid {
            code: "one_function_needed",
            message: "a version says something only together with exactly one function".to_owned(),
        });
    }
    Ok(())
}

/// Refuses a filter whose functions are looked for in each of its apps, when these are too many pairs.
pub(crate) fn bounded_pairs(apps: usize, functions: usize) -> Result<(), Error> {
    if apps.saturating_mul(functions) <= FILTER_VALUES {
        return Ok(());
    }
    Err(Error::Invalid {
        code: "filter_too_long",
        message: format!(
            "each function of a filter is looked for in each of its apps: {apps} apps and {functions} functions are more than \
             {FILTER_VALUES} pairs; ask for fewer of them at once"
        ),
    })
}

pub(crate) fn bounded(values: usize) -> Result<(), Error> {
    if values <= FILTER_VALUES {
        return Ok(());
    }
    Err(Error::Invalid {
        code: "filter_too_long",
        message: format!(
            "a list in a filter can have {FILTER_VALUES} values, this one has {values}"
        ),
    })
}
