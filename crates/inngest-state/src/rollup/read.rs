//! What the buckets say. Each function is one statement, over one environment and one row of buckets.

use std::collections::BTreeMap;

use inngest_core::{
    ids::{AppId, EnvId, FunctionId},
    rollup::{Counter, Latency, Sketch, Span},
    time::Timestamp,
};
use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};
use uuid::Uuid;

use super::{
    counter_column, latency_column,
    store::{TABLE, sketch_of},
};
use crate::{
    Error, Store,
    rows::{ms, time},
    write::get,
};

/// Most rows of sketches that one answer is added up from.
const MOST_SKETCHES: usize = 100_000;

/// Which figures are asked for.
#[derive(Clone, Debug)]
pub struct RollupQuery {
    /// The tenant.
    pub env: EnvId,
    /// The buckets.
    pub span: Span,
    /// Only of these functions.
    pub functions: Option<Vec<FunctionId>>,
    /// Only of functions of these apps.
    pub apps: Option<Vec<AppId>>,
}

/// By what figures are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupedBy {
    /// By function.
    Function,
    /// By app.
    App,
}

/// Which groups are asked for.
#[derive(Clone, Debug)]
pub enum RollupGroup {
    /// All together, under an id whose bits are all 0.
    Together,
    /// These functions, or apps, each under its own id.
    Each(GroupedBy, Vec<Uuid>),
}

impl GroupedBy {
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Function => "r.function_id",
            Self::App => "f.app_id",
        }
    }
}

/// A statement under construction.
pub(super) struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// `column IN (…)`; an empty list matches nothing.
    fn is_in(&mut self, column: &str, ids: impl Iterator<Item = Uuid>) {
        let list: Vec<String> = ids.map(|id| self.bind(id.into())).collect();
        let condition = match list.is_empty() {
            true => " AND 1 = 0".to_owned(),
            false => format!(" AND {column} IN ({})", list.join(", ")),
        };
        self.push(&condition);
    }
}

impl RollupQuery {
    fn is_narrowed(&self) -> bool {
        self.functions.is_some() || self.apps.is_some()
    }

    /// `SELECT columns FROM … WHERE …` for rows of functions, or for those of the whole environment.
    pub(super) fn select(&self, columns: &str, of_functions: bool, with_apps: bool) -> Sql {
        let join = match with_apps || self.apps.is_some() {
            true => " JOIN functions f ON f.id = r.function_id AND f.env_id = r.env_id",
            false => "",
        };
        let mut sql = Sql {
            text: format!("SELECT {columns} FROM {TABLE} r{join} WHERE"),
            values: Vec::new(),
        };
        let env = sql.bind(self.env.raw().into());
        let width = sql.bind(self.span.width.seconds().into());
        let (from, until) = (sql.bind(ms(self.span.from)), sql.bind(ms(self.span.until)));
        let nobody = sql.bind(Uuid::nil().into());
        let sign = if of_functions { "<>" } else { "=" };
        sql.push(&format!(
            " r.env_id = {env} AND r.width = {width} AND r.start >= {from} AND r.start < {until} AND r.function_id {sign} {nobody}"
        ));
        if let Some(functions) = &self.functions {
            sql.is_in("r.function_id", functions.iter().map(|id| id.raw()));
        }
        if let Some(apps) = &self.apps {
            sql.is_in("f.app_id", apps.iter().map(|id| id.raw()));
        }
        sql
    }

    /// The statement for a group, with the expression of its id.
    pub(super) fn select_group(
        &self,
        columns: &str,
        group: &RollupGroup,
    ) -> (Sql, Option<&'static str>) {
        match group {
            RollupGroup::Together => (self.select(columns, self.is_narrowed(), false), None),
            RollupGroup::Each(by, ids) => {
                let columns = format!("{} AS id, {columns}", by.column());
                let mut sql = self.select(&columns, true, *by == GroupedBy::App);
                sql.is_in(by.column(), ids.iter().copied());
                (sql, Some(by.column()))
            }
        }
    }
}

impl Store {
    /// How many were counted in each bucket that has any, by group, in the order of `counters`.
    ///
    /// # Errors
    /// The database's.
    pub async fn rolled_counts(
        &self,
        query: &RollupQuery,
        group: &RollupGroup,
        counters: &[Counter],
    ) -> Result<Vec<(Uuid, Timestamp, Vec<u64>)>, Error> {
        let columns = format!("r.start, {}", sums(counters));
        let (mut sql, id) = query.select_group(&columns, group);
        let id_first = id.map_or_else(String::new, |id| format!("{id}, "));
        sql.push(&format!(" GROUP BY {id_first}r.start"));
        let read = |row: &QueryResult| {
            Ok((
                group_id(row, id)?,
                time(get(row, TABLE, "start")?),
                read_sums(row, counters)?,
            ))
        };
        self.rollup_rows(sql).await?.iter().map(read).collect()
    }

    /// The functions, or apps, of which most was counted, at most `most` of them, the most first.
    ///
    /// # Errors
    /// The database's.
    pub async fn rolled_top(
        &self,
        query: &RollupQuery,
        by: GroupedBy,
        counters: &[Counter],
        most: u32,
    ) -> Result<Vec<Uuid>, Error> {
        let id = by.column();
        let all: Vec<&str> = counters.iter().map(|one| counter_column(*one)).collect();
        let sum = format!("SUM(r.{})", all.join(" + r."));
        let columns = format!("{id} AS id");
        let mut sql = query.select(&columns, true, by == GroupedBy::App);
        sql.push(&format!(
            " GROUP BY {id} HAVING {sum} > 0 ORDER BY {sum} DESC, {id} LIMIT {most}"
        ));
        let read = |row: &QueryResult| group_id(row, Some(id));
        self.rollup_rows(sql).await?.iter().map(read).collect()
    }

    /// Functions of which runs have failed, with how many ended and how many of these failed; at most `most`, the largest share first.
    ///
    /// # Errors
    /// The database's.
    pub async fn rolled_failures(
        &self,
        query: &RollupQuery,
        most: u32,
    ) -> Result<Vec<(FunctionId, u64, u64)>, Error> {
        let failed = "SUM(r.runs_failed)";
        let ended = "SUM(r.runs_completed + r.runs_failed + r.runs_cancelled)";
        let columns = format!(
            "r.function_id AS id, CAST({ended} AS bigint) AS c0, CAST({failed} AS bigint) AS c1"
        );
        let mut sql = query.select(&columns, true, false);
        sql.push(&format!(
            " GROUP BY r.function_id HAVING {failed} > 0 ORDER BY {failed} * 1.0 / {ended} DESC, {failed} DESC, r.function_id LIMIT {most}"
        ));
        let read = |row: &QueryResult| {
            let [ended, failed] = [count(row, 0)?, count(row, 1)?];
            Ok((FunctionId::from_raw(get(row, TABLE, "id")?), ended, failed))
        };
        self.rollup_rows(sql).await?.iter().map(read).collect()
    }

    /// What was measured in each bucket that has any, by group. None when that would have to be added up from too many rows.
    ///
    /// # Errors
    /// The database's.
    pub async fn rolled_sketches(
        &self,
        query: &RollupQuery,
        group: &RollupGroup,
        latency: Latency,
    ) -> Result<Option<BTreeMap<(Uuid, Timestamp), Sketch>>, Error> {
        let column = latency_column(latency);
        let (mut sql, id) = query.select_group(&format!("r.start, r.{column} AS sketch"), group);
        let limit = MOST_SKETCHES + 1;
        sql.push(&format!(" AND r.{column} IS NOT NULL LIMIT {limit}"));
        let rows = self.rollup_rows(sql).await?;
        if rows.len() > MOST_SKETCHES {
            return Ok(None);
        }
        let mut found: BTreeMap<(Uuid, Timestamp), Sketch> = BTreeMap::new();
        for row in &rows {
            let key = (group_id(row, id)?, time(get(row, TABLE, "start")?));
            let sketch = sketch_of(get(row, TABLE, "sketch")?, column)?;
            found.entry(key).or_default().merge(&sketch);
        }
        Ok(Some(found))
    }

    pub(super) async fn rollup_rows(&self, sql: Sql) -> Result<Vec<QueryResult>, Error> {
        let conn = self.reader();
        let statement =
            Statement::from_sql_and_values(conn.get_database_backend(), sql.text, sql.values);
        conn.query_all_raw(statement)
            .await
            .map_err(Error::on(TABLE))
    }
}

fn sums(counters: &[Counter]) -> String {
    let sum = |(place, counter): (usize, &Counter)| {
        let column = counter_column(*counter);
        format!("CAST(SUM(r.{column}) AS bigint) AS c{place}")
    };
    let sums: Vec<String> = counters.iter().enumerate().map(sum).collect();
    sums.join(", ")
}

fn read_sums(row: &QueryResult, counters: &[Counter]) -> Result<Vec<u64>, Error> {
    (0..counters.len()).map(|place| count(row, place)).collect()
}

fn count(row: &QueryResult, place: usize) -> Result<u64, Error> {
    let column = format!("c{place}");
    let count: i64 = row.try_get("", &column).map_err(Error::on(TABLE))?;
    Ok(count.unsigned_abs())
}

pub(super) fn group_id(row: &QueryResult, id: Option<&str>) -> Result<Uuid, Error> {
    match id {
        Some(_) => get(row, TABLE, "id"),
        None => Ok(Uuid::nil()),
    }
}
