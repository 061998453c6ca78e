//! What must be true of the rows whenever nobody is writing, as queries. For tests, which ask after everything they do.

use inngest_core::{event, time::Timestamp};
use sea_orm::{ConnectionTrait, Statement};

use crate::{Error, Store};

/// Each rule with the query that counts what breaks it.
const RULES: [(&str, &str); 13] = [
    (
        "runs that nothing will ever move",
        "SELECT count(*) AS n FROM runs r WHERE r.ended_at IS NULL AND NOT EXISTS (SELECT 1 FROM work w WHERE w.run_id = r.id AND w.kind NOT IN (8, 9))",
    ),
    (
        "pieces of work of runs that have ended",
        "SELECT count(*) AS n FROM work w JOIN runs r ON r.id = w.run_id WHERE r.ended_at IS NOT NULL",
    ),
    (
        "pieces of work of runs that do not exist",
        "SELECT count(*) AS n FROM work w WHERE w.run_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = w.run_id)",
    ),
    (
        "waits of runs that have ended or do not exist",
        "SELECT count(*) AS n FROM waits w WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = w.run_id AND r.ended_at IS NULL)",
    ),
    (
        "waits of steps that no timer will end",
        "SELECT count(*) AS n FROM waits w WHERE w.kind <> 4 AND NOT EXISTS (SELECT 1 FROM work t WHERE t.run_id = w.run_id AND t.step_id = w.step_id AND t.kind = 4)",
    ),
    (
        "open steps that nothing will end",
        "SELECT count(*) AS n FROM steps s JOIN runs r ON r.id = s.run_id WHERE s.status = 1 AND r.ended_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM work w WHERE w.run_id = s.run_id AND w.step_id = s.step_id)",
    ),
    (
        "open steps of runs that have ended",
        "SELECT count(*) AS n FROM steps s JOIN runs r ON r.id = s.run_id WHERE s.status = 1 AND r.ended_at IS NOT NULL",
    ),
    (
        "pieces of work for steps that have ended",
        "SELECT count(*) AS n FROM work w JOIN steps s ON s.run_id = w.run_id AND s.step_id = w.step_id WHERE s.position IS NOT NULL",
    ),
    (
        "stacks with a place that is empty or taken twice",
        "SELECT count(*) AS n FROM (SELECT run_id FROM steps WHERE position IS NOT NULL GROUP BY run_id \
         HAVING max(position) + 1 <> count(*) OR count(DISTINCT position) <> count(*)) broken",
    ),
    (
        "runs that have ended without an output",
        "SELECT count(*) AS n FROM runs WHERE status IN (3, 4, 5) AND (ended_at IS NULL OR output IS NULL)",
    ),
    (
        "runs that have an end but are not said to have ended",
        "SELECT count(*) AS n FROM runs WHERE status IN (1, 2) AND ended_at IS NOT NULL",
    ),
    (
        "runs whose event is missing",
        "SELECT count(*) AS n FROM runs r WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.id = r.event_id)",
    ),
    (
        "keys that hold the place of a run that does not exist",
        "SELECT count(*) AS n FROM idempotency k WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = k.run_id)",
    ),
];

impl Store {
    /// What is wrong with the rows, in sentences; empty when nothing is. With a time, also work that was due by then and is still
    /// there.
    ///
    /// # Errors
    /// The database's.
    pub async fn complaints(&self, settled_at: Option<Timestamp>) -> Result<Vec<String>, Error> {
        let mut complaints = Vec::new();
        for (what, sql) in RULES {
            let count = self.count(sql).await?;
            if count > 0 {
                complaints.push(format!("{count} {what}"));
            }
        }
        for (status, name) in [
            (None, event::FUNCTION_FINISHED),
            (Some(4), event::FUNCTION_FAILED),
            (Some(5), event::FUNCTION_CANCELLED),
        ] {
            let statuses = status.map_or("3, 4, 5".to_owned(), |status: i16| status.to_string());
            let ended = format!(
                "SELECT count(*) AS n FROM runs WHERE status IN ({statuses}) AND event_name NOT IN ('{}', '{}')",
                event::FUNCTION_FINISHED,
                event::FUNCTION_FAILED
            );
            let told = format!("SELECT count(*) AS n FROM events WHERE name = '{name}'");
            let (ended, told) = (self.count(&ended).await?, self.count(&told).await?);
            if ended != told {
                complaints.push(format!("{ended} ends of runs, but {told} events `{name}`"));
            }
        }
        complaints.extend(self.wrong_figures().await?);
        if let Some(at) = settled_at {
            let sql = format!(
                "SELECT count(*) AS n FROM work WHERE due_at <= {}",
                at.as_millis()
            );
            let due = self.count(&sql).await?;
            if due > 0 {
                complaints.push(format!("{due} pieces of work that are due and left undone"));
            }
        }
        Ok(complaints)
    }

    /// The number that a query yields in column `n`.
    ///
    /// # Errors
    /// The database's.
    pub async fn count(&self, sql: &str) -> Result<i64, Error> {
        let statement = Statement::from_string(self.reader().get_database_backend(), sql);
        let row = self
            .reader()
            .query_one_raw(statement)
            .await
            .map_err(Error::on("(house)"))?;
        row.map(|row| row.try_get("", "n"))
            .transpose()
            .map(Option::unwrap_or_default)
            .map_err(Error::on("(house)"))
    }
}
