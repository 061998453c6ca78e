//! What steps, triggers and errors say of themselves, over HTTP.

use std::time::Duration;

use inngest_core::{
    event::{Event, FUNCTION_FINISHED},
    ids::{DEFAULT_ENV, DEFAULT_ORG, EventId, RunId, StepId},
    json::Json,
    run::{CodeId, RunStatus, SdkResponse, StepDetails, StepKind, StepStatus, StepTold},
    time::Timestamp,
    wire::finish,
};
use inngest_state::{Commit, FailedAttemptRow, NewEvent, NewRun, RunChange, StepChange};
use serde_json::{Value, json};

use crate::harness::{NOW, Server, registration};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(NOW + ms)
}

fn json_of(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

fn step(run: RunId, id: &str, name: &str) -> StepChange {
    StepChange {
        run,
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        step: StepId::parse(id).unwrap(),
        name: name.to_owned(),
        kind: StepKind::Run,
        status: StepStatus::Completed,
        group: None,
        position: Some(0),
        memo: Some(Json::null()),
        details: None,
        told: StepTold::default(),
        ended_by: None,
        response: None,
        queued_at: at(10),
        started_at: Some(at(20)),
        ended_at: Some(at(30)),
    }
}

fn code(sort: &str) -> Option<StepDetails> {
    let sort = sort.to_owned();
    Some(StepDetails::Code { sort })
}

#[tokio::test]
async fn steps_tell_their_ids_in_code_their_arguments_and_what_kind_of_code_they_run() {
    let server = Server::dev().await;
    server.register().await;
    let (event, run) = server.start_run().await;
    let id: RunId = run.parse().unwrap();
    // The hash of `a`.
    let named = step(id, "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8", "a");
    let told = StepTold {
        code_id: Some(CodeId {
            id: "charge".to_owned(),
            index: Some(1),
        }),
        input: Some(json_of("[{\"n\":1}]")),
    };
    let wrapped = StepChange {
        details: code("step.ai.wrap"),
        told,
        group: Some(7),
        ..step(id, "b", "Charge the card")
    };
    let sent = StepChange {
        details: code("step.sendEvent"),
        group: Some(7),
        memo: Some(json_of(&format!("{{\"data\":{{\"ids\":[\"{event}\"]}}}}"))),
        ..step(id, "c", "send")
    };
    let waiting = StepChange {
        kind: StepKind::Sleep,
        ..step(id, "d", "sleep")
    };
    let commit = Commit {
        steps: vec![named, wrapped, sent, waiting],
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
    let query = "query ($id: ID!) { run(id: $id) { steps { nodes { stepId userlandId index kind parallelGroup input maxAttempts
        details { __typename ... on RunStepDetails { subtype } ... on SendEventStepDetails { eventIds } } } } } }";
    let shown = server.query(query, json!({"id": run})).await;
    let mut steps: Vec<Value> = shown["run"]["steps"]["nodes"].as_array().unwrap().clone();
    steps.sort_by_key(|step| step["stepId"].as_str().unwrap().to_owned());
    for step in &mut steps {
        step.as_object_mut().unwrap().remove("stepId");
    }
    assert_eq!(
        Value::Array(steps),
        json!([
            {"userlandId": "a", "index": 0, "kind": "RUN", "parallelGroup": null, "input": null, "maxAttempts": 4, "details": null},
            {"userlandId": "charge", "index": 1, "kind": "AI", "parallelGroup": "7", "input": [{"n": 1}], "maxAttempts": 4,
             "details": {"__typename": "RunStepDetails", "subtype": "step.ai.wrap"}},
            {"userlandId": null, "index": null, "kind": "SEND_EVENT", "parallelGroup": "7", "input": null, "maxAttempts": 4,
             "details": {"__typename": "SendEventStepDetails", "eventIds": [format!("evt_{event}")]}},
            {"userlandId": null, "index": null, "kind": "SLEEP", "parallelGroup": null, "input": null, "maxAttempts": null, "details": null},
        ])
    );
}

fn failed(
    run: RunId,
    step: Option<&str>,
    attempt: u32,
    class: &str,
    code: &str,
) -> FailedAttemptRow {
    FailedAttemptRow {
        run,
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        step: step.map(|step| StepId::parse(step).unwrap()),
        attempt,
        class: class.to_owned(),
        code: code.to_owned(),
        error: json_of("{\"name\":\"Error\",\"message\":\"no\"}"),
        at: at(12 + i64::from(attempt)),
        next_at: Some(at(15)),
        response: None,
    }
}

#[tokio::test]
async fn errors_tell_who_made_them_and_whether_another_attempt_was_allowed() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let id: RunId = run.parse().unwrap();
    let gave_up = FailedAttemptRow {
        error: json_of("{\"name\":\"Error\",\"message\":\"no\",\"noRetry\":true}"),
        next_at: None,
        ..failed(id, Some("work"), 1, "app", "step_error")
    };
    let broken = FailedAttemptRow {
        next_at: None,
        ..failed(id, None, 2, "app", "invalid_reply")
    };
    let ended = StepChange {
        status: StepStatus::Failed,
        memo: Some(json_of(
            "{\"error\":{\"name\":\"Error\",\"message\":\"no\"}}",
        )),
        ..step(id, "work", "work")
    };
    // Nothing failed here but what it waited for.
    let invoked = StepChange {
        kind: StepKind::Invoke,
        step: StepId::parse("other").unwrap(),
        position: Some(1),
        ..ended.clone()
    };
    let end = RunChange {
        id,
        env: DEFAULT_ENV,
        expected: 1,
        status: RunStatus::Failed,
        request_version: 2,
        force_plan: false,
        started_at: Some(at(1)),
        ended: Some((at(40), json_of("{\"name\":\"Error\",\"message\":\"no\"}"))),
        cancelled_by: None,
    };
    let commit = Commit {
        run: Some(end),
        steps: vec![ended, invoked],
        failed_attempts: vec![
            failed(id, Some("work"), 0, "network", "http_unreachable"),
            gave_up,
            broken,
        ],
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
    let query = "query ($id: ID!) { run(id: $id) { error { isRetriable origin }
        work: step(stepId: \"work\") { error { isRetriable origin } attempts { error { isRetriable origin } } }
        other: step(stepId: \"other\") { error { message isRetriable origin } }
        trace { spans { nodes { kind error { origin } } } } } }";
    let mut shown = server.query(query, json!({"id": run})).await["run"].take();
    let spans = shown["trace"].take();
    let last = json!({"isRetriable": false, "origin": "USER_CODE"});
    assert_eq!(
        shown,
        json!({"error": {"isRetriable": true, "origin": "SDK"},
            "work": {"error": last, "attempts": [{"error": {"isRetriable": true, "origin": "TRANSPORT"}}, {"error": last}]},
            "other": {"error": {"message": "no", "isRetriable": null, "origin": null}}, "trace": null})
    );
    let origins = |kind: &str| -> Vec<Value> {
        let spans = spans["spans"]["nodes"].as_array().unwrap().iter();
        spans
            .filter(|span| span["kind"] == kind && span["error"].is_object())
            .map(|span| span["error"]["origin"].clone())
            .collect()
    };
    assert_eq!(origins("RUN"), [json!("SDK")]);
    assert_eq!(origins("ATTEMPT"), [json!("TRANSPORT"), json!("USER_CODE")]);
}

#[tokio::test]
async fn error_of_a_cancelled_run_is_the_servers() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let cancel = "mutation ($id: ID!) { cancelRun(input: {runId: $id}) { run { error { name isRetriable origin } } } }";
    let shown = server.query(cancel, json!({"id": run})).await;
    assert_eq!(
        shown["cancelRun"]["run"]["error"],
        json!({"name": "Cancelled", "isRetriable": null, "origin": "SERVER"})
    );
}

#[tokio::test]
async fn schedules_tell_their_time_zone_and_their_runs_the_planned_time() {
    let server = Server::dev().await;
    let mut body = registration();
    body["functions"][0]["triggers"] =
        json!([{"cron": "TZ=Europe/Paris 0 9 * * *"}, {"cron": "0 9 * * *"}]);
    let answer = server.post("/fn/register", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let query = "{ environment { function(slug: \"shop-receipt\") { functionId app { appId } triggers { ... on CronTrigger { schedule timezone } } } } }";
    let shown = server.query(query, json!({})).await;
    let function = &shown["environment"]["function"];
    assert_eq!(
        function["triggers"],
        json!([{"schedule": "TZ=Europe/Paris 0 9 * * *", "timezone": "Europe/Paris"}, {"schedule": "0 9 * * *", "timezone": "UTC"}])
    );
    let id = |value: &Value| value.as_str().unwrap().to_owned();
    let (function, app) = (id(&function["functionId"]), id(&function["app"]["appId"]));
    let event = finish::timer(function.parse().unwrap(), "0 9 * * *", at(-5_000), at(0));
    let run = RunId::from_raw(EventId::from_seed(NOW.unsigned_abs(), [3; 10], 1).raw());
    let new = started(run, &event, app.parse().unwrap(), function.parse().unwrap());
    let commit = Commit {
        events: vec![new],
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
    let query = "query ($id: ID!) { run(id: $id) { trigger { kind cron scheduledAt } } }";
    let shown = server.query(query, json!({"id": run.to_string()})).await;
    assert_eq!(
        shown["run"]["trigger"],
        json!({"kind": "CRON", "cron": "0 9 * * *", "scheduledAt": at(-5_000).to_rfc3339()})
    );
    server.register().await;
    let (_, run) = server.start_run().await;
    let shown = server.query(query, json!({"id": run})).await;
    assert_eq!(shown["run"]["trigger"]["scheduledAt"], Value::Null);
}

fn started(
    run: RunId,
    event: &Event,
    app: inngest_core::ids::AppId,
    function: inngest_core::ids::FunctionId,
) -> NewEvent {
    let run = NewRun {
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        id: run,
        app,
        function,
        function_version: 1,
        status: RunStatus::Queued,
        skip_reason: None,
        events: vec![event.id],
        event_name: event.name.clone(),
        cron: Some("0 9 * * *".to_owned()),
        original: None,
        rerun: None,
        replay: None,
        started_by: None,
        idempotency_key: None,
        correlation: None,
        trace: None,
        rank: 0,
        queued_at: at(0),
        keys: Vec::new(),
        work: Vec::new(),
        otherwise: None,
        waits: Vec::new(),
    };
    NewEvent {
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        event: event.clone(),
        may_exist: false,
        runs: vec![run],
    }
}

#[tokio::test]
async fn attempts_tell_what_answered() {
    let server = Server::dev().await;
    server.register().await;
    let (_, run) = server.start_run().await;
    let id: RunId = run.parse().unwrap();
    let answer = |status, headers: &[(&str, &'static str)]| {
        let header = |name: &str| headers.iter().find(|it| it.0 == name).map(|it| it.1);
        Some(SdkResponse::new(
            status,
            Duration::from_millis(70),
            512,
            header,
        ))
    };
    let sdk = ("x-inngest-sdk", "inngest-js:v4.24.0");
    let refused = FailedAttemptRow {
        response: answer(
            502,
            &[
                ("server", "nginx"),
                ("via", "1.1 \"edge\""),
                ("cookie", "c"),
            ],
        ),
        ..failed(id, Some("work"), 0, "network", "http_not_ok")
    };
    let unheard = failed(id, Some("work"), 1, "network", "http_unreachable");
    let of_body = FailedAttemptRow {
        response: answer(500, &[sdk]),
        ..failed(id, None, 0, "app", "function_error")
    };
    let done = StepChange {
        response: answer(206, &[sdk]),
        ..step(id, "work", "work")
    };
    let commit = Commit {
        steps: vec![done],
        failed_attempts: vec![refused, unheard, of_body],
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
    let query = "query ($id: ID!) { run(id: $id) { step(stepId: \"work\") { attempts { response { ...facts } } }
        trace { spans(filter: {kinds: [ATTEMPT, REQUEST]}) { nodes { kind attempt response { statusCode } } } } } }
        fragment facts on SdkResponse { statusCode headers durationMs sizeBytes sdkLanguage sdkVersion }";
    let shown = server.query(query, json!({"id": run})).await["run"].take();
    assert_eq!(
        shown["step"]["attempts"],
        json!([
            {"response": {"statusCode": 502, "headers": {"server": "nginx", "via": "1.1 \"edge\""}, "durationMs": 70, "sizeBytes": 512,
                "sdkLanguage": null, "sdkVersion": null}},
            {"response": null},
            {"response": {"statusCode": 206, "headers": {}, "durationMs": 70, "sizeBytes": 512, "sdkLanguage": "js", "sdkVersion": "4.24.0"}},
        ])
    );
    let spans = shown["trace"]["spans"]["nodes"].as_array().unwrap();
    let mut told: Vec<(&str, Option<i64>, Option<i64>)> = spans
        .iter()
        .map(|span| {
            (
                span["kind"].as_str().unwrap(),
                span["attempt"].as_i64(),
                span["response"]["statusCode"].as_i64(),
            )
        })
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("ATTEMPT", Some(0), Some(502)),
            ("ATTEMPT", Some(1), None),
            ("ATTEMPT", Some(2), Some(206)),
            ("REQUEST", Some(0), Some(500)),
        ]
    );
}

#[tokio::test]
async fn runs_tell_what_guards_them_and_who_asked_for_them_or_cancelled_them() {
    let server = Server::dev().await;
    let mut body = registration();
    body["functions"][0]["idempotency"] = json!("event.data.n");
    let answer = server.post("/fn/register", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let (_, run) = server.start_run().await;
    let facts = "run { idempotencyKey trigger { actor { kind subject } } cancel { reason actor { kind subject } } }";
    let cancel =
        format!("mutation ($id: ID!) {{ cancelRun(input: {{runId: $id}}) {{ {facts} }} }}");
    let somebody = json!({"kind": "ANONYMOUS", "subject": null});
    let shown = server.query(&cancel, json!({"id": run})).await;
    assert_eq!(
        shown["cancelRun"]["run"],
        json!({"idempotencyKey": "1", "trigger": {"actor": null}, "cancel": {"reason": "MANUAL", "actor": somebody}})
    );
    let rerun = format!("mutation ($id: ID!) {{ rerunRun(input: {{runId: $id}}) {{ {facts} }} }}");
    let shown = server.query(&rerun, json!({"id": run})).await;
    assert_eq!(
        shown["rerunRun"]["run"],
        json!({"idempotencyKey": null, "trigger": {"actor": somebody}, "cancel": null})
    );
}

#[tokio::test]
async fn events_tell_where_they_came_from_and_are_listed_by_it() {
    let server = Server::dev().await;
    server.register().await;
    let (ingested, _) = server.start_run().await;
    let shown = server.query("{ environment { id } }", json!({})).await;
    let env = &shown["environment"]["id"];
    let send = "mutation ($env: ID!) { sendEvents(input: {environmentId: $env, events: [{name: \"shop/seen\"}]}) {
        events { source { kind actor { kind } } } } }";
    let shown = server.query(send, json!({"env": env})).await;
    let sent = &shown["sendEvents"]["events"][0];
    assert_eq!(
        sent["source"],
        json!({"kind": "API", "actor": {"kind": "ANONYMOUS"}})
    );
    let id = EventId::from_seed(NOW.unsigned_abs(), [7; 10], 1);
    let finished = Event {
        id,
        key: id.to_string(),
        name: FUNCTION_FINISHED.to_owned(),
        ts: at(0),
        received_at: at(0),
        body: json_of("{}"),
        door: None,
    };
    let older = Event {
        name: "shop/older".to_owned(),
        id: EventId::from_seed(NOW.unsigned_abs(), [7; 10], 2),
        ..finished.clone()
    };
    let new = |event| NewEvent {
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        event,
        may_exist: false,
        runs: Vec::new(),
    };
    let commit = Commit {
        events: vec![new(finished), new(older)],
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
    let query = "query ($kinds: [EventSourceKind!]) { environment { events(first: 9, filter: {time: {from: \"2020-01-01T00:00:00Z\"}, includeInternal: true,
        sourceKinds: $kinds}) { nodes { eventId name source { kind actor { kind } } } } } }";
    let sources = async |kinds: Value| -> Vec<(String, Value)> {
        let mut shown = server.query(query, json!({"kinds": kinds})).await;
        let nodes = shown["environment"]["events"]["nodes"].take();
        let mut found: Vec<(String, Value)> = nodes
            .as_array()
            .unwrap()
            .iter()
            .map(|node| {
                let name = node["name"].as_str().unwrap().to_owned();
                (name, node["source"]["kind"].clone())
            })
            .collect();
        found.sort_by(|one, two| one.0.cmp(&two.0));
        found
    };
    let told = |name: &str, kind: &str| (name.to_owned(), json!(kind));
    let (finished, ingested_one, seen) = (
        told(FUNCTION_FINISHED, "SYSTEM"),
        told("shop/order.placed", "EVENT_API"),
        told("shop/seen", "API"),
    );
    let older = ("shop/older".to_owned(), Value::Null);
    assert_eq!(
        sources(Value::Null).await,
        [finished.clone(), older, ingested_one.clone(), seen.clone()]
    );
    assert_eq!(sources(json!(["EVENT_API"])).await, [ingested_one]);
    assert_eq!(sources(json!(["SYSTEM", "API"])).await, [finished, seen]);
    assert_eq!(sources(json!([])).await, []);
    let one = "query ($id: ID!) { event(id: $id) { source { kind actor { kind } } } }";
    let shown = server.query(one, json!({"id": ingested})).await;
    assert_eq!(
        shown["event"]["source"],
        json!({"kind": "EVENT_API", "actor": null})
    );
}
