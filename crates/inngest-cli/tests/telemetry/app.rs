//! An app with one function, whose steps are named by its event: `{"steps": 1, "fails": false}`.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};

/// What the function returns; it must be seen by nobody but the caller.
pub(crate) const RESULT: &str = "marker-of-the-result";

/// One call as it came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) step: Option<String>,
    pub(crate) headers: HeaderMap,
}

pub(crate) struct App {
    pub(crate) address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    _runtime: tokio::runtime::Runtime,
}

impl App {
    pub(crate) fn start() -> Self {
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let router = Router::new()
            .route(
                "/api/inngest",
                post(answer).put(|| async { reply(StatusCode::OK, &json!({"modified": false})) }),
            )
            .with_state(calls.clone());
        let (address, runtime) = serve(router);
        Self {
            address,
            calls,
            _runtime: runtime,
        }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// What an SDK tells a server of this app.
    pub(crate) fn registration(&self) -> Value {
        let url = format!("http://{}/api/inngest", self.address);
        json!({
            "url": url, "appName": "shop", "sdk": "js:v4.24.0", "framework": "none", "v": "0.1", "deployType": "ping",
            "functions": [{
                "id": "shop-pay", "name": "pay", "triggers": [{"event": "shop/paid"}],
                "steps": {"step": {
                    "id": "step", "name": "step", "retries": {"attempts": 1},
                    "runtime": {"type": "http", "url": format!("{url}?fnId=shop-pay&stepId=step")},
                }},
            }],
        })
    }
}

/// Serves on a free port until the runtime is dropped.
pub(crate) fn serve(router: Router) -> (SocketAddr, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, router).await });
    (address, runtime)
}

async fn answer(
    State(calls): State<Arc<Mutex<Vec<Call>>>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let step = query.iter().find(|(name, _)| name == "stepId");
    let step = step.map(|(_, id)| id.clone()).filter(|id| id != "step");
    calls.lock().unwrap().push(Call {
        step: step.clone(),
        headers,
    });
    let data = &body["event"]["data"];
    let id = "0123456789012345678901234567890123456789";
    if let Some(step) = step {
        let ran =
            json!([{"op": "StepRun", "id": step, "name": "charge", "data": {"data": RESULT}}]);
        return reply(StatusCode::PARTIAL_CONTENT, &ran);
    }
    let has_step = body["steps"]
        .as_object()
        .is_some_and(|steps| !steps.is_empty());
    if data["fails"] == true {
        let error = json!({"name": "TypeError", "message": RESULT, "stack": RESULT});
        let mut response = reply(StatusCode::BAD_REQUEST, &error);
        response
            .headers_mut()
            .insert("x-inngest-no-retry", "true".parse().unwrap());
        return response;
    }
    if data["steps"] == 1 && !has_step {
        let planned =
            json!([{"op": "StepPlanned", "id": id, "name": "charge", "displayName": "charge"}]);
        return reply(StatusCode::PARTIAL_CONTENT, &planned);
    }
    reply(StatusCode::OK, &json!(RESULT))
}

fn reply(status: StatusCode, body: &Value) -> Response {
    let headers = [
        ("content-type", "application/json"),
        ("x-inngest-sdk", "js:v4.24.0"),
        ("x-inngest-req-version", "1"),
    ];
    (status, headers, body.to_string()).into_response()
}
