//! Taking one reply op by op, and what must hold at its end.

use std::collections::HashSet;

use crate::{
    duration,
    expr::Program,
    ids::StepId,
    limits,
    op::{Op, OpKind, OpTiming, StepError},
    run::{
        RunLimits, StepKind, StepStatus,
        decide::{CallInfo, Decision, Effect, Ending, Fate, Memo, Stop, engine_failure},
        progress::Progress,
        reply::{Failure, FailureClass, RetryHint},
        retry::next_attempt,
    },
    time::Timestamp,
};

fn app_failure(code: &'static str, message: String) -> Failure {
    Failure {
        class: FailureClass::App,
        code,
        reason: message.clone(),
        error: StepError::new("Error", message),
        retry: RetryHint::default(),
    }
}

pub(super) fn step_not_found(step: &StepId) -> Failure {
    app_failure(
        "step_not_found",
        format!(
            "the app did not run step `{step}`, which it had planned; the function's code may have changed, or it may not run the \
             same steps in the same order each time"
        ),
    )
}

/// SHA-1 of `complete`, by which an op about the function itself is known.
pub(super) const COMPLETE_ID: &str = "0737c22d3bfae812339732d14d8c7dbd6dc4e09c";

/// A decision in the making: one reply, taken op by op.
pub(super) struct Draft<'a> {
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
    pub(super) fn new(
        run: &'a Progress,
        call: &'a CallInfo,
        version: Option<i32>,
        now: Timestamp,
    ) -> Self {
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

    pub(super) fn take_all(
        mut self,
        ops: Vec<Op>,
        hint: &RetryHint,
    ) -> Result<Decision, Box<Stop>> {
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
    pub(super) fn never_rest(&mut self) {
        self.wants_discovery |= self.opened.is_empty() && !self.run.is_waiting(self.call.work);
    }

    pub(super) fn close(mut self, fate: Fate, is_parallel: bool) -> Decision {
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

    pub(super) fn check_limits(&self) -> Result<(), Box<Stop>> {
        let added = self
            .ended
            .union(&self.opened)
            .filter(|step| !self.run.steps.contains_key(step))
            .count();
        let RunLimits { steps, state_bytes } = self.call.limits;
        if self.run.steps.len() + added > steps {
            let message = format!("The function run exceeded the step limit of {steps} steps.");
            return Err(Stop::end(engine_failure(
                "InngestErrFunctionOverflowed",
                message,
            )));
        }
        if self.new_bytes > 0 && self.run.state_bytes() + self.new_bytes > state_bytes {
            let message =
                format!("The function run exceeded the state size limit of {state_bytes} bytes.");
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

    fn take(&mut self, mut op: Op, hint: &RetryHint) -> Result<Taken, Box<Stop>> {
        let (sort, told) = (op.sort.take(), std::mem::take(&mut op.told));
        let sort = sort.filter(|_| is_code(&op.kind));
        if self.is_known(&op.step) || (sort.is_none() && told.is_empty()) {
            return self.take_new(op, hint);
        }
        let step = op.step.clone();
        let taken = self.take_new(op, hint)?;
        if self.is_known(&step) {
            let named = sort.map(|sort| Effect::Sort {
                step: step.clone(),
                sort,
            });
            self.effects.extend(named);
            if !told.is_empty() {
                self.effects.push(Effect::Tell { step, told });
            }
        }
        Ok(taken)
    }

    fn take_new(&mut self, op: Op, hint: &RetryHint) -> Result<Taken, Box<Stop>> {
        let Op {
            step,
            name,
            kind,
            timing,
            sort: _,
            told: _,
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

    /// The arguments are the fields of one effect, passed once.
    pub(super) fn end_step(
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

/// Whether it is about a step that runs code of the app.
fn is_code(kind: &OpKind) -> bool {
    matches!(
        kind,
        OpKind::StepRun { .. }
            | OpKind::StepVerbatim { .. }
            | OpKind::StepError { .. }
            | OpKind::StepFailed { .. }
            | OpKind::StepPlanned
    )
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
