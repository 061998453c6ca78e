//! What is too old goes: runs that ended long ago with their steps and failed attempts, and the events that no run refers to any more.
//!
//! A pass drops partitions in which every row is to go, and deletes by batches what is left over: on Postgres the rows of weeks in which
//! something else had to stay for a week longer, on SQLite everything. It looks at events before runs, so an event goes one pass after
//! the last run that it started, and a run that is started again from an old one meanwhile still finds its event.

use std::{collections::HashSet, time::Duration};

use inngest_core::{ids::EnvId, time::Timestamp};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, QueryOrder, Statement,
    TransactionTrait, Value,
};
use tracing::info;
use uuid::Uuid;

use crate::{
    Error, Store,
    entity::environment,
    partitions::{
        EVENTS, FAILED_ATTEMPTS, Partition, RUNS, STEPS, WEEK, partitions, take_short_locks,
        week_floor,
    },
    rows::{event_uuid, events_of, first_id},
    sql::{execute_in, select_in},
    write::get,
};

/// Rows of one batch.
const BATCH: u64 = 1_000;
/// How often a partition is tried that was in use for too long.
const TRIES: u32 = 5;
/// Length of a day.
const DAY: Duration = Duration::from_secs(86_400);

/// How long an environment keeps what has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// The environment.
    pub env: EnvId,
    /// What people call it.
    pub slug: String,
    /// What ended or came before this is to go; none when everything is kept.
    pub cutoff: Option<Timestamp>,
}

/// How many rows are to go, or have gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Runs.
    pub runs: u64,
    /// Their steps.
    pub steps: u64,
    /// Their failed attempts.
    pub failed_attempts: u64,
    /// Events.
    pub events: u64,
}

impl Expired {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.failed_attempts += other.failed_attempts;
        self.events += other.events;
    }
}

/// Work that one process does now and then.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// What it is called.
    pub name: &'static str,
    /// Who asks; random per process.
    pub owner: Uuid,
    /// How long the claim counts unless it is made again.
    pub length: Duration,
    /// The least time from one end to the next beginning.
    pub every: Duration,
}

impl Store {
    /// Claims the turn, or claims it on. False when somebody else has it, or when it was done less than `every` ago.
    pub async fn claim_turn(&self, turn: Turn, now: Timestamp) -> Result<bool, Error> {
        let sql = "INSERT INTO housekeeping (name, owner, until, done_at) VALUES ($1, $2, $3, 0) \
                   ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until \
                   WHERE housekeeping.owner = excluded.owner AND housekeeping.until > $4 \
                   OR housekeeping.until <= $4 AND housekeeping.done_at <= $5";
        let values: [Value; 5] = [
            turn.name.into(),
            turn.owner.into(),
            now.plus(turn.length).as_millis().into(),
            now.as_millis().into(),
            now.minus(turn.every).as_millis().into(),
        ];
        self.change_turn(sql, values).await
    }

    /// Gives the turn back as done. False when somebody else has it by now.
    pub async fn end_turn(&self, turn: Turn, now: Timestamp) -> Result<bool, Error> {
        let sql = "UPDATE housekeeping SET until = 0, done_at = $3 WHERE name = $1 AND owner = $2";
        let now = now.as_millis().into();
        self.change_turn(sql, [turn.name.into(), turn.owner.into(), now])
            .await
    }

    async fn change_turn(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<bool, Error> {
        let conn = self.writer();
        let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
        let done = conn.execute_raw(statement).await;
        Ok(done.map_err(Error::on("housekeeping"))?.rows_affected() == 1)
    }

    /// How long each environment keeps things. `by_default` is for those that say nothing of their own; 0 days mean for ever.
    pub async fn list_keeping(
        &self,
        by_default: u32,
        now: Timestamp,
    ) -> Result<Vec<Keeping>, Error> {
        let rows = environment::Entity::find()
            .order_by_asc(environment::Column::Id)
            .all(self.reader())
            .await
            .map_err(Error::on("environments"))?;
        let keeping = rows.into_iter().map(|row| {
            let days = row.retention_days.map_or(by_default, i32::unsigned_abs);
            Keeping {
                env: EnvId::from_raw(row.id),
                slug: row.slug,
                cutoff: (days > 0).then(|| now.minus(DAY * days)),
            }
        });
        Ok(keeping.collect())
    }

    /// The partitions in which every row is to go, by name, with about how many rows each has. Empty on SQLite.
    pub async fn expired_partitions(
        &self,
        by_default: u32,
        now: Timestamp,
    ) -> Result<Vec<(String, u64)>, Error> {
        let mut names = Vec::new();
        for (_, group) in self.droppable(by_default, now).await? {
            names.extend(group);
        }
        let mut found = Vec::new();
        for name in names {
            let sql = "SELECT greatest(reltuples, 0)::bigint AS n FROM pg_class WHERE oid = to_regclass($1)";
            let statement =
                Statement::from_sql_and_values(DbBackend::Postgres, sql, [name.as_str().into()]);
            let row = self.reader().query_one_raw(statement).await;
            if let Some(row) = row.map_err(Error::on("(partitions)"))? {
                let rows: i64 = get(&row, "(partitions)", "n")?;
                found.push((name, rows.unsigned_abs()));
            }
        }
        Ok(found)
    }

    /// Drops them. Returns their names; one that was in use for too long is left for the next time. Locks are held for a moment and
    /// not waited for longer than half a second.
    pub async fn drop_expired_partitions(
        &self,
        by_default: u32,
        now: Timestamp,
    ) -> Result<Vec<String>, Error> {
        let mut dropped = Vec::new();
        for (is_first, group) in self.droppable(by_default, now).await? {
            if self.drop_group(is_first, &group, now).await? {
                info!(
                    partition.id = group.join(", "),
                    "partitions of expired rows dropped"
                );
                dropped.extend(group);
            }
        }
        Ok(dropped)
    }

    /// Groups of partitions that go together, each with whether it is the first, which is emptied and stays; events before runs.
    async fn droppable(
        &self,
        by_default: u32,
        now: Timestamp,
    ) -> Result<Vec<(bool, Vec<String>)>, Error> {
        if self.reader().get_database_backend() != DbBackend::Postgres {
            return Ok(Vec::new());
        }
        let keeping = self.list_keeping(by_default, now).await?;
        let Some(cutoff) = keeping.iter().filter_map(|keeping| keeping.cutoff).max() else {
            return Ok(Vec::new());
        };
        let beyond = first_id(cutoff);
        let mut groups = Vec::new();
        let events = partitions(self.reader(), &EVENTS).await?;
        for partition in events.iter().filter(|partition| partition.to <= beyond) {
            if self
                .holds_only_expired_events(partition, by_default, now)
                .await?
            {
                groups.push((partition.from.is_none(), vec![partition.name.clone()]));
            }
        }
        let mut beside = Vec::new();
        for table in [&STEPS, &FAILED_ATTEMPTS] {
            beside.extend(partitions(self.reader(), table).await?);
        }
        let runs = partitions(self.reader(), &RUNS).await?;
        for partition in runs.iter().filter(|partition| partition.to <= beyond) {
            if self
                .holds_only_expired_runs(partition, by_default, now)
                .await?
            {
                let is_beside =
                    |other: &&Partition| (other.from, other.to) == (partition.from, partition.to);
                let rest = beside
                    .iter()
                    .filter(is_beside)
                    .map(|other| other.name.clone());
                let group = std::iter::once(partition.name.clone())
                    .chain(rest)
                    .collect();
                groups.push((partition.from.is_none(), group));
            }
        }
        Ok(groups)
    }

    /// Whether there is something in it, and all of it is to go.
    async fn holds_only_expired_runs(
        &self,
        partition: &Partition,
        by_default: u32,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let name = &partition.name;
        let stays = format!(
            "SELECT 1 AS n FROM {name} r LEFT JOIN environments e ON e.id = r.env_id WHERE r.ended_at IS NULL OR {} LIMIT 1",
            kept("r.ended_at")
        );
        self.holds_only_expired(partition, &[&stays], by_default, now)
            .await
    }

    async fn holds_only_expired_events(
        &self,
        partition: &Partition,
        by_default: u32,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let (name, to) = (&partition.name, partition.to);
        let from = partition.from.unwrap_or_default();
        let young = format!(
            "SELECT 1 AS n FROM {name} r LEFT JOIN environments e ON e.id = r.env_id WHERE {} LIMIT 1",
            kept("r.received_at")
        );
        let referred = format!(
            "SELECT 1 AS n FROM runs WHERE event_id >= '{from}' AND event_id < '{to}' LIMIT 1"
        );
        if !self
            .holds_only_expired(partition, &[&referred, &young], by_default, now)
            .await?
        {
            return Ok(false);
        }
        let of_batches = self
            .events_of_batches(None, |id| *id >= from && *id < to)
            .await?;
        Ok(of_batches.is_empty())
    }

    async fn holds_only_expired(
        &self,
        partition: &Partition,
        what_stays: &[&str],
        by_default: u32,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let on = || Error::on("(partitions)");
        let tx = self.patient().await?;
        let any = format!("SELECT 1 AS n FROM {} LIMIT 1", partition.name);
        let statement = Statement::from_string(DbBackend::Postgres, any);
        let is_empty = tx.query_one_raw(statement).await.map_err(on())?.is_none();
        // The first one is there for ever; the others go also when they are empty.
        if is_empty && partition.from.is_none() {
            return Ok(false);
        }
        for sql in what_stays {
            let values: [Value; 2] = [i64::from(by_default).into(), now.as_millis().into()];
            let values = if sql.contains("$1") { &values[..] } else { &[] };
            let statement =
                Statement::from_sql_and_values(DbBackend::Postgres, *sql, values.to_vec());
            if tx.query_one_raw(statement).await.map_err(on())?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A transaction for reading that may take longer than others.
    async fn patient(&self) -> Result<DatabaseTransaction, Error> {
        let tx = self.reader().begin().await.map_err(Error::on("(begin)"))?;
        if tx.get_database_backend() == DbBackend::Postgres {
            let sql = "SET LOCAL statement_timeout = '10min'";
            tx.execute_unprepared(sql)
                .await
                .map_err(Error::on("(begin)"))?;
        }
        Ok(tx)
    }

    async fn drop_group(
        &self,
        is_first: bool,
        group: &[String],
        now: Timestamp,
    ) -> Result<bool, Error> {
        for attempt in 1..=TRIES {
            match self.drop_group_once(is_first, group, now).await {
                Ok(dropped) => return Ok(dropped),
                Err(error) if Error::is_in_the_way(&error) => {
                    tokio::time::sleep(Duration::from_millis(200) * attempt).await;
                }
                Err(error) => return Err(Error::on("(partitions)")(error)),
            }
        }
        Ok(false)
    }

    async fn drop_group_once(
        &self,
        is_first: bool,
        group: &[String],
        now: Timestamp,
    ) -> Result<bool, DbErr> {
        let tx = self.writer().begin().await?;
        take_short_locks(&tx).await?;
        let (names, first) = (group.join(", "), &group[0]);
        let (table, _) = first.split_once('_').unwrap_or((first, ""));
        // The table is locked before its parts, as everybody does.
        let lock = if is_first {
            format!("LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
        } else {
            format!("LOCK TABLE ONLY {table}, {names} IN ACCESS EXCLUSIVE MODE")
        };
        tx.execute_unprepared(&lock).await?;
        if table == EVENTS.table {
            // A sender may have determined an id of long ago since we looked. Such events are marked, and few.
            let since = now.minus(DAY).as_millis();
            let sql =
                format!("SELECT 1 AS n FROM {first} WHERE late AND received_at >= {since} LIMIT 1");
            let late = Statement::from_string(DbBackend::Postgres, sql);
            if tx.query_one_raw(late).await?.is_some() {
                return Ok(false);
            }
        }
        let verb = if is_first { "TRUNCATE" } else { "DROP TABLE" };
        tx.execute_unprepared(&format!("{verb} {names}")).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// How much a pass would delete by batches in this environment. Events that a run of several events refers to are counted, though they
    /// stay.
    pub async fn count_expired(&self, keeping: &Keeping) -> Result<Expired, Error> {
        let Some(cutoff) = keeping.cutoff else {
            return Ok(Expired::default());
        };
        let runs = "runs WHERE env_id = $1 AND id < $2 AND ended_at < $3";
        let of_runs = |table: &str| format!("{table} WHERE run_id IN (SELECT id FROM {runs})");
        let events = "events WHERE env_id = $1 AND (id < $2 OR late) AND received_at < $3 \
                      AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.event_id = events.id)";
        let tx = self.patient().await?;
        let count = async |from: &str| {
            let sql = format!("SELECT count(*) AS n FROM {from}");
            let values = [
                keeping.env.raw().into(),
                self.floor(cutoff).into(),
                cutoff.as_millis().into(),
            ];
            let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
            let row = tx.query_one_raw(statement).await;
            let row = row.map_err(Error::on("(retention)"))?;
            let count: i64 = row.map_or(Ok(0), |row| get(&row, "(retention)", "n"))?;
            Ok::<u64, Error>(count.unsigned_abs())
        };
        Ok(Expired {
            runs: count(runs).await?,
            steps: count(&of_runs("steps")).await?,
            failed_attempts: count(&of_runs("failed_attempts")).await?,
            events: count(events).await?,
        })
    }

    /// Below which ids rows are deleted by batches. On Postgres a week and its neighbour's first hours are left to be dropped whole.
    fn floor(&self, cutoff: Timestamp) -> Uuid {
        match self.reader().get_database_backend() {
            DbBackend::Postgres => week_floor(cutoff.minus(WEEK)),
            _ => first_id(cutoff),
        }
    }

    /// Deletes one batch of an environment's expired runs, with all that belongs to them, after `after`. Returns how much went and where
    /// the next batch begins; no place when this was the last one. Atomic.
    pub async fn delete_expired_runs(
        &self,
        env: EnvId,
        cutoff: Timestamp,
        after: Option<Uuid>,
    ) -> Result<(Expired, Option<Uuid>), Error> {
        let sql = "SELECT id FROM runs WHERE env_id = $1 AND id < $2 AND id > $3 AND ended_at < $4 ORDER BY id LIMIT $5";
        let page = self.page(sql, env, cutoff, after).await?;
        let next = page.last().copied().filter(|_| page.len() as u64 >= BATCH);
        if page.is_empty() {
            return Ok((Expired::default(), None));
        }
        let ids = || page.iter().map(|id| Value::from(*id)).collect::<Vec<_>>();
        let tx = self.writer().begin().await.map_err(Error::on("(begin)"))?;
        let steps = execute_in(&tx, "DELETE FROM steps WHERE run_id IN", ids(), "")
            .await
            .map_err(Error::on("steps"))?;
        let before = "DELETE FROM failed_attempts WHERE run_id IN";
        let failed_attempts = execute_in(&tx, before, ids(), "")
            .await
            .map_err(Error::on("failed_attempts"))?;
        crate::fail_point!("retain::mid");
        // What has ended does not change any more.
        let runs = execute_in(&tx, "DELETE FROM runs WHERE id IN", ids(), "")
            .await
            .map_err(Error::on("runs"))?;
        tx.commit().await.map_err(Error::on_commit)?;
        let gone = Expired {
            runs,
            steps,
            failed_attempts,
            events: 0,
        };
        Ok((gone, next))
    }

    /// Deletes one batch of an environment's expired events that no run refers to, like [`Store::delete_expired_runs`].
    pub async fn delete_expired_events(
        &self,
        env: EnvId,
        cutoff: Timestamp,
        after: Option<Uuid>,
    ) -> Result<(Expired, Option<Uuid>), Error> {
        let sql = "SELECT id FROM events WHERE env_id = $1 AND id < $2 AND id > $3 AND received_at < $4 ORDER BY id LIMIT $5";
        let page = self.page(sql, env, cutoff, after).await?;
        self.delete_events(env, page).await
    }

    /// The same for events whose id tells another time than that of their acceptance, wherever they are.
    pub async fn delete_expired_late_events(
        &self,
        env: EnvId,
        cutoff: Timestamp,
        after: Option<Uuid>,
    ) -> Result<(Expired, Option<Uuid>), Error> {
        let sql = "SELECT id FROM events WHERE env_id = $1 AND late AND id >= $2 AND id > $3 AND received_at < $4 ORDER BY id LIMIT $5";
        let page = self.page(sql, env, cutoff, after).await?;
        self.delete_events(env, page).await
    }

    async fn delete_events(
        &self,
        env: EnvId,
        page: Vec<Uuid>,
    ) -> Result<(Expired, Option<Uuid>), Error> {
        let next = page.last().copied().filter(|_| page.len() as u64 >= BATCH);
        let mut free: HashSet<Uuid> = page.iter().copied().collect();
        if free.is_empty() {
            return Ok((Expired::default(), None));
        }
        let ids = page.iter().map(|id| Value::from(*id)).collect();
        let before = "SELECT DISTINCT event_id FROM runs WHERE event_id IN";
        let rows = select_in(self.reader(), before, ids, "")
            .await
            .map_err(Error::on("runs"))?;
        for row in rows {
            free.remove(&get(&row, "runs", "event_id")?);
        }
        if !free.is_empty() {
            for event in self
                .events_of_batches(Some(env), |id| free.contains(id))
                .await?
            {
                free.remove(&event);
            }
        }
        let free = free.into_iter().map(Value::from).collect::<Vec<_>>();
        let mut gone = Expired::default();
        if !free.is_empty() {
            gone.events = execute_in(self.writer(), "DELETE FROM events WHERE id IN", free, "")
                .await
                .map_err(Error::on("events"))?;
        }
        Ok((gone, next))
    }

    async fn page(
        &self,
        sql: &str,
        env: EnvId,
        cutoff: Timestamp,
        after: Option<Uuid>,
    ) -> Result<Vec<Uuid>, Error> {
        let values: [Value; 5] = [
            env.raw().into(),
            self.floor(cutoff).into(),
            after.unwrap_or_default().into(),
            cutoff.as_millis().into(),
            BATCH.cast_signed().into(),
        ];
        let tx = self.patient().await?;
        let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
        let rows = tx
            .query_all_raw(statement)
            .await
            .map_err(Error::on("(retention)"))?;
        rows.iter()
            .map(|row| get(row, "(retention)", "id"))
            .collect()
    }

    /// Of the events that are chosen, those that runs of several events refer to beside their first one.
    async fn events_of_batches(
        &self,
        env: Option<EnvId>,
        is_chosen: impl Fn(&Uuid) -> bool,
    ) -> Result<HashSet<Uuid>, Error> {
        let mut found = HashSet::new();
        let mut after = Uuid::nil();
        let filter = env.map_or("", |_| "env_id = $3 AND");
        let sql = format!(
            "SELECT id, event_id, more_events FROM runs WHERE {filter} more_events IS NOT NULL AND id > $1 ORDER BY id LIMIT $2"
        );
        loop {
            let mut values: Vec<Value> = vec![after.into(), BATCH.cast_signed().into()];
            values.extend(env.map(|env| Value::from(env.raw())));
            let conn = self.reader();
            let statement =
                Statement::from_sql_and_values(conn.get_database_backend(), sql.as_str(), values);
            let rows = conn.query_all_raw(statement).await;
            let rows = rows.map_err(Error::on("runs"))?;
            for row in &rows {
                after = get(row, "runs", "id")?;
                let first: Uuid = get(row, "runs", "event_id")?;
                let more: Option<Vec<u8>> = get(row, "runs", "more_events")?;
                let ids = events_of(first, more.as_deref())
                    .into_iter()
                    .map(event_uuid);
                found.extend(ids.filter(|id| is_chosen(id)));
            }
            if (rows.len() as u64) < BATCH {
                return Ok(found);
            }
        }
    }
}

/// The condition under which a row is kept because it is young, or because its environment keeps everything. `$1` is the number of days
/// where the environment says none, `$2` the time.
fn kept(column: &str) -> String {
    let days = "COALESCE(e.retention_days, $1)";
    format!("{days} = 0 OR {column} >= $2 - {days} * 86400000")
}
