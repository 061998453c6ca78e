//! What a person sees when a server starts.

use std::fmt::Write;

use inngest_config::{AppSettings, Command, DatabaseSettings, Settings};

/// A few lines on where everything is. `url` is the server's own, without a slash at its end.
pub(crate) fn banner(settings: &Settings, url: &str) -> String {
    let command = match settings.command {
        Command::Dev => "dev",
        Command::Start | Command::Tool => "start",
    };
    let mut text = format!("\n  inngest {command} {}\n\n", env!("CARGO_PKG_VERSION"));
    let mut row = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<9}{value}");
    };
    match settings.command {
        Command::Dev => row("Explorer", &format!("{url}/graphql")),
        Command::Start | Command::Tool => row("GraphQL", &format!("{url}/graphql")),
    }
    row(
        "Events",
        &format!(
            "POST {url}/e/{}",
            if settings.command == Command::Dev {
                "any-key"
            } else {
                "<event key>"
            }
        ),
    );
    row("SDKs", &sdk_hint(settings.command, url));
    row("Apps", &apps(&settings.apps));
    row("Data", &data(&settings.database));
    text
}

fn sdk_hint(command: Command, url: &str) -> String {
    match command {
        Command::Dev if url.ends_with(":8288") => "set INNGEST_DEV=1".to_owned(),
        Command::Dev => format!("set INNGEST_DEV={url}"),
        Command::Start | Command::Tool => {
            format!("set INNGEST_BASE_URL={url}, INNGEST_SIGNING_KEY and INNGEST_EVENT_KEY")
        }
    }
}

fn apps(settings: &AppSettings) -> String {
    let given = settings.urls.join(", ");
    match (given.is_empty(), settings.discover) {
        (true, true) => "looking on the usual local ports; --sdk-url names others".to_owned(),
        (true, false) => "none yet; they may register by themselves".to_owned(),
        (false, true) => format!("{given}; looking on the usual local ports as well"),
        (false, false) => given,
    }
}

fn data(settings: &DatabaseSettings) -> String {
    match settings {
        DatabaseSettings::Memory => "gone when the server stops; --persist keeps it".to_owned(),
        DatabaseSettings::Sqlite { directory } => directory.join("main.db").display().to_string(),
        DatabaseSettings::Postgres(_) => "Postgres".to_owned(),
    }
}
