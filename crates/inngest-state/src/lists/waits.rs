//! Lists of waits: what steps wait for, and what they have waited for.
//!
//! A wait that has ended is no more than its step, so the list of all is one of steps. Few of them are open, and for each of these there is work: its
//! timeout, or the end of its sleep. Both lists have the same order, so that a cursor of one is a place in the other.

use std::collections::HashMap;

use inngest_core::{
    ids::{EnvId, RunId},
    job::JobKind,
    page::{Count, Direction, Key, Order, Page, PageRequest},
    run::{StepRecord, StepStatus, StepWait, WaitStatus},
};
use sea_orm::{
    ColumnTrait, EntityTrait, Iterable, QueryFilter, QuerySelect, Select, sea_query::Expr,
};
use uuid::Uuid;

use super::{
    each::{Parents, rows},
    keyset::{Keyset, Kind, count},
};
use crate::{
    Error, Store,
    entity::{step, work},
    rows::run_uuid,
};

/// Which waits to list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WaitSource {
    /// Those that are open.
    Open,
    /// The one that is open for this signal.
    OfSignal(String),
    /// All, those that have ended too.
    All,
}

/// By run, those of the newest one first.
const ORDER: Order = Order {
    name: "waits.run",
    direction: Direction::Descending,
};

/// Served by `steps_waiting`.
const STEPS: Keyset<step::Entity> = Keyset {
    order: ORDER,
    columns: &[
        (step::Column::RunId, Kind::Id),
        (step::Column::StepId, Kind::Text),
    ],
    keys: |row| {
        vec![
            Key::Id(row.run_id.as_u128()),
            Key::Text(row.step_id.clone()),
        ]
    },
};

/// Served by `work_waiting`.
const WORK: Keyset<work::Entity> = Keyset {
    order: ORDER,
    columns: &[
        (work::Column::RunId, Kind::Id),
        (work::Column::StepId, Kind::Text),
    ],
    keys: |row| {
        let (run, step) = place_of(row);
        vec![Key::Id(run.as_u128()), Key::Text(step)]
    },
};

impl Store {
    /// One page of waits; it is empty only at the end of the list. Steps that were stored before it was kept what they ask for are left out.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn list_waits(
        &self,
        env: EnvId,
        source: &WaitSource,
        request: &PageRequest,
    ) -> Result<Page<StepWait>, Error> {
        let mut request = request.clone();
        loop {
            let page = self.page_of_waits(env, source, &request).await?;
            let (goes_on, end) = match request.backward {
                false => (page.has_next, page.cursors.last().cloned()),
                true => (page.has_previous, page.cursors.first().cloned()),
            };
            let page = page.filter_map(|wait| wait);
            if !goes_on || !page.items.is_empty() {
                return Ok(page);
            }
            request.from = end;
        }
    }

    /// One page, with nothing in place of a wait that has ended since it was found open, or of which it cannot be read what it waits for.
    async fn page_of_waits(
        &self,
        env: EnvId,
        source: &WaitSource,
        request: &PageRequest,
    ) -> Result<Page<Option<StepWait>>, Error> {
        match source {
            WaitSource::Open => self.open_waits(env, open(env), request).await,
            WaitSource::OfSignal(signal) => {
                let wait = self.find_signal_wait(env, signal).await?;
                let Some((run, step)) = wait.and_then(|wait| Some((wait.run, wait.step?))) else {
                    return Ok(Page::empty());
                };
                let of_this = open(env)
                    .filter(work::Column::RunId.eq(run_uuid(run)))
                    .filter(work::Column::StepId.eq(step.as_str()));
                self.open_waits(env, of_this, request).await
            }
            WaitSource::All => {
                let page = STEPS
                    .read(self.reader(), "steps", heads(env), request)
                    .await?;
                page.try_map(|row| Ok(StepRecord::try_from(row)?.wait()))
            }
        }
    }

    /// How many waits the list has: one statement, and one more for a signal.
    pub async fn count_waits(&self, env: EnvId, source: &WaitSource) -> Result<Count, Error> {
        let conn = self.reader();
        match source {
            WaitSource::Open => {
                let select = open(env).select_only().column(work::Column::RunId);
                count(conn, "work", select).await
            }
            WaitSource::OfSignal(_) => {
                let one = PageRequest::new(1, None);
                let page = self.list_waits(env, source, &one).await?;
                Ok(Count::capped(page.items.len() as u64))
            }
            WaitSource::All => {
                let select = waiting(env).select_only().column(step::Column::RunId);
                count(conn, "steps", select).await
            }
        }
    }

    /// What these runs wait for now, in any order.
    pub async fn waits_of_runs(&self, env: EnvId, runs: &[RunId]) -> Result<Vec<StepWait>, Error> {
        let rows = heads(env)
            .filter(step::Column::RunId.is_in(runs.iter().copied().map(run_uuid)))
            .filter(step::Column::Status.eq(StepStatus::Open.code()))
            .all(self.reader())
            .await
            .map_err(Error::on("steps"))?;
        let mut waits = Vec::with_capacity(rows.len());
        for row in rows {
            waits.extend(StepRecord::try_from(row)?.wait());
        }
        Ok(waits)
    }

    /// One page of the steps for which `select` finds work: two statements, and one more when it is to look back from a cursor.
    async fn open_waits(
        &self,
        env: EnvId,
        select: Select<work::Entity>,
        request: &PageRequest,
    ) -> Result<Page<Option<StepWait>>, Error> {
        let conn = self.reader();
        let page = WORK.read(conn, "work", select, request).await?;
        let places = page.items.iter().map(place_of);
        let places = places.map(|(run, step)| vec![run.into(), step.into()]);
        let columns = &[step::Column::RunId, step::Column::StepId];
        let parents = Parents::of_values(columns, places.collect(), |row: &step::Model| row.run_id);
        let steps = STEPS.each(conn, heads(env), &parents, ORDER.direction, 1);
        let steps: Vec<step::Model> = rows(conn, "steps", steps).await?;
        let mut found: HashMap<(Uuid, String), StepWait> = HashMap::new();
        for row in steps {
            let place = (row.run_id, row.step_id.clone());
            let wait = StepRecord::try_from(row)?.wait();
            found.extend(wait.map(|wait| (place, wait)));
        }
        let wait_at = |row: work::Model| {
            let wait = found.remove(&place_of(&row));
            wait.filter(|wait| wait.status == WaitStatus::Open)
        };
        Ok(page.map(wait_at))
    }
}

fn place_of(row: &work::Model) -> (Uuid, String) {
    let step = row.step_id.clone().unwrap_or_default();
    (row.run_id.unwrap_or_default(), step)
}

/// The work of steps that wait, as the index says it that holds only this.
fn open(env: EnvId) -> Select<work::Entity> {
    let (wake, timeout) = (JobKind::Wake.code(), JobKind::WaitTimeout.code());
    work::Entity::find()
        .filter(work::Column::EnvId.eq(env.raw()))
        .filter(Expr::cust(format!(
            "\"work\".\"kind\" IN ({wake}, {timeout})"
        )))
}

/// Steps that wait or have waited, as the index says it that holds only these.
fn waiting(env: EnvId) -> Select<step::Entity> {
    step::Entity::find()
        .filter(step::Column::EnvId.eq(env.raw()))
        .filter(Expr::cust("\"steps\".\"kind\" IN (2, 3, 4, 5)"))
        .filter(step::Column::Details.is_not_null())
}

/// The same, without what they ended with: it may be large, and no wait tells it.
fn heads(env: EnvId) -> Select<step::Entity> {
    let is_told = |column: &step::Column| !matches!(column, step::Column::Memo);
    waiting(env)
        .select_only()
        .columns(step::Column::iter().filter(is_told))
        .expr_as(Expr::cust("NULL"), "memo")
}

#[cfg(test)]
mod tests {
    use inngest_core::run::StepKind;

    #[test]
    fn kinds_in_the_index_are_those_that_only_wait() {
        let waiting = (0..100).filter_map(StepKind::from_code);
        let waiting = waiting.filter(|kind| kind.only_waits());
        let codes: Vec<i16> = waiting.map(StepKind::code).collect();
        assert_eq!(codes, [2, 3, 4, 5]);
    }
}
