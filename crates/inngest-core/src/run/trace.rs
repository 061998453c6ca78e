//! The spans of a run, derived from its rows: nothing is stored for them.
//!
//! What the rows do not say is left open instead of guessed. The start of a failed attempt is known only when it was the last one of
//! its step; calls that did nothing but plan steps have no span unless they failed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use uuid::Uuid;

use crate::{
    ids::{RunId, StepId},
    json::Json,
    run::{
        Run, RunStatus, StepRecord, StepStatus,
        attempt::{Attempt, AttemptStatus, FailedAttempt, attempts},
    },
    time::Timestamp,
    wait,
};

/// The trace of a run: its id, as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(RunId);

impl TraceId {
    /// The trace of this run.
    pub fn of(run: RunId) -> Self {
        Self(run)
    }

    /// The run of this trace.
    pub fn run(self) -> RunId {
        self.0
    }

    /// Reads 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let raw = hex_number::<u128>(text, 32, |text| u128::from_str_radix(text, 16).ok())?;
        Some(Self(RunId::from_raw(ulid::Ulid(raw))))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0.raw().0)
    }
}

/// A span of a trace; follows from the run and from what the span stands for. 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(u64);

impl SpanId {
    fn derive(run: RunId, label: &str) -> Self {
        let id = Uuid::new_v5(
            &Uuid::from_u128(run.raw().0),
            format!("span{label}").as_bytes(),
        );
        // A span id of zero means none elsewhere.
        Self(id.as_u64_pair().0.max(1))
    }

    /// The span of the whole run.
    pub fn root(run: RunId) -> Self {
        Self::derive(run, "run")
    }

    /// The span of a call that failed and was not for a step. Attempts of the function are counted anew after each success, so their
    /// number alone is not unique.
    pub fn of_request(run: RunId, attempt: u32, failed_at: Timestamp) -> Self {
        Self::derive(run, &format!("request:{attempt}:{}", failed_at.as_millis()))
    }

    /// The span of the function itself, with all calls that were not for a step.
    pub fn of_function(run: RunId) -> Self {
        Self::derive(run, "function")
    }

    /// The span of the call that ended the run, or will.
    pub fn of_last_request(run: RunId) -> Self {
        Self::derive(run, "last request")
    }

    /// The span of a step.
    pub fn of_step(run: RunId, step: &StepId) -> Self {
        Self::derive(run, &format!("step:{step}"))
    }

    /// The span of one attempt at a step.
    pub fn of_attempt(run: RunId, step: &StepId, number: u32) -> Self {
        Self::derive(run, &format!("attempt:{step}:{number}"))
    }

    /// Reads 16 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        hex_number::<u64>(text, 16, |text| u64::from_str_radix(text, 16).ok()).map(Self)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

fn hex_number<T>(text: &str, digits: usize, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let is_hex = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hex { read(text) } else { None }
}

/// One span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its id.
    pub id: SpanId,
    /// The span above; none for the root.
    pub parent: Option<SpanId>,
    /// What people call it.
    pub name: String,
    /// What it stands for.
    pub kind: SpanKind,
    /// Where it is.
    pub status: SpanStatus,
    /// When the work became due.
    pub queued_at: Option<Timestamp>,
    /// When it began; none before that, and where it is not known.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The step it belongs to.
    pub step: Option<StepId>,
    /// The attempt it belongs to.
    pub attempt: Option<u32>,
    /// The error object of how it failed.
    pub failure: Option<Json>,
    /// Spans of other runs that it has to do with.
    pub links: Vec<SpanLink>,
}

/// A span of another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanLink {
    /// The run.
    pub run: RunId,
    /// The span.
    pub span: SpanId,
}

/// What a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// A whole run.
    Run,
    /// A step with all its attempts.
    Step,
    /// One attempt at a step.
    Attempt,
    /// A call to the app that was to plan steps, or to end the run, and failed.
    Request,
    /// The time from when something was due until it began.
    Queue,
}

/// Where a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanStatus {
    /// Not begun.
    Queued,
    /// Under way.
    Running,
    /// Asleep or waiting.
    Waiting,
    /// Ended without an error.
    Completed,
    /// Ended with an error.
    Failed,
    /// Ended by a cancellation.
    Cancelled,
    /// The run was skipped.
    Skipped,
}

/// The rows of one run, and what they are called.
#[derive(Clone, Copy, Debug)]
pub struct TraceRows<'a> {
    /// The run.
    pub run: &'a Run,
    /// What people call its function.
    pub name: &'a str,
    /// Its steps.
    pub steps: &'a [StepRecord],
    /// Its attempts that failed.
    pub failed: &'a [FailedAttempt],
    /// The runs that its invoke steps have started.
    pub invoked: &'a HashMap<StepId, RunId>,
}

/// All spans of a run: its root, then what lies below it in the order in which it began (or became due, or ended, whichever is the first
/// that is known), each step followed by its own spans.
pub fn derive(rows: TraceRows<'_>) -> Vec<Span> {
    let run = rows.run.id;
    let mut groups: Vec<Vec<Span>> = queue_of_run(rows.run)
        .into_iter()
        .map(|span| vec![span])
        .collect();
    groups.extend(
        rows.failed
            .iter()
            .filter_map(|failed| Some(vec![request(run, failed)?])),
    );
    for step in rows.steps {
        let tries = attempts(step, rows.failed);
        let mut group = vec![step_span(&rows, step, &tries)];
        for attempt in &tries {
            group.extend(queue_of_attempt(run, &step.step, attempt));
            group.push(attempt_span(run, &step.step, attempt));
        }
        groups.push(group);
    }
    groups.extend(unrecorded(&rows));
    groups.sort_by_key(|group| group.iter().map(Span::begins_at).min());
    std::iter::once(run_span(&rows))
        .chain(groups.into_iter().flatten())
        .collect()
}

/// Steps that have failed before anything else was stored of them: their name is not known until they end.
fn unrecorded(rows: &TraceRows<'_>) -> Vec<Vec<Span>> {
    let known: HashSet<&StepId> = rows.steps.iter().map(|step| &step.step).collect();
    let mut of_step: BTreeMap<&StepId, BTreeMap<u32, &FailedAttempt>> = BTreeMap::new();
    for failed in rows.failed {
        if let Some(step) = failed.step.as_ref().filter(|step| !known.contains(step)) {
            of_step
                .entry(step)
                .or_default()
                .entry(failed.attempt)
                .or_insert(failed);
        }
    }
    let run = rows.run;
    let (status, ended_at) = match &run.ended {
        None => (SpanStatus::Queued, None),
        Some(ended) if run.status == RunStatus::Cancelled => {
            (SpanStatus::Cancelled, Some(ended.at))
        }
        Some(ended) => (SpanStatus::Failed, Some(ended.at)),
    };
    let group = |(step, failed): (&StepId, BTreeMap<u32, &FailedAttempt>)| {
        let parent = Span {
            id: SpanId::of_step(run.id, step),
            parent: Some(SpanId::root(run.id)),
            kind: SpanKind::Step,
            status,
            ended_at,
            step: Some(step.clone()),
            ..empty(step.as_str())
        };
        let tries = failed
            .into_values()
            .map(|failed| attempt_span(run.id, step, &Attempt::failed(failed, None)));
        std::iter::once(parent).chain(tries).collect()
    };
    of_step.into_iter().map(group).collect()
}

impl Span {
    fn begins_at(&self) -> Timestamp {
        let known = [self.queued_at, self.started_at, self.ended_at];
        known.into_iter().flatten().min().unwrap_or(Timestamp::MAX)
    }
}

fn run_span(rows: &TraceRows<'_>) -> Span {
    let run = rows.run;
    let status = match run.status {
        RunStatus::Queued => SpanStatus::Queued,
        RunStatus::Running => SpanStatus::Running,
        RunStatus::Completed => SpanStatus::Completed,
        RunStatus::Failed => SpanStatus::Failed,
        RunStatus::Cancelled => SpanStatus::Cancelled,
        RunStatus::Skipped => SpanStatus::Skipped,
    };
    let failure = run
        .ended
        .as_ref()
        .filter(|_| run.status == RunStatus::Failed);
    let caller = run.correlation.as_deref().and_then(wait::parse_correlation);
    let caller = caller.map(|(parent, step)| SpanLink {
        run: parent,
        span: SpanId::of_step(parent, &step),
    });
    let original = run.original.map(|original| SpanLink {
        run: original,
        span: SpanId::root(original),
    });
    Span {
        id: SpanId::root(run.id),
        parent: None,
        name: rows.name.to_owned(),
        kind: SpanKind::Run,
        status,
        queued_at: Some(run.queued_at),
        started_at: run.started_at,
        ended_at: run.ended.as_ref().map(|ended| ended.at),
        step: None,
        attempt: None,
        failure: failure.map(|ended| ended.output.clone()),
        links: caller.into_iter().chain(original).collect(),
    }
}

fn queue_of_run(run: &Run) -> Option<Span> {
    let ended_at = run.started_at.or(run.ended.as_ref().map(|ended| ended.at));
    let status = match run.status {
        RunStatus::Skipped => return None,
        _ if run.started_at.is_some() => SpanStatus::Completed,
        RunStatus::Cancelled => SpanStatus::Cancelled,
        _ if ended_at.is_some() => SpanStatus::Completed,
        _ => SpanStatus::Waiting,
    };
    Some(Span {
        id: SpanId::derive(run.id, "queue"),
        parent: Some(SpanId::root(run.id)),
        kind: SpanKind::Queue,
        status,
        queued_at: Some(run.queued_at),
        started_at: Some(run.queued_at),
        ended_at,
        ..empty("queue")
    })
}

fn request(run: RunId, failed: &FailedAttempt) -> Option<Span> {
    if failed.step.is_some() {
        return None;
    }
    Some(Span {
        id: SpanId::of_request(run, failed.attempt, failed.at),
        parent: Some(SpanId::root(run)),
        kind: SpanKind::Request,
        status: SpanStatus::Failed,
        ended_at: Some(failed.at),
        attempt: Some(failed.attempt),
        failure: Some(failed.error.clone()),
        ..empty("request")
    })
}

fn step_span(rows: &TraceRows<'_>, step: &StepRecord, tries: &[Attempt]) -> Span {
    let status = match step.status {
        StepStatus::Open if step.kind.only_waits() => SpanStatus::Waiting,
        StepStatus::Open if step.started_at.is_some() => SpanStatus::Running,
        StepStatus::Open => SpanStatus::Queued,
        StepStatus::Completed => SpanStatus::Completed,
        StepStatus::Failed => SpanStatus::Failed,
        StepStatus::TimedOut if step.error().is_some() => SpanStatus::Failed,
        StepStatus::TimedOut => SpanStatus::Completed,
        StepStatus::Cancelled => SpanStatus::Cancelled,
    };
    let started_at = match tries {
        // A step that only waits begins to when it is found.
        [] => Some(step.queued_at),
        [first, ..] => first.started_at,
    };
    let failure = step.error().filter(|_| status == SpanStatus::Failed);
    let invoked = rows.invoked.get(&step.step).map(|child| SpanLink {
        run: *child,
        span: SpanId::root(*child),
    });
    Span {
        id: SpanId::of_step(step.run, &step.step),
        parent: Some(SpanId::root(step.run)),
        kind: SpanKind::Step,
        status,
        queued_at: tries
            .first()
            .map_or(Some(step.queued_at), |first| first.queued_at),
        started_at,
        ended_at: step.ended_at,
        step: Some(step.step.clone()),
        failure,
        links: invoked.into_iter().collect(),
        ..empty(&step.name)
    }
}

fn attempt_span(run: RunId, step: &StepId, attempt: &Attempt) -> Span {
    let status = match attempt.status {
        AttemptStatus::Queued => SpanStatus::Queued,
        AttemptStatus::Running => SpanStatus::Running,
        AttemptStatus::Completed => SpanStatus::Completed,
        AttemptStatus::Failed => SpanStatus::Failed,
        AttemptStatus::Cancelled => SpanStatus::Cancelled,
    };
    Span {
        id: SpanId::of_attempt(run, step, attempt.number),
        parent: Some(SpanId::of_step(run, step)),
        kind: SpanKind::Attempt,
        status,
        queued_at: attempt.queued_at,
        started_at: attempt.started_at,
        ended_at: attempt.ended_at,
        step: Some(step.clone()),
        attempt: Some(attempt.number),
        failure: attempt.failure.as_ref().map(|failed| failed.error.clone()),
        ..empty(&format!("attempt {}", attempt.number.saturating_add(1)))
    }
}

/// The time that an attempt waited although it was due, where both ends are known.
fn queue_of_attempt(run: RunId, step: &StepId, attempt: &Attempt) -> Option<Span> {
    let (due, started) = (attempt.queued_at?, attempt.started_at?);
    (due < started).then(|| Span {
        id: SpanId::derive(run, &format!("queue:{step}:{}", attempt.number)),
        parent: Some(SpanId::of_step(run, step)),
        kind: SpanKind::Queue,
        status: SpanStatus::Completed,
        queued_at: Some(due),
        started_at: Some(due),
        ended_at: Some(started),
        step: Some(step.clone()),
        attempt: Some(attempt.number),
        ..empty("queue")
    })
}

fn empty(name: &str) -> Span {
    Span {
        id: SpanId(0),
        parent: None,
        name: name.to_owned(),
        kind: SpanKind::Run,
        status: SpanStatus::Queued,
        queued_at: None,
        started_at: None,
        ended_at: None,
        step: None,
        attempt: None,
        failure: None,
        links: Vec::new(),
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
