//! Whether the figures are those of the rows. For tests, which ask after everything they do.

use std::collections::{BTreeMap, BTreeSet};

use inngest_core::{
    limits,
    rollup::{Counter, Measures, NameCounts, Width},
};
use sea_orm::{ConnectionTrait, Statement, Value};
use uuid::Uuid;

use super::{counter_column, names::NAMES, store::TABLE};
use crate::{Error, Store, change_log::LOG, write::get};

/// What is counted, with the query that counts it in the rows. A run that repeats another from a step begins with copies of its steps, which
/// have not ended a second time, so steps are only counted where there is no such run.
const COUNTED: [(Counter, &str); 11] = [
    (Counter::RunsQueued, "runs WHERE status <> 6"),
    (Counter::RunsSkipped, "runs WHERE status = 6"),
    (Counter::RunsStarted, "runs WHERE started_at IS NOT NULL"),
    (Counter::RunsCompleted, "runs WHERE status = 3"),
    (Counter::RunsFailed, "runs WHERE status = 4"),
    (Counter::RunsCancelled, "runs WHERE status = 5"),
    (Counter::StepsCompleted, "steps WHERE status IN (2, 4)"),
    (Counter::StepsFailed, "steps WHERE status = 3"),
    (Counter::StepsCancelled, "steps WHERE status = 5"),
    (
        Counter::AttemptsRetried,
        "failed_attempts WHERE step_id <> '' AND next_at IS NOT NULL",
    ),
    // An event whose data somebody has edited for a run that repeats another was sent by nobody.
    (
        Counter::Events,
        "events WHERE NOT internal AND NOT EXISTS (SELECT 1 FROM runs r JOIN runs o ON o.id = r.original_id \
         WHERE r.event_id = events.id AND r.event_id <> o.event_id)",
    ),
];

impl Store {
    /// Where the figures over time, and those that are yet to be added to them, are not those of the rows, in sentences. Says nothing once
    /// rows may have been deleted for their age.
    pub(crate) async fn wrong_figures(&self) -> Result<Vec<String>, Error> {
        let pending = self.pending_figures().await?;
        let retained = "SELECT count(*) AS n FROM housekeeping WHERE name = 'retention'";
        if self.count(retained).await? > 0 && self.reaches_back(&pending).await? {
            return Ok(Vec::new());
        }
        let reruns = "SELECT count(*) AS n FROM runs WHERE rerun_step IS NOT NULL";
        let has_copies = self.count(reruns).await? > 0;
        let mut wrong = Vec::new();
        for (counter, from) in COUNTED {
            if has_copies && from.starts_with("steps") {
                continue;
            }
            let sql = format!("SELECT count(*) AS n FROM {from}");
            let rows = self.count(&sql).await?.unsigned_abs();
            let waiting: u64 = pending
                .iter()
                .flat_map(Measures::iter)
                .map(|(_, _, tally)| tally.count(counter))
                .sum();
            let added = self.added(counter).await?;
            if added + waiting != rows {
                wrong.push(format!(
                    "{rows} rows are counted as {counter:?}, but the figures say {added} and {waiting} more to be added"
                ));
            }
        }
        wrong.extend(self.wrong_names().await?);
        Ok(wrong)
    }

    /// Where events by name are not those of the rows: never more, and as many where all names have room.
    async fn wrong_names(&self) -> Result<Vec<String>, Error> {
        let sent = COUNTED.iter().find(|(it, _)| *it == Counter::Events);
        let sent = sent.map_or("", |(_, from)| from);
        let rows = format!("SELECT env_id, name, count(*) AS n FROM {sent} GROUP BY env_id, name");
        let rows = self.by_name(&rows).await?;
        let added = format!(
            "SELECT env_id, name, CAST(SUM(events) AS bigint) AS n FROM {NAMES} WHERE width = {} GROUP BY env_id, name",
            Width::Day.seconds()
        );
        let mut counted = self.by_name(&added).await?;
        for (env, counts) in self.pending_names().await? {
            for (_, name, count) in counts.iter() {
                *counted.entry((env, name.to_owned())).or_default() += count;
            }
        }
        // The events of one transaction are those of two buckets, if need be.
        let has_room = rows.len() * 2 <= limits::EVENT_NAMES_PER_COMMIT;
        let keys: BTreeSet<_> = rows.keys().chain(counted.keys()).collect();
        let mut wrong = Vec::new();
        for key in keys {
            let [rows, counted] = [&rows, &counted].map(|it| it.get(key).copied().unwrap_or(0));
            if counted > rows || (has_room && counted < rows) {
                wrong.push(format!(
                    "{rows} events `{}` are there, but the figures say {counted}",
                    key.1
                ));
            }
        }
        Ok(wrong)
    }

    async fn by_name(&self, sql: &str) -> Result<BTreeMap<(Uuid, String), u64>, Error> {
        let conn = self.reader();
        let statement = Statement::from_string(conn.get_database_backend(), sql);
        let rows = conn.query_all_raw(statement).await;
        let mut found = BTreeMap::new();
        for row in rows.map_err(Error::on(NAMES))? {
            let key = (get(&row, NAMES, "env_id")?, get(&row, NAMES, "name")?);
            let count: i64 = get(&row, NAMES, "n")?;
            found.insert(key, count.unsigned_abs());
        }
        Ok(found)
    }

    async fn pending_names(&self) -> Result<Vec<(Uuid, NameCounts)>, Error> {
        let sql = format!(
            "SELECT l.env_id, l.event_names FROM {LOG} l CROSS JOIN rollup_position p WHERE (l.txid, l.seq) > (p.txid, p.seq) \
             AND l.event_names IS NOT NULL"
        );
        let conn = self.reader();
        let statement = Statement::from_string(conn.get_database_backend(), sql);
        let rows = conn.query_all_raw(statement).await;
        let mut pending = Vec::new();
        for row in rows.map_err(Error::on(LOG))? {
            let bytes: Vec<u8> = get(&row, LOG, "event_names")?;
            let env = get(&row, LOG, "env_id")?;
            pending.extend(NameCounts::from_bytes(&bytes).map(|counts| (env, counts)));
        }
        Ok(pending)
    }

    /// Whether there are figures of more than a week, which is longer than anything lasts that keeps all its rows.
    async fn reaches_back(&self, pending: &[Measures]) -> Result<bool, Error> {
        const WEEK: i64 = 7 * 86_400_000;
        let sql = |end: &str| format!("SELECT COALESCE({end}(start), 0) AS n FROM {TABLE}");
        let (first, last) = (
            self.count(&sql("MIN")).await?,
            self.count(&sql("MAX")).await?,
        );
        let waiting = pending.iter().flat_map(Measures::iter);
        let waiting = waiting.map(|(_, start, _)| start.as_millis());
        let all = waiting.chain([first, last].into_iter().filter(|start| *start > 0));
        let (first, last) = all.fold((i64::MAX, 0), |(first, last), start| {
            (first.min(start), last.max(start))
        });
        Ok(last.saturating_sub(first) > WEEK)
    }

    async fn added(&self, counter: Counter) -> Result<u64, Error> {
        let column = counter_column(counter);
        let sql = format!(
            "SELECT CAST(COALESCE(SUM({column}), 0) AS bigint) AS n FROM {TABLE} WHERE width = $1 AND function_id = $2"
        );
        let values: [Value; 2] = [Width::Day.seconds().into(), Uuid::nil().into()];
        let conn = self.reader();
        let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
        let row = conn.query_one_raw(statement).await;
        let sum: i64 = row
            .map_err(Error::on(TABLE))?
            .map_or(Ok(0), |row| get(&row, TABLE, "n"))?;
        Ok(sum.unsigned_abs())
    }

    async fn pending_figures(&self) -> Result<Vec<Measures>, Error> {
        let sql = format!(
            "SELECT l.measures FROM {LOG} l CROSS JOIN rollup_position p WHERE (l.txid, l.seq) > (p.txid, p.seq) AND l.measures IS NOT NULL"
        );
        let conn = self.reader();
        let statement = Statement::from_string(conn.get_database_backend(), sql);
        let rows = conn.query_all_raw(statement).await;
        let mut pending = Vec::new();
        for row in rows.map_err(Error::on(LOG))? {
            let bytes: Vec<u8> = get(&row, LOG, "measures")?;
            pending.extend(Measures::from_bytes(&bytes));
        }
        Ok(pending)
    }
}
