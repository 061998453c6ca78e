//! Filters of lists. Members are joined by "and", values inside a member by "or"; an empty list matches nothing.

use std::time::Duration;

use async_graphql::{Context, Enum, Error, ID, InputObject};

use inngest_core::{
    ids::{AppId, EventId, FunctionId, RunId},
    page::{self, Direction, PageRequest},
    run::{RunStatus, TriggerKind},
    time::Timestamp,
};
use inngest_services::{self as services, TimeSpan};

use crate::graphql::{
    connection::{Counted, Length, OrderDirection, Page},
    ids::{self, GlobalId, ReplayId},
    listed::{FunctionList, Sought, Total},
    objects::{
        event::EventSourceKind,
        function::FunctionObject,
        run_parts::{RunActivity, RunStatusEnum, RunTriggerKind},
    },
    parents::{FunctionCountOf, FunctionsOf},
    related::{IdsOfSlugs, answer},
    scalars::{CelExpression, DateTime, Milliseconds},
};

/// Half-open interval from <= t < until.
#[derive(InputObject)]
pub(crate) struct TimeRange {
    /// Inclusive start.
    pub(crate) from: DateTime,
    /// Exclusive end; now when omitted.
    pub(crate) until: Option<DateTime>,
}

/// Closed range of durations.
#[derive(InputObject)]
pub(crate) struct MillisecondsRange {
    /// Smallest.
    min: Option<Milliseconds>,
    /// Largest.
    max: Option<Milliseconds>,
}

/// Filter for runs; all given parts must hold.
#[derive(InputObject)]
pub(crate) struct RunFilter {
    /// Interval; which time is meant is set by timeField.
    time: TimeRange,
    /// Time the interval applies to; QUEUED_AT when omitted. An index knows when runs were queued; by their start or end they are looked
    /// for among those that were queued before, newest first, within the budget of a search: scan says how far. With statuses FAILED,
    /// CANCELLED or SKIPPED an index narrows these.
    time_field: Option<RunTimeRangeField>,
    /// Only these states; SKIPPED only when listed.
    statuses: Option<Vec<RunStatusEnum>>,
    /// Only doing this now, each by the busiest of its branches. Those that have not ended, which an index knows, are looked through within
    /// the budget of a search.
    activities: Option<Vec<RunActivity>>,
    /// Only of these functions.
    pub(crate) function_ids: Option<Vec<ID>>,
    /// Only of functions with these slugs.
    function_slugs: Option<Vec<String>>,
    /// Only of these apps.
    app_ids: Option<Vec<ID>>,
    /// Only of this replay.
    pub(crate) replay_id: Option<ID>,
    /// Only these runs.
    run_ids: Option<Vec<ID>>,
    /// Only started by these events; a batch counts by its first one.
    event_ids: Option<Vec<ID>>,
    /// Only started by events with these names.
    event_names: Option<Vec<String>>,
    /// Only started this way.
    trigger_kinds: Option<Vec<RunTriggerKind>>,
    /// Only of this version; needs exactly one function.
    function_version: Option<u32>,
    /// Only with or only without an error.
    has_error: Option<bool>,
    /// Only with a duration in this range; that of an unfinished run lasts until now.
    duration_ms: Option<MillisecondsRange>,
    /// Condition over event, output, error and run.
    pub(crate) search: Option<CelExpression>,
}

impl RunFilter {
    /// Takes out what no filter of the service has.
    pub(crate) fn sought(&mut self) -> Sought {
        let activities = self.activities.take();
        Sought {
            search: self.search.take().map(|CelExpression(text)| text),
            activities: activities.map(|list| list.into_iter().map(Into::into).collect()),
        }
    }

    /// The filter as the service takes it, but for the time at which it is asked: whoever reads the list adds it.
    pub(crate) async fn into_service(
        self,
        ctx: &Context<'_>,
    ) -> Result<services::RunFilter, Error> {
        let unless_skipped = || {
            RunStatus::ALL
                .iter()
                .copied()
                .filter(|status| *status != RunStatus::Skipped)
                .collect()
        };
        let statuses = self.statuses.map_or_else(unless_skipped, |list| {
            list.into_iter().map(RunStatus::from).collect()
        });
        let mut functions = parse_all::<FunctionId>(self.function_ids)?;
        if let Some(slugs) = self.function_slugs {
            let named = answer(ctx, IdsOfSlugs(slugs)).await?;
            functions = Some(match functions {
                None => named,
                Some(ids) => ids.into_iter().filter(|id| named.contains(id)).collect(),
            });
        }
        let kinds = self
            .trigger_kinds
            .map(|list| list.into_iter().map(TriggerKind::from).collect());
        let millis = |limit: Milliseconds| Duration::from_millis(limit.0);
        let (min, max) = self
            .duration_ms
            .map_or((None, None), |range| (range.min, range.max));
        let asked = TimeSpan {
            from: Some(self.time.from.0),
            until: self.time.until.map(|until| until.0),
        };
        let of = |which| match self.time_field.unwrap_or(RunTimeRangeField::QueuedAt) == which {
            true => asked,
            false => TimeSpan::default(),
        };
        let queued = of(RunTimeRangeField::QueuedAt);
        Ok(services::RunFilter {
            from: queued.from,
            until: queued.until,
            started: of(RunTimeRangeField::StartedAt),
            ended: of(RunTimeRangeField::EndedAt),
            statuses: Some(statuses),
            functions,
            apps: parse_all::<AppId>(self.app_ids)?,
            replay: self
                .replay_id
                .map(|id| ids::parse(&id))
                .transpose()?
                .map(|ReplayId(id)| id),
            runs: parse_all::<RunId>(self.run_ids)?,
            events: parse_all::<EventId>(self.event_ids)?,
            event_names: self.event_names,
            triggers: kinds,
            function_version: self.function_version,
            has_error: self.has_error,
            min_duration: min.map(millis),
            max_duration: max.map(millis),
            now: Timestamp::default(),
        })
    }
}

fn parse_all<T: GlobalId>(list: Option<Vec<ID>>) -> Result<Option<Vec<T>>, Error> {
    list.as_deref().map(ids::parse_all::<T>).transpose()
}

/// Times of a run.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "the words of the schema")]
pub(crate) enum RunTimeRangeField {
    /// When it was queued.
    QueuedAt,
    /// When it started.
    StartedAt,
    /// When it ended.
    EndedAt,
}

/// Times of a run by which lists of runs can be ordered.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunTimeField {
    /// When it was queued.
    QueuedAt,
}

/// Order of runs; the run id breaks ties.
#[derive(InputObject)]
pub(crate) struct RunOrder {
    /// What to order by.
    field: RunTimeField,
    /// In which direction.
    direction: OrderDirection,
}

impl RunOrder {
    /// The direction that is asked for; newest first when none is.
    pub(crate) fn direction(order: Option<Self>) -> Direction {
        order.map_or(Direction::Descending, |order| match order.field {
            RunTimeField::QueuedAt => order.direction.into(),
        })
    }
}

/// Filter for events; all given parts must hold.
#[derive(InputObject)]
pub(crate) struct EventFilter {
    /// Interval of receipt.
    time: TimeRange,
    /// Only these names, with a trailing star as wildcard.
    names: Option<Vec<String>>,
    /// Also events produced by the server; false when omitted.
    include_internal: Option<bool>,
    /// Only with these producer ids.
    idempotency_keys: Option<Vec<String>>,
    /// Only from these sources; SYSTEM needs includeInternal. Events of before this was kept have none.
    source_kinds: Option<Vec<EventSourceKind>>,
    /// Only with or only without runs that they started.
    has_runs: Option<bool>,
    /// Condition over event, for example event.data.amount > 10.
    pub(crate) search: Option<CelExpression>,
}

impl From<EventFilter> for services::EventFilter {
    fn from(filter: EventFilter) -> Self {
        Self {
            from: Some(filter.time.from.0),
            until: filter.time.until.map(|until| until.0),
            names: filter.names,
            with_internal: filter.include_internal.unwrap_or(false),
            keys: filter.idempotency_keys,
            has_runs: filter.has_runs,
            sources: filter
                .source_kinds
                .map(|list| list.into_iter().map(Into::into).collect()),
        }
    }
}

/// What events can be ordered by.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventOrderField {
    /// Time of receipt; the default, newest first.
    ReceivedAt,
}

/// Order of events.
#[derive(InputObject)]
pub(crate) struct EventOrder {
    /// What to order by.
    field: EventOrderField,
    /// In which direction.
    direction: OrderDirection,
}

impl EventOrder {
    /// The direction that is asked for; newest first when none is.
    pub(crate) fn direction(order: Option<Self>) -> Direction {
        order.map_or(Direction::Descending, |order| match order.field {
            EventOrderField::ReceivedAt => order.direction.into(),
        })
    }
}

/// Filter for apps.
#[derive(InputObject, Default)]
pub(crate) struct AppFilter {
    /// Also archived ones; false when omitted.
    include_archived: Option<bool>,
    /// Case-insensitive part of name or external id.
    name_contains: Option<String>,
}

impl From<AppFilter> for services::AppFilter {
    fn from(filter: AppFilter) -> Self {
        Self {
            with_archived: filter.include_archived.unwrap_or(false),
            name_contains: filter.name_contains,
        }
    }
}

/// Sort of trigger.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "TriggerKind", remote = "services::FunctionTrigger")]
pub(crate) enum FunctionTriggerKind {
    /// An event.
    Event,
    /// A schedule.
    Cron,
    /// Only by invocation.
    Invoke,
}

/// Filter for functions.
#[derive(InputObject, Default)]
pub(crate) struct FunctionFilter {
    /// Only of these apps.
    app_ids: Option<Vec<ID>>,
    /// Only those that listen to this event.
    trigger_event_name: Option<String>,
    /// Only with such a trigger.
    trigger_kinds: Option<Vec<FunctionTriggerKind>>,
    /// Only paused or only not paused.
    is_paused: Option<bool>,
    /// Also archived ones; false when omitted.
    include_archived: Option<bool>,
    /// Case-insensitive part of name or slug.
    name_contains: Option<String>,
}

impl FunctionFilter {
    /// A page of functions by slug.
    pub(crate) async fn list(
        self,
        ctx: &Context<'_>,
        request: PageRequest,
    ) -> Result<Page<FunctionObject, Counted>, Error> {
        let filter = self.into_service()?;
        let found = answer(ctx, FunctionList(filter.clone(), request)).await?;
        let extra = Counted(Length::Total(Total::Functions(filter)));
        Ok(Page::of(found, extra, FunctionObject))
    }

    /// The same of one app.
    pub(crate) async fn list_of_app(
        self,
        ctx: &Context<'_>,
        app: AppId,
        request: PageRequest,
    ) -> Result<Page<FunctionObject, Counted>, Error> {
        let filter = self.into_service()?;
        let asked_for = filter.apps.as_ref();
        if asked_for.is_some_and(|apps| !apps.contains(&app)) {
            let none = Counted(Length::Known(0));
            return Ok(Page::of(page::Page::empty(), none, FunctionObject));
        }
        let filter = services::FunctionFilter {
            apps: None,
            ..filter
        };
        let found = answer(ctx, FunctionsOf(app, filter.clone(), request)).await?;
        let extra = Counted(Length::FunctionsOf(FunctionCountOf(app, filter)));
        Ok(Page::of(found, extra, FunctionObject))
    }

    fn into_service(self) -> Result<services::FunctionFilter, Error> {
        let kinds = self.trigger_kinds;
        Ok(services::FunctionFilter {
            apps: parse_all::<AppId>(self.app_ids)?,
            trigger_event: self.trigger_event_name,
            triggers: kinds.map(|list| list.into_iter().map(Into::into).collect()),
            is_paused: self.is_paused,
            with_archived: self.include_archived.unwrap_or(false),
            name_contains: self.name_contains,
        })
    }
}
