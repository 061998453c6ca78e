//! Metrics for Prometheus, on a listener of their own, which asks for no credential.

use std::time::{Duration, Instant};

use ::metrics::{counter, gauge};
use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use inngest_config::MetricsSettings;
use inngest_server::{metrics_router, serve};
use inngest_services::Services;

use crate::telemetry;

/// Bounds of histograms of durations, in seconds: from a quick commit to the longest call.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0, 7_200.0,
];
/// How long a level is shown that nobody has set again.
const IDLE: Duration = Duration::from_secs(600);
/// Bounds of histograms of counts.
const COUNTS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 350.0, 512.0];

/// Where figures are kept, and where they can be read.
pub(crate) struct Metrics {
    listener: TcpListener,
    handle: PrometheusHandle,
}

/// Begins to keep figures and listens. `None` when they are not wanted, or when nobody asked for them and the usual port is taken, as by
/// another server on this machine.
///
/// # Errors
/// When they were asked for and cannot be served.
pub(crate) async fn start(settings: &MetricsSettings) -> anyhow::Result<Option<Metrics>> {
    let (address, is_asked_for) = match settings {
        MetricsSettings::Off => return Ok(None),
        MetricsSettings::Usual(address) => (*address, false),
        MetricsSettings::At(address) => (*address, true),
    };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) if !is_asked_for => {
            warn!(%address, %error, "no metrics: the usual address is taken; --metrics-listen names another");
            return Ok(None);
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("could not listen on {address} for metrics"));
        }
    };
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &COUNTS)
        })
        .context("could not set up metrics")?
        // Functions come and go; the series of those that are gone must not stay for ever.
        .idle_timeout(MetricKindMask::GAUGE, Some(IDLE));
    let handle = builder
        .install_recorder()
        .context("could not set up metrics")?;
    describe();
    Ok(Some(Metrics { listener, handle }))
}

impl Metrics {
    /// Serves them until `stop`.
    pub(crate) fn serve(self, services: Services, stop: CancellationToken, tasks: &TaskTracker) {
        let begun = Instant::now();
        let handle = self.handle;
        let render = move || {
            process(begun);
            handle.run_upkeep();
            handle.render()
        };
        let router = metrics_router(services, render);
        let (listener, tracker) = (self.listener, tasks.clone());
        if let Ok(address) = listener.local_addr() {
            info!(%address, "metrics at /metrics");
        }
        tasks.spawn(async move {
            serve(vec![listener], router, stop, tracker).await;
        });
    }
}

/// Figures of this process.
fn process(begun: Instant) {
    gauge!("inngest_uptime_seconds").set(begun.elapsed());
    counter!("inngest_log_lines_dropped_total").absolute(telemetry::dropped());
    gauge!("inngest_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    if let Some(bytes) = resident_bytes() {
        gauge!("process_resident_memory_bytes").set(bytes);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        gauge!("process_open_fds").set(files.count() as f64);
    }
}

fn resident_bytes() -> Option<f64> {
    const PAGE: f64 = 4096.0;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

/// What the names mean, for whoever reads the page.
fn describe() {
    use ::metrics::{
        describe_counter as counter, describe_gauge as level, describe_histogram as spread,
    };
    counter!("inngest_events_accepted_total", "Events stored");
    counter!("inngest_runs_started_total", "Runs started");
    counter!("inngest_runs_ended_total", "Runs ended, by how");
    counter!("inngest_calls_total", "Calls made to apps");
    spread!(
        "inngest_call_duration_seconds",
        "Calls to apps by outcome: ok, or whose failure it was"
    );
    counter!(
        "inngest_stale_writers_refused_total",
        "Outcomes refused because the work had been handed to somebody else"
    );
    counter!(
        "inngest_decisions_repeated_total",
        "Decisions made again because a run had changed meanwhile"
    );
    counter!(
        "inngest_leases_total",
        "Leases on work given to this server"
    );
    counter!(
        "inngest_trace_exports_total",
        "Batches of spans by what became of them: sent, failed"
    );
    counter!(
        "inngest_log_lines_dropped_total",
        "Log lines that were not written because nobody read them"
    );
    counter!(
        "inngest_lease_takeovers_total",
        "Leases on work whose holder had vanished"
    );
    counter!(
        "inngest_stale_entries_total",
        "Leases on work that was done by then"
    );
    counter!(
        "inngest_schedule_rebuilds_total",
        "Times this server rebuilt the schedule in Redis"
    );
    counter!(
        "inngest_second_look_matches_total",
        "Waits that an event of another server had missed at first"
    );
    counter!("inngest_commits_total", "Transactions of the group commit");
    spread!(
        "inngest_commit_duration_seconds",
        "Transactions of the group commit"
    );
    spread!(
        "inngest_commit_group_size",
        "Commits that shared a transaction"
    );
    counter!("inngest_commit_rows_total", "Rows written, roughly");
    level!(
        "inngest_live_streams",
        "Streams of live views that are open"
    );
    spread!(
        "inngest_live_lag_seconds",
        "Time from the writing of changes to when live views read them"
    );
    spread!(
        "inngest_rollup_lag_seconds",
        "Time from the writing of changes to when they were added to the figures over time"
    );
    counter!(
        "inngest_rollup_gaps_total",
        "Times that changes were gone before they were added to the figures over time"
    );
    counter!(
        "inngest_commit_races_total",
        "Transactions tried again because another server was in the way"
    );
    counter!(
        "inngest_commits_unknown_total",
        "Transactions whose outcome was not known at first"
    );
    counter!("inngest_commits_resolved_total", "What became of them");
    counter!(
        "inngest_sql_statements_total",
        "Statements sent to the database"
    );
    counter!("inngest_redis_commands_total", "Scripts run in Redis");
    level!(
        "inngest_pool_connections",
        "Connections to the database by pool and state"
    );
    counter!(
        "inngest_pool_waits_total",
        "Times somebody waited for a connection"
    );
    level!("inngest_schedule_up", "Whether the schedule answers");
    level!("inngest_schedule_jobs", "Jobs in the schedule by state");
    level!(
        "inngest_schedule_age_seconds",
        "How long the job that is due longest has been due"
    );
    level!(
        "inngest_function_jobs",
        "Jobs that are due, of the functions that have most of them"
    );
    level!(
        "inngest_function_age_seconds",
        "How long the first of them has been due"
    );
    counter!(
        "inngest_http_requests_total",
        "Requests by route and class of status"
    );
    spread!("inngest_http_request_duration_seconds", "Requests by route");
    counter!(
        "inngest_requests_refused_total",
        "Requests put off because bodies take up all their memory, or too many commits wait"
    );
    level!(
        "inngest_request_body_bytes",
        "Memory taken by bodies of requests"
    );
    counter!(
        "inngest_sign_in_failures_total",
        "Credentials that were refused"
    );
    level!(
        "inngest_runtime_lag_seconds",
        "Longest delay of a timer since the last scrape"
    );
    level!("inngest_uptime_seconds", "Time since the start");
    level!("inngest_build_info", "1; the label tells the version");
    level!("process_resident_memory_bytes", "Resident memory");
    level!("process_open_fds", "Open files");
}
