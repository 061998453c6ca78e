use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use crate::{Args, Work, producer::REPLY};

/// The SDK app under the server's calls, and the notebook of everything that was seen.
pub(crate) struct App {
    work: Work,
    steps: u64,
    sleep_ms: u64,
    /// Tells this execution's events from those of an earlier one.
    mark: u32,
    notes: Mutex<Notes>,
    seen: watch::Sender<Seen>,
}

/// How far it has come; only grows.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Calls that came.
    pub(crate) calls: u64,
    /// Runs that were answered with a pause.
    pub(crate) paused: u64,
    /// Runs that were answered with their result.
    pub(crate) done: u64,
    /// Events the server gave ids for, replies included.
    pub(crate) accepted: u64,
    /// Events it did not give ids for.
    pub(crate) refused: u64,
}

/// Moments and delays, as they were seen.
#[derive(Default)]
pub(crate) struct Notes {
    runs: Vec<Run>,
    pub(crate) started: Option<Instant>,
    pub(crate) sending_ended: Option<Instant>,
    pub(crate) replies_started: Option<Instant>,
    pub(crate) last_done: Option<Instant>,
    /// From sending events to having their ids.
    pub(crate) acknowledged: Vec<Duration>,
    /// From sending an event to the first call of its run.
    pub(crate) to_first_call: Vec<Duration>,
    /// From answering a call to the next call of the same run.
    pub(crate) between_calls: Vec<Duration>,
    /// From sending a reply to the call with it.
    pub(crate) to_match: Vec<Duration>,
    /// Runs of an event beyond its first.
    pub(crate) doubled: u64,
    /// Calls that repeat one already answered, in the same run.
    pub(crate) repeated: u64,
    /// Why the first refused event was refused.
    pub(crate) refusal: Option<String>,
}

#[derive(Clone, Default)]
struct Run {
    sent: Option<Instant>,
    answered: Option<Instant>,
    id: Option<String>,
    others: Vec<String>,
    /// Calls answered; the next one brings as many steps.
    calls: u64,
}

impl App {
    pub(crate) fn new(args: &Args) -> Self {
        let runs = usize::try_from(args.runs).expect("a count of runs fits the address space");
        Self {
            work: args.work,
            steps: args.steps,
            sleep_ms: args.sleep_ms,
            mark: std::process::id(),
            notes: Mutex::new(Notes {
                runs: vec![Run::default(); runs],
                ..Notes::default()
            }),
            seen: watch::Sender::default(),
        }
    }

    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes
            .lock()
            .expect("nothing panics while it takes notes")
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// Returns once `enough` holds.
    pub(crate) async fn until(&self, enough: impl FnMut(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        seen.wait_for(enough)
            .await
            .expect("the app holds the sending half");
    }

    pub(crate) fn start(&self) {
        self.notes().started = Some(Instant::now());
    }

    pub(crate) fn sending_ended(&self) {
        self.notes().sending_ended = Some(Instant::now());
    }

    pub(crate) fn replies_start(&self) {
        self.notes().replies_started = Some(Instant::now());
    }

    /// The data of a run's events.
    pub(crate) fn data(&self, n: u64) -> Value {
        json!({"n": n, "bench": self.mark, "key": format!("{}-{n}", self.mark)})
    }

    /// Notes that the events of these runs leave now.
    pub(crate) fn sent(&self, runs: &Range<u64>) -> Instant {
        let mut notes = self.notes();
        let now = Instant::now();
        for n in runs.clone() {
            if let Some(run) = notes.run(n) {
                run.sent = Some(now);
            }
        }
        now
    }

    /// Notes that the server has taken the events sent at `sent`.
    pub(crate) fn accepted(&self, sent: Instant, runs: &Range<u64>) {
        self.notes().acknowledged.push(sent.elapsed());
        self.seen
            .send_modify(|seen| seen.accepted += runs.end - runs.start);
    }

    /// Notes that the server has not taken these events.
    pub(crate) fn refused(&self, runs: &Range<u64>, why: String) {
        self.notes().refusal.get_or_insert(why);
        self.seen
            .send_modify(|seen| seen.refused += runs.end - runs.start);
    }

    /// What the function does next, given how many of its steps have a result; nothing when it ends.
    fn next_step(&self, results: u64) -> Option<Value> {
        let id = format!("{results:040x}");
        let step = match self.work {
            Work::Steps | Work::Latency if results < self.steps => {
                json!({"op": "StepRun", "id": id, "name": format!("step {results}"), "data": {"data": true}})
            }
            Work::Sleep if results == 0 => {
                json!({"op": "Sleep", "id": id, "name": format!("{}ms", self.sleep_ms)})
            }
            Work::Wait if results == 0 => json!({
                "op": "WaitForEvent", "id": id, "name": REPLY,
                "opts": {"event": REPLY, "timeout": "1h", "if": "event.data.key == async.data.key"},
            }),
            _ => return None,
        };
        Some(step)
    }

    /// Takes notes of a call that came at `now` and will be answered at once.
    fn called(&self, body: &Value, results: u64, now: Instant, ends: bool) {
        let data = &body["event"]["data"];
        let (Some(n), true) = (data["n"].as_u64(), data["bench"] == self.mark) else {
            return;
        };
        let mut guard = self.notes();
        let notes = &mut *guard;
        let Some(run) = usize::try_from(n).ok().and_then(|n| notes.runs.get_mut(n)) else {
            return;
        };

        let id = body["ctx"]["run_id"].as_str().unwrap_or_default();
        let first = run.id.get_or_insert_with(|| id.to_owned());
        let of_first = first == id;
        let mut advanced = false;
        if !of_first {
            if !run.others.iter().any(|other| other == id) {
                run.others.push(id.to_owned());
                notes.doubled += 1;
            }
        } else if results < run.calls {
            notes.repeated += 1;
        } else {
            advanced = true;
            let waited =
                |since: Option<Instant>| since.map(|since| now.saturating_duration_since(since));
            if run.calls == 0 {
                notes.to_first_call.extend(waited(run.sent));
            } else if self.work == Work::Wait {
                notes.to_match.extend(waited(run.sent));
            } else {
                notes.between_calls.extend(waited(run.answered));
            }
            run.calls = results + 1;
            run.answered = Some(Instant::now());
            if ends {
                notes.last_done = run.answered;
            }
        }
        drop(guard);
        self.seen.send_modify(|seen| {
            seen.calls += 1;
            seen.done += u64::from(advanced && ends);
            seen.paused += u64::from(advanced && !ends);
        });
    }
}

impl Notes {
    fn run(&mut self, n: u64) -> Option<&mut Run> {
        self.runs.get_mut(usize::try_from(n).ok()?)
    }
}

/// Answers the server's calls until the listener fails.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>) -> io::Result<()> {
    // A dev server that polls apps asks with PUT whether to sync again; everything is registered already.
    let nothing_new = || async {
        answer(
            StatusCode::OK,
            &json!({"message": "registered", "modified": false}),
        )
    };
    let router = Router::new()
        .route("/api/inngest", post(call).put(nothing_new))
        .with_state(app);
    axum::serve(listener, router).await
}

async fn call(State(app): State<Arc<App>>, Json(body): Json<Value>) -> Response {
    let now = Instant::now();
    let results = body["steps"]
        .as_object()
        .map_or(0, |steps| steps.len() as u64);
    let step = app.next_step(results);
    app.called(&body, results, now, step.is_none());
    match step {
        Some(step) => answer(StatusCode::PARTIAL_CONTENT, &json!([step])),
        None => answer(StatusCode::OK, &json!("done")),
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/json"),
        ("x-inngest-sdk", "js:v4.24.0"),
        ("x-inngest-req-version", "1"),
    ];
    (status, headers, body.to_string()).into_response()
}
