//! The yardstick: how fast a running server accepts events, starts runs, continues them and wakes them.
//!
//! This program is both sides of the server under test: the senders of events and the SDK app whose one function the
//! server calls. Every figure comes from this process's own clock, so a server cannot flatter itself. Each execution
//! marks its events, so that runs left over from an earlier one are answered and not counted. Nothing leaves loopback.
//!
//! Exit codes: 0 all runs ended (or all events were accepted), 1 the server could not be used, 2 bad arguments,
//! 3 some are missing.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

mod app;
mod memory;
mod producer;
mod report;

use std::{
    error::Error,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{app::App, memory::Memory, producer::Producer};

/// What ends the program before it has measured anything.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Between the last run's pause and the first reply. The app sees its answer leave, not the server storing the pause,
/// and a reply that comes before the pause is rightly ignored.
const SETTLE: Duration = Duration::from_secs(2);

/// After the last run, outside every figure: time for a second call or a second run of an event to show itself.
const LINGER: Duration = Duration::from_millis(500);

/// Measures a running server by one workload.
#[derive(Parser)]
pub(crate) struct Args {
    /// The server under test; a loopback address
    #[arg(long, default_value = "http://127.0.0.1:8288", value_parser = loopback)]
    pub(crate) server: String,
    /// What to do with it
    #[arg(long, value_enum, default_value = "noop")]
    pub(crate) work: Work,
    /// Runs to complete; events for `ingest`
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) runs: u64,
    /// Event requests under way at once; `latency` has one
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) senders: u64,
    /// Events in each request
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) batch: u64,
    /// Steps of each run, for `steps` and `latency`
    #[arg(long, default_value_t = 5)]
    pub(crate) steps: u64,
    /// How long each run of `sleep` sleeps, in ms
    #[arg(long, default_value_t = 2000)]
    pub(crate) sleep_ms: u64,
    /// The server's process, to read its resident memory from /proc
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Event key
    #[arg(long, default_value = "bench")]
    pub(crate) event_key: String,
    /// Signing key the server was started with
    #[arg(long)]
    pub(crate) signing_key: Option<String>,
    /// Give up after so many seconds without a call, an end of a run or an accepted event
    #[arg(long, default_value_t = 30)]
    pub(crate) patience: u64,
}

/// One workload.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// One run after the other, each of `--steps` steps: the delays of an idle server
    Latency,
    /// Runs of one call
    Noop,
    /// Runs of `--steps` steps, a call each, and a last call
    Steps,
    /// Runs that all wait for an event of their own, which is then sent
    Wait,
    /// Runs that sleep once
    Sleep,
    /// Events that start nothing
    Ingest,
}

impl Work {
    /// The name of the workload in function ids and event names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Noop => "noop",
            Self::Steps => "steps",
            Self::Wait => "wait",
            Self::Sleep => "sleep",
            Self::Ingest => "ingest",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the workload and prints its figures; says whether nothing is missing.
async fn measure(args: Args) -> Result<bool, Failure> {
    let app = Arc::new(App::new(&args));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let mut serving = JoinSet::new();
    serving.spawn(app::serve(listener, Arc::clone(&app)));

    let producer = Arc::new(Producer::new(&args, Arc::clone(&app))?);
    producer.register(port).await?;

    let mut memory = Memory::of(args.pid)?;
    app.start();
    tokio::select! {
        () = drive(&args, &app, &producer) => tokio::time::sleep(LINGER).await,
        () = stalled(&args, &app, &mut memory) => {}
    }
    memory.sample();
    Ok(report::print(&args, &app, &memory))
}

/// Sends what the workload sends, and returns when each run has ended or its event was refused.
async fn drive(args: &Args, app: &App, producer: &Arc<Producer>) {
    let event = format!("bench/{}", args.work.name());
    if args.work == Work::Latency {
        for n in 0..args.runs {
            producer.send(&event, n..n + 1).await;
            app.until(|seen| seen.done + seen.refused > n).await;
        }
        return;
    }
    producer.send_all(&event).await;
    app.sending_ended();
    match args.work {
        Work::Ingest => return,
        Work::Wait => {
            app.until(|seen| seen.paused + seen.refused >= args.runs)
                .await;
            tokio::time::sleep(SETTLE).await;
            app.replies_start();
            producer.send_all(producer::REPLY).await;
        }
        Work::Latency | Work::Noop | Work::Steps | Work::Sleep => {}
    }
    app.until(|seen| seen.done + seen.refused >= args.runs)
        .await;
}

/// Returns when nothing has happened for `--patience`, beyond what the workload itself keeps quiet for. Reads the
/// server's memory meanwhile.
async fn stalled(args: &Args, app: &App, memory: &mut Memory) {
    let quiet = match args.work {
        Work::Sleep => Duration::from_millis(args.sleep_ms),
        Work::Wait => SETTLE,
        Work::Latency | Work::Noop | Work::Steps | Work::Ingest => Duration::ZERO,
    };
    let patience = Duration::from_secs(args.patience) + quiet;
    let mut before = app.seen();
    let mut since = Instant::now();
    while since.elapsed() < patience {
        tokio::time::sleep(Duration::from_millis(100)).await;
        memory.sample();
        let now = app.seen();
        if now != before {
            before = now;
            since = Instant::now();
        }
    }
}

/// Takes only addresses of this machine: a load generator must not meet a server that others use.
fn loopback(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
    match url.host_str() {
        Some("127.0.0.1" | "localhost" | "[::1]") => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("must be a loopback address, such as http://127.0.0.1:8288".to_owned()),
    }
}
