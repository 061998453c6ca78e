//! What the services go by.

use std::time::Duration;

use inngest_core::{budget::Rate, wire::signature::SigningKey};

use crate::auth::{SecretKey, TokenIssuer};

/// How the server was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `inngest dev`: one organization and environment, nobody is asked who they are.
    Dev,
    /// `inngest start`: nothing without a credential.
    Start,
}

impl Mode {
    /// The value of `X-Inngest-Server-Kind`.
    pub fn server_kind(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Start => "cloud",
        }
    }
}

/// Settings of the services.
#[derive(Clone)]
pub struct ServiceSettings {
    /// How the server was started.
    pub mode: Mode,
    /// A fixed delay between attempts instead of the growing one.
    pub retry_interval: Option<Duration>,
    /// Keys shared with apps; calls are signed with the first. Empty in `dev`.
    pub signing_keys: Vec<SigningKey>,
    /// The issuer whose tokens are accepted beside the installation's own.
    pub token_issuer: Option<TokenIssuer>,
    /// What the secrets of the installation are sealed with, and before that what they were sealed with earlier. Empty in `dev`, which
    /// has none.
    pub secret_keys: Vec<SecretKey>,
    /// Keys that may send events. In `dev` every key may.
    pub event_keys: Vec<String>,
    /// Bytes of run state kept in memory so that running runs are not read again. Default 32 MiB.
    pub cache_bytes: usize,
    /// Days for which runs are kept after their end, and events, in environments that say nothing of their own; 0 means for ever. Default 30.
    pub retention_days: u32,
    /// Points that one caller may spend on GraphQL operations; none lets everybody ask without end. Default 100,000, of which 2,000 come
    /// back in a second; none in `dev`.
    pub api_rate: Option<Rate>,
    /// Whether test suites may change the limits of functions and end all runs. Default: no.
    pub test_routes: bool,
    /// How long a call runs before its run is shown as running. Shorter calls save that write. Default 100 ms.
    pub mark_started_after: Duration,
}

impl ServiceSettings {
    /// A bucket that takes 50 s to fill; none for 0.
    pub fn api_rate(points_per_second: u32) -> Option<Rate> {
        (points_per_second > 0).then(|| Rate {
            limit: u64::from(points_per_second) * 50,
            per_second: u64::from(points_per_second),
        })
    }

    /// The defaults of a mode, without keys.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            retry_interval: None,
            signing_keys: Vec::new(),
            token_issuer: None,
            secret_keys: Vec::new(),
            event_keys: Vec::new(),
            cache_bytes: 32 * 1024 * 1024,
            retention_days: 30,
            api_rate: (mode == Mode::Start)
                .then(|| Self::api_rate(2_000))
                .flatten(),
            test_routes: false,
            mark_started_after: Duration::from_millis(100),
        }
    }
}
