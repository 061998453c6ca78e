//! What happened, for people and for programs.

use std::{
    fmt::Write as _,
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::driver::Sent;
use crate::check::{Found, Kill};

/// How often resources are measured.
const SAMPLE: Duration = Duration::from_secs(5);

/// A fault that has happened.
pub(crate) struct Happened {
    /// What it was.
    pub(crate) text: String,
    /// Its kind, by which a report counts.
    pub(crate) kind: String,
    /// When it began and when all was put right.
    pub(crate) window: Kill,
}

/// Resident memory of the processes that are told to it, all the time.
pub(crate) struct Sampler {
    /// The processes of now.
    pub(crate) processes: Arc<Mutex<Vec<u32>>>,
    stop: Arc<AtomicBool>,
    sampling: JoinHandle<Vec<Value>>,
}

impl Sampler {
    pub(crate) fn start(begin: Instant) -> Self {
        let processes: Arc<Mutex<Vec<u32>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, stopped) = (processes.clone(), stop.clone());
        let sampling = thread::spawn(move || {
            let mut samples = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let processes = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let resident: Vec<_> = processes.into_iter().map(resident_kb).collect();
                samples.push(json!({"at_s": begin.elapsed().as_secs(), "rss_kb": resident}));
                thread::sleep(SAMPLE);
            }
            samples
        });
        Self {
            processes,
            stop,
            sampling,
        }
    }

    pub(crate) fn set(&self, processes: Vec<u32>) {
        *self
            .processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = processes;
    }

    pub(crate) fn stop(self) -> Vec<Value> {
        self.stop.store(true, Ordering::Relaxed);
        self.sampling.join().expect("sampling does not panic")
    }
}

/// Resident memory in KiB; 0 when there is no such process.
pub(crate) fn resident_kb(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Everything that is reported.
pub(crate) struct Report<'a> {
    pub(crate) seed: u64,
    pub(crate) version: String,
    pub(crate) begin: Instant,
    pub(crate) faults: &'a [Happened],
    pub(crate) sent: &'a [Sent],
    pub(crate) found: &'a Found,
    pub(crate) drained_in: Duration,
    pub(crate) cut: u64,
    pub(crate) samples: Vec<Value>,
}

impl Report<'_> {
    pub(crate) fn json(&self) -> Value {
        let since = |at: Instant| at.saturating_duration_since(self.begin).as_millis();
        let faults: Vec<_> = self
            .faults
            .iter()
            .map(|fault| {
                json!({"what": fault.text, "from_ms": since(fault.window.at), "until_ms": since(fault.window.until)})
            })
            .collect();
        let is_calm = |sent: &&Sent| {
            !self.faults.iter().any(|fault| {
                fault.window.at <= sent.due + sent.latency && sent.due <= fault.window.until
            })
        };
        let executions = self.found.executions.iter();
        json!({
            "seed": self.seed,
            "version": self.version,
            "seconds": self.begin.elapsed().as_secs(),
            "faults": faults,
            "connections_cut": self.cut,
            "accepted": self.sent.len(),
            "requests": self.sent.iter().map(|sent| sent.tries).sum::<u64>(),
            "latency_ms": {
                "all": latencies(self.sent.iter()),
                "calm": latencies(self.sent.iter().filter(is_calm)),
            },
            "drained_in_ms": self.drained_in.as_millis(),
            "steps_by_executions": executions.map(|(times, steps)| (times.to_string(), json!(steps))).collect::<serde_json::Map<_, _>>(),
            "checks": self.found.wrong,
            "samples": self.samples,
        })
    }
}

fn latencies<'a>(sent: impl Iterator<Item = &'a Sent>) -> Value {
    let mut all: Vec<_> = sent.map(|sent| sent.latency).collect();
    all.sort_unstable();
    let at = |part: usize| {
        let place = all.len().saturating_sub(1) * part / 1000;
        all.get(place)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    };
    json!({"count": all.len(), "p50": at(500), "p99": at(990), "p999": at(999), "most": at(1000)})
}

/// The report in a few lines.
pub(crate) fn text(report: &Value, faults: &[Happened]) -> String {
    let mut text = format!(
        "seed {}, {}, {} s, {} faults, {} connections cut\n{} events accepted in {} requests, all ended {} ms after the last fault\n",
        report["seed"],
        report["version"].as_str().unwrap_or_default(),
        report["seconds"],
        faults.len(),
        report["connections_cut"],
        report["accepted"],
        report["requests"],
        report["drained_in_ms"],
    );
    for (name, latency) in report["latency_ms"].as_object().into_iter().flatten() {
        // Writing to text does not fail.
        let _ = writeln!(text, "latency, {name}: {latency}");
    }
    let _ = writeln!(
        text,
        "steps by executions: {}",
        report["steps_by_executions"]
    );
    let mut kinds = std::collections::BTreeMap::new();
    for fault in faults {
        *kinds.entry(&fault.kind).or_insert(0) += 1;
    }
    for (kind, count) in kinds {
        let _ = writeln!(text, "{count:>5} × {kind}");
    }
    for (check, offenders) in report["checks"].as_object().into_iter().flatten() {
        let offenders = offenders.as_array().map_or(&[][..], Vec::as_slice);
        let _ = writeln!(text, "{:>5} against: {check}", offenders.len());
        for offender in offenders.iter().take(10) {
            let _ = writeln!(text, "        {offender}");
        }
    }
    text
}
