//! Figures for Prometheus. What is counted anyway is read when it is asked for; see `docs/observability.md` for the meaning of each.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use ::metrics::{counter, gauge};
use inngest_state::PoolUse;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Services;

/// Functions that have figures of their own; the others' are summed up. Bounds the number of series.
const MAX_FUNCTIONS: usize = 100;
/// How often the lag of the runtime is measured.
const MEASURE: Duration = Duration::from_millis(500);

/// The longest delay of a timer since it was last asked for, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Lag(AtomicU64);

impl Lag {
    /// Measures until `stop`.
    pub(crate) async fn measure(&self, stop: CancellationToken) {
        loop {
            let due = Instant::now() + MEASURE;
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = stop.cancelled() => return,
            }
            let late = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.0.fetch_max(late, Ordering::Relaxed);
        }
    }

    fn take(&self) -> Duration {
        Duration::from_micros(self.0.swap(0, Ordering::Relaxed))
    }
}

impl Services {
    /// Brings the figures up to date that are not kept by who causes them.
    pub async fn collect_metrics(&self) {
        self.collect_counters();
        self.collect_pools();
        self.collect_schedule().await;
        gauge!("inngest_runtime_lag_seconds").set(self.0.lag.take());
    }

    fn collect_counters(&self) {
        let engine = &self.0;
        let counters = &engine.counters;
        let commits = engine.store.commit_counters();
        let failures = &engine.sign_in_failures;
        for (name, value) in [
            ("inngest_events_accepted_total", &counters.events),
            ("inngest_runs_started_total", &counters.runs_started),
            ("inngest_calls_total", &counters.calls),
            (
                "inngest_stale_writers_refused_total",
                &counters.stale_writes,
            ),
            ("inngest_decisions_repeated_total", &counters.conflicts),
            ("inngest_schedule_rebuilds_total", &counters.rebuilds),
            ("inngest_leases_total", &counters.leases),
            ("inngest_lease_takeovers_total", &counters.takeovers),
            ("inngest_stale_entries_total", &counters.stale_entries),
            ("inngest_second_look_matches_total", &counters.second_looks),
            ("inngest_commits_total", &commits.transactions),
            ("inngest_commit_races_total", &commits.races),
            ("inngest_commits_unknown_total", &commits.unknown),
        ] {
            counter!(name).absolute(value.load(Ordering::Relaxed));
        }
        for (status, value) in [
            ("completed", &counters.runs_completed),
            ("failed", &counters.runs_failed),
            ("cancelled", &counters.runs_cancelled),
        ] {
            counter!("inngest_runs_ended_total", "status" => status)
                .absolute(value.load(Ordering::Relaxed));
        }
        for (result, value) in [
            ("written", &counters.resolved_as_written),
            ("lost", &counters.resolved_as_lost),
        ] {
            counter!("inngest_commits_resolved_total", "result" => result)
                .absolute(value.load(Ordering::Relaxed));
        }
        for (credential, value) in [
            ("event_key", &failures.event_keys),
            ("bearer", &failures.bearers),
        ] {
            counter!("inngest_sign_in_failures_total", "credential" => credential)
                .absolute(value.load(Ordering::Relaxed));
        }
        counter!("inngest_sql_statements_total").absolute(engine.store.statements());
        counter!("inngest_redis_commands_total").absolute(engine.queue.commands());
    }

    fn collect_pools(&self) {
        let stats = self.0.store.pool_stats();
        let pool = |name: &'static str, used: PoolUse| {
            gauge!("inngest_pool_connections", "pool" => name, "state" => "idle")
                .set(f64::from(used.idle));
            gauge!("inngest_pool_connections", "pool" => name, "state" => "used")
                .set(f64::from(used.open.saturating_sub(used.idle)));
            counter!("inngest_pool_waits_total", "pool" => name).absolute(used.waits);
        };
        pool("writer", stats.writer);
        pool("reader", stats.reader);
    }

    async fn collect_schedule(&self) {
        let engine = &self.0;
        let is_up = engine.queue.stats().await;
        gauge!("inngest_schedule_up").set(f64::from(u8::from(is_up.is_ok())));
        let Ok(stats) = is_up else { return };
        for (state, count) in [
            ("delayed", stats.delayed),
            ("ready", stats.ready),
            ("backlog", stats.backlog),
            ("leased", stats.leased),
        ] {
            gauge!("inngest_schedule_jobs", "state" => state).set(count as f64);
        }
        let now = engine.clock.now();
        let age = stats
            .oldest_due
            .map_or(Duration::ZERO, |due| now.since(due));
        gauge!("inngest_schedule_age_seconds").set(age);
        let Ok(partitions) = engine.queue.partitions(MAX_FUNCTIONS).await else {
            return;
        };
        let mut shown = engine.shown_functions.lock().await;
        // A function that has nothing to do any more has no figure to be read as the last one.
        for gone in shown.drain() {
            gauge!("inngest_function_jobs", "function_id" => gone.clone()).set(0);
            gauge!("inngest_function_age_seconds", "function_id" => gone).set(0);
        }
        for partition in partitions {
            let id = partition.function.to_string();
            let waiting = partition.ready + partition.backlog;
            gauge!("inngest_function_jobs", "function_id" => id.clone()).set(waiting as f64);
            let age = partition
                .oldest_due
                .map_or(Duration::ZERO, |due| now.since(due));
            gauge!("inngest_function_age_seconds", "function_id" => id.clone()).set(age);
            shown.insert(id);
        }
    }
}
