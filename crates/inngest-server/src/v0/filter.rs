//! Which events and runs are listed, and in which order.

use async_graphql::{Context, Enum, Error, ID, InputObject};

use inngest_core::{
    expr::SearchOver,
    ids::EventId,
    page::{Cursor, Direction},
    run::RunStatus,
    time::Timestamp,
};
use inngest_services::{EventFilter, RunFilter, RunOrder, RunTime};

use crate::{
    graphql::{
        asking::asking,
        error::{bad_input, failed},
        scalars::UuidText,
    },
    v0::{rules, run::FunctionRunStatus, scalars::Time},
};

/// Which events are listed.
#[derive(InputObject)]
pub(crate) struct EventsFilter {
    /// Accepted at or after.
    from: Time,
    /// Accepted before.
    until: Option<Time>,
    /// Of any of these names.
    event_names: Option<Vec<String>>,
    /// Whether those that the server made itself are listed too.
    #[graphql(default)]
    include_internal_events: bool,
    /// Conditions over `event`, one in each line; all must hold.
    query: Option<String>,
}

impl EventsFilter {
    /// The filter and the search as the service takes them.
    pub(crate) fn into_service(
        self,
        ctx: &Context<'_>,
    ) -> Result<(EventFilter, Option<String>), Error> {
        let search = search(ctx, self.query, SearchOver::Events)?;
        let filter = EventFilter {
            from: Some(self.from.0),
            until: self.until.map(|until| until.0),
            names: given(self.event_names),
            with_internal: self.include_internal_events,
            ..EventFilter::default()
        };
        Ok((filter, search))
    }
}

/// Which runs are listed; never those that were skipped.
#[derive(InputObject)]
#[graphql(name = "RunsFilterV2")]
pub(crate) struct RunsFilter {
    /// At or after.
    from: Time,
    /// Before.
    until: Option<Time>,
    /// Which time of the run these two are about.
    #[graphql(default_with = "Some(RunTimeField::Queued)")]
    time_field: Option<RunTimeField>,
    /// In any of these states.
    status: Option<Vec<FunctionRunStatus>>,
    /// Of any of these functions.
    #[graphql(name = "functionIDs")]
    function_ids: Option<Vec<UuidText>>,
    /// Of any of these apps.
    #[graphql(name = "appIDs")]
    app_ids: Option<Vec<UuidText>>,
    /// Only deferred ones, of which this server has none, or only others.
    is_deferred: Option<bool>,
    /// Conditions over `event`, `output`, `error` and `run`, one in each line; all must hold.
    query: Option<String>,
}

impl RunsFilter {
    /// The filter, the search and the order as the services take them.
    pub(crate) fn into_service(
        self,
        ctx: &Context<'_>,
        asked: &[RunsOrder],
    ) -> Result<(RunFilter, Option<String>, RunOrder), Error> {
        let search = search(ctx, self.query, SearchOver::Runs)?;
        let listed = given(self.status);
        let listed = listed.map(|list| list.into_iter().map(RunStatus::from).collect::<Vec<_>>());
        let mut statuses = listed.unwrap_or_else(|| RunStatus::ALL.to_vec());
        statuses.retain(|status| *status != RunStatus::Skipped);
        let within = self
            .time_field
            .map_or(RunTime::Queued, |field| field.time());
        let (from, until) = (Some(self.from.0), self.until.map(|until| until.0));
        let is_queued = within == RunTime::Queued;
        let (by, direction) = RunsOrder::first(asked);
        let order = RunOrder {
            within,
            from: from.filter(|_| !is_queued),
            until: until.filter(|_| !is_queued),
            by,
            direction,
        };
        let filter = RunFilter {
            from: from.filter(|_| is_queued),
            until: until.filter(|_| is_queued),
            statuses: Some(statuses),
            functions: parse_all(self.function_ids)?,
            apps: parse_all(self.app_ids)?,
            runs: self.is_deferred.and_then(|yes| yes.then(Vec::new)),
            now: asking(ctx).services.clock().now(),
            ..RunFilter::default()
        };
        Ok((filter, search, order))
    }
}

/// A time of a run.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "RunsV2OrderByField")]
pub(crate) enum RunTimeField {
    /// When it was scheduled.
    #[graphql(name = "QUEUED_AT")]
    Queued,
    /// When its app was first called.
    #[graphql(name = "STARTED_AT")]
    Started,
    /// When it ended.
    #[graphql(name = "ENDED_AT")]
    Ended,
}

impl RunTimeField {
    fn time(self) -> RunTime {
        match self {
            Self::Queued => RunTime::Queued,
            Self::Started => RunTime::Started,
            Self::Ended => RunTime::Ended,
        }
    }
}

/// Which way a list goes.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "RunsOrderByDirection")]
pub(crate) enum RunsDirection {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// The order of a list of runs; the run id breaks ties.
#[derive(InputObject)]
#[graphql(name = "RunsV2OrderBy")]
pub(crate) struct RunsOrder {
    /// By which time.
    field: RunTimeField,
    /// In which direction.
    direction: RunsDirection,
}

impl RunsOrder {
    /// What the first of these says; those queued last come first when there is none.
    fn first(asked: &[Self]) -> (RunTime, Direction) {
        let Some(first) = asked.first() else {
            return (RunTime::Queued, Direction::Descending);
        };
        let direction = match first.direction {
            RunsDirection::Asc => Direction::Ascending,
            RunsDirection::Desc => Direction::Descending,
        };
        (first.field.time(), direction)
    }
}

/// Which events are listed.
#[derive(InputObject)]
pub(crate) struct EventsQuery {
    /// Ignored: the credential says which environment is meant.
    #[graphql(default_with = "ID::from(\"local\")")]
    workspace_id: ID,
    /// Only events older than this one.
    last_event_id: Option<ID>,
}

impl EventsQuery {
    /// Where the list begins and ends.
    pub(crate) fn bounds(&self) -> Result<Bounds, Error> {
        let mut bounds = Bounds::default();
        bounds.end_at(Place::of(self.last_event_id.as_ref())?);
        Ok(bounds)
    }
}

/// Which part of the stream is wanted.
#[derive(InputObject)]
pub(crate) struct StreamQuery {
    /// Only events newer than this: an event's id, or an RFC 3339 time.
    after: Option<ID>,
    /// Only events older than this: an event's id, or an RFC 3339 time.
    before: Option<ID>,
    /// How many events, 1 to 1,000.
    #[graphql(default = 20)]
    pub(crate) limit: i32,
    /// Whether those that the server made itself are listed too.
    include_internal_events: Option<bool>,
}

impl StreamQuery {
    /// Where the list begins and ends.
    pub(crate) fn bounds(&self) -> Result<Bounds, Error> {
        let mut bounds = Bounds::default();
        bounds.filter.with_internal = self.include_internal_events.unwrap_or(false);
        match Place::of(self.after.as_ref())? {
            Some(Place::Event(id)) => {
                let millis = i64::try_from(id.raw().timestamp_ms()).unwrap_or(i64::MAX);
                bounds.filter.from = Some(Timestamp::from_millis(millis));
                bounds.newer_than = Some(id);
            }
            Some(Place::Time(at)) => bounds.filter.from = Some(at),
            None => {}
        }
        bounds.end_at(Place::of(self.before.as_ref())?);
        Ok(bounds)
    }
}

/// A part of the list of events.
#[derive(Default)]
pub(crate) struct Bounds {
    pub(crate) filter: EventFilter,
    /// The cursor of the event before which it begins; the newest come first.
    pub(crate) after: Option<String>,
    /// The event after which it ends.
    pub(crate) newer_than: Option<EventId>,
}

impl Bounds {
    fn end_at(&mut self, place: Option<Place>) {
        match place {
            Some(Place::Event(id)) => {
                let order = EventFilter::order(Direction::Descending);
                self.after = Some(Cursor::at(order, id.raw()).encode());
            }
            Some(Place::Time(at)) => self.filter.until = Some(at),
            None => {}
        }
    }
}

/// A place in the list of events.
enum Place {
    Event(EventId),
    Time(Timestamp),
}

impl Place {
    fn of(text: Option<&ID>) -> Result<Option<Self>, Error> {
        let Some(text) = text else {
            return Ok(None);
        };
        if let Ok(id) = text.parse() {
            return Ok(Some(Self::Event(id)));
        }
        let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| {
            bad_input("this is neither the id of an event nor an RFC 3339 time, so it is no place in the list")
        })?;
        let millis = time.timestamp_millis();
        Ok(Some(Self::Time(Timestamp::from_millis(millis))))
    }
}

/// Clients send an empty list for one that they leave open.
fn given<T>(list: Option<Vec<T>>) -> Option<Vec<T>> {
    list.filter(|list| !list.is_empty())
}

fn parse_all<T: std::str::FromStr>(list: Option<Vec<UuidText>>) -> Result<Option<Vec<T>>, Error> {
    let parse = |id: UuidText| {
        id.0.parse()
            .map_err(|_| bad_input("this is not a UUID, so there is nothing of this id"))
    };
    given(list)
        .map(|list| list.into_iter().map(parse).collect())
        .transpose()
}

fn search(
    ctx: &Context<'_>,
    query: Option<String>,
    over: SearchOver,
) -> Result<Option<String>, Error> {
    let text = rules::search_of(&query.unwrap_or_default(), over);
    text.map_err(|error| failed(ctx, &error.into()))
}
