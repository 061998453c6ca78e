//! Recording a decision: draft it, commit it, and decide again when the run has changed meanwhile.

use std::time::Duration;

use inngest_core::{
    ids::{EnvId, RunId, WaitId, WorkId},
    job::Work,
    run::{
        SdkResponse,
        decide::{Decision, Effect, Ending, Fate, engine_failure},
        progress::Progress,
    },
    time::Timestamp,
};
use inngest_queue::model::Verdict;
use inngest_state::{BulkChange, BulkStep, Commit, Fence, Refused, RequestMade, fail_point};
use tracing::{Instrument, Span, debug_span};

use crate::{
    Error,
    apply::{Basis, Drafted},
    cells::Cell,
    engine::{Counters, Engine, TRIES},
    registry::Loaded,
    route::drafts_of,
    trace_context,
};

/// What is recorded, besides the decision.
pub(crate) struct Record<'a> {
    /// The run.
    pub(crate) run: RunId,
    /// Its function.
    pub(crate) loaded: &'a Loaded,
    /// See `Basis::work`.
    pub(crate) work: Option<&'a Work>,
    /// See `Basis::goes_on`.
    pub(crate) goes_on: bool,
    /// See `Basis::claims`.
    pub(crate) claims: Vec<WaitId>,
    /// See `Basis::since`.
    pub(crate) since: Timestamp,
    /// The request to the app of which this is the outcome.
    pub(crate) request_made: Option<RequestMade>,
    /// What came back of it.
    pub(crate) response: Option<SdkResponse>,
}

/// What came of it.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every one is the large one, and it is moved once"
)]
pub(crate) enum Recorded {
    /// It is durable. Other work for the schedule, the work to go on with, and the work that is tried again.
    Done {
        next: Vec<Work>,
        /// Work that is needless by now.
        remove: Vec<WorkId>,
        goes_on_with: Option<Work>,
        retry: Option<Work>,
    },
    /// The work belongs to somebody else, or what it waited for is gone: nothing is left to do.
    Replaced,
    /// The run has ended.
    Ended,
}

impl Recorded {
    /// What the schedule is to be told by a worker.
    pub(crate) fn into_verdict(self) -> Verdict {
        match self {
            Self::Done {
                retry: Some(work), ..
            } => Verdict::RetryAt { work },
            Self::Done {
                next,
                remove,
                goes_on_with,
                retry: None,
            } => Verdict::Done {
                next,
                remove,
                continue_with: goes_on_with,
            },
            Self::Replaced | Self::Ended => Verdict::done(),
        }
    }
}

impl Engine {
    /// Reads the run into its cell if it is not there. `false` when it has ended.
    pub(crate) async fn load<'a>(
        &self,
        env: EnvId,
        run: RunId,
        held: &'a mut Option<Progress>,
    ) -> Result<Option<&'a mut Progress>, Error> {
        if held.is_none() {
            *held = self
                .store
                .load_run(env, run)
                .await?
                .map(|loaded| loaded.progress);
        }
        Ok(held.as_mut())
    }

    /// Decides, records the decision, and brings the cell up to date. `decide` is called again for the newer state when the run has
    /// changed since the cell was read.
    pub(crate) async fn record(
        &self,
        env: EnvId,
        cell: &Cell,
        record: Record<'_>,
        decide: impl FnMut(&Progress, Timestamp) -> Decision,
    ) -> Result<Recorded, Error> {
        self.record_with(env, cell, record, None, decide).await
    }

    /// [`Engine::record`], and in the same commit how an operation on many runs goes on. `Replaced` also when that has ended.
    pub(crate) async fn record_with(
        &self,
        env: EnvId,
        cell: &Cell,
        record: Record<'_>,
        step: Option<BulkStep>,
        mut decide: impl FnMut(&Progress, Timestamp) -> Decision,
    ) -> Result<Recorded, Error> {
        let mut held = cell.progress.lock().await;
        let mut signal_taken = false;
        // The work as it is in the database, whose epoch rises when the outcome of a commit is found out.
        let mut work = record.work.cloned();
        for _ in 0..TRIES {
            let now = self.clock.now();
            let registry = self.registries.get(env).await?;
            let Some(progress) = self.load(env, record.run, &mut held).await? else {
                self.cells.remove(record.run);
                self.give_up(work.as_ref()).await;
                return Ok(Recorded::Ended);
            };
            trace_context::join(progress.trace);
            let span = span_of(progress);
            let decision = if signal_taken {
                signal_conflict()
            } else {
                let deciding = debug_span!(parent: &span, "decide");
                deciding.in_scope(|| decide(progress, now))
            };
            if decision.effects.is_empty()
                && decision.fate == Fate::Done
                && record.goes_on
                && record.claims.is_empty()
            {
                return Ok(Recorded::Done {
                    next: Vec::new(),
                    remove: Vec::new(),
                    goes_on_with: None,
                    retry: None,
                });
            }
            let basis = Basis {
                registry: &registry,
                loaded: record.loaded,
                work: work.as_ref(),
                goes_on: record.goes_on,
                claims: record.claims.clone(),
                since: record.since,
                response: record.response.as_ref(),
                now,
            };
            let (end, queued_at) = (end_of(&decision), progress.queued_at);
            let Drafted {
                mut commit,
                run,
                retry,
            } = span.in_scope(|| self.draft(progress, decision, &basis));
            commit.request_made = record.request_made;
            commit.bulk = step.map(BulkChange::Step);
            let children = drafts_of(&commit.events);
            let dropped = commit.drop_work.clone();
            let run_id = record.run;
            match self.commit(commit).instrument(span).await {
                Ok(committed) => {
                    let ended = run.is_none();
                    fail_point!(if ended {
                        "final::after_commit"
                    } else {
                        "exec::after_commit"
                    });
                    self.announce(&committed, children).await;
                    let remove = [committed.removed, dropped].concat();
                    if let Some(run) = &run {
                        self.cells.weigh(run_id, run.weight());
                    } else {
                        let lasted = now.since(queued_at);
                        self.after_end(env, run_id, record.loaded, end, lasted);
                    }
                    *held = run;
                    let recorded = self.sort(cell, run_id, committed.work, retry, ended);
                    let has_verdict = record.work.is_some() && !record.goes_on;
                    return Ok(self.with_removed(recorded, remove, has_verdict).await);
                }
                Err(Refused::RunChanged) => {
                    Counters::add(&self.counters.conflicts, 1);
                    *held = None;
                }
                Err(Refused::FunctionsChanged) => drop(self.registries.reload(env).await?),
                Err(Refused::SignalTaken) => signal_taken = true,
                Err(Refused::FenceLost | Refused::WaitGone) => {
                    Counters::add(&self.counters.stale_writes, 1);
                    *held = None;
                    return Ok(Recorded::Replaced);
                }
                Err(refused @ Refused::Requested(_)) => {
                    return Err(Error::Internal {
                        what: refused.to_string(),
                    });
                }
                Err(Refused::Store(error)) if error.is_outcome_unknown() => {
                    *held = None;
                    self.note_failed_commit(&error);
                    // Work that goes on keeps its epoch, by which the app knows its call; the run's revision tells as well.
                    if let Some(asked) = work.as_mut().filter(|_| !record.goes_on)
                        && !self.find_out(asked).await?
                    {
                        return Ok(Recorded::Replaced);
                    }
                }
                Err(Refused::Store(error)) => {
                    // Whether it was written is not known; the next look reads the truth.
                    *held = None;
                    self.note_failed_commit(&error);
                    return Err(error.into());
                }
            }
        }
        Err(Error::Busy)
    }

    /// Removes work of a run that has ended. Usually it went with the run, but it may have been stored in the same moment.
    pub(crate) async fn give_up(&self, work: Option<&Work>) {
        let Some(work) = work else { return };
        let commit = Commit {
            fence: Some(Fence {
                id: work.id,
                epoch: work.epoch,
                ends: true,
            }),
            ..Commit::default()
        };
        if let Err(Refused::Store(error)) = self.commit(commit).await {
            tracing::warn!(job.id = %work.id, error = %error, "work of an ended run was not removed; it is looked at again");
        }
    }

    /// Sorts the work of a commit: what this run goes on with at once, and the rest.
    fn sort(
        &self,
        cell: &Cell,
        run: RunId,
        work: Vec<Work>,
        retry: Option<Work>,
        ended: bool,
    ) -> Recorded {
        let again = retry.as_ref().map(|work| work.id);
        let now = self.clock.now();
        let mut next: Vec<Work> = work
            .into_iter()
            .filter(|work| Some(work.id) != again)
            .collect();
        let position = next
            .iter()
            .position(|work| work.run == Some(run) && work.kind.calls_app() && work.due_at <= now);
        let goes_on_with = position
            .filter(|_| !ended && again.is_none() && cell.may_continue())
            .map(|position| next.remove(position));
        Recorded::Done {
            next,
            remove: Vec::new(),
            goes_on_with,
            retry,
        }
    }

    /// Has the schedule forget what the commit made needless: together with the verdict of a worker, or at once where there is none.
    async fn with_removed(
        &self,
        mut recorded: Recorded,
        needless: Vec<WorkId>,
        has_verdict: bool,
    ) -> Recorded {
        match &mut recorded {
            Recorded::Done {
                remove,
                retry: None,
                ..
            } if has_verdict => *remove = needless,
            _ => self.unschedule(&needless).await,
        }
        recorded
    }

    fn after_end(&self, env: EnvId, run: RunId, loaded: &Loaded, end: End, lasted: Duration) {
        self.cells.remove(run);
        let counter = match end.status {
            "failed" => &self.counters.runs_failed,
            "cancelled" => &self.counters.runs_cancelled,
            _ => &self.counters.runs_completed,
        };
        Counters::add(counter, 1);
        let duration_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            run.id = %run,
            run.status = end.status,
            function.slug = %loaded.function.slug,
            duration_ms,
            reason = end.reason,
            env.id = %env,
            "run {}", end.status
        );
    }
}

/// A part of whatever brought it about; where that is not traced, of the run's trace.
fn span_of(run: &Progress) -> Span {
    let span = debug_span!("record", run.id = %run.run);
    if let Some(trace) = run.trace
        && trace_context::current().is_none()
    {
        trace_context::continue_from(&span, trace);
    }
    span
}

fn signal_conflict() -> Decision {
    let ending = engine_failure(
        "Error",
        "Signal conflict; signal wait already exists for another run",
    );
    Decision {
        effects: vec![Effect::Finish(ending)],
        fate: Fate::Done,
    }
}

/// How a run ends, in words that hold nothing of the user's data.
struct End {
    status: &'static str,
    reason: Option<String>,
}

fn end_of(decision: &Decision) -> End {
    let ending = decision.effects.iter().find_map(|effect| match effect {
        Effect::Finish(ending) => Some(ending),
        _ => None,
    });
    match ending {
        Some(Ending::Failed { error, .. }) => End {
            status: "failed",
            reason: Some(error.name.clone()),
        },
        Some(Ending::Cancelled { reason, .. }) => End {
            status: "cancelled",
            reason: Some(reason.clone()),
        },
        Some(Ending::Completed(_)) | None => End {
            status: "completed",
            reason: None,
        },
    }
}
