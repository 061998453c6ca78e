//! Lists of an environment, and how long lists are, loaded once for all who ask for the same.
//!
//! Every object leads to its environment, so a list of it can be asked for below each entry of another list; it is read once.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use async_graphql::dataloader::Loader;
use futures_util::future::join_all;

use inngest_core::{
    app::{App, Function},
    bulk::BulkOperation,
    event::Event,
    page::{Count, Direction, Page, PageRequest},
    run::{Run, StepWait},
    sync::Sync as AppSync,
    time::Timestamp,
};
use inngest_services::{
    Activity, AppFilter, Backlog, BulkFilter, Doing, Error as ServiceError, EventFilter, Found,
    FunctionFilter, MetricRange, QuickHit, RunFilter, Scan, SyncFilter, Usage, WaitFilter,
};

use crate::graphql::{loaders::Batches, related::Outcome};

/// A page, and how far a search has looked for it.
pub(crate) type Listed<T> = (Page<T>, Option<Scan>);

/// Which runs, and which page of them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RunList {
    pub(crate) filter: RunFilter,
    pub(crate) sought: Sought,
    pub(crate) direction: Direction,
    pub(crate) request: PageRequest,
}

/// What is looked for in a list of runs, beyond what its filter says.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Sought {
    pub(crate) search: Option<String>,
    pub(crate) activities: Option<Vec<Activity>>,
}

impl Sought {
    /// Nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.search.is_none() && self.activities.is_none()
    }
}

/// Which events, and which page of them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct EventList {
    pub(crate) filter: EventFilter,
    pub(crate) search: Option<String>,
    pub(crate) direction: Direction,
    pub(crate) request: PageRequest,
}

/// A page of functions.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct FunctionList(pub(crate) FunctionFilter, pub(crate) PageRequest);

/// A page of apps.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct AppList(pub(crate) AppFilter, pub(crate) PageRequest);

/// A page of attempts to register apps.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct SyncList(pub(crate) SyncFilter, pub(crate) PageRequest);

/// When an app was last in sync.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LastSynced;

/// A page of waits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct WaitList(pub(crate) WaitFilter, pub(crate) PageRequest);

/// A page of operations on many runs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct BulkList(pub(crate) BulkFilter, pub(crate) PageRequest);

/// The names of events that have this part.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct EventNames(pub(crate) Option<String>);

/// What has this id or this text in its name, and how many of these.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct QuickSearch(pub(crate) String, pub(crate) usize);

/// What the schedule holds of each function.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AllBacklogs;

/// What the organization has used in a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct UsageIn(pub(crate) MetricRange);

/// How many entries a list has; with something that is sought, those that are found.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Total {
    Runs(Box<RunFilter>, Sought),
    Events(EventFilter, Option<String>),
    Functions(FunctionFilter),
    Apps(AppFilter),
    Waits(WaitFilter),
    Bulk(BulkFilter),
    Syncs(SyncFilter),
}

pub(crate) type Read<K, T> = Result<HashMap<K, Outcome<T>>, Arc<ServiceError>>;

/// Reads for all keys at the same time. `Ok` as far as the batch goes: what failed says so itself.
async fn read_all<K, T, F>(keys: &[K], read: impl Fn(K) -> F) -> Read<K, T>
where
    K: Clone + Eq + Hash,
    F: Future<Output = Result<T, ServiceError>>,
{
    let found = join_all(keys.iter().cloned().map(read)).await.into_iter();
    let found = found.map(|found| found.map_err(Arc::new));
    Ok(keys.iter().cloned().zip(found).collect())
}

impl Loader<RunList> for Batches {
    type Value = Outcome<Listed<Run>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[RunList]) -> Read<RunList, Listed<Run>> {
        read_all(keys, |list| self.list_runs(list)).await
    }
}

impl Loader<EventList> for Batches {
    type Value = Outcome<Listed<Event>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[EventList]) -> Read<EventList, Listed<Event>> {
        read_all(keys, |list| self.list_events(list)).await
    }
}

impl Loader<FunctionList> for Batches {
    type Value = Outcome<Page<Function>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[FunctionList]) -> Read<FunctionList, Page<Function>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |FunctionList(filter, request)| async move {
            services.functions().page(actor, &filter, &request).await
        };
        read_all(keys, read).await
    }
}

impl Loader<AppList> for Batches {
    type Value = Outcome<Page<App>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[AppList]) -> Read<AppList, Page<App>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |AppList(filter, request)| async move {
            services.apps().page(actor, &filter, &request).await
        };
        read_all(keys, read).await
    }
}

impl Loader<SyncList> for Batches {
    type Value = Outcome<Page<AppSync>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[SyncList]) -> Read<SyncList, Page<AppSync>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |SyncList(filter, request)| async move {
            services.apps().syncs(actor, &filter, &request).await
        };
        read_all(keys, read).await
    }
}

impl Loader<LastSynced> for Batches {
    type Value = Outcome<Option<Timestamp>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[LastSynced]) -> Read<LastSynced, Option<Timestamp>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |_| async move { services.apps().last_synced_at(actor).await };
        read_all(keys, read).await
    }
}

impl Loader<WaitList> for Batches {
    type Value = Outcome<Listed<StepWait>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[WaitList]) -> Read<WaitList, Listed<StepWait>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |WaitList(filter, request)| async move {
            let runs = services.runs();
            let found = runs.list_waits(actor, &filter, &request).await;
            found.map(|found| listed(found, false))
        };
        read_all(keys, read).await
    }
}

impl Loader<BulkList> for Batches {
    type Value = Outcome<Page<BulkOperation>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[BulkList]) -> Read<BulkList, Page<BulkOperation>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |BulkList(filter, request)| async move {
            services.bulk().list(actor, &filter, &request).await
        };
        read_all(keys, read).await
    }
}

impl Loader<EventNames> for Batches {
    type Value = Outcome<Arc<Vec<String>>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[EventNames]) -> Read<EventNames, Arc<Vec<String>>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |EventNames(part): EventNames| async move {
            let names = services.events().names(actor, part.as_deref()).await;
            names.map(Arc::new)
        };
        read_all(keys, read).await
    }
}

impl Loader<QuickSearch> for Batches {
    type Value = Outcome<Vec<QuickHit>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[QuickSearch]) -> Read<QuickSearch, Vec<QuickHit>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |QuickSearch(term, most): QuickSearch| async move {
            services.quick_search(actor, &term, most).await
        };
        read_all(keys, read).await
    }
}

impl Loader<AllBacklogs> for Batches {
    type Value = Outcome<Arc<Vec<Backlog>>>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[AllBacklogs]) -> Read<AllBacklogs, Arc<Vec<Backlog>>> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |_| async move {
            let backlogs = services.functions().backlogs(actor).await;
            backlogs.map(Arc::new)
        };
        read_all(keys, read).await
    }
}

impl Loader<UsageIn> for Batches {
    type Value = Outcome<Usage>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[UsageIn]) -> Read<UsageIn, Usage> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        let read = |UsageIn(range)| async move { services.metrics().usage(actor, range).await };
        read_all(keys, read).await
    }
}

impl Loader<Total> for Batches {
    type Value = Outcome<Count>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[Total]) -> Read<Total, Count> {
        read_all(keys, |total| self.count(total)).await
    }
}

impl Batches {
    /// `now`, by which the durations of unfinished runs count, is read when the batch is, so that it does not tell equal lists apart.
    pub(crate) fn at_present(&self, filter: RunFilter) -> RunFilter {
        RunFilter {
            now: self.0.services.clock().now(),
            ..filter
        }
    }

    pub(crate) async fn list_runs(&self, list: RunList) -> Result<Listed<Run>, ServiceError> {
        let (runs, actor) = (self.0.services.runs(), &self.0.actor);
        let (filter, text) = (self.at_present(list.filter), list.sought.search.as_deref());
        let found = match &list.sought.activities {
            Some(activities) => {
                let doing = Doing { activities, text };
                let found = runs.page_doing(actor, &filter, &doing, list.direction, &list.request);
                found.await?
            }
            None => {
                let found = runs.page(actor, &filter, text, list.direction, &list.request);
                found.await?
            }
        };
        Ok(listed(found, !list.sought.is_empty()))
    }

    /// How many runs are found in a list.
    pub(crate) async fn count_runs(
        &self,
        filter: RunFilter,
        sought: &Sought,
    ) -> Result<Count, ServiceError> {
        let (runs, actor) = (self.0.services.runs(), &self.0.actor);
        let (filter, text) = (self.at_present(filter), sought.search.as_deref());
        match (&sought.activities, text) {
            (Some(activities), text) => {
                let doing = Doing { activities, text };
                runs.count_doing(actor, &filter, &doing).await
            }
            (None, Some(text)) => runs.count_found(actor, &filter, text).await,
            (None, None) => runs.count(actor, &filter).await,
        }
    }

    async fn list_events(&self, list: EventList) -> Result<Listed<Event>, ServiceError> {
        let (events, actor) = (self.0.services.events(), &self.0.actor);
        let search = list.search.as_deref();
        let found = events.page(actor, &list.filter, search, list.direction, &list.request);
        Ok(listed(found.await?, search.is_some()))
    }

    async fn count(&self, total: Total) -> Result<Count, ServiceError> {
        let (services, actor) = (&self.0.services, &self.0.actor);
        match total {
            Total::Runs(filter, sought) => self.count_runs(*filter, &sought).await,
            Total::Events(filter, Some(text)) => {
                services.events().count_found(actor, &filter, &text).await
            }
            Total::Events(filter, None) => services.events().count(actor, &filter).await,
            Total::Functions(filter) => services.functions().count(actor, &filter).await,
            Total::Apps(filter) => services.apps().count(actor, &filter).await,
            Total::Waits(filter) => services.runs().count_waits(actor, &filter).await,
            Total::Bulk(filter) => services.bulk().count(actor, &filter).await,
            Total::Syncs(filter) => services.apps().count_syncs(actor, &filter).await,
        }
    }
}

/// How far it was looked is told of searches, and of lists that were not read to the end of a page.
fn listed<T>(found: Found<T>, is_sought: bool) -> Listed<T> {
    let is_told = is_sought || found.scan.stopped_at.is_some();
    (found.page, is_told.then_some(found.scan))
}
