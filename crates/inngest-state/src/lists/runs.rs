//! Lists of runs.

use std::time::Duration;

use inngest_core::{
    ids::{AppId, BulkId, EnvId, EventId, FunctionId, RunId},
    page::{Count, Direction, Key, Order, Page, PageRequest},
    run::{Run, RunStatus, TriggerKind},
    time::Timestamp,
};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, Select,
    sea_query::{Expr, ExprTrait, IntoColumnRef, Query},
};

use super::{
    each::Parents,
    keyset::{Keyset, Kind},
    source::{Plan, Source},
    weight,
};
use crate::{
    Error, Store,
    entity::{run, work},
    rows::{event_uuid, first_id, run_uuid, uuid_of},
};

/// From a time on and before another; an end that is none is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TimeSpan {
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

impl TimeSpan {
    /// Whether it bounds nothing.
    pub fn is_open(self) -> bool {
        self == Self::default()
    }

    /// That the time in a column is within it.
    fn holds(self, column: run::Column) -> Condition {
        Condition::all()
            .add_option(self.from.map(|from| column.gte(from.as_millis())))
            .add_option(self.until.map(|until| column.lt(until.as_millis())))
    }
}

/// How far the clocks of two processes may be apart, one of which queued a run that the other called or ended.
const SKEW: Duration = Duration::from_secs(60);

/// Which runs to list. All parts must hold; a part that is none says nothing, and an empty list matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RunFilter {
    /// Queued at or after.
    pub from: Option<Timestamp>,
    /// Queued before.
    pub until: Option<Timestamp>,
    /// First called within it.
    pub started: TimeSpan,
    /// Ended within it.
    pub ended: TimeSpan,
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
    /// Started by this replay.
    pub replay: Option<BulkId>,
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
        self.lengths().into_iter().flatten().max().unwrap_or(0)
    }

    /// The states in which a run can match.
    fn wanted_statuses(&self) -> Vec<RunStatus> {
        let has_error = |status| [RunStatus::Failed, RunStatus::Cancelled].contains(&status);
        let listed = self.statuses.as_ref();
        RunStatus::ALL
            .iter()
            .copied()
            .filter(|status| listed.is_none_or(|list| list.contains(status)))
            .filter(|status| self.has_error.is_none_or(|it| it == has_error(*status)))
            .filter(|status| self.ended.is_open() || status.is_ended())
            .collect()
    }

    /// Before when a run that matches was queued: no later than it was called or ended.
    fn queued_until(&self) -> Option<Timestamp> {
        let later = [self.started.until, self.ended.until];
        let later = later.into_iter().flatten().map(|until| until.plus(SKEW));
        self.until.into_iter().chain(later).min()
    }

    /// Whether one of its lists matches nothing.
    fn has_empty_list(&self) -> bool {
        self.lengths().contains(&Some(0))
    }

    fn lengths(&self) -> [Option<usize>; 7] {
        fn length<T>(list: &Option<Vec<T>>) -> Option<usize> {
            list.as_ref().map(Vec::len)
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

    /// How many runs the list has, as far as a bounded number of candidates tells.
    pub async fn count_runs(&self, env: EnvId, filter: &RunFilter) -> Result<Count, Error> {
        let list = keyset(Direction::Descending);
        list.count(self.reader(), "runs", plan(env, filter)).await
    }
}

/// Most functions whose runs are looked for in the index one function after the other; of more of them the list of the environment is read.
const FUNCTIONS: usize = 32;

/// States that most runs do not end in, and which an index knows.
const UNCOMMON: [RunStatus; 3] = [RunStatus::Failed, RunStatus::Cancelled, RunStatus::Skipped];

/// How the list is read: what an index knows goes into where candidates come from, and the rest is asked of them.
pub(super) fn plan(env: EnvId, filter: &RunFilter) -> Plan<run::Entity> {
    use run::Column;
    let statuses = filter.wanted_statuses();
    let base = in_range(env, filter);
    if filter.has_empty_list() || statuses.is_empty() {
        let none = Parents::of_values(&[Column::EnvId], Vec::new(), |row: &run::Model| row.env_id);
        return Plan::new(Source::Several(base, none), Condition::all());
    }
    if filter.runs.is_some() || filter.events.is_some() {
        // There are no more than these, so they are found first and sorted then.
        return Plan::new(Source::One(select(env, filter)), Condition::all());
    }
    let mut left = RunFilter {
        from: None,
        until: None,
        has_error: None,
        statuses: (statuses.len() < RunStatus::ALL.len()).then(|| statuses.clone()),
        ..filter.clone()
    };
    if let Some(replay) = left.replay.take() {
        // An index knows those of a replay in order, of which there may be very many.
        let of_replay = base.filter(Column::ReplayId.eq(uuid_of(replay.raw())));
        return Plan::new(Source::One(of_replay), conditions(&left));
    }
    let is_uncommon = |status: &RunStatus| UNCOMMON.contains(status);
    let is_open = |status: &RunStatus| !status.is_ended();
    if statuses.iter().all(is_open) {
        return Plan::new(open(env, filter), conditions(&left));
    }
    let mut functions = left.functions.take_if(|list| list.len() <= FUNCTIONS);
    if let Some(functions) = &mut functions {
        // Each place of an index once, or its candidates would count twice.
        functions.sort_unstable();
        functions.dedup();
    }
    let source = match (functions, statuses.iter().all(is_uncommon)) {
        (Some(functions), true) => {
            left.statuses = None;
            let parents = of_functions_in(&functions, &statuses);
            Source::Several(base.filter(uncommon()), parents)
        }
        (None, true) => {
            left.statuses = None;
            let pair = |status: &RunStatus| vec![env.raw().into(), status.code().into()];
            let pairs = statuses.iter().map(pair).collect();
            let columns = &[Column::EnvId, Column::Status];
            let parents = Parents::of_values(columns, pairs, |row: &run::Model| row.env_id);
            Source::Several(base.filter(uncommon()), parents)
        }
        (Some(functions), false) => Source::Several(base, of_functions(&functions)),
        (None, false) => Source::One(base),
    };
    Plan::new(source, conditions(&left))
}

/// The lists of several functions; the functions in the filter are not asked for.
pub(super) fn of_each(
    env: EnvId,
    filter: &RunFilter,
    functions: &[FunctionId],
) -> (Select<run::Entity>, Parents<run::Entity>) {
    let statuses = filter.wanted_statuses();
    let mut left = RunFilter {
        functions: None,
        ..filter.clone()
    };
    if statuses.iter().any(|status| !UNCOMMON.contains(status)) {
        return (select(env, &left), of_functions(functions));
    }
    (left.statuses, left.has_error) = (None, None);
    let select = select(env, &left).filter(uncommon());
    (select, of_functions_in(functions, &statuses))
}

fn of_functions(functions: &[FunctionId]) -> Parents<run::Entity> {
    let ids = functions.iter().map(|id| id.raw());
    let of = |row: &run::Model| row.function_id;
    Parents::new(&[run::Column::FunctionId], ids, of).heavy(&weight::RUNS)
}

fn of_functions_in(functions: &[FunctionId], statuses: &[RunStatus]) -> Parents<run::Entity> {
    let mut pairs = Vec::with_capacity(functions.len() * statuses.len());
    for function in functions {
        for status in statuses {
            pairs.push(vec![function.raw().into(), status.code().into()]);
        }
    }
    let columns = &[run::Column::FunctionId, run::Column::Status];
    Parents::of_values(columns, pairs, |row: &run::Model| row.function_id).heavy(&weight::RUNS)
}

/// The runs that have something to do still: those that have not ended.
fn open(env: EnvId, filter: &RunFilter) -> Source<run::Entity> {
    use work::Column;
    let all = Condition::all()
        .add(Column::EnvId.eq(env.raw()))
        .add(Column::RunId.is_not_null())
        .add_option(filter.from.map(|from| Column::RunId.gte(first_id(from))))
        .add_option(
            filter
                .queued_until()
                .map(|until| Column::RunId.lt(first_id(until))),
        );
    let select = Query::select()
        .from(work::Entity)
        .cond_where(all)
        .to_owned();
    Source::Ids(select, (work::Entity, Column::RunId).into_column_ref())
}

/// As the index says it that holds only these.
fn uncommon() -> Expr {
    Expr::cust("\"runs\".\"status\" IN (4, 5, 6)")
}

fn in_range(env: EnvId, filter: &RunFilter) -> Select<run::Entity> {
    let range = RunFilter {
        from: filter.from,
        until: filter.queued_until(),
        ..RunFilter::default()
    };
    select(env, &range)
}

/// The runs that match, in no order.
pub(super) fn select(env: EnvId, filter: &RunFilter) -> Select<run::Entity> {
    run::Entity::find()
        .filter(run::Column::EnvId.eq(env.raw()))
        .filter(conditions(filter))
}

/// What the filter asks of a run.
fn conditions(filter: &RunFilter) -> Condition {
    use run::Column;
    let mut all = Condition::all()
        .add_option(filter.from.map(|from| Column::Id.gte(first_id(from))))
        .add_option(filter.until.map(|until| Column::Id.lt(first_id(until))));
    for (span, column) in [
        (filter.started, Column::StartedAt),
        (filter.ended, Column::EndedAt),
    ] {
        if !span.is_open() {
            all = all.add(span.holds(column));
        }
    }
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
    if let Some(replay) = filter.replay {
        all = all.add(Column::ReplayId.eq(uuid_of(replay.raw())));
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
    all
}

/// The same as [`Run::trigger_kind`], in SQL.
fn started_by(kind: TriggerKind) -> Condition {
    use run::Column;
    let repeats = Column::OriginalId.is_not_null();
    if kind == TriggerKind::Replay {
        return Condition::all().add(Column::ReplayId.is_not_null());
    }
    if kind == TriggerKind::Rerun {
        return Condition::all()
            .add(repeats)
            .add(Column::ReplayId.is_null());
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
