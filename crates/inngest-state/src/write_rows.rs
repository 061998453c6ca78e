//! The rows of one transaction, table by table, in multi-row statements; `write` has judged which of them are to be written.

use std::collections::{BTreeSet, HashMap, HashSet};

use inngest_core::{
    access::Author,
    event::{Door, Event},
    ids::{EventId, RunId, StepId, WaitId, WorkId},
    wait::Wait,
};
use sea_orm::{DatabaseTransaction, Value};
use uuid::Uuid;

use crate::{
    Error,
    commit::{Commit, Committed, NewEvent, NewRun, StepChange},
    details, matching,
    rows::{
        EVENT_COLUMNS, WAIT_COLUMNS, bytes, event_uuid, more_events, ms, optional_ms,
        response_value, run_uuid, ulid_of, uuid_of, wait_values,
    },
    signals,
    sql::{execute_in, insert_returning, insert_rows, select_in, with_rows},
    write::{KEEP_FIRST, get},
};

/// Stores the events that are not there yet and returns them, in the order given, each with the number of its commit.
pub(crate) async fn store_events<'a>(
    tx: &DatabaseTransaction,
    good: &[(usize, &'a Commit)],
    outcomes: &mut [Committed],
) -> Result<Vec<(usize, &'a NewEvent)>, Error> {
    let mut seen: HashSet<EventId> = HashSet::new();
    let mut offered: Vec<(usize, &NewEvent)> = Vec::new();
    for (index, commit) in good {
        for event in &commit.events {
            if seen.insert(event.event.id) {
                offered.push((*index, event));
            } else {
                outcomes[*index].known_events.push(event.event.id);
            }
        }
    }
    // Others may be storing the same events: which of them are new is what the statement says. Those that only we can have made go
    // without an answer, which saves its bytes.
    let (doubtful, certain): (Vec<_>, Vec<_>) =
        offered.iter().partition(|(_, event)| event.may_exist);
    let head = format!("events ({EVENT_COLUMNS})");
    insert_rows(tx, &head, KEEP_FIRST, event_rows(certain))
        .await
        .map_err(Error::on("events"))?;
    let tail = "ON CONFLICT DO NOTHING RETURNING id";
    let mut added: HashSet<EventId> = HashSet::new();
    for row in insert_returning(tx, &head, tail, event_rows(doubtful))
        .await
        .map_err(Error::on("events"))?
    {
        added.insert(EventId::from_raw(ulid_of(get(&row, "events", "id")?)));
    }
    offered.retain(|(index, event)| {
        let is_new = !event.may_exist || added.contains(&event.event.id);
        if !is_new {
            outcomes[*index].known_events.push(event.event.id);
        }
        is_new
    });
    Ok(offered)
}

/// Stores the events that nothing but the runs of their commit is to see.
pub(crate) async fn store_edited_events(
    tx: &DatabaseTransaction,
    good: &[(usize, &Commit)],
) -> Result<(), Error> {
    let edited = good
        .iter()
        .flat_map(|(index, commit)| commit.edited_events.iter().map(|event| (*index, event)));
    let head = format!("events ({EVENT_COLUMNS})");
    insert_rows(tx, &head, KEEP_FIRST, event_rows(edited.collect()))
        .await
        .map_err(Error::on("events"))
}

fn sent_by(event: &Event) -> Option<String> {
    let author = event.door.as_ref().and_then(Door::author);
    author.map(Author::to_text)
}

/// In the order of their ids, in which every transaction inserts.
fn event_rows(mut events: Vec<(usize, &NewEvent)>) -> Vec<Vec<Value>> {
    events.sort_unstable_by_key(|(_, new)| new.event.id);
    let row = |(_, new): (usize, &NewEvent)| {
        let event = &new.event;
        vec![
            event_uuid(event.id).into(),
            new.org.raw().into(),
            new.env.raw().into(),
            event.name.clone().into(),
            event.key.clone().into(),
            event.is_internal().into(),
            matching::is_late(event).into(),
            ms(event.ts),
            ms(event.received_at),
            bytes(&event.body),
            event.door.as_ref().map(Door::code).into(),
            sent_by(event).into(),
        ]
    };
    events.into_iter().map(row).collect()
}

pub(crate) async fn change_runs(
    tx: &DatabaseTransaction,
    good: &[(usize, &Commit)],
) -> Result<(), Error> {
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
                run.cancelled_by.as_ref().map(Author::to_text).into(),
            ]
        })
        .collect();
    let columns =
        "id, status, request_version, force_plan, started_at, ended_at, output, cancelled_by";
    let body = "UPDATE runs SET revision = runs.revision + 1, status = v.status, request_version = v.request_version, \
                force_plan = v.force_plan, started_at = COALESCE(runs.started_at, v.started_at), ended_at = v.ended_at, \
                output = v.output, cancelled_by = v.cancelled_by FROM v WHERE runs.id = v.id";
    with_rows(tx, columns, body, rows)
        .await
        .map_err(Error::on("runs"))
}

/// Removes finished and given-up work and waits, and everything that belonged to runs that end.
///
/// Waits go before work: an event that uses up a wait in another transaction puts work in its place, and is waited for here.
pub(crate) async fn drop_rows(
    tx: &DatabaseTransaction,
    good: &[(usize, &Commit)],
    outcomes: &mut [Committed],
) -> Result<(), Error> {
    let ended: HashMap<RunId, usize> = good
        .iter()
        .filter_map(|(index, commit)| Some((*index, commit.run.as_ref()?)))
        .filter(|(_, run)| run.ended.is_some())
        .map(|(index, run)| (run.id, index))
        .collect();
    let ended_ids: Vec<Value> = ended.keys().map(|run| run_uuid(*run).into()).collect();
    let mut waits: Vec<WaitId> = good
        .iter()
        .flat_map(|(_, commit)| commit.claims.iter().chain(&commit.drop_waits))
        .copied()
        .collect();
    waits.sort_unstable();
    let waits = waits.into_iter().map(|id| id.raw().into()).collect();
    let mut work: Vec<WorkId> = good
        .iter()
        .flat_map(|(_, commit)| {
            commit
                .fence
                .iter()
                .filter(|fence| fence.ends)
                .map(|fence| fence.id)
                .chain(commit.drop_work.iter().copied())
        })
        .collect();
    work.sort_unstable();
    let work = work.into_iter().map(|id| id.raw().into()).collect();
    execute_in(tx, "DELETE FROM waits WHERE id IN", waits, "")
        .await
        .map_err(Error::on("waits"))?;
    execute_in(
        tx,
        "DELETE FROM waits WHERE run_id IN",
        ended_ids.clone(),
        "",
    )
    .await
    .map_err(Error::on("waits"))?;
    execute_in(tx, "DELETE FROM work WHERE id IN", work, "")
        .await
        .map_err(Error::on("work"))?;
    let before = "DELETE FROM work WHERE run_id IN";
    for row in select_in(tx, before, ended_ids, "RETURNING id, run_id")
        .await
        .map_err(Error::on("work"))?
    {
        let run = RunId::from_raw(ulid_of(get(&row, "work", "run_id")?));
        if let Some(&index) = ended.get(&run) {
            let id = WorkId::from_raw(get(&row, "work", "id")?);
            outcomes[index].removed.push(id);
        }
    }
    Ok(())
}

pub(crate) async fn store_waits(
    tx: &DatabaseTransaction,
    waits: &[(usize, &Wait)],
) -> Result<(), Error> {
    if waits.is_empty() {
        return Ok(());
    }
    let mut sorted: Vec<&Wait> = waits.iter().map(|(_, wait)| *wait).collect();
    sorted.sort_unstable_by_key(|wait| wait.id);
    let (for_signals, others): (Vec<&Wait>, Vec<&Wait>) =
        sorted.into_iter().partition(|wait| wait.signal.is_some());
    let rows = others.into_iter().map(wait_values).collect();
    insert_rows(tx, WAIT_COLUMNS, KEEP_FIRST, rows)
        .await
        .map_err(Error::on("waits"))?;
    signals::store_signal_waits(tx, &for_signals).await?;
    // In order, in which every transaction inserts.
    let paths: BTreeSet<(Uuid, &str, &str)> = waits
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

pub(crate) async fn store_runs(
    tx: &DatabaseTransaction,
    started: &[(usize, &NewRun)],
) -> Result<(), Error> {
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
                run.rerun
                    .as_ref()
                    .map(|rerun| rerun.step.as_str().to_owned())
                    .into(),
                Value::from(
                    run.rerun
                        .as_ref()
                        .and_then(|rerun| rerun.input.as_ref())
                        .map(|input| input.as_bytes().to_vec()),
                ),
                run.trace.map(|trace| trace.to_string()).into(),
                run.replay.map(|id| uuid_of(id.raw())).into(),
                run.started_by.as_ref().map(Author::to_text).into(),
                run.idempotency_key.clone().into(),
            ]
        })
        .collect();
    let head = "runs (id, org_id, env_id, app_id, function_id, function_version, status, skip_reason, event_id, event_name, more_events, \
                cron, original_id, correlation, rank, revision, request_version, force_plan, queued_at, ended_at, rerun_step, rerun_input, trace, \
                replay_id, started_by, idempotency_key)";
    insert_rows(tx, head, "", rows)
        .await
        .map_err(Error::on("runs"))
}

pub(crate) async fn store_steps(
    tx: &DatabaseTransaction,
    good: &[(usize, &Commit)],
) -> Result<(), Error> {
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
            Value::from(details::to_bytes(step.details.as_ref(), &step.told)),
            step.ended_by.map(event_uuid).into(),
            response_value(step.response.as_ref()),
        ]
    };
    // A statement may not write a row twice: the second change of a step goes into a second statement.
    let mut rounds: Vec<Vec<Vec<Value>>> = Vec::new();
    let mut seen: HashMap<(RunId, &StepId), usize> = HashMap::new();
    for step in good.iter().flat_map(|(_, commit)| &commit.steps) {
        let round = seen.entry((step.run, &step.step)).or_default();
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push(values(step));
        *round += 1;
    }
    let head = "steps (run_id, step_id, org_id, env_id, name, kind, status, step_group, position, memo, queued_at, started_at, ended_at, \
                details, event_id, response)";
    let tail = "ON CONFLICT (run_id, step_id) DO UPDATE SET status = excluded.status, position = excluded.position, memo = excluded.memo, \
                started_at = COALESCE(steps.started_at, excluded.started_at), ended_at = excluded.ended_at, \
                event_id = excluded.event_id, response = excluded.response WHERE steps.position IS NULL";
    for rows in rounds {
        insert_rows(tx, head, tail, rows)
            .await
            .map_err(Error::on("steps"))?;
    }
    Ok(())
}

pub(crate) async fn store_failed_attempts(
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
                response_value(failed.response.as_ref()),
            ]
        })
        .collect();
    let head = "failed_attempts (run_id, step_id, attempt, failed_at, org_id, env_id, class, code, error, next_at, response)";
    insert_rows(tx, head, KEEP_FIRST, rows)
        .await
        .map_err(Error::on("failed_attempts"))
}
