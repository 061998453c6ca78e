//! From one reply to its effects: the heart of the engine, as values in and values out.
//!
//! The rules are those of sdk-protocol sections 4.7 to 4.9. Two of them shape most of the code. SDKs report steps that are under way
//! again and again, so every op is harmless the second time. And at most one discovery of a run is outstanding: whoever would ask for
//! a second one relies on the first to notice, by the growth of the stack, that it was answered from an older state.

use crate::{
    access::Author,
    ids::{StepId, WorkId},
    json::Json,
    op::{FetchRequest, OpTiming, StepError},
    run::{
        RunLimits, StepKind, StepStatus, StepTold,
        draft::{Draft, step_not_found},
        progress::Progress,
        reply::{Failure, FailureClass, Reply, RetryHint},
        retry::{RetryPolicy, next_attempt},
    },
    time::Timestamp,
};

/// The call that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct CallInfo {
    /// The work that it carried out.
    pub work: WorkId,
    /// The one step that was to be run; none for a discovery.
    pub target: Option<StepId>,
    /// Attempts made before.
    pub attempt: u32,
    /// Length of the stack that the app was sent.
    pub sent_len: usize,
    /// Length of the stack that the app was sent, plus the steps that it has reported by itself since.
    pub stack_len: usize,
    /// What retries go by.
    pub policy: RetryPolicy,
    /// How large the run may get.
    pub limits: RunLimits,
}

/// What to do after one reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// In the order in which they must be written.
    pub effects: Vec<Effect>,
    /// What becomes of the work that was carried out.
    pub fate: Fate,
}

/// What becomes of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Done,
    /// It is tried again.
    Retry {
        /// Not before.
        at: Timestamp,
        /// Attempts made by then.
        attempt: u32,
    },
}

/// One change to a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The app speaks this dialect.
    UseVersion(i32),
    /// Calls from now on ask for planning, or no longer do.
    ForcePlan(bool),
    /// A step is under way.
    OpenStep {
        step: StepId,
        name: String,
        kind: StepKind,
        group: Option<u32>,
    },
    /// A step has ended; first result wins. What it waited for and its work are given up.
    EndStep {
        step: StepId,
        name: String,
        kind: StepKind,
        status: StepStatus,
        memo: Memo,
        timing: Option<OpTiming>,
    },
    /// What the SDK calls the code of a step that was opened or ended just before.
    Sort { step: StepId, sort: String },
    /// What else the app says of a step that was opened or ended just before.
    Tell { step: StepId, told: StepTold },
    /// Call the app to find what comes next.
    Discover,
    /// Call the app for this planned step.
    RunStep { step: StepId },
    /// End a sleep at this time.
    Wake { step: StepId, at: Timestamp },
    /// Wait for an event.
    Wait {
        step: StepId,
        event: String,
        expression: Option<String>,
        until: Timestamp,
    },
    /// Start another function and wait for its result.
    Invoke {
        step: StepId,
        name: String,
        function: String,
        payload: Json,
        until: Timestamp,
    },
    /// Wait for a signal.
    WaitSignal {
        step: StepId,
        signal: String,
        replaces: bool,
        until: Timestamp,
    },
    /// Make an HTTP request.
    Fetch { step: StepId, request: FetchRequest },
    /// The app is being called for the first time.
    Started,
    /// Cancel the run unless it has ended by then.
    FinishBy { at: Timestamp },
    /// Remember an attempt that failed.
    FailedAttempt {
        step: Option<StepId>,
        attempt: u32,
        class: FailureClass,
        code: &'static str,
        error: StepError,
        next_at: Option<Timestamp>,
    },
    /// End the run.
    Finish(Ending),
}

/// The result of a step, before it is put into the form that SDKs read.
#[derive(Clone, Debug, PartialEq)]
pub enum Memo {
    /// `null`: a sleep, or a wait that timed out.
    Null,
    /// `{"data": …}`
    Data(Json),
    /// As it is: an event that was waited for, or a result of the oldest dialect.
    Verbatim(Json),
    /// `{"error": …}`
    Error(StepError),
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// The function returned this.
    Completed(Json),
    /// The function failed for good, or a limit ended it.
    Failed {
        /// What we saw.
        reason: String,
        /// What user code says, or we in its place.
        error: StepError,
    },
    /// Somebody or something ended it.
    Cancelled {
        /// Who or what, in a sentence.
        reason: String,
        /// Who asked for it, if somebody did.
        by: Option<Author>,
    },
}

/// What one reply makes of a run. Total: every reply to every call has an answer.
pub fn decide(run: &Progress, call: &CallInfo, reply: Reply, now: Timestamp) -> Decision {
    let decided = match reply {
        Reply::Ops {
            ops,
            version,
            retry,
        } => Draft::new(run, call, version, now).take_all(ops, &retry),
        Reply::Returned { output } => match &call.target {
            Some(step) if !run.has_ended(step) => Err(Stop::attempt(step_not_found(step))),
            _ => Err(Stop::end(Ending::Completed(output))),
        },
        Reply::Failed(failure) => Err(Stop::attempt(failure)),
    };
    decided.unwrap_or_else(|stop| stop.decision(call, now))
}

/// What the end of something that a step waited for makes of the run: the first result of a step wins, later ones change nothing.
pub fn resolve(
    run: &Progress,
    work: WorkId,
    step: &StepId,
    status: StepStatus,
    memo: Memo,
    limits: RunLimits,
    now: Timestamp,
) -> Decision {
    let policy = RetryPolicy {
        max_attempts: 1,
        interval: None,
        jitter: 0.0,
    };
    let call = CallInfo {
        work,
        target: None,
        attempt: 0,
        sent_len: run.stack.len(),
        stack_len: run.stack.len(),
        policy,
        limits,
    };
    let mut draft = Draft::new(run, &call, None, now);
    if let Some(state) = run.steps.get(step) {
        draft.end_step(
            step.clone(),
            state.name.clone(),
            state.kind,
            status,
            memo,
            None,
            false,
        );
    }
    draft.never_rest();
    match draft.check_limits() {
        Ok(()) => draft.close(Fate::Done, false),
        Err(stop) => stop.decision(&call, now),
    }
}

/// Ends the run as failed because of a limit or a rule of ours.
pub fn engine_failure(name: &str, message: impl Into<String>) -> Ending {
    let message = message.into();
    Ending::Failed {
        reason: message.clone(),
        error: StepError {
            no_retry: true,
            ..StepError::new(name, message)
        },
    }
}

/// Why a reply is not taken op by op to its end.
pub(super) enum Stop {
    /// The attempt failed; nothing of the reply counts.
    Attempt(Failure),
    /// The run ends; nothing else of the reply counts.
    End(Ending),
}

impl Stop {
    pub(super) fn attempt(failure: Failure) -> Box<Self> {
        Box::new(Self::Attempt(failure))
    }

    pub(super) fn end(ending: Ending) -> Box<Self> {
        Box::new(Self::End(ending))
    }

    fn decision(self, call: &CallInfo, now: Timestamp) -> Decision {
        match self {
            Self::Attempt(failure) => after_failure(call, failure, now),
            Self::End(ending) => Decision {
                effects: vec![Effect::Finish(ending)],
                fate: Fate::Done,
            },
        }
    }
}

fn after_failure(call: &CallInfo, failure: Failure, now: Timestamp) -> Decision {
    let hint = RetryHint {
        no_retry: failure.retry.no_retry || failure.error.no_retry,
        after: failure
            .retry
            .after
            .clone()
            .or_else(|| failure.error.retry_after.clone()),
    };
    let next_at = next_attempt(call.attempt, &hint, call.policy, now);
    let mut effects = vec![Effect::FailedAttempt {
        step: call.target.clone(),
        attempt: call.attempt,
        class: failure.class,
        code: failure.code,
        // What the headers forbid stands with the attempt as well.
        error: StepError {
            no_retry: hint.no_retry,
            ..failure.error.clone()
        },
        next_at,
    }];
    let fate = match next_at {
        Some(at) => Fate::Retry {
            at,
            attempt: call.attempt + 1,
        },
        None => {
            effects.push(Effect::Finish(Ending::Failed {
                reason: failure.reason,
                error: failure.error,
            }));
            Fate::Done
        }
    };
    Decision { effects, fate }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "decide_retry_tests.rs"]
mod retry_tests;

#[cfg(test)]
#[path = "decide_limit_tests.rs"]
mod limit_tests;

#[cfg(test)]
#[path = "decide_rule_tests.rs"]
mod rule_tests;

#[cfg(test)]
#[path = "decide_property_tests.rs"]
mod property_tests;

#[cfg(test)]
#[path = "decide_program_tests.rs"]
mod program_tests;
