//! Batched loading: for a list of fifty runs, one service call for their functions, not fifty.
//!
//! One set per operation. Nothing is cached, because an operation may be a subscription that lives for hours.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use async_graphql::{
    Context, Error,
    dataloader::{DataLoader, Loader},
    runtime::{TokioSpawner, TokioTimer},
};

use inngest_core::{
    app::{App, Function, FunctionVersion},
    event::Event,
    ids::{AppId, EventId, FunctionId, RunId, SyncId},
    run::{FailedAttempt, StepRecord},
    sync::Sync as AppSync,
};
use inngest_services::{Backlog, Error as ServiceError, Reason};

use crate::graphql::{asking::Asking, error::failed};

/// Loads for one asking side.
pub(crate) struct Batches(pub(crate) Asking);

/// The steps of a run, in the order they were found.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StepsOf(pub(crate) RunId);

/// The failed attempts of a run.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AttemptsOf(pub(crate) RunId);

/// A version of a function, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct VersionOf(pub(crate) FunctionId, pub(crate) u32);

/// The backlog of a function.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BacklogOf(pub(crate) FunctionId);

/// Why a run is where it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ReasonsOf(pub(crate) RunId);

pub(crate) fn loaders(asking: Asking) -> DataLoader<Batches> {
    DataLoader::new(
        Batches(asking),
        TokioSpawner::current(),
        TokioTimer::default(),
    )
    .max_batch_size(500)
}

/// Loads one value by its key; `None` when there is none or it is not the caller's to see.
pub(crate) async fn load<K>(
    ctx: &Context<'_>,
    key: K,
) -> Result<Option<<Batches as Loader<K>>::Value>, Error>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    Batches: Loader<K, Error = Arc<ServiceError>>,
{
    ctx.data_unchecked::<DataLoader<Batches>>()
        .load_one(key)
        .await
        .map_err(|error| failed(ctx, &error))
}

/// Loads many values by their keys.
pub(crate) async fn load_many<K>(
    ctx: &Context<'_>,
    keys: Vec<K>,
) -> Result<HashMap<K, <Batches as Loader<K>>::Value>, Error>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    Batches: Loader<K, Error = Arc<ServiceError>>,
{
    ctx.data_unchecked::<DataLoader<Batches>>()
        .load_many(keys)
        .await
        .map_err(|error| failed(ctx, &error))
}

impl Loader<AppId> for Batches {
    type Value = App;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[AppId]) -> Result<HashMap<AppId, App>, Self::Error> {
        Ok(self.0.services.apps().get_many(&self.0.actor, keys).await?)
    }
}

impl Loader<SyncId> for Batches {
    type Value = AppSync;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[SyncId]) -> Result<HashMap<SyncId, AppSync>, Self::Error> {
        let apps = self.0.services.apps();
        Ok(apps.get_syncs(&self.0.actor, keys).await?)
    }
}

impl Loader<FunctionId> for Batches {
    type Value = Function;
    type Error = Arc<ServiceError>;

    async fn load(
        &self,
        keys: &[FunctionId],
    ) -> Result<HashMap<FunctionId, Function>, Self::Error> {
        Ok(self
            .0
            .services
            .functions()
            .get_many(&self.0.actor, keys)
            .await?)
    }
}

impl Loader<VersionOf> for Batches {
    type Value = FunctionVersion;
    type Error = Arc<ServiceError>;

    async fn load(
        &self,
        keys: &[VersionOf],
    ) -> Result<HashMap<VersionOf, FunctionVersion>, Self::Error> {
        let ids: Vec<(FunctionId, u32)> = keys.iter().map(|key| (key.0, key.1)).collect();
        let functions = self.0.services.functions();
        let found = functions.get_versions(&self.0.actor, &ids).await?;
        Ok(found
            .into_iter()
            .map(|((function, number), version)| (VersionOf(function, number), version))
            .collect())
    }
}

impl Loader<BacklogOf> for Batches {
    type Value = Backlog;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[BacklogOf]) -> Result<HashMap<BacklogOf, Backlog>, Self::Error> {
        let ids: Vec<FunctionId> = keys.iter().map(|key| key.0).collect();
        let functions = self.0.services.functions();
        let found = functions.backlogs_of(&self.0.actor, &ids).await?;
        Ok(found
            .into_iter()
            .map(|(id, backlog)| (BacklogOf(id), backlog))
            .collect())
    }
}

impl Loader<EventId> for Batches {
    type Value = Event;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[EventId]) -> Result<HashMap<EventId, Event>, Self::Error> {
        Ok(self
            .0
            .services
            .events()
            .get_many(&self.0.actor, keys)
            .await?)
    }
}

impl Loader<StepsOf> for Batches {
    type Value = Vec<StepRecord>;
    type Error = Arc<ServiceError>;

    async fn load(&self, keys: &[StepsOf]) -> Result<HashMap<StepsOf, Self::Value>, Self::Error> {
        let ids: Vec<RunId> = keys.iter().map(|key| key.0).collect();
        let found = self.0.services.runs().steps_of(&self.0.actor, &ids).await?;
        Ok(found
            .into_iter()
            .map(|(id, steps)| (StepsOf(id), steps))
            .collect())
    }
}

impl Loader<AttemptsOf> for Batches {
    type Value = Vec<FailedAttempt>;
    type Error = Arc<ServiceError>;

    async fn load(
        &self,
        keys: &[AttemptsOf],
    ) -> Result<HashMap<AttemptsOf, Self::Value>, Self::Error> {
        let ids: Vec<RunId> = keys.iter().map(|key| key.0).collect();
        let found = self
            .0
            .services
            .runs()
            .attempts_of(&self.0.actor, &ids)
            .await?;
        Ok(found
            .into_iter()
            .map(|(id, attempts)| (AttemptsOf(id), attempts))
            .collect())
    }
}

impl Loader<ReasonsOf> for Batches {
    type Value = Arc<Vec<Reason>>;
    type Error = Arc<ServiceError>;

    async fn load(
        &self,
        keys: &[ReasonsOf],
    ) -> Result<HashMap<ReasonsOf, Self::Value>, Self::Error> {
        let ids: Vec<RunId> = keys.iter().map(|key| key.0).collect();
        let runs = self.0.services.runs();
        let found = runs.explain_many(&self.0.actor, &ids).await?;
        let found = found.into_iter();
        Ok(found
            .map(|(id, reasons)| (ReasonsOf(id), Arc::new(reasons)))
            .collect())
    }
}
