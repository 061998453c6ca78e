//! HTTP requests that the server makes as durable steps.

use bytes::{BufMut, Bytes, BytesMut};
use inngest_core::{
    job::Work,
    json::Json,
    limits,
    op::FetchRequest,
    run::{
        StepDetails, StepStatus,
        decide::{Decision, Effect, Fate, Memo, resolve},
        reply::RetryHint,
        retry::next_attempt,
    },
    wire::sync::public_url,
};
use inngest_executor::FetchOutcome;
use inngest_queue::model::Verdict;

use crate::{Error, engine::Engine, record::Record};

/// The stored form of a request.
pub(crate) fn to_payload(request: &FetchRequest) -> Bytes {
    let mut payload = BytesMut::with_capacity(request.opts.len() + 1);
    payload.put_u8(if request.is_inference { b'i' } else { b'g' });
    payload.put_slice(request.opts.as_bytes());
    payload.freeze()
}

/// As much of a request as may be shown; none when its URL is none.
pub(crate) fn details(request: &FetchRequest) -> Option<StepDetails> {
    let text = |key| request.opts.member(key).and_then(|text| text.to_text());
    let url = text("url").filter(|url| url.len() <= limits::DETAIL_BYTES)?;
    let method = text("method").filter(|_| !request.is_inference);
    Some(StepDetails::Fetch {
        url: public_url(&url)?,
        method: method.map_or_else(
            || "POST".to_owned(),
            |method| method.chars().take(16).collect::<String>().to_uppercase(),
        ),
    })
}

fn from_payload(payload: &Bytes) -> Option<FetchRequest> {
    let is_inference = match payload.first()? {
        b'i' => true,
        b'g' => false,
        _ => return None,
    };
    let opts = Json::parse(payload.get(1..)?).ok()?;
    Some(FetchRequest { is_inference, opts })
}

impl Engine {
    /// Makes the request of a step and records what came back; a failure is tried again as often as a call would be.
    pub(crate) async fn fetch(&self, work: &Work) -> Result<Verdict, Error> {
        let (Some(run), Some(step)) = (work.run, &work.step) else {
            return Ok(Verdict::done());
        };
        let Some(loaded) = self.registries.function(work.env, work.function).await? else {
            return Ok(Verdict::done());
        };
        let Some(request) = from_payload(&work.payload) else {
            return Err(Error::Internal {
                what: format!("work `{}` has an unreadable payload", work.id),
            });
        };
        let cell = self.cells.get(run);
        {
            let mut held = cell.progress.lock().await;
            if !self.is_outstanding(work, run, &mut held).await? {
                return Ok(Verdict::done());
            }
            if held.is_none() {
                self.cells.remove(run);
                return Ok(Verdict::done());
            }
        }
        if loaded.holds(true)
            && let Some(verdict) = self.hold(work, true).await?
        {
            return Ok(verdict);
        }
        let since = self.clock.now();
        let outcome = self.client.fetch(&request).await;
        let policy = self.retry_policy(&loaded);
        let limits = self.limits.of(work.env, work.function);
        let record = Record {
            run,
            loaded: &loaded,
            work: Some(work),
            goes_on: false,
            claims: Vec::new(),
            since,
            request_made: None,
            response: None,
        };
        let recorded = self
            .record(work.env, &cell, record, |progress, now| match &outcome {
                FetchOutcome::Done { data } => resolve(
                    progress,
                    work.id,
                    step,
                    StepStatus::Completed,
                    Memo::Data(data.clone()),
                    limits,
                    now,
                ),
                FetchOutcome::Failed(failure) => {
                    let error = &failure.error;
                    let hint = RetryHint {
                        no_retry: failure.retry.no_retry || error.no_retry,
                        after: failure
                            .retry
                            .after
                            .clone()
                            .or_else(|| error.retry_after.clone()),
                    };
                    let next_at = next_attempt(work.attempt, &hint, policy, now);
                    let failed = Effect::FailedAttempt {
                        step: Some(step.clone()),
                        attempt: work.attempt,
                        class: failure.class,
                        code: failure.code,
                        error: error.clone(),
                        next_at,
                    };
                    match next_at {
                        Some(at) => Decision {
                            effects: vec![failed],
                            fate: Fate::Retry {
                                at,
                                attempt: work.attempt + 1,
                            },
                        },
                        None => {
                            let memo = Memo::Error(error.clone());
                            let status = StepStatus::Failed;
                            let mut decision =
                                resolve(progress, work.id, step, status, memo, limits, now);
                            decision.effects.insert(0, failed);
                            decision
                        }
                    }
                }
            })
            .await?;
        Ok(recorded.into_verdict())
    }
}
