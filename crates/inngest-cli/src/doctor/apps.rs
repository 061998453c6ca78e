//! Whether the apps that are named answer.

use futures_util::{StreamExt, stream};

use inngest_config::{Command, Settings, without_credentials};
use inngest_executor::{AppClient, ExecutorSettings, Probe, ServerKind};

use crate::doctor::finding::{Finding, bad, doubtful, good};

/// Apps asked at once.
const AT_ONCE: usize = 16;

/// Asks each app for its SDK.
pub(super) async fn look(settings: &Settings) -> Vec<Finding> {
    let kind = match settings.command {
        Command::Dev => ServerKind::Dev,
        Command::Start | Command::Tool => ServerKind::Cloud,
    };
    let client = match AppClient::new(ExecutorSettings::new(kind)) {
        Ok(client) => client,
        Err(error) => {
            let advice = "check the root certificates of this machine";
            return vec![bad("apps", error.to_string(), advice)];
        }
    };
    stream::iter(&settings.apps.urls)
        .map(|url| one(&client, url))
        .buffered(AT_ONCE)
        .collect()
        .await
}

async fn one(client: &AppClient, url: &str) -> Finding {
    let shown = without_credentials(url);
    match client.probe(url).await {
        Probe::App { sdk: Some(sdk) } => good("app", format!("{shown} has SDK {sdk}")),
        Probe::App { sdk: None } => doubtful(
            "app",
            format!("{shown} has an SDK that does not tell its version"),
            "make sure that it is one that the README names",
        ),
        Probe::Foreign => bad(
            "app",
            format!("{shown} answers, but is no Inngest SDK"),
            "name the whole URL at which the SDK is served, which often ends in /api/inngest",
        ),
        // The server asks again until it answers.
        Probe::Unreachable => doubtful(
            "app",
            format!("{shown} does not answer"),
            "start the app, or correct --sdk-url; the server asks it again and again",
        ),
    }
}
