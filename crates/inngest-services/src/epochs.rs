//! Whether the rows of leased work are still as the schedule has them.
//!
//! A schedule that several processes fill may hold what was done in the meantime. Each lease on it is compared with its row before an app
//! is called; all that are asked for while one statement is on its way share the next.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use inngest_core::ids::WorkId;
use inngest_state::Store;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::Error;

/// Rows asked for by one statement.
const AT_ONCE: usize = 512;

type Answer = Result<Option<i64>, ()>;

/// The questions that wait for the next statement.
#[derive(Clone, Default)]
pub(crate) struct Epochs(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    questions: Vec<(WorkId, oneshot::Sender<Answer>)>,
    is_asking: bool,
}

impl Epochs {
    /// The epoch of the row; none when it is gone.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn get(
        &self,
        store: &Store,
        tracker: &TaskTracker,
        work: WorkId,
    ) -> Result<Option<i64>, Error> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.questions.push((work, answer));
            !std::mem::replace(&mut waiting.is_asking, true)
        };
        if is_first {
            let (epochs, store) = (self.clone(), store.clone());
            tracker.spawn(async move { epochs.ask(&store).await });
        }
        match answered.await {
            Ok(Ok(epoch)) => Ok(epoch),
            // Many share one statement; who fails alone is told why.
            _ => Ok(store.work_epochs(&[work]).await?.get(&work).copied()),
        }
    }

    async fn ask(&self, store: &Store) {
        loop {
            let questions: Vec<_> = {
                let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.questions.is_empty() {
                    waiting.is_asking = false;
                    return;
                }
                let count = waiting.questions.len().min(AT_ONCE);
                waiting.questions.drain(..count).collect()
            };
            let ids: Vec<WorkId> = questions.iter().map(|(id, _)| *id).collect();
            let found: Result<HashMap<WorkId, i64>, _> = store.work_epochs(&ids).await;
            for (id, answer) in questions {
                let epoch = match &found {
                    Ok(epochs) => Ok(epochs.get(&id).copied()),
                    Err(_) => Err(()),
                };
                // Who went away does not want to know.
                let _ = answer.send(epoch);
            }
        }
    }
}
