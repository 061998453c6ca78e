//! Events by name: from the change log into buckets of their own, and what these say.
//!
//! Senders can make up any number of names. On each day (UTC) the first names of an environment are counted apart, up to a bound, in buckets
//! of all widths alike; the buckets of the day say which these are. All other events are in the figures of the environment alone.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};

use inngest_core::{
    ids::EnvId,
    limits,
    rollup::{NameCounts, Span, Width},
    time::Timestamp,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, Statement, Value};
use uuid::Uuid;

use crate::{
    Error, Store,
    rows::{ms, time},
    sql::{insert_rows, select_tuples},
    write::get,
};

pub(crate) const NAMES: &str = "event_rollups";

/// How many events of a name there were in the bucket that begins then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPoint {
    /// The name.
    pub name: String,
    /// Start of the bucket.
    pub start: Timestamp,
    /// The events.
    pub events: u64,
}

/// An environment and the start of a day.
type Day = (Uuid, i64);

/// Events by environment, name and start of the smallest bucket.
#[derive(Default)]
pub(super) struct NameBuckets(BTreeMap<(Uuid, String, i64), u64>);

impl NameBuckets {
    pub(super) fn add(&mut self, env: EnvId, counts: &NameCounts) {
        for (start, name, count) in counts.iter() {
            let key = (env.raw(), name.to_owned(), start.as_millis());
            let sum = self.0.entry(key).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Adds them to what is stored, as far as there is room for their names. Nobody else adds while the position is ours.
    pub(super) async fn store(self, tx: &DatabaseTransaction) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let counted = self.counted(tx).await?;
        let mut buckets: BTreeMap<(Uuid, String, i32, i64), u64> = BTreeMap::new();
        for ((env, name, start), count) in self.0 {
            let names = counted.get(&(env, start_of(Width::Day, start)));
            if !names.is_some_and(|names| names.contains(&name)) {
                continue;
            }
            for width in Width::ALL {
                let key = (env, name.clone(), width.seconds(), start_of(width, start));
                let sum = buckets.entry(key).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        let values = |((env, name, width, start), count): ((Uuid, String, i32, i64), u64)| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            vec![
                env.into(),
                name.into(),
                width.into(),
                start.into(),
                count.into(),
            ]
        };
        let rows: Vec<Vec<Value>> = buckets.into_iter().map(values).collect();
        let head = format!("{NAMES} (env_id, name, width, start, events)");
        let tail = format!(
            "ON CONFLICT (env_id, name, width, start) DO UPDATE SET events = {NAMES}.events + excluded.events"
        );
        insert_rows(tx, &head, &tail, rows)
            .await
            .map_err(Error::on(NAMES))
    }

    /// The names that are counted apart on each day: those that are already, and of the others as many as there is room for, those with the
    /// most events first.
    async fn counted(
        &self,
        tx: &DatabaseTransaction,
    ) -> Result<HashMap<Day, HashSet<String>>, Error> {
        let mut wanted: BTreeMap<Day, HashMap<&str, u64>> = BTreeMap::new();
        for ((env, name, start), count) in &self.0 {
            let day = (*env, start_of(Width::Day, *start));
            let sum = wanted.entry(day).or_default().entry(name).or_default();
            *sum = sum.saturating_add(*count);
        }
        let days: Vec<Vec<Value>> = wanted
            .keys()
            .map(|(env, start)| {
                let width = Width::Day.seconds();
                vec![(*env).into(), width.into(), (*start).into()]
            })
            .collect();
        let before =
            format!("SELECT env_id, start, name FROM {NAMES} WHERE (env_id, width, start) IN");
        let rows = select_tuples(tx, &before, &days, "").await;
        let mut counted: HashMap<Day, HashSet<String>> = HashMap::new();
        for row in rows.map_err(Error::on(NAMES))? {
            let day = (get(&row, NAMES, "env_id")?, get(&row, NAMES, "start")?);
            let name = get(&row, NAMES, "name")?;
            counted.entry(day).or_default().insert(name);
        }
        for (day, names) in wanted {
            let counted = counted.entry(day).or_default();
            let is_new = |(name, _): &(&str, u64)| !counted.contains(*name);
            let mut new: Vec<(&str, u64)> = names.into_iter().filter(is_new).collect();
            new.sort_unstable_by_key(|(name, count)| (Reverse(*count), *name));
            let room = limits::EVENT_NAMES_PER_DAY.saturating_sub(counted.len());
            let new = new.into_iter().take(room);
            counted.extend(new.map(|(name, _)| name.to_owned()));
        }
        Ok(counted)
    }
}

fn start_of(width: Width, start: i64) -> i64 {
    width.floor(Timestamp::from_millis(start)).as_millis()
}

impl Store {
    /// How many events of these names there were in each bucket that has any, in any order. One statement.
    ///
    /// # Errors
    /// The database's.
    pub async fn rolled_names(
        &self,
        env: EnvId,
        span: Span,
        names: &[String],
    ) -> Result<Vec<NamedPoint>, Error> {
        // No stored text has this character, and Postgres does not look for it.
        let names = names.iter().filter(|name| !name.contains('\0'));
        let mut names: Vec<Value> = names.map(|name| name.as_str().into()).collect();
        let Some(last) = names.last().cloned() else {
            return Ok(Vec::new());
        };
        // Repeating a name changes nothing, and leaves few texts of statements.
        names.resize(names.len().next_power_of_two(), last);
        let mut values = within(env, span).to_vec();
        let list: Vec<String> = (0..names.len())
            .map(|place| format!("${}", values.len() + place + 1))
            .collect();
        values.extend(names);
        let sql = format!(
            "SELECT name, start, events FROM {NAMES} WHERE {WITHIN} AND name IN ({})",
            list.join(", ")
        );
        let conn = self.reader();
        let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
        let rows = conn.query_all_raw(statement).await;
        let mut points = Vec::new();
        for row in rows.map_err(Error::on(NAMES))? {
            let events: i64 = get(&row, NAMES, "events")?;
            points.push(NamedPoint {
                name: get(&row, NAMES, "name")?,
                start: time(get(&row, NAMES, "start")?),
                events: events.unsigned_abs(),
            });
        }
        Ok(points)
    }

    /// The names of which most events came, at most `most`, the most frequent first. One statement.
    ///
    /// # Errors
    /// The database's.
    pub async fn rolled_top_names(
        &self,
        env: EnvId,
        span: Span,
        most: u32,
    ) -> Result<Vec<String>, Error> {
        let sql = format!(
            "SELECT name FROM {NAMES} WHERE {WITHIN} GROUP BY name ORDER BY SUM(events) DESC, name LIMIT {most}"
        );
        let conn = self.reader();
        let values = within(env, span);
        let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
        let rows = conn.query_all_raw(statement).await;
        let rows = rows.map_err(Error::on(NAMES))?;
        rows.iter().map(|row| get(row, NAMES, "name")).collect()
    }
}

/// The buckets of an environment in a span.
const WITHIN: &str = "env_id = $1 AND width = $2 AND start >= $3 AND start < $4";

/// What [`WITHIN`] binds.
fn within(env: EnvId, span: Span) -> [Value; 4] {
    [
        env.raw().into(),
        span.width.seconds().into(),
        ms(span.from),
        ms(span.until),
    ]
}
