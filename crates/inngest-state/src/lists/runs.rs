//! Lists of runs.

use std::time::Duration;

use inngest_core::{
    ids::{AppId, EnvId, EventId, FunctionId, RunId},
    page::{Count, Direction, Key, Order, Page, PageRequest},
    run::{Run, RunStatus, TriggerKind},
    time::Timestamp,
};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, Select,
    sea_query::{Expr, ExprTrait},
};

use super::keyset::{Keyset, Kind, count};
use crate::{
    Error, Store,
    entity::run,
    rows::{event_uuid, first_id, run_uuid},
};

/// Which runs to list. All parts must hold; a part that is none says nothing, and an empty list matches nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFilter {
    /// Queued at or after.
    pub from: Option<Timestamp>,
    /// Queued before.
    pub until: Option<Timestamp>,
    /// In any of these states.
    pub statuses: Option<Vec<RunStatus>>,
    /// Of any of these functions.
    pub functions: Option<Vec<FunctionId>>,
    /// Of any of these apps.
    pub apps: Option<Vec<AppId>>,
    /// Any of these runs.
    pub runs: Option<Vec<RunId>>,
    /// Started by any of these events; of a batch, by its first.
    pub events: Option<Vec<EventId>>,
    /// Started by an event of any of these names.
    pub event_names: Option<Vec<String>>,
    /// Started in any of these ways.
    pub triggers: Option<Vec<TriggerKind>>,
    /// Of this version of their function.
    pub function_version: Option<u32>,
    /// With or without an error: failed and cancelled runs have one.
    pub has_error: Option<bool>,
    /// Taking at least this long, from their start to their end or until [`RunFilter::now`].
    pub min_duration: Option<Duration>,
    /// Taking at most this long.
    pub max_duration: Option<Duration>,
    /// Until when the duration of a run counts that has not ended.
    pub now: Timestamp,
}

impl RunFilter {
    /// The order of the list, by which its cursors are made.
    pub fn order(direction: Direction) -> Order {
        Order {
            name: "runs.queued",
            direction,
        }
    }

    /// The longest list of values in the filter.
    pub fn longest_list(&self) -> usize {
        fn length<T>(list: &Option<Vec<T>>) -> usize {
            list.as_ref().map_or(0, Vec::len)
        }
        [
            length(&self.statuses),
            length(&self.functions),
            length(&self.apps),
            length(&self.runs),
            length(&self.events),
            length(&self.event_names),
            length(&self.triggers),
        ]
        .into_iter()
        .max()
        .unwrap_or(0)
    }
}

/// Ids of runs begin with the time at which they were queued, so one index serves this range and order alike: `runs_by_env`, or for one
/// function `runs_by_function`.
pub(super) fn keyset(direction: Direction) -> Keyset<run::Entity> {
    Keyset {
        order: RunFilter::order(direction),
        columns: &[(run::Column::Id, Kind::Id)],
        keys: |row| vec![Key::Id(row.id.as_u128())],
    }
}

impl Store {
    /// One page of runs in the order in which they were queued.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list or direction.
    pub async fn list_runs(
        &self,
        env: EnvId,
        filter: &RunFilter,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Page<Run>, Error> {
        let page = keyset(direction)
            .read(self.reader(), "runs", select(env, filter), request)
            .await?;
        page.try_map(Run::try_from)
    }

    /// How many runs the list has.
    pub async fn count_runs(&self, env: EnvId, filter: &RunFilter) -> Result<Count, Error> {
        count(self.reader(), "runs", select(env, filter)).await
    }
}

/// The runs that match, in no order.
pub(super) fn select(env: EnvId, filter: &RunFilter) -> Select<run::Entity> {
    use run::Column;
    let mut all = Condition::all()
        .add(Column::EnvId.eq(env.raw()))
        .add_option(filter.from.map(|from| Column::Id.gte(first_id(from))))
        .add_option(filter.until.map(|until| Column::Id.lt(first_id(until))));
    if let Some(list) = &filter.statuses {
        all = all.add(Column::Status.is_in(list.iter().map(|status| status.code())));
    }
    if let Some(list) = &filter.functions {
        all = all.add(Column::FunctionId.is_in(list.iter().map(|id| id.raw())));
    }
    if let Some(list) = &filter.apps {
        all = all.add(Column::AppId.is_in(list.iter().map(|id| id.raw())));
    }
    if let Some(list) = &filter.runs {
        all = all.add(Column::Id.is_in(list.iter().copied().map(run_uuid)));
    }
    if let Some(list) = &filter.events {
        all = all.add(Column::EventId.is_in(list.iter().copied().map(event_uuid)));
    }
    if let Some(list) = &filter.event_names {
        // A run of a schedule has an event of the server's own, which people do not see as its start.
        all = all
            .add(Column::EventName.is_in(list.iter().map(String::as_str)))
            .add(Column::Cron.is_null());
    }
    if let Some(list) = &filter.triggers {
        let any = list
            .iter()
            .fold(Condition::any(), |any, kind| any.add(started_by(*kind)));
        // An empty "any" is true to the query builder.
        all = if list.is_empty() {
            all.add(Expr::val(1).eq(0))
        } else {
            all.add(any)
        };
    }
    if let Some(version) = filter.function_version {
        all = all.add(Column::FunctionVersion.eq(i32::try_from(version).unwrap_or(i32::MAX)));
    }
    if let Some(wanted) = filter.has_error {
        let with = [RunStatus::Failed, RunStatus::Cancelled].map(RunStatus::code);
        all = all.add(if wanted {
            Column::Status.is_in(with)
        } else {
            Column::Status.is_not_in(with)
        });
    }
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let end = Expr::col((run::Entity, Column::EndedAt)).if_null(filter.now.as_millis());
    let duration = end.sub(Expr::col((run::Entity, Column::StartedAt)));
    all = all
        .add_option(
            filter
                .min_duration
                .map(|least| duration.clone().gte(ms(least))),
        )
        .add_option(filter.max_duration.map(|most| duration.lte(ms(most))));
    run::Entity::find().filter(all)
}

/// The same as [`Run::trigger_kind`], in SQL.
fn started_by(kind: TriggerKind) -> Condition {
    use run::Column;
    let repeats = Column::OriginalId.is_not_null();
    if kind == TriggerKind::Rerun {
        return Condition::all().add(repeats);
    }
    let first = Condition::all().add(Column::OriginalId.is_null());
    if kind == TriggerKind::Cron {
        return first.add(Column::Cron.is_not_null());
    }
    let by_event = first.add(Column::Cron.is_null());
    let invoked = Condition::any()
        .add(Column::Correlation.is_not_null())
        .add(Column::EventName.eq(inngest_core::event::FUNCTION_INVOKED));
    match kind {
        TriggerKind::Invoke => by_event.add(invoked),
        TriggerKind::Batch => by_event
            .add(invoked.not())
            .add(Column::MoreEvents.is_not_null()),
        _ => by_event
            .add(invoked.not())
            .add(Column::MoreEvents.is_null()),
    }
}
