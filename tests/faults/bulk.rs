//! The server is killed while it cancels many runs, and while it starts many again: each of them in the end, once.

use std::{collections::BTreeSet, time::Duration};

use inngest_tests::{
    http,
    process::{free_port, own_directory},
    server::Server,
    wait::wait_until,
};
use serde_json::{Value, json};

use crate::options;

/// Runs of the operations.
const RUNS: u64 = 3_000;
/// Events of one request.
const BATCH: u64 = 500;
/// After how many runs it is killed.
const KILLS: [u64; 3] = [200, 1_000, 2_200];
/// How long an operation may take.
const PATIENCE: Duration = Duration::from_secs(60);
const ALL: &str = "{from: \"2020-01-01T00:00:00Z\"}";

fn ask(server: &Server, query: &str, variables: &Value) -> Option<Value> {
    let url = format!("{}/graphql", server.base());
    let body = json!({"query": query, "variables": variables});
    let answer = http::try_request("POST", &url, &[], Some(&body)).ok()?;
    assert!(answer.body["errors"].is_null(), "{}", answer.body);
    Some(answer.body["data"].clone())
}

fn must(server: &Server, query: &str, variables: &Value) -> Value {
    ask(server, query, variables).expect("the server answers")
}

/// Registers a function whose app is not there, so that its runs go on trying, and starts all runs.
fn start_runs(server: &Server) -> String {
    let url = format!("http://127.0.0.1:{}/api/inngest", free_port());
    let function = json!({"id": "absent-job", "name": "job", "triggers": [{"event": "absent/job"}],
        "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "http", "url": format!("{url}?fnId=absent-job&stepId=step")},
            "retries": {"attempts": 20}}}});
    let body =
        json!({"url": url, "appName": "absent", "sdk": "js:v4.24.0", "functions": [function]});
    let registered = http::request(
        "POST",
        &format!("{}/fn/register", server.base()),
        &[],
        Some(&body),
    );
    assert_eq!(registered.status, 200, "{}", registered.body);
    for _ in 0..RUNS / BATCH {
        let events = vec![json!({"name": "absent/job", "data": {}}); BATCH as usize];
        let sent = http::request(
            "POST",
            &format!("{}/e/test", server.base()),
            &[],
            Some(&Value::Array(events)),
        );
        assert_eq!(sent.status, 200, "{}", sent.body);
    }
    let query = "{ environment { function(slug: \"absent-job\") { id } } }";
    let found = must(server, query, &json!({}));
    found["environment"]["function"]["id"]
        .as_str()
        .expect("the function is registered")
        .to_owned()
}

/// Begins an operation and kills the server in the middle of it, again and again; the operation as it is when it has ended.
fn carry_out(
    mut server: Server,
    options: &inngest_tests::server::ServerOptions,
    begin: &str,
    function: &str,
) -> (Server, Value) {
    let environment = must(&server, "{ environment { id } }", &json!({}));
    let variables = json!({"env": environment["environment"]["id"], "function": function});
    let begun = must(&server, begin, &variables);
    let id = &begun["begun"]["operation"]["id"];
    let query = "query ($id: ID!) { node(id: $id) { ... on BulkOperation { status progress { total processed succeeded skipped failed } } } }";
    let look = |server: &Server| {
        let found = ask(server, query, &json!({"id": id}))?;
        Some(found["node"].clone())
    };
    for most in KILLS {
        let met = wait_until("the operation to be half done", PATIENCE, || {
            let now = look(&server)?;
            (now["progress"]["succeeded"].as_u64()? >= most).then_some(now)
        });
        server.kill();
        eprintln!("killed at {met}");
        assert_eq!(
            met["status"], "RUNNING",
            "there was nothing left to disturb"
        );
        server = Server::start(options);
    }
    let done = wait_until("the operation to be done", PATIENCE, || {
        look(&server).filter(|now| now["status"] == "COMPLETED")
    });
    (server, done)
}

fn count(server: &Server, filter: &str) -> u64 {
    let query = format!(
        "{{ environment {{ function(slug: \"absent-job\") {{ runs(filter: {{time: {ALL}, {filter}}}) {{ totalCount {{ value isExact }} }} }} }} }}"
    );
    let found = must(server, &query, &json!({}));
    let total = &found["environment"]["function"]["runs"]["totalCount"];
    assert_eq!(total["isExact"], true);
    total["value"].as_u64().expect("a number")
}

#[test]
fn operations_on_many_runs_reach_each_run_once_however_often_the_server_is_killed() {
    let data = own_directory("bulk-data");
    let options = options("bulk", free_port(), &data.display().to_string());
    let server = Server::start(&options);
    let function = start_runs(&server);
    let all =
        json!({"total": RUNS, "processed": RUNS, "succeeded": RUNS, "skipped": 0, "failed": 0});

    let cancel = "mutation ($env: ID!, $function: ID!) { begun: cancelRuns(input: {environmentId: $env,
        filter: {functionIds: [$function], queued: {from: \"2020-01-01T00:00:00Z\"}}}) { operation: cancellation { id } errors { message } } }";
    let (server, done) = carry_out(server, &options, cancel, &function);
    assert_eq!(done["progress"], all);
    assert_eq!(count(&server, "statuses: [CANCELLED]"), RUNS);
    assert_eq!(count(&server, "statuses: [QUEUED, RUNNING]"), 0);

    let replay = "mutation ($env: ID!, $function: ID!) { begun: createReplay(input: {environmentId: $env,
        filter: {functionIds: [$function], queued: {from: \"2020-01-01T00:00:00Z\"}, statuses: [CANCELLED]}}) { operation: replay { id } errors { message } } }";
    let (server, done) = carry_out(server, &options, replay, &function);
    assert_eq!(done["progress"], all);
    assert_eq!(count(&server, "triggerKinds: [REPLAY]"), RUNS);
    let page = "query ($after: String) { environment { runs(first: 200, after: $after, filter: {time: {from: \"2020-01-01T00:00:00Z\"},
        triggerKinds: [REPLAY]}) { nodes { rerunOf { id } } pageInfo { hasNextPage endCursor } } } }";
    let mut repeated = BTreeSet::new();
    let mut after = Value::Null;
    loop {
        let found = must(&server, page, &json!({"after": after}));
        let runs = &found["environment"]["runs"];
        for run in runs["nodes"].as_array().expect("a list") {
            let original = run["rerunOf"]["id"].as_str().expect("it repeats a run");
            assert!(repeated.insert(original.to_owned()), "{original} twice");
        }
        if runs["pageInfo"]["hasNextPage"] != true {
            break;
        }
        after = runs["pageInfo"]["endCursor"].clone();
    }
    assert_eq!(repeated.len() as u64, RUNS);
}
