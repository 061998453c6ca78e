//! Pages of rows that can be large: what the rows weigh is read first, and a page ends where it would grow too large.

use std::collections::HashMap;

use inngest_core::{
    ids::{EnvId, EventId, RunId, StepId},
    page::{Cursor, Direction, InvalidCursor, Key, Order, Page, PageRequest},
    run::{Run, StepRecord},
};
use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use uuid::Uuid;

use super::of_parents::{OF_EVENT, runs_of};
use crate::{
    Error, Store,
    entity::{failed_attempt, run, step},
    rows::{bad, event_uuid, run_uuid, ulid_of},
};

/// Steps of one run: those that have ended in the order of the stack, then the others in the order in which they were found. There are few
/// of one run, so they are sorted when they have been found by their primary key.
const STEPS: Order = Order {
    name: "run.steps.ended",
    direction: Direction::Ascending,
};

/// The place of a step in that order. Both databases take a missing place for another end of the order.
const PLACE: &str = "COALESCE(position, 2147483647)";

#[derive(FromQueryResult)]
struct RunWeight {
    id: Uuid,
    bytes: i64,
}

#[derive(FromQueryResult)]
struct StepWeight {
    step_id: String,
    place: i32,
    queued_at: i64,
    bytes: i64,
}

#[derive(FromQueryResult)]
struct Failures {
    step_id: String,
    n: i64,
}

/// How many of the rows with these weights fit into a page: at least one, where there is one.
fn fitting(weights: impl Iterator<Item = i64>, limit: u32, most: u64) -> usize {
    let mut sum = 0;
    let fits = |(place, bytes): &(usize, i64)| {
        sum += bytes.unsigned_abs();
        *place == 0 || sum <= most
    };
    weights
        .take(limit as usize)
        .enumerate()
        .take_while(fits)
        .count()
}

impl Store {
    /// One page of the runs that an event started, oldest first, as [`Store::list_runs_of_events`] has them. It ends early where what they
    /// returned would be more than `most` bytes together. Reads forward only.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn page_runs_of_event(
        &self,
        env: EnvId,
        event: EventId,
        request: &PageRequest,
        most: u64,
    ) -> Result<Page<Run>, Error> {
        let mut query = runs_of(env).filter(run::Column::EventId.eq(event_uuid(event)));
        if let Some(keys) = OF_EVENT.entry(request)? {
            query = query.filter(OF_EVENT.beyond(&keys, OF_EVENT.order.direction));
        }
        let weights: Vec<RunWeight> = query
            .select_only()
            .column(run::Column::Id)
            .expr_as(
                Expr::cust("CAST(COALESCE(LENGTH(output), 0) AS bigint)"),
                "bytes",
            )
            .order_by_asc(run::Column::Id)
            .limit(u64::from(request.limit) + 1)
            .into_model()
            .all(self.reader())
            .await
            .map_err(Error::on("runs"))?;
        let count = fitting(weights.iter().map(|row| row.bytes), request.limit, most);
        let id = |row: &RunWeight| RunId::from_raw(ulid_of(row.id));
        let ids: Vec<RunId> = weights.iter().take(count).map(id).collect();
        let mut runs = self.find_runs(env, &ids).await?;
        runs.sort_unstable_by_key(|run| run.id);
        let cursor = |run: &Run| Cursor::at(OF_EVENT.order, run.id.raw()).encode();
        Ok(Page {
            cursors: runs.iter().map(cursor).collect(),
            items: runs,
            has_next: weights.len() > count,
            has_previous: false,
        })
    }

    /// One page of the steps of a run: those that have ended in the order of the stack, then the others in the order in which they were
    /// found. It ends early where what they ended with would be more than `most` bytes together. Reads forward only.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn page_steps_of_run(
        &self,
        env: EnvId,
        run: RunId,
        request: &PageRequest,
        most: u64,
    ) -> Result<Page<StepRecord>, Error> {
        let mut query = step::Entity::find()
            .filter(step::Column::RunId.eq(run_uuid(run)))
            .filter(step::Column::EnvId.eq(env.raw()));
        if let Some(text) = &request.from {
            let keys = Cursor::decode(text, STEPS)?.keys;
            let [Key::Number(place), Key::Number(queued_at), Key::Text(id)] = keys.as_slice()
            else {
                return Err(InvalidCursor.into());
            };
            let own = Expr::tuple([
                Expr::cust(PLACE),
                Expr::col(step::Column::QueuedAt),
                Expr::col(step::Column::StepId),
            ]);
            let given = Expr::tuple([
                Expr::val(*place),
                Expr::val(*queued_at),
                Expr::val(id.as_str()),
            ]);
            query = query.filter(own.gt(given));
        }
        let bytes = "CAST(COALESCE(LENGTH(memo), 0) + COALESCE(LENGTH(details), 0) AS bigint)";
        let weights: Vec<StepWeight> = query
            .select_only()
            .column(step::Column::StepId)
            .expr_as(Expr::cust(PLACE), "place")
            .column(step::Column::QueuedAt)
            .expr_as(Expr::cust(bytes), "bytes")
            .order_by_asc(Expr::cust(PLACE))
            .order_by_asc(step::Column::QueuedAt)
            .order_by_asc(step::Column::StepId)
            .limit(u64::from(request.limit) + 1)
            .into_model()
            .all(self.reader())
            .await
            .map_err(Error::on("steps"))?;
        let count = fitting(weights.iter().map(|row| row.bytes), request.limit, most);
        let bad_id = |_| bad("steps", run_uuid(run), "step_id");
        let id = |row: &StepWeight| StepId::parse(&row.step_id).map_err(bad_id);
        let ids: Vec<StepId> = weights
            .iter()
            .take(count)
            .map(id)
            .collect::<Result<_, _>>()?;
        let found = self.find_steps(env, run, &ids).await?;
        let mut found: HashMap<StepId, StepRecord> = found
            .into_iter()
            .map(|step| (step.step.clone(), step))
            .collect();
        let cursor = |row: &StepWeight| {
            let place = Key::Number(i64::from(row.place));
            let keys = vec![
                place,
                Key::Number(row.queued_at),
                Key::Text(row.step_id.clone()),
            ];
            Cursor { order: STEPS, keys }.encode()
        };
        let rows = weights.iter().zip(&ids);
        let (items, cursors) = rows
            .filter_map(|(row, id)| Some((found.remove(id)?, cursor(row))))
            .unzip();
        Ok(Page {
            items,
            cursors,
            has_next: weights.len() > count,
            has_previous: false,
        })
    }

    /// How often each of these steps of a run has failed; one that never did is left out.
    pub async fn count_failed_attempts(
        &self,
        env: EnvId,
        run: RunId,
        steps: &[StepId],
    ) -> Result<HashMap<StepId, u32>, Error> {
        let rows: Vec<Failures> = failed_attempt::Entity::find()
            .select_only()
            .column(failed_attempt::Column::StepId)
            .expr_as(Expr::cust("COUNT(*)"), "n")
            .filter(failed_attempt::Column::RunId.eq(run_uuid(run)))
            .filter(failed_attempt::Column::StepId.is_in(steps.iter().map(StepId::as_str)))
            .filter(failed_attempt::Column::EnvId.eq(env.raw()))
            .group_by(failed_attempt::Column::StepId)
            .into_model()
            .all(self.reader())
            .await
            .map_err(Error::on("failed_attempts"))?;
        let count = |row: Failures| {
            let bad = |column| bad("failed_attempts", run_uuid(run), column);
            let step = StepId::parse(&row.step_id).map_err(|_| bad("step_id"))?;
            Ok((step, u32::try_from(row.n).map_err(|_| bad("attempt"))?))
        };
        rows.into_iter().map(count).collect()
    }
}

#[cfg(test)]
#[path = "sized_tests.rs"]
mod tests;
