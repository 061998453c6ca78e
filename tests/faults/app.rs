//! An app in this process that outlives the server, and remembers what it was asked and what it said.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use inngest_tests::{http, server::Server};
use serde_json::{Value, json};

use crate::{
    clocks,
    load::{self, KINDS},
};

/// Steps of a run that counts.
pub(crate) const COUNTED: u64 = 5;
/// Events that count up the same number have numbers that are less than this apart.
pub(crate) const APART: u64 = 1_000_000;

/// What happened, as the app saw it.
#[derive(Default)]
pub(crate) struct Journal {
    /// Results made by the code of each step of each run, with the time.
    pub(crate) executed: BTreeMap<(String, String), Vec<(Instant, Value)>>,
    /// The first result that the server handed back for each step of each run.
    pub(crate) recorded: BTreeMap<(String, String), Value>,
    /// Results that were later handed back differently, or that nobody made.
    pub(crate) contradictions: Vec<String>,
    /// Of each run that was told to have ended, the runs that were told so.
    pub(crate) told: BTreeMap<String, Vec<String>>,
    /// Calls of the function that sleeps long, after its sleep.
    pub(crate) naps: u64,
    /// Calls of the function that is held up which have come so far, and whether they are still held up.
    pub(crate) held: u64,
    pub(crate) is_held_up: bool,
    /// The shortest time from a call that asked for a sleep to the call after it.
    pub(crate) shortest_nap: Option<Duration>,
    naps_begun: BTreeMap<String, Instant>,
    /// Calls that were signed, and the most by which the time of a signature differed from this machine's, in seconds.
    pub(crate) signed: u64,
    pub(crate) signature_skew: u64,
    /// Numbers that runs count up, by key.
    counts: BTreeMap<u64, Count>,
}

/// A number that each step of each run raises by one, however often its code is run.
#[derive(Default)]
struct Count {
    number: u64,
    /// What the number was when a step had raised it.
    raised: BTreeMap<(String, String), u64>,
}

/// The app. It answers until the process ends.
pub(crate) struct StubApp {
    url: String,
    journal: Arc<Mutex<Journal>>,
}

struct Call<'a> {
    function: String,
    target: Option<String>,
    body: Value,
    server: &'a str,
    journal: &'a Mutex<Journal>,
}

static TOKENS: AtomicU64 = AtomicU64::new(1);

impl StubApp {
    /// Listens on loopback.
    pub(crate) fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let journal: Arc<Mutex<Journal>> = Arc::default();
        let (seen, server) = (journal.clone(), server.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, server) = (seen.clone(), server.clone());
                // A server that is killed leaves its connections behind; that is what is being tested.
                thread::spawn(move || drop(serve(&stream, &server, &seen)));
            }
        });
        Self {
            url: format!("http://{address}/api/inngest"),
            journal,
        }
    }

    /// Registers its functions.
    pub(crate) fn register(&self, server: &Server) {
        let status = self.try_register(server);
        assert_eq!(status, Some(200), "registration failed");
    }

    /// Registers its functions if the server lives long enough.
    pub(crate) fn try_register(&self, server: &Server) -> Option<u16> {
        let function = |id: &str, event: &str| {
            let slug = format!("fault-{id}");
            let url = format!("{}?fnId={slug}&stepId=step", self.url);
            json!({"id": slug, "name": id, "triggers": [{"event": event}],
                "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "http", "url": url}, "retries": {"attempts": 20}}}})
        };
        let mut functions: Vec<Value> = KINDS
            .iter()
            .map(|kind| function(kind, &format!("fault/{kind}")))
            .collect();
        for function in &mut functions {
            if function["id"] == "fault-cancelled" {
                function["cancel"] =
                    json!([{"event": "fault/cancel", "if": "async.data.n == event.data.n"}]);
            }
        }
        functions.push(function("napper", "fault/napper"));
        functions.push(function("held", "fault/held"));
        functions.push(function("counter", "fault/counter"));
        functions.push(function("child", "fault/never"));
        functions.push(function("listener", "inngest/function.finished"));
        let body = json!({"url": self.url, "appName": "fault", "sdk": "js:v4.24.0", "functions": functions});
        let url = format!("{}/fn/register", server.base());
        http::try_request("POST", &url, &[], Some(&body))
            .ok()
            .map(|answer| answer.status)
    }

    /// What it remembers.
    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: &TcpStream, server: &str, journal: &Mutex<Journal>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        let mut signed_at = None;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("x-inngest-signature")
            {
                let time = value.trim().strip_prefix("t=");
                signed_at = time.and_then(|time| time.split('&').next()?.parse::<i64>().ok());
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let parameter = |name: &str| {
            let query = first.split(' ').nth(1)?.split_once('?')?.1;
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
        };
        let (status, answer) = if first.starts_with("POST") {
            let call = Call {
                function: parameter("fnId").unwrap_or_default(),
                target: parameter("stepId").filter(|step| step != "step"),
                body: serde_json::from_slice(&body).unwrap_or_default(),
                server,
                journal,
            };
            if let Some(signed_at) = signed_at {
                let mut journal = lock(journal);
                journal.signed += 1;
                let skew = signed_at.abs_diff(clocks::now());
                journal.signature_skew = journal.signature_skew.max(skew);
            }
            call.remember();
            call.answer()
        } else {
            (200, json!({}))
        };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nx-inngest-sdk: inngest-js:v4.24.0\r\n\
             x-inngest-req-version: 2\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        (&mut &*stream).write_all((head + &answer).as_bytes())?;
    }
}

impl Call<'_> {
    fn run(&self) -> String {
        self.body["ctx"]["run_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn memo(&self, step: &str) -> Option<&Value> {
        self.body["steps"].get(step)
    }

    /// Compares what the server hands back with what it handed back before.
    fn remember(&self) {
        let Some(memos) = self.body["steps"].as_object() else {
            return;
        };
        let mut journal = lock(self.journal);
        for (step, memo) in memos {
            let key = (self.run(), step.clone());
            match journal.recorded.get(&key) {
                None => {
                    let made = journal.executed.get(&key);
                    let is_made = made
                        .is_none_or(|made| made.iter().any(|(_, token)| memo["data"] == *token));
                    if !is_made {
                        let text = format!("{key:?}: {memo} was never made");
                        journal.contradictions.push(text);
                    }
                    journal.recorded.insert(key, memo.clone());
                }
                Some(before) if before != memo => {
                    let text = format!("{key:?}: first {before}, then {memo}");
                    journal.contradictions.push(text);
                }
                Some(_) => {}
            }
        }
    }

    /// Runs the code of a step: its result is unlike any other.
    fn run_step(&self, step: &str) -> Value {
        let token = json!(TOKENS.fetch_add(1, Ordering::Relaxed));
        let key = (self.run(), step.to_owned());
        let mut journal = lock(self.journal);
        journal
            .executed
            .entry(key)
            .or_default()
            .push((Instant::now(), token.clone()));
        op(step, "StepRun", json!({"data": token}))
    }

    fn plan_is_wanted(&self) -> bool {
        self.body["ctx"]["disable_immediate_execution"] == true
    }

    /// The next step of a sequence: run at once, or planned when the server wants that.
    fn next_step(&self, step: &str) -> (u16, Value) {
        let is_target = self.target.as_deref() == Some(step);
        if is_target || self.target.is_none() && !self.plan_is_wanted() {
            (206, json!([self.run_step(step)]))
        } else {
            (206, json!([op(step, "StepPlanned", json!({}))]))
        }
    }

    fn answer(&self) -> (u16, Value) {
        let number = self.body["event"]["data"]["n"].clone();
        let sequence = |steps: &[&str]| {
            steps
                .iter()
                .find(|step| self.memo(step).is_none())
                .map(|step| self.next_step(step))
        };
        let opts = |op_name: &str, id: &str, opts: Value| {
            (206, json!([op(id, op_name, json!({"opts": opts}))]))
        };
        match self.function.as_str() {
            "fault-steps" => {
                if let Some(answer) = sequence(&["one", "two", "three"]) {
                    return answer;
                }
            }
            "fault-parallel" => {
                if let Some(target) = &self.target {
                    return (206, json!([self.run_step(target)]));
                }
                let missing: Vec<Value> = ["left", "middle", "right"]
                    .into_iter()
                    .filter(|step| self.memo(step).is_none())
                    .map(|step| op(step, "StepPlanned", json!({})))
                    .collect();
                if !missing.is_empty() {
                    return (206, missing.into());
                }
                if let Some(answer) = sequence(&["after"]) {
                    return answer;
                }
            }
            "fault-sleeper" if self.memo("nap").is_none() => {
                let mut journal = lock(self.journal);
                journal.naps_begun.insert(self.run(), Instant::now());
                return opts("Sleep", "nap", json!({"duration": "700ms"}));
            }
            "fault-sleeper" => {
                let mut journal = lock(self.journal);
                if let Some(begun) = journal.naps_begun.remove(&self.run()) {
                    let nap = begun.elapsed();
                    let shortest = journal.shortest_nap.unwrap_or(nap);
                    journal.shortest_nap = Some(shortest.min(nap));
                }
            }
            "fault-napper" if self.memo("nap").is_none() => {
                return opts("Sleep", "nap", json!({"duration": "1h"}));
            }
            "fault-napper" => lock(self.journal).naps += 1,
            "fault-waiter" => {
                let Some(arrived) = self.memo("arrived") else {
                    // Only what comes after the call is waited for, so each call gets an event of its own.
                    let (url, mark) = (
                        format!("{}/e/test", self.server),
                        TOKENS.fetch_add(1, Ordering::Relaxed),
                    );
                    let number = number.as_u64().unwrap_or_default();
                    thread::spawn(move || {
                        load::send(&url, "fault/arrived", number, &format!("arrived-{mark}"))
                    });
                    let condition = "async.data.n == event.data.n";
                    return opts(
                        "WaitForEvent",
                        "arrived",
                        json!({"event": "fault/arrived", "timeout": "1h", "if": condition}),
                    );
                };
                return (200, json!({"n": arrived["data"]["n"]}));
            }
            "fault-failing" if self.body["ctx"]["attempt"].as_u64() < Some(2) => {
                let error = json!({"name": "Error", "message": "not yet"});
                return (500, error);
            }
            "fault-cancelled" if self.memo("nap").is_none() => {
                let (url, mark) = (
                    format!("{}/e/test", self.server),
                    TOKENS.fetch_add(1, Ordering::Relaxed),
                );
                let number = number.as_u64().unwrap_or_default();
                thread::spawn(move || {
                    load::send(&url, "fault/cancel", number, &format!("cancel-{mark}"))
                });
                return opts("Sleep", "nap", json!({"duration": "1h"}));
            }
            "fault-parent" => {
                let Some(result) = self.memo("child") else {
                    let payload = json!({"data": {"n": number}});
                    return opts(
                        "InvokeFunction",
                        "child",
                        json!({"function_id": "fault-child", "payload": payload, "timeout": "1h"}),
                    );
                };
                return (200, result["data"].clone());
            }
            "fault-held" => {
                self.wait_while_held_up();
                if let Some(answer) = sequence(&["only"]) {
                    return answer;
                }
            }
            "fault-counter" => return self.count(),
            "fault-child" => {
                if let Some(answer) = sequence(&["only"]) {
                    return answer;
                }
            }
            "fault-reporter" => {
                if let Some(answer) = self.report() {
                    return answer;
                }
            }
            "fault-listener" => {
                let ended = self.body["event"]["data"]["run_id"].as_str();
                let ended = ended.unwrap_or_default().to_owned();
                let mut journal = lock(self.journal);
                let told = journal.told.entry(ended).or_default();
                let run = self.run();
                if !told.contains(&run) {
                    told.push(run);
                }
            }
            _ => {}
        }
        (200, json!({"n": number}))
    }

    fn wait_while_held_up(&self) {
        lock(self.journal).held += 1;
        while lock(self.journal).is_held_up {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs the next step of a chain, each of which raises the number of its key once; the run's result is the last number.
    fn count(&self) -> (u16, Value) {
        let names: Vec<String> = (0..COUNTED).map(|step| format!("count-{step}")).collect();
        let Some(step) = names.iter().find(|step| self.memo(step).is_none()) else {
            let last = self.memo(&names[names.len() - 1]);
            return (200, json!({"count": last.map(|memo| memo["data"].clone())}));
        };
        let key = self.body["event"]["data"]["n"].as_u64().unwrap_or_default() / APART;
        let mut journal = lock(self.journal);
        let count = journal.counts.entry(key).or_default();
        let marker = (self.run(), step.clone());
        let number = *count.raised.entry(marker).or_insert_with(|| {
            count.number += 1;
            count.number
        });
        (206, json!([op(step, "StepRun", json!({"data": number}))]))
    }

    /// Runs a step, reports it during the call, and goes on in the same call.
    fn report(&self) -> Option<(u16, Value)> {
        if self.memo("reported").is_none() {
            let step = self.run_step("reported");
            let ctx = &self.body["ctx"];
            let report = json!({"run_id": ctx["run_id"], "fn_id": ctx["fn_id"], "qi_id": ctx["qi_id"],
                "request_id": ctx["request_id"], "generation_id": ctx["generation_id"], "steps": [step]});
            let url = format!("{}/v1/checkpoint/{}/async", self.server, self.run());
            let answer = http::try_request("POST", &url, &[], Some(&report));
            return Some(match answer {
                Ok(answer) if answer.status == 200 => (206, json!([self.run_step("second")])),
                // Not taken as far as the app knows: the reply says it again.
                _ => (206, json!([step])),
            });
        }
        if self.memo("second").is_none() {
            return Some(self.next_step("second"));
        }
        None
    }
}

fn op(id: &str, op: &str, more: Value) -> Value {
    let mut value = json!({"id": id, "op": op, "name": id, "displayName": id});
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}
