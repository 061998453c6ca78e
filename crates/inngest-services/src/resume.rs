//! What a step waited for has come, or has not come in time.

use inngest_core::{
    event,
    ids::{StepId, WaitId},
    job::{Arrival, JobKind, Work},
    json::Json,
    op::StepError,
    run::{
        StepKind, StepStatus,
        decide::{Decision, Effect, Ending, Fate, Memo, resolve},
    },
    wire::memo,
};
use inngest_queue::model::Verdict;
use inngest_state::fail_point;

use crate::{Error, engine::Engine, record::Record};

impl Engine {
    /// Ends a sleep.
    pub(crate) async fn wake(&self, work: &Work) -> Result<Verdict, Error> {
        fail_point!("op::sleep");
        self.end_step(work, Vec::new(), StepStatus::Completed, Memo::Null)
            .await
    }

    /// Ends a wait that has lasted too long. An event that came first has used up the wait, and wins.
    pub(crate) async fn time_out(&self, work: &Work) -> Result<Verdict, Error> {
        let (Some(run), Some(step)) = (work.run, &work.step) else {
            return Ok(Verdict::done());
        };
        let memo = match self.kind_of(work).await? {
            Some(StepKind::Invoke) => Memo::Verbatim(memo::invoke_timeout()),
            _ => Memo::Null,
        };
        self.end_step(
            work,
            vec![WaitId::derive(run, step.as_str())],
            StepStatus::TimedOut,
            memo,
        )
        .await
    }

    /// What the step of this work does; none when there is no such step any more.
    async fn kind_of(&self, work: &Work) -> Result<Option<StepKind>, Error> {
        let (Some(run), Some(step)) = (work.run, &work.step) else {
            return Ok(None);
        };
        let cell = self.cells.get(run);
        let mut held = cell.progress.lock().await;
        if held
            .as_ref()
            .is_some_and(|progress| !progress.steps.contains_key(step))
        {
            // Whoever changed the run last may have been dropped before it could say so: the rows know.
            *held = None;
        }
        let Some(progress) = self.load(work.env, run, &mut held).await? else {
            self.cells.remove(run);
            return Ok(None);
        };
        Ok(progress.steps.get(step).map(|state| state.kind))
    }

    /// Gives a step what it waited for.
    pub(crate) async fn resume(&self, work: &Work) -> Result<Verdict, Error> {
        match Arrival::from_payload(&work.payload) {
            Some(Arrival::Memo(memo)) => {
                self.end_step(
                    work,
                    Vec::new(),
                    StepStatus::Completed,
                    Memo::Verbatim(memo),
                )
                .await
            }
            Some(Arrival::Failure(memo)) => {
                self.end_step(work, Vec::new(), StepStatus::Failed, Memo::Verbatim(memo))
                    .await
            }
            Some(Arrival::Event(id)) => {
                let Some(found) = self.store.find_event(work.env, id).await? else {
                    return Err(Error::Internal {
                        what: format!("event `{id}` that a step waited for is gone"),
                    });
                };
                let (status, memo) = match self.kind_of(work).await? {
                    Some(StepKind::Invoke) => memo_of_end(&found),
                    _ => (StepStatus::Completed, Memo::Verbatim(found.body)),
                };
                self.end_step(work, Vec::new(), status, memo).await
            }
            None => Err(Error::Internal {
                what: format!("work `{}` has an unreadable payload", work.id),
            }),
        }
    }

    /// Ends the run because an event says so or because a time is over.
    pub(crate) async fn cancel_by_work(&self, work: &Work) -> Result<Verdict, Error> {
        let Some(run) = work.run else {
            return Ok(Verdict::done());
        };
        let Some(loaded) = self.registries.function(work.env, work.function).await? else {
            return Ok(Verdict::done());
        };
        fail_point!("cancel::requested");
        let cell = self.cells.get(run);
        let reason = match work.kind {
            JobKind::StartTimeout => "it did not start within `timeouts.start`".to_owned(),
            JobKind::FinishTimeout => "it did not finish within `timeouts.finish`".to_owned(),
            _ => match Arrival::from_payload(&work.payload) {
                Some(Arrival::Event(id)) => format!("event {id} matched one of its cancel rules"),
                _ => "one of its cancel rules matched".to_owned(),
            },
        };
        let now = self.clock.now();
        let record = Record {
            run,
            loaded: &loaded,
            work: Some(work),
            goes_on: false,
            claims: Vec::new(),
            since: now,
            request_made: None,
            response: None,
        };
        let is_start = work.kind == JobKind::StartTimeout;
        let recorded = self
            .record(work.env, &cell, record, |progress, _| {
                let effects = if is_start && progress.started_at.is_some() {
                    Vec::new()
                } else {
                    vec![Effect::Finish(Ending::Cancelled {
                        reason: reason.clone(),
                        by: None,
                    })]
                };
                Decision {
                    effects,
                    fate: Fate::Done,
                }
            })
            .await?;
        Ok(recorded.into_verdict())
    }

    async fn end_step(
        &self,
        work: &Work,
        claims: Vec<WaitId>,
        status: StepStatus,
        memo: Memo,
    ) -> Result<Verdict, Error> {
        let (Some(run), Some(step)) = (work.run, &work.step) else {
            return Ok(Verdict::done());
        };
        let Some(loaded) = self.registries.function(work.env, work.function).await? else {
            return Ok(Verdict::done());
        };
        let cell = self.cells.get(run);
        let now = self.clock.now();
        let record = Record {
            run,
            loaded: &loaded,
            work: Some(work),
            goes_on: false,
            claims,
            since: now,
            request_made: None,
            response: None,
        };
        let step: &StepId = step;
        let limits = self.limits.of(work.env, work.function);
        let recorded = self
            .record(work.env, &cell, record, |progress, now| {
                resolve(progress, work.id, step, status, memo.clone(), limits, now)
            })
            .await?;
        Ok(recorded.into_verdict())
    }
}

/// What a step that invoked a function gets when an event tells of its end.
fn memo_of_end(found: &event::Event) -> (StepStatus, Memo) {
    let data = found.body.member("data").unwrap_or_else(Json::empty_object);
    let status = data
        .member("_inngest")
        .and_then(|inner| inner.member("status"))
        .and_then(|status| status.to_text());
    match (status.as_deref(), data.member("error")) {
        (Some("Cancelled"), _) => {
            let error = StepError::new(
                "InngestInvokeCancelledError",
                "The invoked function was cancelled before it returned a result",
            );
            (StepStatus::Failed, Memo::Error(error))
        }
        (_, Some(error)) => (
            StepStatus::Failed,
            Memo::Verbatim(Json::object([("error", &error)])),
        ),
        (_, None) => (
            StepStatus::Completed,
            Memo::Data(data.member("result").unwrap_or_else(Json::null)),
        ),
    }
}
