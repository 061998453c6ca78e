//! Reads of runs, their steps and what failed.

use std::collections::HashMap;

use inngest_core::{
    ids::{AppId, EnvId, EventId, FunctionId, OrgId, RunId, StepId, WorkId},
    job::{JobKind, Work},
    json::Json,
    page::Direction,
    run::{
        FailedAttempt, Run, RunStatus, StepRecord,
        progress::{Progress, StepState},
    },
    wait::Wait,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};

use crate::{
    Error, Store,
    entity::{failed_attempt, run, step, wait, work},
    lists::weight,
    rows::{event_uuid, events_of, json, rerun_of, response_of, run_uuid, time, ulid_of},
};

/// A run read whole, to go on with it.
#[derive(Clone, Debug)]
pub struct LoadedRun {
    /// Its state.
    pub progress: Progress,
    /// Its outstanding work.
    pub work: Vec<Work>,
}

impl Store {
    /// One run.
    pub async fn find_run(&self, env: EnvId, id: RunId) -> Result<Option<Run>, Error> {
        let row = run::Entity::find_by_id(run_uuid(id))
            .filter(run::Column::EnvId.eq(env.raw()))
            .one(self.reader())
            .await
            .map_err(Error::on("runs"))?;
        row.map(Run::try_from).transpose()
    }

    /// Runs by id, in any order; unknown and foreign ids are left out.
    pub async fn find_runs(&self, env: EnvId, ids: &[RunId]) -> Result<Vec<Run>, Error> {
        let rows = run::Entity::find()
            .filter(run::Column::Id.is_in(ids.iter().copied().map(run_uuid)))
            .filter(run::Column::EnvId.eq(env.raw()))
            .all(self.reader())
            .await
            .map_err(Error::on("runs"))?;
        rows.into_iter().map(Run::try_from).collect()
    }

    /// As [`Store::find_runs`], but none after those whose results have `most` bytes together; and whether that are all there are.
    pub async fn find_runs_within(
        &self,
        env: EnvId,
        ids: &[RunId],
        most: u64,
    ) -> Result<(Vec<Run>, bool), Error> {
        let wanted = run::Entity::find()
            .filter(run::Column::Id.is_in(ids.iter().copied().map(run_uuid)))
            .filter(run::Column::EnvId.eq(env.raw()))
            .into_query();
        let (up, conn) = (Direction::Ascending, self.reader());
        let rows = weight::RUNS.read(conn, Some(wanted), up, up, most);
        let rows = rows.await?;
        let is_all = !weight::RUNS.is_cut(&rows, most);
        let runs: Result<Vec<Run>, Error> = rows.into_iter().map(Run::try_from).collect();
        Ok((runs?, is_all))
    }

    /// Runs that these events started, oldest first; at most `per_page` for all together.
    pub async fn runs_of_events(
        &self,
        env: EnvId,
        events: &[EventId],
        per_page: u64,
    ) -> Result<Vec<Run>, Error> {
        let rows = run::Entity::find()
            .filter(run::Column::EventId.is_in(events.iter().copied().map(event_uuid)))
            .filter(run::Column::EnvId.eq(env.raw()))
            .order_by_asc(run::Column::Id)
            .limit(per_page)
            .all(self.reader())
            .await
            .map_err(Error::on("runs"))?;
        rows.into_iter().map(Run::try_from).collect()
    }

    /// Steps of these runs: ended ones in the order of the stack, then open ones in the order in which they were reported.
    pub async fn steps_of_runs(
        &self,
        env: EnvId,
        runs: &[RunId],
    ) -> Result<Vec<StepRecord>, Error> {
        let rows = steps_of(env, runs)
            .all(self.reader())
            .await
            .map_err(Error::on("steps"))?;
        in_order(rows)
    }

    /// As [`Store::steps_of_runs`], if they and their results have less than `most` bytes together, and otherwise none.
    pub async fn steps_of_runs_within(
        &self,
        env: EnvId,
        runs: &[RunId],
        most: u64,
    ) -> Result<Option<Vec<StepRecord>>, Error> {
        let wanted = steps_of(env, runs).into_query();
        let (up, conn) = (Direction::Ascending, self.reader());
        let rows = weight::STEPS.read(conn, Some(wanted), up, up, most);
        let rows = rows.await?;
        let is_all = !weight::STEPS.is_cut(&rows, most);
        is_all.then(|| in_order(rows)).transpose()
    }

    /// Steps of one run by id, in any order; unknown ids are left out.
    pub async fn find_steps(
        &self,
        env: EnvId,
        run: RunId,
        steps: &[StepId],
    ) -> Result<Vec<StepRecord>, Error> {
        let rows = step::Entity::find()
            .filter(step::Column::RunId.eq(run_uuid(run)))
            .filter(step::Column::StepId.is_in(steps.iter().map(StepId::as_str)))
            .filter(step::Column::EnvId.eq(env.raw()))
            .all(self.reader())
            .await
            .map_err(Error::on("steps"))?;
        rows.into_iter().map(StepRecord::try_from).collect()
    }

    /// Attempts of these runs that failed, oldest first.
    pub async fn failed_attempts_of_runs(
        &self,
        env: EnvId,
        runs: &[RunId],
    ) -> Result<Vec<FailedAttempt>, Error> {
        let rows = failed_attempt::Entity::find()
            .filter(failed_attempt::Column::RunId.is_in(runs.iter().copied().map(run_uuid)))
            .filter(failed_attempt::Column::EnvId.eq(env.raw()))
            .order_by_asc(failed_attempt::Column::FailedAt)
            .order_by_asc(failed_attempt::Column::Attempt)
            .all(self.reader())
            .await
            .map_err(Error::on("failed_attempts"))?;
        rows.into_iter()
            .map(|row| {
                let bad = |column| Error::BadRow {
                    table: "failed_attempts",
                    id: row.run_id.to_string(),
                    column,
                };
                Ok(FailedAttempt {
                    step: if row.step_id.is_empty() {
                        None
                    } else {
                        Some(StepId::parse(&row.step_id).map_err(|_| bad("step_id"))?)
                    },
                    attempt: u32::try_from(row.attempt).map_err(|_| bad("attempt"))?,
                    run: RunId::from_raw(ulid_of(row.run_id)),
                    class: row.class,
                    code: row.code,
                    error: json(row.error),
                    at: time(row.failed_at),
                    next_at: row.next_at.map(time),
                    response: response_of(row.response),
                })
            })
            .collect()
    }

    /// The wait for a signal.
    pub async fn find_signal_wait(&self, env: EnvId, signal: &str) -> Result<Option<Wait>, Error> {
        let row = wait::Entity::find()
            .filter(wait::Column::EnvId.eq(env.raw()))
            .filter(wait::Column::Signal.eq(signal))
            .one(self.reader())
            .await
            .map_err(Error::on("waits"))?;
        row.map(Wait::try_from).transpose()
    }

    /// Outstanding work of one run, soonest first.
    pub async fn work_of_run(&self, env: EnvId, id: RunId) -> Result<Vec<Work>, Error> {
        let rows = work::Entity::find()
            .filter(work::Column::RunId.eq(run_uuid(id)))
            .filter(work::Column::EnvId.eq(env.raw()))
            .order_by_asc(work::Column::DueAt)
            .all(self.reader())
            .await
            .map_err(Error::on("work"))?;
        rows.into_iter().map(Work::try_from).collect()
    }

    /// A run with all that is needed to go on with it; none when it has ended or never was.
    pub async fn load_run(&self, env: EnvId, id: RunId) -> Result<Option<LoadedRun>, Error> {
        let row = run::Entity::find_by_id(run_uuid(id))
            .filter(run::Column::EnvId.eq(env.raw()))
            .filter(run::Column::EndedAt.is_null())
            .one(self.reader())
            .await
            .map_err(Error::on("runs"))?;
        let Some(row) = row else { return Ok(None) };
        let ids = events_of(row.event_id, row.more_events.as_deref());
        let mut bodies: HashMap<EventId, Json> = self
            .find_events(env, &ids)
            .await?
            .into_iter()
            .map(|event| (event.id, event.body))
            .collect();
        let events = ids
            .into_iter()
            .filter_map(|id| bodies.remove(&id).map(|body| (id, body)))
            .collect();
        let mut rows = step::Entity::find()
            .filter(step::Column::RunId.eq(run_uuid(id)))
            .all(self.reader())
            .await
            .map_err(Error::on("steps"))?;
        rows.sort_by_key(|step| step.position.unwrap_or(i32::MAX));
        let mut stack = Vec::new();
        let mut steps = HashMap::new();
        for row in rows {
            let group = row.step_group.and_then(|group| u32::try_from(group).ok());
            let step = StepRecord::try_from(row)?;
            if step.position.is_some() {
                stack.push(step.step.clone());
            }
            let state = StepState {
                name: step.name,
                kind: step.kind,
                status: step.status,
                memo: step.memo,
                group,
            };
            steps.insert(step.step, state);
        }
        let work = self.work_of_run(env, id).await?;
        let outstanding: HashMap<WorkId, (JobKind, Option<StepId>)> = work
            .iter()
            .map(|work| (work.id, (work.kind, work.step.clone())))
            .collect();
        let bad = |column| Error::BadRow {
            table: "runs",
            id: row.id.to_string(),
            column,
        };
        let progress = Progress {
            org: OrgId::from_raw(row.org_id),
            env,
            app: AppId::from_raw(row.app_id),
            function: FunctionId::from_raw(row.function_id),
            run: id,
            revision: u64::try_from(row.revision).map_err(|_| bad("revision"))?,
            status: RunStatus::from_code(row.status).ok_or_else(|| bad("status"))?,
            started_at: row.started_at.map(time),
            request_version: i32::from(row.request_version),
            force_plan: row.force_plan,
            stack,
            steps,
            work: outstanding,
            event_name: row.event_name,
            queued_at: time(row.queued_at),
            events,
            rank: row.rank,
            correlation: row.correlation,
            rerun: rerun_of(row.id, row.rerun_step.as_deref(), row.rerun_input)?,
            // One that cannot be read is none: nothing is decided by it.
            trace: row.trace.and_then(|trace| trace.parse().ok()),
        };
        Ok(Some(LoadedRun { progress, work }))
    }
}

/// Chooses the steps of these runs.
fn steps_of(env: EnvId, runs: &[RunId]) -> Select<step::Entity> {
    step::Entity::find()
        .filter(step::Column::RunId.is_in(runs.iter().copied().map(run_uuid)))
        .filter(step::Column::EnvId.eq(env.raw()))
}

/// Ended ones in the order of the stack, then open ones in the order in which they were reported.
fn in_order(rows: Vec<step::Model>) -> Result<Vec<StepRecord>, Error> {
    let mut steps: Vec<StepRecord> = rows
        .into_iter()
        .map(StepRecord::try_from)
        .collect::<Result<_, _>>()?;
    steps.sort_by_key(|step| {
        (
            step.run,
            step.position.unwrap_or(u32::MAX),
            step.queued_at,
            step.step.clone(),
        )
    });
    Ok(steps)
}
