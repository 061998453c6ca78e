//! How long it takes from the commit of an event until somebody who watches hears of it.
//!
//! So many watch the feed of events over server-sent events while events are sent at a steady rate. Each message tells when its change was
//! committed, by the clock of the database; server, database and this program must share one.
//!
//! Exit codes: 0 everybody heard of every event, 1 somebody did not, or something else went wrong.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::{
    error::Error,
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chrono::DateTime;
use clap::Parser;
use reqwest::{Client, Response, header};
use serde_json::{Value, json};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

/// What is watched.
const FEED: &str = "subscription ($env: ID!, $names: [String!]) { \
    eventFeed(environmentId: $env, filter: {names: $names}) { kind at event { id } } }";
/// Whose events: the default environment's.
const ENVIRONMENT: &str = "env_00000000-0000-4000-b000-000000000000";
/// Requests in a second.
const REQUESTS: u64 = 100;
/// How long a feed may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measures feeds.
#[derive(Parser)]
struct Args {
    /// The server; a loopback address
    #[arg(long, default_value = "http://127.0.0.1:8288")]
    server: String,
    /// The credential to watch with, where one is needed: a signing key or a token
    #[arg(long)]
    token: Option<String>,
    /// The event key to send with
    #[arg(long, default_value = "bench")]
    event_key: String,
    /// How many watch
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=30))]
    subscribers: u64,
    /// Events in a second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=20_000))]
    rate: u64,
    /// For so many seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match measure(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("feeds: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: Args) -> Result<(), Failure> {
    let client = Client::builder().no_proxy().build()?;
    let name = format!("feeds/{}", now_ms());
    let per_request = (args.rate / REQUESTS).max(1);
    let sent = per_request * REQUESTS * args.seconds;
    let mut watching = JoinSet::new();
    for _ in 0..args.subscribers {
        let asked = ask(&client, &args, &name).await?;
        let is_ready = Arc::new(Notify::new());
        let told = is_ready.clone();
        watching.spawn(async move { listen(asked, sent, &told).await });
        timeout(PATIENCE, is_ready.notified()).await?;
    }
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(1_000 / REQUESTS));
    // Who was late does not make up for it with a crowd.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let event = json!({"name": name, "data": {}});
    let body = Value::Array(vec![event; usize::try_from(per_request)?]);
    let url = format!("{}/e/{}", args.server, args.event_key);
    let mut sending = JoinSet::new();
    for _ in 0..REQUESTS * args.seconds {
        ticks.tick().await;
        let request = client.post(&url).json(&body).timeout(PATIENCE);
        sending.spawn(async { request.send().await?.error_for_status() });
    }
    while let Some(answer) = sending.join_next().await {
        answer??;
    }
    let took = began.elapsed().as_secs_f64();
    let mut delays = Vec::new();
    while let Some(heard) = watching.join_next().await {
        delays.extend(heard??);
    }
    delays.sort_unstable();
    let at = |part: usize| delays[(delays.len() - 1) * part / 1_000];
    println!(
        "{sent} events in {took:.1} s, {:.0}/s; {} told to {}",
        sent as f64 / took,
        delays.len(),
        args.subscribers
    );
    println!(
        "from commit to subscriber: p50 {} ms, p99 {} ms, p99.9 {} ms, longest {} ms",
        at(500),
        at(990),
        at(999),
        at(1_000)
    );
    Ok(())
}

async fn ask(client: &Client, args: &Args, name: &str) -> Result<Response, Failure> {
    let variables = json!({"env": ENVIRONMENT, "names": [name]});
    let mut request = client
        .post(format!("{}/graphql", args.server))
        .header(header::ACCEPT, "text/event-stream")
        .json(&json!({"query": FEED, "variables": variables}));
    if let Some(token) = &args.token {
        request = request.bearer_auth(token);
    }
    Ok(request.send().await?.error_for_status()?)
}

/// Listens until it has heard of so many events; the delay of each in milliseconds.
async fn listen(mut feed: Response, count: u64, is_ready: &Notify) -> Result<Vec<u64>, Failure> {
    let (mut delays, mut rest) = (Vec::new(), Vec::new());
    while (delays.len() as u64) < count {
        let silent = || {
            format!(
                "after {} of {count} events the feed was silent",
                delays.len()
            )
        };
        let chunk = timeout(PATIENCE, feed.chunk())
            .await
            .map_err(|_| silent())??;
        let heard_at = now_ms();
        rest.extend_from_slice(&chunk.ok_or("the feed ended")?);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data: ") else {
                continue;
            };
            let message: Value = serde_json::from_slice(data)?;
            let told = &message["data"]["eventFeed"];
            match told["kind"].as_str() {
                Some("READY") => is_ready.notify_one(),
                Some("CREATED") => {
                    let at = told["at"].as_str().ok_or("a message has no time")?;
                    let at = DateTime::parse_from_rfc3339(at)?.timestamp_millis();
                    delays.push(heard_at.saturating_sub(at.unsigned_abs()));
                }
                _ => return Err(format!("unexpected: {message}").into()),
            }
        }
    }
    Ok(delays)
}

#[expect(
    clippy::disallowed_methods,
    reason = "compared with what the database has written, by the clock of this machine"
)]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
