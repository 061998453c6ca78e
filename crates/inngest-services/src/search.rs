//! Searches over runs and events: an expression, judged row by row within a budget, so that every search makes progress and none takes long.

use std::time::Duration;

use inngest_core::{
    access::{Actor, Scope},
    event::Event,
    expr::{Program, SearchOver, SearchRoot, Vars},
    ids::{EnvId, RunId},
    limits::PAGE_BYTES,
    page::{COUNT_CAP, Count, Direction, Page, PageRequest},
    run::{Run, RunStatus},
    time::{Clock, Timestamp},
};
use inngest_state::{EventFilter, Hints, RunFilter, Slice, Traces};

use crate::{
    Error,
    engine::Engine,
    events::Events,
    explain::Activity,
    judge::{RunJudge, word},
    lists::{bounded, check_runs},
    runs::Runs,
    sift::SLICE,
};

/// Most rows that one page of a search looks at.
pub(crate) const SEARCH_ROWS: u64 = 20_000;
/// How long one page of a search goes on looking.
const SEARCH_TIME: Duration = Duration::from_secs(2);

/// A page of what was looked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// What was found.
    pub page: Page<T>,
    /// How far it has looked.
    pub scan: Scan,
}

/// How far it was looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Rows looked at.
    pub scanned: u64,
    /// Where it stopped because its budget was used up before the page was full; the cursor to go on from.
    pub stopped_at: Option<String>,
    /// The time of the last row that matched, or up to which the list was read.
    pub until: Option<Timestamp>,
}

/// A list that can be searched.
trait Searched: Sync {
    type Row: Send;

    fn slice(
        &self,
        request: &PageRequest,
    ) -> impl Future<Output = Result<Slice<Self::Row>, Error>> + Send;

    /// For each row, whether it matches.
    fn judge(&self, rows: &[Self::Row]) -> impl Future<Output = Result<Vec<bool>, Error>> + Send;

    /// How many bytes the document of a row has.
    fn bytes(row: &Self::Row) -> u64;

    /// When a row came into the list.
    fn time(row: &Self::Row) -> Timestamp;

    /// Whether rows are judged at all.
    fn is_searched(&self) -> bool;
}

impl Runs<'_> {
    /// One page of the runs in a list for which an expression over `event`, `output`, `error` and `run` holds. A run of several events
    /// matches when one of them does.
    ///
    /// # Errors
    /// Those of the list, and the expression's.
    pub async fn search(
        &self,
        actor: &Actor,
        filter: &RunFilter,
        text: &str,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Found<Run>, Error> {
        self.page(actor, filter, Some(text), direction, request)
            .await
    }

    /// One page of a list, searched or not. What no index knows of the filter is looked for like the matches of a search: within a budget.
    ///
    /// # Errors
    /// Those of the list, and the expression's.
    pub async fn page(
        &self,
        actor: &Actor,
        filter: &RunFilter,
        text: Option<&str>,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Found<Run>, Error> {
        let search = self.over(actor, filter, text, direction)?;
        page(&self.0.clock, &search, request).await
    }

    /// [`Runs::page`] of the runs in a list that do any of this now, each by the busiest of its branches. Those that have not ended are
    /// looked through, 500 at a time, within the budget of a search.
    ///
    /// # Errors
    /// As of the page.
    pub async fn page_doing(
        &self,
        actor: &Actor,
        filter: &RunFilter,
        doing: &Doing<'_>,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Found<Run>, Error> {
        let filter = unended(filter);
        let search = self.over_doing(actor, &filter, doing, direction)?;
        page(&self.0.clock, &search, request).await
    }

    /// How many runs a search finds; not exact when its budget is used up before.
    ///
    /// # Errors
    /// As of the search.
    pub async fn count_found(
        &self,
        actor: &Actor,
        filter: &RunFilter,
        text: &str,
    ) -> Result<Count, Error> {
        let search = self.over(actor, filter, Some(text), Direction::Descending)?;
        count(&self.0.clock, &search).await
    }

    /// How many runs do any of this now, as far as the budget tells.
    ///
    /// # Errors
    /// As of the page.
    pub async fn count_doing(
        &self,
        actor: &Actor,
        filter: &RunFilter,
        doing: &Doing<'_>,
    ) -> Result<Count, Error> {
        let filter = unended(filter);
        let search = self.over_doing(actor, &filter, doing, Direction::Descending)?;
        count(&self.0.clock, &search).await
    }

    fn over_doing<'a>(
        &'a self,
        actor: &'a Actor,
        filter: &'a RunFilter,
        doing: &Doing<'a>,
        direction: Direction,
    ) -> Result<DoingSearch<'a>, Error> {
        bounded(doing.activities.len())?;
        Ok(DoingSearch {
            search: self.over(actor, filter, doing.text, direction)?,
            runs: self,
            actor,
            wanted: doing.activities,
        })
    }

    fn over<'a>(
        &'a self,
        actor: &Actor,
        filter: &'a RunFilter,
        text: Option<&str>,
        direction: Direction,
    ) -> Result<RunSearch<'a>, Error> {
        actor.require(Scope::RunsRead)?;
        check_runs(filter)?;
        Ok(RunSearch {
            engine: self.0,
            env: actor.env,
            filter,
            judge: text.map(|text| RunJudge::new(actor, text)).transpose()?,
            direction,
        })
    }
}

impl Events<'_> {
    /// One page of the events in a list for which an expression over `event` holds.
    ///
    /// # Errors
    /// Those of the list, and the expression's.
    pub async fn search(
        &self,
        actor: &Actor,
        filter: &EventFilter,
        text: &str,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Found<Event>, Error> {
        self.page(actor, filter, Some(text), direction, request)
            .await
    }

    /// One page of a list, searched or not, like that of runs.
    ///
    /// # Errors
    /// Those of the list, and the expression's.
    pub async fn page(
        &self,
        actor: &Actor,
        filter: &EventFilter,
        text: Option<&str>,
        direction: Direction,
        request: &PageRequest,
    ) -> Result<Found<Event>, Error> {
        let filter = self.named(actor, filter).await?;
        let search = self.over(actor, &filter, text, direction)?;
        page(&self.0.clock, &search, request).await
    }

    /// How many events such a search finds; not exact when its budget is used up before.
    ///
    /// # Errors
    /// As of the search.
    pub async fn count_found(
        &self,
        actor: &Actor,
        filter: &EventFilter,
        text: &str,
    ) -> Result<Count, Error> {
        let filter = self.named(actor, filter).await?;
        let search = self.over(actor, &filter, Some(text), Direction::Descending)?;
        count(&self.0.clock, &search).await
    }

    fn over<'a>(
        &'a self,
        actor: &Actor,
        filter: &'a EventFilter,
        text: Option<&str>,
        direction: Direction,
    ) -> Result<EventSearch<'a>, Error> {
        actor.require(Scope::EventsRead)?;
        bounded(filter.longest_list())?;
        let parse = |text| Program::parse_search(text, SearchOver::Events);
        Ok(EventSearch {
            engine: self.0,
            env: actor.env,
            filter,
            program: text.map(parse).transpose()?,
            direction,
        })
    }
}

/// Whether the database can be asked for everything that this search says.
pub(crate) fn is_indexed(program: &Program) -> bool {
    let (demands, is_all) = program.demands();
    is_all
        && demands.iter().all(|demand| match demand.root {
            SearchRoot::Event | SearchRoot::Output => true,
            SearchRoot::Run => demand.path == ["status"],
            SearchRoot::Error => false,
        })
}

/// What every match has, as far as the database can tell. Errors are not stored in the form in which they are searched.
fn hints(program: &Program) -> Hints {
    let mut hints = Hints::default();
    for demand in program.demands().0 {
        let Some(name) = demand.path.last() else {
            continue;
        };
        match demand.root {
            SearchRoot::Event => hints.event.push(Traces::of(name, &demand.values)),
            SearchRoot::Output => hints.output.push(Traces::of(name, &demand.values)),
            SearchRoot::Run if demand.path == ["status"] => {
                let wanted = |status: &RunStatus| demand.values.contains(&word(*status).into());
                let mut statuses: Vec<RunStatus> =
                    RunStatus::ALL.iter().copied().filter(wanted).collect();
                // A queued run may be shown as running already.
                if statuses.contains(&RunStatus::Running) && !statuses.contains(&RunStatus::Queued)
                {
                    statuses.push(RunStatus::Queued);
                }
                if let Some(before) = hints.statuses.take() {
                    statuses.retain(|status| before.contains(status));
                }
                hints.statuses = Some(statuses);
            }
            SearchRoot::Run | SearchRoot::Error => {}
        }
    }
    hints
}

/// What the runs of a list shall do now, and what else is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Doing<'a> {
    /// Any of these.
    pub activities: &'a [Activity],
    /// An expression that holds as well.
    pub text: Option<&'a str>,
}

/// Of a filter what has not ended: nothing else does anything.
fn unended(filter: &RunFilter) -> RunFilter {
    let wanted = |status: &RunStatus| {
        let listed = filter.statuses.as_ref();
        !status.is_ended() && listed.is_none_or(|list| list.contains(status))
    };
    RunFilter {
        statuses: Some(RunStatus::ALL.iter().copied().filter(wanted).collect()),
        ..filter.clone()
    }
}

/// A search for runs that do something now.
struct DoingSearch<'a> {
    search: RunSearch<'a>,
    runs: &'a Runs<'a>,
    actor: &'a Actor,
    wanted: &'a [Activity],
}

impl Searched for DoingSearch<'_> {
    type Row = Run;

    async fn slice(&self, request: &PageRequest) -> Result<Slice<Run>, Error> {
        self.search.slice(request).await
    }

    async fn judge(&self, runs: &[Run]) -> Result<Vec<bool>, Error> {
        let mut judged = self.search.judge(runs).await?;
        let matching = runs.iter().zip(&judged).filter(|(_, is_match)| **is_match);
        let ids: Vec<RunId> = matching.map(|(run, _)| run.id).collect();
        if ids.is_empty() {
            return Ok(judged);
        }
        let reasons = self.runs.explain_many(self.actor, &ids).await?;
        for (run, is_match) in runs.iter().zip(&mut judged) {
            let activity = reasons.get(&run.id).and_then(|it| Activity::of(it));
            *is_match &= activity.is_some_and(|it| self.wanted.contains(&it));
        }
        Ok(judged)
    }

    fn bytes(run: &Run) -> u64 {
        RunSearch::bytes(run)
    }

    fn time(run: &Run) -> Timestamp {
        run.queued_at
    }

    fn is_searched(&self) -> bool {
        true
    }
}

struct RunSearch<'a> {
    engine: &'a Engine,
    env: EnvId,
    filter: &'a RunFilter,
    /// None when nothing is searched: all that the list has matches.
    judge: Option<RunJudge>,
    direction: Direction,
}

impl Searched for RunSearch<'_> {
    type Row = Run;

    async fn slice(&self, request: &PageRequest) -> Result<Slice<Run>, Error> {
        let store = &self.engine.store;
        let hints = self.judge.as_ref().map(|judge| hints(judge.program()));
        let hints = hints.unwrap_or_default();
        let slice = store.slice_runs(self.env, self.filter, &hints, self.direction, request);
        let slice = slice.await?;
        Ok(Slice {
            page: slice.page.map(|run| self.engine.shown(run)),
            candidates: slice.candidates,
            end: slice.end,
            reached: slice.reached,
            goes_on: slice.goes_on,
        })
    }

    async fn judge(&self, runs: &[Run]) -> Result<Vec<bool>, Error> {
        match &self.judge {
            None => Ok(vec![true; runs.len()]),
            Some(judge) => {
                judge
                    .judge(self.engine, self.env, runs, self.filter.now)
                    .await
            }
        }
    }

    fn bytes(run: &Run) -> u64 {
        let ended = run.ended.as_ref();
        ended.map_or(0, |ended| ended.output.as_bytes().len() as u64)
    }

    fn time(run: &Run) -> Timestamp {
        run.queued_at
    }

    fn is_searched(&self) -> bool {
        self.judge.is_some()
    }
}

struct EventSearch<'a> {
    engine: &'a Engine,
    env: EnvId,
    filter: &'a EventFilter,
    /// None when nothing is searched: all that the list has matches.
    program: Option<Program>,
    direction: Direction,
}

impl Searched for EventSearch<'_> {
    type Row = Event;

    async fn slice(&self, request: &PageRequest) -> Result<Slice<Event>, Error> {
        let store = &self.engine.store;
        let hints = self.program.as_ref().map(hints).unwrap_or_default();
        let slice = store.slice_events(self.env, self.filter, &hints, self.direction, request);
        Ok(slice.await?)
    }

    async fn judge(&self, events: &[Event]) -> Result<Vec<bool>, Error> {
        let Some(program) = &self.program else {
            return Ok(vec![true; events.len()]);
        };
        let now = Some(self.engine.clock.now().as_millis());
        let mut judged = Vec::with_capacity(events.len());
        for event in events {
            let body = event.body.to_value();
            judged.push(program.finds(&Vars {
                event: Some(&body),
                now,
                ..Vars::default()
            }));
            tokio::task::coop::consume_budget().await;
        }
        Ok(judged)
    }

    fn bytes(event: &Event) -> u64 {
        event.body.as_bytes().len() as u64
    }

    fn time(event: &Event) -> Timestamp {
        event.received_at
    }

    fn is_searched(&self) -> bool {
        self.program.is_some()
    }
}

/// Looks through the list until the page is full, the list ends, or the budget is used up. A page is full as well when one row more would make
/// it larger than [`PAGE_BYTES`].
async fn page<S: Searched>(
    clock: &Clock,
    search: &S,
    request: &PageRequest,
) -> Result<Found<S::Row>, Error> {
    let limit = request.limit as usize;
    let mut kept: Vec<(S::Row, String)> = Vec::new();
    let (mut bytes, mut is_full) = (0, false);
    let mut scan = sweep(clock, search, request, |row, cursor| {
        bytes += S::bytes(&row);
        is_full = kept.len() == limit || (bytes > PAGE_BYTES && !kept.is_empty());
        if !is_full {
            kept.push((row, cursor));
        }
        !is_full
    })
    .await?;
    if is_full {
        scan.stopped_at = None;
        scan.until = kept.last().map(|(row, _)| S::time(row));
    }
    if request.backward {
        kept.reverse();
    }
    let goes_on = is_full || scan.stopped_at.is_some();
    // Where it was entered there was something, or there would be no cursor.
    let behind = request.from.is_some() && request.look_back;
    let (items, cursors) = kept.into_iter().unzip();
    let (has_next, has_previous) = match request.backward {
        false => (goes_on, behind),
        true => (behind, goes_on),
    };
    let page = Page {
        items,
        cursors,
        has_next,
        has_previous,
    };
    Ok(Found { page, scan })
}

async fn count<S: Searched>(clock: &Clock, search: &S) -> Result<Count, Error> {
    let request = PageRequest::new(1, None);
    let mut found = 0;
    let scan = sweep(clock, search, &request, |_, _| {
        found += 1;
        found <= COUNT_CAP
    })
    .await?;
    let counted = Count::capped(found);
    Ok(Count {
        is_exact: counted.is_exact && scan.stopped_at.is_none(),
        ..counted
    })
}

/// Gives each match to `take`, in the direction of reading, until that says that it has enough.
async fn sweep<S: Searched>(
    clock: &Clock,
    search: &S,
    request: &PageRequest,
    mut take: impl FnMut(S::Row, String) -> bool + Send,
) -> Result<Scan, Error> {
    let began = clock.now();
    // Of a list that is not searched most candidates are in it, so the first slice has as many as the page and one more.
    let first = match search.is_searched() {
        true => SLICE,
        false => SLICE.min(request.limit + 1),
    };
    let mut slice = PageRequest {
        limit: first,
        look_back: false,
        ..request.clone()
    };
    let mut scan = Scan::default();
    loop {
        let found = search.slice(&slice).await?;
        scan.scanned += found.candidates;
        let judged = search.judge(&found.page.items).await?;
        let mut rows: Vec<_> = found
            .page
            .items
            .into_iter()
            .zip(found.page.cursors)
            .zip(judged)
            .collect();
        if request.backward {
            rows.reverse();
        }
        for ((row, cursor), is_match) in rows {
            if is_match && !take(row, cursor) {
                return Ok(scan);
            }
        }
        scan.until = found.reached.or(scan.until);
        if !found.goes_on {
            return Ok(scan);
        }
        slice.from = found.end;
        slice.limit = SLICE.min(slice.limit * 4);
        let is_used_up = scan.scanned >= SEARCH_ROWS || clock.now().since(began) >= SEARCH_TIME;
        if is_used_up {
            scan.stopped_at = slice.from;
            return Ok(scan);
        }
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
