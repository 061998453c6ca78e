//! One transaction for many commits: judge the conditions of each, then write the rows of those that hold, table by table.
//!
//! Conditions are read before anything is written, so a refused commit leaves no trace. SQLite has one writer. On Postgres others
//! write at the same time: the rows that are judged are locked, runs before work before waits and in the order of their ids, so that
//! transactions do not wait for each other in a circle; rows that two may insert are inserted in order, and whoever comes second
//! learns of it from what the statement returns. What cannot be told from that ends in `Error::Raced`, and the whole transaction is tried
//! again.

use std::collections::{HashMap, HashSet};

use inngest_core::{
    ids::{EnvId, FunctionId, RunId, WaitId, WorkId},
    job::Work,
    wait::Wait,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Value};
use uuid::Uuid;

use crate::{
    Error, Matcher, bulk,
    change_log::Changes,
    commit::{Commit, Committed, NewEvent, Refused},
    matching, pauses, requests,
    rollup::{Figures, RunBefore},
    rows::{WORK_COLUMNS, run_uuid, time, ulid_of, work_values},
    signals,
    sql::{insert_rows, select_in},
    starts,
    write_rows::{
        change_runs, drop_rows, store_edited_events, store_events, store_failed_attempts,
        store_runs, store_steps, store_waits,
    },
};

/// Of two who insert the same row the first one's stays.
pub(crate) const KEEP_FIRST: &str = "ON CONFLICT DO NOTHING";

/// Writes the commits whose conditions hold and says of each what came of it.
///
/// # Errors
/// The database failed, and the transaction must be rolled back.
pub(crate) async fn write(
    tx: &DatabaseTransaction,
    matcher: &Matcher,
    commits: &[Commit],
) -> Result<Vec<Result<Committed, Refused>>, Error> {
    let Judged {
        mut verdicts,
        before,
    } = judge(tx, commits).await?;
    bulk::judge_steps(tx, commits, &mut verdicts).await?;
    signals::take_signals(tx, commits, &mut verdicts).await?;
    requests::take_requests(tx, commits, &mut verdicts).await?;
    let holds = |index: usize| verdicts[index].is_none();
    let good: Vec<(usize, &Commit)> = commits
        .iter()
        .enumerate()
        .filter(|(index, _)| holds(*index))
        .collect();
    let mut outcomes: Vec<Committed> = commits.iter().map(|_| Committed::default()).collect();

    let fresh = store_events(tx, &good, &mut outcomes).await?;
    store_edited_events(tx, &good).await?;
    let started = starts::choose_runs(tx, &good, &fresh, &mut outcomes).await?;
    change_runs(tx, &good).await?;
    drop_rows(tx, &good, &mut outcomes).await?;
    pauses::hold_work(tx, &good).await?;
    bulk::store_bulk(tx, &good).await?;

    // What others in this transaction bring for a run that ends in it came just before its end, and goes with it.
    let ended: HashSet<RunId> = good
        .iter()
        .filter_map(|(_, commit)| commit.run.as_ref())
        .filter(|run| run.ended.is_some())
        .map(|run| run.id)
        .collect();
    let again = good
        .iter()
        .flat_map(|(index, commit)| commit.match_again.iter().map(|event| (*index, event)));
    let matched: Vec<(usize, &NewEvent)> = fresh.iter().copied().chain(again).collect();
    let resumed = matching::match_events(tx, matcher, &matched, fresh.len()).await?;
    for (index, work) in resumed {
        crate::fail_point!("op::wait_matched");
        outcomes[index].work.push(work);
    }
    for (index, work) in matching::look_again(tx, matcher, &good).await? {
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
        .filter(|(_, wait)| !ended.contains(&wait.run))
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
        if !run.status.is_ended() {
            outcomes[*index].started.push(run.id);
        }
        outcomes[*index].work.extend(run.work.iter().cloned());
    }
    for outcome in &mut outcomes {
        let has_ended = |work: &Work| work.run.is_some_and(|run| ended.contains(&run));
        outcome.work.retain(|work| !has_ended(work));
    }
    let mut work: Vec<&Work> = good
        .iter()
        .flat_map(|(index, _)| outcomes[*index].work.iter())
        .collect();
    work.sort_unstable_by_key(|work| work.id);
    insert_rows(
        tx,
        WORK_COLUMNS,
        KEEP_FIRST,
        work.into_iter().map(work_values).collect(),
    )
    .await
    .map_err(Error::on("work"))?;

    let (mut changes, mut figures) = (Changes::default(), Figures::default());
    for (_, event) in &fresh {
        changes.note_event(event);
        figures.note_event(event);
    }
    for (_, run) in &started {
        changes.note_run(run);
        figures.note_run(run);
    }
    for (_, commit) in &good {
        let run = commit.run.as_ref().and_then(|run| before.get(&run.id));
        changes.note_commit(commit, run.map(|run| run.function));
        figures.note_commit(commit, run);
    }
    changes.store(tx, &figures).await?;

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

/// What the conditions of commits come to.
struct Judged {
    /// Why each is refused; none for those that hold.
    verdicts: Vec<Option<Refused>>,
    /// What the runs that they change have been so far.
    before: HashMap<RunId, RunBefore>,
}

async fn judge(tx: &DatabaseTransaction, commits: &[Commit]) -> Result<Judged, Error> {
    let mut befores: HashMap<RunId, RunBefore> = HashMap::new();
    let mut revisions: HashMap<RunId, u64> = HashMap::new();
    let runs: Vec<Value> = commits
        .iter()
        .filter_map(|commit| commit.run.as_ref())
        .map(|run| run_uuid(run.id).into())
        .collect();
    if !runs.is_empty() {
        let before = "SELECT id, revision, function_id, queued_at, started_at FROM runs WHERE ended_at IS NULL AND id IN";
        for row in select_in(tx, before, runs, for_update(tx))
            .await
            .map_err(Error::on("runs"))?
        {
            let (id, revision): (Uuid, i64) =
                (get(&row, "runs", "id")?, get(&row, "runs", "revision")?);
            let id = RunId::from_raw(ulid_of(id));
            revisions.insert(id, revision.unsigned_abs());
            let started_at: Option<i64> = get(&row, "runs", "started_at")?;
            let before = RunBefore {
                function: FunctionId::from_raw(get(&row, "runs", "function_id")?),
                queued_at: time(get(&row, "runs", "queued_at")?),
                started_at: started_at.map(time),
            };
            befores.insert(id, before);
        }
    }
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
        // Whoever ends a pause raises the version, and waits here for those that hold work back under it: then it finds all of it.
        let holds = commits.iter().any(|commit| commit.hold);
        let after = match tx.get_database_backend() {
            DbBackend::Postgres if holds => "ORDER BY id FOR SHARE",
            _ => "",
        };
        for row in select_in(tx, before, envs, after)
            .await
            .map_err(Error::on("environments"))?
        {
            versions.insert(
                EnvId::from_raw(get(&row, "environments", "id")?),
                get(&row, "environments", "functions_version")?,
            );
        }
    }
    let verdicts = commits
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
        .collect();
    Ok(Judged {
        verdicts,
        before: befores,
    })
}

pub(crate) fn get<T: sea_orm::TryGetable>(
    row: &sea_orm::QueryResult,
    table: &'static str,
    column: &'static str,
) -> Result<T, Error> {
    row.try_get("", column).map_err(Error::on(table))
}
