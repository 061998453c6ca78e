//! Settings as plain data: flag over environment over file over default, each value with its source, checked all at once.
//!
//! A leaf: it knows no other crate of the product, opens nothing but the settings file and the files that `_FILE` variables name,
//! and gets the environment as a map, so that tests need none. One table ([`key::KEYS`]) is what flags, variables and file entries
//! are made from. What a key means to a component is said at the component's own small struct below.

mod check;
mod file;
pub mod key;
mod load;
mod problem;
mod secret;
mod traces;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

pub use crate::{
    key::Command,
    load::{Inputs, Source, load},
    problem::{Problem, Problems},
    secret::{Secret, without_credentials},
    traces::{Sampler, TraceSettings},
};

use serde_json::Value;

/// Settings, where they came from, and what is to be said about them.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The source of each key's value.
    pub sources: BTreeMap<&'static str, Source>,
    /// The value of each key that somebody set, to be shown to people: secrets are masked.
    pub shown: BTreeMap<&'static str, Value>,
    /// The settings file that was read.
    pub file: Option<PathBuf>,
    /// Combinations that work but may surprise, and keys that have no effect; to be logged at start.
    pub warnings: Vec<String>,
}

/// Everything, one struct per subject.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is started.
    pub command: Command,
    /// Points that one caller of GraphQL gets back in a second; 0 counts nobody's. Default 2,000, and 0 in `dev`.
    pub api_points_per_second: u32,
    /// Where to listen.
    pub listen: ListenSettings,
    /// Which apps to look for.
    pub apps: AppSettings,
    /// How work is done.
    pub engine: EngineSettings,
    /// Where everything is stored.
    pub database: DatabaseSettings,
    /// How the tables are kept.
    pub house: HouseSettings,
    /// Where it is kept what runs when.
    pub schedule: ScheduleSettings,
    /// What this process does.
    pub roles: Roles,
    /// Who may call.
    pub keys: KeySettings,
    /// Which GraphQL documents are taken.
    pub graphql: GraphqlSettings,
    /// Where metrics are served.
    pub metrics: MetricsSettings,
    /// What is served for test suites of SDKs.
    pub suites: SuiteSettings,
    /// What is logged.
    pub log: LogSettings,
    /// Where traces are sent, if they are.
    pub traces: Option<TraceSettings>,
}

/// What is served for test suites that were written for the reference server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuiteSettings {
    /// The older GraphQL API at `/v0/gql`. Always in `dev`; in `start` off by default, and it asks for a credential.
    pub v0_gql: bool,
    /// The routes by which such a suite lowers the limits of functions and ends all runs. Off by default; they ask for what the rest asks for.
    pub test_routes: bool,
}

/// Which GraphQL documents are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphqlSettings {
    /// Who may send documents that are not known. Default: everybody.
    pub documents: DocumentMode,
    /// The absolute path of a manifest of known documents, beside those that are built in.
    pub manifest: Option<PathBuf>,
}

/// Who may send GraphQL documents that are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentMode {
    /// Everybody.
    Open,
    /// Programs, but no web pages.
    KnownForBrowsers,
    /// Nobody.
    KnownOnly,
}

/// Where metrics for Prometheus are served. Whoever reaches the address reads them without a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsSettings {
    /// Nowhere. The default of `dev`.
    Off,
    /// At the usual address, if it is free. The default of `start`.
    Usual(SocketAddr),
    /// Here.
    At(SocketAddr),
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSettings {
    /// The address.
    pub host: Host,
    /// The port; 0 lets the system choose one. Default 8288.
    pub port: u16,
}

/// The address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// This machine only, by IPv4 and IPv6. The default of `dev`.
    Loopback,
    /// An address, or a name to look up.
    Named(String),
}

impl Host {
    /// Whether only this machine can connect.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Loopback => true,
            Self::Named(name) => {
                name == "localhost"
                    || name
                        .parse::<IpAddr>()
                        .is_ok_and(|address| address.is_loopback())
            }
        }
    }

    /// The addresses that are known without a look-up; empty for a name.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let both = vec![
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        match self {
            Self::Loopback => both,
            Self::Named(name) if name == "localhost" => both,
            Self::Named(name) => name
                .parse()
                .map(|address| vec![address])
                .unwrap_or_default(),
        }
    }
}

/// Which apps the server asks for their functions, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSettings {
    /// Apps that are known by their URL, each with a scheme.
    pub urls: Vec<String>,
    /// Whether to look for apps on the usual local ports. Only in `dev`.
    pub discover: bool,
    /// A further port to look at: the variable `PORT`, which many frameworks take theirs from.
    pub extra_port: Option<u16>,
    /// Whether apps that work are asked again; apps whose sync failed always are. Only in `dev`.
    pub poll_healthy: bool,
    /// The pause between two rounds. Default 5 s. Too long: a changed app is seen late.
    pub poll_interval: Duration,
}

/// How work is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Calls to apps at once by this process. Default 100.
    pub workers: NonZeroUsize,
    /// When set, the pause before a retry is this times the attempt; otherwise pauses grow by the built-in table.
    pub retry_interval: Option<Duration>,
    /// Bodies of all requests at once, in bytes; requests beyond it are put off. Default 128 MiB. A request takes several times as much
    /// memory as its body. Too small: senders of large batches are put off although there is room.
    pub request_bytes: usize,
    /// How long a stopping server waits for calls in flight. Default 3 s in `dev`, 25 s in `start`. A call that is cut off is made
    /// again after the next start.
    pub drain_timeout: Duration,
}

/// Where everything is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseSettings {
    /// SQLite in memory: gone when the process ends. The default of `dev`.
    Memory,
    /// An SQLite file.
    Sqlite {
        /// The absolute path of the directory; the file in it is `main.db`.
        directory: PathBuf,
    },
    /// A Postgres database.
    Postgres(PostgresSettings),
}

/// How to reach Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    /// The connection URI, with the password.
    pub uri: Secret<String>,
    /// Most connections at once, at least 2. Default 16, so that six servers fit into what Postgres allows by default.
    pub max_open: u32,
}

/// Where it is kept what runs when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleSettings {
    /// In this process, which is the only one then.
    Memory,
    /// In a Redis that several processes share.
    Redis {
        /// The URI, which may hold a password.
        uri: Secret<String>,
        /// Begins the names of all keys.
        prefix: String,
    },
}

/// What a process does. All of it by default; several processes that share a Redis can divide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Answers requests.
    pub api: bool,
    /// Calls apps.
    pub worker: bool,
    /// Keeps the schedule filled and the tables tidy.
    pub scheduler: bool,
}

impl Roles {
    /// Everything.
    pub const ALL: Self = Self {
        api: true,
        worker: true,
        scheduler: true,
    };
}

/// How the tables are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HouseSettings {
    /// Whether a start brings the schema up to date. Otherwise it is refused while the schema is behind. Default yes.
    pub migrates: bool,
    /// Days for which runs are kept after their end, and events; 0 means for ever. Default 30.
    pub retention_days: u32,
}

/// Who may call. Both are empty in `dev`, which asks nobody for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySettings {
    /// The key shared with apps, as it was given, with or without its prefix. Always set in `start`.
    pub signing_key: Option<Secret<String>>,
    /// Keys that apps may still use while they are being changed.
    pub signing_key_fallbacks: Vec<Secret<String>>,
    /// The keys with which events may be sent; at least one in `start`.
    pub event_keys: Vec<Secret<String>>,
    /// What the secrets in the database are sealed with; the signing key when absent.
    pub secret_key: Option<Secret<String>>,
    /// What they were sealed with before.
    pub secret_key_fallback: Option<Secret<String>>,
    /// Whose tokens are accepted beside the installation's own.
    pub tokens: Option<TokenSettings>,
}

/// The issuer of tokens; it has at least one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// What `iss` has to be.
    pub issuer: String,
    /// What `aud` has to be.
    pub audience: String,
    /// A shared secret.
    pub secret: Option<Secret<String>>,
    /// A public key in PEM.
    pub public_key: Option<Secret<String>>,
    /// Where its keys are published.
    pub jwks_url: Option<String>,
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least important level that is written.
    pub level: LogLevel,
    /// JSON even on a terminal; where there is no terminal it is JSON anyway.
    pub json: bool,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says itself")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "trace" => Some(Self::Trace),
            "debug" => Some(Self::Debug),
            "info" => Some(Self::Info),
            "warn" | "warning" => Some(Self::Warn),
            "error" => Some(Self::Error),
            _ => None,
        }
    }

    /// The word for it, as log filters take it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// The environment of this process. Variables that are not Unicode are left out.
pub fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
