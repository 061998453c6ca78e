//! Whether the database can be used by this version, and whose clock is right.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use inngest_config::{DatabaseSettings, Settings};
use inngest_core::time::Timestamp;
use inngest_services::Programs;
use inngest_state::{Error, Migrate, Store, StoreSettings, pending_migrations};

use crate::{
    chain::chain,
    doctor::{
        PATIENCE,
        finding::{Finding, bad, doubtful, good},
    },
    node::{advice, store_settings},
    postgres,
};

/// A difference of clocks that is worth a word: the logs of two machines are hard to compare.
const SKEW: std::time::Duration = std::time::Duration::from_secs(5);
/// A difference at which apps refuse signed calls; SDKs allow five minutes.
const GREAT_SKEW: std::time::Duration = std::time::Duration::from_secs(240);
/// The name of the file in the directory of an SQLite database.
const SQLITE_FILE: &str = "main.db";

/// Opens the database, if it is there, and reads its migrations and its clock.
pub(super) async fn look(settings: &Settings) -> Vec<Finding> {
    let subject = "database";
    let (place, check) = match &settings.database {
        DatabaseSettings::Memory => {
            return vec![good(subject, "a scratch file that is gone with the server")];
        }
        DatabaseSettings::Sqlite { directory } => {
            let file = directory.join(SQLITE_FILE);
            if !file.exists() {
                return vec![new_file(directory)];
            }
            let check = "check that the file and its directory may be written, or choose another with --sqlite-dir";
            (format!("SQLite at {}", file.display()), check)
        }
        DatabaseSettings::Postgres(postgres) => {
            let uri = postgres.uri.expose();
            match timeout(PATIENCE, postgres::silence(uri)).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(silence))) => {
                    let advice = "start it, or correct host and port in --postgres-uri";
                    return vec![bad(subject, silence, advice)];
                }
                Ok(Err(error)) => return vec![bad(subject, chain(&error), "correct it")],
                Err(_) => {
                    let message = "the address of Postgres is not found in time";
                    let advice = "check the host in --postgres-uri, and the name server";
                    return vec![bad(subject, message, advice)];
                }
            }
            let check = "check user, password and name of the database in --postgres-uri";
            ("Postgres".to_owned(), check)
        }
    };
    match timeout(PATIENCE, open(settings, &place)).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(error @ Error::SchemaAhead { .. })) => vec![bad(
            subject,
            error.to_string(),
            "start the newer version, or restore a copy of the database from before it ran",
        )],
        Ok(Err(error)) => {
            let message = chain(&anyhow::Error::new(error));
            let advice = advice(&message).unwrap_or(check);
            vec![bad(subject, format!("{place}: {message}"), advice)]
        }
        Err(_) => vec![bad(
            subject,
            format!("{place} gave no answer within {} s", PATIENCE.as_secs()),
            "see what keeps it busy: too many connections, or a lock on its tables",
        )],
    }
}

/// Judges a directory in which there is no file yet.
fn new_file(directory: &Path) -> Finding {
    let file = directory.join(SQLITE_FILE);
    let nearest = directory.ancestors().find(|path| path.exists());
    match nearest.map(Path::metadata) {
        Some(Ok(facts)) if facts.is_dir() && !facts.permissions().readonly() => {
            good("database", format!("{} will be made", file.display()))
        }
        _ => bad(
            "database",
            format!("{} cannot be made", file.display()),
            "check what is there and who may write, or choose another directory with --sqlite-dir",
        ),
    }
}

async fn open(settings: &Settings, place: &str) -> Result<Vec<Finding>, Error> {
    let store_settings = StoreSettings {
        migrate: Migrate::Separately,
        readers: 1,
        writing: 1,
        timeout: PATIENCE,
        ..store_settings(settings)
    };
    let pending = pending_migrations(&store_settings).await?.len();
    if pending > 0 {
        let message = format!("{place} lacks {pending} migrations");
        return Ok(vec![if settings.house.migrates {
            doubtful(
                "database",
                message,
                "nothing: the next start applies them, as `inngest migrate` does",
            )
        } else {
            bad(
                "database",
                message,
                "run `inngest migrate`: with --no-migrate a start is refused until then",
            )
        }]);
    }
    let message = format!("{place} has the schema of this version");
    let mut findings = vec![good("database", message)];
    if let DatabaseSettings::Postgres(postgres) = &settings.database {
        let matcher = Programs::default().matcher();
        let store = Store::open(&store_settings, matcher, &TaskTracker::new()).await?;
        let before = local_time();
        let theirs = store.now().await?;
        findings.push(match (before, local_time()) {
            (Ok(before), Ok(after)) => clocks(before, theirs, after),
            (Err(error), _) | (_, Err(error)) => bad("clock", chain(&error), NTP),
        });
        if let Some(allowed) = store.allowed_connections().await? {
            findings.push(connections(postgres.max_open, allowed));
        }
    }
    Ok(findings)
}

/// Judges how many connections a server may take of those that Postgres allows. Where it allows fewer than all servers want, it refuses
/// some of them under load, and what they were for waits for seconds.
fn connections(wanted: u32, allowed: u32) -> Finding {
    let message = format!("a server takes up to {wanted} of the {allowed} that Postgres allows");
    match allowed / wanted.max(1) {
        0 => bad(
            "connections",
            message,
            "lower --postgres-max-open-conns, or raise max_connections of Postgres",
        ),
        1 => doubtful(
            "connections",
            format!("{message}, which leaves no room for a second server, as in a rolling restart"),
            "lower --postgres-max-open-conns, or raise max_connections of Postgres",
        ),
        servers => good(
            "connections",
            format!("{message}: room for {servers} servers"),
        ),
    }
}

const NTP: &str = "set the clocks of both machines by NTP";

/// Judges the clock of the database, which was asked between two looks at the clock of this machine.
fn clocks(before: Timestamp, theirs: Timestamp, after: Timestamp) -> Finding {
    let skew = before.since(theirs).max(theirs.since(after));
    let message = format!(
        "this machine and the database differ by {} ms",
        skew.as_millis()
    );
    match skew {
        skew if skew >= GREAT_SKEW => bad(
            "clock",
            format!(
                "{message}; the server goes by the database, and apps refuse signed calls that are five minutes off"
            ),
            NTP,
        ),
        skew if skew >= SKEW => doubtful("clock", message, NTP),
        _ => good("clock", message),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the clock of this machine is what is looked at"
)]
fn local_time() -> anyhow::Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.context("the clock of this machine shows a time before 1970")?;
    Ok(Timestamp::from_millis(i64::try_from(since.as_millis())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn connections_are_judged_by_how_many_servers_fit() {
        for (wanted, allowed, level) in [
            (16, 97, Level::Good),
            (48, 97, Level::Good),
            (49, 97, Level::Doubtful),
            (97, 97, Level::Doubtful),
            (98, 97, Level::Bad),
        ] {
            assert_eq!(
                connections(wanted, allowed).level,
                level,
                "{wanted} of {allowed}"
            );
        }
    }

    #[test]
    fn clocks_are_judged_by_how_far_they_are_apart() {
        let at = Timestamp::from_millis;
        for (theirs, level, shown) in [
            (1_000_500, Level::Good, "by 0 ms"),
            (998_000, Level::Good, "by 2000 ms"),
            (995_000, Level::Doubtful, "by 5000 ms"),
            (1_011_000, Level::Doubtful, "by 10000 ms"),
            (700_000, Level::Bad, "by 300000 ms"),
            (1_241_000, Level::Bad, "by 240000 ms"),
        ] {
            let finding = clocks(at(1_000_000), at(theirs), at(1_001_000));
            assert_eq!(finding.level, level, "{theirs}");
            assert!(finding.message.contains(shown), "{}", finding.message);
        }
    }
}
