//! `inngest migrate`, `inngest retention` and `inngest token`: what is done once and by hand.

use std::{
    fmt::Write as _,
    io::{Write as _, stdout},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use inngest_config::{DatabaseSettings, Loaded};
use inngest_core::{access::Role, time::Clock};
use inngest_services::{Programs, Retention, RetentionReport, issue_token};
use inngest_state::{Migrate, Store, StoreSettings, migrate, pending_migrations};

use crate::{
    data_dir::DataDir,
    node::{explain, secret_keys, store_settings},
    postgres,
};

/// Brings the schema up to date, or says what that would mean.
///
/// # Errors
/// What keeps the database from being opened or changed.
pub(crate) async fn run_migrate(loaded: &Loaded, is_dry: bool) -> anyhow::Result<()> {
    let _directory = claim(loaded).await?;
    let settings = store_settings(&loaded.settings);
    let (names, done) = if is_dry {
        (pending_migrations(&settings).await, "pending")
    } else {
        (migrate(&settings).await, "applied")
    };
    let mut text = String::new();
    for name in names.map_err(explain)? {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{done} {name}");
    }
    if text.is_empty() {
        text.push_str("The schema is up to date.\n");
    }
    print(&text)
}

/// Deletes what is too old, or says what that would be.
///
/// # Errors
/// What keeps the database from being opened or changed, or another process that is deleting.
pub(crate) async fn run_retention(loaded: &Loaded, is_dry: bool) -> anyhow::Result<()> {
    let _directory = claim(loaded).await?;
    let store = open(loaded).await?;
    let clock = Clock::starting_at(store.now().await?);
    let retention = Retention::new(store, clock, loaded.settings.house.retention_days);
    let report = if is_dry {
        retention.foretell().await?
    } else {
        let stop = CancellationToken::new();
        match retention.pass(Duration::ZERO, &stop).await? {
            Some(report) => report,
            None => bail!("another process is deleting right now; try again later"),
        }
    };
    print(&told(&report, is_dry))
}

/// Makes a token of the installation whose database the settings name, and prints it. Nothing of it is kept.
///
/// # Errors
/// What keeps the database from being opened, or a secret key that does not fit it.
pub(crate) async fn run_token(
    loaded: &Loaded,
    subject: &str,
    role: &str,
    valid_for_hours: u64,
) -> anyhow::Result<()> {
    let role = Role::parse(role).context("there is no such role")?;
    let store = open(loaded).await?;
    let now = store.now().await?;
    let valid_for = Duration::from_secs(valid_for_hours * 3_600);
    let keys = secret_keys(&loaded.settings)?;
    let token = issue_token(&store, &keys, subject, role, valid_for, now).await?;
    print(&format!("{token}\n"))
}

/// The database as it is; its schema is left alone.
async fn open(loaded: &Loaded) -> anyhow::Result<Store> {
    let settings = StoreSettings {
        migrate: Migrate::Separately,
        ..store_settings(&loaded.settings)
    };
    Store::open(
        &settings,
        Programs::default().matcher(),
        &TaskTracker::new(),
    )
    .await
    .map_err(explain)
}

async fn claim(loaded: &Loaded) -> anyhow::Result<Option<DataDir>> {
    match &loaded.settings.database {
        DatabaseSettings::Sqlite { directory } => DataDir::claim(directory).map(Some),
        DatabaseSettings::Postgres(settings) => {
            postgres::wait(settings.uri.expose()).await?;
            Ok(None)
        }
        DatabaseSettings::Memory => Ok(None),
    }
}

/// A line per partition and per environment.
fn told(report: &RetentionReport, is_dry: bool) -> String {
    let (drop, delete) = if is_dry {
        ("would drop", "would delete")
    } else {
        ("dropped", "deleted")
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    for (name, rows) in &report.partitions {
        let about = if is_dry {
            format!(" (about {rows} rows)")
        } else {
            String::new()
        };
        let _ = writeln!(text, "{drop} partition {name}{about}");
    }
    for environment in &report.environments {
        let _ = match environment.cutoff {
            None => writeln!(text, "environment {}: everything is kept", environment.slug),
            Some(cutoff) => {
                let rows = environment.rows;
                writeln!(
                    text,
                    "environment {}: {delete} {} runs, {} steps, {} failed attempts, {} events from before {cutoff}",
                    environment.slug, rows.runs, rows.steps, rows.failed_attempts, rows.events
                )
            }
        };
    }
    if report.environments.is_empty() {
        text.push_str("There is no environment yet.\n");
    }
    text
}

/// Writes to standard output.
///
/// # Errors
/// When it takes nothing.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    stdout()
        .write_all(text.as_bytes())
        .context("could not write to standard output")
}
