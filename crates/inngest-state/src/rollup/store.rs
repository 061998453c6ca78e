//! From the change log into the buckets, and out of them when they are too old.

use std::collections::{BTreeMap, HashMap};

use inngest_core::{
    ids::EnvId,
    rollup::{Counter, Latency, Measures, NameCounts, Sketch, Tally, Width},
    time::Timestamp,
};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, QueryResult, Statement, TransactionTrait,
    Value,
};
use tracing::warn;
use uuid::Uuid;

use super::{
    columns, counter_column, latency_column,
    names::{NAMES, NameBuckets},
};
use crate::{
    Error, Store,
    change_log::{LOG, LogPosition, STATE, end_of},
    rows::{ms, time},
    sql::{insert_rows, select_tuples},
    write::get,
};

pub(crate) const TABLE: &str = "rollups";
const POSITION: &str = "rollup_position";
/// Rows of the change log that are added in one transaction.
const PAGE: usize = 1_000;
/// Buckets that are deleted at once.
const BATCH: u32 = 1_000;

/// What one look at the change log came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rolled {
    /// Rows whose figures are in the tables now.
    pub rows: usize,
    /// When the first of them was written.
    pub oldest: Option<Timestamp>,
    /// Whether more may be there: another look is worth it at once.
    pub has_more: bool,
    /// Whether rows were gone before anybody had added them up.
    pub has_gap: bool,
}

/// One bucket: environment, function (all bits 0 for the whole environment), width, start.
type Key = (Uuid, Uuid, i32, i64);

impl Store {
    /// Adds the figures of up to 1,000 rows of the change log to the buckets, each row once, whoever else does the same. Atomic.
    ///
    /// # Errors
    /// The database's; nothing was added then, or, where the outcome is not known, all of it or nothing.
    pub async fn roll_up(&self) -> Result<Rolled, Error> {
        let (stored, rows) = self.pending_rows().await?;
        let mut rolled = Rolled {
            has_gap: stored.has_gap(),
            ..Rolled::default()
        };
        let mut figures = Pending::default();
        let mut next = stored.next();
        for row in &rows {
            next = LogPosition {
                txid: get(row, LOG, "txid")?,
                seq: get(row, LOG, "seq")?,
            };
            let at = time(get(row, LOG, "at")?);
            rolled.oldest = Some(rolled.oldest.map_or(at, |oldest| oldest.min(at)));
            let env = EnvId::from_raw(get(row, LOG, "env_id")?);
            let bytes: Option<Vec<u8>> = get(row, LOG, "measures")?;
            let names: Option<Vec<u8>> = get(row, LOG, "event_names")?;
            if !figures.add(env, bytes, names) {
                // It cannot be read the next time either, and must not keep the others waiting.
                warn!(env.id = %env, "figures of a transaction cannot be read by this version and are left out");
            }
        }
        if next == stored.position {
            return Ok(rolled);
        }
        if self.store_figures(&stored, next, figures).await? {
            rolled.rows = rows.len();
            rolled.has_more = rows.len() == PAGE;
        } else {
            // Somebody else has added them, and perhaps not all that is there by now.
            rolled.has_more = true;
        }
        Ok(rolled)
    }

    /// False when the position was another by then; nothing was written.
    async fn store_figures(
        &self,
        stored: &Stored,
        next: LogPosition,
        figures: Pending,
    ) -> Result<bool, Error> {
        let tx = self.writer().begin().await.map_err(Error::on("(begin)"))?;
        let sql = format!(
            "UPDATE {POSITION} SET txid = $1, seq = $2 WHERE id = 1 AND txid = $3 AND seq = $4"
        );
        let values: [Value; 4] = [
            next.txid.into(),
            next.seq.into(),
            stored.position.txid.into(),
            stored.position.seq.into(),
        ];
        let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
        let moved = tx.execute_raw(statement).await;
        if moved.map_err(Error::on(POSITION))?.rows_affected() != 1 {
            return Ok(false);
        }
        if stored.is_beyond_end() {
            // The log of another history: what is left of it must not be taken for new when the numbers come round to it.
            let sql = format!(
                "UPDATE {LOG} SET measures = NULL, event_names = NULL WHERE (txid, seq) > ($1, $2)"
            );
            let values: [Value; 2] = [next.txid.into(), next.seq.into()];
            let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
            tx.execute_raw(statement).await.map_err(Error::on(LOG))?;
        }
        figures.buckets.store(&tx).await?;
        figures.names.store(&tx).await?;
        crate::fail_point!("rollup::in_tx");
        tx.commit().await.map_err(Error::on_commit)?;
        crate::fail_point!("rollup::after_commit");
        Ok(true)
    }

    /// Up to where everything is added up, and the rows after that, the first 1,000 of them. It is one statement: rows that went between two
    /// would be missed by the second, and not by the floor that the first has read.
    async fn pending_rows(&self) -> Result<(Stored, Vec<QueryResult>), Error> {
        let conn = self.reader();
        let backend = conn.get_database_backend();
        let (txid, seq) = end_of(backend);
        let after = match backend {
            DbBackend::Postgres => format!(
                "(txid, seq) > ((SELECT txid FROM place), (SELECT seq FROM place)) AND txid < {txid} ORDER BY txid, seq"
            ),
            // By its primary key; of two columns SQLite would compare the first by an index, and that is always 0.
            _ => "seq > (SELECT seq FROM place) ORDER BY seq".to_owned(),
        };
        // What `Stored::next` says.
        let next = |column: &str| {
            format!(
                "CASE WHEN (at_txid, at_seq) > (end_txid, end_seq) THEN end_{column} \
                 WHEN (floor_txid, floor_seq) > (at_txid, at_seq) THEN floor_{column} ELSE at_{column} END AS {column}"
            )
        };
        // Where the one row of a table is asked for by its id, Postgres knows that there is one: it would otherwise expect a million and
        // compile the statement.
        let sql = format!(
            "WITH stored AS (SELECT p.txid AS at_txid, p.seq AS at_seq, s.floor_txid, s.floor_seq, {txid} AS end_txid, {seq} AS end_seq \
             FROM {POSITION} p CROSS JOIN {STATE} s WHERE p.id = 1 AND s.id = 1), \
             place AS (SELECT {}, {} FROM stored) \
             SELECT stored.*, l.txid, l.seq, l.env_id, l.at, l.measures, l.event_names FROM stored LEFT JOIN \
             (SELECT txid, seq, env_id, at, measures, event_names FROM {LOG} \
             WHERE {after} LIMIT {PAGE}) l \
             ON true ORDER BY l.txid, l.seq",
            next("txid"),
            next("seq"),
        );
        let rows = conn.query_all_raw(Statement::from_string(backend, sql));
        let mut rows = rows.await.map_err(Error::on(LOG))?;
        let first = rows.first().ok_or_else(|| Error::BadRow {
            table: POSITION,
            id: "1".to_owned(),
            column: "id",
        })?;
        let stored = Stored::of(first)?;
        if get::<Option<i64>>(first, LOG, "seq")?.is_none() {
            // The one row of a read that found none.
            rows.clear();
        }
        Ok((stored, rows))
    }

    /// Deletes one batch of an environment's buckets of this width that nobody can ask for any more, and one of those by name. Returns how
    /// many went; 0 when none is left.
    ///
    /// # Errors
    /// The database's.
    pub async fn delete_expired_rollups(
        &self,
        env: EnvId,
        width: Width,
        now: Timestamp,
    ) -> Result<u64, Error> {
        let conn = self.writer();
        let mut gone = 0;
        for (table, id) in [(TABLE, "function_id"), (NAMES, "name")] {
            let sql = format!(
                "DELETE FROM {table} WHERE (env_id, {id}, width, start) IN (SELECT env_id, {id}, width, start FROM {table} \
                 WHERE env_id = $1 AND width = $2 AND start < $3 ORDER BY start, {id} LIMIT {BATCH})"
            );
            let values: [Value; 3] = [
                env.raw().into(),
                width.seconds().into(),
                ms(width.cutoff(now)),
            ];
            let statement =
                Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
            let done = conn.execute_raw(statement).await;
            gone += done.map_err(Error::on(table))?.rows_affected();
        }
        Ok(gone)
    }
}

/// Up to where everything is added up, and what there is of the log.
struct Stored {
    position: LogPosition,
    /// Rows up to here may be gone.
    floor: LogPosition,
    /// No row that is yet to come is before this.
    end: LogPosition,
}

impl Stored {
    fn of(row: &QueryResult) -> Result<Self, Error> {
        let position = |txid, seq| {
            Ok::<_, Error>(LogPosition {
                txid: get(row, POSITION, txid)?,
                seq: get(row, POSITION, seq)?,
            })
        };
        Ok(Self {
            position: position("at_txid", "at_seq")?,
            floor: position("floor_txid", "floor_seq")?,
            end: position("end_txid", "end_seq")?,
        })
    }

    /// Where to go on.
    fn next(&self) -> LogPosition {
        if self.is_beyond_end() {
            self.end
        } else {
            self.position.max(self.floor)
        }
    }

    /// The database has been taken back in time, or moved to another server.
    fn is_beyond_end(&self) -> bool {
        self.position > self.end
    }

    fn has_gap(&self) -> bool {
        self.next() != self.position
    }
}

/// What is to be added.
#[derive(Default)]
struct Pending {
    buckets: Buckets,
    names: NameBuckets,
}

impl Pending {
    /// Adds what a row says, as far as it can be read. False when something cannot.
    fn add(&mut self, env: EnvId, measures: Option<Vec<u8>>, names: Option<Vec<u8>>) -> bool {
        let mut is_read = true;
        if let Some(bytes) = measures {
            match Measures::from_bytes(&bytes) {
                Some(measures) => self.buckets.add(env, &measures),
                None => is_read = false,
            }
        }
        if let Some(bytes) = names {
            match NameCounts::from_bytes(&bytes) {
                Some(counts) => self.names.add(env, &counts),
                None => is_read = false,
            }
        }
        is_read
    }
}

/// Figures by bucket, of every width.
#[derive(Default)]
struct Buckets(BTreeMap<Key, Tally>);

impl Buckets {
    fn add(&mut self, env: EnvId, measures: &Measures) {
        for (function, at, tally) in measures.iter() {
            let function = function.map(|function| function.raw());
            for width in Width::ALL {
                let start = width.floor(at).as_millis();
                // All of the environment together, and the function.
                for function in [Some(Uuid::nil()), function].into_iter().flatten() {
                    let key = (env.raw(), function, width.seconds(), start);
                    self.0.entry(key).or_default().merge(tally);
                }
            }
        }
    }

    /// Adds them to what is stored. Nobody else writes buckets while the position is ours.
    async fn store(mut self, tx: &DatabaseTransaction) -> Result<(), Error> {
        for (key, tally) in stored_tallies(tx, self.0.keys()).await? {
            self.0.entry(key).or_default().merge(&tally);
        }
        let rows = self.0.iter().map(|(key, tally)| values(*key, tally));
        let names: Vec<&str> = columns().collect();
        let head = format!(
            "{TABLE} (env_id, function_id, width, start, {})",
            names.join(", ")
        );
        let sets: Vec<String> = names
            .iter()
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        let tail = format!(
            "ON CONFLICT (env_id, function_id, width, start) DO UPDATE SET {}",
            sets.join(", ")
        );
        insert_rows(tx, &head, &tail, rows.collect())
            .await
            .map_err(Error::on(TABLE))
    }
}

async fn stored_tallies(
    tx: &DatabaseTransaction,
    keys: impl Iterator<Item = &Key>,
) -> Result<HashMap<Key, Tally>, Error> {
    let tuples: Vec<Vec<Value>> = keys
        .map(|(env, function, width, start)| {
            vec![
                (*env).into(),
                (*function).into(),
                (*width).into(),
                (*start).into(),
            ]
        })
        .collect();
    let columns: Vec<&str> = columns().collect();
    let before = format!(
        "SELECT env_id, function_id, width, start, {} FROM {TABLE} WHERE (env_id, function_id, width, start) IN",
        columns.join(", ")
    );
    let rows = select_tuples(tx, &before, &tuples, "").await;
    let mut tallies = HashMap::new();
    for row in rows.map_err(Error::on(TABLE))? {
        let key: Key = (
            get(&row, TABLE, "env_id")?,
            get(&row, TABLE, "function_id")?,
            get(&row, TABLE, "width")?,
            get(&row, TABLE, "start")?,
        );
        let mut counts = [0; Counter::ALL.len()];
        for (count, counter) in counts.iter_mut().zip(Counter::ALL) {
            let stored: i64 = get(&row, TABLE, counter_column(counter))?;
            *count = stored.unsigned_abs();
        }
        let mut sketches: [Sketch; Latency::ALL.len()] = Default::default();
        for (sketch, latency) in sketches.iter_mut().zip(Latency::ALL) {
            let column = latency_column(latency);
            *sketch = sketch_of(get(&row, TABLE, column)?, column)?;
        }
        tallies.insert(key, Tally::from_parts(counts, sketches));
    }
    Ok(tallies)
}

/// A stored sketch; an empty one where nothing was measured.
pub(super) fn sketch_of(bytes: Option<Vec<u8>>, column: &'static str) -> Result<Sketch, Error> {
    let Some(bytes) = bytes else {
        return Ok(Sketch::default());
    };
    Sketch::from_bytes(&bytes).ok_or_else(|| Error::BadRow {
        table: TABLE,
        id: column.to_owned(),
        column,
    })
}

fn values((env, function, width, start): Key, tally: &Tally) -> Vec<Value> {
    let mut values: Vec<Value> = vec![env.into(), function.into(), width.into(), start.into()];
    for counter in Counter::ALL {
        let count = i64::try_from(tally.count(counter)).unwrap_or(i64::MAX);
        values.push(count.into());
    }
    for latency in Latency::ALL {
        let sketch = tally.sketch(latency);
        let bytes = (!sketch.is_empty()).then(|| sketch.to_bytes());
        values.push(bytes.into());
    }
    values
}
