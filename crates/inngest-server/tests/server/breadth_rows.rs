//! Rows for `breadth`: a hundred of everything, each like its neighbours, so that a page of five has whatever a page of a hundred has.

use inngest_core::{
    access::Author,
    bulk::{BulkKind, BulkOperation, BulkProgress, BulkStatus, Selection},
    event::{Door, Event, FUNCTION_INVOKED},
    ids::{AppId, BulkId, DEFAULT_ENV, DEFAULT_ORG, EventId, FunctionId, RunId, StepId, WorkId},
    job::{JobKind, Work},
    json::Json,
    run::{RunStatus, StepDetails, StepKind, StepStatus, StepTold},
    time::Timestamp,
    wait::correlation,
    wire::finish::invocation_id,
};
use inngest_state::{
    BulkChange, Commit, FailedAttemptRow, NewBulk, NewEvent, NewRun, RunChange, StepChange,
};
use serde_json::json;
use ulid::Ulid;

use crate::harness::{NOW, Server};

/// Apps, and as many functions, event names, events, open runs, invoked runs and waits of each kind.
pub(crate) const ROWS: u64 = 110;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(NOW + i64::try_from(ms).unwrap())
}

fn ulid(number: u64, kind: u8) -> Ulid {
    let millis = NOW.unsigned_abs() - 1_000_000 + 10 * number;
    Ulid::from_parts(millis + u64::from(kind), u128::from(number))
}

fn json_of(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

fn step_id(name: &str) -> StepId {
    StepId::parse(name).unwrap()
}

pub(crate) fn app_name(number: u64) -> String {
    format!("app{number:03}")
}

pub(crate) fn slug(number: u64) -> String {
    format!("app{number:03}-work")
}

pub(crate) fn event_name(number: u64) -> String {
    format!("shop/e{number:03}")
}

fn function(number: u64) -> (AppId, FunctionId) {
    let app = AppId::derive(DEFAULT_ENV, &app_name(number));
    (app, FunctionId::derive(app, &slug(number)))
}

/// Apps with one function each.
async fn register(server: &Server, rows: u64) {
    for number in 0..rows {
        let url = format!("http://localhost:3000/{number}");
        let (app, slug) = (app_name(number), slug(number));
        let call = format!("{url}?fnId={slug}&stepId=step");
        let step = json!({"id": "step", "name": "step", "runtime": {"type": "http", "url": call}});
        let body = json!({
            "url": url, "deployType": "ping", "framework": "express", "appName": app, "sdk": "js:v4.24.0", "v": "0.1",
            "functions": [{"id": slug, "name": slug, "triggers": [{"event": event_name(number)}, {"cron": "0 0 1 1 *"}],
                "steps": {"step": step}}],
        });
        let answer = server.post("/fn/register", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
}

fn event(id: EventId, name: &str) -> Event {
    Event {
        id,
        key: id.to_string(),
        name: name.to_owned(),
        ts: at(0),
        received_at: id.accepted_at(),
        body: json_of(&format!(
            r#"{{"data":{{"n":1}},"id":"{id}","name":"{name}","ts":1}}"#
        )),
        door: Some(Door::Api(Author::system())),
    }
}

fn starting(event: Event, run: NewRun) -> NewEvent {
    NewEvent {
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        event,
        may_exist: false,
        runs: vec![run],
    }
}

fn run(number: u64, id: RunId, event: &Event) -> NewRun {
    let (app, function) = function(number);
    NewRun {
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        id,
        app,
        function,
        function_version: 1,
        status: RunStatus::Queued,
        skip_reason: None,
        events: vec![event.id],
        event_name: event.name.clone(),
        cron: None,
        original: None,
        rerun: None,
        replay: None,
        started_by: None,
        idempotency_key: None,
        correlation: None,
        trace: None,
        rank: 0,
        queued_at: id.scheduled_at(),
        keys: Vec::new(),
        work: Vec::new(),
        otherwise: None,
        waits: Vec::new(),
    }
}

/// The steps of a run: one of each kind that leads to other objects, and one that still waits.
fn steps(run: RunId, event: EventId, slug: String) -> Vec<StepChange> {
    let until = at(99);
    let step = |place: u32, kind, details, ended_by| StepChange {
        run,
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        step: step_id(&format!("s{place}")),
        name: format!("step {place}"),
        kind,
        status: StepStatus::Completed,
        group: None,
        position: Some(place),
        memo: Some(json_of(r#"{"data":1}"#)),
        details,
        told: StepTold::default(),
        ended_by,
        response: None,
        queued_at: at(10),
        started_at: Some(at(20)),
        ended_at: Some(at(30)),
    };
    let invoke = StepDetails::Invoke {
        function: slug,
        until,
    };
    let wait = StepDetails::Event {
        name: "shop/paid".to_owned(),
        expression: None,
        until,
    };
    let open = StepChange {
        status: StepStatus::Open,
        position: None,
        memo: None,
        ended_at: None,
        ..step(3, StepKind::WaitForEvent, Some(wait.clone()), None)
    };
    vec![
        open,
        step(0, StepKind::Invoke, Some(invoke), Some(event)),
        step(1, StepKind::WaitForEvent, Some(wait), Some(event)),
        step(2, StepKind::Run, None, None),
    ]
}

/// The work that ends the wait of a run in time.
fn timeout(number: u64, run: RunId) -> Work {
    Work {
        id: WorkId::derive(run, "timeout:s3"),
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        kind: JobKind::WaitTimeout,
        function: function(number).1,
        run: Some(run),
        step: Some(step_id("s3")),
        due_at: at(60_000),
        rank: 0,
        attempt: 0,
        epoch: 1,
        payload: bytes::Bytes::new(),
    }
}

/// An open run with steps, failures and waits, and the run that one of its steps has invoked: cancelled by an event, and a repetition of
/// the first.
async fn store_runs(server: &Server, number: u64) {
    let parent = RunId::from_raw(ulid(number, 1));
    let first = event(EventId::from_raw(ulid(number, 0)), &event_name(number));
    let invoking = step_id("s0");
    let invocation = event(invocation_id(parent, &invoking), FUNCTION_INVOKED);
    let child = RunId::from_raw(ulid(number, 2));
    let invoked = NewRun {
        original: Some(parent),
        replay: Some(bulk(number, 4)),
        correlation: Some(correlation(parent, &invoking)),
        ..run(number, child, &invocation)
    };
    let failed = FailedAttemptRow {
        run: parent,
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        step: Some(step_id("s2")),
        attempt: 0,
        class: "app".to_owned(),
        code: "step_error".to_owned(),
        error: json_of(r#"{"message":"no"}"#),
        at: at(12),
        next_at: Some(at(15)),
        response: None,
    };
    let open = run(number, parent, &first);
    let commit = Commit {
        steps: steps(parent, first.id, slug(number)),
        failed_attempts: vec![failed],
        work: vec![timeout(number, parent)],
        events: vec![starting(first.clone(), open), starting(invocation, invoked)],
        ..Commit::default()
    };
    let store = server.services.store();
    store.commit(commit).await.unwrap();
    let reason = format!(
        r#"{{"reason":"event {} matched one of its cancel rules"}}"#,
        first.id
    );
    let cancelled = RunChange {
        id: child,
        env: DEFAULT_ENV,
        expected: 1,
        status: RunStatus::Cancelled,
        request_version: 2,
        force_plan: false,
        started_at: Some(at(1)),
        ended: Some((at(9), json_of(&reason))),
        cancelled_by: None,
    };
    let commit = Commit {
        run: Some(cancelled),
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
}

fn bulk(number: u64, kind: u8) -> BulkId {
    BulkId::from_raw(ulid(number, kind))
}

/// A cancellation and a replay.
async fn store_operations(server: &Server, number: u64) {
    for (kind, place) in [(BulkKind::Cancellation, 3), (BulkKind::Replay, 4)] {
        let operation = BulkOperation {
            id: bulk(number, place),
            kind,
            name: None,
            by: Author::system(),
            created_at: at(number),
            selection: Selection {
                functions: vec![function(number).1],
                from: at(0),
                until: at(99),
                statuses: vec![RunStatus::Failed],
                search: None,
            },
            rate: None,
            status: BulkStatus::Pending,
            progress: BulkProgress::default(),
            position: None,
            ended_at: None,
        };
        let new = NewBulk {
            org: DEFAULT_ORG,
            env: DEFAULT_ENV,
            operation,
        };
        let commit = Commit {
            bulk: Some(BulkChange::Begin(Box::new(new))),
            ..Commit::default()
        };
        server.services.store().commit(commit).await.unwrap();
    }
}

/// Fills the server.
pub(crate) async fn fill(server: &Server) {
    fill_some(server, ROWS).await;
}

/// The same with fewer of everything.
pub(crate) async fn fill_some(server: &Server, rows: u64) {
    register(server, rows).await;
    for number in 0..rows {
        store_runs(server, number).await;
        store_operations(server, number).await;
    }
}
