//! Logs: for people on a terminal, JSON everywhere else.

use std::io::{IsTerminal, stdout};

use tracing_subscriber::{EnvFilter, fmt};

use inngest_config::LogSettings;

/// Sets up logging for the whole process, and makes panics part of the log. Call once.
///
/// Libraries below the product are heard only when they warn, whatever the level, so that `debug` shows what the product does.
pub(crate) fn init(settings: LogSettings, colour: bool) {
    let filter = EnvFilter::new(format!("warn,inngest={}", settings.level.as_str()));
    let builder = fmt().with_env_filter(filter);
    if is_for_people(settings) {
        builder
            .compact()
            .with_target(false)
            .with_ansi(colour)
            .init();
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .init();
    }
    std::panic::set_hook(Box::new(|info| {
        tracing::error!(error = %info, "a task of the server panicked");
    }));
}

/// Whether a person reads along: standard output is a terminal and JSON was not asked for.
pub(crate) fn is_for_people(settings: LogSettings) -> bool {
    !settings.json && stdout().is_terminal()
}
