//! How long reads take, over HTTP, on a database that `fill` has filled.
//!
//! Each document is asked so many times, one after the other, and its times are printed; with `--postgres-uri` also how many rows the
//! database has read for one of them.
//!
//! Exit codes: 0 everything was answered, 1 something was not.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::{
    error::Error,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use inngest_core::ids::RunId;
use inngest_state::{Migrate, Place, Store, StoreSettings, testing::matcher};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

/// What is asked. Figures of other reads get a line here, and a document beside the others.
const READS: &[(&str, &str)] = &[
    ("first page of runs", include_str!("runs.graphql")),
    (
        "failed runs of one function",
        include_str!("failed.graphql"),
    ),
    ("runs that have not ended", include_str!("open.graphql")),
    ("runs found by their event", include_str!("search.graphql")),
    ("events of one name", include_str!("events.graphql")),
    (
        "a run of 1,000 steps with its trace",
        include_str!("run.graphql"),
    ),
    ("figures of those days", include_str!("metrics.graphql")),
];

/// Between the last request and the moment when the database has counted what it read for it.
const COUNTED: Duration = Duration::from_secs(12);

/// Measures reads of a server over a filled database.
#[derive(Parser)]
struct Args {
    /// The server; a loopback address
    #[arg(long, default_value = "http://127.0.0.1:8288")]
    server: String,
    /// The credential, where one is needed: a signing key or a token
    #[arg(long)]
    token: Option<String>,
    /// How often each document is asked
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// How many of the last days the lists are about
    #[arg(long, default_value_t = 7)]
    days: u32,
    /// The database of the server, to see how many rows it reads; nothing else may ask it meanwhile
    #[arg(long)]
    postgres_uri: Option<String>,
}

type Failure = Box<dyn Error>;

#[tokio::main]
async fn main() -> ExitCode {
    match measure(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("reads: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: Args) -> Result<(), Failure> {
    let asking = Asking {
        client: reqwest::Client::builder().no_proxy().build()?,
        url: format!("{}/graphql", args.server),
        token: args.token,
    };
    let database = match args.postgres_uri {
        None => None,
        Some(uri) => {
            let settings = StoreSettings {
                migrate: Migrate::Separately,
                ..StoreSettings::at(Place::Postgres(uri))
            };
            Some(Store::open(&settings, matcher(), &TaskTracker::new()).await?)
        }
    };
    let variables = asking.variables(args.days).await?;
    println!(
        "{:<40} {:>9} {:>9} {:>12}",
        "", "p50 ms", "p99 ms", "rows read"
    );
    for (name, document) in READS {
        // The first ones make plans and fill caches.
        for _ in 0..10 {
            asking.ask(document, &variables).await?;
        }
        let before = rows_read(database.as_ref()).await?;
        let mut times = Vec::new();
        for _ in 0..args.requests {
            times.push(asking.ask(document, &variables).await?.1);
        }
        let after = rows_read(database.as_ref()).await?;
        let rows = before
            .zip(after)
            .map_or_else(String::new, |(before, after)| {
                ((after - before) / i64::from(args.requests)).to_string()
            });
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        println!("{name:<40} {:>9.1} {:>9.1} {rows:>12}", at(50), at(99));
    }
    Ok(())
}

async fn rows_read(database: Option<&Store>) -> Result<Option<i64>, Failure> {
    let Some(store) = database else {
        return Ok(None);
    };
    tokio::time::sleep(COUNTED).await;
    Ok(Some(store.rows_read().await?))
}

struct Asking {
    client: reqwest::Client,
    url: String,
    token: Option<String>,
}

impl Asking {
    /// The data of an operation, and how long the server took to answer. Waits when the server says that it was asked for too much.
    async fn ask(&self, document: &str, variables: &Value) -> Result<(Value, Duration), Failure> {
        loop {
            let mut request = self
                .client
                .post(&self.url)
                .json(&json!({"query": document, "variables": variables}));
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            let began = Instant::now();
            let body = request.send().await?.bytes().await?;
            let took = began.elapsed();
            let mut answer: Value = serde_json::from_slice(&body)?;
            let Some(errors) = answer.get("errors") else {
                return Ok((answer["data"].take(), took));
            };
            let wait = errors[0]["extensions"]["retryAfterMs"].as_u64();
            let Some(wait) = wait.filter(|_| errors[0]["extensions"]["code"] == "RATE_LIMITED")
            else {
                return Err(format!("the server answers {errors}").into());
            };
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }

    /// What the documents are asked with: since when, and the run with many steps.
    async fn variables(&self, days: u32) -> Result<Value, Failure> {
        let (found, _) = self.ask(include_str!("begin.graphql"), &json!({})).await?;
        let run = &found["environment"]["function"]["runs"]["nodes"][0]["runId"];
        let run: RunId = run
            .as_str()
            .and_then(|id| id.parse().ok())
            .ok_or("the database of this server was not filled by `fill`")?;
        // It is the last run of the filling.
        let from = run.scheduled_at().minus(Duration::from_secs(86_400) * days);
        Ok(json!({"from": from.to_rfc3339(), "run": run.to_string()}))
    }
}
