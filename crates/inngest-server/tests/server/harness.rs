//! A server in process, asked without a network, or over loopback where a test is about connections.

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use inngest_core::{
    ids::IdSource,
    time::{Clock, Timestamp},
    wire::signature::SigningKey,
};
use inngest_executor::{AppClient, ExecutorSettings, ServerKind};
use inngest_queue::{Queue, RedisSettings, model::QueueSettings};
use inngest_server::{ServerSettings, router, serve};
use inngest_services::{Mode, Parts, Programs, ServiceSettings, Services};
use inngest_state::{Place, Store, StoreSettings};

/// The signing key of a server that asks for credentials.
pub(crate) const SIGNING_KEY: &str = "signkey-test-0123456789abcdef0123456789abcdef";
/// Its event key.
pub(crate) const EVENT_KEY: &str = "the-event-key";
/// The time of all tests.
pub(crate) const NOW: i64 = 1_790_000_000_000;

fn memory(clock: Clock, _: &TaskTracker) -> Queue {
    Queue::memory(clock, QueueSettings::default())
}

/// A schedule as one of the processes that share it has it.
pub(crate) fn shared(clock: Clock, redis: &RedisSettings, tracker: &TaskTracker) -> Queue {
    Queue::redis(clock, QueueSettings::default(), redis, tracker).unwrap()
}

/// A place for a schedule that no other test uses, where `TEST_REDIS_URL` names a server.
#[expect(
    clippy::disallowed_methods,
    reason = "only tests read it, and they have no settings"
)]
pub(crate) fn redis() -> Option<RedisSettings> {
    let uri = std::env::var("TEST_REDIS_URL").ok();
    let Some(uri) = uri.filter(|uri| !uri.is_empty()) else {
        eprintln!("TEST_REDIS_URL is not set: nothing runs on it");
        return None;
    };
    let own = IdSource::random().ulid(Timestamp::from_millis(NOW));
    Some(RedisSettings {
        prefix: format!("test:{own}"),
        ..RedisSettings::at(&uri)
    })
}

/// A server and what it was built from.
pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) services: Services,
    pub(crate) stop: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    pub(crate) async fn dev() -> Self {
        Self::with(Mode::Dev, |_| {}).await
    }

    /// A server that asks for credentials.
    pub(crate) async fn start() -> Self {
        Self::with(Mode::Start, |_| {}).await
    }

    /// A server that asks for credentials, with other settings of its services. It serves what only test suites ask for too.
    pub(crate) async fn with_services(change: impl FnOnce(&mut ServiceSettings)) -> Self {
        Self::with_all(
            Mode::Start,
            |settings| {
                settings.test_routes = true;
                change(settings);
            },
            |settings| settings.v0_gql = true,
            memory,
        )
        .await
    }

    pub(crate) async fn with(mode: Mode, change: impl FnOnce(&mut ServerSettings)) -> Self {
        Self::with_all(mode, |_| {}, change, memory).await
    }

    /// A server with other settings of its services.
    pub(crate) async fn with_mode(mode: Mode, change: impl FnOnce(&mut ServiceSettings)) -> Self {
        Self::with_all(mode, change, |_| {}, memory).await
    }

    /// A server that asks for credentials, with its schedule in Redis.
    pub(crate) async fn on_redis(redis: &RedisSettings) -> Self {
        let queue = |clock, tracker: &TaskTracker| shared(clock, redis, tracker);
        Self::with_all(Mode::Start, |_| {}, |_| {}, queue).await
    }

    async fn with_all(
        mode: Mode,
        change_services: impl FnOnce(&mut ServiceSettings),
        change: impl FnOnce(&mut ServerSettings),
        queue: impl FnOnce(Clock, &TaskTracker) -> Queue,
    ) -> Self {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let programs = Programs::default();
        let store = Store::open(
            &StoreSettings::at(Place::Scratch),
            programs.matcher(),
            &tracker,
        )
        .await
        .unwrap();
        let clock = Clock::manual(Timestamp::from_millis(NOW));
        let mut settings = ServiceSettings::new(mode);
        settings.signing_keys = vec![SigningKey::parse(SIGNING_KEY).unwrap()];
        settings.event_keys = vec![EVENT_KEY.to_owned()];
        change_services(&mut settings);
        let services = Services::start(Parts {
            store,
            queue: queue(clock.clone(), &tracker),
            client: AppClient::new(ExecutorSettings::new(ServerKind::Dev)).unwrap(),
            clock,
            ids: IdSource::random(),
            programs,
            tracker: tracker.clone(),
            settings,
        })
        .await
        .unwrap();
        let mut settings = ServerSettings::new(mode == Mode::Dev, stop.clone(), tracker.clone());
        change(&mut settings);
        Self {
            router: router(services.clone(), settings),
            services,
            stop,
            tracker,
        }
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX)
            .await
            .unwrap()
            .to_vec();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// A request with a body, where `body` is not null, and headers.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost:8288");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        self.ask(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &Value::Null, &[]).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(
            Method::POST,
            path,
            body,
            &[("content-type", "application/json")],
        )
        .await
    }

    /// The data of an operation that must succeed.
    pub(crate) async fn query(&self, query: &str, variables: Value) -> Value {
        let answer = self
            .post("/graphql", &json!({"query": query, "variables": variables}))
            .await;
        let mut body = answer.json();
        assert!(body.get("errors").is_none(), "{body:#}");
        body["data"].take()
    }

    /// Registers an app `shop` with one function `receipt`, started by `shop/order.placed`.
    pub(crate) async fn register(&self) -> Value {
        let answer = self.post("/fn/register", &registration()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        answer.json()
    }

    /// Sends the event that starts `receipt`; the ids of event and run.
    pub(crate) async fn start_run(&self) -> (String, String) {
        let answer = self
            .post(
                "/e/key",
                &json!({"name": "shop/order.placed", "data": {"n": 1}, "id": "order-1"}),
            )
            .await;
        let event = answer.json()["ids"][0].as_str().expect("one id").to_owned();
        let runs = self.get(&format!("/v1/events/{event}/runs")).await.json();
        (
            event,
            runs["data"][0]["run_id"]
                .as_str()
                .unwrap_or_else(|| panic!("no run: {runs}"))
                .to_owned(),
        )
    }

    /// Serves on loopback; the address.
    pub(crate) async fn listen(&self) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, stop, tracker) =
            (self.router.clone(), self.stop.clone(), self.tracker.clone());
        self.tracker
            .spawn(async move { serve(vec![listener], router, stop, tracker).await });
        address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn registration() -> Value {
    let url = "http://localhost:3000/api/inngest";
    json!({
        "url": url, "deployType": "ping", "framework": "express", "appName": "shop", "sdk": "js:v4.24.0", "v": "0.1",
        "functions": [{
            "id": "shop-receipt", "name": "Receipt", "triggers": [{"event": "shop/order.placed"}],
            "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "http", "url": format!("{url}?fnId=shop-receipt&stepId=step")}, "retries": {"attempts": 3}}},
        }],
    })
}
