//! Runs as they change: one, or all that match a filter.

use std::collections::HashSet;

use inngest_core::{
    access::Scope,
    ids::{AppId, EventId, FunctionId, RunId},
    run::{Run, RunStatus, TriggerKind},
    time::Timestamp,
};
use inngest_state::LogPosition;

use super::{
    FeedCursor, Standing, Update,
    dirty::{Due, MOST, Mark, Thing},
    hub::Interest,
    stream::{Opening, Telling, Watcher, stream},
};
use crate::{Error, engine::Shared, judge::RunJudge};

/// Runs that are read together.
const AHEAD: usize = 32;
/// How far the clock that named a run may be from ours.
const CLOCKS: std::time::Duration = std::time::Duration::from_secs(60);

/// Which runs a feed tells of. None means all, an empty list nothing.
#[derive(Clone, Debug, Default)]
pub struct RunFeedFilter {
    /// Any of these statuses.
    pub statuses: Option<Vec<RunStatus>>,
    /// Any of these functions.
    pub functions: Option<Vec<FunctionId>>,
    /// Any of these apps.
    pub apps: Option<Vec<AppId>>,
    /// Started by any of these events.
    pub events: Option<Vec<EventId>>,
    /// Started in any of these ways.
    pub triggers: Option<Vec<TriggerKind>>,
    /// Those for which an expression holds when they have changed, as in searches of the list.
    pub search: Option<String>,
}

/// What is told of runs.
#[derive(Clone, Debug, PartialEq)]
pub enum RunNews {
    /// The stream is live and there was nothing to catch up with.
    Ready,
    /// A new run.
    Created(Run),
    /// The newest state of a run.
    Updated(Run),
    /// A run no longer matches, or is gone.
    Removed(RunId),
    /// A run has ended, and nothing follows.
    Ended(Run),
    /// Changes were dropped: read the list again.
    Reset,
}

/// The newest state of a run that is due, read for all who watch the environment.
async fn read(watcher: &Watcher, id: RunId, mark: &Mark) -> Result<Option<Run>, Error> {
    let mut wanted: Vec<(RunId, LogPosition)> = vec![(id, mark.latest)];
    wanted.extend(
        watcher
            .ahead(AHEAD)
            .into_iter()
            .filter_map(|(thing, latest)| match thing {
                Thing::Run(id) => Some((id, latest)),
                _ => None,
            }),
    );
    let (engine, env) = (&watcher.engine, watcher.actor().env);
    let load = |ids: Vec<RunId>| async move {
        let runs = engine.store.find_runs(env, &ids).await?;
        Ok(runs.into_iter().map(|run| (run.id, run)).collect())
    };
    let position = || watcher.hub.position();
    let size = |run: &Run| {
        run.ended
            .as_ref()
            .map_or(0, |ended| ended.output.as_bytes().len())
    };
    let found = watcher
        .hub
        .runs
        .first(&wanted, watcher.reads, position, load, size)
        .await?;
    Ok(found.map(|run| engine.shown(run)))
}

struct One {
    watcher: Watcher,
    id: RunId,
    /// The state that was read first.
    first: Option<Run>,
    /// The revision that was told last.
    told: u64,
    /// A state that ends the stream.
    last: Option<(Run, Timestamp)>,
    is_done: bool,
}

pub(super) async fn watch_one(
    engine: &Shared,
    standing: Standing,
    id: RunId,
) -> Result<impl super::Stream<RunNews> + use<>, Error> {
    let actor = standing.actor();
    let interest = Interest::Run(id);
    let (watcher, _) = Watcher::enter(engine, standing, Scope::RunsRead, interest).await?;
    let first = crate::Runs(engine).get(&actor, id).await?;
    Ok(stream(One {
        watcher,
        id,
        first: Some(first),
        told: 0,
        last: None,
        is_done: false,
    }))
}

impl Telling for One {
    type News = RunNews;

    async fn step(&mut self) -> Result<Option<Update<RunNews>>, Error> {
        if self.is_done {
            return Ok(None);
        }
        if let Some((run, at)) = self.last.take() {
            self.is_done = true;
            return Ok(Some(self.watcher.update(RunNews::Ended(run), Some(at))));
        }
        if let Some(run) = self.first.take() {
            let now = self.watcher.engine.clock.now();
            return Ok(Some(self.tell(run, now)));
        }
        loop {
            let (found, at) = match self.watcher.next().await? {
                Due::One(_, mark) => (read(&self.watcher, self.id, &mark).await?, mark.at),
                // Whatever was dropped, the present state holds it.
                Due::Reset => {
                    let actor = self.watcher.actor();
                    let engine = &self.watcher.engine;
                    let found = engine.store.find_run(actor.env, self.id).await?;
                    (found.map(|run| engine.shown(run)), engine.clock.now())
                }
            };
            let run = found.ok_or_else(|| Error::no_run(self.id))?;
            if run.revision > self.told {
                return Ok(Some(self.tell(run, at)));
            }
        }
    }
}

impl One {
    fn tell(&mut self, run: Run, at: Timestamp) -> Update<RunNews> {
        self.told = run.revision;
        if run.status.is_ended() {
            self.last = Some((run.clone(), at));
        }
        self.watcher.update(RunNews::Updated(run), Some(at))
    }
}

struct Many {
    watcher: Watcher,
    matching: Matching,
    /// Of the search of the filter.
    judge: Option<RunJudge>,
    opening: Option<Opening>,
}

pub(super) async fn watch_many(
    engine: &Shared,
    standing: Standing,
    filter: RunFeedFilter,
    after: Option<FeedCursor>,
) -> Result<impl super::Stream<RunNews> + use<>, Error> {
    let judge = filter.search.as_deref();
    let judge = judge
        .map(|text| RunJudge::new(&standing.actor(), text))
        .transpose()?;
    let functions = filter.functions.clone();
    let interest = Interest::Runs(functions.map(|list| list.into_iter().collect()));
    let (watcher, opening) =
        Watcher::resume(engine, standing, Scope::RunsRead, interest, after).await?;
    let now = engine.clock.now();
    let matching = Matching::new(filter, after.is_some().then_some(now));
    Ok(stream(Many {
        watcher,
        matching,
        judge,
        opening: Some(opening),
    }))
}

impl Telling for Many {
    type News = RunNews;

    async fn step(&mut self) -> Result<Option<Update<RunNews>>, Error> {
        match self.opening.take() {
            Some(Opening::Ready) => return Ok(Some(self.watcher.update(RunNews::Ready, None))),
            Some(Opening::Reset) => return Ok(Some(self.reset())),
            Some(Opening::Behind) | None => {}
        }
        loop {
            let (id, mark) = match self.watcher.next().await? {
                Due::Reset => return Ok(Some(self.reset())),
                Due::One(Thing::Run(id), mark) => (id, mark),
                Due::One(..) => continue,
            };
            let now = self.watcher.engine.clock.now();
            let news = match read(&self.watcher, id, &mark).await? {
                Some(run) => {
                    let is_found = self.is_found(&run, now).await?;
                    self.matching.judge(run, mark.is_new, is_found, now)
                }
                None => self.matching.forget(id),
            };
            if let Some(news) = news {
                return Ok(Some(self.watcher.update(news, Some(mark.at))));
            }
        }
    }
}

impl Many {
    /// Whether what is searched holds for a run. Of runs that fail the rest of the filter nothing is read for it.
    async fn is_found(&self, run: &Run, now: Timestamp) -> Result<bool, Error> {
        let Some(judge) = self.judge.as_ref().filter(|_| self.matching.lets_in(run)) else {
            return Ok(true);
        };
        let actor = self.watcher.actor();
        if let Some(scope) = judge.scope() {
            actor.require(scope)?;
        }
        let run = std::slice::from_ref(run);
        let judged = judge
            .judge(&self.watcher.engine, actor.env, run, now)
            .await?;
        Ok(judged.first().copied().unwrap_or(false))
    }

    fn reset(&mut self) -> Update<RunNews> {
        let now = self.watcher.engine.clock.now();
        // Whoever starts over reads the list, and so knows of runs of which it was not told here.
        self.matching.start_over(now);
        self.watcher.update(RunNews::Reset, None)
    }
}

/// What a feed lets through, and which runs the subscriber may hold that stop matching some day.
struct Matching {
    filter: RunFeedFilter,
    /// Told of here and matching when it was.
    told: HashSet<RunId>,
    /// Runs from before this may be held without having been told of here: from a list, or from a stream before this one.
    others_before: Option<Timestamp>,
    /// Those of them that were taken back.
    taken_back: HashSet<RunId>,
}

impl Matching {
    fn new(filter: RunFeedFilter, resumed_at: Option<Timestamp>) -> Self {
        Self {
            filter,
            told: HashSet::new(),
            others_before: resumed_at.map(|at| at.plus(CLOCKS)),
            taken_back: HashSet::new(),
        }
    }

    fn start_over(&mut self, now: Timestamp) {
        self.told.clear();
        self.taken_back.clear();
        self.others_before = Some(now.plus(CLOCKS));
    }

    /// Whether a run can match in some state. What this looks at never changes, so a run that fails it was never told of.
    fn lets_in(&self, run: &Run) -> bool {
        let RunFeedFilter {
            statuses: _,
            functions,
            apps,
            events,
            triggers,
            search: _,
        } = &self.filter;
        let has = |events: &Vec<EventId>| run.events.iter().any(|event| events.contains(event));
        functions
            .as_ref()
            .is_none_or(|list| list.contains(&run.function))
            && apps.as_ref().is_none_or(|list| list.contains(&run.app))
            && triggers
                .as_ref()
                .is_none_or(|list| list.contains(&run.trigger_kind()))
            && events.as_ref().is_none_or(has)
    }

    /// Whether a run that matches may match no more when it changes.
    fn is_fickle(&self) -> bool {
        self.filter.statuses.is_some() || self.filter.search.is_some()
    }

    /// What to say about the newest state of a run, for which what is searched holds or does not; none when it does not concern this
    /// feed.
    fn judge(&mut self, run: Run, is_new: bool, is_found: bool, now: Timestamp) -> Option<RunNews> {
        if !self.lets_in(&run) {
            return None;
        }
        if !self.is_fickle() {
            return Some(if is_new {
                RunNews::Created(run)
            } else {
                RunNews::Updated(run)
            });
        }
        let statuses = self.filter.statuses.as_ref();
        if !is_found || statuses.is_some_and(|list| !list.contains(&run.status)) {
            return self.take_back(&run);
        }
        if self.told.len() >= MOST {
            // Too many to remember; from now on they count as possibly held.
            self.told.clear();
            self.taken_back.clear();
            self.others_before = Some(now.plus(CLOCKS));
        }
        let is_first = self.told.insert(run.id) && !self.taken_back.remove(&run.id);
        Some(if is_new && is_first {
            RunNews::Created(run)
        } else {
            RunNews::Updated(run)
        })
    }

    fn take_back(&mut self, run: &Run) -> Option<RunNews> {
        let is_told = self.told.remove(&run.id);
        let may_be_held = self.others_before.is_some_and(|time| run.queued_at < time)
            && !self.taken_back.contains(&run.id);
        if !is_told && !may_be_held {
            return None;
        }
        if self.taken_back.len() >= MOST {
            self.taken_back.clear();
        }
        self.taken_back.insert(run.id);
        Some(RunNews::Removed(run.id))
    }

    /// A run is gone.
    fn forget(&mut self, id: RunId) -> Option<RunNews> {
        let is_told = self.told.remove(&id);
        (is_told || !self.is_fickle()).then_some(RunNews::Removed(id))
    }
}

#[cfg(test)]
mod tests {
    use inngest_core::ids::DEFAULT_ENV;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

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
            rerun: None,
            replay: None,
            started_by: None,
            idempotency_key: None,
            correlation: None,
            queued_at: NOW,
            started_at: None,
            ended: None,
            revision: 1,
        }
    }

    fn active() -> RunFeedFilter {
        RunFeedFilter {
            statuses: Some(vec![RunStatus::Queued, RunStatus::Running]),
            ..RunFeedFilter::default()
        }
    }

    fn kind(news: Option<RunNews>) -> &'static str {
        match news {
            None => "-",
            Some(RunNews::Created(_)) => "created",
            Some(RunNews::Updated(_)) => "updated",
            Some(RunNews::Removed(_)) => "removed",
            Some(other) => panic!("not of one run: {other:?}"),
        }
    }

    #[test]
    fn run_that_stops_matching_is_taken_back_once() {
        use RunStatus::{Completed, Failed, Queued, Running};
        let mut matching = Matching::new(active(), None);
        for (number, status, is_new, expected) in [
            (1, Queued, true, "created"),
            (1, Running, false, "updated"),
            (1, Completed, false, "removed"),
            (1, Completed, false, "-"),
            (2, Failed, true, "-"),
        ] {
            let news = matching.judge(run(number, status), is_new, true, NOW);
            assert_eq!(kind(news), expected, "{number} {status:?}");
        }
    }

    #[test]
    fn run_that_a_search_finds_no_more_is_taken_back_once() {
        let searched = RunFeedFilter {
            search: Some("run.attempt > 0".to_owned()),
            ..RunFeedFilter::default()
        };
        let mut matching = Matching::new(searched, None);
        for (is_new, is_found, expected) in [
            (true, false, "-"),
            (false, true, "updated"),
            (false, false, "removed"),
            (false, false, "-"),
            (false, true, "updated"),
        ] {
            let news = matching.judge(run(1, RunStatus::Running), is_new, is_found, NOW);
            assert_eq!(kind(news), expected, "{is_new} {is_found}");
        }
    }

    #[test]
    fn resumed_feed_takes_back_what_the_subscriber_may_hold() {
        use RunStatus::{Completed, Running};
        let mut matching = Matching::new(active(), Some(NOW));
        let old = |status| run(1, status);
        let later = |status| Run {
            queued_at: NOW.plus(CLOCKS),
            ..run(2, status)
        };
        for (run, expected) in [
            (old(Completed), "removed"),
            (old(Completed), "-"),
            (old(Running), "updated"),
            (old(Completed), "removed"),
            (later(Completed), "-"),
        ] {
            assert_eq!(kind(matching.judge(run, false, true, NOW)), expected);
        }
    }

    #[test]
    fn feed_that_remembers_too_much_takes_back_what_it_has_forgotten() {
        let mut matching = Matching::new(active(), None);
        for number in 0..=MOST as u128 {
            let news = matching.judge(run(number, RunStatus::Running), false, true, NOW);
            assert_eq!(kind(news), "updated");
        }
        let news = matching.judge(run(0, RunStatus::Completed), false, true, NOW);
        assert_eq!(kind(news), "removed");
        assert!(matching.told.len() <= MOST);
    }

    #[test]
    fn lists_are_joined_by_and_and_an_empty_one_matches_nothing() {
        let run = Run {
            events: vec![EventId::from_raw(ulid::Ulid(7))],
            ..run(1, RunStatus::Running)
        };
        let all = RunFeedFilter {
            statuses: None,
            functions: Some(vec![run.function]),
            apps: Some(vec![run.app]),
            events: Some(run.events.clone()),
            triggers: Some(vec![run.trigger_kind()]),
            search: None,
        };
        let judge = |filter: RunFeedFilter| {
            kind(Matching::new(filter, None).judge(run.clone(), true, true, NOW))
        };
        assert_eq!(judge(all.clone()), "created");
        for filter in [
            RunFeedFilter {
                statuses: Some(Vec::new()),
                ..all.clone()
            },
            RunFeedFilter {
                functions: Some(Vec::new()),
                ..all.clone()
            },
            RunFeedFilter {
                apps: Some(Vec::new()),
                ..all.clone()
            },
            RunFeedFilter {
                events: Some(Vec::new()),
                ..all.clone()
            },
            RunFeedFilter {
                triggers: Some(vec![TriggerKind::Cron]),
                ..all
            },
        ] {
            assert_eq!(judge(filter), "-");
        }
    }
}
