//! `inngest doctor`: looks at everything that a server with these settings would need, and says what to do about what is wrong. It changes
//! nothing, and nothing that it prints holds a secret.

mod apps;
mod database;
mod finding;
mod keys;
mod ports;
mod redis;

use std::time::Duration;

use inngest_config::{Inputs, Loaded, load};

use crate::tools::print;
use finding::{Finding, bad, doubtful, good, is_fit};

/// The end of `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 a server could start and work (there may be warnings), 1 something would keep it from that, 2 wrong usage.
Changes nothing. With --json it prints one object: ok, and findings with level (ok, warning, error), subject, message and advice.";

/// Longest look at one thing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints what was found, and says whether a server could start and work. Takes about twenty seconds at most: everything is looked at at once.
///
/// # Errors
/// When standard output takes nothing.
pub(crate) async fn run(inputs: &Inputs, json: bool) -> anyhow::Result<bool> {
    let findings = match load(inputs) {
        Ok(loaded) => look(&loaded).await,
        Err(problems) => problems
            .0
            .iter()
            .map(|problem| {
                let advice = "correct it; the rest is looked at when the settings can be used";
                bad("settings", problem.to_string(), advice)
            })
            .collect(),
    };
    print(&if json {
        format!("{:#}\n", finding::json(&findings))
    } else {
        finding::text(&findings)
    })?;
    Ok(is_fit(&findings))
}

async fn look(loaded: &Loaded) -> Vec<Finding> {
    let settings = &loaded.settings;
    let (ports, database, redis, apps) = tokio::join!(
        ports::look(settings),
        database::look(settings),
        redis::look(&settings.schedule),
        apps::look(settings),
    );
    let mut findings = vec![match &loaded.file {
        Some(file) => good(
            "settings",
            format!("fit together; {} is read", file.display()),
        ),
        None => good("settings", "fit together; there is no settings file"),
    }];
    findings.extend(loaded.warnings.iter().map(|warning| {
        let advice = "leave it out or correct it, unless it is meant so";
        doubtful("settings", warning.as_str(), advice)
    }));
    findings.extend(keys::look(settings));
    findings.extend([ports, database, redis, apps].into_iter().flatten());
    findings
}
