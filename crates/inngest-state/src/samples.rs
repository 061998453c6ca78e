//! Rows for the tests of this crate: small, alike, and with ids that follow from a number.

use bytes::Bytes;
use inngest_core::{
    event::{Door, Event},
    expr::Program,
    ids::{
        AppId, DEFAULT_ENV, DEFAULT_ORG, EnvId, EventId, FunctionId, OrgId, RunId, StepId, WaitId,
        WorkId,
    },
    job::{JobKind, Work},
    json::Json,
    run::{RunStatus, StepDetails, StepKind, StepStatus, StepTold},
    time::Timestamp,
    wait::{Condition, Wait, WaitKind},
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Statement};
use ulid::Ulid;
use uuid::Uuid;

use crate::{
    Commit, Committed, FailedAttemptRow, Fence, NewEvent, NewRun, Refused, RunChange, StepChange,
    Store, entity::wait, rows::run_uuid,
};

/// The time at which a test begins.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// Another tenant than the default one.
pub(crate) const OTHER_ORG: OrgId = OrgId::from_raw(Uuid::from_u128(0xff01));
/// Its environment.
pub(crate) const OTHER_ENV: EnvId = EnvId::from_raw(Uuid::from_u128(0xff02));

/// `NOW` and so many ms.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + ms)
}

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).expect("tests write valid JSON")
}

fn ulid(number: u64) -> Ulid {
    let millis = NOW.as_millis().unsigned_abs() + number;
    Ulid::from_parts(millis, u128::from(number))
}

pub(crate) fn run_id(number: u64) -> RunId {
    RunId::from_raw(ulid(number))
}

pub(crate) fn event_id(number: u64) -> EventId {
    EventId::from_raw(ulid(number))
}

pub(crate) fn app_id() -> AppId {
    AppId::derive(DEFAULT_ENV, "shop")
}

pub(crate) fn function_id() -> FunctionId {
    FunctionId::derive(app_id(), "shop-hello")
}

pub(crate) fn step_id(name: &str) -> StepId {
    StepId::parse(name).expect("tests use short visible names")
}

/// The `number`-th event, accepted `number` ms after the beginning.
pub(crate) fn event(number: u64, name: &str, data: &str) -> Event {
    let id = event_id(number);
    Event {
        id,
        key: id.to_string(),
        name: name.to_owned(),
        ts: NOW,
        received_at: id.accepted_at(),
        body: json(&format!(
            r#"{{"data":{data},"id":"{id}","name":"{name}","ts":1}}"#
        )),
        door: Some(Door::Ingest),
    }
}

/// That event, new, starting nothing.
pub(crate) fn new_event(number: u64, name: &str, data: &str) -> NewEvent {
    NewEvent {
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        event: event(number, name, data),
        may_exist: false,
        runs: Vec::new(),
    }
}

/// The `number`-th run, of the event with the same number, with a discovery.
pub(crate) fn new_run(number: u64) -> NewRun {
    let id = run_id(number);
    NewRun {
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        id,
        app: app_id(),
        function: function_id(),
        function_version: 1,
        status: RunStatus::Queued,
        skip_reason: None,
        events: vec![event_id(number)],
        event_name: "shop/order".to_owned(),
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
        work: vec![work(number, "discover")],
        otherwise: None,
        waits: Vec::new(),
    }
}

/// Work of the `number`-th run.
pub(crate) fn work(number: u64, label: &str) -> Work {
    let run = run_id(number);
    Work {
        id: WorkId::derive(run, label),
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        kind: JobKind::Discover,
        function: function_id(),
        run: Some(run),
        step: None,
        due_at: run.scheduled_at(),
        rank: 0,
        attempt: 0,
        epoch: 1,
        payload: Bytes::new(),
    }
}

/// A fence on [`work`] that ends it.
pub(crate) fn fence(number: u64, label: &str, epoch: i64) -> Fence {
    Fence {
        id: WorkId::derive(run_id(number), label),
        epoch,
        ends: true,
    }
}

/// The `number`-th run goes on.
pub(crate) fn change(number: u64, expected: u64) -> RunChange {
    RunChange {
        id: run_id(number),
        env: DEFAULT_ENV,
        expected,
        status: RunStatus::Running,
        request_version: 2,
        force_plan: false,
        started_at: Some(NOW),
        ended: None,
        cancelled_by: None,
    }
}

/// The `number`-th run ends.
pub(crate) fn end(number: u64, expected: u64) -> RunChange {
    RunChange {
        status: RunStatus::Completed,
        ended: Some((at(9), json("\"done\""))),
        ..change(number, expected)
    }
}

/// An open step of the `number`-th run.
pub(crate) fn open_step(number: u64, name: &str) -> StepChange {
    StepChange {
        run: run_id(number),
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        step: step_id(name),
        name: name.to_owned(),
        kind: StepKind::Run,
        status: StepStatus::Open,
        group: Some(1),
        position: None,
        memo: None,
        details: None,
        told: StepTold::default(),
        ended_by: None,
        response: None,
        queued_at: NOW,
        started_at: None,
        ended_at: None,
    }
}

/// A step of the `number`-th run that waits, and the work that ends it in time.
pub(crate) fn waiting_step(number: u64, name: &str, details: StepDetails) -> (StepChange, Work) {
    let (step_kind, job_kind) = match &details {
        StepDetails::Sleep { .. } => (StepKind::Sleep, JobKind::Wake),
        StepDetails::Signal { .. } => (StepKind::WaitForSignal, JobKind::WaitTimeout),
        StepDetails::Invoke { .. } => (StepKind::Invoke, JobKind::WaitTimeout),
        _ => (StepKind::WaitForEvent, JobKind::WaitTimeout),
    };
    let work = Work {
        kind: job_kind,
        step: Some(step_id(name)),
        due_at: at(60_000),
        ..work(number, name)
    };
    let step = StepChange {
        kind: step_kind,
        details: Some(details),
        ..open_step(number, name)
    };
    (step, work)
}

/// A step of the `number`-th run that has ended.
pub(crate) fn ended_step(number: u64, name: &str, position: u32, memo: &str) -> StepChange {
    StepChange {
        status: StepStatus::Completed,
        position: Some(position),
        memo: Some(json(memo)),
        started_at: Some(at(1)),
        ended_at: Some(at(2)),
        ..open_step(number, name)
    }
}

pub(crate) fn failed_attempt(number: u64, step: Option<&str>, attempt: u32) -> FailedAttemptRow {
    FailedAttemptRow {
        run: run_id(number),
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        step: step.map(step_id),
        attempt,
        class: "app".to_owned(),
        code: "step_failed".to_owned(),
        error: json(r#"{"message":"no"}"#),
        at: at(i64::from(attempt)),
        next_at: Some(at(1_000)),
        response: None,
    }
}

/// The `number`-th run waits for an event, until a minute after the beginning.
pub(crate) fn event_wait(number: u64, name: &str, expression: Option<&str>) -> Wait {
    let program = expression.map(|text| Program::parse(text).expect("tests write valid CEL"));
    let trigger = serde_json::json!({"data": {"user": 7}});
    let condition = Condition::of(program.as_ref(), &trigger);
    Wait {
        id: WaitId::derive(run_id(number), "waiting"),
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        kind: WaitKind::Event,
        run: run_id(number),
        function: function_id(),
        step: Some(step_id("waiting")),
        rank: 0,
        event_name: Some(name.to_owned()),
        key_path: condition.key_path,
        key_hash: condition.key_hash,
        expression: expression.map(str::to_owned),
        bindings: condition.bindings,
        trigger: event_id(number),
        signal: None,
        replaces: false,
        since: NOW,
        expires_at: at(60_000),
    }
}

/// The `number`-th run waits for a signal.
pub(crate) fn signal_wait(number: u64, signal: &str, replaces: bool) -> Wait {
    Wait {
        id: WaitId::derive(run_id(number), "signal"),
        kind: WaitKind::Signal,
        step: Some(step_id("signal")),
        event_name: None,
        key_path: String::new(),
        key_hash: 0,
        expression: None,
        signal: Some(signal.to_owned()),
        replaces,
        ..event_wait(number, "none", None)
    }
}

/// A commit of one event that starts the run of the same number.
pub(crate) fn start(number: u64) -> Commit {
    Commit {
        events: vec![NewEvent {
            runs: vec![new_run(number)],
            ..new_event(number, "shop/order", "{}")
        }],
        ..Commit::default()
    }
}

/// A commit of events alone.
pub(crate) fn send(events: Vec<NewEvent>) -> Commit {
    Commit {
        events,
        ..Commit::default()
    }
}

/// A commit of waits alone.
pub(crate) fn wait_for(waits: Vec<Wait>) -> Commit {
    Commit {
        waits,
        ..Commit::default()
    }
}

/// The refusal by its variant's name; `ok` when it was written.
pub(crate) fn verdict(outcome: &Result<Committed, Refused>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(Refused::FenceLost) => "FenceLost",
        Err(Refused::WaitGone) => "WaitGone",
        Err(Refused::RunChanged) => "RunChanged",
        Err(Refused::FunctionsChanged) => "FunctionsChanged",
        Err(Refused::SignalTaken) => "SignalTaken",
        Err(Refused::Requested(_)) => "Requested",
        Err(Refused::Store(_)) => "Store",
    }
}

impl Store {
    /// Commits, and expects it to be written.
    pub(crate) async fn must(&self, commit: Commit) -> Committed {
        self.commit(commit).await.expect("this commit is good")
    }

    /// What a run waits for, as events find it.
    pub(crate) async fn stored_waits(&self, env: EnvId, run: RunId) -> Vec<Wait> {
        let rows = wait::Entity::find()
            .filter(wait::Column::RunId.eq(run_uuid(run)))
            .filter(wait::Column::EnvId.eq(env.raw()))
            .all(self.reader())
            .await
            .expect("waits can be read");
        let waits = rows.into_iter().map(Wait::try_from);
        waits
            .collect::<Result<_, _>>()
            .expect("waits are as they were written")
    }

    /// Rows of a table.
    pub(crate) async fn rows_of(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) AS n FROM {table}"))
            .await
    }

    /// The number `n` that a statement answers.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let statement = Statement::from_string(self.reader().get_database_backend(), sql);
        self.reader()
            .query_one_raw(statement)
            .await
            .expect("tests write valid SQL")
            .expect("an aggregate has a row")
            .try_get("", "n")
            .expect("the column is called n")
    }

    /// Rows of every table that commits write, to see whether one left a trace.
    pub(crate) async fn census(&self) -> Vec<i64> {
        let mut counts = Vec::new();
        for table in [
            "events",
            "runs",
            "steps",
            "failed_attempts",
            "waits",
            "wait_paths",
            "work",
            "idempotency",
            "change_log",
        ] {
            counts.push(self.rows_of(table).await);
        }
        counts
    }

    /// Carries out a statement behind the store's back, to arrange what no door can.
    pub(crate) async fn behind(&self, sql: &str) {
        self.writer()
            .execute_unprepared(sql)
            .await
            .expect("tests write valid SQL");
    }
}
