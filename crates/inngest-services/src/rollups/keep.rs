//! Adding up what was committed, a few seconds later.
//!
//! Every process does so after commits of its own; whoever comes first adds up what is there, of whichever process, and the others find
//! nothing. So nobody has to be chosen for it, and nothing is lost with a process that is killed: its commits are in the log, and the next
//! look of anybody finds them.

use std::time::Duration;

use ::metrics::{counter, histogram};
use inngest_core::time::Timestamp;
use inngest_state::{Store, Writers};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{Error, engine::Engine};

/// How long commits are gathered.
const GATHER: Duration = Duration::from_secs(2);
/// How often it is looked for what others have left behind.
const LONGEST: Duration = Duration::from_secs(60);
/// How long the last look may take when the server stops.
const AT_THE_END: Duration = Duration::from_secs(1);
/// Pause after a page, as a share of the time that it took: adding up takes a third of the database's time at most.
const REST: u32 = 2;

/// That something was committed.
#[derive(Debug, Default)]
pub(crate) struct Rolling(Notify);

impl Rolling {
    /// Something was committed.
    pub(crate) fn note(&self) {
        self.0.notify_one();
    }
}

impl Engine {
    /// Adds up what is committed, until `stop`.
    pub(crate) async fn keep_rolled_up(&self, stop: CancellationToken) {
        let mut is_failing = false;
        // How soon it is looked again although nothing is committed here.
        let mut again = Some(Duration::ZERO);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.rolling.0.notified() => {
                    // Until then more comes.
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = sleep(GATHER) => {}
                    }
                    again = Some(GATHER);
                }
                () = later(again) => {}
            }
            match roll_up(&self.store, self.clock.now(), &stop).await {
                Ok(rows) => {
                    is_failing = false;
                    // A row can be read once every transaction has ended that is older, so some may be left; whoever finds none twice has
                    // them all, or waits for somebody who takes long.
                    again = match again {
                        Some(before) if rows == 0 => self.next_look(before),
                        _ => Some(GATHER),
                    };
                }
                Err(error) => {
                    if is_failing {
                        debug!(error = %error, "figures were not added up");
                    } else {
                        warn!(error = %error, "figures were not added up; charts stand still until they are");
                    }
                    is_failing = true;
                    again = Some(LONGEST);
                }
            }
        }
        // `stop` has come, and this is no reason to leave out the rest.
        let never = CancellationToken::new();
        let last = timeout(AT_THE_END, roll_up(&self.store, self.clock.now(), &never));
        if !matches!(last.await, Ok(Ok(_))) {
            debug!("figures of the last commits are added up by whoever looks next");
        }
    }

    /// A file is written by this process alone, which knows of its commits; others may die before they look.
    fn next_look(&self, before: Duration) -> Option<Duration> {
        match self.store.writers() {
            Writers::One => None,
            Writers::Several => Some((before * 2).clamp(GATHER, LONGEST)),
        }
    }
}

async fn later(again: Option<Duration>) {
    match again {
        Some(again) => sleep(again).await,
        None => std::future::pending().await,
    }
}

/// Adds up everything that is there by now, page by page. Returns how many rows of the change log that were.
pub(crate) async fn roll_up(
    store: &Store,
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<usize, Error> {
    let mut rows = 0;
    loop {
        let begun = Instant::now();
        let rolled = store.roll_up().await?;
        rows += rolled.rows;
        if rolled.has_gap {
            counter!("inngest_rollup_gaps_total").increment(1);
            warn!("the change log was cut off before its figures were added up; charts lack them");
        }
        if let Some(oldest) = rolled.oldest {
            histogram!("inngest_rollup_lag_seconds").record(now.since(oldest));
        }
        if !rolled.has_more || stop.is_cancelled() {
            return Ok(rows);
        }
        sleep(begun.elapsed() * REST).await;
    }
}
