//! Tables in partitions by time, on Postgres: a week each, made ahead of time, and dropped whole.
//!
//! Ids begin with the millisecond in which they were made, so a range of ids is a range of time, the primary keys stay what they are and
//! whatever looks for ids looks only into their weeks. Each table also has a first partition, for everything before the weeks begin,
//! and a default one, for ids of other times: a sender may determine the id of an event. SQLite has plain tables.

use std::{fmt, time::Duration};

use inngest_core::time::Timestamp;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, QueryResult,
    Statement, TransactionTrait,
};
use tracing::{info, warn};
use uuid::Uuid;

use crate::{Error, Store, rows::first_id, write::get};

/// The length of a partition. A table of 30 days then has nine of them.
pub(crate) const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// The first Monday of the epoch.
const MONDAY: Duration = Duration::from_secs(4 * 86_400);
/// Weeks that are made ahead of time, after the present one.
const AHEAD: u32 = 2;
/// Rows that are moved out of the default partition at most when their week gets its own.
const MOVED: i64 = 10_000;

/// A table in partitions, the column whose range they hold, and how its rows are stored: what is changed where it lies needs room there.
pub(crate) struct Partitioned {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    storage: &'static str,
}

pub(crate) const EVENTS: Partitioned = Partitioned {
    table: "events",
    column: "id",
    storage: "",
};
pub(crate) const RUNS: Partitioned = Partitioned {
    table: "runs",
    column: "id",
    storage: "WITH (fillfactor = 80)",
};
pub(crate) const STEPS: Partitioned = Partitioned {
    table: "steps",
    column: "run_id",
    storage: "WITH (fillfactor = 90)",
};
pub(crate) const FAILED_ATTEMPTS: Partitioned = Partitioned {
    table: "failed_attempts",
    column: "run_id",
    storage: "",
};
pub(crate) const ALL: [&Partitioned; 4] = [&EVENTS, &RUNS, &STEPS, &FAILED_ATTEMPTS];

/// A partition that holds a range of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Its name as a table.
    pub(crate) name: String,
    /// The least id in it; none for the first.
    pub(crate) from: Option<Uuid>,
    /// The least id that is beyond it.
    pub(crate) to: Uuid,
}

/// One week, from Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Week(Timestamp);

impl Week {
    pub(crate) fn of(time: Timestamp) -> Self {
        let since = time.since(Timestamp::from_millis(0).plus(MONDAY));
        let weeks = since.as_millis() / WEEK.as_millis();
        let start = MONDAY + WEEK * u32::try_from(weeks).unwrap_or(u32::MAX);
        Self(Timestamp::from_millis(0).plus(start))
    }

    fn next(self) -> Self {
        Self(self.0.plus(WEEK))
    }

    pub(crate) fn range(self) -> (Uuid, Uuid) {
        (first_id(self.0), first_id(self.next().0))
    }
}

impl fmt::Display for Week {
    /// As names of partitions end: `20261123`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.0.to_rfc3339();
        f.write_str(&date[..10].replace('-', ""))
    }
}

/// The first id of the week in which `time` is: what is older lies in partitions that hold nothing younger.
pub(crate) fn week_floor(time: Timestamp) -> Uuid {
    Week::of(time).range().0
}

impl Store {
    /// Makes the partitions of this week and the next ones, where they are missing, and returns how many it made. Several processes may do
    /// so at once. Nothing to do on SQLite.
    ///
    /// # Errors
    /// The database's; also when a table was in use for too long. Rows then go to the default partition, and the next call tries again.
    pub async fn make_partitions(&self, now: Timestamp) -> Result<u64, Error> {
        if self.writer().get_database_backend() != DbBackend::Postgres {
            return Ok(0);
        }
        let mut made = 0;
        for table in ALL {
            let existing = partitions(self.writer(), table).await?;
            let mut week = Week::of(now);
            for _ in 0..=AHEAD {
                let (from, to) = week.range();
                let is_free = existing.iter().all(|partition| {
                    partition.to <= from || partition.from.is_some_and(|least| least >= to)
                });
                if is_free {
                    made += u64::from(make(self.writer(), table, week).await?);
                }
                week = week.next();
            }
        }
        Ok(made)
    }
}

/// The partitions of a table that hold a range, oldest first.
pub(crate) async fn partitions(
    conn: &DatabaseConnection,
    table: &Partitioned,
) -> Result<Vec<Partition>, Error> {
    let on = || Error::on(table.table);
    let sql = "SELECT c.relname::text AS name, pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits i \
               JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::regclass";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [table.table.into()]);
    let rows = conn.query_all_raw(statement).await.map_err(on())?;
    let mut found = Vec::new();
    for row in &rows {
        found.extend(partition_of(row, table.table)?);
    }
    found.sort_by_key(|partition| partition.to);
    Ok(found)
}

/// Reads `FOR VALUES FROM ('…') TO ('…')`; none for the default partition.
fn partition_of(row: &QueryResult, table: &'static str) -> Result<Option<Partition>, Error> {
    let (name, bound): (String, String) = (get(row, table, "name")?, get(row, table, "bound")?);
    let Some((from, to)) = bound.split_once(" TO ") else {
        return Ok(None);
    };
    let id = |text: &str| {
        let text = text.split('\'').nth(1)?;
        Uuid::parse_str(text).ok()
    };
    let Some(to) = id(to) else { return Ok(None) };
    let from = id(from);
    Ok(Some(Partition { name, from, to }))
}

/// Makes one partition, unless another process was quicker.
async fn make(conn: &DatabaseConnection, table: &Partitioned, week: Week) -> Result<bool, Error> {
    let name = format!("{}_{week}", table.table);
    match make_in_transaction(conn, table, week, &name).await {
        Ok(()) => {
            info!(partition.id = name, "partition made");
            Ok(true)
        }
        // Two that make the same one meet at its name, at its row in the catalogue, or at its place in the table.
        Err(error) => match partitions(conn, table).await {
            Ok(existing) if existing.iter().any(|partition| partition.name == name) => Ok(false),
            _ => Err(Error::on(table.table)(error)),
        },
    }
}

async fn make_in_transaction(
    conn: &DatabaseConnection,
    table: &Partitioned,
    week: Week,
    name: &str,
) -> Result<(), DbErr> {
    let Partitioned {
        table,
        column,
        storage,
    } = table;
    let (from, to) = week.range();
    let tx = conn.begin().await?;
    take_short_locks(&tx).await?;
    // Made beside the table and then attached, which lets others read and write the table meanwhile.
    tx.execute_unprepared(&format!(
        "CREATE TABLE {name} (LIKE {table}) {storage}; LOCK TABLE {table}_default IN SHARE ROW EXCLUSIVE MODE"
    ))
    .await?;
    let range = format!("{column} >= '{from}' AND {column} < '{to}'");
    let strays = Statement::from_string(
        DbBackend::Postgres,
        format!(
            "SELECT count(*) AS n FROM (SELECT 1 FROM {table}_default WHERE {range} LIMIT {MOVED} + 1) AS strays"
        ),
    );
    let strays: i64 = match tx.query_one_raw(strays).await? {
        Some(row) => row.try_get("", "n")?,
        None => 0,
    };
    if strays > MOVED {
        warn!(
            partition.id = name,
            "too many rows came before their partition; they stay in the default one"
        );
        return Err(DbErr::Custom(format!(
            "more than {MOVED} rows of {table} came before their partition {name}"
        )));
    }
    if strays > 0 {
        tx.execute_unprepared(&format!(
            "WITH strays AS (DELETE FROM {table}_default WHERE {range} RETURNING *) INSERT INTO {name} SELECT * FROM strays"
        ))
        .await?;
    }
    tx.execute_unprepared(&format!(
        "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{from}') TO ('{to}')"
    ))
    .await?;
    tx.commit().await
}

/// Whoever waits for a lock on a table holds up all that come after it, so it must not wait for long.
pub(crate) async fn take_short_locks(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    tx.execute_unprepared("SET LOCAL lock_timeout = '500ms'")
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday_and_leave_no_gap() {
        // 2026-11-25 is a Wednesday.
        let week = Week::of(Timestamp::from_millis(1_795_621_176_000));
        assert_eq!(week.to_string(), "20261123");
        assert_eq!(week.next().to_string(), "20261130");
        assert_eq!(week.range().1, week.next().range().0);
        assert_eq!(Week::of(week.0), week);
        let before = Timestamp::from_millis(week.0.as_millis() - 1);
        assert_eq!(Week::of(before).next(), week);
    }
}
