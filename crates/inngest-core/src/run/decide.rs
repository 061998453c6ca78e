//! From one reply to its effects: the heart of the engine, as values in and values out.
//!
//! The rules are those of sdk-protocol sections 4.7 to 4.9. Two of them shape most of the code. SDKs report steps that are under way
//! again and again, so every op is harmless the second time. And at most one discovery of a run is outstanding: whoever would ask for
//! a second one relies on the first to notice, by the growth of the stack, that it was answered from an older state.

use std::collections::HashSet;

use crate::{
    duration,
    expr::Program,
    ids::{StepId, WorkId},
    job::JobKind,
    json::Json,
    limits,
    op::{FetchRequest, Op, OpKind, OpTiming, StepError},
    run::{
        StepKind, StepStatus,
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

enum Stop {
    /// The attempt failed; nothing of the reply counts.
    Attempt(Failure),
    /// The run ends; nothing else of the reply counts.
    End(Ending),
}

impl Stop {
    fn attempt(failure: Failure) -> Box<Self> {
        Box::new(Self::Attempt(failure))
    }

    fn end(ending: Ending) -> Box<Self> {
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
        error: failure.error.clone(),
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

fn app_failure(code: &'static str, message: String) -> Failure {
    Failure {
        class: FailureClass::App,
        code,
        reason: message.clone(),
        error: StepError::new("Error", message),
        retry: RetryHint::default(),
    }
}

fn step_not_found(step: &StepId) -> Failure {
    app_failure(
        "step_not_found",
        format!(
            "the app did not run step `{step}`, which it had planned; the function's code may have changed, or it may not run the \
             same steps in the same order each time"
        ),
    )
}

/// SHA-1 of `complete`, by which an op about the function itself is known.
const COMPLETE_ID: &str = "0737c22d3bfae812339732d14d8c7dbd6dc4e09c";

struct Draft<'a> {
    run: &'a Progress,
    call: &'a CallInfo,
    now: Timestamp,
    version: i32,
    effects: Vec<Effect>,
    ended: HashSet<StepId>,
    opened: HashSet<StepId>,
    new_bytes: usize,
    group: Option<u32>,
    wants_discovery: bool,
}

impl<'a> Draft<'a> {
    fn new(run: &'a Progress, call: &'a CallInfo, version: Option<i32>, now: Timestamp) -> Self {
        let mut effects = Vec::new();
        let mut used = run.request_version;
        if used < 0
            && let Some(version) = version.filter(|version| *version >= 0)
        {
            effects.push(Effect::UseVersion(version));
            used = version;
        }
        Self {
            run,
            call,
            now,
            version: used,
            effects,
            ended: HashSet::new(),
            opened: HashSet::new(),
            new_bytes: 0,
            group: None,
            wants_discovery: false,
        }
    }

    fn take_all(mut self, ops: Vec<Op>, hint: &RetryHint) -> Result<Decision, Box<Stop>> {
        if ops.len() > limits::OPS_PER_REPLY {
            let message = format!(
                "The function reported {} operations at once; the limit is {}.",
                ops.len(),
                limits::OPS_PER_REPLY
            );
            return Err(Stop::end(engine_failure(
                "InngestErrFunctionOverflowed",
                message,
            )));
        }
        let reported = ops.iter().filter(|op| !op.kind.is_lazy()).count();
        let is_parallel = reported > 1;
        let new: HashSet<&StepId> = ops
            .iter()
            .filter(|op| opens(&op.kind))
            .map(|op| &op.step)
            .collect();
        if new.iter().filter(|step| !self.is_known(step)).count() > 1 {
            self.group =
                Some(u32::try_from(self.run.revision % u64::from(u32::MAX)).unwrap_or(0) + 1);
        }
        if is_parallel && !self.run.force_plan {
            self.effects.push(Effect::ForcePlan(true));
        }
        let mut fate = Fate::Done;
        let mut ending = None;
        for op in ops {
            match self.take(op, hint)? {
                Taken::Nothing => {}
                Taken::Retry(again) => fate = again,
                Taken::End(end) => ending = Some(end),
            }
        }
        self.check_limits()?;
        if let Some(ending) = ending {
            if let Some(step) = self
                .call
                .target
                .as_ref()
                .filter(|step| !self.has_ended(step))
            {
                return Err(Stop::attempt(step_not_found(step)));
            }
            self.effects.push(Effect::Finish(ending));
            return Ok(Decision {
                effects: self.effects,
                fate: Fate::Done,
            });
        }
        self.check_moves(fate)?;
        Ok(self.close(fate, is_parallel))
    }

    /// A reply must move the run, or leave it to something else that is outstanding.
    fn check_moves(&mut self, fate: Fate) -> Result<(), Box<Stop>> {
        if fate != Fate::Done {
            return Ok(());
        }
        if let Some(step) = &self.call.target {
            if !self.has_ended(step) {
                return Err(Stop::attempt(step_not_found(step)));
            }
            self.never_rest();
            return Ok(());
        }
        // Results that came while the app was working from an older state.
        if self.run.stack.len() > self.call.stack_len {
            self.wants_discovery = true;
        }
        let moves =
            self.wants_discovery || !self.opened.is_empty() || self.run.is_waiting(self.call.work);
        if moves {
            return Ok(());
        }
        let message =
            "the app reported nothing to do, and nothing is under way that the run could wait for"
                .to_owned();
        Err(Stop::attempt(app_failure("no_progress", message)))
    }

    /// A result that came with a checkpoint whose answer the app did not get is reported again in the reply: the app has moved, and must be
    /// called again.
    fn notes_again(&mut self, step: &StepId) {
        let since_sent = self.run.stack.get(self.call.sent_len..).unwrap_or_default();
        self.wants_discovery |= since_sent.contains(step);
    }

    /// Asks for a discovery when nothing else would move the run.
    fn never_rest(&mut self) {
        self.wants_discovery |= self.opened.is_empty() && !self.run.is_waiting(self.call.work);
    }

    fn close(mut self, fate: Fate, is_parallel: bool) -> Decision {
        // A discovery that is tried again is the discovery asked for.
        let is_again = self.call.target.is_none() && fate != Fate::Done;
        if self.wants_discovery && !is_again {
            if self.version >= 2 && self.run.force_plan && !is_parallel {
                self.effects.push(Effect::ForcePlan(false));
            }
            if !self.run.has_discovery(Some(self.call.work)) {
                self.effects.push(Effect::Discover);
            }
        }
        Decision {
            effects: self.effects,
            fate,
        }
    }

    fn check_limits(&self) -> Result<(), Box<Stop>> {
        let added = self
            .ended
            .union(&self.opened)
            .filter(|step| !self.run.steps.contains_key(step))
            .count();
        if self.run.steps.len() + added > limits::STEPS_PER_RUN {
            let message = format!(
                "The function run exceeded the step limit of {} steps.",
                limits::STEPS_PER_RUN
            );
            return Err(Stop::end(engine_failure(
                "InngestErrFunctionOverflowed",
                message,
            )));
        }
        if self.new_bytes > 0 && self.run.state_bytes() + self.new_bytes > limits::STATE_BYTES {
            let message = format!(
                "The function run exceeded the state size limit of {} bytes.",
                limits::STATE_BYTES
            );
            return Err(Stop::end(engine_failure(
                "InngestErrStateOverflowed",
                message,
            )));
        }
        Ok(())
    }

    fn is_known(&self, step: &StepId) -> bool {
        self.run.steps.contains_key(step) || self.opened.contains(step) || self.ended.contains(step)
    }

    fn has_ended(&self, step: &StepId) -> bool {
        self.run.has_ended(step) || self.ended.contains(step)
    }

    fn take(&mut self, op: Op, hint: &RetryHint) -> Result<Taken, Box<Stop>> {
        let Op {
            step,
            name,
            kind,
            timing,
            is_race,
        } = op;
        match kind {
            OpKind::None | OpKind::DeferAdd { .. } | OpKind::DeferAbort { .. } => {}
            OpKind::Discover => self.wants_discovery = true,
            OpKind::StepRun { data } => {
                self.end_step(
                    step,
                    name,
                    StepKind::Run,
                    StepStatus::Completed,
                    Memo::Data(data),
                    timing,
                    is_race,
                );
            }
            OpKind::StepVerbatim { data } => {
                self.end_step(
                    step,
                    name,
                    StepKind::Run,
                    StepStatus::Completed,
                    Memo::Verbatim(data),
                    timing,
                    is_race,
                );
            }
            OpKind::StepError { error } if step.as_str() == COMPLETE_ID => {
                return Err(Stop::attempt(function_error(error, hint)));
            }
            OpKind::StepFailed { mut error } if step.as_str() == COMPLETE_ID => {
                error.no_retry = true;
                return Err(Stop::attempt(function_error(error, hint)));
            }
            OpKind::StepError { error } => {
                return Ok(self.step_error(step, name, error, hint, timing, is_race));
            }
            OpKind::StepFailed { error } => self.fail_step(step, name, error, timing, is_race),
            OpKind::RunComplete { data } => return Ok(Taken::End(Ending::Completed(data))),
            OpKind::StepPlanned => {
                if self.open(&step, name, is_race, StepKind::Run) {
                    self.effects.push(Effect::RunStep { step });
                }
            }
            OpKind::Sleep { text } => {
                let at = self.due("sleep", &text)?;
                if self.open(&step, name, is_race, StepKind::Sleep) {
                    self.effects.push(Effect::Wake { step, at });
                }
            }
            OpKind::WaitForEvent {
                event,
                expression,
                timeout,
            } => {
                let until = self.due("wait", &timeout)?;
                if let Some(error) = expression
                    .as_deref()
                    .and_then(|text| Program::parse(text).err())
                {
                    let message = format!(
                        "the condition of the wait for `{event}` is not a valid expression: {error}"
                    );
                    return Err(Stop::end(engine_failure("InvalidExpression", message)));
                }
                if self.open(&step, name, is_race, StepKind::WaitForEvent) {
                    self.effects.push(Effect::Wait {
                        step,
                        event,
                        expression,
                        until,
                    });
                }
            }
            OpKind::Invoke {
                function,
                payload,
                timeout,
            } => {
                let until = self.due_or_default("invoke", timeout.as_deref())?;
                if self.open(&step, name.clone(), is_race, StepKind::Invoke) {
                    self.effects.push(Effect::Invoke {
                        step,
                        name,
                        function,
                        payload,
                        until,
                    });
                }
            }
            OpKind::WaitForSignal {
                signal,
                timeout,
                replace,
            } => {
                let until = self.due_or_default("wait", timeout.as_deref())?;
                if self.open(&step, name, is_race, StepKind::WaitForSignal) {
                    self.effects.push(Effect::WaitSignal {
                        step,
                        signal,
                        replaces: replace,
                        until,
                    });
                }
            }
            OpKind::Fetch(request) => {
                let kind = if request.is_inference {
                    StepKind::Infer
                } else {
                    StepKind::Fetch
                };
                if self.open(&step, name, is_race, kind) {
                    self.effects.push(Effect::Fetch { step, request });
                }
            }
        }
        Ok(Taken::Nothing)
    }

    /// Opens a step unless it is known already; says whether it did. A racing step is in no group, so that its end is discovered at
    /// once, whatever ends it.
    fn open(&mut self, step: &StepId, name: String, is_race: bool, kind: StepKind) -> bool {
        if self.is_known(step) {
            return false;
        }
        self.opened.insert(step.clone());
        self.effects.push(Effect::OpenStep {
            step: step.clone(),
            name,
            kind,
            group: self.group.filter(|_| !is_race),
        });
        true
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of one effect, passed once"
    )]
    fn end_step(
        &mut self,
        step: StepId,
        name: String,
        kind: StepKind,
        status: StepStatus,
        memo: Memo,
        timing: Option<OpTiming>,
        is_race: bool,
    ) {
        if self.has_ended(&step) {
            self.notes_again(&step);
            return;
        }
        self.ended.insert(step.clone());
        self.new_bytes += match &memo {
            Memo::Null => 4,
            Memo::Data(data) | Memo::Verbatim(data) => data.len(),
            Memo::Error(error) => error.message.len() + error.stack.as_ref().map_or(0, String::len),
        };
        let group = self.run.steps.get(&step).and_then(|state| state.group);
        let (name, kind) = self
            .run
            .steps
            .get(&step)
            .map_or((name, kind), |state| (state.name.clone(), state.kind));
        self.effects.push(Effect::EndStep {
            step,
            name,
            kind,
            status,
            memo,
            timing,
        });
        let group_waits = group.is_some_and(|group| self.run.pending_in(group, &self.ended));
        if self.version < 2 || is_race || !group_waits {
            self.wants_discovery = true;
        }
    }

    fn step_error(
        &mut self,
        step: StepId,
        name: String,
        error: StepError,
        hint: &RetryHint,
        timing: Option<OpTiming>,
        is_race: bool,
    ) -> Taken {
        if self.has_ended(&step) {
            return Taken::Nothing;
        }
        let hint = RetryHint {
            no_retry: hint.no_retry || error.no_retry,
            after: error.retry_after.clone().or_else(|| hint.after.clone()),
        };
        match next_attempt(self.call.attempt, &hint, self.call.policy, self.now) {
            Some(at) => {
                self.failed_attempt(step, error, Some(at));
                Taken::Retry(Fate::Retry {
                    at,
                    attempt: self.call.attempt + 1,
                })
            }
            None => {
                self.fail_step(
                    step,
                    name,
                    StepError {
                        no_retry: hint.no_retry,
                        ..error
                    },
                    timing,
                    is_race,
                );
                Taken::Nothing
            }
        }
    }

    fn fail_step(
        &mut self,
        step: StepId,
        name: String,
        error: StepError,
        timing: Option<OpTiming>,
        is_race: bool,
    ) {
        if self.has_ended(&step) {
            return;
        }
        self.failed_attempt(step.clone(), error.clone(), None);
        self.end_step(
            step,
            name,
            StepKind::Run,
            StepStatus::Failed,
            Memo::Error(error),
            timing,
            is_race,
        );
    }

    fn failed_attempt(&mut self, step: StepId, error: StepError, next_at: Option<Timestamp>) {
        self.effects.push(Effect::FailedAttempt {
            step: Some(step),
            attempt: self.call.attempt,
            class: FailureClass::App,
            code: "step_error",
            error,
            next_at,
        });
    }

    fn due_or_default(&self, what: &str, text: Option<&str>) -> Result<Timestamp, Box<Stop>> {
        match text.filter(|text| !text.is_empty()) {
            Some(text) => self.due(what, text),
            None => Ok(self.now.plus(limits::WAIT_DEFAULT)),
        }
    }

    fn due(&self, what: &str, text: &str) -> Result<Timestamp, Box<Stop>> {
        let due = duration::parse_when(text, self.now.as_millis()).map_err(|error| {
            Stop::attempt(app_failure(
                "invalid_duration",
                format!("the time of a {what} cannot be read: {error}"),
            ))
        })?;
        let due = Timestamp::from_millis(due).max(self.now);
        if due.since(self.now) > limits::SLEEP_MAX {
            let message = format!(
                "The {what} is longer than the limit of {} days.",
                limits::SLEEP_MAX.as_secs() / 86_400
            );
            return Err(Stop::end(engine_failure(
                "InngestErrTimeoutTooLong",
                message,
            )));
        }
        Ok(due)
    }
}

enum Taken {
    Nothing,
    Retry(Fate),
    End(Ending),
}

fn opens(kind: &OpKind) -> bool {
    match kind {
        OpKind::StepPlanned
        | OpKind::Sleep { .. }
        | OpKind::WaitForEvent { .. }
        | OpKind::Invoke { .. }
        | OpKind::WaitForSignal { .. }
        | OpKind::Fetch(_) => true,
        OpKind::None
        | OpKind::StepRun { .. }
        | OpKind::StepVerbatim { .. }
        | OpKind::StepError { .. }
        | OpKind::StepFailed { .. }
        | OpKind::RunComplete { .. }
        | OpKind::Discover
        | OpKind::DeferAdd { .. }
        | OpKind::DeferAbort { .. } => false,
    }
}

fn function_error(error: StepError, hint: &RetryHint) -> Failure {
    Failure {
        class: FailureClass::App,
        code: "function_error",
        reason: error.message.clone(),
        error,
        retry: hint.clone(),
    }
}

/// The work that a step of this kind leaves outstanding until it ends.
pub fn work_of(kind: StepKind) -> JobKind {
    match kind {
        StepKind::Run => JobKind::RunStep,
        StepKind::Sleep => JobKind::Wake,
        StepKind::WaitForEvent | StepKind::Invoke | StepKind::WaitForSignal => JobKind::WaitTimeout,
        StepKind::Fetch | StepKind::Infer => JobKind::Fetch,
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "decide_rule_tests.rs"]
mod rule_tests;

#[cfg(test)]
#[path = "decide_property_tests.rs"]
mod property_tests;

#[cfg(test)]
#[path = "decide_program_tests.rs"]
mod program_tests;
