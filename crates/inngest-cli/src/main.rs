//! The binary: reads settings, puts the parts together, runs them and exits with a meaningful code.
//!
//! Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage, 130 stopped by a second signal; those of commands that ask a server are in
//! `client/failure.rs`, those of commands that look at settings in their help.

mod args;
mod banner;
mod chain;
mod client;
mod data_dir;
mod doctor;
mod listen;
mod log_line;
mod log_writer;
mod manual;
mod metrics;
mod node;
mod postgres;
mod settings;
mod shutdown;
mod telemetry;
mod tools;
mod traces;
mod version;

use std::{
    io::{Write, stderr},
    process::ExitCode,
};

use anyhow::Context;
use tokio::runtime::Runtime;

use inngest_config::{Inputs, Loaded, load};

use crate::{
    args::{Asked, Examination},
    chain::chain,
    traces::Traces,
};

fn main() -> ExitCode {
    // Two are compiled in, and libraries that leave the choice to the process panic without it; nobody has chosen before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ended = run();
    telemetry::flush();
    match ended {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to do about a closed standard error.
            let _ = writeln!(stderr(), "Error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let working_dir = std::env::current_dir().context("could not find the working directory")?;
    let done = match args::parse(working_dir) {
        Asked::Ask {
            request,
            json,
            level,
            environment,
        } => {
            telemetry::init_for_words(level, !environment.contains_key("NO_COLOR"));
            return Ok(client::run(&request, json, &environment));
        }
        Asked::Examine {
            inputs,
            examination,
            json,
            level,
        } => {
            telemetry::init_for_words(level, !inputs.environment.contains_key("NO_COLOR"));
            let is_well = examine(&inputs, examination, json)?;
            return Ok(if is_well {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Asked::Completions(shell) => manual::completions(shell),
        Asked::Manual(directory) => manual::pages(&directory),
        Asked::Version => version::print(),
        Asked::Serve(inputs) => with_settings(&inputs, async |loaded| node::run(loaded).await),
        Asked::Migrate { inputs, is_dry } => with_settings(&inputs, async |loaded| {
            tools::run_migrate(loaded, is_dry).await
        }),
        Asked::Retention { inputs, is_dry } => with_settings(&inputs, async |loaded| {
            tools::run_retention(loaded, is_dry).await
        }),
        Asked::Token {
            inputs,
            subject,
            role,
            valid_for_hours,
        } => with_settings(&inputs, async |loaded| {
            tools::run_token(loaded, &subject, &role, valid_for_hours).await
        }),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn with_settings(
    inputs: &Inputs,
    run: impl AsyncFnOnce(&Loaded) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let loaded = load(inputs)?;
    let runtime = runtime()?;
    let traces = match &loaded.settings.traces {
        Some(settings) => Some(Traces::start(settings, runtime.handle().clone())?),
        None => None,
    };
    let wants_colour = !inputs.environment.contains_key("NO_COLOR");
    telemetry::init(loaded.settings.log, wants_colour, traces.as_ref())
        .context("could not set up logging")?;
    if let Some(file) = &loaded.file {
        tracing::info!("settings file: {}", file.display());
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(settings) = &loaded.settings.traces {
        tracing::info!(service = settings.service_name, "traces are sent");
    }
    let ended = runtime.block_on(run(&loaded));
    if let Some(traces) = traces {
        traces.stop();
    }
    ended
}

/// Whether what was looked at is as it should be. What was found is printed.
fn examine(inputs: &Inputs, examination: Examination, json: bool) -> anyhow::Result<bool> {
    match examination {
        Examination::Doctor => runtime()?.block_on(doctor::run(inputs, json)),
        Examination::Check => settings::check(load(inputs), json),
        Examination::Print { sources } => {
            settings::show(&load(inputs)?, sources, json).map(|()| true)
        }
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")
}
