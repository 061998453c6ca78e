//! What has changed, for live views: each transaction leaves one row per environment with the ids of what it changed there, no data.
//!
//! Several changes of one thing in one transaction are one entry. On Postgres numbers are taken before the commit, so the highest one seen
//! says nothing about slower transactions: rows are read in the order of `(txid, seq)`, and only those of transactions older than
//! every one that is under way. SQLite has one writer, and `seq` is the order.

mod entries;

use std::collections::BTreeMap;

use inngest_core::{
    ids::{AppId, EnvId, EventId, FunctionId, RunId, StepId},
    run::RunStatus,
    time::Timestamp,
};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, QueryResult,
    Statement, TransactionTrait, Value,
};
use tracing::debug;
use uuid::Uuid;

use crate::{
    Error, Store,
    commit::{Commit, NewEvent, NewRun},
    partitions::take_short_locks,
    rollup::Figures,
    rows::time,
    sql::insert_rows,
    write::get,
};

pub(crate) const LOG: &str = "change_log";
pub(crate) const STATE: &str = "change_log_state";
/// Most entries of one row; a larger transaction leaves several.
const ROW_ENTRIES: usize = 1_000;
/// How long SQLite keeps a row; Postgres keeps one to four hours.
const KEPT_MS: i64 = 3_600_000;
/// Rows that SQLite deletes at once.
const TRIMMED: u64 = 1_000;

/// A change of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A run is new, or has changed.
    Run {
        /// The run.
        id: RunId,
        /// Its function.
        function: FunctionId,
        /// What it has become.
        status: RunStatus,
        /// Whether this is the first there is of it.
        is_new: bool,
    },
    /// A step, or its attempts, are new or have changed; without a step, the attempts of the function itself.
    Step {
        /// The run.
        run: RunId,
        /// The step.
        step: Option<StepId>,
    },
    /// An event is new.
    Event {
        /// The event.
        id: EventId,
        /// Whether the server made it.
        is_internal: bool,
    },
    /// An app is new, was synced or removed, or how it is has changed.
    App {
        /// The app.
        id: AppId,
        /// Whether this is the first there is of it.
        is_new: bool,
    },
    /// A function is new, or has changed, or is gone; or how it is paused has changed.
    Function {
        /// The function.
        id: FunctionId,
        /// Whether this is the first there is of it.
        is_new: bool,
    },
}

/// A position in the log: everything up to and including it. Positions are in the order of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// The transaction; 0 on SQLite.
    pub txid: i64,
    /// The row.
    pub seq: i64,
}

impl LogPosition {
    /// The position just before this one.
    #[must_use]
    pub fn before(self) -> Self {
        Self {
            seq: self.seq.saturating_sub(1),
            ..self
        }
    }
}

/// A position together with the history it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// Which history of which database; positions of another one mean nothing.
    pub epoch: Uuid,
    /// Where.
    pub position: LogPosition,
}

/// What one transaction changed in one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Where it stands.
    pub position: LogPosition,
    /// When it was written, by the clock of the database.
    pub at: Timestamp,
    /// Each thing once.
    pub changes: Vec<Change>,
}

/// What a read of the log finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRead {
    /// The rows after the place, oldest first.
    Page {
        /// The rows.
        rows: Vec<LogRow>,
        /// Where to go on.
        next: LogPlace,
        /// Whether nothing followed at the time.
        is_last: bool,
    },
    /// Rows after the place may be gone, or it belongs to another history: everything must be looked at again.
    Gone {
        /// The present end of the log.
        now: LogPlace,
    },
}

impl Store {
    /// The present end of the log: everything committed before this call is at or before it, or will be read after it.
    ///
    /// # Errors
    /// The database's.
    pub async fn log_end(&self) -> Result<LogPlace, Error> {
        let backend = self.reader().get_database_backend();
        let (txid, seq) = end_of(backend);
        let sql =
            format!("SELECT epoch, {txid} AS end_txid, {seq} AS end_seq FROM {STATE} WHERE id = 1");
        let row = self
            .reader()
            .query_one_raw(Statement::from_string(backend, sql))
            .await
            .map_err(Error::on(STATE))?
            .ok_or_else(no_state)?;
        end_place(&row)
    }

    /// The rows of one environment after a place, at most `limit`. One statement.
    ///
    /// # Errors
    /// The database's; a row that this version cannot read.
    pub async fn read_log(
        &self,
        env: EnvId,
        after: LogPlace,
        limit: u32,
    ) -> Result<LogRead, Error> {
        let backend = self.reader().get_database_backend();
        let sql = read_sql(backend, limit);
        let values: [Value; 3] = [
            env.raw().into(),
            after.position.txid.into(),
            after.position.seq.into(),
        ];
        let found = self
            .reader()
            .query_all_raw(Statement::from_sql_and_values(backend, sql, values))
            .await
            .map_err(Error::on(LOG))?;
        let first = found.first().ok_or_else(no_state)?;
        let end = end_place(first)?;
        let floor = LogPosition {
            txid: get(first, STATE, "floor_txid")?,
            seq: get(first, STATE, "floor_seq")?,
        };
        let is_known =
            after.epoch == end.epoch && after.position >= floor && after.position <= end.position;
        if !is_known {
            return Ok(LogRead::Gone { now: end });
        }
        let mut rows = Vec::with_capacity(found.len());
        for row in &found {
            rows.extend(row_of(row)?);
        }
        let is_last = rows.len() < limit as usize;
        let position = match rows.last() {
            Some(last) if !is_last => last.position,
            _ => end.position,
        };
        let next = LogPlace {
            epoch: end.epoch,
            position,
        };
        Ok(LogRead::Page {
            rows,
            next,
            is_last,
        })
    }

    /// Deletes what is older than an hour; on Postgres some of it only later. Run it every hour.
    ///
    /// # Errors
    /// The database's; on Postgres also when the log was in use for too long.
    pub async fn trim_change_log(&self) -> Result<(), Error> {
        match self.writer().get_database_backend() {
            DbBackend::Postgres => empty_slot(self.writer()).await,
            _ => delete_oldest(self.writer()).await,
        }
        .map_err(Error::on(LOG))
    }
}

/// What reads the rows of an environment ($1) after a place ($2, $3), with what tells whether the place is known.
pub(crate) fn read_sql(backend: DbBackend, limit: u32) -> String {
    let (end_txid, end_seq) = end_of(backend);
    // Of two columns SQLite would compare the first by the index, which is the same in all rows.
    let beyond = match backend {
        DbBackend::Postgres => format!("(txid, seq) > ($2, $3) AND txid < {end_txid}"),
        _ => "txid = $2 AND seq > $3".to_owned(),
    };
    format!(
        "SELECT s.epoch, s.floor_txid, s.floor_seq, {end_txid} AS end_txid, {end_seq} AS end_seq, l.txid, l.seq, l.at, l.changes \
         FROM {STATE} s LEFT JOIN (SELECT txid, seq, at, changes FROM {LOG} WHERE env_id = $1 AND {beyond} \
         ORDER BY txid, seq LIMIT {limit}) l ON true WHERE s.id = 1 ORDER BY l.txid, l.seq"
    )
}

/// The expressions for the end of the log. On Postgres every transaction below it has ended, and no other can commit below it.
pub(crate) fn end_of(backend: DbBackend) -> (&'static str, &'static str) {
    match backend {
        DbBackend::Postgres => (
            "pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
            "0::bigint",
        ),
        _ => ("0", "(SELECT coalesce(max(seq), 0) FROM change_log)"),
    }
}

fn no_state() -> Error {
    Error::BadRow {
        table: STATE,
        id: "1".to_owned(),
        column: "id",
    }
}

fn end_place(row: &QueryResult) -> Result<LogPlace, Error> {
    Ok(LogPlace {
        epoch: get(row, STATE, "epoch")?,
        position: LogPosition {
            txid: get(row, STATE, "end_txid")?,
            seq: get(row, STATE, "end_seq")?,
        },
    })
}

/// None for the one row of a read that found nothing.
fn row_of(row: &QueryResult) -> Result<Option<LogRow>, Error> {
    let Some(seq) = get::<Option<i64>>(row, LOG, "seq")? else {
        return Ok(None);
    };
    let bytes: Vec<u8> = get(row, LOG, "changes")?;
    let changes = entries::decode(&bytes).ok_or_else(|| Error::BadRow {
        table: LOG,
        id: seq.to_string(),
        column: "changes",
    })?;
    Ok(Some(LogRow {
        position: LogPosition {
            txid: get(row, LOG, "txid")?,
            seq,
        },
        at: time(get(row, LOG, "at")?),
        changes,
    }))
}

/// What the commits of one transaction change, each thing once.
#[derive(Default)]
pub(crate) struct Changes(BTreeMap<EnvId, BTreeMap<Thing, Change>>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Event(EventId),
    Run(RunId),
    Step(RunId, Option<StepId>),
    App(AppId),
    Function(FunctionId),
}

impl Changes {
    /// Notes what a commit changes of a run of this function; none where the commit changes no run.
    pub(crate) fn note_commit(&mut self, commit: &Commit, function: Option<FunctionId>) {
        if let (Some(run), Some(function)) = (&commit.run, function) {
            let change = Change::Run {
                id: run.id,
                function,
                status: run.status,
                is_new: false,
            };
            self.note(run.env, Thing::Run(run.id), change);
        }
        let steps = commit
            .steps
            .iter()
            .map(|step| (step.env, step.run, Some(step.step.clone())));
        let attempts = commit
            .failed_attempts
            .iter()
            .map(|failed| (failed.env, failed.run, failed.step.clone()));
        for (env, run, step) in steps.chain(attempts) {
            let thing = Thing::Step(run, step.clone());
            self.note(env, thing, Change::Step { run, step });
        }
    }

    pub(crate) fn note_run(&mut self, run: &NewRun) {
        let change = Change::Run {
            id: run.id,
            function: run.function,
            status: run.status,
            is_new: true,
        };
        self.note(run.env, Thing::Run(run.id), change);
    }

    pub(crate) fn note_event(&mut self, event: &NewEvent) {
        let change = Change::Event {
            id: event.event.id,
            is_internal: event.event.is_internal(),
        };
        self.note(event.env, Thing::Event(event.event.id), change);
    }

    pub(crate) fn note_app(&mut self, env: EnvId, id: AppId, is_new: bool) {
        self.note(env, Thing::App(id), Change::App { id, is_new });
    }

    pub(crate) fn note_function(&mut self, env: EnvId, id: FunctionId, is_new: bool) {
        self.note(env, Thing::Function(id), Change::Function { id, is_new });
    }

    fn note(&mut self, env: EnvId, thing: Thing, change: Change) {
        self.0.entry(env).or_default().insert(thing, change);
    }

    /// Writes them: one row per environment, all in one statement, unless there are very many. The figures of an environment go with its
    /// first row; whatever has figures is a change.
    pub(crate) async fn store(
        self,
        tx: &DatabaseTransaction,
        figures: &Figures,
    ) -> Result<(), Error> {
        let mut rows = Vec::new();
        for (env, changes) in self.0 {
            let changes: Vec<Change> = changes.into_values().collect();
            let (mut measures, mut names) = (figures.of(env), figures.names_of(env));
            for chunk in changes.chunks(ROW_ENTRIES) {
                rows.push(vec![
                    env.raw().into(),
                    entries::encode(chunk).into(),
                    measures.take().into(),
                    names.take().into(),
                ]);
            }
        }
        let head = "change_log (env_id, changes, measures, event_names)";
        insert_rows(tx, head, "", rows)
            .await
            .map_err(Error::on(LOG))
    }
}

/// Gives the log a new epoch when the database is another server than at the last opening, or has been taken back in time: numbers that
/// clients hold may then be given out again. SQLite cannot tell; there a position beyond the end of the log is noticed when it is used.
pub(crate) async fn note_origin(conn: &DatabaseConnection) {
    if conn.get_database_backend() != DbBackend::Postgres {
        return;
    }
    let sql = "UPDATE change_log_state SET origin = o.origin, epoch = gen_random_uuid() \
               FROM (SELECT s.system_identifier || '/' || c.timeline_id AS origin FROM pg_control_system() s, pg_control_checkpoint() c) o \
               WHERE change_log_state.origin <> o.origin";
    if let Err(error) = conn.execute_unprepared(sql).await {
        debug!(error = %error, "the database does not say where its history comes from");
    }
}

/// Empties the partition that is written to in two hours. Whoever holds a position in it learns that from the floor, which is raised first.
async fn empty_slot(conn: &DatabaseConnection) -> Result<(), DbErr> {
    let sql = "SELECT ((floor(extract(epoch FROM now()))::bigint / 3600 + 2) % 4)::bigint AS slot";
    let row = conn
        .query_one_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await?;
    let slot: i64 = row.map_or(Ok(0), |row| row.try_get("", "slot"))?;
    conn.execute_unprepared(&format!(
        "UPDATE {STATE} SET floor_txid = m.txid, floor_seq = m.seq \
             FROM (SELECT txid, seq FROM {LOG}_{slot} ORDER BY txid DESC, seq DESC LIMIT 1) m \
             WHERE (m.txid, m.seq) > (floor_txid, floor_seq)"
    ))
    .await?;
    let some = format!("SELECT 1 FROM {LOG}_{slot} LIMIT 1");
    let some = Statement::from_string(DbBackend::Postgres, some);
    if conn.query_one_raw(some).await?.is_none() {
        return Ok(());
    }
    let tx = conn.begin().await?;
    take_short_locks(&tx).await?;
    tx.execute_unprepared(&format!("TRUNCATE {LOG}_{slot}"))
        .await?;
    tx.commit().await
}

async fn delete_oldest(conn: &DatabaseConnection) -> Result<(), DbErr> {
    loop {
        // The last of a batch, if even that is too old; rows are in the order of time.
        let sql = format!(
            "SELECT seq FROM (SELECT seq, at FROM {LOG} WHERE seq < (SELECT max(seq) FROM {LOG}) ORDER BY seq LIMIT {TRIMMED}) \
             WHERE at < CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) - {KEPT_MS} ORDER BY seq DESC LIMIT 1"
        );
        let row = conn
            .query_one_raw(Statement::from_string(DbBackend::Sqlite, sql))
            .await?;
        let Some(row) = row else { return Ok(()) };
        let seq: i64 = row.try_get("", "seq")?;
        let tx = conn.begin().await?;
        tx.execute_unprepared(&format!(
            "UPDATE {STATE} SET floor_seq = {seq} WHERE floor_seq < {seq}"
        ))
        .await?;
        tx.execute_unprepared(&format!("DELETE FROM {LOG} WHERE seq <= {seq}"))
            .await?;
        tx.commit().await?;
    }
}
