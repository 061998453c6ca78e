//! What several runs have that go on, and what else is read for many rows at once.

use std::collections::HashMap;

use inngest_core::{
    app::Function,
    ids::{AppId, EnvId, EventId, FunctionId, RunId, StepId, WorkId},
    job::{JobKind, Work},
    run::{RunStatus, StepKind},
    time::Timestamp,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect, Statement, Value,
};
use uuid::Uuid;

use crate::{
    Error, Store,
    entity::{function, run, step, work},
    rows::{bad, event_uuid, run_uuid, time, ulid_of},
    sql::tuples,
    write::get,
};

/// What a step is called and what sort it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepHead {
    /// Its run.
    pub run: RunId,
    /// Its id.
    pub step: StepId,
    /// Its display name.
    pub name: String,
    /// What sort of step.
    pub kind: StepKind,
}

#[derive(FromQueryResult)]
struct HeadRow {
    run_id: Uuid,
    step_id: String,
    name: String,
    kind: i16,
}

impl TryFrom<HeadRow> for StepHead {
    type Error = Error;

    fn try_from(row: HeadRow) -> Result<Self, Error> {
        let bad = |column| Error::BadRow {
            table: "steps",
            id: row.run_id.to_string(),
            column,
        };
        Ok(Self {
            run: RunId::from_raw(ulid_of(row.run_id)),
            step: StepId::parse(&row.step_id).map_err(|_| bad("step_id"))?,
            kind: StepKind::from_code(row.kind).ok_or_else(|| bad("kind"))?,
            name: row.name,
        })
    }
}

/// A run that an event has started, without what it ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its id.
    pub id: RunId,
    /// The event.
    pub event: EventId,
    /// Its function.
    pub function: FunctionId,
    /// What is stored of its state.
    pub status: RunStatus,
    /// When it was queued.
    pub queued_at: Timestamp,
}

#[derive(FromQueryResult)]
struct StartedRow {
    id: Uuid,
    event_id: Uuid,
    function_id: Uuid,
    status: i16,
    queued_at: i64,
}

impl TryFrom<StartedRow> for Started {
    type Error = Error;

    fn try_from(row: StartedRow) -> Result<Self, Error> {
        let status = RunStatus::from_code(row.status);
        Ok(Self {
            id: RunId::from_raw(ulid_of(row.id)),
            event: EventId::from_raw(ulid_of(row.event_id)),
            function: FunctionId::from_raw(row.function_id),
            status: status.ok_or_else(|| bad("runs", row.id, "status"))?,
            queued_at: time(row.queued_at),
        })
    }
}

/// Most runs that are told of the events of one question.
const STARTED: u64 = 20_000;

/// Outstanding work of a run, without what its handler needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkHead {
    /// Its id.
    pub id: WorkId,
    /// What is to be done.
    pub kind: JobKind,
    /// For which step.
    pub step: Option<StepId>,
    /// Not before; what a pause holds back is beyond all times.
    pub due_at: Timestamp,
    /// Attempts made before this one.
    pub attempt: u32,
}

#[derive(FromQueryResult)]
struct WorkHeadRow {
    id: Uuid,
    kind: i16,
    step_id: Option<String>,
    due_at: i64,
    attempt: i32,
}

impl TryFrom<WorkHeadRow> for WorkHead {
    type Error = Error;

    fn try_from(row: WorkHeadRow) -> Result<Self, Error> {
        let bad = |column| bad("work", row.id, column);
        let step = row.step_id.as_deref().map(StepId::parse).transpose();
        Ok(Self {
            id: WorkId::from_raw(row.id),
            kind: JobKind::from_code(row.kind).ok_or_else(|| bad("kind"))?,
            step: step.map_err(|_| bad("step_id"))?,
            due_at: time(row.due_at),
            attempt: u32::try_from(row.attempt).map_err(|_| bad("attempt"))?,
        })
    }
}

/// What a function is called, without its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionHead {
    /// Its id.
    pub id: FunctionId,
    /// Its app.
    pub app: AppId,
    /// Its slug.
    pub slug: String,
}

#[derive(FromQueryResult)]
struct FunctionHeadRow {
    id: Uuid,
    app_id: Uuid,
    slug: String,
}

impl From<FunctionHeadRow> for FunctionHead {
    fn from(row: FunctionHeadRow) -> Self {
        Self {
            id: FunctionId::from_raw(row.id),
            app: AppId::from_raw(row.app_id),
            slug: row.slug,
        }
    }
}

impl Store {
    /// The runs that these events have started themselves, oldest first: no repetitions of others.
    pub async fn started_by_events(
        &self,
        env: EnvId,
        events: &[EventId],
    ) -> Result<Vec<Started>, Error> {
        use run::Column;
        let rows: Vec<StartedRow> = run::Entity::find()
            .select_only()
            .columns([
                Column::Id,
                Column::EventId,
                Column::FunctionId,
                Column::Status,
                Column::QueuedAt,
            ])
            .filter(Column::EventId.is_in(events.iter().copied().map(event_uuid)))
            .filter(Column::EnvId.eq(env.raw()))
            .filter(Column::OriginalId.is_null())
            .order_by_asc(Column::Id)
            .limit(STARTED)
            .into_model()
            .all(self.reader())
            .await
            .map_err(Error::on("runs"))?;
        rows.into_iter().map(Started::try_from).collect()
    }

    /// The names of all steps of these runs, without what they ended with.
    pub async fn step_heads_of_runs(
        &self,
        env: EnvId,
        runs: &[RunId],
    ) -> Result<Vec<StepHead>, Error> {
        let rows: Vec<HeadRow> = step::Entity::find()
            .select_only()
            .column(step::Column::RunId)
            .column(step::Column::StepId)
            .column(step::Column::Name)
            .column(step::Column::Kind)
            .filter(step::Column::RunId.is_in(runs.iter().copied().map(run_uuid)))
            .filter(step::Column::EnvId.eq(env.raw()))
            .into_model()
            .all(self.reader())
            .await
            .map_err(Error::on("steps"))?;
        rows.into_iter().map(StepHead::try_from).collect()
    }

    /// Outstanding work of these runs, soonest first.
    pub async fn work_of_runs(&self, env: EnvId, runs: &[RunId]) -> Result<Vec<Work>, Error> {
        let rows = work::Entity::find()
            .filter(work::Column::RunId.is_in(runs.iter().copied().map(run_uuid)))
            .filter(work::Column::EnvId.eq(env.raw()))
            .order_by_asc(work::Column::DueAt)
            .all(self.reader())
            .await
            .map_err(Error::on("work"))?;
        rows.into_iter().map(Work::try_from).collect()
    }

    /// The first `most` pieces of work of a run that are outstanding, soonest first.
    pub async fn work_heads_of_run(
        &self,
        env: EnvId,
        run: RunId,
        most: u64,
    ) -> Result<Vec<WorkHead>, Error> {
        let rows: Vec<WorkHeadRow> = work::Entity::find()
            .select_only()
            .column(work::Column::Id)
            .column(work::Column::Kind)
            .column(work::Column::StepId)
            .column(work::Column::DueAt)
            .column(work::Column::Attempt)
            .filter(work::Column::RunId.eq(run_uuid(run)))
            .filter(work::Column::EnvId.eq(env.raw()))
            .order_by_asc(work::Column::DueAt)
            .order_by_asc(work::Column::Id)
            .limit(most)
            .into_model()
            .all(self.reader())
            .await
            .map_err(Error::on("work"))?;
        rows.into_iter().map(WorkHead::try_from).collect()
    }

    /// What functions are called, in any order; unknown and foreign ids are left out.
    pub async fn function_heads(
        &self,
        env: EnvId,
        ids: &[FunctionId],
    ) -> Result<Vec<FunctionHead>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<FunctionHeadRow> = function::Entity::find()
            .select_only()
            .column(function::Column::Id)
            .column(function::Column::AppId)
            .column(function::Column::Slug)
            .filter(function::Column::EnvId.eq(env.raw()))
            .filter(function::Column::Id.is_in(ids.iter().map(|id| id.raw())))
            .into_model()
            .all(self.reader())
            .await
            .map_err(Error::on("functions"))?;
        Ok(rows.into_iter().map(FunctionHead::from).collect())
    }

    /// The function of each of these runs; unknown and foreign ids are left out.
    pub async fn functions_of_runs(
        &self,
        env: EnvId,
        runs: &[RunId],
    ) -> Result<HashMap<RunId, FunctionId>, Error> {
        let rows: Vec<(Uuid, Uuid)> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .column(run::Column::FunctionId)
            .filter(run::Column::Id.is_in(runs.iter().copied().map(run_uuid)))
            .filter(run::Column::EnvId.eq(env.raw()))
            .into_tuple()
            .all(self.reader())
            .await
            .map_err(Error::on("runs"))?;
        let of = |(run, function)| {
            (
                RunId::from_raw(ulid_of(run)),
                FunctionId::from_raw(function),
            )
        };
        Ok(rows.into_iter().map(of).collect())
    }

    /// The function of each of these slugs, one that is not archived first.
    pub async fn find_functions_by_slugs(
        &self,
        env: EnvId,
        slugs: &[String],
    ) -> Result<Vec<Function>, Error> {
        let rows = function::Entity::find()
            .filter(function::Column::EnvId.eq(env.raw()))
            .filter(function::Column::Slug.is_in(slugs.iter().map(String::as_str)))
            .all(self.reader())
            .await
            .map_err(Error::on("functions"))?;
        let mut newest: HashMap<String, function::Model> = HashMap::new();
        let age = |row: &function::Model| (row.archived_at.is_none(), row.updated_at);
        for row in rows {
            match newest.get(&row.slug) {
                Some(known) if age(known) >= age(&row) => {}
                _ => drop(newest.insert(row.slug.clone(), row)),
            }
        }
        newest.into_values().map(Function::try_from).collect()
    }

    /// The first and the last event of each of these names that are stored; a name without any is left out. Costs two looks into an index for
    /// each, however many events there are.
    pub async fn first_and_last_events(
        &self,
        env: EnvId,
        names: &[String],
    ) -> Result<Vec<(String, EventId, EventId)>, Error> {
        let Some(last) = names.last() else {
            return Ok(Vec::new());
        };
        let conn = self.reader();
        let size = names.len().next_power_of_two();
        let own =
            "FROM events e WHERE e.env_id = given.column2 AND e.name = given.column1 ORDER BY e.id";
        let sql = format!(
            "SELECT given.column1 AS name, (SELECT e.id {own} LIMIT 1) AS first, (SELECT e.id {own} DESC LIMIT 1) AS last \
             FROM (VALUES {}) AS given",
            tuples(conn.get_database_backend(), size, 2)
        );
        // Padded with the last name, so that few distinct statements exist; what is found for it again is left out.
        let padded = names.iter().chain(std::iter::repeat(last)).take(size);
        let values = padded.flat_map(|name| [Value::from(name.as_str()), env.raw().into()]);
        let statement = Statement::from_sql_and_values(
            conn.get_database_backend(),
            sql,
            values.collect::<Vec<_>>(),
        );
        let rows = conn
            .query_all_raw(statement)
            .await
            .map_err(Error::on("events"))?;
        let id = |raw: Uuid| EventId::from_raw(ulid_of(raw));
        let mut found = Vec::with_capacity(names.len());
        for row in rows.iter().take(names.len()) {
            let (first, last): (Option<Uuid>, Option<Uuid>) =
                (get(row, "events", "first")?, get(row, "events", "last")?);
            if let (Some(first), Some(last)) = (first, last) {
                found.push((get(row, "events", "name")?, id(first), id(last)));
            }
        }
        Ok(found)
    }
}
