//! Levels: how much was waiting and under way in the schedule, as the most of each bucket.
//!
//! Samples go straight into the buckets, beside the figures that are added up: columns of their own, of which only the larger value stays. So
//! it does not matter how often a sample is stored, or by how many.

use std::collections::{BTreeMap, HashMap};

use inngest_core::{
    ids::{EnvId, FunctionId},
    rollup::{Level, Width},
    time::Timestamp,
};
use sea_orm::{QueryResult, Value};
use uuid::Uuid;

use super::{
    counter_columns,
    read::{GroupedBy, RollupGroup, RollupQuery, group_id},
    store::TABLE,
};
use crate::{
    Error, Store,
    rows::{ms, time},
    sql::{insert_rows, select_in},
    write::get,
};

/// Levels of one function at one time, in the order of [`Level::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelSample {
    /// The function.
    pub function: FunctionId,
    /// What was measured.
    pub levels: [u64; Level::ALL.len()],
}

fn level_column(level: Level) -> &'static str {
    match level {
        Level::Backlog => "backlog",
        Level::Executing => "executing",
    }
}

impl Store {
    /// Raises the levels of the buckets of this time to those of the samples, each function's and the sum of each environment. Functions that
    /// nobody knows are left out. Each row is written as a whole; not all of them are at once.
    ///
    /// # Errors
    /// The database's.
    pub async fn store_levels(&self, at: Timestamp, samples: &[LevelSample]) -> Result<(), Error> {
        let envs = self.environments_of(samples).await?;
        let mut rows: BTreeMap<(Uuid, Uuid, i32), [u64; Level::ALL.len()]> = BTreeMap::new();
        for sample in samples {
            let Some(env) = envs.get(&sample.function) else {
                continue;
            };
            for width in Width::ALL {
                for function in [Uuid::nil(), sample.function.raw()] {
                    let key = (env.raw(), function, width.seconds());
                    let levels = rows.entry(key).or_default();
                    for (sum, level) in levels.iter_mut().zip(sample.levels) {
                        *sum = sum.saturating_add(level);
                    }
                }
            }
        }
        let start_of = |seconds: i32| {
            let width = Width::ALL.iter().find(|width| width.seconds() == seconds);
            ms(width.map_or(at, |width| width.floor(at)))
        };
        // In the order in which figures are added, so that nobody waits for each other in a circle.
        let values = rows.into_iter().map(|((env, function, width), levels)| {
            let mut values: Vec<Value> =
                vec![env.into(), function.into(), width.into(), start_of(width)];
            values.extend(counter_columns().map(|_| Value::from(0i64)));
            let level = |level: u64| Value::from(i64::try_from(level).unwrap_or(i64::MAX));
            values.extend(levels.into_iter().map(level));
            values
        });
        let counters: Vec<&str> = counter_columns().collect();
        let levels = Level::ALL.map(level_column);
        let head = format!(
            "{TABLE} (env_id, function_id, width, start, {}, {})",
            counters.join(", "),
            levels.join(", ")
        );
        let larger = levels.map(|column| {
            format!(
                "{column} = CASE WHEN {TABLE}.{column} >= excluded.{column} THEN {TABLE}.{column} ELSE excluded.{column} END"
            )
        });
        let tail = format!(
            "ON CONFLICT (env_id, function_id, width, start) DO UPDATE SET {}",
            larger.join(", ")
        );
        insert_rows(self.writer(), &head, &tail, values.collect())
            .await
            .map_err(Error::on(TABLE))
    }

    async fn environments_of(
        &self,
        samples: &[LevelSample],
    ) -> Result<HashMap<FunctionId, EnvId>, Error> {
        let ids: Vec<Value> = samples
            .iter()
            .map(|sample| sample.function.raw().into())
            .collect();
        let before = "SELECT id, env_id FROM functions WHERE id IN";
        let mut envs = HashMap::new();
        for row in select_in(self.reader(), before, ids, "")
            .await
            .map_err(Error::on("functions"))?
        {
            envs.insert(
                FunctionId::from_raw(get(&row, "functions", "id")?),
                EnvId::from_raw(get(&row, "functions", "env_id")?),
            );
        }
        Ok(envs)
    }

    /// The most of each bucket in which the level was measured: of the whole environment, or of one function or several, each on its own.
    ///
    /// # Errors
    /// The database's.
    pub async fn rolled_levels(
        &self,
        query: &RollupQuery,
        group: &RollupGroup,
        level: Level,
    ) -> Result<Vec<(Uuid, Timestamp, u64)>, Error> {
        let column = level_column(level);
        let (mut sql, id) = query.select_group(&format!("r.start, r.{column} AS level"), group);
        sql.push(&format!(" AND r.{column} IS NOT NULL"));
        let read = |row: &QueryResult| {
            let level: i64 = get(row, TABLE, "level")?;
            let start = time(get(row, TABLE, "start")?);
            Ok((group_id(row, id)?, start, level.unsigned_abs()))
        };
        self.rollup_rows(sql).await?.iter().map(read).collect()
    }

    /// The functions whose level was highest, at most `most`, the highest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn rolled_highest(
        &self,
        query: &RollupQuery,
        level: Level,
        most: u32,
    ) -> Result<Vec<Uuid>, Error> {
        let column = level_column(level);
        let id = GroupedBy::Function.column();
        let mut sql = query.select(&format!("{id} AS id"), true, false);
        sql.push(&format!(
            " AND r.{column} > 0 GROUP BY {id} ORDER BY MAX(r.{column}) DESC, {id} LIMIT {most}"
        ));
        let read = |row: &QueryResult| group_id(row, Some(id));
        self.rollup_rows(sql).await?.iter().map(read).collect()
    }
}
