//! What lists of lists are made of: the same read for each of several parents at once, at the cost of one.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use inngest_core::{
    access::{Actor, Scope},
    app::{Function, FunctionVersion},
    bulk::{BulkKind, BulkOperation},
    ids::{AppId, BulkId, EventId, FunctionId, RunId},
    limits,
    page::{Count, Direction, Page, PageRequest},
    run::{Run, RunStatus},
};
use inngest_state::{FunctionFilter as StoredFunctions, RunFilter};

use crate::{
    Error,
    apps::Functions,
    bulk::Bulk,
    lists::{FunctionFilter, bounded},
    runs::Runs,
};

/// The pages of all parents, also of those that have nothing.
pub(crate) fn with_empty<K: Copy + Eq + Hash, T>(
    parents: &[K],
    mut pages: HashMap<K, Page<T>>,
) -> HashMap<K, Page<T>> {
    for parent in parents {
        pages.entry(*parent).or_insert_with(Page::empty);
    }
    pages
}

/// The counts of all parents, also of those that have nothing.
pub(crate) fn with_zero<K: Copy + Eq + Hash>(
    parents: &[K],
    mut counts: HashMap<K, Count>,
) -> HashMap<K, Count> {
    for parent in parents {
        counts.entry(*parent).or_insert_with(|| Count::capped(0));
    }
    counts
}

impl Runs<'_> {
    /// [`Runs::list`] for each of several functions; every function has an entry. The functions in the filter are not asked for.
    ///
    /// # Errors
    /// As of the list.
    pub async fn list_of_functions(
        &self,
        actor: &Actor,
        filter: &RunFilter,
        functions: &[FunctionId],
        direction: Direction,
        request: &PageRequest,
    ) -> Result<HashMap<FunctionId, Page<Run>>, Error> {
        actor.require(Scope::RunsRead)?;
        bounded(filter.longest_list())?;
        let store = &self.0.store;
        let pages = store.list_runs_of_functions(actor.env, filter, functions, direction, request);
        let pages = pages.await?.into_iter();
        let shown = pages.map(|(id, page)| (id, page.map(|run| self.0.shown(run))));
        Ok(with_empty(functions, shown.collect()))
    }

    /// How many runs the list of each of these functions has.
    ///
    /// # Errors
    /// As of the list.
    pub async fn count_of_functions(
        &self,
        actor: &Actor,
        filter: &RunFilter,
        functions: &[FunctionId],
    ) -> Result<HashMap<FunctionId, Count>, Error> {
        actor.require(Scope::RunsRead)?;
        bounded(filter.longest_list())?;
        let store = &self.0.store;
        let counts = store.count_runs_of_functions(actor.env, filter, functions);
        Ok(with_zero(functions, counts.await?))
    }

    /// The run of each of these functions that was scheduled last, be it a skipped one; a function without any is left out.
    pub async fn latest_of_functions(
        &self,
        actor: &Actor,
        functions: &[FunctionId],
    ) -> Result<HashMap<FunctionId, Run>, Error> {
        let (all, newest) = (RunFilter::default(), Direction::Descending);
        let request = PageRequest::new(1, None);
        let pages = self.list_of_functions(actor, &all, functions, newest, &request);
        let latest = |(function, page): (FunctionId, Page<Run>)| {
            let run = page.items.into_iter().next()?;
            Some((function, run))
        };
        Ok(pages.await?.into_iter().filter_map(latest).collect())
    }

    /// The same page of the runs that each of these replays started, newest first; every replay has an entry.
    ///
    /// # Errors
    /// `invalid_cursor`.
    pub async fn page_of_replays(
        &self,
        actor: &Actor,
        replays: &[BulkId],
        request: &PageRequest,
    ) -> Result<HashMap<BulkId, Page<Run>>, Error> {
        actor.require(Scope::RunsRead)?;
        let store = &self.0.store;
        let pages = store.list_runs_of_replays(actor.env, replays, request);
        let pages = pages.await?.into_iter();
        let shown = pages.map(|(id, page)| (id, page.map(|run| self.0.shown(run))));
        Ok(with_empty(replays, shown.collect()))
    }

    /// How many runs each of these replays started.
    pub async fn count_of_replays(
        &self,
        actor: &Actor,
        replays: &[BulkId],
    ) -> Result<HashMap<BulkId, Count>, Error> {
        actor.require(Scope::RunsRead)?;
        let counts = self.0.store.count_runs_of_replays(actor.env, replays);
        Ok(with_zero(replays, counts.await?))
    }

    /// The same page of the runs that repeat each of these runs, newest first; every run has an entry.
    ///
    /// # Errors
    /// `invalid_cursor`.
    pub async fn page_of_repetitions(
        &self,
        actor: &Actor,
        runs: &[RunId],
        request: &PageRequest,
    ) -> Result<HashMap<RunId, Page<Run>>, Error> {
        actor.require(Scope::RunsRead)?;
        let pages = self.0.store.list_repetitions(actor.env, runs, request);
        let pages = pages.await?.into_iter();
        let shown = pages.map(|(id, page)| (id, page.map(|run| self.0.shown(run))));
        Ok(with_empty(runs, shown.collect()))
    }

    /// How many runs repeat each of these runs.
    pub async fn count_repetitions(
        &self,
        actor: &Actor,
        runs: &[RunId],
    ) -> Result<HashMap<RunId, Count>, Error> {
        actor.require(Scope::RunsRead)?;
        let counts = self.0.store.count_repetitions(actor.env, runs);
        Ok(with_zero(runs, counts.await?))
    }

    /// The same page of the runs that each of these events started, oldest first; every event has an entry.
    ///
    /// # Errors
    /// `invalid_cursor`.
    pub async fn page_of_events(
        &self,
        actor: &Actor,
        events: &[EventId],
        request: &PageRequest,
    ) -> Result<HashMap<EventId, Page<Run>>, Error> {
        actor.require(Scope::RunsRead)?;
        let pages = self.0.store.list_runs_of_events(actor.env, events, request);
        let pages = pages.await?.into_iter();
        let shown = pages.map(|(id, page)| (id, page.map(|run| self.0.shown(run))));
        Ok(with_empty(events, shown.collect()))
    }

    /// The first run that each of these events started; an event without any is left out.
    pub async fn first_of_events(
        &self,
        actor: &Actor,
        events: &[EventId],
    ) -> Result<HashMap<EventId, Run>, Error> {
        if events.is_empty() {
            return Ok(HashMap::new());
        }
        let request = PageRequest::new(1, None);
        let pages = self.page_of_events(actor, events, &request).await?;
        let first =
            |(event, page): (EventId, Page<Run>)| Some((event, page.items.into_iter().next()?));
        Ok(pages.into_iter().filter_map(first).collect())
    }

    /// How many runs each of these events started.
    pub async fn count_of_events(
        &self,
        actor: &Actor,
        events: &[EventId],
    ) -> Result<HashMap<EventId, Count>, Error> {
        actor.require(Scope::RunsRead)?;
        Ok(self.0.store.count_runs_of_events(actor.env, events).await?)
    }

    /// How many runs in each state these events started, as they are stored; every event has an entry.
    pub async fn statuses_of_events(
        &self,
        actor: &Actor,
        events: &[EventId],
    ) -> Result<HashMap<EventId, HashMap<RunStatus, u64>>, Error> {
        actor.require(Scope::RunsRead)?;
        let mut counts: HashMap<EventId, HashMap<RunStatus, u64>> =
            events.iter().map(|id| (*id, HashMap::new())).collect();
        let store = &self.0.store;
        for (event, status, n) in store.count_statuses_of_events(actor.env, events).await? {
            counts.entry(event).or_default().insert(status, n);
        }
        Ok(counts)
    }
}

impl Bulk<'_> {
    /// The same page of the operations of this kind that are about each of these functions, newest first; every function has an entry.
    ///
    /// # Errors
    /// `invalid_cursor`.
    pub async fn page_of_functions(
        &self,
        actor: &Actor,
        kind: BulkKind,
        functions: &[FunctionId],
        request: &PageRequest,
    ) -> Result<HashMap<FunctionId, Page<BulkOperation>>, Error> {
        actor.require(Scope::RunsRead)?;
        let store = &self.0.store;
        let pages = store.list_bulk_of_functions(actor.env, kind, functions, request);
        Ok(with_empty(functions, pages.await?))
    }

    /// How many operations of this kind are about each of these functions.
    pub async fn count_of_functions(
        &self,
        actor: &Actor,
        kind: BulkKind,
        functions: &[FunctionId],
    ) -> Result<HashMap<FunctionId, Count>, Error> {
        actor.require(Scope::RunsRead)?;
        let store = &self.0.store;
        let counts = store.count_bulk_of_functions(actor.env, kind, functions);
        Ok(with_zero(functions, counts.await?))
    }
}

impl Functions<'_> {
    /// The function that runs when one of these fails: the one that an SDK registers beside it, with `-failure` after its slug, if its
    /// trigger is the failure of just this function. Functions without one, and archived ones, are left out.
    pub async fn failure_handlers(
        &self,
        actor: &Actor,
        functions: &[FunctionId],
    ) -> Result<HashMap<FunctionId, Function>, Error> {
        actor.require(Scope::AppsRead)?;
        let registry = self.0.registries.get(actor.env).await?;
        let handler =
            |id: &FunctionId| Some((*id, registry.failure_handler(*id)?.function.clone()));
        Ok(functions.iter().filter_map(handler).collect())
    }

    /// [`Functions::page`] for each of several apps; every app has an entry. The apps in the filter are not asked for.
    ///
    /// # Errors
    /// `invalid_cursor`.
    pub async fn page_of_apps(
        &self,
        actor: &Actor,
        filter: &FunctionFilter,
        apps: &[AppId],
        request: &PageRequest,
    ) -> Result<HashMap<AppId, Page<Function>>, Error> {
        actor.require(Scope::AppsRead)?;
        let store = &self.0.store;
        if !filter.needs_a_look() {
            let stored = stored(filter);
            let pages = store.page_functions_of_apps(actor.env, &stored, apps, request);
            return Ok(with_empty(apps, pages.await?));
        }
        let mut pages = self.looked_through(actor, filter, apps, request).await?;
        for page in pages.values_mut() {
            trim(page, request);
        }
        Ok(with_empty(apps, pages))
    }

    /// How many functions the list of each of these apps has.
    pub async fn count_of_apps(
        &self,
        actor: &Actor,
        filter: &FunctionFilter,
        apps: &[AppId],
    ) -> Result<HashMap<AppId, Count>, Error> {
        actor.require(Scope::AppsRead)?;
        let store = &self.0.store;
        if !filter.needs_a_look() {
            let stored = stored(filter);
            let counts = store.count_functions_of_apps(actor.env, &stored, apps);
            return Ok(counts.await?);
        }
        let all = PageRequest::new(1, None);
        let pages = self.looked_through(actor, filter, apps, &all).await?;
        let count = |id: &AppId| {
            let found = pages.get(id).map_or(0, |page| page.items.len());
            (*id, Count::capped(found as u64))
        };
        Ok(apps.iter().map(count).collect())
    }

    /// All functions of these apps beyond the cursor that the filter lets through. An app has a limited number of them.
    async fn looked_through(
        &self,
        actor: &Actor,
        filter: &FunctionFilter,
        apps: &[AppId],
        request: &PageRequest,
    ) -> Result<HashMap<AppId, Page<Function>>, Error> {
        let all = PageRequest {
            limit: u32::try_from(limits::FUNCTIONS_PER_APP).unwrap_or(u32::MAX),
            ..request.clone()
        };
        let (store, stored) = (&self.0.store, stored(filter));
        let pages = store.page_functions_of_apps(actor.env, &stored, apps, &all);
        let mut pages = pages.await?;
        for page in pages.values_mut() {
            let read = std::mem::take(&mut page.items).into_iter();
            let read = read.zip(std::mem::take(&mut page.cursors));
            (page.items, page.cursors) = read.filter(|(it, _)| filter.keeps(it)).unzip();
        }
        Ok(pages)
    }

    /// The same page of the versions of each of these functions that are kept, newest first; every function has an entry.
    ///
    /// # Errors
    /// `invalid_cursor`.
    pub async fn versions_of(
        &self,
        actor: &Actor,
        functions: &[FunctionId],
        request: &PageRequest,
    ) -> Result<HashMap<FunctionId, Page<FunctionVersion>>, Error> {
        actor.require(Scope::AppsRead)?;
        let store = &self.0.store;
        let pages = store.page_versions_of_functions(actor.env, functions, request);
        Ok(with_empty(functions, pages.await?))
    }

    /// How many versions of each of these functions are kept.
    pub async fn count_versions_of(
        &self,
        actor: &Actor,
        functions: &[FunctionId],
    ) -> Result<HashMap<FunctionId, Count>, Error> {
        actor.require(Scope::AppsRead)?;
        let counts = self
            .0
            .store
            .count_versions_of_functions(actor.env, functions);
        Ok(counts.await?)
    }

    /// The function of each of these slugs, by slug; an archived one only when there is no other.
    pub async fn find_by_slugs(
        &self,
        actor: &Actor,
        slugs: &[String],
    ) -> Result<HashMap<String, Function>, Error> {
        actor.require(Scope::AppsRead)?;
        let registry = self.0.registries.get(actor.env).await?;
        let mut found: HashMap<String, Function> = HashMap::new();
        let mut others: BTreeSet<&String> = BTreeSet::new();
        for slug in slugs {
            match registry.by_name(slug) {
                Some(loaded) => drop(found.insert(slug.clone(), loaded.function.clone())),
                None => drop(others.insert(slug)),
            }
        }
        if !others.is_empty() {
            let others: Vec<String> = others.into_iter().cloned().collect();
            let store = &self.0.store;
            let archived = store.find_functions_by_slugs(actor.env, &others).await?;
            found.extend(archived.into_iter().map(|it| (it.slug.clone(), it)));
        }
        Ok(found)
    }
}

fn stored(filter: &FunctionFilter) -> StoredFunctions {
    StoredFunctions {
        apps: None,
        with_archived: filter.with_archived,
        is_paused: filter.is_paused,
    }
}

/// Leaves as many rows as were asked for. A page that goes on has a row, or there would be no cursor to go on from.
fn trim<T>(page: &mut Page<T>, request: &PageRequest) {
    let limit = request.limit as usize;
    let surplus = page.items.len().saturating_sub(limit);
    if request.backward {
        page.items.drain(..surplus);
        page.cursors.drain(..surplus);
        page.has_previous = surplus > 0 || (page.has_previous && !page.items.is_empty());
    } else {
        page.items.truncate(limit);
        page.cursors.truncate(limit);
        page.has_next = surplus > 0 || (page.has_next && !page.items.is_empty());
    }
}
