//! Live streams. Each message carries the latest state of an object; a slow reader misses states, never the last one.

use std::collections::HashSet;

use async_graphql::{Context, Error, ID, InputObject, Subscription};
use futures_util::{Stream, StreamExt, stream};

use inngest_core::{
    ids::{AppId, FunctionId, RunId},
    run::{Run, RunStatus},
};
use inngest_services::{FeedItem, RunFeedFilter as ServiceFilter};

use crate::graphql::{
    asking::asking,
    error::{as_error, failed},
    ids::{self, GlobalId},
    objects::{
        environment::EnvironmentObject,
        feed::{FeedMessageKind, RunFeedUpdate, RunUpdate},
        run_parts::RunStatusEnum,
    },
};

/// Runs that one feed remembers to have delivered, so that it can say when one no longer matches.
const REMEMBERED: usize = 5_000;

/// Filter of runFeed.
#[derive(InputObject, Default)]
pub(crate) struct RunFeedFilter {
    /// Only these states.
    statuses: Option<Vec<RunStatusEnum>>,
    /// Only of these functions.
    function_ids: Option<Vec<ID>>,
    /// Only of these apps.
    app_ids: Option<Vec<ID>>,
}

/// Live streams; exactly one root field per operation.
pub(crate) struct Subscription;

/// Live streams; exactly one root field per operation.
#[Subscription]
impl Subscription {
    /// Every change of one run; ends when the run has ended and been delivered.
    async fn run_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The run.")] run_id: ID,
        #[graphql(desc = "Position to resume from; the present state is sent first in any case.")]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<RunUpdate, Error>> + use<>, Error> {
        drop(after);
        let asking = asking(ctx).clone();
        let id: RunId = ids::parse(&run_id)?;
        let runs = asking
            .services
            .live()
            .watch_run(&asking.actor, id)
            .await
            .map_err(|error| failed(ctx, &error))?;
        Ok(runs.flat_map(move |run| {
            let now = asking.services.clock().now();
            stream::iter(match run {
                Ok(run) if run.status.is_ended() => vec![
                    Ok(RunUpdate::new(FeedMessageKind::Updated, run.clone(), now)),
                    Ok(RunUpdate::new(FeedMessageKind::Ended, run, now)),
                ],
                Ok(run) => vec![Ok(RunUpdate::new(FeedMessageKind::Updated, run, now))],
                Err(error) => vec![Err(as_error(&error, &asking.request_id))],
            })
        }))
    }

    /// New and changed runs that match a filter.
    async fn run_feed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Environment of the runs.")] environment_id: ID,
        #[graphql(desc = "Which runs; all when omitted.")] filter: Option<RunFeedFilter>,
        #[graphql(desc = "Position to resume from.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<RunFeedUpdate, Error>> + use<>, Error> {
        let asking = asking(ctx).clone();
        EnvironmentObject::check(&asking, &environment_id)?;
        let mut matching = Matching::new(filter.unwrap_or_default())?;
        // The state of a run changes, so states are compared here: a run that stops matching has to be taken back.
        let wanted = ServiceFilter {
            functions: matching.functions.clone(),
            statuses: Vec::new(),
        };
        let changes = asking
            .services
            .live()
            .watch_runs(&asking.actor, wanted)
            .await
            .map_err(|error| failed(ctx, &error))?;
        let first = if after.is_some() {
            FeedMessageKind::Reset
        } else {
            FeedMessageKind::Ready
        };
        let opening = RunFeedUpdate::bare(first, asking.services.clock().now());
        let updates = changes.filter_map(move |item| {
            let now = asking.services.clock().now();
            let update = match item {
                Ok(FeedItem::Reset) => {
                    matching.delivered.clear();
                    Some(Ok(RunFeedUpdate::bare(FeedMessageKind::Reset, now)))
                }
                Ok(FeedItem::Changed(run)) => matching.judge(&run).map(|kind| {
                    Ok(match kind {
                        FeedMessageKind::Removed => RunFeedUpdate::removed(run.id.global(), now),
                        FeedMessageKind::Reset => RunFeedUpdate::bare(kind, now),
                        _ => RunFeedUpdate::with_run(kind, run, now),
                    })
                }),
                Err(error) => Some(Err(as_error(&error, &asking.request_id))),
            };
            std::future::ready(update)
        });
        Ok(stream::iter([Ok(opening)]).chain(updates))
    }
}

/// What one feed lets through, and what it has let through.
struct Matching {
    statuses: Option<Vec<RunStatus>>,
    functions: Vec<FunctionId>,
    /// An empty list matches nothing, as in filters of queries.
    matches_nothing: bool,
    apps: Option<Vec<AppId>>,
    delivered: HashSet<RunId>,
}

impl Matching {
    fn new(filter: RunFeedFilter) -> Result<Self, Error> {
        let functions = filter
            .function_ids
            .as_deref()
            .map(ids::parse_all::<FunctionId>)
            .transpose()?;
        Ok(Self {
            statuses: filter
                .statuses
                .map(|list| list.into_iter().map(RunStatus::from).collect()),
            matches_nothing: functions.as_ref().is_some_and(Vec::is_empty),
            functions: functions.unwrap_or_default(),
            apps: filter
                .app_ids
                .as_deref()
                .map(ids::parse_all::<AppId>)
                .transpose()?,
            delivered: HashSet::new(),
        })
    }

    /// What to say about a changed run; none when it does not concern this feed.
    fn judge(&mut self, run: &Run) -> Option<FeedMessageKind> {
        let matches = !self.matches_nothing
            && self
                .statuses
                .as_ref()
                .is_none_or(|statuses| statuses.contains(&run.status))
            && self
                .apps
                .as_ref()
                .is_none_or(|apps| apps.contains(&run.app));
        if !matches {
            return self
                .delivered
                .remove(&run.id)
                .then_some(FeedMessageKind::Removed);
        }
        if self.delivered.len() >= REMEMBERED && !self.delivered.contains(&run.id) {
            self.delivered.clear();
            return Some(FeedMessageKind::Reset);
        }
        let is_first = self.delivered.insert(run.id);
        let is_new = is_first && run.status == RunStatus::Queued;
        Some(if is_new {
            FeedMessageKind::Created
        } else {
            FeedMessageKind::Updated
        })
    }
}

#[cfg(test)]
mod tests {
    use inngest_core::{
        ids::{AppId, DEFAULT_ENV},
        time::Timestamp,
    };

    use super::*;

    fn run(number: u128, status: RunStatus) -> Run {
        let app = AppId::derive(DEFAULT_ENV, "shop");
        Run {
            id: RunId::from_raw(ulid::Ulid(number)),
            app,
            function: FunctionId::derive(app, "f"),
            function_version: 1,
            status,
            skip_reason: None,
            events: Vec::new(),
            event_name: "e".into(),
            cron: None,
            original: None,
            correlation: None,
            queued_at: Timestamp::default(),
            started_at: None,
            ended: None,
            revision: 1,
        }
    }

    #[test]
    fn run_that_stops_matching_is_removed_once() {
        let filter = RunFeedFilter {
            statuses: Some(vec![RunStatusEnum::Queued, RunStatusEnum::Running]),
            ..RunFeedFilter::default()
        };
        let mut matching = Matching::new(filter).unwrap();
        assert_eq!(
            matching.judge(&run(1, RunStatus::Queued)),
            Some(FeedMessageKind::Created)
        );
        assert_eq!(
            matching.judge(&run(1, RunStatus::Running)),
            Some(FeedMessageKind::Updated)
        );
        assert_eq!(
            matching.judge(&run(1, RunStatus::Completed)),
            Some(FeedMessageKind::Removed)
        );
        assert_eq!(matching.judge(&run(1, RunStatus::Completed)), None);
        assert_eq!(matching.judge(&run(2, RunStatus::Failed)), None);
    }

    #[test]
    fn feed_that_remembers_too_much_starts_over() {
        let mut matching = Matching::new(RunFeedFilter::default()).unwrap();
        for number in 0..REMEMBERED as u128 {
            matching.judge(&run(number, RunStatus::Running));
        }
        assert_eq!(
            matching.judge(&run(REMEMBERED as u128, RunStatus::Running)),
            Some(FeedMessageKind::Reset)
        );
        assert_eq!(
            matching.judge(&run(REMEMBERED as u128, RunStatus::Running)),
            Some(FeedMessageKind::Updated)
        );
    }
}
