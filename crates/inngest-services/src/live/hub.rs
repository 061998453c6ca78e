//! One reader of the change log per environment that somebody watches here, and what it finds given to everybody who watches.
//!
//! The reader looks when a hint comes, and each second without one, because hints may be lost. It ends with the last who watches.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use inngest_core::{
    app::{App, Function},
    event::Event,
    ids::{AppId, EnvId, EventId, FunctionId, RunId},
    run::Run,
};
use inngest_queue::live::Hints;
use inngest_state::{Change, LogPlace, LogPosition, LogRead, LogRow};
use metrics::{gauge, histogram};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use super::{
    dirty::{Dirty, Due, Thing},
    shelf::Shelf,
};
use crate::{Error, engine::Shared};

/// Least time from one look to the next.
const APART: Duration = Duration::from_millis(20);
/// How soon it is looked again after a look that a hint was for and that found nothing: what it was for may stand behind a transaction
/// of somebody else that is still under way.
const AGAIN: Duration = Duration::from_millis(60);
/// Longest time without a look.
const LONGEST: Duration = Duration::from_secs(1);
/// Rows of one read; a row has up to 1,000 changes.
const ROWS: u32 = 16;

/// Which changes somebody wants to hear of.
#[derive(Clone, Debug)]
pub(super) enum Interest {
    /// Runs, of these functions where some are given.
    Runs(Option<HashSet<FunctionId>>),
    /// One run.
    Run(RunId),
    /// One run and its steps.
    Parts(RunId),
    /// Events, also those of the server where it says so.
    Events { with_internal: bool },
    /// Apps and functions.
    Apps,
}

impl Interest {
    /// The thing to tell of, and whether it is new.
    pub(super) fn thing(&self, change: &Change) -> Option<(Thing, bool)> {
        match (self, change) {
            (
                Self::Runs(functions),
                Change::Run {
                    id,
                    function,
                    is_new,
                    ..
                },
            ) => functions
                .as_ref()
                .is_none_or(|functions| functions.contains(function))
                .then_some((Thing::Run(*id), *is_new)),
            (Self::Run(wanted) | Self::Parts(wanted), Change::Run { id, is_new, .. }) => {
                (wanted == id).then_some((Thing::Run(*id), *is_new))
            }
            (Self::Parts(wanted), Change::Step { run, step }) => {
                (wanted == run).then(|| (Thing::Step(step.clone()), false))
            }
            (Self::Events { with_internal }, Change::Event { id, is_internal }) => {
                (*with_internal || !is_internal).then_some((Thing::Event(*id), true))
            }
            (Self::Apps, Change::App { id, is_new }) => Some((Thing::App(*id), *is_new)),
            (Self::Apps, Change::Function { id, is_new }) => Some((Thing::Function(*id), *is_new)),
            _ => None,
        }
    }
}

/// What waits for one who watches.
#[derive(Debug)]
pub(super) struct Mailbox {
    interest: Interest,
    dirty: Mutex<Dirty>,
    /// Something has come.
    pub(super) told: Notify,
}

impl Mailbox {
    pub(super) fn dirty(&self) -> MutexGuard<'_, Dirty> {
        lock(&self.dirty)
    }

    pub(super) fn take(&self) -> Option<Due> {
        self.dirty().take()
    }

    /// Notes what rows say; returns whether they say anything to this one.
    pub(super) fn note(&self, rows: &[LogRow]) -> bool {
        let mut dirty = self.dirty();
        let mut has_any = false;
        for row in rows {
            for change in &row.changes {
                if let Some((thing, is_new)) = self.interest.thing(change) {
                    dirty.mark(thing, row.position, row.at, is_new);
                    has_any = true;
                }
            }
        }
        has_any
    }
}

/// What is shared by all who watch one environment.
#[derive(Debug)]
pub(super) struct Hub {
    state: Mutex<State>,
    pub(super) runs: Shelf<RunId, Run>,
    pub(super) events: Shelf<EventId, Event>,
    pub(super) apps: Shelf<AppId, App>,
    pub(super) functions: Shelf<FunctionId, Function>,
    /// Ends the reader.
    _gone: DropGuard,
}

#[derive(Debug)]
struct State {
    /// Up to here everything was given to everybody.
    read: LogPlace,
    mailboxes: Vec<Weak<Mailbox>>,
}

/// The hubs of this process.
#[derive(Debug, Default)]
pub(crate) struct Hubs(tokio::sync::Mutex<HashMap<EnvId, Weak<Hub>>>);

impl Hubs {
    /// The hub of an environment, with its reader running.
    pub(super) async fn join(&self, engine: &Shared, env: EnvId) -> Result<Arc<Hub>, Error> {
        let mut hubs = self.0.lock().await;
        if let Some(hub) = hubs.get(&env).and_then(Weak::upgrade) {
            return Ok(hub);
        }
        hubs.retain(|_, hub| hub.strong_count() > 0);
        let hints = engine.live.subscribe(env);
        let read = engine.store.log_end().await?;
        let gone = CancellationToken::new();
        let hub = Arc::new(Hub {
            state: Mutex::new(State {
                read,
                mailboxes: Vec::new(),
            }),
            runs: Shelf::default(),
            events: Shelf::default(),
            apps: Shelf::default(),
            functions: Shelf::default(),
            _gone: gone.clone().drop_guard(),
        });
        hubs.insert(env, Arc::downgrade(&hub));
        let reader = Reader {
            engine: engine.clone(),
            env,
            hub: Arc::downgrade(&hub),
            hints,
        };
        engine.tracker.spawn(async move {
            tokio::select! {
                () = gone.cancelled() => {}
                () = reader.run() => {}
            }
        });
        Ok(hub)
    }
}

impl Hub {
    /// Somebody watches from now on. The place is the one from which on the mailbox hears of everything.
    pub(super) fn enter(&self, interest: Interest) -> (Arc<Mailbox>, LogPlace) {
        let mut state = lock(&self.state);
        let read = state.read;
        let mailbox = Arc::new(Mailbox {
            interest,
            dirty: Mutex::new(Dirty::new(read)),
            told: Notify::new(),
        });
        state.mailboxes.push(Arc::downgrade(&mailbox));
        (mailbox, read)
    }

    /// Up to here everything was given to everybody.
    pub(super) fn position(&self) -> LogPosition {
        lock(&self.state).read.position
    }

    fn place(&self) -> LogPlace {
        lock(&self.state).read
    }

    /// Gives rows to everybody.
    fn give(&self, rows: &[LogRow], next: LogPlace) {
        self.each(next, |mailbox| {
            let has_any = !rows.is_empty() && mailbox.note(rows);
            mailbox.dirty().advance(next);
            has_any
        });
    }

    /// Tells everybody to look at everything again.
    fn reset(&self, now: LogPlace) {
        self.each(now, |mailbox| {
            mailbox.dirty().reset(now);
            true
        });
    }

    fn each(&self, read: LogPlace, tell: impl Fn(&Mailbox) -> bool) {
        let mut state = lock(&self.state);
        state.read = read;
        state.mailboxes.retain(|mailbox| match mailbox.upgrade() {
            Some(mailbox) => {
                if tell(&mailbox) {
                    mailbox.told.notify_one();
                }
                true
            }
            None => false,
        });
    }
}

struct Reader {
    engine: Shared,
    env: EnvId,
    hub: Weak<Hub>,
    hints: Hints,
}

impl Reader {
    async fn run(mut self) {
        let mut wait = LONGEST;
        let mut is_failing = false;
        loop {
            let hinted = match timeout(wait, self.hints.next()).await {
                Ok(true) => true,
                Ok(false) => {
                    // Nobody hints any more; what is left is to look now and then.
                    sleep(wait).await;
                    false
                }
                Err(_) => false,
            };
            let begun = Instant::now();
            match self.look().await {
                Ok(Some(rows)) => {
                    is_failing = false;
                    wait = match (rows, hinted) {
                        (0, true) => AGAIN,
                        (0, false) => (wait * 4).min(LONGEST),
                        _ => LONGEST,
                    };
                }
                Ok(None) => return,
                Err(error) => {
                    if is_failing {
                        debug!(error = %error, "the change log was not read");
                    } else {
                        warn!(error = %error, "the change log was not read; live views stand still until it is");
                    }
                    is_failing = true;
                    wait = LONGEST;
                }
            }
            sleep_until(begun + APART).await;
        }
    }

    /// Reads to the end of the log. The number of rows; none when nobody watches any more.
    async fn look(&self) -> Result<Option<usize>, inngest_state::Error> {
        let mut count = 0;
        loop {
            let Some(hub) = self.hub.upgrade() else {
                return Ok(None);
            };
            let read = self.engine.store.read_log(self.env, hub.place(), ROWS);
            match read.await? {
                LogRead::Page {
                    rows,
                    next,
                    is_last,
                } => {
                    if let Some(last) = rows.last() {
                        let lag = self.engine.clock.now().since(last.at);
                        histogram!("inngest_live_lag_seconds").record(lag);
                    }
                    count += rows.len();
                    hub.give(&rows, next);
                    if is_last {
                        return Ok(Some(count));
                    }
                }
                LogRead::Gone { now } => {
                    warn!("the change log was cut off before it was read; live views start over");
                    hub.reset(now);
                    return Ok(Some(1));
                }
            }
            // A long page for many who watch takes a while.
            tokio::task::yield_now().await;
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One who watches, counted as long as it lives.
#[derive(Debug)]
pub(super) struct Counted;

impl Counted {
    pub(super) fn new() -> Self {
        gauge!("inngest_live_streams").increment(1.0);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!("inngest_live_streams").decrement(1.0);
    }
}
