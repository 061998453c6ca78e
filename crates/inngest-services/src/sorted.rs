//! Lists of runs by their start or their end. No index has them in these orders: they are gone through as they were queued, newest first,
//! within the budget of a search, and sorted.

use std::time::Duration;

use inngest_core::{
    access::Actor,
    ids::RunId,
    page::{Count, Direction, Key, MAX_PAGE, Order, Page, PageRequest},
    run::Run,
    time::Timestamp,
};
use inngest_state::RunFilter;

use crate::{Error, runs::Runs, search::SEARCH_ROWS};

/// How long one list goes on looking.
const LOOKING_TIME: Duration = Duration::from_secs(2);

/// A time in the life of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunTime {
    /// When it was scheduled.
    Queued,
    /// When its app was first called; none before that.
    Started,
    /// When it ended; none before that.
    Ended,
}

/// By which of their times runs are bounded and ordered; the id breaks ties, in the same direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOrder {
    /// Which time must lie from `from` on and before `until`; a run that has none yet does not.
    pub within: RunTime,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Which time orders the list. Runs that have none yet stand where time begins.
    pub by: RunTime,
    /// In which direction.
    pub direction: Direction,
}

/// A page of such a list, and how long the list is.
#[derive(Clone, Debug, PartialEq)]
pub struct SortedRuns {
    /// The page.
    pub page: Page<Run>,
    /// Runs in the list, of those that were looked at.
    pub count: Count,
}

impl RunOrder {
    fn name(self) -> Order {
        Order {
            name: match self.by {
                RunTime::Queued => "runs.sorted",
                RunTime::Started => "runs.started",
                RunTime::Ended => "runs.ended",
            },
            direction: self.direction,
        }
    }

    fn has(self, run: &Run) -> bool {
        if self.within == RunTime::Queued && self.from.is_none() && self.until.is_none() {
            return true;
        }
        time_of(run, self.within).is_some_and(|at| {
            self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
        })
    }
}

fn time_of(run: &Run, which: RunTime) -> Option<Timestamp> {
    match which {
        RunTime::Queued => Some(run.queued_at),
        RunTime::Started => run.started_at,
        RunTime::Ended => run.ended.as_ref().map(|ended| ended.at),
    }
}

impl Runs<'_> {
    /// One page of the runs that match, in an order of their own. Of a list only the runs that were queued last are looked at: 20,000, or
    /// as many as two seconds allow.
    ///
    /// # Errors
    /// Those of the list and of the search; `invalid_cursor` also when the run of the cursor is in the list no longer.
    pub async fn sorted(
        &self,
        actor: &Actor,
        filter: &RunFilter,
        text: Option<&str>,
        order: RunOrder,
        request: &PageRequest,
    ) -> Result<SortedRuns, Error> {
        let began = self.0.clock.now();
        let (mut found, mut scanned, mut from) = (Vec::new(), 0, None);
        let is_exact = loop {
            let slice = PageRequest::new(MAX_PAGE, from);
            let part = self.page(actor, filter, text, Direction::Descending, &slice);
            let part = part.await?;
            scanned += part.scan.scanned;
            let last = part.page.cursors.last().cloned();
            from = part.scan.stopped_at.or(last);
            // Of each run only this is kept while the next ones are read.
            let runs = part.page.items.iter().filter(|run| order.has(run));
            found.extend(runs.map(|run| (time_of(run, order.by).unwrap_or_default(), run.id)));
            if !part.page.has_next {
                break true;
            }
            if scanned >= SEARCH_ROWS || self.0.clock.now().since(began) >= LOOKING_TIME {
                break false;
            }
        };
        let counted = Count::capped(found.len() as u64);
        let count = Count {
            is_exact: is_exact && counted.is_exact,
            ..counted
        };
        found.sort_unstable();
        if order.direction == Direction::Descending {
            found.reverse();
        }
        let key = |(_, id): &(Timestamp, RunId)| Key::Id(id.raw().0);
        let page = Page::cut(found, order.name(), request, key)?;
        let ids: Vec<RunId> = page.items.iter().map(|(_, id)| *id).collect();
        let mut runs = self.get_many(actor, &ids).await?;
        let rows = ids.iter().zip(page.cursors);
        let (items, cursors) = rows
            .filter_map(|(id, cursor)| Some((runs.remove(id)?, cursor)))
            .unzip();
        let page = Page {
            items,
            cursors,
            has_next: page.has_next,
            has_previous: page.has_previous,
        };
        Ok(SortedRuns { page, count })
    }
}
