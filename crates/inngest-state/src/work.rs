//! Reads of the list of work, and handing work on.

use std::collections::HashMap;

use inngest_core::{
    ids::{EnvId, FunctionId, WorkId},
    job::Work,
    page::Count,
    time::Timestamp,
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, Statement, TransactionTrait, Value,
};
use tracing::error;
use uuid::Uuid;

use crate::{Error, Store, entity::work, lists::keyset::count, sql::select_in, write::get};

impl Store {
    /// One page of the work of all tenants that is due before `until`, in the order of due time, after `(due_at, id)`. For the schedule,
    /// which serves every tenant. A row that this version cannot read is left alone, and logged.
    pub async fn list_due_work(
        &self,
        after: Option<(Timestamp, WorkId)>,
        until: Timestamp,
        limit: u64,
    ) -> Result<Vec<Work>, Error> {
        let mut after = after.map(|(due_at, id)| (due_at.as_millis(), id.raw()));
        let mut page = Vec::new();
        loop {
            let wanted = limit - page.len() as u64;
            let rows = self.due_rows(after, until, wanted).await?;
            let is_last = (rows.len() as u64) < wanted;
            after = rows.last().map(|row| (row.due_at, row.id)).or(after);
            page.extend(rows.into_iter().filter_map(|row| {
                let id: Uuid = row.id;
                let unreadable =
                    |error| error!(job.id = %id, error = %error, "unreadable work left alone");
                Work::try_from(row).map_err(unreadable).ok()
            }));
            // A page that is short for unreadable rows only would look like the last one.
            if is_last || page.len() as u64 >= limit {
                return Ok(page);
            }
        }
    }

    async fn due_rows(
        &self,
        after: Option<(i64, Uuid)>,
        until: Timestamp,
        limit: u64,
    ) -> Result<Vec<work::Model>, Error> {
        let mut query = work::Entity::find().filter(work::Column::DueAt.lt(until.as_millis()));
        if let Some((due_at, id)) = after {
            let same = Condition::all()
                .add(work::Column::DueAt.eq(due_at))
                .add(work::Column::Id.gt(id));
            query = query.filter(
                Condition::any()
                    .add(work::Column::DueAt.gt(due_at))
                    .add(same),
            );
        }
        query
            .order_by_asc(work::Column::DueAt)
            .order_by_asc(work::Column::Id)
            .limit(limit)
            .all(self.reader())
            .await
            .map_err(Error::on("work"))
    }

    /// How many pieces of work of all tenants are due before `until`.
    pub async fn count_due_work(&self, until: Timestamp) -> Result<u64, Error> {
        work::Entity::find()
            .filter(work::Column::DueAt.lt(until.as_millis()))
            .count(self.reader())
            .await
            .map_err(Error::on("work"))
    }

    /// How many pieces of work the runs of a function have. No index serves it: only tests ask.
    pub async fn count_work_of_runs(
        &self,
        env: EnvId,
        function: FunctionId,
    ) -> Result<Count, Error> {
        let of_runs = work::Entity::find()
            .filter(work::Column::EnvId.eq(env.raw()))
            .filter(work::Column::FunctionId.eq(function.raw()))
            .filter(work::Column::RunId.is_not_null());
        count(self.reader(), "work", of_runs).await
    }

    /// When the first work at or after `from` is due.
    pub async fn next_due(&self, from: Timestamp) -> Result<Option<Timestamp>, Error> {
        let row = work::Entity::find()
            .filter(work::Column::DueAt.gte(from.as_millis()))
            .order_by_asc(work::Column::DueAt)
            .one(self.reader())
            .await
            .map_err(Error::on("work"))?;
        Ok(row.map(|row| Timestamp::from_millis(row.due_at)))
    }

    /// The epochs of these pieces of work, of all tenants; those that are done or given up are left out. For the schedule, whose
    /// entries may be older than the rows.
    pub async fn work_epochs(&self, ids: &[WorkId]) -> Result<HashMap<WorkId, i64>, Error> {
        let ids = ids.iter().map(|id| id.raw().into()).collect();
        let rows = select_in(
            self.reader(),
            "SELECT id, epoch FROM work WHERE id IN",
            ids,
            "",
        )
        .await
        .map_err(Error::on("work"))?;
        rows.iter()
            .map(|row| {
                Ok((
                    WorkId::from_raw(get(row, "work", "id")?),
                    get(row, "work", "epoch")?,
                ))
            })
            .collect()
    }

    /// The oldest transaction of the server that is still under way, and the first that has not begun: what was under way at one time
    /// has ended once a later first is at or beyond its second. Both 0 on SQLite, where no two write at the same time.
    pub async fn transactions_under_way(&self) -> Result<(u64, u64), Error> {
        if self.reader().get_database_backend() != DbBackend::Postgres {
            return Ok((0, 0));
        }
        let sql = "SELECT pg_snapshot_xmin(s)::text::bigint AS oldest, pg_snapshot_xmax(s)::text::bigint AS next \
                   FROM pg_current_snapshot() AS s";
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        let row = self.reader().query_one_raw(statement).await;
        let row = row.map_err(Error::on("(snapshot)"))?;
        let Some(row) = row else { return Ok((0, 0)) };
        let (oldest, next): (i64, i64) = (
            get(&row, "(snapshot)", "oldest")?,
            get(&row, "(snapshot)", "next")?,
        );
        Ok((oldest.unsigned_abs(), next.unsigned_abs()))
    }

    /// Hands work on: its epoch rises, so that whoever held it before changes nothing any more. `None` when it is gone or was handed on
    /// already.
    pub async fn raise_epoch(&self, id: WorkId, epoch: i64) -> Result<Option<i64>, Error> {
        let sql = "UPDATE work SET epoch = epoch + 1 WHERE id = $1 AND epoch = $2";
        let values: [Value; 2] = [id.raw().into(), epoch.into()];
        let statement =
            Statement::from_sql_and_values(self.writer().get_database_backend(), sql, values);
        let done = self
            .writer()
            .execute_raw(statement)
            .await
            .map_err(Error::on("work"))?;
        Ok((done.rows_affected() == 1).then_some(epoch + 1))
    }

    /// Deletes paths that no wait uses any more, at most `limit`; returns how many.
    ///
    /// On Postgres nobody stores a wait meanwhile: the lock lets those through that have noted their path, and holds up the others until
    /// they would find it gone. It is held for one statement, and not waited for longer than a second.
    pub async fn delete_unused_paths(&self, limit: u32) -> Result<u64, Error> {
        let on = || Error::on("wait_paths");
        let tx = self.writer().begin().await.map_err(on())?;
        if tx.get_database_backend() == DbBackend::Postgres {
            let lock =
                "SET LOCAL lock_timeout = '1s'; LOCK TABLE wait_paths IN SHARE ROW EXCLUSIVE MODE";
            tx.execute_unprepared(lock).await.map_err(on())?;
        }
        let sql = "DELETE FROM wait_paths WHERE (env_id, event_name, key_path) IN (SELECT env_id, event_name, key_path FROM wait_paths \
                   WHERE NOT EXISTS (SELECT 1 FROM waits WHERE waits.env_id = wait_paths.env_id \
                   AND waits.event_name = wait_paths.event_name AND waits.key_path = wait_paths.key_path) LIMIT $1)";
        let statement = Statement::from_sql_and_values(
            tx.get_database_backend(),
            sql,
            [Value::from(i64::from(limit))],
        );
        let done = tx.execute_raw(statement).await.map_err(on())?;
        tx.commit().await.map_err(on())?;
        Ok(done.rows_affected())
    }

    /// Deletes idempotency keys whose window is over, at most `limit`; returns how many. Uses `idempotency_by_expiry`.
    pub async fn delete_expired_keys(&self, now: Timestamp, limit: u32) -> Result<u64, Error> {
        let sql = "DELETE FROM idempotency WHERE (function_id, key_hash) IN \
                   (SELECT function_id, key_hash FROM idempotency WHERE expires_at <= $1 LIMIT $2)";
        let values: [Value; 2] = [now.as_millis().into(), i64::from(limit).into()];
        let statement =
            Statement::from_sql_and_values(self.writer().get_database_backend(), sql, values);
        let done = self
            .writer()
            .execute_raw(statement)
            .await
            .map_err(Error::on("idempotency"))?;
        Ok(done.rows_affected())
    }
}
