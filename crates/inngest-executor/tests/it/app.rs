//! A server for one test: an axum router, or raw bytes for what no well-behaved server would do.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use inngest_core::{
    ids::RunId,
    run::reply::{Failure, Reply},
    time::Timestamp,
    wire::signature::SigningKey,
};
use inngest_executor::{AppClient, CallRequest, EgressPolicy, ExecutorSettings, ServerKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::TaskTracker;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

type Answer = dyn Fn(&Seen) -> Response + Send + Sync;

#[derive(Clone)]
struct AppState {
    answer: Arc<Answer>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A server that answers until the test ends.
pub(crate) struct TestApp {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: TaskTracker,
}

impl TestApp {
    /// Answers each request by a function, which sees it first.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let state = AppState {
            answer: Arc::new(answer),
            seen: Arc::default(),
        };
        let seen = state.seen.clone();
        let router = Router::new().fallback(any(handle)).with_state(state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = TaskTracker::new();
        tasks.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            seen,
            _tasks: tasks,
        }
    }

    /// Answers each connection with these bytes after reading some of the request, then closes it.
    pub(crate) async fn raw(bytes: Vec<u8>) -> Self {
        Self::connections(move |mut stream| {
            let bytes = bytes.clone();
            async move {
                let mut buffer = [0; 4_096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    pub(crate) async fn connections<F: Future<Output = ()> + Send>(
        serve: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = TaskTracker::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream).await;
            }
        });
        Self {
            address,
            seen: Arc::default(),
            _tasks: tasks,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn handle(
    State(state): State<AppState>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seen = Seen {
        method,
        uri,
        headers,
        body,
    };
    state.seen.lock().unwrap().push(seen.clone());
    (state.answer)(&seen)
}

/// A reply of an SDK.
pub(crate) fn sdk(status: u16, body: impl IntoResponse) -> Response {
    (
        StatusCode::from_u16(status).unwrap(),
        [
            ("x-inngest-sdk", "inngest-js:v4.24.0"),
            ("x-inngest-req-version", "2"),
        ],
        body,
    )
        .into_response()
}

pub(crate) fn redirect(status: u16, location: &str) -> Response {
    (
        StatusCode::from_u16(status).unwrap(),
        [("location", location)],
    )
        .into_response()
}

pub(crate) fn key() -> SigningKey {
    SigningKey::parse("signkey-test-12345678").unwrap()
}

pub(crate) fn client() -> AppClient {
    client_with(|_| {})
}

pub(crate) fn client_with(change: impl FnOnce(&mut ExecutorSettings)) -> AppClient {
    let mut settings = ExecutorSettings::new(ServerKind::Dev);
    settings.call_timeout = Duration::from_secs(20);
    change(&mut settings);
    AppClient::new(settings).unwrap()
}

pub(crate) fn strict() -> AppClient {
    client_with(|settings| settings.egress = EgressPolicy::public_only())
}

pub(crate) fn request(url: &str) -> CallRequest<'_> {
    CallRequest {
        url,
        run: "01K3ZC6WQ5M3J6V9Y1Z8T3B2XA".parse::<RunId>().unwrap(),
        target: None,
        version: -1,
        job_id: "job",
        request_id: "request",
        generation: 0,
        signing_key: None,
        traceparent: None,
        now: Timestamp::from_millis(1_700_000_000_999),
        body: Bytes::from_static(br#"{"a":1}"#),
    }
}

pub(crate) fn failed(reply: Reply) -> Failure {
    match reply {
        Reply::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}
