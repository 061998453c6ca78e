//! Watching runs as they change.
//!
//! A hint says only "look again": whoever watches starts to listen first and reads then, so that no change falls between, and what it
//! sees has passed the same access check and mapping as a query.

use std::collections::BTreeSet;

use futures_util::{Stream, stream};
use inngest_core::{
    access::{Actor, Scope},
    ids::{FunctionId, RunId},
    run::{Run, RunStatus},
};
use inngest_queue::live::{HintStream, Notice};

use crate::{Error, engine::Shared};

/// Live views. Made by `Services::live`.
pub struct LiveViews<'a>(pub(crate) &'a Shared);

/// Which runs a feed tells of.
#[derive(Clone, Debug, Default)]
pub struct RunFeedFilter {
    /// Any of these functions; empty means all.
    pub functions: Vec<FunctionId>,
    /// Any of these statuses; empty means all.
    pub statuses: Vec<RunStatus>,
}

/// What a feed tells.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every item is the large one"
)]
pub enum FeedItem {
    /// The newest state of a run.
    Changed(Run),
    /// Changes were dropped: read the list again.
    Reset,
}

impl LiveViews<'_> {
    /// The present state of a run, then its newest state after each change. Ends after the state in which the run has ended.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, or it is not this actor's.
    pub async fn watch_run(
        &self,
        actor: &Actor,
        id: RunId,
    ) -> Result<impl Stream<Item = Result<Run, Error>> + Send + use<>, Error> {
        actor.require(Scope::RunsRead)?;
        let hints = self.0.live.subscribe(actor.env);
        let first = self
            .0
            .store
            .find_run(actor.env, id)
            .await?
            .ok_or_else(|| Error::no_run(id))?;
        let watch = Watch {
            engine: self.0.clone(),
            actor: actor.clone(),
            id,
            hints,
            shown: None,
            next: Some(first),
            done: false,
        };
        Ok(stream::unfold(watch, |mut watch| async move {
            watch.step().await.map(|item| (item, watch))
        }))
    }

    /// Runs of the environment as they change, newest state of each. A slow reader gets fewer states, never an unbounded number.
    pub async fn watch_runs(
        &self,
        actor: &Actor,
        filter: RunFeedFilter,
    ) -> Result<impl Stream<Item = Result<FeedItem, Error>> + Send + use<>, Error> {
        actor.require(Scope::RunsRead)?;
        let hints = self.0.live.subscribe(actor.env);
        let feed = Feed {
            engine: self.0.clone(),
            actor: actor.clone(),
            filter,
            hints,
            dirty: BTreeSet::new(),
            ready: Vec::new(),
        };
        Ok(stream::unfold(feed, |mut feed| async move {
            feed.step().await.map(|item| (item, feed))
        }))
    }
}

struct Watch {
    engine: Shared,
    actor: Actor,
    id: RunId,
    hints: HintStream,
    shown: Option<u64>,
    next: Option<Run>,
    done: bool,
}

impl Watch {
    async fn step(&mut self) -> Option<Result<Run, Error>> {
        if self.done {
            return None;
        }
        loop {
            if let Some(run) = self.next.take()
                && self
                    .shown
                    .is_none_or(|shown| run.revision > shown || run.status.is_ended())
            {
                self.shown = Some(run.revision);
                self.done = run.status.is_ended();
                return Some(Ok(run));
            }
            match self.hints.next().await? {
                Notice::Hint(hint) if hint.run != self.id => {}
                Notice::Hint(_) | Notice::Lagged => {
                    match self.engine.store.find_run(self.actor.env, self.id).await {
                        Ok(run) => self.next = run.map(|run| self.engine.shown(run)),
                        Err(error) => {
                            self.done = true;
                            return Some(Err(error.into()));
                        }
                    }
                }
            }
        }
    }
}

struct Feed {
    engine: Shared,
    actor: Actor,
    filter: RunFeedFilter,
    hints: HintStream,
    /// Runs that have changed since they were read, newest last.
    dirty: BTreeSet<RunId>,
    ready: Vec<Run>,
}

/// Most runs read at once.
const SLICE: usize = 200;

impl Feed {
    async fn step(&mut self) -> Option<Result<FeedItem, Error>> {
        loop {
            if let Some(run) = self.ready.pop() {
                return Some(Ok(FeedItem::Changed(run)));
            }
            if self.dirty.is_empty() {
                match self.hints.next().await? {
                    Notice::Hint(hint) => self.note(hint.run, hint.function),
                    Notice::Lagged => return Some(Ok(FeedItem::Reset)),
                }
                continue;
            }
            let slice: Vec<RunId> = self.dirty.iter().copied().take(SLICE).collect();
            for run in &slice {
                self.dirty.remove(run);
            }
            match self.engine.store.find_runs(self.actor.env, &slice).await {
                Ok(runs) => {
                    let statuses = &self.filter.statuses;
                    self.ready = runs
                        .into_iter()
                        .filter(|run| statuses.is_empty() || statuses.contains(&run.status))
                        .collect();
                    self.ready.sort_by_key(|run| std::cmp::Reverse(run.id));
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }

    fn note(&mut self, run: RunId, function: FunctionId) {
        if self.filter.functions.is_empty() || self.filter.functions.contains(&function) {
            self.dirty.insert(run);
        }
    }
}
