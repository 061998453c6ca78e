//! Fills an empty Postgres with runs, their events and steps, as weeks of use would leave them, to measure reads on.
//!
//! The database makes the rows by itself, so five million runs of five steps take minutes. They belong to two environments; `--share` says
//! how many of a hundred are the default one's, whose lists the API shows.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::{
    error::Error,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use clap::Parser;
use inngest_state::{Place, Store, StoreSettings, fill::Filling, testing::matcher};
use tokio_util::task::TaskTracker;

/// Fills an empty database.
#[derive(Parser)]
struct Args {
    /// The database, which must be empty
    #[arg(long)]
    postgres_uri: String,
    /// Runs, each with two events
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    runs: u64,
    /// Steps of each run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=1_000))]
    steps_per_run: u32,
    /// Days over which the runs are spread, up to now
    #[arg(long, default_value_t = 28, value_parser = clap::value_parser!(u32).range(1..=365))]
    days: u32,
    /// How many of a hundred runs belong to the default environment
    #[arg(long, default_value_t = 99, value_parser = clap::value_parser!(u32).range(..=100))]
    share: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match fill(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("fill: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn fill(args: Args) -> Result<(), Box<dyn Error>> {
    let settings = StoreSettings {
        timeout: Duration::from_secs(3_600),
        ..StoreSettings::at(Place::Postgres(args.postgres_uri))
    };
    let store = Store::open(&settings, matcher(), &TaskTracker::new()).await?;
    if store.last_event_at().await?.is_some() {
        return Err("this database has events already; give an empty one".into());
    }
    let (began, done) = (Instant::now(), AtomicU64::new(0));
    let all = args.runs * 2;
    let filling = Filling {
        runs: args.runs,
        steps_per_run: args.steps_per_run,
        days: args.days,
        share: args.share,
    };
    let told = |runs| {
        let before = done.fetch_add(runs, Ordering::Relaxed);
        let tenth = |part: u64| part * 10 / all;
        if tenth(before + runs) > tenth(before) {
            let percent = tenth(before + runs) * 10;
            println!("{percent} % after {:.0} s", began.elapsed().as_secs_f64());
        }
    };
    store.fill(filling, told).await?;
    println!("filled in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}
