//! One call to an app: build it from what is known of the run, make it, and record what came back.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use inngest_core::{
    ids::{RunId, StepId},
    job::{JobKind, Work},
    json::Json,
    run::{
        decide::{CallInfo, Decision, Effect, Ending, Fate, decide},
        progress::Progress,
        reply::Reply,
        retry::RetryPolicy,
    },
    time::Timestamp,
    trace_context::TraceParent,
    wire::{call::CallBody, memo},
};
use inngest_executor::{Answered, CallRequest};
use inngest_queue::model::Verdict;
use inngest_state::{RequestMade, fail_point};
use metrics::histogram;
use tracing::{Instrument, Span, debug, debug_span, field::Empty, warn};

use crate::{
    Error,
    cells::{Cell, InFlight},
    engine::{Counters, Engine},
    record::{Record, Recorded},
    registry::Loaded,
    trace_context,
};

/// The word for an answer as it should be.
const OK: &str = "ok";

struct Prepared {
    run: RunId,
    url: String,
    body: Bytes,
    info: CallInfo,
    version: i32,
    request_id: String,
    trace: Option<TraceParent>,
}

enum Start {
    /// Make this call.
    Call(Box<Prepared>),
    /// The run has ended.
    Ended,
    /// The work was done, or given up, before the schedule was told of it.
    Gone,
    /// The step has a result already; only the work is left to be removed.
    Settled,
    /// The run must end instead.
    End(Ending),
    /// The start must be recorded first, because timeouts hang on it.
    MarkFirst,
    /// The function is paused, and this holds back the run, which has started or not.
    Held { has_started: bool },
}

impl Engine {
    /// Carries out work that calls an app.
    pub(crate) async fn execute(&self, work: &Work) -> Result<Verdict, Error> {
        let Some(run) = work.run else {
            return Ok(Verdict::done());
        };
        fail_point!("exec::leased");
        let cell = self.cells.get(run);
        let since = self.clock.now();
        let mut marked = false;
        loop {
            let Some(loaded) = self.registries.function(work.env, work.function).await? else {
                return Ok(self.wait_for_function(work));
            };
            let start = self.prepare(&cell, work, &loaded, since, marked).await?;
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
            match start {
                Start::Ended => {
                    self.give_up(Some(work)).await;
                    return Ok(Verdict::done());
                }
                Start::Gone => return Ok(Verdict::done()),
                Start::Settled => {
                    let nothing = Decision {
                        effects: Vec::new(),
                        fate: Fate::Done,
                    };
                    let recorded = self
                        .record(work.env, &cell, record, |_, _| nothing.clone())
                        .await?;
                    return Ok(recorded.into_verdict());
                }
                Start::End(ending) => {
                    let recorded = self
                        .record(work.env, &cell, record, |_, _| finish(ending.clone()))
                        .await?;
                    return Ok(recorded.into_verdict());
                }
                Start::Held { has_started } => {
                    if let Some(verdict) = self.hold(work, has_started).await? {
                        return Ok(verdict);
                    }
                }
                Start::MarkFirst => {
                    marked = true;
                    match self.mark_started(&cell, work, &loaded, since).await? {
                        Recorded::Done { next, .. } => self.schedule(&next).await,
                        Recorded::Replaced | Recorded::Ended => return Ok(Verdict::done()),
                    }
                }
                Start::Call(call) => {
                    return self.call_and_record(&cell, work, *call, record).await;
                }
            }
        }
    }

    /// Makes the call and records what came of it.
    async fn call_and_record(
        &self,
        cell: &Cell,
        work: &Work,
        call: Prepared,
        mut record: Record<'_>,
    ) -> Result<Verdict, Error> {
        fail_point!("exec::before_send");
        let span = debug_span!(
            "call",
            run.id = %call.run,
            function.slug = %record.loaded.function.slug,
            org.id = %work.org,
            env.id = %work.env,
            step.id = work.step.as_ref().map(display),
            attempt = i64::from(work.attempt),
            outcome = Empty,
            otel.kind = "client",
            otel.status_code = Empty,
        );
        let trace = trace_context::of(&span).or(call.trace);
        let begun = tokio::time::Instant::now();
        let calling = self.call(cell, work, record.loaded, &call, record.since, trace);
        let Answered { reply, response } = calling.instrument(span.clone()).await;
        let (outcome, took) = (outcome_of(&reply), begun.elapsed());
        note_call(&span, outcome, took);
        drop(span);
        record.request_made = Some(RequestMade {
            at: self.clock.now(),
            took,
            is_ok: outcome == OK,
        });
        record.response = response;
        fail_point!("exec::got_response");
        let mut info = call.info;
        // The app may have reported steps meanwhile.
        if let Some(in_flight) = cell.call(work.id) {
            // Progress begins the count of attempts anew (sdk-protocol 7.2).
            if in_flight.stack_len > info.stack_len {
                info.attempt = 0;
            }
            info.stack_len = in_flight.stack_len;
        }
        let recorded = self
            .record(work.env, cell, record, |run, now| {
                decide(run, &info, reply.clone(), now)
            })
            .await;
        // Until here the call counts as on its way, so that the run is shown as running without a gap.
        cell.call_ended(work.id, work.epoch);
        Ok(recorded?.into_verdict())
    }

    async fn prepare(
        &self,
        cell: &Cell,
        work: &Work,
        loaded: &Loaded,
        now: Timestamp,
        marked: bool,
    ) -> Result<Start, Error> {
        let Some(run) = work.run else {
            return Ok(Start::Ended);
        };
        let mut held = cell.progress.lock().await;
        if !self.is_outstanding(work, run, &mut held).await? {
            return Ok(Start::Gone);
        }
        let Some(progress) = self.load(work.env, run, &mut held).await? else {
            self.cells.remove(run);
            return Ok(Start::Ended);
        };
        trace_context::join(progress.trace);
        let has_started = progress.started_at.is_some();
        if loaded.holds(has_started) {
            return Ok(Start::Held { has_started });
        }
        let timeouts = loaded.config.timeouts;
        match progress.started_at {
            None => {
                if timeouts
                    .start
                    .is_some_and(|limit| progress.queued_at.plus(limit) <= now)
                {
                    return Ok(Start::End(Ending::Cancelled {
                        reason: "it did not start within `timeouts.start`".to_owned(),
                        by: None,
                    }));
                }
                if !marked && (timeouts.start.is_some() || timeouts.finish.is_some()) {
                    return Ok(Start::MarkFirst);
                }
            }
            Some(started) => {
                if timeouts
                    .finish
                    .is_some_and(|limit| started.plus(limit) <= now)
                {
                    return Ok(Start::End(Ending::Cancelled {
                        reason: "it did not finish within `timeouts.finish`".to_owned(),
                        by: None,
                    }));
                }
            }
        }
        if work
            .step
            .as_ref()
            .is_some_and(|step| progress.has_ended(step))
        {
            return Ok(Start::Settled);
        }
        let call = self.build(progress, work, loaded, now);
        cell.call_started(
            work.id,
            InFlight {
                epoch: work.epoch,
                stack_len: progress.stack.len(),
                since: now,
            },
        );
        Ok(Start::Call(Box::new(call)))
    }

    /// Whether this work is still to be done. The schedule can be told of a row that was read just before it was deleted; the fence
    /// would refuse its outcome, but only after the app had been called for nothing. Also `true` when the run has ended.
    pub(crate) async fn is_outstanding(
        &self,
        work: &Work,
        run: RunId,
        held: &mut Option<Progress>,
    ) -> Result<bool, Error> {
        if let Some(progress) = held.as_ref() {
            if progress.work.contains_key(&work.id) {
                return Ok(true);
            }
            // Whoever changed the run last may have been dropped before it could say so: the rows know.
            *held = None;
        }
        let progress = self.load(work.env, run, held).await?;
        Ok(progress.is_none_or(|progress| progress.work.contains_key(&work.id)))
    }

    fn build(&self, progress: &Progress, work: &Work, loaded: &Loaded, now: Timestamp) -> Prepared {
        let events: Vec<Json> = progress
            .events
            .iter()
            .map(|(_, body)| body.clone())
            .collect();
        let mut memos: Vec<(StepId, Json)> = progress
            .stack
            .iter()
            .filter_map(|step| {
                progress
                    .steps
                    .get(step)?
                    .memo
                    .clone()
                    .map(|memo| (step.clone(), memo))
            })
            .collect();
        memos.extend(
            progress
                .edited()
                .map(|(step, input)| (step.clone(), memo::input(input))),
        );
        let request_id = self.ids.ulid(now).to_string();
        let id = work.id.to_string();
        let target = if work.kind == JobKind::RunStep {
            work.step.clone()
        } else {
            None
        };
        let body = CallBody {
            run: progress.run,
            function: progress.function,
            env: "",
            attempt: work.attempt,
            max_attempts: loaded.config.max_attempts(),
            force_plan: progress.must_plan(),
            generation: work.epoch,
            job_id: &id,
            qi_id: &id,
            request_id: &request_id,
            stack: &progress.stack,
            events: &events,
            memos: &memos,
            defers: &[],
            version: progress.request_version,
            can_fetch_state: !loaded.config.url.contains("step=step")
                || loaded.config.url.contains("stepId="),
        }
        .to_bytes();
        let info = CallInfo {
            work: work.id,
            target: target.clone(),
            attempt: work.attempt,
            sent_len: progress.stack.len(),
            stack_len: progress.stack.len(),
            policy: self.retry_policy(loaded),
            limits: self.limits.of(work.env, work.function),
        };
        Prepared {
            run: progress.run,
            url: loaded.config.url.clone(),
            body,
            info,
            version: progress.request_version,
            request_id,
            trace: progress.trace,
        }
    }

    pub(crate) fn retry_policy(&self, loaded: &Loaded) -> RetryPolicy {
        RetryPolicy {
            max_attempts: loaded.config.max_attempts(),
            interval: self.settings.retry_interval,
            jitter: jitter(),
        }
    }

    /// Makes the call. A call that takes long is recorded as started meanwhile; a short one saves that write.
    async fn call(
        &self,
        cell: &Cell,
        work: &Work,
        loaded: &Loaded,
        call: &Prepared,
        since: Timestamp,
        trace: Option<TraceParent>,
    ) -> Answered {
        Counters::add(&self.counters.calls, 1);
        let id = work.id.to_string();
        let traceparent = trace.map(|trace| trace.to_string());
        let request = CallRequest {
            url: &call.url,
            run: call.run,
            target: call.info.target.as_ref(),
            version: call.version,
            job_id: &id,
            request_id: &call.request_id,
            generation: work.epoch,
            signing_key: self.settings.signing_keys.first(),
            traceparent: traceparent.as_deref(),
            now: self.clock.now(),
            body: call.body.clone(),
        };
        let mut answer = pin!(self.client.call(request));
        tokio::select! {
            answer = &mut answer => return answer,
            () = tokio::time::sleep(self.settings.mark_started_after) => {}
        }
        let is_first = cell
            .progress
            .lock()
            .await
            .as_ref()
            .is_some_and(|progress| progress.started_at.is_none());
        if is_first {
            match self.mark_started(cell, work, loaded, since).await {
                Ok(Recorded::Done { next, .. }) => self.schedule(&next).await,
                Ok(Recorded::Replaced | Recorded::Ended) => {}
                Err(error) => debug!(error = %error, "the start of a run was not recorded"),
            }
        }
        answer.await
    }

    /// Records that the app is being called for the first time, and when the run must have finished.
    async fn mark_started(
        &self,
        cell: &Cell,
        work: &Work,
        loaded: &Loaded,
        since: Timestamp,
    ) -> Result<Recorded, Error> {
        let Some(run) = work.run else {
            return Ok(Recorded::Ended);
        };
        let record = Record {
            run,
            loaded,
            work: Some(work),
            goes_on: true,
            claims: Vec::new(),
            since,
            request_made: None,
            response: None,
        };
        let finish = loaded.config.timeouts.finish;
        self.record(work.env, cell, record, |progress, _| {
            let timer = finish
                .filter(|_| progress.started_at.is_none())
                .map(|limit| Effect::FinishBy {
                    at: since.plus(limit),
                });
            let effects = std::iter::once(Effect::Started).chain(timer).collect();
            Decision {
                effects,
                fate: Fate::Done,
            }
        })
        .await
    }

    /// The function of a run cannot be read, which only a foreign hand in the database can bring about: look again later.
    fn wait_for_function(&self, work: &Work) -> Verdict {
        warn!(job.id = %work.id, function.id = %work.function, "the function of a run cannot be read; trying again in a minute");
        Verdict::RetryAt {
            work: Work {
                due_at: self.clock.now().plus(Duration::from_secs(60)),
                ..work.clone()
            },
        }
    }
}

fn note_call(span: &Span, outcome: &'static str, took: Duration) {
    span.record("outcome", outcome);
    if outcome != OK {
        span.record("otel.status_code", "ERROR");
    }
    debug!(
        outcome,
        duration_ms = took.as_secs_f64() * 1_000.0,
        "app called"
    );
    histogram!("inngest_call_duration_seconds", "outcome" => outcome).record(took);
}

/// A word for what came back.
fn outcome_of(reply: &Reply) -> &'static str {
    match reply {
        Reply::Failed(failure) => failure.class.as_str(),
        _ => OK,
    }
}

fn finish(ending: Ending) -> Decision {
    Decision {
        effects: vec![Effect::Finish(ending)],
        fate: Fate::Done,
    }
}

fn jitter() -> f64 {
    rand::random_range(0.0..1.0)
}

#[cfg(all(test, feature = "test-util"))]
#[path = "execute_tests.rs"]
mod tests;
