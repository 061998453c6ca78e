//! Logs of the whole process: for people on a terminal, JSON everywhere else. Spans go to a collector as well, where there is one.

use std::{
    io::{IsTerminal, Write, stderr, stdout},
    sync::OnceLock,
};

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use inngest_config::LogSettings;

use crate::{
    log_line::{Form, LogLines},
    log_writer::LogWriter,
    traces::Traces,
};

static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// Sets up logging for the whole process, and makes panics part of the log. Call once.
///
/// Libraries below the product are heard only when they warn, whatever the level, so that `debug` shows what the product does.
///
/// # Errors
/// When the system refuses a thread.
pub(crate) fn init(
    settings: LogSettings,
    colour: bool,
    traces: Option<&Traces>,
) -> std::io::Result<()> {
    let filter = EnvFilter::new(format!("warn,inngest={}", settings.level.as_str()));
    let form = if is_for_people(settings) {
        Form::Text { colour }
    } else {
        Form::Json
    };
    let writer = LogWriter::to_stdout(match form {
        Form::Json => |count| {
            format!(
                "{{\"level\":\"WARN\",\"message\":\"log lines were dropped, because nobody read them\",\"count\":{count}}}\n"
            )
        },
        Form::Text { .. } => |count| {
            format!(" WARN log lines were dropped, because nobody read them count={count}\n")
        },
    })?;
    let writer = WRITER.get_or_init(|| writer).clone();
    let lines = LogLines::new(form, move |line| writer.write(line)).with_filter(filter);
    let logged = tracing_subscriber::registry().with(lines);
    // Without a layer, spans that are for traces alone are known as such where they stand, and cost a look at one flag.
    match traces {
        Some(traces) => logged.with(traces.layer()).init(),
        None => logged.init(),
    }
    std::panic::set_hook(Box::new(|info| {
        tracing::error!(error = %info, "a task of the server panicked");
    }));
    Ok(())
}

/// Waits, but not for long, until what was logged so far is written. To be called before the process ends.
pub(crate) fn flush() {
    if let Some(writer) = WRITER.get() {
        writer.flush();
    }
}

/// Log lines that were dropped so far because nobody read them.
pub(crate) fn dropped() -> u64 {
    WRITER.get().map_or(0, LogWriter::dropped)
}

/// Logs of a command that asks a server: words on standard error, so that standard output holds data alone.
pub(crate) fn init_for_words(level: &str, colour: bool) {
    let filter = EnvFilter::new(format!("error,inngest={level}"));
    let form = Form::Text {
        colour: colour && stderr().is_terminal(),
    };
    let lines = LogLines::new(form, |line| {
        // Nothing is left to do about a closed standard error.
        let _ = stderr().write_all(line.as_bytes());
    });
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .init();
}

/// Whether a person reads along: standard output is a terminal and JSON was not asked for.
pub(crate) fn is_for_people(settings: LogSettings) -> bool {
    !settings.json && stdout().is_terminal()
}
