//! Live views: runs, their steps, events, apps and functions as they change.
//!
//! Whoever watches gets the newest state of what changed, read with the access check and mapping of a query; never a queue of old states.
//! What changed is said by the change log of the database, which one reader per environment reads for all who watch here (`hub`). Every
//! message has a cursor: the position below which nothing is left to be told, so a stream that is opened again with it, on any
//! process, goes on without loss as long as the log reaches back that far.

mod apps;
mod cursor;
mod dirty;
mod events;
mod fresh;
mod hub;
mod parts;
mod queue;
mod runs;
mod shelf;
mod standing;
mod stream;
mod ticks;

use std::time::Duration;

use inngest_core::{
    access::{Actor, Scope},
    ids::{FunctionId, RunId},
    time::Timestamp,
};

use crate::{Error, engine::Shared};

pub use apps::AppNews;
pub use cursor::FeedCursor;
pub use events::{EventFeedFilter, EventNews};
pub(crate) use hub::Hubs;
pub use parts::PartNews;
pub use queue::QueueTick;
pub(crate) use queue::Queues;
pub use runs::{RunFeedFilter, RunNews};
pub use standing::Standing;
pub use ticks::FunctionTick;
pub(crate) use ticks::Meters;

/// Live views. Made by `Services::live`.
pub struct LiveViews<'a>(pub(crate) &'a Shared);

/// A message of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Update<T> {
    /// What is told.
    pub news: T,
    /// Where a stream goes on that is opened again after this message.
    pub cursor: FeedCursor,
    /// When the change was written; when the message was made, where it tells of none.
    pub at: Timestamp,
}

impl LiveViews<'_> {
    /// The present position of all feeds of an environment. Read it before a list: a feed that is opened with it tells of everything
    /// that the list may have missed.
    ///
    /// # Errors
    /// The actor may not read runs or events; the database's.
    pub async fn position(&self, actor: &Actor) -> Result<FeedCursor, Error> {
        actor
            .require(Scope::RunsRead)
            .or_else(|_| actor.require(Scope::EventsRead))?;
        Ok(FeedCursor(self.0.store.log_end().await?))
    }

    /// The present state of a run, then its newest state after each change. Ends after the state in which the run has ended.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, or it is not this actor's. The stream ends with an error when the right to see it has ended.
    pub async fn watch_run(
        &self,
        standing: Standing,
        id: RunId,
    ) -> Result<impl Stream<RunNews> + use<>, Error> {
        runs::watch_one(self.0, standing, id).await
    }

    /// Runs of the environment as they change.
    ///
    /// # Errors
    /// The actor may not read runs; the database's. The stream ends with an error when the right to see it has ended.
    pub async fn watch_runs(
        &self,
        standing: Standing,
        filter: RunFeedFilter,
        after: Option<FeedCursor>,
    ) -> Result<impl Stream<RunNews> + use<>, Error> {
        runs::watch_many(self.0, standing, filter, after).await
    }

    /// Steps of a run, with the run where it changed too, and with the spans of what has changed where they are asked for. Goes on when
    /// the run has ended.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, or it is not this actor's. The stream ends with an error when the right to see it has ended.
    pub async fn watch_steps(
        &self,
        standing: Standing,
        id: RunId,
        with_spans: bool,
        after: Option<FeedCursor>,
    ) -> Result<impl Stream<PartNews> + use<>, Error> {
        parts::watch(self.0, standing, id, with_spans, after).await
    }

    /// New events of the environment.
    ///
    /// # Errors
    /// The actor may not read events; the database's. The stream ends with an error when the right to see it has ended.
    pub async fn watch_events(
        &self,
        standing: Standing,
        filter: EventFeedFilter,
        after: Option<FeedCursor>,
    ) -> Result<impl Stream<EventNews> + use<>, Error> {
        events::watch(self.0, standing, filter, after).await
    }

    /// Apps and functions of the environment as they are synced, paused and removed.
    ///
    /// # Errors
    /// The actor may not read apps; the database's. The stream ends with an error when the right to see it has ended.
    pub async fn watch_apps(
        &self,
        standing: Standing,
        after: Option<FeedCursor>,
    ) -> Result<impl Stream<AppNews> + use<>, Error> {
        apps::watch(self.0, standing, after).await
    }

    /// How many runs of a function reached which state, at once without any and then every so often. Without a cursor: what was counted
    /// while nobody watched is asked of [`crate::Metrics`].
    ///
    /// # Errors
    /// The actor may not see figures; `NotFound` when there is no such function, or it is not this actor's. The stream ends with an error
    /// when the right to see it has ended.
    pub async fn watch_function(
        &self,
        standing: Standing,
        id: FunctionId,
        every: Duration,
    ) -> Result<impl futures_util::Stream<Item = Result<FunctionTick, Error>> + Send + use<>, Error>
    {
        ticks::watch(self.0, standing, id, every).await
    }

    /// What the schedule holds of the environment, at once and then every so often; nothing while the schedule does not answer.
    ///
    /// # Errors
    /// The actor may not see functions. The stream ends with an error when the right to see it has ended.
    pub async fn watch_queue(
        &self,
        standing: Standing,
        every: Duration,
    ) -> Result<impl futures_util::Stream<Item = Result<QueueTick, Error>> + Send + use<>, Error>
    {
        queue::watch(self.0, standing, every).await
    }
}

/// A stream of messages; ends after its first error.
pub trait Stream<T>:
    futures_util::Stream<Item = Result<Update<T>, Error>> + Send + 'static
{
}

impl<T, S> Stream<T> for S where
    S: futures_util::Stream<Item = Result<Update<T>, Error>> + Send + 'static
{
}
