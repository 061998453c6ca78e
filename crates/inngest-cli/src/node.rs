//! One server process: puts the parts together, runs them, and takes them apart in order.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use inngest_config::{
    AppSettings, Command, DatabaseSettings, DocumentMode, GraphqlSettings, Host, Loaded,
    ScheduleSettings, Settings, TokenSettings,
};
use inngest_core::{
    access::Actor,
    ids::{DEFAULT_ENV, DEFAULT_ORG, IdSource},
    time::Clock,
    wire::signature::SigningKey,
};
use inngest_devserver::{Scan, WatchSettings, defaults::PORTS, watch_apps};
use inngest_executor::{AppClient, ExecutorSettings, ServerKind};
use inngest_queue::{Queue, RedisSettings, model::QueueSettings, worker::WorkerSettings};
use inngest_server::{ConnectionLimits, Documents, ServerSettings, probes, router, serve_with};
use inngest_services::{
    Mode, Parts, Programs, SecretKey, ServiceSettings, Services, TokenIssuer, TokenKey,
};
use inngest_state::{Migrate, Place, Store, StoreSettings, Writers};

use crate::{
    banner::banner, chain::chain, client, data_dir::DataDir, listen::listen, metrics, postgres,
    shutdown, telemetry::is_for_people,
};

/// How long closing may take after everything has been drained: a last commit, the database's own files.
const CLOSE_TIME: Duration = Duration::from_secs(5);

/// Runs the server until a signal stops it.
///
/// # Errors
/// What keeps it from starting. Once it serves, failures are answered to callers and logged.
pub(crate) async fn run(loaded: &Loaded) -> anyhow::Result<()> {
    let settings = &loaded.settings;
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let ended = CancellationToken::new();
    shutdown::on_signal(stop.clone(), &tasks, ended.clone())?;

    // The port first: it is the quickest to fail, and callers queue up in it while the rest starts.
    let listeners = listen(&settings.listen, settings.command).await?;
    let address = listeners
        .first()
        .context("nothing to listen on")?
        .local_addr()?;
    let _directory = match &settings.database {
        DatabaseSettings::Sqlite { directory } => Some(DataDir::claim(directory)?),
        DatabaseSettings::Memory | DatabaseSettings::Postgres(_) => None,
    };
    serve(loaded, listeners, address, &tasks, &stop).await?;
    ended.cancel();
    tasks.close();
    if tokio::time::timeout(CLOSE_TIME, tasks.wait())
        .await
        .is_err()
    {
        warn!("some tasks did not end in time; what they were doing goes on after the next start");
    }
    info!("stopped");
    Ok(())
}

/// Everything between opening the database and dropping the last handle to it.
async fn serve(
    loaded: &Loaded,
    listeners: Vec<TcpListener>,
    address: SocketAddr,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let settings = &loaded.settings;
    let is_dev = settings.command == Command::Dev;
    let programs = Programs::default();
    let opened = tokio::select! {
        opened = open(settings, &programs, tasks) => opened,
        // Only what would take long is cut short: a database that does not answer.
        () = stop.cancelled() => return Ok(()),
    };
    let store = opened?;
    let metrics = metrics::start(&settings.metrics).await?;
    let clock = Clock::starting_at(store.now().await?);
    let queue = schedule(&settings.schedule, clock.clone(), tasks)?;
    let kind = if is_dev {
        ServerKind::Dev
    } else {
        ServerKind::Cloud
    };
    let client = AppClient::new(ExecutorSettings::new(kind))?;
    let services = Services::start(Parts {
        store,
        queue: queue.clone(),
        client: client.clone(),
        clock,
        ids: IdSource::random(),
        programs,
        tracker: tasks.clone(),
        settings: service_settings(settings)?,
    })
    .await?;

    let server_settings = ServerSettings {
        bodies_bytes: settings.engine.request_bytes,
        v0_gql: settings.suites.v0_gql,
        documents: known_documents(&settings.graphql).await?,
        ..ServerSettings::new(is_dev, stop.clone(), tasks.clone())
    };
    let roles = settings.roles;
    let router = if roles.api {
        router(services.clone(), server_settings)
    } else {
        probes(services.clone(), server_settings)
    };
    let limits = ConnectionLimits {
        drain_time: settings.engine.drain_timeout,
        ..ConnectionLimits::default()
    };
    let actor = if is_dev {
        Actor::dev()
    } else {
        Actor::system(DEFAULT_ORG, DEFAULT_ENV)
    };
    services.attend(stop);
    if let Some(metrics) = metrics {
        metrics.serve(services.clone(), stop.clone(), tasks);
    }
    if roles.scheduler {
        services.keep_filled(stop.clone());
        services.keep_tidy(stop.clone());
        tasks.spawn(watch_apps(
            services.clone(),
            client,
            actor,
            watch_settings(&settings.apps, address.port()),
            stop.clone(),
        ));
    }
    if is_for_people(settings.log) {
        print(&banner(settings, &own_url(&settings.listen.host, address)))?;
    }
    let workers = WorkerSettings {
        grace: settings.engine.drain_timeout,
        ..WorkerSettings::new(settings.engine.workers)
    };
    // Apps that are being called send events and report steps meanwhile, so the port closes after the last call has ended.
    let close = CancellationToken::new();
    let working = async {
        if roles.worker {
            services.work(workers, stop.clone()).await;
        } else {
            stop.cancelled().await;
        }
        close.cancel();
    };
    let serving = async {
        for listener in &listeners {
            if let Ok(address) = listener.local_addr() {
                info!(%address, "listening");
            }
        }
        serve_with(listeners, router, limits, close.clone(), tasks.clone()).await;
        stop.cancel();
    };
    tokio::join!(serving, working);
    queue.leave().await;
    Ok(())
}

/// The documents of the command line and those of the manifest.
async fn known_documents(settings: &GraphqlSettings) -> anyhow::Result<Documents> {
    let mut documents = Documents::new(match settings.documents {
        DocumentMode::Open => inngest_server::DocumentMode::Open,
        DocumentMode::KnownForBrowsers => inngest_server::DocumentMode::KnownForBrowsers,
        DocumentMode::KnownOnly => inngest_server::DocumentMode::KnownOnly,
    });
    for document in client::documents::ALL {
        documents.add(document.text);
    }
    if let Some(path) = &settings.manifest {
        let path_shown = path.display();
        let json = std::fs::read(path)
            .with_context(|| format!("could not read the GraphQL manifest {path_shown}"))?;
        let count = documents
            .add_manifest(&json)
            .map_err(|error| anyhow!("the GraphQL manifest {path_shown} {error}"))?;
        info!("{count} GraphQL documents of {path_shown} are known");
        for misfit in documents.misfits().await {
            warn!("a GraphQL document of {path_shown} does not fit this version: {misfit}");
        }
    }
    Ok(documents)
}

async fn open(
    settings: &Settings,
    programs: &Programs,
    tasks: &TaskTracker,
) -> anyhow::Result<Store> {
    if let DatabaseSettings::Postgres(postgres) = &settings.database {
        postgres::wait(postgres.uri.expose()).await?;
    }
    Store::open(&store_settings(settings), programs.matcher(), tasks)
        .await
        .map_err(explain)
}

fn schedule(
    settings: &ScheduleSettings,
    clock: Clock,
    tasks: &TaskTracker,
) -> anyhow::Result<Queue> {
    match settings {
        ScheduleSettings::Memory => Ok(Queue::memory(clock, QueueSettings::default())),
        ScheduleSettings::Redis { uri, prefix } => {
            let redis = RedisSettings {
                prefix: prefix.clone(),
                ..RedisSettings::at(uri.expose().clone())
            };
            Ok(Queue::redis(
                clock,
                QueueSettings::default(),
                &redis,
                tasks,
            )?)
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("could not write to standard output")
}

/// How this machine reaches the server.
fn own_url(host: &Host, address: SocketAddr) -> String {
    match address.ip() {
        _ if host.is_loopback() => format!("http://localhost:{}", address.port()),
        IpAddr::V4(ip) if ip.is_unspecified() => format!("http://localhost:{}", address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => format!("http://localhost:{}", address.port()),
        IpAddr::V4(_) | IpAddr::V6(_) => format!("http://{address}"),
    }
}

pub(crate) fn store_settings(settings: &Settings) -> StoreSettings {
    let store = match &settings.database {
        DatabaseSettings::Memory => StoreSettings::at(Place::Scratch),
        DatabaseSettings::Sqlite { directory } => {
            StoreSettings::at(Place::Directory(directory.clone()))
        }
        DatabaseSettings::Postgres(postgres) => StoreSettings {
            readers: postgres.max_open - writing_connections(postgres.max_open),
            writing: writing_connections(postgres.max_open),
            writers: match settings.schedule {
                ScheduleSettings::Memory => Writers::One,
                ScheduleSettings::Redis { .. } => Writers::Several,
            },
            ..StoreSettings::at(Place::Postgres(postgres.uri.expose().clone()))
        },
    };
    StoreSettings {
        migrate: if settings.house.migrates {
            Migrate::AtOpening
        } else {
            Migrate::Separately
        },
        ..store
    }
}

/// How many of at most so many connections, two at least, are for writing: many rows go into one commit, so few are enough.
fn writing_connections(all: u32) -> u32 {
    (all / 4).clamp(1, 6)
}

fn service_settings(settings: &Settings) -> anyhow::Result<ServiceSettings> {
    let mode = match settings.command {
        Command::Dev => Mode::Dev,
        Command::Start | Command::Tool => Mode::Start,
    };
    let keys = &settings.keys;
    let mut signing_keys = Vec::new();
    for key in keys.signing_key.iter().chain(&keys.signing_key_fallbacks) {
        let key = SigningKey::parse(key.expose());
        signing_keys.push(key.context("a signing key cannot be used")?);
    }
    Ok(ServiceSettings {
        retry_interval: settings.engine.retry_interval,
        retention_days: settings.house.retention_days,
        api_rate: ServiceSettings::api_rate(settings.api_points_per_second),
        test_routes: settings.suites.test_routes,
        signing_keys,
        token_issuer: keys.tokens.as_ref().map(token_issuer),
        secret_keys: secret_keys(settings)?,
        event_keys: keys
            .event_keys
            .iter()
            .map(|key| key.expose().clone())
            .collect(),
        ..ServiceSettings::new(mode)
    })
}

/// What secrets in the database are sealed with, and what they may have been sealed with before. The signing keys take the place of a
/// secret key, so that one may be configured later.
pub(crate) fn secret_keys(settings: &Settings) -> anyhow::Result<Vec<SecretKey>> {
    let keys = &settings.keys;
    keys.secret_key
        .iter()
        .chain(&keys.secret_key_fallback)
        .chain(&keys.signing_key)
        .chain(&keys.signing_key_fallbacks)
        .map(|secret| secret.expose())
        // A short signing key is no secret to derive from.
        .filter(|secret| secret.len() >= 16)
        .map(|secret| SecretKey::derive(secret).context("the secret key cannot be used"))
        .collect()
}

fn token_issuer(settings: &TokenSettings) -> TokenIssuer {
    let secret = settings.secret.iter();
    let public_key = settings.public_key.iter();
    let jwks_url = settings.jwks_url.iter();
    TokenIssuer {
        issuer: settings.issuer.clone(),
        audience: settings.audience.clone(),
        keys: secret
            .map(|secret| TokenKey::Secret(secret.expose().clone()))
            .chain(public_key.map(|pem| TokenKey::PublicKey(pem.expose().clone())))
            .chain(jwks_url.map(|url| TokenKey::Jwks(url.clone())))
            .collect(),
    }
}

fn watch_settings(apps: &AppSettings, own_port: u16) -> WatchSettings {
    let ports = PORTS.into_iter().chain(apps.extra_port).collect();
    WatchSettings {
        urls: apps.urls.clone(),
        scan: apps.discover.then_some(Scan { ports, own_port }),
        poll_healthy: apps.poll_healthy,
        interval: apps.poll_interval,
    }
}

/// Adds what a person can do about a database that does not open.
pub(crate) fn explain(error: inngest_state::Error) -> anyhow::Error {
    let error = anyhow::Error::new(error);
    let text = chain(&error);
    match advice(&text) {
        Some(advice) => anyhow!("{text}; {advice}"),
        None => error,
    }
}

/// What a person can do about a database that does not open, by what the message about it says.
pub(crate) fn advice(message: &str) -> Option<&'static str> {
    const ADVICE: [(&str, &str); 6] = [
        (
            "not a database",
            "move the file away, or choose another directory with --sqlite-dir",
        ),
        (
            "malformed",
            "the file is damaged: restore a copy, or choose another directory with --sqlite-dir",
        ),
        (
            "disk is full",
            "make room on the disk, or choose another directory with --sqlite-dir",
        ),
        (
            "unable to open database file",
            "check who may write there, or choose another directory with --sqlite-dir",
        ),
        (
            "readonly database",
            "check who may write there, or choose another directory with --sqlite-dir",
        ),
        (
            "authentication failed",
            "check the user and the password in --postgres-uri",
        ),
    ];
    let found = ADVICE.iter().find(|(sign, _)| message.contains(sign));
    found.map(|(_, advice)| *advice)
}
