//! The lists of several parents at once: runs of functions, events, replays and other runs, functions of apps, versions of functions.

use std::collections::HashMap;

use inngest_core::{
    app::{Function, FunctionVersion},
    ids::{AppId, BulkId, EnvId, EventId, FunctionId, RunId},
    page::{Count, Direction, Key, Order, Page, PageRequest},
    run::{Run, RunStatus},
};
use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect, Select, sea_query::Expr,
};
use uuid::Uuid;

use super::{
    FunctionFilter, RunFilter, apps,
    each::{Parents, count_each},
    keyset::{Keyset, Kind},
    runs, weight,
};
use crate::{
    Error, Store,
    entity::{function, function_version, run},
    history::version_of,
    rows::{event_uuid, run_uuid, ulid_of, uuid_of},
};

/// Runs of one event, oldest first. There are few of each, so they are sorted when they have been found by `runs_by_event`.
pub(super) const OF_EVENT: Keyset<run::Entity> = Keyset {
    order: Order {
        name: "event.runs",
        direction: Direction::Ascending,
    },
    columns: &[(run::Column::Id, Kind::Id)],
    keys: |row| vec![Key::Id(row.id.as_u128())],
};

/// Versions of one function, newest first, served by their primary key.
const VERSIONS: Keyset<function_version::Entity> = Keyset {
    order: Order {
        name: "function_versions.number",
        direction: Direction::Descending,
    },
    columns: &[(function_version::Column::Version, Kind::Number)],
    keys: |row| vec![Key::Number(i64::from(row.version))],
};

/// How many runs of an event are in a state.
#[derive(FromQueryResult)]
struct StatusCount {
    event_id: Uuid,
    status: i16,
    n: i64,
}

fn of_events(events: &[EventId]) -> Parents<run::Entity> {
    let ids = events.iter().copied().map(event_uuid);
    Parents::new(&[run::Column::EventId], ids, |row: &run::Model| {
        row.event_id
    })
    .heavy(&weight::RUNS)
}

/// The runs that replays started, by `runs_replayed`.
fn of_replays(replays: &[BulkId]) -> Parents<run::Entity> {
    let ids = replays.iter().map(|id| uuid_of(id.raw()));
    Parents::new(&[run::Column::ReplayId], ids, |row: &run::Model| {
        row.replay_id.unwrap_or_default()
    })
    .heavy(&weight::RUNS)
}

/// The runs that repeat others, by `runs_repeated`.
fn of_originals(runs: &[RunId]) -> Parents<run::Entity> {
    let ids = runs.iter().copied().map(run_uuid);
    Parents::new(&[run::Column::OriginalId], ids, |row: &run::Model| {
        row.original_id.unwrap_or_default()
    })
    .heavy(&weight::RUNS)
}

fn of_apps(apps: &[AppId]) -> Parents<function::Entity> {
    let ids = apps.iter().map(|id| id.raw());
    Parents::new(&[function::Column::AppId], ids, |row: &function::Model| {
        row.app_id
    })
}

fn versions_of(functions: &[FunctionId]) -> Parents<function_version::Entity> {
    let ids = functions.iter().map(|id| id.raw());
    let column = &[function_version::Column::FunctionId];
    Parents::new(column, ids, |row: &function_version::Model| row.function_id)
}

pub(super) fn runs_of(env: EnvId) -> Select<run::Entity> {
    run::Entity::find().filter(run::Column::EnvId.eq(env.raw()))
}

fn all_versions(env: EnvId) -> Select<function_version::Entity> {
    function_version::Entity::find().filter(function_version::Column::EnvId.eq(env.raw()))
}

fn event_id(raw: Uuid) -> EventId {
    EventId::from_raw(ulid_of(raw))
}

fn replay_id(raw: Uuid) -> BulkId {
    BulkId::from_raw(ulid_of(raw))
}

fn run_id(raw: Uuid) -> RunId {
    RunId::from_raw(ulid_of(raw))
}

/// The same pages, with their rows read and under the ids of their parents.
fn read<K, M, T>(
    pages: HashMap<Uuid, Page<M>>,
    id: impl Fn(Uuid) -> K,
    row: impl Fn(M) -> Result<T, Error> + Copy,
) -> Result<HashMap<K, Page<T>>, Error>
where
    K: std::hash::Hash + Eq,
{
    let pages = pages.into_iter();
    pages
        .map(|(raw, page)| Ok((id(raw), page.try_map(row)?)))
        .collect()
}

fn counted<K: std::hash::Hash + Eq>(
    counts: HashMap<Uuid, Count>,
    id: impl Fn(Uuid) -> K,
) -> HashMap<K, Count> {
    let counts = counts.into_iter();
    counts.map(|(raw, count)| (id(raw), count)).collect()
}

impl Store {
    /// The same page of the runs of each of these functions, in the order in which they were queued. A function without any is left out.
    /// The functions in the filter are not asked for.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list or direction.
    pub async fn list_runs_of_functions(
        &self,
        env: EnvId,
        filter: &RunFilter,
        functions: &[FunctionId],
        direction: Direction,
        request: &PageRequest,
    ) -> Result<HashMap<FunctionId, Page<Run>>, Error> {
        let list = runs::keyset(direction);
        let (select, parents) = runs::of_each(env, filter, functions);
        let pages = list.read_each(self.reader(), "runs", select, &parents, request);
        read(pages.await?, FunctionId::from_raw, Run::try_from)
    }

    /// How many runs the list of each of these functions has.
    pub async fn count_runs_of_functions(
        &self,
        env: EnvId,
        filter: &RunFilter,
        functions: &[FunctionId],
    ) -> Result<HashMap<FunctionId, Count>, Error> {
        let (select, parents) = runs::of_each(env, filter, functions);
        let counts = count_each(self.reader(), "runs", select, parents);
        Ok(counted(counts.await?, FunctionId::from_raw))
    }

    /// The same page of the runs that each of these events started, oldest first. An event without any is left out.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn list_runs_of_events(
        &self,
        env: EnvId,
        events: &[EventId],
        request: &PageRequest,
    ) -> Result<HashMap<EventId, Page<Run>>, Error> {
        let parents = of_events(events);
        let pages = OF_EVENT.read_each(self.reader(), "runs", runs_of(env), &parents, request);
        read(pages.await?, event_id, Run::try_from)
    }

    /// How many runs each of these events started.
    pub async fn count_runs_of_events(
        &self,
        env: EnvId,
        events: &[EventId],
    ) -> Result<HashMap<EventId, Count>, Error> {
        let counts = count_each(self.reader(), "runs", runs_of(env), of_events(events));
        Ok(counted(counts.await?, event_id))
    }

    /// The same page of the runs that each of these replays started, newest first. A replay without any is left out.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn list_runs_of_replays(
        &self,
        env: EnvId,
        replays: &[BulkId],
        request: &PageRequest,
    ) -> Result<HashMap<BulkId, Page<Run>>, Error> {
        let (list, parents) = (runs::keyset(Direction::Descending), of_replays(replays));
        let pages = list.read_each(self.reader(), "runs", runs_of(env), &parents, request);
        read(pages.await?, replay_id, Run::try_from)
    }

    /// How many runs each of these replays started.
    pub async fn count_runs_of_replays(
        &self,
        env: EnvId,
        replays: &[BulkId],
    ) -> Result<HashMap<BulkId, Count>, Error> {
        let counts = count_each(self.reader(), "runs", runs_of(env), of_replays(replays));
        Ok(counted(counts.await?, replay_id))
    }

    /// The same page of the runs that repeat each of these runs, newest first. A run that none repeats is left out.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn list_repetitions(
        &self,
        env: EnvId,
        runs: &[RunId],
        request: &PageRequest,
    ) -> Result<HashMap<RunId, Page<Run>>, Error> {
        let (list, parents) = (runs::keyset(Direction::Descending), of_originals(runs));
        let pages = list.read_each(self.reader(), "runs", runs_of(env), &parents, request);
        read(pages.await?, run_id, Run::try_from)
    }

    /// How many runs repeat each of these runs.
    pub async fn count_repetitions(
        &self,
        env: EnvId,
        runs: &[RunId],
    ) -> Result<HashMap<RunId, Count>, Error> {
        let counts = count_each(self.reader(), "runs", runs_of(env), of_originals(runs));
        Ok(counted(counts.await?, run_id))
    }

    /// How many runs in each state these events started. What there is none of is left out.
    pub async fn count_statuses_of_events(
        &self,
        env: EnvId,
        events: &[EventId],
    ) -> Result<Vec<(EventId, RunStatus, u64)>, Error> {
        let ids = events.iter().copied().map(event_uuid);
        let found: Vec<StatusCount> = runs_of(env)
            .select_only()
            .column(run::Column::EventId)
            .column(run::Column::Status)
            .expr_as(Expr::cust("COUNT(*)"), "n")
            .filter(run::Column::EventId.is_in(ids))
            .group_by(run::Column::EventId)
            .group_by(run::Column::Status)
            .into_model()
            .all(self.reader())
            .await
            .map_err(Error::on("runs"))?;
        let count = |row: StatusCount| {
            let status = RunStatus::from_code(row.status).ok_or_else(|| Error::BadRow {
                table: "runs",
                id: row.event_id.to_string(),
                column: "status",
            })?;
            Ok((event_id(row.event_id), status, row.n.unsigned_abs()))
        };
        found.into_iter().map(count).collect()
    }

    /// The same page of the functions of each of these apps, by slug. An app without any is left out. The apps in the filter are not asked
    /// for.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn page_functions_of_apps(
        &self,
        env: EnvId,
        filter: &FunctionFilter,
        apps: &[AppId],
        request: &PageRequest,
    ) -> Result<HashMap<AppId, Page<Function>>, Error> {
        let select = apps::functions(env, &without_apps(filter));
        let parents = of_apps(apps);
        let pages =
            apps::FUNCTIONS.read_each(self.reader(), "functions", select, &parents, request);
        read(pages.await?, AppId::from_raw, Function::try_from)
    }

    /// How many functions each of these apps has.
    pub async fn count_functions_of_apps(
        &self,
        env: EnvId,
        filter: &FunctionFilter,
        apps: &[AppId],
    ) -> Result<HashMap<AppId, Count>, Error> {
        let select = apps::functions(env, &without_apps(filter));
        let counts = count_each(self.reader(), "functions", select, of_apps(apps));
        Ok(counted(counts.await?, AppId::from_raw))
    }

    /// The same page of the versions of each of these functions, newest first. A function without any is left out.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn page_versions_of_functions(
        &self,
        env: EnvId,
        functions: &[FunctionId],
        request: &PageRequest,
    ) -> Result<HashMap<FunctionId, Page<FunctionVersion>>, Error> {
        let (conn, table) = (self.reader(), "function_versions");
        let parents = versions_of(functions);
        let pages = VERSIONS.read_each(conn, table, all_versions(env), &parents, request);
        read(pages.await?, FunctionId::from_raw, version_of)
    }

    /// How many versions each of these functions has.
    pub async fn count_versions_of_functions(
        &self,
        env: EnvId,
        functions: &[FunctionId],
    ) -> Result<HashMap<FunctionId, Count>, Error> {
        let (conn, table) = (self.reader(), "function_versions");
        let counts = count_each(conn, table, all_versions(env), versions_of(functions));
        Ok(counted(counts.await?, FunctionId::from_raw))
    }
}

fn without_apps(filter: &FunctionFilter) -> FunctionFilter {
    FunctionFilter {
        apps: None,
        ..filter.clone()
    }
}
