//! What handlers share, and the settings of the server.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use inngest_core::limits;
use inngest_services::Services;

use crate::{
    body::Bodies,
    graphql::{ApiSchema, trusted::Documents},
    v0::V0Schema,
};

/// How the server answers. All sizes are in bytes.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Whether this is `inngest dev`: pages of any port of this machine may call, the GraphQL explorer and `GET /dev` exist.
    pub dev: bool,
    /// Origins of web pages that may call besides the server's own, for example `https://inngest.example.com`. `*` allows every one.
    /// Sending events (`/e/…`) is open to pages of every origin.
    pub allowed_origins: Vec<String>,
    /// Largest body of a request that sends events.
    pub ingest_body_bytes: usize,
    /// Largest body of any other request of SDKs and REST.
    pub request_body_bytes: usize,
    /// Largest body of a GraphQL request.
    pub graphql_body_bytes: usize,
    /// All bodies of requests at once, apart from steps that apps report; one more is refused with 429.
    pub bodies_bytes: usize,
    /// GraphQL documents that are known by their ids, and who may send others.
    pub documents: Documents,
    /// Websockets open at once; one more is refused with 503.
    pub max_sockets: usize,
    /// Whether the older GraphQL API is served at `/v0/gql`, which test suites of SDKs ask.
    pub v0_gql: bool,
    /// Cancelled when the server stops: `/ready` turns to 503 and websockets are closed with code 1001.
    pub stop: CancellationToken,
    /// Long tasks (websockets) are spawned here, so that a shutdown can wait for them.
    pub tracker: TaskTracker,
}

impl ServerSettings {
    /// The defaults: the product's size limits, no foreign origins; the older GraphQL API in dev only.
    pub fn new(dev: bool, stop: CancellationToken, tracker: TaskTracker) -> Self {
        Self {
            dev,
            allowed_origins: Vec::new(),
            ingest_body_bytes: limits::INGEST_BODY_BYTES,
            request_body_bytes: limits::REQUEST_BODY_BYTES,
            graphql_body_bytes: 10 * 1024 * 1024,
            bodies_bytes: limits::BODIES_BYTES,
            documents: Documents::default(),
            max_sockets: 1_000,
            v0_gql: dev,
            stop,
            tracker,
        }
    }
}

/// What every handler can reach. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) services: Services,
    pub(crate) settings: ServerSettings,
    pub(crate) schema: ApiSchema,
    pub(crate) bodies: Bodies,
    /// The schema of `/v0/gql`, where that is served.
    pub(crate) v0: Option<V0Schema>,
    /// One permit per open websocket.
    pub(crate) sockets: Arc<tokio::sync::Semaphore>,
    /// Value of `X-Inngest-Server-Kind`.
    pub(crate) kind: &'static str,
}

impl AppState {
    pub(crate) fn new(services: Services, settings: ServerSettings) -> Self {
        let kind = services.settings().mode.server_kind();
        let schema = crate::graphql::schema(settings.graphql_body_bytes);
        let v0 = settings.v0_gql.then(crate::v0::schema);
        let sockets = Arc::new(tokio::sync::Semaphore::new(settings.max_sockets));
        let bodies = Bodies::new(settings.bodies_bytes, settings.tracker.clone());
        Self(Arc::new(Shared {
            services,
            settings,
            schema,
            bodies,
            v0,
            sockets,
            kind,
        }))
    }
}

impl std::ops::Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
