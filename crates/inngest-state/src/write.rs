//! One transaction for many commits: judge the conditions of each, then write the rows of those that hold, table by table.
//!
//! Conditions are read before anything is written, so a refused commit leaves no trace. On Postgres the rows that are judged are
//! locked, in the order of their ids; SQLite has one writer.

use std::collections::{HashMap, HashSet};

use inngest_core::{
    ids::{EnvId, EventId, FunctionId, RunId, WaitId, WorkId},
    job::Work,
    wait::{Wait, WaitKind},
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Value};
use uuid::Uuid;

use crate::{
    Error, Matcher,
    commit::{Commit, Committed, NewEvent, NewRun, Refused, StepChange},
    matching,
    rows::{
        WAIT_COLUMNS, WORK_COLUMNS, bytes, event_uuid, more_events, ms, optional_ms, run_uuid,
        ulid_of, wait_values, work_values,
    },
    sql::{execute_in, insert_rows, select_in, with_rows},
};

const KEEP_FIRST: &str = "ON CONFLICT DO NOTHING";

/// Writes the commits whose conditions hold and says of each what came of it.
///
/// # Errors
/// The database failed, and the transaction must be rolled back.
pub(crate) async fn write(
    tx: &DatabaseTransaction,
    matcher: &Matcher,
    commits: &[Commit],
) -> Result<Vec<Result<Committed, Refused>>, Error> {
    let mut verdicts = judge(tx, commits).await?;
    take_signals(tx, commits, &mut verdicts).await?;
    let holds = |index: usize| verdicts[index].is_none();
    let good: Vec<(usize, &Commit)> = commits
        .iter()
        .enumerate()
        .filter(|(index, _)| holds(*index))
        .collect();
    let mut outcomes: Vec<Committed> = commits.iter().map(|_| Committed::default()).collect();

    let fresh = store_events(tx, &good, &mut outcomes).await?;
    let started = choose_runs(tx, &good, &fresh, &mut outcomes).await?;
    change_runs(tx, &good).await?;
    drop_rows(tx, &good).await?;

    let resumed = matching::match_events(tx, matcher, &fresh).await?;
    for (index, work) in resumed {
        outcomes[index].work.push(work);
    }
    let waits: Vec<(usize, &Wait)> = good
        .iter()
        .flat_map(|(index, commit)| commit.waits.iter().map(|wait| (*index, wait)))
        .chain(
            started
                .iter()
                .flat_map(|(index, run)| run.waits.iter().map(|wait| (*index, wait))),
        )
        .collect();
    store_waits(tx, &waits).await?;
    for (index, work) in matching::look_back(tx, matcher, &waits).await? {
        outcomes[index].work.push(work);
    }
    store_runs(tx, &started).await?;
    store_steps(tx, &good).await?;
    store_failed_attempts(tx, &good).await?;

    for (index, commit) in &good {
        outcomes[*index].work.extend(commit.work.iter().cloned());
    }
    for (index, run) in &started {
        outcomes[*index].started.push(run.id);
        outcomes[*index].work.extend(run.work.iter().cloned());
    }
    let work: Vec<&Work> = good
        .iter()
        .flat_map(|(index, _)| outcomes[*index].work.iter())
        .collect();
    insert_rows(
        tx,
        WORK_COLUMNS,
        KEEP_FIRST,
        work.into_iter().map(work_values).collect(),
    )
    .await
    .map_err(Error::on("work"))?;

    Ok(outcomes
        .into_iter()
        .zip(verdicts)
        .map(|(outcome, refused)| match refused {
            None => Ok(outcome),
            Some(refused) => Err(refused),
        })
        .collect())
}

fn for_update(tx: &DatabaseTransaction) -> &'static str {
    match tx.get_database_backend() {
        DbBackend::Postgres => "ORDER BY id FOR UPDATE",
        _ => "",
    }
}

async fn judge(
    tx: &DatabaseTransaction,
    commits: &[Commit],
) -> Result<Vec<Option<Refused>>, Error> {
    let mut works: HashMap<WorkId, i64> = HashMap::new();
    let fences: Vec<Value> = commits
        .iter()
        .filter_map(|commit| commit.fence)
        .map(|fence| fence.id.raw().into())
        .collect();
    if !fences.is_empty() {
        let rows = select_in(
            tx,
            "SELECT id, epoch FROM work WHERE id IN",
            fences,
            for_update(tx),
        )
        .await
        .map_err(Error::on("work"))?;
        for row in rows {
            let (id, epoch): (Uuid, i64) = (get(&row, "work", "id")?, get(&row, "work", "epoch")?);
            works.insert(WorkId::from_raw(id), epoch);
        }
    }
    let mut revisions: HashMap<RunId, u64> = HashMap::new();
    let runs: Vec<Value> = commits
        .iter()
        .filter_map(|commit| commit.run.as_ref())
        .map(|run| run_uuid(run.id).into())
        .collect();
    if !runs.is_empty() {
        let before = "SELECT id, revision FROM runs WHERE ended_at IS NULL AND id IN";
        for row in select_in(tx, before, runs, for_update(tx))
            .await
            .map_err(Error::on("runs"))?
        {
            let (id, revision): (Uuid, i64) =
                (get(&row, "runs", "id")?, get(&row, "runs", "revision")?);
            revisions.insert(RunId::from_raw(ulid_of(id)), revision.unsigned_abs());
        }
    }
    let mut waits: HashSet<WaitId> = HashSet::new();
    let claims: Vec<Value> = commits
        .iter()
        .flat_map(|commit| &commit.claims)
        .map(|wait| wait.raw().into())
        .collect();
    if !claims.is_empty() {
        for row in select_in(
            tx,
            "SELECT id FROM waits WHERE id IN",
            claims,
            for_update(tx),
        )
        .await
        .map_err(Error::on("waits"))?
        {
            waits.insert(WaitId::from_raw(get(&row, "waits", "id")?));
        }
    }
    let mut versions: HashMap<EnvId, i64> = HashMap::new();
    let envs: HashSet<Uuid> = commits
        .iter()
        .filter_map(|commit| commit.functions_version)
        .map(|(env, _)| env.raw())
        .collect();
    if !envs.is_empty() {
        let envs = envs.into_iter().map(Value::from).collect();
        let before = "SELECT id, functions_version FROM environments WHERE id IN";
        for row in select_in(tx, before, envs, "")
            .await
            .map_err(Error::on("environments"))?
        {
            versions.insert(
                EnvId::from_raw(get(&row, "environments", "id")?),
                get(&row, "environments", "functions_version")?,
            );
        }
    }
    Ok(commits
        .iter()
        .map(|commit| {
            if commit
                .fence
                .is_some_and(|fence| works.get(&fence.id) != Some(&fence.epoch))
            {
                return Some(Refused::FenceLost);
            }
            if commit.claims.iter().any(|wait| !waits.contains(wait)) {
                return Some(Refused::WaitGone);
            }
            if commit
                .run
                .as_ref()
                .is_some_and(|run| revisions.get(&run.id) != Some(&run.expected))
            {
                return Some(Refused::RunChanged);
            }
            if commit
                .functions_version
                .is_some_and(|(env, version)| versions.get(&env) != Some(&version))
            {
                return Some(Refused::FunctionsChanged);
            }
            None
        })
        .collect())
}

fn get<T: sea_orm::TryGetable>(
    row: &sea_orm::QueryResult,
    table: &'static str,
    column: &'static str,
) -> Result<T, Error> {
    row.try_get("", column).map_err(Error::on(table))
}

/// A signal has one waiter: a second one is refused, unless it replaces the first, which then only waits for its time to run out.
async fn take_signals(
    tx: &DatabaseTransaction,
    commits: &[Commit],
    verdicts: &mut [Option<Refused>],
) -> Result<(), Error> {
    let mut taken: HashSet<(EnvId, &str)> = HashSet::new();
    for (index, commit) in commits.iter().enumerate() {
        let signals = commit
            .waits
            .iter()
            .filter(|wait| wait.kind == WaitKind::Signal);
        for wait in signals {
            let Some(signal) = wait.signal.as_deref() else {
                continue;
            };
            if verdicts[index].is_some() {
                continue;
            }
            // Within one transaction the first asker wins; the second is told to decide again, and then finds the row.
            if !taken.insert((wait.env, signal)) {
                verdicts[index] = Some(Refused::RunChanged);
                continue;
            }
            let params = [
                wait.env.raw().into(),
                signal.to_owned().into(),
                wait.id.raw().into(),
            ];
            if wait.replaces {
                let sql =
                    "UPDATE waits SET signal = NULL WHERE env_id = $1 AND signal = $2 AND id <> $3";
                let statement =
                    sea_orm::Statement::from_sql_and_values(tx.get_database_backend(), sql, params);
                tx.execute_raw(statement)
                    .await
                    .map_err(Error::on("waits"))?;
            } else {
                let sql = "SELECT id FROM waits WHERE env_id = $1 AND signal = $2 AND id <> $3";
                let statement =
                    sea_orm::Statement::from_sql_and_values(tx.get_database_backend(), sql, params);
                if tx
                    .query_one_raw(statement)
                    .await
                    .map_err(Error::on("waits"))?
                    .is_some()
                {
                    verdicts[index] = Some(Refused::SignalTaken);
                }
            }
        }
    }
    Ok(())
}

/// Stores the events that are not there yet and returns them, each with the number of its commit.
async fn store_events<'a>(
    tx: &DatabaseTransaction,
    good: &[(usize, &'a Commit)],
    outcomes: &mut [Committed],
) -> Result<Vec<(usize, &'a NewEvent)>, Error> {
    let all = || {
        good.iter()
            .flat_map(|(index, commit)| commit.events.iter().map(move |event| (*index, event)))
    };
    let doubtful: Vec<Value> = all()
        .filter(|(_, event)| event.may_exist)
        .map(|(_, event)| event_uuid(event.event.id).into())
        .collect();
    let mut known: HashSet<EventId> = HashSet::new();
    if !doubtful.is_empty() {
        for row in select_in(tx, "SELECT id FROM events WHERE id IN", doubtful, "")
            .await
            .map_err(Error::on("events"))?
        {
            known.insert(EventId::from_raw(ulid_of(get(&row, "events", "id")?)));
        }
    }
    let mut fresh = Vec::new();
    for (index, event) in all() {
        if known.insert(event.event.id) {
            fresh.push((index, event));
        } else {
            outcomes[index].known_events.push(event.event.id);
        }
    }
    let rows = fresh
        .iter()
        .map(|(_, new)| {
            let event = &new.event;
            vec![
                event_uuid(event.id).into(),
                new.org.raw().into(),
                new.env.raw().into(),
                event.name.clone().into(),
                event.key.clone().into(),
                event.is_internal().into(),
                ms(event.ts),
                ms(event.received_at),
                bytes(&event.body),
            ]
        })
        .collect();
    let head = "events (id, org_id, env_id, name, key, internal, ts, received_at, body)";
    insert_rows(tx, head, KEEP_FIRST, rows)
        .await
        .map_err(Error::on("events"))?;
    Ok(fresh)
}

/// The runs that really start: those of new events, and whose keys are free.
async fn choose_runs<'a>(
    tx: &DatabaseTransaction,
    good: &[(usize, &'a Commit)],
    fresh: &[(usize, &'a NewEvent)],
    outcomes: &mut [Committed],
) -> Result<Vec<(usize, &'a NewRun)>, Error> {
    let wanted: Vec<(usize, &NewRun)> = fresh
        .iter()
        .flat_map(|(index, event)| event.runs.iter().map(|run| (*index, run)))
        .chain(
            good.iter()
                .flat_map(|(index, commit)| commit.runs.iter().map(|run| (*index, run))),
        )
        .collect();
    let hashes: HashSet<Uuid> = wanted
        .iter()
        .flat_map(|(_, run)| run.keys.iter().map(|(hash, _)| *hash))
        .collect();
    if hashes.is_empty() {
        return Ok(wanted);
    }
    let mut holders: HashMap<(FunctionId, Uuid), RunId> = HashMap::new();
    let now = wanted
        .iter()
        .map(|(_, run)| run.queued_at)
        .max()
        .unwrap_or_default()
        .as_millis();
    let hashes = hashes.into_iter().map(Value::from).collect();
    let before =
        "SELECT function_id, key_hash, run_id, expires_at FROM idempotency WHERE key_hash IN";
    for row in select_in(tx, before, hashes, "")
        .await
        .map_err(Error::on("idempotency"))?
    {
        let expires_at: i64 = get(&row, "idempotency", "expires_at")?;
        if expires_at > now {
            let function = FunctionId::from_raw(get(&row, "idempotency", "function_id")?);
            let holder = RunId::from_raw(ulid_of(get(&row, "idempotency", "run_id")?));
            holders.insert((function, get(&row, "idempotency", "key_hash")?), holder);
        }
    }
    let mut started = Vec::new();
    let mut keys = Vec::new();
    for (index, run) in wanted {
        let holder = run
            .keys
            .iter()
            .find_map(|(hash, _)| holders.get(&(run.function, *hash)));
        if let Some(holder) = holder {
            outcomes[index].duplicates.push((run.id, *holder));
            outcomes[index].work.extend(run.otherwise.clone());
            continue;
        }
        for (hash, expires_at) in &run.keys {
            holders.insert((run.function, *hash), run.id);
            keys.push(vec![
                run.function.raw().into(),
                (*hash).into(),
                run_uuid(run.id).into(),
                ms(*expires_at),
            ]);
        }
        started.push((index, run));
    }
    let head = "idempotency (function_id, key_hash, run_id, expires_at)";
    let tail = "ON CONFLICT (function_id, key_hash) DO UPDATE SET run_id = excluded.run_id, expires_at = excluded.expires_at";
    insert_rows(tx, head, tail, keys)
        .await
        .map_err(Error::on("idempotency"))?;
    Ok(started)
}

async fn change_runs(tx: &DatabaseTransaction, good: &[(usize, &Commit)]) -> Result<(), Error> {
    let rows: Vec<Vec<Value>> = good
        .iter()
        .filter_map(|(_, commit)| commit.run.as_ref())
        .map(|run| {
            vec![
                run_uuid(run.id).into(),
                run.status.code().into(),
                i16::try_from(run.request_version).unwrap_or(-1).into(),
                run.force_plan.into(),
                optional_ms(run.started_at),
                optional_ms(run.ended.as_ref().map(|(at, _)| *at)),
                Value::from(
                    run.ended
                        .as_ref()
                        .map(|(_, output)| output.as_bytes().to_vec()),
                ),
            ]
        })
        .collect();
    let columns = "id, status, request_version, force_plan, started_at, ended_at, output";
    let body = "UPDATE runs SET revision = runs.revision + 1, status = v.status, request_version = v.request_version, \
                force_plan = v.force_plan, started_at = COALESCE(runs.started_at, v.started_at), ended_at = v.ended_at, \
                output = v.output FROM v WHERE runs.id = v.id";
    with_rows(tx, columns, body, rows)
        .await
        .map_err(Error::on("runs"))
}

/// Removes finished and given-up work and waits, and everything that belonged to runs that end.
async fn drop_rows(tx: &DatabaseTransaction, good: &[(usize, &Commit)]) -> Result<(), Error> {
    let ended: Vec<Value> = good
        .iter()
        .filter_map(|(_, commit)| commit.run.as_ref())
        .filter(|run| run.ended.is_some())
        .map(|run| run_uuid(run.id).into())
        .collect();
    let work: Vec<Value> = good
        .iter()
        .flat_map(|(_, commit)| {
            commit
                .fence
                .iter()
                .filter(|fence| fence.ends)
                .map(|fence| fence.id)
                .chain(commit.drop_work.iter().copied())
        })
        .map(|id| id.raw().into())
        .collect();
    let waits: Vec<Value> = good
        .iter()
        .flat_map(|(_, commit)| commit.claims.iter().chain(&commit.drop_waits))
        .map(|id| id.raw().into())
        .collect();
    execute_in(tx, "DELETE FROM work WHERE id IN", work, "")
        .await
        .map_err(Error::on("work"))?;
    execute_in(tx, "DELETE FROM work WHERE run_id IN", ended.clone(), "")
        .await
        .map_err(Error::on("work"))?;
    execute_in(tx, "DELETE FROM waits WHERE id IN", waits, "")
        .await
        .map_err(Error::on("waits"))?;
    execute_in(tx, "DELETE FROM waits WHERE run_id IN", ended, "")
        .await
        .map_err(Error::on("waits"))
}

async fn store_waits(tx: &DatabaseTransaction, waits: &[(usize, &Wait)]) -> Result<(), Error> {
    if waits.is_empty() {
        return Ok(());
    }
    let rows = waits.iter().map(|(_, wait)| wait_values(wait)).collect();
    insert_rows(tx, WAIT_COLUMNS, KEEP_FIRST, rows)
        .await
        .map_err(Error::on("waits"))?;
    let paths: HashSet<(Uuid, &str, &str)> = waits
        .iter()
        .filter_map(|(_, wait)| {
            wait.event_name
                .as_deref()
                .map(|name| (wait.env.raw(), name, wait.key_path.as_str()))
        })
        .collect();
    let rows = paths
        .into_iter()
        .map(|(env, name, path)| vec![env.into(), name.to_owned().into(), path.to_owned().into()])
        .collect();
    insert_rows(
        tx,
        "wait_paths (env_id, event_name, key_path)",
        KEEP_FIRST,
        rows,
    )
    .await
    .map_err(Error::on("wait_paths"))
}

async fn store_runs(tx: &DatabaseTransaction, started: &[(usize, &NewRun)]) -> Result<(), Error> {
    let rows = started
        .iter()
        .map(|(_, run)| {
            let first = run
                .events
                .first()
                .copied()
                .map(event_uuid)
                .unwrap_or_default();
            vec![
                run_uuid(run.id).into(),
                run.org.raw().into(),
                run.env.raw().into(),
                run.app.raw().into(),
                run.function.raw().into(),
                i32::try_from(run.function_version)
                    .unwrap_or(i32::MAX)
                    .into(),
                run.status.code().into(),
                run.skip_reason.map(|reason| reason.code()).into(),
                first.into(),
                run.event_name.clone().into(),
                more_events(&run.events).into(),
                run.cron.clone().into(),
                run.original.map(run_uuid).into(),
                run.correlation.clone().into(),
                run.rank.into(),
                1i64.into(),
                (-1i16).into(),
                false.into(),
                ms(run.queued_at),
                Value::from(run.status.is_ended().then_some(run.queued_at.as_millis())),
            ]
        })
        .collect();
    let head = "runs (id, org_id, env_id, app_id, function_id, function_version, status, skip_reason, event_id, event_name, more_events, \
                cron, original_id, correlation, rank, revision, request_version, force_plan, queued_at, ended_at)";
    insert_rows(tx, head, "", rows)
        .await
        .map_err(Error::on("runs"))
}

async fn store_steps(tx: &DatabaseTransaction, good: &[(usize, &Commit)]) -> Result<(), Error> {
    let values = |step: &StepChange| {
        vec![
            run_uuid(step.run).into(),
            step.step.as_str().to_owned().into(),
            step.org.raw().into(),
            step.env.raw().into(),
            step.name.clone().into(),
            step.kind.code().into(),
            step.status.code().into(),
            step.group.map(i64::from).into(),
            step.position
                .map(|position| i32::try_from(position).unwrap_or(i32::MAX))
                .into(),
            Value::from(step.memo.as_ref().map(|memo| memo.as_bytes().to_vec())),
            ms(step.queued_at),
            optional_ms(step.started_at),
            optional_ms(step.ended_at),
        ]
    };
    let rows = good
        .iter()
        .flat_map(|(_, commit)| &commit.steps)
        .map(values)
        .collect();
    let head = "steps (run_id, step_id, org_id, env_id, name, kind, status, step_group, position, memo, queued_at, started_at, ended_at)";
    let tail = "ON CONFLICT (run_id, step_id) DO UPDATE SET status = excluded.status, position = excluded.position, memo = excluded.memo, \
                started_at = COALESCE(steps.started_at, excluded.started_at), ended_at = excluded.ended_at WHERE steps.position IS NULL";
    insert_rows(tx, head, tail, rows)
        .await
        .map_err(Error::on("steps"))
}

async fn store_failed_attempts(
    tx: &DatabaseTransaction,
    good: &[(usize, &Commit)],
) -> Result<(), Error> {
    let rows = good
        .iter()
        .flat_map(|(_, commit)| &commit.failed_attempts)
        .map(|failed| {
            vec![
                run_uuid(failed.run).into(),
                failed
                    .step
                    .as_ref()
                    .map_or_else(String::new, |step| step.as_str().to_owned())
                    .into(),
                i32::try_from(failed.attempt).unwrap_or(i32::MAX).into(),
                ms(failed.at),
                failed.org.raw().into(),
                failed.env.raw().into(),
                failed.class.clone().into(),
                failed.code.clone().into(),
                bytes(&failed.error),
                optional_ms(failed.next_at),
            ]
        })
        .collect();
    let head = "failed_attempts (run_id, step_id, attempt, failed_at, org_id, env_id, class, code, error, next_at)";
    insert_rows(tx, head, KEEP_FIRST, rows)
        .await
        .map_err(Error::on("failed_attempts"))
}
