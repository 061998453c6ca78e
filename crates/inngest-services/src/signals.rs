//! Signals: named one-off messages to a waiting run.

use inngest_core::{
    access::{Actor, Scope},
    ids::{RunId, WorkId},
    job::{Arrival, JobKind, Work},
    json::Json,
    wire::memo,
};
use inngest_state::{Commit, Refused};

use crate::{Error, engine::Engine};

/// Signals. Made by `Services::signals`.
pub struct Signals<'a>(pub(crate) &'a Engine);

impl Signals<'_> {
    /// Gives a signal to the run that waits for it. A signal that nobody waits for is not kept.
    ///
    /// # Errors
    /// `NotFound` when nobody waits.
    pub async fn send(&self, actor: &Actor, signal: &str, data: Json) -> Result<RunId, Error> {
        actor.require(Scope::RunsWrite)?;
        let engine = self.0;
        let nobody = || Error::NotFound {
            what: "signal",
            id: signal.to_owned(),
        };
        let wait = engine
            .store
            .find_signal_wait(actor.env, signal)
            .await?
            .ok_or_else(nobody)?;
        let now = engine.clock.now();
        let Some(step) = wait.step.clone().filter(|_| now <= wait.expires_at) else {
            return Err(nobody());
        };
        let work = Work {
            id: WorkId::derive(wait.run, &format!("resume:{step}")),
            org: wait.org,
            env: wait.env,
            kind: JobKind::Resume,
            function: wait.function,
            run: Some(wait.run),
            step: Some(step),
            due_at: now,
            rank: wait.rank,
            attempt: 0,
            epoch: 1,
            payload: Arrival::Memo(memo::signal(signal, &data)).to_payload(),
        };
        let commit = Commit {
            claims: vec![wait.id],
            work: vec![work],
            ..Commit::default()
        };
        match engine.commit(commit).await {
            Ok(committed) => {
                engine.schedule(&committed.work).await;
                Ok(wait.run)
            }
            // Another signal, or the end of the wait, came first.
            Err(Refused::WaitGone) => Err(nobody()),
            Err(Refused::Store(error)) => {
                // It may have been written all the same, and then the schedule lacks what follows.
                engine.note_failed_commit(&error);
                Err(error.into())
            }
            Err(refused) => Err(Error::Internal {
                what: refused.to_string(),
            }),
        }
    }
}
