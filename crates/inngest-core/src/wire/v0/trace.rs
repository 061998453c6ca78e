//! The trace of a run as the older GraphQL API nests it: a root, its steps, and the attempts at them.
//!
//! That API has two views, `preview` and the older one, which name and nest a little differently. Both are derived from the same rows as
//! the flat spans of `run::trace`, and share their ids.

use std::{fmt, sync::Arc};

use crate::{
    ids::{EventId, RunId, StepId},
    json::Json,
    op::StepError,
    run::{
        FailedAttempt, RunStatus, StepDetails, StepKind, StepRecord, StepStatus, WaitStatus,
        attempt::{Attempt, AttemptStatus, attempts},
        trace::{SpanId, SpanStatus, TraceRows},
    },
    time::Timestamp,
    wire::{finish::invocation_id, memo::parse_error},
};

/// Which view is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// `preview: false`, or not said.
    Old,
    /// `preview: true`.
    Preview,
}

/// One span with what lies below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The run.
    pub run: RunId,
    /// Its id.
    pub id: SpanId,
    /// The span above; none for the root. Attempts name the root, not their step.
    pub parent: Option<SpanId>,
    /// What people call it.
    pub name: String,
    /// Where it is.
    pub status: SpanStatus,
    /// The number of the last attempt, from 0; of a step whose attempts all failed, in the older view, how many there were.
    pub attempts: Option<u32>,
    /// When it began, where that is known.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Where its result or its error is found; none before there is one.
    pub output: Option<OutputId>,
    /// The step that it stands for, or one attempt at it.
    pub step: Option<StepId>,
    /// What that step does.
    pub kind: Option<StepKind>,
    /// Whether it is the request that ended the run.
    pub is_final: bool,
    /// What the step asked for; none where that was not kept.
    pub info: Option<StepInfo>,
    /// Spans below, by start.
    pub children: Vec<Arc<Node>>,
}

/// What a step asked for, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum StepInfo {
    /// It ran code.
    Code {
        /// What the SDK calls code of this sort.
        sort: String,
    },
    /// It invoked a function.
    Invoke {
        /// The event that was sent for it.
        event: EventId,
        /// The slug of the function, as the app gave it.
        function: String,
        /// When it gives up.
        timeout: Timestamp,
        /// The event that told of the end.
        returned: Option<EventId>,
        /// The run that was started.
        run: Option<RunId>,
        /// Whether it gave up; none while it waits.
        timed_out: Option<bool>,
    },
    /// It slept.
    Sleep {
        /// When it ends.
        until: Timestamp,
    },
    /// It waited for an event.
    Event {
        /// The name of the event.
        name: String,
        /// The condition.
        expression: Option<String>,
        /// When it gives up.
        timeout: Timestamp,
        /// The event that came.
        found: Option<EventId>,
        /// Whether it gave up; none while it waits.
        timed_out: Option<bool>,
    },
    /// It waited for a signal.
    Signal {
        /// The name of the signal.
        name: String,
        /// When it gives up.
        timeout: Timestamp,
        /// Whether it gave up; none while it waits.
        timed_out: Option<bool>,
    },
}

/// Names a result or an error of a run. Opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputId {
    /// The run.
    pub run: RunId,
    of: OutputOf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum OutputOf {
    /// The run as a whole.
    Run,
    /// A step.
    Step(StepId),
    /// An attempt at a step that failed.
    Attempt(StepId, u32),
    /// An attempt of the function that failed: its number and when, as numbers begin anew after each success.
    Body(u32, Timestamp),
}

impl OutputId {
    /// Reads what its `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (run, rest) = text.split_at_checked(26)?;
        let run = run.parse().ok()?;
        let mut parts = rest.splitn(4, '.');
        let of = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
            ("", None, None, None) => OutputOf::Run,
            ("", Some("s"), Some(step), None) => OutputOf::Step(StepId::parse(step).ok()?),
            ("", Some("a"), Some(number), Some(step)) => {
                OutputOf::Attempt(StepId::parse(step).ok()?, number.parse().ok()?)
            }
            ("", Some("b"), Some(number), Some(at)) => OutputOf::Body(
                number.parse().ok()?,
                Timestamp::from_millis(at.parse().ok()?),
            ),
            _ => return None,
        };
        Some(Self { run, of })
    }
}

impl fmt::Display for OutputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = self.run;
        match &self.of {
            OutputOf::Run => write!(f, "{run}"),
            OutputOf::Step(step) => write!(f, "{run}.s.{step}"),
            OutputOf::Attempt(step, number) => write!(f, "{run}.a.{number}.{step}"),
            OutputOf::Body(number, at) => write!(f, "{run}.b.{number}.{}", at.as_millis()),
        }
    }
}

/// What a span brought: exactly one of the two.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A result.
    Data(Json),
    /// An error.
    Error(StepError),
}

/// Finds a result or an error among the rows of its run; none when there is none of that id.
pub fn output(rows: &TraceRows<'_>, id: &OutputId) -> Option<Output> {
    let step_of = |wanted: &StepId| rows.steps.iter().find(|step| step.step == *wanted);
    let failure = |step: Option<&StepId>, number: u32, at: Option<Timestamp>| {
        let mut failed = rows.failed.iter();
        failed.find(|failed| {
            failed.step.as_ref() == step
                && failed.attempt == number
                && at.is_none_or(|at| at == failed.at)
        })
    };
    match &id.of {
        OutputOf::Run => {
            let output = &rows.run.ended.as_ref()?.output;
            match rows.run.status {
                RunStatus::Completed => Some(Output::Data(output.clone())),
                RunStatus::Failed => Some(Output::Error(parse_error(output))),
                _ => None,
            }
        }
        OutputOf::Step(step) => output_of_step(step_of(step)?),
        OutputOf::Attempt(step, number) => failure(Some(step), *number, None).map(error_of),
        OutputOf::Body(number, at) => failure(None, *number, Some(*at)).map(error_of),
    }
}

fn error_of(failed: &FailedAttempt) -> Output {
    Output::Error(parse_error(&failed.error))
}

fn output_of_step(step: &StepRecord) -> Option<Output> {
    if matches!(step.status, StepStatus::Open | StepStatus::Cancelled) {
        return None;
    }
    if let Some(error) = step
        .error()
        .filter(|_| step.status != StepStatus::Completed)
    {
        return Some(Output::Error(parse_error(&error)));
    }
    let memo = step.memo.clone().unwrap_or_default();
    let data = memo.member("data").filter(|_| memo.members().count() == 1);
    Some(Output::Data(data.unwrap_or(memo)))
}

/// The trace of a run.
pub fn nested(rows: &TraceRows<'_>, view: View) -> Node {
    let run = rows.run;
    let trace = Nesting {
        rows,
        view,
        root: SpanId::root(run.id),
    };
    let status = match run.status {
        // Runs are shown as running from the moment on when they are scheduled.
        RunStatus::Queued | RunStatus::Running => SpanStatus::Running,
        RunStatus::Completed => SpanStatus::Completed,
        RunStatus::Failed => SpanStatus::Failed,
        RunStatus::Cancelled => SpanStatus::Cancelled,
        RunStatus::Skipped => SpanStatus::Skipped,
    };
    let name = match view {
        View::Old => rows.name,
        View::Preview => "Run",
    };
    let has_output = matches!(run.status, RunStatus::Completed | RunStatus::Failed);
    Node {
        status,
        parent: None,
        attempts: Some(0),
        started_at: run.started_at,
        ended_at: run.ended.as_ref().map(|ended| ended.at),
        output: has_output.then(|| trace.output(OutputOf::Run)),
        children: trace.children(),
        ..trace.node(name, trace.root)
    }
}

struct Nesting<'a> {
    rows: &'a TraceRows<'a>,
    view: View,
    root: SpanId,
}

impl Nesting<'_> {
    fn node(&self, name: &str, id: SpanId) -> Node {
        Node {
            run: self.rows.run.id,
            id,
            parent: Some(self.root),
            name: name.to_owned(),
            status: SpanStatus::Queued,
            attempts: None,
            started_at: None,
            ended_at: None,
            output: None,
            step: None,
            kind: None,
            is_final: false,
            info: None,
            children: Vec::new(),
        }
    }

    fn output(&self, of: OutputOf) -> OutputId {
        OutputId {
            run: self.rows.run.id,
            of,
        }
    }

    fn children(&self) -> Vec<Arc<Node>> {
        let mut steps: Vec<&StepRecord> = self.rows.steps.iter().collect();
        steps.sort_by_key(|step| (begun(step), step.position.unwrap_or(u32::MAX)));
        // What failed before a step was found belongs to the first step that the retry found; what is left belongs to the function.
        let mut bodies: Vec<&FailedAttempt> = self
            .rows
            .failed
            .iter()
            .filter(|failed| failed.step.is_none())
            .collect();
        bodies.sort_by_key(|failed| failed.at);
        let mut children = Vec::new();
        for step in &steps {
            let before = bodies
                .iter()
                .take_while(|failed| failed.next_at.is_some_and(|next| next <= step.queued_at))
                .count();
            let earlier: Vec<&FailedAttempt> = bodies.drain(..before).collect();
            children.push(Arc::new(self.step(step, &earlier)));
        }
        let open = steps.iter().any(|step| !step.status.is_ended());
        children.extend(self.body(&bodies, open).map(Arc::new));
        children
    }

    fn step(&self, step: &StepRecord, earlier: &[&FailedAttempt]) -> Node {
        let run = self.rows.run.id;
        let tries = attempts(step, self.rows.failed);
        let mut below: Vec<Node> = earlier
            .iter()
            .map(|failed| self.failed_body(failed))
            .collect();
        below.extend(tries.iter().map(|attempt| self.attempt(step, attempt)));
        let (attempts, children) = self.group(below);
        let status = self.status_of(step, &children, &tries);
        let started_at = match tries.first() {
            // A step that only waits begins to when it is found.
            None => Some(step.queued_at),
            Some(first) => first.started_at,
        };
        let has_output = step.kind != StepKind::Sleep && output_of_step(step).is_some();
        Node {
            status,
            attempts: Some(attempts),
            started_at,
            ended_at: step.ended_at,
            output: has_output.then(|| self.output(OutputOf::Step(step.step.clone()))),
            step: Some(step.step.clone()),
            kind: Some(step.kind),
            info: self.info(step),
            children,
            ..self.node(&step.name, SpanId::of_step(run, &step.step))
        }
    }

    fn status_of(
        &self,
        step: &StepRecord,
        children: &[Arc<Node>],
        tries: &[Attempt],
    ) -> SpanStatus {
        match step.status {
            StepStatus::Completed => SpanStatus::Completed,
            StepStatus::Failed => SpanStatus::Failed,
            StepStatus::TimedOut if step.error().is_some() => SpanStatus::Failed,
            StepStatus::TimedOut => SpanStatus::Completed,
            StepStatus::Cancelled => SpanStatus::Cancelled,
            StepStatus::Open if step.kind.only_waits() => SpanStatus::Waiting,
            StepStatus::Open => match (self.view, children.last()) {
                (View::Preview, Some(last)) => last.status,
                (View::Old, Some(_)) => SpanStatus::Running,
                (_, None) => tries
                    .last()
                    .map_or(SpanStatus::Queued, |attempt| span_status(attempt.status)),
            },
        }
    }

    /// What is shown of attempts, and the number that stands for them: none below where the only one succeeded or is under way.
    fn group(&self, mut below: Vec<Node>) -> (u32, Vec<Arc<Node>>) {
        for (number, node) in below.iter_mut().enumerate() {
            node.name = format!("Attempt {number}");
            node.attempts = u32::try_from(number).ok();
        }
        let count = u32::try_from(below.len()).unwrap_or(u32::MAX);
        let all_failed = count > 0 && below.iter().all(|node| node.status == SpanStatus::Failed);
        let shows = match self.view {
            View::Old => count > 1,
            View::Preview => count > 1 || all_failed,
        };
        let number = if self.view == View::Old && all_failed {
            count
        } else {
            count.saturating_sub(1)
        };
        let below = if shows { below } else { Vec::new() };
        (number, below.into_iter().map(Arc::new).collect())
    }

    fn attempt(&self, step: &StepRecord, attempt: &Attempt) -> Node {
        let run = self.rows.run.id;
        let output = match attempt.status {
            AttemptStatus::Failed => Some(OutputOf::Attempt(step.step.clone(), attempt.number)),
            AttemptStatus::Completed => Some(OutputOf::Step(step.step.clone())),
            AttemptStatus::Queued | AttemptStatus::Running | AttemptStatus::Cancelled => None,
        };
        Node {
            status: span_status(attempt.status),
            started_at: attempt.started_at,
            ended_at: attempt.ended_at,
            output: output.map(|of| self.output(of)),
            step: Some(step.step.clone()),
            kind: Some(step.kind),
            ..self.node("", SpanId::of_attempt(run, &step.step, attempt.number))
        }
    }

    fn failed_body(&self, failed: &FailedAttempt) -> Node {
        Node {
            status: SpanStatus::Failed,
            ended_at: Some(failed.at),
            output: Some(self.output(OutputOf::Body(failed.attempt, failed.at))),
            ..self.node(
                "",
                SpanId::of_request(self.rows.run.id, failed.attempt, failed.at),
            )
        }
    }

    /// The function itself: the request that ended it, or the one that is tried again.
    fn body(&self, failed: &[&FailedAttempt], open: bool) -> Option<Node> {
        let run = self.rows.run;
        let mut below: Vec<Node> = failed
            .iter()
            .map(|failed| self.failed_body(failed))
            .collect();
        let had_failures = !below.is_empty();
        let last = |status, output| Node {
            status,
            output,
            ended_at: run.ended.as_ref().map(|ended| ended.at),
            ..self.node("", SpanId::of_last_request(run.id))
        };
        let ended = self.output(OutputOf::Run);
        let (status, output) = match run.status {
            RunStatus::Completed => {
                below.push(last(SpanStatus::Completed, Some(ended.clone())));
                (SpanStatus::Completed, Some(ended))
            }
            // A limit can end a run without a failed attempt.
            RunStatus::Failed if !had_failures => {
                below.push(last(SpanStatus::Failed, Some(ended.clone())));
                (SpanStatus::Failed, Some(ended))
            }
            RunStatus::Failed => (SpanStatus::Failed, Some(ended)),
            RunStatus::Cancelled if had_failures => (SpanStatus::Cancelled, None),
            RunStatus::Cancelled | RunStatus::Skipped | RunStatus::Queued => return None,
            RunStatus::Running if had_failures => {
                below.push(last(SpanStatus::Queued, None));
                (SpanStatus::Running, None)
            }
            RunStatus::Running if open => return None,
            RunStatus::Running if self.rows.steps.is_empty() => (SpanStatus::Running, None),
            RunStatus::Running => {
                let queued = self.node("Queued step", SpanId::of_last_request(run.id));
                return (self.view == View::Old).then_some(queued);
            }
        };
        let is_ended = matches!(run.status, RunStatus::Completed | RunStatus::Failed);
        let (attempts, children) = self.group(below);
        let name = match (self.view, run.status) {
            (View::Preview, _) if is_ended => "Finalization",
            (_, RunStatus::Completed) => "function success",
            (_, RunStatus::Failed) if failed.len() <= 1 => "function error",
            _ => "execute",
        };
        // A function without steps was called once for every attempt, so the first call is the start.
        let started_at = run.started_at.filter(|_| self.rows.steps.is_empty());
        Some(Node {
            status,
            attempts: Some(attempts),
            started_at,
            ended_at: run.ended.as_ref().map(|ended| ended.at),
            output,
            is_final: is_ended,
            children,
            ..self.node(name, SpanId::of_function(run.id))
        })
    }

    fn info(&self, step: &StepRecord) -> Option<StepInfo> {
        // Of a wait that its run has ended, this API says that it did not time out.
        let ended = step.wait().map(|wait| wait.status);
        let ended = ended.filter(|status| *status != WaitStatus::Open);
        let timed_out = ended.map(|status| status == WaitStatus::TimedOut);
        Some(match step.details.clone()? {
            StepDetails::Code { sort } => StepInfo::Code { sort },
            StepDetails::Sleep { until } => StepInfo::Sleep { until },
            StepDetails::Event {
                name,
                expression,
                until,
            } => StepInfo::Event {
                name,
                expression,
                timeout: until,
                found: step.ended_by,
                timed_out,
            },
            StepDetails::Signal { name, until } => StepInfo::Signal {
                name,
                timeout: until,
                timed_out,
            },
            StepDetails::Invoke { function, until } => StepInfo::Invoke {
                event: invocation_id(step.run, &step.step),
                function,
                timeout: until,
                returned: step.ended_by,
                run: self.rows.invoked.get(&step.step).copied(),
                timed_out,
            },
            StepDetails::Fetch { .. } => return None,
        })
    }
}

fn span_status(status: AttemptStatus) -> SpanStatus {
    match status {
        AttemptStatus::Queued => SpanStatus::Queued,
        AttemptStatus::Running => SpanStatus::Running,
        AttemptStatus::Completed => SpanStatus::Completed,
        AttemptStatus::Failed => SpanStatus::Failed,
        AttemptStatus::Cancelled => SpanStatus::Cancelled,
    }
}

fn begun(step: &StepRecord) -> Timestamp {
    step.started_at
        .map_or(step.queued_at, |started| started.min(step.queued_at))
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
