//! `inngest runs | events | functions | apps`: the command line as a client of the GraphQL API.
//!
//! It knows a server by its URL alone and speaks nothing but the documents in `documents/`, so it proves that the API is complete, and works
//! with a server anywhere. Data goes to standard output, words to standard error; [`failure::Exit`] lists the exit codes.

mod apps;
pub(crate) mod args;
mod ask;
mod bulk;
mod connection;
pub(crate) mod documents;
mod events;
pub(crate) mod failure;
mod functions;
mod live;
mod output;
mod runs;

use std::{
    collections::BTreeMap,
    io::{Write, stderr},
    process::ExitCode,
};

use args::{AppsArgs, EventsArgs, FunctionsArgs, OutputArgs, RunsArgs, ServerArgs};
use connection::Server;
use failure::{Exit, Failure};
use output::Output;

/// A command for a server.
#[derive(Debug)]
pub(crate) enum Request {
    Runs(RunsArgs),
    Events(EventsArgs),
    Functions(FunctionsArgs),
    Apps(AppsArgs),
}

impl Request {
    fn shared(&self) -> (&ServerArgs, &OutputArgs) {
        match self {
            Self::Runs(args) => (&args.server, &args.output),
            Self::Events(args) => (&args.server, &args.output),
            Self::Functions(args) => (&args.server, &args.output),
            Self::Apps(args) => (&args.server, &args.output),
        }
    }
}

/// Carries out a request and says how it ended; failures are told on standard error. `json` is whether `--json` was given.
pub(crate) fn run(
    request: &Request,
    json: bool,
    environment: &BTreeMap<String, String>,
) -> ExitCode {
    match try_run(request, json, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to do about a closed standard error.
            let _ = writeln!(stderr(), "Error: {failure}");
            failure.exit.into()
        }
    }
}

fn try_run(
    request: &Request,
    json: bool,
    environment: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    let (server, output) = request.shared();
    let output = Output::new(output, json)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("could not start: {error}")))?;
    runtime.block_on(async {
        let server = Server::new(server, environment)?;
        match request {
            Request::Runs(args) => runs::run(&server, &output, &args.verb).await,
            Request::Events(args) => events::run(&server, &output, &args.verb).await,
            Request::Functions(args) => functions::run(&server, &output, &args.verb).await,
            Request::Apps(args) => apps::run(&server, &output, &args.verb).await,
        }
    })
}
