//! Lists of events.

use inngest_core::{
    event::{Door, Event, SourceKind},
    ids::EnvId,
    page::{Count, Direction, Key, Order, Page, PageRequest},
    time::Timestamp,
};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Select,
    sea_query::{Expr, ExprTrait, Func},
};

use super::{
    each::Parents,
    keyset::{Keyset, Kind},
    source::{Plan, Source},
};
use crate::{
    Error, Store,
    entity::{event, run},
    rows::{event_of, first_id},
};

/// Which events to list. All parts must hold; a part that is none says nothing, and an empty list matches nothing.
///
/// The time of an event is here the one in its id, which orders the list as well: when it was accepted or, where its sender determines the
/// ids, up to a minute before. Only an event that a sender held back for longer stands where its id says and not where it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EventFilter {
    /// Accepted at or after.
    pub from: Option<Timestamp>,
    /// Accepted before.
    pub until: Option<Timestamp>,
    /// Of any of these names; one that ends with `*` stands for all that begin with what is before it.
    pub names: Option<Vec<String>>,
    /// Whether events that the server made itself are listed too.
    pub with_internal: bool,
    /// With any of these ids that senders gave.
    pub keys: Option<Vec<String>>,
    /// With or without runs that they started.
    pub has_runs: Option<bool>,
    /// From any of these sources.
    pub sources: Option<Vec<SourceKind>>,
}

impl EventFilter {
    /// The order of the list, by which its cursors are made.
    pub fn order(direction: Direction) -> Order {
        Order {
            name: "events.received",
            direction,
        }
    }

    /// The longest list of values in the filter.
    pub fn longest_list(&self) -> usize {
        let length = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
        let sources = self.sources.as_ref().map_or(0, Vec::len);
        length(&self.names).max(length(&self.keys)).max(sources)
    }
}

/// Served by `events_by_env` or, for one name, by `events_by_name`.
pub(super) fn keyset(direction: Direction) -> Keyset<event::Entity> {
    Keyset {
        order: EventFilter::order(direction),
        columns: &[(event::Column::Id, Kind::Id)],
        keys: |row| vec![Key::Id(row.id.as_u128())],
    }
}

impl Store {
    /// One page of events in the order in which they were accepted.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list or direction.
    pub async fn list_events(
        &self,
        env: EnvId,
        filter: &EventFilter,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Page<Event>, Error> {
        let page = keyset(direction)
            .read(self.reader(), "events", select(env, filter), request)
            .await?;
        Ok(page.map(event_of))
    }

    /// How many events the list has, as far as a bounded number of candidates tells.
    pub async fn count_events(&self, env: EnvId, filter: &EventFilter) -> Result<Count, Error> {
        let list = keyset(Direction::Descending);
        list.count(self.reader(), "events", plan(env, filter)).await
    }
}

/// Most names whose events are looked for in the index one name after the other; of more of them the list of the environment is read.
const NAMES: usize = 32;

/// How the list is read: what an index knows goes into where candidates come from, and the rest is asked of them.
pub(super) fn plan(env: EnvId, filter: &EventFilter) -> Plan<event::Entity> {
    use event::Column;
    let range = EventFilter {
        from: filter.from,
        until: filter.until,
        with_internal: true,
        ..EventFilter::default()
    };
    let base = select(env, &range);
    let mut left = filter.clone();
    (left.from, left.until) = (None, None);
    let is_listed = |names: &mut Vec<String>| {
        names.len() <= NAMES && !names.iter().any(|name| name.ends_with('*'))
    };
    let source = match left.names.take_if(is_listed) {
        Some(mut names) => {
            // Each place of the index once, or its candidates would count twice.
            names.sort_unstable();
            names.dedup();
            let pairs = names
                .iter()
                .map(|name| vec![env.raw().into(), name.as_str().into()]);
            let columns = &[Column::EnvId, Column::Name];
            let parents =
                Parents::of_values(columns, pairs.collect(), |row: &event::Model| row.env_id);
            Source::Several(base, parents)
        }
        None if filter.with_internal => Source::One(base),
        None => {
            left.with_internal = true;
            Source::One(base.filter(sent()))
        }
    };
    Plan::new(source, conditions(&left))
}

/// As the index says it that holds only these.
fn sent() -> Expr {
    Expr::cust("NOT \"events\".\"internal\"")
}

pub(super) fn select(env: EnvId, filter: &EventFilter) -> Select<event::Entity> {
    event::Entity::find()
        .filter(event::Column::EnvId.eq(env.raw()))
        .filter(conditions(filter))
}

/// What the filter asks of an event.
fn conditions(filter: &EventFilter) -> Condition {
    use event::Column;
    let mut all = Condition::all()
        .add_option(filter.from.map(|from| Column::Id.gte(first_id(from))))
        .add_option(filter.until.map(|until| Column::Id.lt(first_id(until))));
    if let Some(list) = &filter.names {
        let (prefixes, names): (Vec<&str>, Vec<&str>) = list
            .iter()
            .map(String::as_str)
            .partition(|name| name.ends_with('*'));
        let named = Column::Name.is_in(names);
        let any = prefixes
            .iter()
            .fold(Condition::any().add(named), |any, pattern| {
                let prefix = pattern.trim_end_matches('*');
                let length = i32::try_from(prefix.chars().count()).unwrap_or(i32::MAX);
                let start = Func::cust("substr").args([
                    Expr::col((event::Entity, Column::Name)),
                    Expr::val(1),
                    Expr::val(length),
                ]);
                any.add(Expr::from(start).eq(prefix))
            });
        all = all.add(any);
    }
    if !filter.with_internal {
        all = all.add(sent());
    }
    if let Some(list) = &filter.keys {
        all = all.add(Column::Key.is_in(list.iter().map(String::as_str)));
    }
    if let Some(list) = &filter.sources {
        let from = |kind: &SourceKind| match kind {
            SourceKind::EventApi => Column::Door.eq(Door::INGEST),
            SourceKind::Api => Column::Door.eq(Door::API),
            SourceKind::System => Expr::cust("\"events\".\"internal\"").and(Column::Door.is_null()),
        };
        let any = list.iter().map(from);
        all = all.add(any.fold(Condition::any().add(Expr::cust("1 = 0")), Condition::add));
    }
    if let Some(wanted) = filter.has_runs {
        let started = run::Entity::find()
            .select_only()
            .expr(Expr::val(1))
            .filter(
                Expr::col((run::Entity, run::Column::EventId)).equals((event::Entity, Column::Id)),
            )
            .into_query();
        let exists = Expr::exists(started);
        all = all.add(if wanted { exists } else { exists.not() });
    }
    all
}
