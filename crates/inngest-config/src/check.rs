//! From texts to typed settings; every problem is found in one pass.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use crate::{
    AppSettings, DatabaseSettings, DocumentMode, EngineSettings, GraphqlSettings, Host,
    HouseSettings, KeySettings, ListenSettings, LogLevel, LogSettings, MetricsSettings,
    PostgresSettings, Roles, ScheduleSettings, Settings, SuiteSettings, TokenSettings,
    TraceSettings,
    key::{Command, Key, Shape, find_key},
    load::{Given, Inputs, Values},
    problem::Problem,
    secret::Secret,
    traces::traces,
};

const DEFAULT_PORT: u16 = 8288;
const METRICS_PORT: u16 = 9464;
const DEFAULT_POLL_SECONDS: u64 = 5;
const DEFAULT_WORKERS: u64 = 100;
const DEFAULT_REQUEST_MIB: u64 = 128;
const DEFAULT_SQLITE_DIR: &str = ".inngest";
const DEFAULT_REDIS_PREFIX: &str = "inngest";

/// Turns values into settings. `None` only if a problem was pushed.
pub(crate) fn settings(
    inputs: &Inputs,
    values: &Values,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Option<Settings> {
    let mut reader = Reader {
        inputs,
        values,
        problems,
        warnings,
    };
    let listen = reader.listen();
    let api_points_per_second = reader.api_points_per_second();
    let apps = reader.apps();
    let engine = reader.engine();
    let database = reader.database();
    let house = reader.house();
    let keys = reader.keys();
    let log = reader.log();
    let graphql = reader.graphql();
    let metrics = reader.metrics();
    let schedule = reader.schedule(&database);
    let roles = reader.roles(&schedule);
    let suites = reader.suites();
    let traces = reader.traces();
    reader.problems.is_empty().then_some(Settings {
        command: inputs.command,
        api_points_per_second,
        listen,
        apps,
        engine,
        database,
        house,
        schedule,
        roles,
        keys,
        graphql,
        metrics,
        suites,
        log,
        traces,
    })
}

struct Reader<'a> {
    inputs: &'a Inputs,
    values: &'a Values,
    problems: &'a mut Vec<Problem>,
    warnings: &'a mut Vec<String>,
}

impl<'a> Reader<'a> {
    fn listen(&mut self) -> ListenSettings {
        let host = match (self.text("host"), self.inputs.command) {
            (Some((_, host)), _) => Host::Named(host.trim_matches(['[', ']']).to_owned()),
            (None, Command::Dev) => Host::Loopback,
            (None, Command::Start | Command::Tool) => Host::Named("0.0.0.0".to_owned()),
        };
        if self.inputs.command == Command::Dev && !host.is_loopback() {
            self.warnings.push(
                "listening beyond this machine: `inngest dev` asks nobody for a key, so whoever reaches this address can run functions and read their data"
                    .to_owned(),
            );
        }
        let port = self.number("port", u64::from(DEFAULT_PORT));
        ListenSettings {
            host,
            port: u16::try_from(port).unwrap_or(DEFAULT_PORT),
        }
    }

    fn apps(&mut self) -> AppSettings {
        let mut urls = Vec::new();
        if let Some((key, given)) = self.given("sdk-url") {
            for text in &given.texts {
                match app_url(text) {
                    Ok(url) if urls.contains(&url) => {}
                    Ok(url) => urls.push(url),
                    Err(message) => self.problems.push(Problem::new(
                        given.place(key),
                        format!("`{text}` {message}"),
                    )),
                }
            }
        }
        let seconds = match self.number("poll-interval", DEFAULT_POLL_SECONDS) {
            0 => DEFAULT_POLL_SECONDS,
            seconds => seconds,
        };
        let dev = self.inputs.command == Command::Dev;
        AppSettings {
            urls,
            discover: dev && !self.switch("no-discovery"),
            extra_port: self
                .inputs
                .environment
                .get("PORT")
                .and_then(|port| port.parse().ok()),
            poll_healthy: dev && !self.switch("no-poll"),
            poll_interval: Duration::from_secs(seconds),
        }
    }

    fn engine(&mut self) -> EngineSettings {
        let workers =
            usize::try_from(self.number("queue-workers", DEFAULT_WORKERS)).unwrap_or(usize::MAX);
        let retry = self.number("retry-interval", 0);
        let drain = match self.inputs.command {
            Command::Dev => 3,
            Command::Start | Command::Tool => 25,
        };
        EngineSettings {
            workers: NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN),
            retry_interval: (retry > 0).then(|| Duration::from_secs(retry)),
            request_bytes: usize::try_from(self.number("request-memory", DEFAULT_REQUEST_MIB))
                .unwrap_or(usize::MAX)
                .saturating_mul(1024 * 1024),
            drain_timeout: Duration::from_secs(self.number("drain-timeout", drain)),
        }
    }

    fn database(&mut self) -> DatabaseSettings {
        let postgres = self.postgres();
        let sqlite_dir = self.text("sqlite-dir");
        let persist =
            self.switch("persist") || sqlite_dir.is_some() || self.inputs.command != Command::Dev;
        if let Some(postgres) = postgres {
            if sqlite_dir.is_some() {
                self.warnings
                    .push("sqlite-dir has no effect because postgres-uri is set".to_owned());
            }
            return DatabaseSettings::Postgres(postgres);
        }
        if !persist {
            return DatabaseSettings::Memory;
        }
        let dir = sqlite_dir.map_or_else(|| DEFAULT_SQLITE_DIR.to_owned(), |(_, dir)| dir);
        DatabaseSettings::Sqlite {
            directory: self.inputs.working_dir.join(dir),
        }
    }

    fn postgres(&mut self) -> Option<PostgresSettings> {
        let max_open = self.number("postgres-max-open-conns", 16);
        let (place, uri) = self.text("postgres-uri")?;
        if !(uri.starts_with("postgres://") || uri.starts_with("postgresql://")) {
            self.problems.push(Problem::new(
                place,
                "must begin with postgres:// or postgresql://",
            ));
        }
        Some(PostgresSettings {
            uri: Secret::new(uri),
            max_open: u32::try_from(max_open).unwrap_or(u32::MAX),
        })
    }

    fn api_points_per_second(&mut self) -> u32 {
        if self.inputs.command == Command::Dev {
            return 0;
        }
        u32::try_from(self.number("api-points-per-second", 2_000)).unwrap_or(u32::MAX)
    }

    fn house(&mut self) -> HouseSettings {
        HouseSettings {
            migrates: !self.switch("no-migrate"),
            retention_days: u32::try_from(self.number("retention-days", 30)).unwrap_or(u32::MAX),
        }
    }

    fn keys(&mut self) -> KeySettings {
        if self.inputs.command != Command::Start {
            return KeySettings {
                signing_key: None,
                signing_key_fallbacks: Vec::new(),
                event_keys: Vec::new(),
                secret_key: None,
                secret_key_fallback: None,
                tokens: None,
            };
        }
        let signing_key = self.text("signing-key");
        match &signing_key {
            None => self.problems.push(Problem::new("signing-key", required("signing-key"))),
            Some((place, key)) if !is_signing_key(key) => self.problems.push(Problem::new(
                place.as_str(),
                "must be an even number of hexadecimal digits, with or without a prefix such as `signkey-prod-`",
            )),
            Some(_) => {}
        }
        let event_keys = self.secrets("event-key");
        if event_keys.is_empty() {
            self.problems.push(Problem::new(
                "at least one event-key",
                required("event-key"),
            ));
        }
        let fallbacks = self.secrets("signing-key-fallback");
        if let Some((key, given)) = self.given("signing-key-fallback")
            && !fallbacks.iter().all(|key| is_signing_key(key.expose()))
        {
            self.problems.push(Problem::new(
                given.place(key),
                "must be an even number of hexadecimal digits, with or without a prefix",
            ));
        }
        let secret_key = self.text("secret-key");
        if let Some((place, secret)) = &secret_key
            && secret.len() < 16
        {
            self.problems
                .push(Problem::new(place.as_str(), "must have at least 16 bytes"));
        }
        let tokens = self.tokens();
        KeySettings {
            signing_key: signing_key.map(|(_, key)| Secret::new(key)),
            signing_key_fallbacks: fallbacks,
            event_keys,
            secret_key: secret_key.map(|(_, secret)| Secret::new(secret)),
            secret_key_fallback: self.secret("secret-key-fallback"),
            tokens,
        }
    }

    fn tokens(&mut self) -> Option<TokenSettings> {
        let issuer = self.text("token-issuer");
        let audience = self.text("token-audience");
        let tokens = TokenSettings {
            issuer: issuer.as_ref().map(|(_, text)| text.clone())?,
            audience: audience.map(|(_, text)| text).unwrap_or_default(),
            secret: self.secret("token-secret"),
            public_key: self.secret("token-public-key"),
            jwks_url: self.text("token-jwks-url").map(|(_, url)| url),
        };
        let place = issuer.map(|(place, _)| place).unwrap_or_default();
        if tokens.audience.is_empty() {
            self.problems
                .push(Problem::new(place.as_str(), "needs token-audience as well"));
        }
        if tokens.secret.is_none() && tokens.public_key.is_none() && tokens.jwks_url.is_none() {
            self.problems.push(Problem::new(
                place,
                "needs a key as well: token-secret, token-public-key or token-jwks-url",
            ));
        }
        Some(tokens)
    }

    fn secret(&self, name: &'static str) -> Option<Secret<String>> {
        self.text(name).map(|(_, text)| Secret::new(text))
    }

    fn secrets(&self, name: &'static str) -> Vec<Secret<String>> {
        let texts = self.given(name).map(|(_, given)| given.texts.as_slice());
        texts
            .unwrap_or_default()
            .iter()
            .map(|text| text.trim())
            .filter(|text| !text.is_empty())
            .map(|text| Secret::new(text.to_owned()))
            .collect()
    }

    fn graphql(&mut self) -> GraphqlSettings {
        let documents = match self.text("graphql-documents") {
            None => DocumentMode::Open,
            Some((place, text)) => match text.to_ascii_lowercase().as_str() {
                "open" => DocumentMode::Open,
                "known-for-browsers" => DocumentMode::KnownForBrowsers,
                "known-only" => DocumentMode::KnownOnly,
                _ => {
                    self.problems.push(Problem::new(
                        place,
                        format!(
                            "is `{text}`, which is none of open, known-for-browsers, known-only"
                        ),
                    ));
                    DocumentMode::Open
                }
            },
        };
        let manifest = self.text("graphql-manifest");
        GraphqlSettings {
            documents,
            manifest: manifest.map(|(_, path)| self.inputs.working_dir.join(path)),
        }
    }

    fn metrics(&mut self) -> MetricsSettings {
        let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS_PORT));
        match (self.text("metrics-listen"), self.inputs.command) {
            (None, Command::Start) => MetricsSettings::Usual(usual),
            (None, _) => MetricsSettings::Off,
            (Some((_, text)), _) if text.eq_ignore_ascii_case("off") => MetricsSettings::Off,
            (Some((place, text)), _) => match text.parse() {
                Ok(address) => MetricsSettings::At(address),
                Err(_) => {
                    self.problems.push(Problem::new(
                        place,
                        format!("is `{text}`, but must be an address with a port such as 127.0.0.1:9464, or `off`"),
                    ));
                    MetricsSettings::Off
                }
            },
        }
    }

    /// Only what serves is traced.
    fn traces(&mut self) -> Option<TraceSettings> {
        let is_serving = self.inputs.command != Command::Tool;
        is_serving
            .then(|| traces(&self.inputs.environment, self.problems, self.warnings))
            .flatten()
    }

    fn log(&mut self) -> LogSettings {
        let level = match self.text("log-level") {
            None if self.switch("verbose") => LogLevel::Debug,
            // What such a command prints is what was asked for.
            None if self.inputs.command == Command::Tool => LogLevel::Warn,
            None => LogLevel::Info,
            Some((place, text)) => LogLevel::parse(&text).unwrap_or_else(|| {
                self.problems.push(Problem::new(
                    place,
                    format!("is `{text}`, which is none of trace, debug, info, warn, error"),
                ));
                LogLevel::Info
            }),
        };
        LogSettings {
            level,
            json: self.switch("json"),
        }
    }

    fn schedule(&mut self, database: &DatabaseSettings) -> ScheduleSettings {
        let uri = self.text("redis-uri");
        let prefix = self.text("redis-prefix");
        let (Some((place, uri)), Command::Start) = (uri, self.inputs.command) else {
            return ScheduleSettings::Memory;
        };
        if !matches!(database, DatabaseSettings::Postgres(_)) {
            self.problems.push(Problem::new(
                place,
                "needs postgres-uri as well: servers that share a schedule share a database, and an SQLite file belongs to one",
            ));
        }
        let prefix = match prefix {
            Some((place, prefix)) => {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
                if prefix.len() > 64 || !prefix.chars().all(is_plain) {
                    self.problems.push(Problem::new(
                        place,
                        "must be up to 64 letters, digits, or any of - _ . :",
                    ));
                }
                prefix
            }
            None => DEFAULT_REDIS_PREFIX.to_owned(),
        };
        ScheduleSettings::Redis {
            uri: Secret::new(uri),
            prefix,
        }
    }

    fn roles(&mut self, schedule: &ScheduleSettings) -> Roles {
        let Some((key, given)) = self
            .given("role")
            .filter(|_| self.inputs.command == Command::Start)
        else {
            return Roles::ALL;
        };
        let mut roles = Roles {
            api: false,
            worker: false,
            scheduler: false,
        };
        for text in given.texts.iter().flat_map(|text| text.split(',')) {
            match text.trim().to_ascii_lowercase().as_str() {
                "api" => roles.api = true,
                "worker" => roles.worker = true,
                "scheduler" => roles.scheduler = true,
                "" => {}
                other => self.problems.push(Problem::new(
                    given.place(key),
                    format!("is `{other}`, which is none of api, worker, scheduler"),
                )),
            }
        }
        if !roles.api && !roles.worker && !roles.scheduler {
            return Roles::ALL;
        }
        if roles != Roles::ALL && *schedule == ScheduleSettings::Memory {
            self.problems.push(Problem::new(
                given.place(key),
                "needs redis-uri: without it the schedule is this server's own, and nobody else could do the rest",
            ));
        }
        roles
    }

    fn suites(&mut self) -> SuiteSettings {
        let asked = self.switch("v0-gql");
        SuiteSettings {
            v0_gql: asked || self.inputs.command == Command::Dev,
            test_routes: self.switch("test-routes"),
        }
    }

    fn given(&self, name: &'static str) -> Option<(&'static Key, &'a Given)> {
        find_key(name).zip(self.values.get(name))
    }

    /// The value and how messages name its place; `None` when it was not set, or set to nothing.
    fn text(&self, name: &'static str) -> Option<(String, String)> {
        let (key, given) = self.given(name)?;
        let text = given.texts.last()?.trim();
        (!text.is_empty()).then(|| (given.place(key), text.to_owned()))
    }

    fn switch(&mut self, name: &'static str) -> bool {
        let Some((place, text)) = self.text(name) else {
            return false;
        };
        is_on(&text).unwrap_or_else(|| {
            self.problems.push(Problem::new(
                place,
                format!("is `{text}`, but must be true or false"),
            ));
            false
        })
    }

    fn number(&mut self, name: &'static str, default: u64) -> u64 {
        let (Some((place, text)), Some(key)) = (self.text(name), find_key(name)) else {
            return default;
        };
        let Shape::Number { min, max } = key.shape else {
            return default;
        };
        match text.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                self.problems.push(Problem::new(
                    place,
                    format!("is `{text}`, but must be a whole number from {min} to {max}"),
                ));
                default
            }
        }
    }
}

fn required(name: &str) -> String {
    let variable = find_key(name).map(Key::variable).unwrap_or_default();
    format!("is required; give --{name}, or set {variable} or {variable}_FILE")
}

fn is_signing_key(text: &str) -> bool {
    let digits = match text.strip_prefix("signkey-") {
        None => text,
        Some(rest) => rest.split_once('-').map_or("", |(_, digits)| digits),
    };
    !digits.is_empty()
        && digits.len() % 2 == 0
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Adds `http://` where no scheme is given.
/// What a switch says; `None` for what is neither on nor off.
pub(crate) fn is_on(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn app_url(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let Some(rest) = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
    else {
        return Err("must begin with http:// or https://");
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') || url.contains(char::is_whitespace) {
        return Err("is not a URL such as http://localhost:3000/api/inngest");
    }
    Ok(url)
}
