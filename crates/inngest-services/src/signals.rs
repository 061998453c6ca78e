//! Signals: named one-off messages to a waiting run.

use inngest_core::{
    access::{Actor, Scope},
    ids::{RunId, WorkId},
    job::{Arrival, JobKind, Work},
    json::Json,
    wire::memo,
};
use inngest_state::{Commit, Refused};

use crate::{
    Error,
    engine::Engine,
    requests::{RequestKey, answered, read_id},
};

/// Signals. Made by `Services::signals`.
pub struct Signals<'a>(pub(crate) &'a Engine);

impl Signals<'_> {
    /// Gives a signal to the run that waits for it. A signal that nobody waits for is not kept. A second request with the same key is
    /// answered like the first.
    ///
    /// # Errors
    /// `NotFound` when nobody waits; `Conflict` with `idempotency_key_reused`.
    pub async fn send(
        &self,
        actor: &Actor,
        signal: &str,
        data: Json,
        key: Option<RequestKey>,
    ) -> Result<RunId, Error> {
        actor.require(Scope::RunsWrite)?;
        let engine = self.0;
        let nobody = || Error::NotFound {
            what: "signal",
            id: signal.to_owned(),
        };
        let told = |result: Json| {
            if result.is_null() {
                Err(nobody())
            } else {
                read_id(&result)
            }
        };
        if let Some(result) = engine.find_answer(actor, key.as_ref()).await? {
            return told(result);
        }
        let wait = engine.store.find_signal_wait(actor.env, signal).await?;
        let now = engine.clock.now();
        let wait = wait.filter(|wait| now <= wait.expires_at);
        let Some((wait, step)) = wait.and_then(|wait| wait.step.clone().map(|step| (wait, step)))
        else {
            return match &key {
                Some(key) => told(engine.remember_nobody(actor, key).await?),
                None => Err(nobody()),
            };
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
            request: key.as_ref().map(|key| {
                let result = Json::string(&wait.run.to_string());
                key.remember(actor, result, now)
            }),
            ..Commit::default()
        };
        match engine.commit(commit).await {
            Ok(committed) => {
                engine.schedule(&committed.work).await;
                Ok(wait.run)
            }
            // Another signal, or the end of the wait, came first.
            Err(Refused::WaitGone) => Err(nobody()),
            Err(Refused::Requested(result)) => told(answered(key.as_ref(), result)?),
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

impl Engine {
    /// Remembers that nobody waited for a signal. Returns what the first request with this key has led to.
    async fn remember_nobody(&self, actor: &Actor, key: &RequestKey) -> Result<Json, Error> {
        let commit = Commit {
            request: Some(key.remember(actor, Json::null(), self.clock.now())),
            ..Commit::default()
        };
        match self.store.commit(commit).await {
            Ok(_) => Ok(Json::null()),
            Err(Refused::Requested(result)) => answered(Some(key), result),
            Err(Refused::Store(error)) => Err(error.into()),
            Err(refused) => Err(Error::Internal {
                what: refused.to_string(),
            }),
        }
    }
}
