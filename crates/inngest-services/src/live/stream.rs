//! What all streams have in common: entering the hub, catching up from a cursor, waiting, and asking whether the right to see still holds.

use std::sync::Arc;

use inngest_core::{
    access::{Actor, Scope},
    time::Timestamp,
};
use inngest_state::{LogPlace, LogPosition, LogRead};

use super::{
    FeedCursor, Standing, Update,
    dirty::{Due, Thing},
    hub::{Counted, Hub, Interest, Mailbox},
};
use crate::{Error, engine::Shared};

/// Rows of one read while catching up.
const ROWS: u32 = 64;
/// Most reads of one who catches up; who is further behind starts over, which costs less.
const READS: usize = 128;

/// How a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Nothing is to be caught up with.
    Ready,
    /// Changes since the cursor are due.
    Behind,
    /// The cursor is of no use: look at everything again.
    Reset,
}

/// One who watches.
pub(super) struct Watcher {
    pub(super) engine: Shared,
    pub(super) hub: Arc<Hub>,
    mailbox: Arc<Mailbox>,
    standing: Standing,
    scope: Scope,
    /// Reads of the shelf of runs that had begun when it came.
    pub(super) reads: u64,
    _counted: Counted,
}

impl Watcher {
    /// Hears of all changes from now on.
    pub(super) async fn enter(
        engine: &Shared,
        mut standing: Standing,
        scope: Scope,
        interest: Interest,
    ) -> Result<(Self, LogPlace), Error> {
        standing.check(scope, engine.clock.now())?;
        let env = standing.actor().env;
        let hub = engine.hubs.join(engine, env).await?;
        let reads = hub.runs.reads();
        let (mailbox, place) = hub.enter(interest);
        let watcher = Self {
            engine: engine.clone(),
            hub,
            mailbox,
            standing,
            scope,
            reads,
            _counted: Counted::new(),
        };
        Ok((watcher, place))
    }

    /// [`Watcher::enter`], and what has changed between the cursor and then.
    pub(super) async fn resume(
        engine: &Shared,
        standing: Standing,
        scope: Scope,
        interest: Interest,
        after: Option<FeedCursor>,
    ) -> Result<(Self, Opening), Error> {
        let (watcher, place) = Self::enter(engine, standing, scope, interest).await?;
        let opening = match after {
            Some(FeedCursor(after)) => watcher.catch_up(after, place).await?,
            None => Opening::Ready,
        };
        Ok((watcher, opening))
    }

    async fn catch_up(&self, after: LogPlace, until: LogPlace) -> Result<Opening, Error> {
        let env = self.actor().env;
        let mut place = after;
        let mut opening = Opening::Ready;
        for _ in 0..READS {
            // Also where there is nothing to catch up with: whether the place is known must be asked.
            match self.engine.store.read_log(env, place, ROWS).await? {
                LogRead::Page {
                    mut rows,
                    next,
                    is_last,
                } => {
                    // What lies beyond comes by way of the hub.
                    rows.retain(|row| row.position <= until.position);
                    if self.mailbox.note(&rows) {
                        opening = Opening::Behind;
                    }
                    if is_last || next.position >= until.position {
                        return Ok(opening);
                    }
                    place = next;
                }
                LogRead::Gone { .. } => return Ok(self.start_over()),
            }
        }
        Ok(self.start_over())
    }

    fn start_over(&self) -> Opening {
        self.mailbox.dirty().forget();
        Opening::Reset
    }

    pub(super) fn actor(&self) -> Actor {
        self.standing.actor()
    }

    /// Waits for what is to be told next.
    ///
    /// # Errors
    /// The right to see has ended.
    pub(super) async fn next(&mut self) -> Result<Due, Error> {
        loop {
            self.standing.check(self.scope, self.engine.clock.now())?;
            if let Some(due) = self.mailbox.take() {
                return Ok(due);
            }
            tokio::select! {
                () = self.mailbox.told.notified() => {}
                () = self.standing.changed(&self.engine.clock) => {}
            }
        }
    }

    /// More that is due, if it is there.
    pub(super) fn more(&self) -> Option<Due> {
        self.mailbox.take()
    }

    /// What comes after what was taken, to read it together.
    pub(super) fn ahead(&self, most: usize) -> Vec<(Thing, LogPosition)> {
        self.mailbox.dirty().ahead(most)
    }

    /// A message after which nothing below the present place is left to be told.
    pub(super) fn update<T>(&self, news: T, at: Option<Timestamp>) -> Update<T> {
        Update {
            news,
            cursor: FeedCursor(self.mailbox.dirty().place()),
            at: at.unwrap_or_else(|| self.engine.clock.now()),
        }
    }
}

/// Makes the messages of a stream.
pub(super) trait Telling: Send + 'static {
    /// What the messages tell.
    type News: Send + 'static;

    /// The next message; none when there is nothing more to tell.
    fn step(&mut self) -> impl Future<Output = Result<Option<Update<Self::News>>, Error>> + Send;
}

/// The messages as a stream; the first error is the last item.
pub(super) fn stream<T: Telling>(telling: T) -> impl super::Stream<T::News> {
    futures_util::stream::unfold(Some(telling), |telling| async move {
        let mut telling = telling?;
        match telling.step().await.transpose()? {
            Ok(update) => Some((Ok(update), Some(telling))),
            Err(error) => Some((Err(error), None)),
        }
    })
}
