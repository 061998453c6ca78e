//! Three servers on one Postgres and one Redis, and everything that can go wrong going wrong, one thing after the other.
//!
//! `FAULT_SECONDS` says for how long (without it, not at all), `FAULT_SEED` repeats a plan, `FAULT_REPORT` names a file for the report in JSON. The long
//! form is `cargo xtask chaos --minutes N`.

mod driver;
mod plan;
mod report;

use std::{
    env, fs, thread,
    time::{Duration, Instant},
};

use inngest_tests::{http, proxy::Proxy, server::Server};

pub(crate) use self::{driver::Driver, plan::take_connections, report::resident_kb};
use self::{
    plan::Plan,
    report::{Happened, Report, Sampler},
};
use crate::{
    check::{self, Kill},
    field::Field,
    number, seed,
};

/// Servers under test.
const SERVERS: usize = 3;
/// Senders, of which each waits for its answer.
const SENDERS: usize = 8;
/// After an outage, how much longer steps may be repeated because of it: what a server that died had leased is taken over then.
const TAKEOVER: Duration = Duration::from_secs(45);

#[test]
fn nothing_is_lost_or_done_twice_whatever_goes_wrong() {
    let length = Duration::from_secs(number("FAULT_SECONDS", 0));
    if length.is_zero() {
        eprintln!("FAULT_SECONDS is not set: not everything goes wrong");
        return;
    }
    let Some(mut field) = Field::start("chaos", SERVERS, &[]) else {
        return;
    };
    let seed = seed();
    let mut plan = Plan::new(seed, SERVERS);
    let begin = Instant::now();
    let sampler = Sampler::start(begin);
    let driver = Driver::start(field.base(), number("FAULT_RATE", 20), SENDERS);
    let mut faults = Vec::new();
    let mut excuses = Vec::new();
    while begin.elapsed() < length {
        let ids = field.servers.iter().filter_map(Server::id).collect();
        sampler.set(ids);
        let (calm, fault) = plan.next();
        thread::sleep(calm);
        let at = Instant::now();
        eprintln!("{:>7} ms: {}", begin.elapsed().as_millis(), fault.text());
        fault.happen(&mut field);
        let window = Kill {
            at,
            until: Instant::now(),
        };
        if fault.excuses() {
            excuses.push(Kill {
                at,
                until: window.until + TAKEOVER,
            });
        }
        faults.push(Happened {
            text: fault.text(),
            kind: format!("{:?}", fault.kind),
            window,
        });
    }
    let healed = Instant::now();
    let sent = driver.stop();
    let accepted: Vec<_> = sent.iter().map(|sent| sent.accepted.clone()).collect();
    let server = Server::behind(field.base());
    let patience = Duration::from_secs(number("FAULT_PATIENCE", 180));
    let mut found = check::look(&server, &field.app, &accepted, &excuses, patience);
    let drained_in = healed.elapsed();
    let rows = check::rows(&field.postgres.uri(), Duration::from_secs(60));
    found.wrong.insert("the rows keep their rules", rows);
    let degraded: Vec<_> = field
        .servers
        .iter()
        .filter(|server| {
            http::request("GET", &format!("{}/ready", server.base()), &[], None).status != 200
        })
        .map(|server| format!("{} is not ready\n{}", server.base(), server.log_tail()))
        .collect();
    found.wrong.insert("every server is ready", degraded);
    let report = Report {
        seed,
        version: env::var_os("FAULT_VERSION")
            .map(|text| text.to_string_lossy().into_owned())
            .unwrap_or_default(),
        begin,
        faults: &faults,
        sent: &sent,
        found: &found,
        drained_in,
        cut: field.networks().map(Proxy::done).sum(),
        samples: sampler.stop(),
    };
    let json = report.json();
    if let Some(path) = env::var_os("FAULT_REPORT") {
        fs::write(path, format!("{json:#}\n")).expect("the report can be written");
    }
    eprintln!("{}", report::text(&json, &faults));
    let count: usize = found.wrong.values().map(Vec::len).sum();
    assert_eq!(
        count,
        0,
        "things are wrong; FAULT_SEED={seed} repeats the plan\n{}",
        field.unended()
    );
}
