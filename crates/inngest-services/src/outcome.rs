//! A commit whose connection broke before the answer came: was it written?
//!
//! Writing once more could only be refused if it was, and calling the app once more would be for nothing. So it is asked: the epoch of
//! the work is raised on condition that it is still the one of the commit. That statement waits for a transaction that still holds the
//! row, so its answer is final: the row was there, and nothing was written under the old epoch or ever will be; or it was gone.

use std::time::Duration;

use inngest_core::job::Work;
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::{
    Error,
    engine::{Counters, Engine},
};

/// How long the database is asked before the work is left to be tried again.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause before it is asked again; doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(50);
/// See [`PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    /// Finds out what became of a commit under the fence of `work`. `true`: nothing was written, and `work` has a new epoch under which
    /// it may be tried again. `false`: it was written, or the work is somebody else's by now; what follows is told to the schedule.
    ///
    /// # Errors
    /// The store's, when it did not answer for [`PATIENCE`].
    pub(crate) async fn find_out(&self, work: &mut Work) -> Result<bool, Error> {
        let begun = Instant::now();
        let mut pause = PAUSE;
        let raised = loop {
            match self.store.raise_epoch(work.id, work.epoch).await {
                Ok(raised) => break raised,
                Err(error) if error.is_unavailable() && begun.elapsed() < PATIENCE => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        };
        match raised {
            Some(epoch) => {
                info!(job.id = %work.id, epoch, "a commit of unknown outcome was not written; writing again");
                Counters::add(&self.counters.resolved_as_lost, 1);
                work.epoch = epoch;
                Ok(true)
            }
            None => {
                info!(job.id = %work.id, "a commit of unknown outcome was written");
                Counters::add(&self.counters.resolved_as_written, 1);
                if let Some(run) = work.run {
                    let follows = self.store.work_of_run(work.env, run).await?;
                    self.schedule(&follows).await;
                }
                Ok(false)
            }
        }
    }
}
