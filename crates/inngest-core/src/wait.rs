//! What a run can wait for, and when an event satisfies it.

use serde_json::Value;

use crate::{
    event,
    expr::{self, Program, Vars},
    ids::{EnvId, EventId, FunctionId, OrgId, RunId, StepId, WaitId},
    json::Json,
    time::Timestamp,
};

/// What happens when a wait is satisfied. The numbers are stored; never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum WaitKind {
    /// A step gets the event.
    Event = 1,
    /// A step gets the result of the run that it invoked.
    Invoke = 2,
    /// A step gets the signal.
    Signal = 3,
    /// The run is cancelled.
    Cancel = 4,
}

impl WaitKind {
    /// The stored number.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The kind with this number.
    pub fn from_code(code: i16) -> Option<Self> {
        [Self::Event, Self::Invoke, Self::Signal, Self::Cancel]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// A run waiting for an event or a signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// Follows from what waits.
    pub id: WaitId,
    /// The tenant.
    pub org: OrgId,
    /// The environment.
    pub env: EnvId,
    /// What happens when it is satisfied.
    pub kind: WaitKind,
    /// The run.
    pub run: RunId,
    /// Its function.
    pub function: FunctionId,
    /// The step; none for a cancel rule.
    pub step: Option<StepId>,
    /// See `Work::rank`.
    pub rank: i64,
    /// The exact name of the event; none for a signal.
    pub event_name: Option<String>,
    /// The path of the one equality by which an event finds this wait; empty when there is none and every event of the name must be tried.
    pub key_path: String,
    /// The hash of the value at that path; 0 without one.
    pub key_hash: i64,
    /// The whole condition.
    pub expression: Option<String>,
    /// As much of the run's first event as the expression reads.
    pub bindings: Json,
    /// The run's first event, which never satisfies a wait of its own run.
    pub trigger: EventId,
    /// The name of the signal.
    pub signal: Option<String>,
    /// A second waiter for the same signal takes it over, instead of being refused.
    pub replaces: bool,
    /// Events accepted since then count: the time at which the call was sent that reported the wait.
    pub since: Timestamp,
    /// Events accepted after this do not count.
    pub expires_at: Timestamp,
}

/// The event name and the key of a wait for events.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// See [`Wait::key_path`].
    pub key_path: String,
    /// See [`Wait::key_hash`].
    pub key_hash: i64,
    /// See [`Wait::bindings`].
    pub bindings: Json,
}

impl Condition {
    /// The key and bindings of an expression for a run that `trigger` started.
    pub fn of(program: Option<&Program>, trigger: &Value) -> Self {
        let key = program.and_then(|program| program.selective_key(trigger));
        let bindings = match program.map(Program::event_paths) {
            None => Json::empty_object(),
            Some(Some(paths)) => Json::from_value(&expr::prune(trigger, &paths)),
            Some(None) => Json::from_value(trigger),
        };
        match key {
            Some(key) => Self {
                key_hash: key.value.hash(),
                key_path: key.path,
                bindings,
            },
            None => Self {
                key_path: String::new(),
                key_hash: 0,
                bindings,
            },
        }
    }

    /// The key by which the end of an invoked run finds its caller.
    pub fn of_correlation(correlation: &str) -> Self {
        let path = "data.correlation_id";
        let event = serde_json::json!({"data": {"correlation_id": correlation}});
        Self {
            key_path: path.into(),
            key_hash: expr::key_hash_at(&event, path).unwrap_or(0),
            bindings: Json::empty_object(),
        }
    }
}

/// The correlation id of an invoke: it names the step that waits.
pub fn correlation(run: RunId, step: &StepId) -> String {
    format!("{run}.{step}")
}

/// The run and the step that a correlation id names.
pub fn parse_correlation(text: &str) -> Option<(RunId, StepId)> {
    let (run, step) = text.split_once('.')?;
    Some((run.parse().ok()?, StepId::parse(step).ok()?))
}

/// Whether `event` satisfies `wait`. `program` is the wait's expression, compiled.
///
/// An expression that fails counts as no match (execution-semantics 5.2).
pub fn is_satisfied(
    wait: &Wait,
    program: Option<&Program>,
    event: &event::Event,
    body: &Value,
    now: Timestamp,
) -> bool {
    let in_time = wait.since <= event.received_at && event.received_at <= wait.expires_at;
    let named = wait.event_name.as_deref() == Some(event.name.as_str());
    if !in_time || !named || event.id == wait.trigger {
        return false;
    }
    match wait.kind {
        WaitKind::Signal => false,
        WaitKind::Invoke => {
            let wanted = wait.step.as_ref().map(|step| correlation(wait.run, step));
            let found = body
                .get("data")
                .and_then(|data| data.get("correlation_id"))
                .and_then(Value::as_str);
            wanted.as_deref() == found
        }
        WaitKind::Event | WaitKind::Cancel => match program {
            None => wait.expression.is_none(),
            Some(program) => {
                let bindings = wait.bindings.to_value();
                let vars = Vars {
                    event: Some(&bindings),
                    incoming: Some(body),
                    now: Some(now.as_millis()),
                    ..Vars::default()
                };
                program.matches_wait(&vars).unwrap_or(false)
            }
        },
    }
}
