//! Pauses of functions, and the work that they hold back.

use std::time::Duration;

use inngest_core::{
    access::Author,
    ids::{EnvId, FunctionId, WorkId},
    job::{HELD_MS, Work},
    pause::{Pause, PauseInFlight, PauseNewEvents},
    time::Clock,
};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, Statement, TransactionTrait,
    Value,
};

use crate::{
    Error, Store,
    bulk::{self, NewBulk},
    change_log::Changes,
    commit::Commit,
    entity::{function, work},
    rollup::Figures,
    rows::{WORK_COLUMNS, bad, ms, names_in, optional_ms, time, work_values},
    sql::{execute_in, insert_rows},
};

/// How much later than its scheduling the id of a run can say, at most.
const ID_AHEAD: Duration = Duration::from_millis(2);

/// A change of how a function is paused. All of it is written, or nothing.
#[derive(Clone, Debug)]
pub struct PauseChange {
    /// The environment.
    pub env: EnvId,
    /// The function.
    pub function: FunctionId,
    /// How it is paused from now on; none when it is resumed.
    pub pause: Option<Pause>,
    /// Only if it is paused like this now.
    pub only_if: Option<Pause>,
    /// The runs that it cancels.
    pub bulk: Option<NewBulk>,
    /// What follows later.
    pub work: Vec<Work>,
}

/// How the function of this row is paused.
pub(crate) fn of_row(row: &function::Model) -> Result<Option<Pause>, Error> {
    let Some(at) = row.paused_at else {
        return Ok(None);
    };
    let unreadable = |column| bad("functions", row.id, column);
    let by = row.paused_by.as_deref().and_then(Author::from_text);
    let in_flight = row.pause_in_flight.and_then(PauseInFlight::from_code);
    let new_events = row.pause_new_events.and_then(PauseNewEvents::from_code);
    Ok(Some(Pause {
        at: time(at),
        by: by.ok_or_else(|| unreadable("paused_by"))?,
        reason: row.pause_reason.clone(),
        in_flight: in_flight.ok_or_else(|| unreadable("pause_in_flight"))?,
        new_events: new_events.ok_or_else(|| unreadable("pause_new_events"))?,
        resumes_at: row.resumes_at.map(time),
    }))
}

impl Store {
    /// Pauses a function, changes its pause, or ends it. The version of the environment's functions rises, so that whatever was routed
    /// or held back under the older one is refused from now on. `false` when there is no such function, or it is not paused like that
    /// any more. The runs that it cancels are those that were stored before that: until then its window is open.
    pub async fn save_pause(&self, change: &PauseChange, clock: &Clock) -> Result<bool, Error> {
        let tx = self.writer().begin().await.map_err(Error::on("(begin)"))?;
        // First, because it waits for those that are holding work back.
        let sql = "UPDATE environments SET functions_version = functions_version + 1 WHERE id = $1";
        execute(&tx, "environments", sql, vec![change.env.raw().into()]).await?;
        if set(&tx, change).await? == 0 {
            tx.rollback().await.map_err(Error::on("(rollback)"))?;
            return Ok(false);
        }
        if let Some(mut new) = change.bulk.clone() {
            // Whoever stored runs under the version before is done.
            let window = &mut new.operation.selection;
            window.until = window.until.max(clock.now().plus(ID_AHEAD));
            bulk::begin(&tx, &new).await?;
        }
        let rows = change.work.iter().map(work_values).collect();
        insert_rows(&tx, WORK_COLUMNS, "ON CONFLICT DO NOTHING", rows)
            .await
            .map_err(Error::on("work"))?;
        let mut changes = Changes::default();
        changes.note_function(change.env, change.function, false);
        changes.store(&tx, &Figures::default()).await?;
        tx.commit().await.map_err(Error::on("(commit)"))?;
        Ok(true)
    }

    /// Gives free up to `limit` pieces of held work of a function, in the order of their ids after `after`, and returns them as they are
    /// now: due when they were, under a higher epoch. Uses `work_held`.
    pub async fn release_work(
        &self,
        env: EnvId,
        function: FunctionId,
        after: Option<WorkId>,
        limit: u64,
    ) -> Result<Vec<Work>, Error> {
        let conn = self.writer();
        let lock = match conn.get_database_backend() {
            DbBackend::Postgres => "FOR UPDATE",
            _ => "",
        };
        // The bound is said in the text, so that the index over it serves.
        let sql = format!(
            "UPDATE work SET due_at = due_at - {HELD_MS}, epoch = epoch + 1 WHERE id IN (SELECT id FROM work \
             WHERE function_id = $1 AND due_at >= {HELD_MS} AND id > $2 AND env_id = $3 ORDER BY id LIMIT $4 {lock}) RETURNING {}",
            names_in(WORK_COLUMNS)
        );
        let values: [Value; 4] = [
            function.raw().into(),
            after.map(WorkId::raw).unwrap_or_default().into(),
            env.raw().into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
        ];
        let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
        let rows = work::Entity::find().from_raw_sql(statement).all(conn).await;
        let rows = rows.map_err(Error::on("work"))?;
        let mut released: Vec<Work> = rows
            .into_iter()
            .map(Work::try_from)
            .collect::<Result<_, _>>()?;
        released.sort_unstable_by_key(|work| work.id);
        Ok(released)
    }
}

/// Holds back the work of commits that say so. Its rows are there and locked; those of runs that have ended in this transaction are gone.
pub(crate) async fn hold_work(
    tx: &DatabaseTransaction,
    good: &[(usize, &Commit)],
) -> Result<(), Error> {
    let mut held: Vec<WorkId> = good
        .iter()
        .filter(|(_, commit)| commit.hold)
        .filter_map(|(_, commit)| commit.fence.map(|fence| fence.id))
        .collect();
    held.sort_unstable();
    let held = held.into_iter().map(|id| id.raw().into()).collect();
    let before =
        format!("UPDATE work SET due_at = due_at + {HELD_MS}, epoch = epoch + 1 WHERE id IN");
    let after = format!("AND due_at < {HELD_MS}");
    execute_in(tx, &before, held, &after)
        .await
        .map_err(Error::on("work"))
        .map(drop)
}

async fn set(tx: &DatabaseTransaction, change: &PauseChange) -> Result<u64, Error> {
    let pause = change.pause.as_ref();
    let mut sql = "UPDATE functions SET paused_at = $1, paused_by = $2, pause_reason = $3, pause_in_flight = $4, \
                   pause_new_events = $5, resumes_at = $6 WHERE id = $7 AND env_id = $8"
        .to_owned();
    let mut values: Vec<Value> = vec![
        optional_ms(pause.map(|pause| pause.at)),
        pause.map(|pause| pause.by.to_text()).into(),
        pause.and_then(|pause| pause.reason.clone()).into(),
        pause.map(|pause| pause.in_flight.code()).into(),
        pause.map(|pause| pause.new_events.code()).into(),
        optional_ms(pause.and_then(|pause| pause.resumes_at)),
        change.function.raw().into(),
        change.env.raw().into(),
    ];
    if let Some(now) = &change.only_if {
        sql.push_str(" AND paused_at = $9");
        values.push(ms(now.at));
        if let Some(at) = now.resumes_at {
            sql.push_str(" AND resumes_at = $10");
            values.push(ms(at));
        }
    }
    execute(tx, "functions", &sql, values).await
}

async fn execute(
    tx: &DatabaseTransaction,
    table: &'static str,
    sql: &str,
    values: Vec<Value>,
) -> Result<u64, Error> {
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    let done = tx.execute_raw(statement).await;
    Ok(done.map_err(Error::on(table))?.rows_affected())
}
