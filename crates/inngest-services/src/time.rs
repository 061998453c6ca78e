//! The clock follows the database's.

use std::time::Duration;

use inngest_core::time::Clock;
use inngest_state::Store;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::engine::Engine;

/// How often the database is asked for the time.
const EVERY: Duration = Duration::from_secs(5);
/// An answer that took longer says too little about now.
const FRESH: Duration = Duration::from_millis(500);

impl Engine {
    /// Sets the clock by the database's every few seconds until `stop`. A clock that tests move is left alone.
    pub(crate) async fn keep_time(&self, stop: CancellationToken) {
        while !self.clock.is_manual() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(EVERY) => set(&self.clock, &self.store).await,
            }
        }
    }
}

async fn set(clock: &Clock, store: &Store) {
    let asked = Instant::now();
    match store.now().await {
        // The database looked at its clock about halfway.
        Ok(now) if asked.elapsed() <= FRESH => clock.anchor(now.plus(asked.elapsed() / 2)),
        Ok(_) => debug!("the database was slow to tell the time"),
        // The clock runs on by itself; what else fails is told where it fails.
        Err(error) => debug!(error = %error, "the database did not tell the time"),
    }
}

#[cfg(test)]
mod tests {
    use inngest_core::time::Timestamp;
    use inngest_state::testing::on_each;

    use super::*;

    #[tokio::test]
    async fn clock_that_lags_is_set_by_the_database() {
        on_each(async |store| {
            let before = store.now().await.unwrap();
            let clock = Clock::starting_at(Timestamp::from_millis(1_000));
            assert!(clock.now() < before);
            set(&clock, &store).await;
            assert!(clock.now() >= before);
        })
        .await;
    }
}
