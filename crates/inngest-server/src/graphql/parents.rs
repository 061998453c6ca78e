//! Lists below the entries of another list: keys that differ in nothing but their parent are read together.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use async_graphql::dataloader::Loader;
use futures_util::future::join_all;

use inngest_core::{
    app::{Function, FunctionVersion},
    bulk::{BulkKind, BulkOperation},
    ids::{AppId, BulkId, EventId, FunctionId, RunId},
    page::{Count, Page, PageRequest},
    run::Run,
    sync::Sync as AppSync,
};
use inngest_services::{Error as ServiceError, FunctionFilter, RunFilter};

use crate::graphql::{
    listed::{Listed, Read, RunList, Sought},
    loaders::Batches,
    related::Outcome,
};

/// A page of the functions of an app.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct FunctionsOf(
    pub(crate) AppId,
    pub(crate) FunctionFilter,
    pub(crate) PageRequest,
);

/// How many functions an app has.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct FunctionCountOf(pub(crate) AppId, pub(crate) FunctionFilter);

/// A page of the syncs of an app.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct SyncsOf(pub(crate) AppId, pub(crate) PageRequest);

/// How many syncs of an app are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SyncCountOf(pub(crate) AppId);

/// A page of the runs of a function.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct FunctionRunsOf(pub(crate) FunctionId, pub(crate) RunList);

/// How many runs a function has; with something that is sought, those that are found.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct FunctionRunCountOf(
    pub(crate) FunctionId,
    pub(crate) RunFilter,
    pub(crate) Sought,
);

/// A page of the versions of a function.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct VersionsOf(pub(crate) FunctionId, pub(crate) PageRequest);

/// How many versions a function has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct VersionCountOf(pub(crate) FunctionId);

/// A page of the runs that an event started.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct EventRunsOf(pub(crate) EventId, pub(crate) PageRequest);

impl EventRunsOf {
    /// The first thousand, for whoever does not read on.
    pub(crate) fn first_of_all(event: EventId) -> Self {
        let request = PageRequest {
            limit: 1_000,
            backward: false,
            from: None,
            look_back: false,
        };
        Self(event, request)
    }
}

/// How many runs an event started.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EventRunCountOf(pub(crate) EventId);

/// A page of the operations of a kind that are about a function.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct BulkOf(
    pub(crate) FunctionId,
    pub(crate) BulkKind,
    pub(crate) PageRequest,
);

/// How many operations of a kind are about a function.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BulkCountOf(pub(crate) FunctionId, pub(crate) BulkKind);

/// A page of the runs that a replay started.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct ReplayRunsOf(pub(crate) BulkId, pub(crate) PageRequest);

/// How many runs a replay started.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ReplayRunCountOf(pub(crate) BulkId);

/// A page of the runs that repeat a run.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RepetitionsOf(pub(crate) RunId, pub(crate) PageRequest);

/// How many runs repeat a run.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RepetitionCountOf(pub(crate) RunId);

/// Reads each list once for all its parents.
async fn read_each<K, L, P, T, F>(
    keys: &[K],
    split: impl Fn(&K) -> (L, P),
    read: impl Fn(L, Vec<P>) -> F,
) -> Read<K, T>
where
    K: Clone + Eq + Hash,
    L: Clone + Eq + Hash,
    P: Eq + Hash,
    F: Future<Output = Result<HashMap<P, T>, ServiceError>>,
{
    let mut lists: HashMap<L, Vec<P>> = HashMap::new();
    for key in keys {
        let (list, parent) = split(key);
        lists.entry(list).or_default().push(parent);
    }
    let (lists, parents): (Vec<L>, Vec<Vec<P>>) = lists.into_iter().unzip();
    let reads = lists.iter().cloned().zip(parents);
    let found = join_all(reads.map(|(list, parents)| read(list, parents))).await;
    let mut found: HashMap<L, Outcome<HashMap<P, T>>> = lists
        .into_iter()
        .zip(found.into_iter().map(|found| found.map_err(Arc::new)))
        .collect();
    let mut outcomes = HashMap::with_capacity(keys.len());
    for key in keys {
        let (list, parent) = split(key);
        let outcome = match found.get_mut(&list) {
            Some(Ok(found)) => found.remove(&parent).map(Ok),
            Some(Err(error)) => Some(Err(error.clone())),
            None => None,
        };
        outcomes.extend(outcome.map(|outcome| (key.clone(), outcome)));
    }
    Ok(outcomes)
}

impl Loader<FunctionsOf> for Batches {
    type Value = Outcome<Page<Function>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[FunctionsOf]) -> Read<FunctionsOf, Page<Function>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let split = |key: &FunctionsOf| ((key.1.clone(), key.2.clone()), key.0);
        let read = |(filter, request), apps: Vec<AppId>| async move {
            let functions = services.functions();
            functions
                .page_of_apps(actor, &filter, &apps, &request)
                .await
        };
        read_each(keys, split, read).await
    }
}

impl Loader<FunctionCountOf> for Batches {
    type Value = Outcome<Count>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[FunctionCountOf]) -> Read<FunctionCountOf, Count> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let split = |key: &FunctionCountOf| (key.1.clone(), key.0);
        let read = |filter, apps: Vec<AppId>| async move {
            services
                .functions()
                .count_of_apps(actor, &filter, &apps)
                .await
        };
        read_each(keys, split, read).await
    }
}

impl Loader<SyncsOf> for Batches {
    type Value = Outcome<Page<AppSync>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[SyncsOf]) -> Read<SyncsOf, Page<AppSync>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let split = |key: &SyncsOf| (key.1.clone(), key.0);
        let read = |request, apps: Vec<AppId>| async move {
            services.apps().syncs_of_apps(actor, &apps, &request).await
        };
        read_each(keys, split, read).await
    }
}

impl Loader<SyncCountOf> for Batches {
    type Value = Outcome<Count>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[SyncCountOf]) -> Read<SyncCountOf, Count> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |(), apps: Vec<AppId>| async move {
            services.apps().count_syncs_of_apps(actor, &apps).await
        };
        read_each(keys, |key| ((), key.0), read).await
    }
}

impl Loader<FunctionRunsOf> for Batches {
    type Value = Outcome<Listed<Run>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[FunctionRunsOf]) -> Read<FunctionRunsOf, Listed<Run>> {
        let split = |key: &FunctionRunsOf| (key.1.clone(), key.0);
        let read = |list, functions: Vec<FunctionId>| self.runs_of_functions(list, functions);
        read_each(keys, split, read).await
    }
}

impl Loader<FunctionRunCountOf> for Batches {
    type Value = Outcome<Count>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[FunctionRunCountOf]) -> Read<FunctionRunCountOf, Count> {
        let split = |key: &FunctionRunCountOf| ((key.1.clone(), key.2.clone()), key.0);
        let read = |(filter, sought), functions| self.run_counts(filter, sought, functions);
        read_each(keys, split, read).await
    }
}

impl Loader<VersionsOf> for Batches {
    type Value = Outcome<Page<FunctionVersion>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[VersionsOf]) -> Read<VersionsOf, Page<FunctionVersion>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let split = |key: &VersionsOf| (key.1.clone(), key.0);
        let read = |request, ids: Vec<FunctionId>| async move {
            services
                .functions()
                .versions_of(actor, &ids, &request)
                .await
        };
        read_each(keys, split, read).await
    }
}

impl Loader<VersionCountOf> for Batches {
    type Value = Outcome<Count>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[VersionCountOf]) -> Read<VersionCountOf, Count> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |(), ids: Vec<FunctionId>| async move {
            services.functions().count_versions_of(actor, &ids).await
        };
        read_each(keys, |key| ((), key.0), read).await
    }
}

impl Loader<EventRunsOf> for Batches {
    type Value = Outcome<Page<Run>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[EventRunsOf]) -> Read<EventRunsOf, Page<Run>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let split = |key: &EventRunsOf| (key.1.clone(), key.0);
        let read = |request, ids: Vec<EventId>| async move {
            services.runs().page_of_events(actor, &ids, &request).await
        };
        read_each(keys, split, read).await
    }
}

impl Loader<EventRunCountOf> for Batches {
    type Value = Outcome<Count>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[EventRunCountOf]) -> Read<EventRunCountOf, Count> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |(), ids: Vec<EventId>| async move {
            services.runs().count_of_events(actor, &ids).await
        };
        read_each(keys, |key| ((), key.0), read).await
    }
}

impl Loader<BulkOf> for Batches {
    type Value = Outcome<Page<BulkOperation>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[BulkOf]) -> Read<BulkOf, Page<BulkOperation>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let split = |key: &BulkOf| ((key.1, key.2.clone()), key.0);
        let read = |(kind, request), ids: Vec<FunctionId>| async move {
            let bulk = services.bulk();
            bulk.page_of_functions(actor, kind, &ids, &request).await
        };
        read_each(keys, split, read).await
    }
}

impl Loader<BulkCountOf> for Batches {
    type Value = Outcome<Count>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[BulkCountOf]) -> Read<BulkCountOf, Count> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |kind, ids: Vec<FunctionId>| async move {
            services.bulk().count_of_functions(actor, kind, &ids).await
        };
        read_each(keys, |key| (key.1, key.0), read).await
    }
}

impl Loader<ReplayRunsOf> for Batches {
    type Value = Outcome<Page<Run>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[ReplayRunsOf]) -> Read<ReplayRunsOf, Page<Run>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let split = |key: &ReplayRunsOf| (key.1.clone(), key.0);
        let read = |request, ids: Vec<BulkId>| async move {
            services.runs().page_of_replays(actor, &ids, &request).await
        };
        read_each(keys, split, read).await
    }
}

impl Loader<ReplayRunCountOf> for Batches {
    type Value = Outcome<Count>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[ReplayRunCountOf]) -> Read<ReplayRunCountOf, Count> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |(), ids: Vec<BulkId>| async move {
            services.runs().count_of_replays(actor, &ids).await
        };
        read_each(keys, |key| ((), key.0), read).await
    }
}

impl Loader<RepetitionsOf> for Batches {
    type Value = Outcome<Page<Run>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[RepetitionsOf]) -> Read<RepetitionsOf, Page<Run>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let split = |key: &RepetitionsOf| (key.1.clone(), key.0);
        let read = |request, ids: Vec<RunId>| async move {
            let runs = services.runs();
            runs.page_of_repetitions(actor, &ids, &request).await
        };
        read_each(keys, split, read).await
    }
}

impl Loader<RepetitionCountOf> for Batches {
    type Value = Outcome<Count>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[RepetitionCountOf]) -> Read<RepetitionCountOf, Count> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |(), ids: Vec<RunId>| async move {
            services.runs().count_repetitions(actor, &ids).await
        };
        read_each(keys, |key| ((), key.0), read).await
    }
}

impl Batches {
    async fn runs_of_functions(
        &self,
        list: RunList,
        functions: Vec<FunctionId>,
    ) -> Result<HashMap<FunctionId, Listed<Run>>, ServiceError> {
        let runs = self.0.services.runs();
        if list.sought.is_empty() && is_known(&list.filter) {
            let filter = self.at_present(list.filter);
            let (direction, request) = (list.direction, &list.request);
            let pages =
                runs.list_of_functions(&self.0.actor, &filter, &functions, direction, request);
            let pages = pages.await?.into_iter();
            return Ok(pages.map(|(id, page)| (id, (page, None))).collect());
        }
        // A search goes through the list of one function; each of them has a budget of its own, and all of them the time of the operation.
        let mut found = HashMap::with_capacity(functions.len());
        for function in functions {
            let mut own = list.clone();
            own.filter.functions = Some(vec![function]);
            found.insert(function, self.list_runs(own).await?);
        }
        Ok(found)
    }

    async fn run_counts(
        &self,
        filter: RunFilter,
        sought: Sought,
        functions: Vec<FunctionId>,
    ) -> Result<HashMap<FunctionId, Count>, ServiceError> {
        if sought.is_empty() && is_known(&filter) {
            let (runs, actor) = (self.0.services.runs(), &self.0.actor);
            let filter = self.at_present(filter);
            return runs.count_of_functions(actor, &filter, &functions).await;
        }
        let mut found = HashMap::with_capacity(functions.len());
        for function in functions {
            let own = RunFilter {
                functions: Some(vec![function]),
                ..filter.clone()
            };
            found.insert(function, self.count_runs(own, &sought).await?);
        }
        Ok(found)
    }
}

/// Whether an index knows when the runs of a list were queued, and nothing else is asked of their times.
fn is_known(filter: &RunFilter) -> bool {
    filter.started.is_open() && filter.ended.is_open()
}
