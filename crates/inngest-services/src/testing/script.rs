//! Functions as an SDK would run them: again from the top at each call, with results for the steps that have ended.
//!
//! It behaves like the published SDKs of dialect 2: one step that is found alone is run at once and reported, several are planned, and
//! a call that asks for planning or for one step gets just that. What it does follows from the call alone.

use serde_json::{Value, json};

use crate::testing::app::{Answer, Call};

/// Why a script does not go on.
#[derive(Clone, Debug, PartialEq)]
pub enum Flow {
    /// It waits for a step.
    Suspended,
    /// It threw this error, which may be tried again unless `true`.
    Threw(Value, bool),
}

impl Flow {
    /// An error that may be tried again.
    pub fn error(message: &str) -> Self {
        Self::Threw(error(message), false)
    }

    /// An error that is final.
    pub fn fatal(message: &str) -> Self {
        Self::Threw(error(message), true)
    }
}

fn error(message: &str) -> Value {
    json!({"name": "Error", "message": message})
}

type Body = Box<dyn FnOnce() -> Result<Value, Flow>>;

struct Found {
    id: String,
    op: Value,
    body: Option<Body>,
}

/// One run of a function's code.
pub struct Script<'a> {
    call: &'a Call,
    found: Vec<Found>,
}

impl<'a> Script<'a> {
    pub(crate) fn new(call: &'a Call) -> Self {
        Self {
            call,
            found: Vec::new(),
        }
    }

    /// The call that this is for.
    pub fn call(&self) -> &Call {
        self.call
    }

    /// The trigger event.
    pub fn event(&self) -> &Value {
        &self.call.body["event"]
    }

    /// Code that is run once. `body` is given the number of attempts before this one.
    ///
    /// # Errors
    /// `Suspended` until it has a result; `Threw` when its last attempt failed.
    pub fn step(
        &mut self,
        id: &str,
        body: impl FnOnce(u64) -> Result<Value, Flow> + 'static,
    ) -> Result<Value, Flow> {
        let attempt = self.call.attempt();
        let op = json!({"id": id, "op": "StepPlanned", "name": id, "displayName": id});
        self.find(id, op, Some(Box::new(move || body(attempt))))
            .and_then(unwrap)
    }

    /// Sleeps.
    ///
    /// # Errors
    /// `Suspended` until it is over.
    pub fn sleep(&mut self, id: &str, duration: &str) -> Result<(), Flow> {
        self.op(id, "Sleep", json!({"duration": duration}))
            .map(drop)
    }

    /// Waits for an event; null when none came. `condition` may be empty.
    ///
    /// # Errors
    /// `Suspended` until it has come or the time is over.
    pub fn wait(
        &mut self,
        id: &str,
        event: &str,
        timeout: &str,
        condition: &str,
    ) -> Result<Value, Flow> {
        let mut opts = json!({"event": event, "timeout": timeout});
        if !condition.is_empty() {
            opts["if"] = condition.into();
        }
        self.op(id, "WaitForEvent", opts)
    }

    /// Waits for a signal; null when none came.
    ///
    /// # Errors
    /// As [`Script::wait`].
    pub fn signal(&mut self, id: &str, signal: &str, timeout: &str) -> Result<Value, Flow> {
        let opts = json!({"signal": signal, "timeout": timeout, "conflict": "fail"});
        self.op(id, "WaitForSignal", opts)
            .map(|memo| memo.get("data").cloned().unwrap_or(memo))
    }

    /// Starts a function by its slug and waits for its result.
    ///
    /// # Errors
    /// `Suspended` until it has ended; `Threw` when it failed or the time is over.
    pub fn invoke(
        &mut self,
        id: &str,
        slug: &str,
        data: Value,
        timeout: &str,
    ) -> Result<Value, Flow> {
        let opts = json!({"function_id": slug, "payload": {"data": data}, "timeout": timeout});
        self.op(id, "InvokeFunction", opts).and_then(unwrap)
    }

    /// Lets the server make a request.
    ///
    /// # Errors
    /// `Suspended` until there is a response; `Threw` when there is none.
    pub fn fetch(&mut self, id: &str, url: &str) -> Result<Value, Flow> {
        self.op(id, "Gateway", json!({"url": url, "method": "GET"}))
            .and_then(unwrap)
    }

    fn op(&mut self, id: &str, op: &str, opts: Value) -> Result<Value, Flow> {
        let op = json!({"id": id, "op": op, "name": id, "displayName": id, "opts": opts});
        self.find(id, op, None)
    }

    fn find(&mut self, id: &str, op: Value, body: Option<Body>) -> Result<Value, Flow> {
        let memo = self.call.body["steps"].get(id);
        // Arguments for a step that is to run, in place of its own, are no result.
        if let Some(memo) = memo.filter(|memo| memo.get("input").is_none()) {
            return Ok(memo.clone());
        }
        if self.found.iter().all(|found| found.id != id) {
            self.found.push(Found {
                id: id.to_owned(),
                op,
                body,
            });
        }
        Err(Flow::Suspended)
    }

    /// The answer to the call, and the step whose code was executed for it.
    pub(crate) fn answer(mut self, returned: Result<Value, Flow>) -> (Answer, Option<String>) {
        let chosen = match &self.call.target {
            Some(target) => self.found.iter().position(|found| found.id == *target),
            None => {
                let is_forced = self.call.body["ctx"]["disable_immediate_execution"] == true;
                (!is_forced && self.found.len() == 1 && self.found[0].body.is_some()).then_some(0)
            }
        };
        if let Some(position) = chosen
            && let Some(body) = self.found[position].body.take()
        {
            let id = self.found[position].id.clone();
            return (self.ran(&id, body()), Some(id));
        }
        let answer = match (&self.call.target, returned) {
            (Some(_), _) => Answer::Ops(Vec::new()),
            (None, Ok(value)) => Answer::Returned(value),
            (None, Err(Flow::Suspended)) => {
                Answer::Ops(self.found.into_iter().map(|found| found.op).collect())
            }
            (None, Err(Flow::Threw(error, is_final))) => Answer::Threw(error, is_final, None),
        };
        (answer, None)
    }

    fn ran(&self, id: &str, result: Result<Value, Flow>) -> Answer {
        let op = match result {
            Ok(data) => step_run(id, data),
            Err(Flow::Threw(error, is_final)) => {
                let last = self.call.attempt() + 1
                    >= self.call.body["ctx"]["max_attempts"]
                        .as_u64()
                        .unwrap_or(u64::MAX);
                let op = if is_final || last {
                    "StepFailed"
                } else {
                    "StepError"
                };
                json!({"id": id, "op": op, "name": id, "displayName": id, "error": error})
            }
            Err(Flow::Suspended) => unreachable!("the body of a step has no steps"),
        };
        Answer::Ops(vec![op])
    }
}

/// The op of a step that ran.
pub fn step_run(id: &str, data: Value) -> Value {
    json!({"id": id, "op": "StepRun", "name": id, "displayName": id, "data": data})
}

/// `{"data": …}` or `{"error": …}`.
fn unwrap(memo: Value) -> Result<Value, Flow> {
    match memo.get("error") {
        Some(error) => Err(Flow::Threw(error.clone(), false)),
        None => Ok(memo.get("data").cloned().unwrap_or(memo)),
    }
}
