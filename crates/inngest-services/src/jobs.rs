//! From the kind of a job to the function that does it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use inngest_core::{
    ids::WorkId,
    job::{JobKind, Work},
    run::decide::{Decision, Effect, Fate, engine_failure},
};
use inngest_queue::model::{Lease, Verdict};
use inngest_state::fail_point;
use tracing::{Span, error, info, info_span, warn};

use crate::{
    Error, Kind,
    engine::{Counters, Engine},
    record::Record,
    trace_context,
};

/// Pause before work is tried again that failed because of us; doubles with each further failure, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
/// See [`PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so many failures in a row that are no outage, the run is failed: trying once more would only call its app again.
const MAX_FAILURES: u32 = 6;
/// Most pieces of work whose failures are counted; beyond it counting starts again.
const COUNTED: usize = 10_000;

/// How often work has failed in a row because of us.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<WorkId, u32>>);

impl Failures {
    fn add(&self, work: WorkId) -> u32 {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= COUNTED {
            failures.clear();
        }
        let count = failures.entry(work).or_default();
        *count += 1;
        *count
    }

    fn pause(&self, work: WorkId) -> Duration {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.get(&work).copied().unwrap_or(1);
        (PAUSE * 2u32.saturating_pow(count.saturating_sub(1).min(16))).min(LONGEST_PAUSE)
    }

    fn forget(&self, work: WorkId) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !failures.is_empty() {
            failures.remove(&work);
        }
    }
}

/// What is traced of one job, and what each line is about that is logged while it is done. It becomes part of its run's trace once the
/// run is read ([`trace_context::join`]).
pub(crate) fn span_of(work: &Work) -> Span {
    info_span!(
        trace_context::JOB,
        job.id = %work.id,
        job.kind = ?work.kind,
        env.id = %work.env,
        function.id = %work.function,
        run.id = work.run.map(display),
        step.id = work.step.as_ref().map(display),
        attempt = i64::from(work.attempt),
        epoch = work.epoch,
        otel.kind = "consumer",
    )
}

impl Engine {
    /// Does what a lease is for. Twice is harmless.
    pub(crate) async fn handle(&self, lease: Lease) -> Verdict {
        Counters::add(&self.counters.leases, 1);
        let mut work = lease.work;
        if lease.lost || lease.crashes > 0 {
            // Whoever had it before may have committed, and vanished before it could tell the schedule what follows.
            self.note_left_out();
        }
        if lease.unsure && !lease.lost {
            match self.epochs.get(&self.store, &self.tracker, work.id).await {
                Ok(Some(epoch)) if epoch == work.epoch => {}
                Ok(found) => {
                    Counters::add(&self.counters.stale_entries, 1);
                    if found.is_some() {
                        // It was handed on, and the schedule does not know to whom.
                        self.note_left_out();
                    }
                    return Verdict::done();
                }
                Err(error) => return self.later(&work, &error),
            }
        }
        if lease.lost {
            Counters::add(&self.counters.takeovers, 1);
            fail_point!("takeover::leased");
            match self.store.raise_epoch(work.id, work.epoch).await {
                Ok(Some(epoch)) => {
                    fail_point!("takeover::raised");
                    info!(job.id = %work.id, epoch, "took over work whose lease was lost");
                    work.epoch = epoch;
                }
                Ok(None) => return Verdict::done(),
                Err(error) => return self.later(&work, &error.into()),
            }
        }
        let done = if lease.poisoned {
            self.set_aside(&work).await
        } else {
            self.dispatch(&work).await
        };
        let failure = match done {
            Ok(verdict) => {
                self.failures.forget(work.id);
                return verdict;
            }
            Err(failure) => failure,
        };
        let count = self.failures.add(work.id);
        if failure.kind() == Kind::Internal && count > MAX_FAILURES {
            error!(job.id = %work.id, job.kind = ?work.kind, error = %failure, "work could not be recorded again and again; its run is failed");
            let message = "The server could not store the progress of this run.";
            match self.fail_run(&work, "InngestErrStorage", message).await {
                Ok(verdict) => {
                    self.failures.forget(work.id);
                    return verdict;
                }
                Err(error) => return self.later(&work, &error),
            }
        }
        self.later(&work, &failure)
    }

    async fn dispatch(&self, work: &Work) -> Result<Verdict, Error> {
        match work.kind {
            JobKind::Discover | JobKind::RunStep => self.execute(work).await,
            JobKind::Wake => self.wake(work).await,
            JobKind::WaitTimeout => self.time_out(work).await,
            JobKind::Resume => self.resume(work).await,
            JobKind::Fetch => self.fetch(work).await,
            JobKind::Cancel | JobKind::StartTimeout | JobKind::FinishTimeout => {
                self.cancel_by_work(work).await
            }
            JobKind::Cron => self.fire(work).await,
            JobKind::Release => self.release(work).await,
            JobKind::EndPause => self.end_pause(work).await,
            JobKind::Bulk => self.go_through(work).await,
        }
    }

    /// The row stays as it is; only the schedule is told to come back.
    fn later(&self, work: &Work, failure: &Error) -> Verdict {
        if matches!(failure, Error::Store(_)) {
            // It may have been written all the same, and then the schedule lacks what follows.
            self.note_left_out();
        }
        let cause = std::error::Error::source(failure)
            .map(ToString::to_string)
            .unwrap_or_default();
        warn!(job.id = %work.id, job.kind = ?work.kind, error = %failure, cause, "work could not be recorded; trying again");
        Verdict::RetryAt {
            work: Work {
                due_at: self.clock.now().plus(self.failures.pause(work.id)),
                ..work.clone()
            },
        }
    }

    /// Work whose handling has panicked again and again ends its run, so that it cannot take workers with it for ever.
    async fn set_aside(&self, work: &Work) -> Result<Verdict, Error> {
        error!(job.id = %work.id, job.kind = ?work.kind, "work crashed its worker too often; its run is failed");
        let message = "The server could not process this run: handling it failed repeatedly.";
        self.fail_run(work, "InngestErrWorkerCrashed", message)
            .await
    }

    async fn fail_run(&self, work: &Work, name: &str, message: &str) -> Result<Verdict, Error> {
        if work.kind == JobKind::Bulk {
            self.fail_bulk(work).await?;
            return Ok(Verdict::done());
        }
        let (Some(run), Some(loaded)) = (
            work.run,
            self.registries.function(work.env, work.function).await?,
        ) else {
            return Ok(Verdict::done());
        };
        let cell = self.cells.get(run);
        let record = Record {
            run,
            loaded: &loaded,
            work: Some(work),
            goes_on: false,
            claims: Vec::new(),
            since: self.clock.now(),
            request_made: None,
            response: None,
        };
        let ending = engine_failure(name, message);
        let decide = |_: &_, _| Decision {
            effects: vec![Effect::Finish(ending.clone())],
            fate: Fate::Done,
        };
        Ok(self
            .record(work.env, &cell, record, decide)
            .await?
            .into_verdict())
    }
}
