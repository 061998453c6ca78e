//! An app on loopback whose functions are written in the test.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::FutureExt;
use inngest_core::{access::Actor, ids::RunId, wire::sync::parse_register};
use serde_json::{Value, json};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    Services,
    testing::{
        http::{self, Request, Response},
        script::{Flow, Script},
    },
};

/// A call as the app got it.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Slug of the function.
    pub function: String,
    /// The one planned step to run, if any.
    pub target: Option<String>,
    /// The body.
    pub body: Value,
}

impl Call {
    /// The run.
    ///
    /// # Panics
    /// When the call names none, which would be a fault of the server.
    pub fn run(&self) -> RunId {
        let text = self.body["ctx"]["run_id"].as_str().unwrap_or_default();
        text.parse().expect("every call names its run")
    }

    /// Attempts before this one.
    pub fn attempt(&self) -> u64 {
        self.body["ctx"]["attempt"].as_u64().unwrap_or_default()
    }

    /// The body of a checkpoint made during this call.
    pub fn checkpoint(&self, steps: &[Value]) -> Value {
        let ctx = &self.body["ctx"];
        json!({
            "run_id": ctx["run_id"], "fn_id": ctx["fn_id"], "qi_id": ctx["qi_id"],
            "request_id": ctx["request_id"], "generation_id": ctx["generation_id"], "steps": steps,
        })
    }
}

/// What a function answers to a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Status 206 with these ops; helpers make them.
    Ops(Vec<Value>),
    /// The function returned.
    Returned(Value),
    /// The function threw this error; whether another attempt is forbidden; `Retry-After`.
    Threw(Value, bool, Option<&'static str>),
    /// Any status, headers and body.
    Http(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes in place of an HTTP response.
    Bytes(Vec<u8>),
    /// The connection is cut.
    Reset,
    /// The answer comes when the gate is opened.
    After(Gate, Box<Answer>),
}

impl Answer {
    fn into_response(self) -> Response {
        let sdk = |status: u16, more: Vec<(String, String)>, body: Value| {
            let mut headers = vec![
                ("x-inngest-sdk".to_owned(), "inngest-js:v4.24.0".to_owned()),
                ("x-inngest-req-version".to_owned(), "2".to_owned()),
                ("content-type".to_owned(), "application/json".to_owned()),
            ];
            headers.extend(more);
            Response::Proper {
                status,
                headers,
                body: body.to_string().into_bytes(),
            }
        };
        match self {
            Self::Ops(ops) => sdk(206, Vec::new(), Value::Array(ops)),
            Self::Returned(value) => sdk(200, Vec::new(), value),
            Self::Threw(error, no_retry, after) => {
                let mut more = vec![("x-inngest-no-retry".to_owned(), no_retry.to_string())];
                more.extend(after.map(|after| ("retry-after".to_owned(), after.to_owned())));
                sdk(if no_retry { 400 } else { 500 }, more, error)
            }
            Self::Http(status, headers, body) => {
                let headers = headers
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect();
                Response::Proper {
                    status,
                    headers,
                    body,
                }
            }
            Self::Bytes(bytes) => Response::Bytes(bytes),
            Self::Reset => Response::Reset,
            Self::After(_, answer) => answer.into_response(),
        }
    }
}

/// Holds answers back until it is opened, and tells when the first call has come.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(CancellationToken, CancellationToken)>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self::default()
    }

    /// Lets all answers go, for good.
    pub fn open(&self) {
        self.0.1.cancel();
    }

    /// Waits until a call stands at the gate.
    pub async fn reached(&self) {
        self.0.0.cancelled().await;
    }

    async fn pass(&self) {
        self.0.0.cancel();
        self.0.1.cancelled().await;
    }
}

type Code = dyn Fn(&Call) -> Answer + Send + Sync;

#[derive(Default)]
struct Inside {
    functions: BTreeMap<String, (Value, Arc<Code>)>,
    calls: Vec<Call>,
    executed: Vec<(RunId, String)>,
}

/// An app. It answers until it is dropped.
pub struct App {
    name: String,
    url: String,
    inside: Arc<Mutex<Inside>>,
    _serving: DropGuard,
}

impl App {
    pub(crate) async fn start(name: &str, tracker: &TaskTracker) -> Self {
        let (listener, address) = http::listen().await.expect("loopback has a free port");
        let inside: Arc<Mutex<Inside>> = Arc::default();
        let (serving, seen) = (CancellationToken::new(), inside.clone());
        http::serve(
            listener,
            tracker,
            serving.clone(),
            Arc::new(move |request| {
                let seen = seen.clone();
                async move { answer(&seen, &request).await }.boxed()
            }),
        );
        Self {
            name: name.to_owned(),
            url: format!("http://{address}/api/inngest"),
            inside,
            _serving: serving.drop_guard(),
        }
    }

    /// Adds or replaces a function that is written like one of an SDK. `config` is merged into its registration; it names triggers.
    pub fn function(
        &self,
        id: &str,
        config: Value,
        code: impl Fn(&mut Script<'_>) -> Result<Value, Flow> + Send + Sync + 'static,
    ) -> &Self {
        let inside = Arc::downgrade(&self.inside);
        self.answer(id, config, move |call| {
            let mut script = Script::new(call);
            let returned = code(&mut script);
            let (answer, executed) = script.answer(returned);
            if let (Some(inside), Some(step)) = (inside.upgrade(), executed) {
                lock(&inside).executed.push((call.run(), step));
            }
            answer
        })
    }

    /// Adds or replaces a function that answers calls as it likes.
    pub fn answer(
        &self,
        id: &str,
        config: Value,
        code: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> &Self {
        let slug = self.slug(id);
        let mut registered = json!({
            "id": slug, "name": id,
            "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "http", "url": format!("{}?fnId={slug}&stepId=step", self.url)}}},
        });
        if let (Some(registered), Value::Object(config)) = (registered.as_object_mut(), config) {
            registered.extend(config);
        }
        lock(&self.inside)
            .functions
            .insert(slug, (registered, Arc::new(code)));
        self
    }

    /// Takes a function away; calls of it are answered with an error.
    pub fn forget(&self, id: &str) -> &Self {
        lock(&self.inside).functions.remove(&self.slug(id));
        self
    }

    /// The slug of a function.
    pub fn slug(&self, id: &str) -> String {
        format!("{}-{id}", self.name)
    }

    /// Registers the functions that the app has now.
    ///
    /// # Panics
    /// When the registration is refused.
    pub async fn sync(&self, services: &Services) -> &Self {
        let functions: Vec<Value> = lock(&self.inside)
            .functions
            .values()
            .map(|(config, _)| config.clone())
            .collect();
        let body = json!({"url": self.url, "appName": self.name, "sdk": "js:v4.24.0", "functions": functions}).to_string();
        let registration = parse_register(body.as_bytes()).expect("tests register valid functions");
        services
            .apps()
            .register(&Actor::dev(), registration)
            .await
            .expect("a registration is taken");
        self
    }

    /// Calls so far, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.inside).calls.clone()
    }

    /// How often the code of each step of a run was executed, by scripts.
    pub fn executions(&self, run: RunId) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (_, step) in lock(&self.inside)
            .executed
            .iter()
            .filter(|(of, _)| *of == run)
        {
            *counts.entry(step.clone()).or_default() += 1;
        }
        counts
    }
}

async fn answer(inside: &Mutex<Inside>, request: &Request) -> Response {
    if request.method != "POST" {
        return Answer::Http(200, Vec::new(), b"{}".to_vec()).into_response();
    }
    let parameter = |name: &str| {
        let (_, query) = request.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    let call = Call {
        function: parameter("fnId").unwrap_or_default(),
        target: parameter("stepId").filter(|step| step != "step"),
        body: serde_json::from_slice(&request.body).unwrap_or_default(),
    };
    let code = {
        let mut inside = lock(inside);
        inside.calls.push(call.clone());
        inside
            .functions
            .get(&call.function)
            .map(|(_, code)| code.clone())
    };
    let answer = match code {
        Some(code) => code(&call),
        None => Answer::Threw(
            json!({"name": "Error", "message": "Could not find function"}),
            false,
            None,
        ),
    };
    if let Answer::After(gate, _) = &answer {
        gate.pass().await;
    }
    answer.into_response()
}

fn lock(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}
