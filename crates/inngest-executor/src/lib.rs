//! Calls to apps: signed, bounded in time and size, and only to addresses that the policy allows.
//!
//! The only crate with an HTTP client, so none of these can be walked around. It carries out one request and reports what came back;
//! it does not know what a run is for, retries nothing and stores nothing.

mod call;
mod egress;
mod fetch;
mod http;
mod sync;
mod transport;

use std::{sync::Arc, time::Duration};

use inngest_core::limits;

pub use call::{Answered, CallRequest};
pub use egress::{AllowedAddress, EgressPolicy, InvalidAddress};
pub use fetch::{DocumentError, FetchOutcome};
pub use sync::{Inspection, Probe, SyncRequest};

/// How apps are called.
#[derive(Clone, Debug)]
pub struct ExecutorSettings {
    /// Longest call from the first byte sent to the last one read. Default [`limits::CALL_DURATION`].
    pub call_timeout: Duration,
    /// Longest wait for a connection, name lookup and TLS included. Default 15 s.
    pub connect_timeout: Duration,
    /// Longest request made for an app (`step.fetch`, `step.ai.infer`). Default 15 min.
    pub fetch_timeout: Duration,
    /// How long an unused connection is kept. Default 4 s: common app servers close theirs after 5 s, and a request that meets the
    /// closing is lost.
    pub idle_timeout: Duration,
    /// Which addresses may be called.
    pub egress: EgressPolicy,
    /// Value of `User-Agent`. Default `Inngest`.
    pub user_agent: String,
    /// What we tell apps that we are.
    pub server_kind: ServerKind,
}

/// What a server tells apps that it is; the Python SDK compares it with its own mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// `dev`, without keys.
    Dev,
    /// `cloud`, with keys.
    Cloud,
}

impl ServerKind {
    /// The word in headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Cloud => "cloud",
        }
    }
}

impl ExecutorSettings {
    /// Defaults, with every address allowed.
    pub fn new(server_kind: ServerKind) -> Self {
        Self {
            call_timeout: limits::CALL_DURATION,
            connect_timeout: Duration::from_secs(15),
            fetch_timeout: Duration::from_secs(900),
            idle_timeout: Duration::from_secs(4),
            egress: EgressPolicy::allow_all(),
            user_agent: "Inngest".to_owned(),
            server_kind,
        }
    }
}

/// The client could not be set up, for example because the machine has no usable TLS roots.
#[derive(Debug, thiserror::Error)]
#[error("could not set up the HTTP client")]
pub struct SetupError(#[source] reqwest::Error);

/// Calls apps. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct AppClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    settings: ExecutorSettings,
}

impl AppClient {
    /// A client without connections yet. Proxies named by the environment are not used, since the address policy could not see
    /// behind them.
    ///
    /// # Errors
    /// `SetupError` when TLS cannot be set up or the user agent is not a header value.
    pub fn new(settings: ExecutorSettings) -> Result<Self, SetupError> {
        let http = reqwest::Client::builder()
            .user_agent(settings.user_agent.as_str())
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(settings.idle_timeout)
            .pool_max_idle_per_host(4_096)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(egress::CheckingResolver::new(
                settings.egress.clone(),
            )))
            .no_proxy()
            .build()
            .map_err(SetupError)?;
        Ok(Self(Arc::new(Inner { http, settings })))
    }
}
