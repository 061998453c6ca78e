//! What one object has to do with another, loaded for all objects of an operation at once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use async_graphql::{Context, Error, dataloader::Loader};

use inngest_core::{
    app::Function,
    bulk::{BulkKind, BulkOperation},
    ids::{BulkId, EventId, FunctionId, RunId},
    rollup::Span,
    run::{Run, RunStatus, StepWait},
    time::Timestamp,
};
use inngest_services::{
    CountSeries, Counts, Dispatch, Error as ServiceError, FeedCursor, MetricRange, Trace,
};

use crate::graphql::{
    error::failed,
    ids::{CancellationId, ReplayId},
    loaders::{Batches, load},
};

/// What came of reading for one key. A batch holds many keys, and the failure of one is not that of the others.
pub(crate) type Outcome<T> = Result<T, Arc<ServiceError>>;

/// Loads what every key has.
pub(crate) async fn answer<K, T>(ctx: &Context<'_>, key: K) -> Result<T, Error>
where
    K: Send + Sync + std::hash::Hash + Eq + Clone + 'static,
    T: Send + Sync + Clone + 'static,
    Batches: Loader<K, Value = Outcome<T>, Error = Arc<ServiceError>>,
{
    match load(ctx, key).await? {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(failed(ctx, &error)),
        None => {
            let what = "a batch has left out one of its keys".to_owned();
            Err(failed(ctx, &ServiceError::Internal { what }))
        }
    }
}

/// The first run that an event started.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FirstRunOf(pub(crate) EventId);

/// The run of a function that was scheduled last.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LatestRunOf(pub(crate) FunctionId);

/// The function that runs when a function fails.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FailureHandlerOf(pub(crate) FunctionId);

/// How many runs in each state an event started.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StatusesOf(pub(crate) EventId);

/// What a run waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct WaitsOf(pub(crate) RunId);

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DispatchesOf(pub(crate) EventId);

/// The spans of a run.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TraceOf(pub(crate) RunId);

/// The function of a slug.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct BySlug(pub(crate) String);

/// The functions, archived ones too, that have any of these slugs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct IdsOfSlugs(pub(crate) Vec<String>);

/// When the first and the last event of a name came.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct SeenOf(pub(crate) String);

/// Whether an event or a trigger has a name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct KnownName(pub(crate) String);

/// How many events of a name there were over time.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct VolumeOf {
    pub(crate) name: String,
    pub(crate) range: MetricRange,
}

/// The present position of feeds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FeedPosition;

impl Loader<RunId> for Batches {
    type Value = Run;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[RunId]) -> Result<HashMap<RunId, Run>, Self::Error> {
        Ok(self.0.services.runs().get_many(&self.0.actor, keys).await?)
    }
}

impl Loader<CancellationId> for Batches {
    type Value = BulkOperation;
    type Error = Arc<ServiceError>;

    async fn load(
        &self,
        keys: &[CancellationId],
    ) -> Result<HashMap<CancellationId, BulkOperation>, Self::Error> {
        let ids: Vec<BulkId> = keys.iter().map(|key| key.0).collect();
        let (bulk, actor) = (self.0.services.bulk(), &self.0.actor);
        let found = bulk.get_many(actor, BulkKind::Cancellation, &ids).await?;
        Ok(found
            .into_iter()
            .map(|(id, it)| (CancellationId(id), it))
            .collect())
    }
}

impl Loader<ReplayId> for Batches {
    type Value = BulkOperation;
    type Error = Arc<ServiceError>;

    async fn load(
        &self,
        keys: &[ReplayId],
    ) -> Result<HashMap<ReplayId, BulkOperation>, Self::Error> {
        let ids: Vec<BulkId> = keys.iter().map(|key| key.0).collect();
        let (bulk, actor) = (self.0.services.bulk(), &self.0.actor);
        let found = bulk.get_many(actor, BulkKind::Replay, &ids).await?;
        Ok(found
            .into_iter()
            .map(|(id, it)| (ReplayId(id), it))
            .collect())
    }
}

impl Loader<FirstRunOf> for Batches {
    type Value = Run;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[FirstRunOf]) -> Result<HashMap<FirstRunOf, Run>, Self::Error> {
        let ids: Vec<EventId> = keys.iter().map(|key| key.0).collect();
        let runs = self.0.services.runs();
        let found = runs.first_of_events(&self.0.actor, &ids).await?.into_iter();
        Ok(found.map(|(id, run)| (FirstRunOf(id), run)).collect())
    }
}

impl Loader<LatestRunOf> for Batches {
    type Value = Run;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[LatestRunOf]) -> Result<HashMap<LatestRunOf, Run>, Self::Error> {
        let ids: Vec<FunctionId> = keys.iter().map(|key| key.0).collect();
        let runs = self.0.services.runs();
        let found = runs.latest_of_functions(&self.0.actor, &ids).await?;
        let found = found.into_iter();
        Ok(found.map(|(id, run)| (LatestRunOf(id), run)).collect())
    }
}

impl Loader<FailureHandlerOf> for Batches {
    type Value = Function;
    type Error = Arc<ServiceError>;

    async fn load(
        &self,
        keys: &[FailureHandlerOf],
    ) -> Result<HashMap<FailureHandlerOf, Function>, Self::Error> {
        let ids: Vec<FunctionId> = keys.iter().map(|key| key.0).collect();
        let functions = self.0.services.functions();
        let found = functions.failure_handlers(&self.0.actor, &ids).await?;
        let found = found.into_iter();
        Ok(found.map(|(id, it)| (FailureHandlerOf(id), it)).collect())
    }
}

impl Loader<StatusesOf> for Batches {
    type Value = HashMap<RunStatus, u64>;
    type Error = Arc<ServiceError>;

    async fn load(
        &self,
        keys: &[StatusesOf],
    ) -> Result<HashMap<StatusesOf, Self::Value>, Self::Error> {
        let ids: Vec<EventId> = keys.iter().map(|key| key.0).collect();
        let runs = self.0.services.runs();
        let found = runs.statuses_of_events(&self.0.actor, &ids).await?;
        let found = found.into_iter();
        Ok(found.map(|(id, counts)| (StatusesOf(id), counts)).collect())
    }
}

impl Loader<WaitsOf> for Batches {
    type Value = Vec<StepWait>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[WaitsOf]) -> Result<HashMap<WaitsOf, Self::Value>, Self::Error> {
        let ids: Vec<RunId> = keys.iter().map(|key| key.0).collect();
        let runs = self.0.services.runs();
        let found = runs.waits_of_many(&self.0.actor, &ids).await?.into_iter();
        Ok(found.map(|(id, waits)| (WaitsOf(id), waits)).collect())
    }
}

impl Loader<DispatchesOf> for Batches {
    type Value = Vec<Dispatch>;
    type Error = Arc<ServiceError>;

    async fn load(
        &self,
        keys: &[DispatchesOf],
    ) -> Result<HashMap<DispatchesOf, Self::Value>, Self::Error> {
        let ids: Vec<EventId> = keys.iter().map(|key| key.0).collect();
        let events = self.0.services.events();
        let found = events.dispatches(&self.0.actor, &ids).await?.into_iter();
        Ok(found.map(|(id, it)| (DispatchesOf(id), it)).collect())
    }
}

impl Loader<TraceOf> for Batches {
    type Value = Arc<Trace>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[TraceOf]) -> Result<HashMap<TraceOf, Self::Value>, Self::Error> {
        let ids: Vec<RunId> = keys.iter().map(|key| key.0).collect();
        let runs = self.0.services.runs();
        let found = runs.traces(&self.0.actor, &ids).await?.into_iter();
        Ok(found.map(|(id, it)| (TraceOf(id), Arc::new(it))).collect())
    }
}

impl Loader<BySlug> for Batches {
    type Value = Function;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[BySlug]) -> Result<HashMap<BySlug, Function>, Self::Error> {
        let slugs: Vec<String> = keys.iter().map(|key| key.0.clone()).collect();
        let functions = self.0.services.functions();
        let found = functions.find_by_slugs(&self.0.actor, &slugs).await?;
        let found = found.into_iter();
        Ok(found.map(|(slug, it)| (BySlug(slug), it)).collect())
    }
}

impl Loader<IdsOfSlugs> for Batches {
    type Value = Outcome<Vec<FunctionId>>;
    type Error = Arc<ServiceError>;

    async fn load(
        &self,
        keys: &[IdsOfSlugs],
    ) -> Result<HashMap<IdsOfSlugs, Self::Value>, Self::Error> {
        let mut found = HashMap::with_capacity(keys.len());
        for key in keys {
            let functions = self.0.services.functions();
            let ids = functions.ids_of_slugs(&self.0.actor, &key.0).await;
            found.insert(key.clone(), ids.map_err(Arc::new));
        }
        Ok(found)
    }
}

impl Loader<SeenOf> for Batches {
    type Value = (Timestamp, Timestamp);
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[SeenOf]) -> Result<HashMap<SeenOf, Self::Value>, Self::Error> {
        let names: Vec<String> = keys.iter().map(|key| key.0.clone()).collect();
        let events = self.0.services.events();
        let found = events.seen(&self.0.actor, &names).await?.into_iter();
        Ok(found.map(|(name, seen)| (SeenOf(name), seen)).collect())
    }
}

impl Loader<KnownName> for Batches {
    type Value = ();
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[KnownName]) -> Result<HashMap<KnownName, ()>, Self::Error> {
        let names: BTreeSet<String> = keys.iter().map(|key| key.0.clone()).collect();
        let names: Vec<String> = names.into_iter().collect();
        let events = self.0.services.events();
        let found = events.known_names(&self.0.actor, &names).await?.into_iter();
        Ok(found.map(|name| (KnownName(name), ())).collect())
    }
}

impl Loader<VolumeOf> for Batches {
    type Value = Outcome<(Span, CountSeries)>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[VolumeOf]) -> Result<HashMap<VolumeOf, Self::Value>, Self::Error> {
        let mut ranges: HashMap<MetricRange, Vec<String>> = HashMap::new();
        for key in keys {
            ranges.entry(key.range).or_default().push(key.name.clone());
        }
        let mut loaded = HashMap::with_capacity(keys.len());
        for (range, names) in ranges {
            let metrics = self.0.services.metrics();
            let found = metrics.volumes(&self.0.actor, range, &names).await;
            // The series are in the order of the names, which differ.
            let outcomes: Vec<Self::Value> = match found {
                Ok(Counts { span, series }) => {
                    series.into_iter().map(|own| Ok((span, own))).collect()
                }
                Err(error) => {
                    let error = Arc::new(error);
                    names.iter().map(|_| Err(error.clone())).collect()
                }
            };
            let keys = names.into_iter().map(|name| VolumeOf { name, range });
            loaded.extend(keys.zip(outcomes));
        }
        Ok(loaded)
    }
}

impl Loader<FeedPosition> for Batches {
    type Value = FeedCursor;
    type Error = Arc<ServiceError>;

    async fn load(
        &self,
        _: &[FeedPosition],
    ) -> Result<HashMap<FeedPosition, FeedCursor>, Self::Error> {
        let position = self.0.services.live().position(&self.0.actor).await?;
        Ok(HashMap::from([(FeedPosition, position)]))
    }
}
