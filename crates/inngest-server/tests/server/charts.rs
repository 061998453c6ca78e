//! Figures over time by GraphQL: what they say, what is refused, and what a question costs.

use std::time::Duration;

use inngest_core::{
    ids::{DEFAULT_ENV, RunId},
    json::Json,
    run::RunStatus,
    time::Timestamp,
};
use inngest_state::{Commit, LevelSample, RequestMade, RunChange};
use serde_json::{Value, json};

use crate::{
    harness::{NOW, Server, registration},
    socket::Client,
};

pub(crate) const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// So long ago, as GraphQL reads it.
pub(crate) fn ago(ms: i64) -> String {
    Timestamp::from_millis(NOW - ms).to_rfc3339()
}

pub(crate) fn last(ms: i64) -> String {
    format!("range: {{from: \"{}\"}}", ago(ms))
}

/// A server whose app has so many functions, each started by the event with its number.
async fn with_functions(count: usize) -> Server {
    let server = Server::dev().await;
    let mut body = registration();
    let template = body["functions"][0].clone();
    let functions = (0..count).map(|number| {
        let mut function = template.clone();
        function["id"] = json!(format!("shop-f{number}"));
        function["name"] = json!(format!("Function {number}"));
        function["triggers"] = json!([{"event": format!("go/{number}")}]);
        function
    });
    body["functions"] = functions.collect();
    let answer = server.post("/fn/register", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    server
}

/// Starts a run of the function with this number.
async fn start(server: &Server, number: usize) -> RunId {
    let event = json!({"name": format!("go/{number}"), "data": {}});
    let sent = server.post("/e/key", &event).await.json();
    let query = "query ($id: ID!) { event(id: $id) { runs { nodes { runId } } } }";
    let found = server.query(query, json!({"id": sent["ids"][0]})).await;
    let run = &found["event"]["runs"]["nodes"][0]["runId"];
    run.as_str().unwrap().parse().unwrap()
}

/// Ends a run that was just started, after a call that took 10 ms per number.
async fn end(server: &Server, run: RunId, status: RunStatus, number: u64) {
    let at = |ms: u64| Timestamp::from_millis(NOW).plus(Duration::from_millis(ms));
    let change = RunChange {
        id: run,
        env: DEFAULT_ENV,
        expected: 1,
        status,
        request_version: 2,
        force_plan: false,
        started_at: Some(at(5)),
        ended: Some((at(5 + 10 * number), Json::null())),
        cancelled_by: None,
    };
    let commit = Commit {
        run: Some(change),
        request_made: Some(RequestMade {
            at: at(5 + 10 * number),
            took: Duration::from_millis(10 * number),
            is_ok: status != RunStatus::Failed,
        }),
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
}

pub(crate) async fn roll(server: &Server) {
    while server.services.store().roll_up().await.unwrap().has_more {}
}

pub(crate) async fn metrics(server: &Server, fields: &str) -> Value {
    let query = format!("{{ environment {{ metrics {{ {fields} }} }} }}");
    server.query(&query, json!({})).await["environment"]["metrics"].take()
}

pub(crate) fn keys(series: &Value) -> Vec<&str> {
    let list = series.as_array().unwrap();
    list.iter()
        .map(|one| one["label"].as_str().unwrap())
        .collect()
}

pub(crate) fn totals(series: &Value) -> Vec<f64> {
    let list = series.as_array().unwrap();
    list.iter()
        .map(|one| one["total"].as_f64().unwrap())
        .collect()
}

/// Three functions, of which the first has three runs, the second two, and the third one; all but the last have ended.
pub(crate) async fn six_runs() -> Server {
    let server = with_functions(3).await;
    for (number, (function, status)) in (1..).zip([
        (0, Some(RunStatus::Completed)),
        (0, Some(RunStatus::Failed)),
        (0, Some(RunStatus::Completed)),
        (1, Some(RunStatus::Failed)),
        (1, Some(RunStatus::Cancelled)),
        (2, None),
    ]) {
        let run = start(&server, function).await;
        if let Some(status) = status {
            end(&server, run, status, number).await;
        }
    }
    roll(&server).await;
    server
}

#[tokio::test]
async fn counts_are_told_by_bucket_and_group() {
    let server = six_runs().await;
    let hour = last(HOUR);
    let found = metrics(
        &server,
        &format!(
            "queued: runThroughput({hour}, flow: QUEUED) {{ key label bucket total points {{ at value }} }}
             status: runThroughput({hour}, flow: ENDED, groupBy: STATUS) {{ key label total }}
             function: runThroughput({hour}, flow: QUEUED, groupBy: FUNCTION, top: 2) {{ key label total node {{ id }} }}
             app: runThroughput({hour}, flow: STARTED, groupBy: APP) {{ label total node {{ ... on App {{ externalId }} }} }}
             steps: stepThroughput({hour}, flow: ENDED) {{ total }}
             sdkRequests({hour}, groupBy: STATUS) {{ label total }}
             events({hour}) {{ total }}
             runStatusCounts({hour}) {{ total queued running completed failed cancelled skipped }}
             failingFunctions({hour}) {{ function {{ name }} ended failed rate }}"
        ),
    )
    .await;
    let queued = &found["queued"][0];
    assert_eq!(
        (&queued["key"], &queued["bucket"]),
        (&json!("total"), &json!("MINUTE"))
    );
    let points = queued["points"].as_array().unwrap();
    assert_eq!((points.len(), &queued["total"]), (61, &json!(6.0)));
    let (before, present) = points.split_at(60);
    assert!(before.iter().all(|point| point["value"] == json!(0.0)));
    assert_eq!(present[0]["value"], json!(6.0));

    let status = &found["status"];
    assert_eq!(keys(status), ["Completed", "Failed", "Cancelled"]);
    assert_eq!(totals(status), [2.0, 2.0, 1.0]);
    let function = &found["function"];
    assert_eq!(keys(function), ["Function 0", "Function 1", "Other"]);
    assert_eq!(totals(function), [3.0, 2.0, 1.0]);
    assert_eq!(function[0]["node"]["id"], function[0]["key"]);
    assert_eq!(function[2]["node"], Value::Null);
    let app = &found["app"];
    assert_eq!(app[0]["node"]["externalId"], "shop");
    assert_eq!(
        (totals(app), found["steps"][0]["total"].as_f64()),
        (vec![5.0], Some(0.0))
    );
    assert_eq!(totals(&found["sdkRequests"]), [3.0, 2.0]);
    assert_eq!(totals(&found["events"]), [6.0]);
    assert_eq!(
        found["runStatusCounts"],
        json!({"total": 6, "queued": 6, "running": 5, "completed": 2, "failed": 2, "cancelled": 1, "skipped": 0})
    );
    assert_eq!(
        found["failingFunctions"],
        json!([
            {"function": {"name": "Function 1"}, "ended": 2, "failed": 1, "rate": 0.5},
            {"function": {"name": "Function 0"}, "ended": 3, "failed": 1, "rate": 1.0 / 3.0},
        ])
    );
}

#[tokio::test]
async fn latencies_are_told_with_percentiles_and_nothing_where_nothing_was_measured() {
    let server = six_runs().await;
    let fields = "label points { count p50Ms meanMs } overall { count meanMs p50Ms p90Ms p95Ms p99Ms maxMs }";
    let hour = last(HOUR);
    let found = metrics(
        &server,
        &format!(
            "all: latency({hour}, bucket: FIVE_MINUTES, kind: SDK_REQUEST) {{ {fields} }}
             each: latency({hour}, kind: SDK_REQUEST, groupBy: FUNCTION, top: 1) {{ {fields} }}
             app: latency({hour}, kind: END_TO_END, groupBy: APP) {{ {fields} }}
             none: latency({hour}, kind: STEP_DURATION) {{ {fields} }}"
        ),
    )
    .await;
    let near = |value: &Value, exact: f64| {
        let value = value.as_f64().unwrap();
        assert!((value - exact).abs() <= exact * 0.02, "{value} for {exact}");
    };
    let all = &found["all"][0]["overall"];
    assert_eq!(
        (&all["count"], &all["meanMs"], &all["maxMs"]),
        (&json!(5), &json!(30.0), &json!(50.0))
    );
    near(&all["p50Ms"], 30.0);
    near(&all["p99Ms"], 50.0);
    let points = found["all"][0]["points"].as_array().unwrap();
    assert_eq!(
        points[0],
        json!({"count": 0, "p50Ms": null, "meanMs": null})
    );
    assert_eq!(points.last().unwrap()["count"], 5);
    let each = found["each"].as_array().unwrap();
    assert_eq!(keys(&found["each"]), ["Function 0", "Other"]);
    assert_eq!(
        (&each[0]["overall"]["count"], &each[1]["overall"]["count"]),
        (&json!(3), &json!(2))
    );
    near(&each[1]["overall"]["p50Ms"], 40.0);
    assert_eq!(each[1]["overall"]["meanMs"], json!(45.0));
    assert_eq!(found["app"][0]["overall"]["count"], 5);
    let none = &found["none"][0]["overall"];
    assert_eq!(
        (&none["count"], &none["p50Ms"], &none["maxMs"]),
        (&json!(0), &Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn levels_are_told_where_somebody_looked() {
    let server = with_functions(2).await;
    let query = "{ environment { functions(first: 2) { nodes { functionId } } } }";
    let found = server.query(query, json!({})).await;
    let nodes = &found["environment"]["functions"]["nodes"];
    let sample = |place: usize, levels| LevelSample {
        function: nodes[place]["functionId"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap(),
        levels,
    };
    let samples = [sample(0, [5, 1]), sample(1, [2, 3])];
    let store = server.services.store();
    let now = Timestamp::from_millis(NOW);
    store.store_levels(now, &samples).await.unwrap();
    let hour = last(HOUR);
    let query = format!(
        "{{ environment {{ metrics {{
            all: gauge({hour}, kind: BACKLOG) {{ key points {{ value }} }}
            each: gauge({hour}, kind: EXECUTING, groupBy: FUNCTION) {{ label points {{ value }} }}
            other: gauge({hour}, kind: EXECUTING, groupBy: APP) {{ label }} }}
          functions(first: 2) {{ nodes {{ metrics {{ gauge({hour}, kind: BACKLOG) {{ points {{ value }} }} }} }} }} }} }}"
    );
    let answer = server
        .post("/graphql", &json!({"query": query}))
        .await
        .json();
    let error = &answer["errors"][0]["extensions"];
    assert_eq!(error["reason"], "levels_are_by_function", "{answer}");
    let environment = &answer["data"]["environment"];
    let metrics = &environment["metrics"];
    let points = metrics["all"][0]["points"].as_array().unwrap();
    assert_eq!((points.len(), &points[0]["value"]), (61, &Value::Null));
    assert_eq!(points[60]["value"], json!(7.0));
    assert_eq!(keys(&metrics["each"]), ["Function 1", "Function 0"]);
    assert_eq!(metrics["each"][0]["points"][60]["value"], json!(3.0));
    let of_function = &environment["functions"]["nodes"][1]["metrics"]["gauge"];
    assert_eq!(of_function["points"][60]["value"], json!(2.0));
}

#[tokio::test]
async fn function_has_figures_of_its_own() {
    let server = six_runs().await;
    let hour = last(HOUR);
    let query = format!(
        "{{ environment {{ functions(first: 3) {{ nodes {{ name metrics {{
            runThroughput({hour}, flow: ENDED, groupBy: STATUS) {{ total }}
            runStatusCounts({hour}) {{ queued }} latency({hour}, kind: RUN_DURATION) {{ overall {{ count maxMs }} }}
            failureRate({hour}) }} }} }} }} }}"
    );
    let found = server.query(&query, json!({})).await;
    let nodes = &found["environment"]["functions"]["nodes"];
    let one = &nodes[1]["metrics"];
    assert_eq!(nodes[1]["name"], "Function 1");
    assert_eq!(totals(&one["runThroughput"]), [0.0, 1.0, 1.0]);
    assert_eq!(one["runStatusCounts"]["queued"], 2);
    assert_eq!(
        one["latency"]["overall"],
        json!({"count": 2, "maxMs": 50.0})
    );
    assert_eq!(one["failureRate"], json!(0.5));
    assert_eq!(nodes[2]["metrics"]["failureRate"], Value::Null);
}

#[tokio::test]
async fn scope_narrows_to_functions_and_apps_of_this_tenant() {
    let server = six_runs().await;
    let hour = last(HOUR);
    let found = metrics(
        &server,
        &format!("runThroughput({hour}, flow: QUEUED, groupBy: FUNCTION) {{ key }}"),
    )
    .await;
    let keys = found["runThroughput"].as_array().unwrap();
    let (one, two) = (&keys[0]["key"], &keys[2]["key"]);
    let unknown = "fn_00000000-0000-4000-8000-000000000001";
    let found = metrics(
        &server,
        &format!(
            "two: runThroughput({hour}, flow: QUEUED, scope: {{functionIds: [{one}, {two}]}}) {{ total }}
             none: runThroughput({hour}, flow: QUEUED, scope: {{functionIds: [\"{unknown}\"]}}) {{ total }}
             runStatusCounts({hour}, scope: {{functionIds: [{one}]}}) {{ failed }}"
        ),
    )
    .await;
    assert_eq!(totals(&found["two"]), [4.0]);
    assert_eq!(totals(&found["none"]), [0.0]);
    assert_eq!(found["runStatusCounts"]["failed"], 1);
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_the_reason_and_the_rest_is_answered() {
    let server = six_runs().await;
    let (hour, days) = (last(HOUR), last(3 * DAY));
    let empty = format!("range: {{from: \"{}\", until: \"{}\"}}", ago(0), ago(HOUR));
    for (field, reason) in [
        (
            format!("runThroughput({days}, bucket: MINUTE, flow: QUEUED) {{ total }}"),
            "too_many_points",
        ),
        (
            format!("runThroughput({days}, bucket: TEN_SECONDS, flow: QUEUED) {{ total }}"),
            "bucket_not_kept",
        ),
        (format!("events({empty}) {{ total }}"), "empty_range"),
        (
            format!("sdkRequests({hour}, groupBy: APP, top: 51) {{ total }}"),
            "invalid_number_of_series",
        ),
        (
            format!("sdkRequests({hour}, groupBy: APP, top: -1) {{ total }}"),
            "invalid_number_of_series",
        ),
        (
            format!("events({hour}, top: 51) {{ total }}"),
            "invalid_number_of_series",
        ),
        (
            format!("events({hour}, names: [\"a\"], top: 1) {{ total }}"),
            "names_or_top",
        ),
        (
            format!("failingFunctions({hour}, first: 0) {{ failed }}"),
            "invalid_number_of_series",
        ),
        (
            format!("latency({hour}, kind: SDK_REQUEST, groupBy: STATUS) {{ label }}"),
            "latency_has_no_status",
        ),
    ] {
        let query = format!("{{ environment {{ slug metrics {{ {field} }} }} }}");
        let answer = server
            .post("/graphql", &json!({"query": query}))
            .await
            .json();
        let error = &answer["errors"][0]["extensions"];
        assert_eq!(
            (&error["code"], &error["reason"]),
            (&json!("BAD_USER_INPUT"), &json!(reason)),
            "{answer}"
        );
        assert_eq!(answer["data"]["environment"]["slug"], "dev", "{answer}");
    }
    let wrong = format!(
        "{{ environment {{ metrics {{ events({hour}) {{ total }} sdkRequests({hour}, scope: {{appIds: [\"fn_1\"]}}) {{ total }} }} }} }}"
    );
    let answer = server
        .post("/graphql", &json!({"query": wrong}))
        .await
        .json();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    assert_eq!(
        answer["data"]["environment"]["metrics"]["events"][0]["total"],
        json!(6.0)
    );
}

#[tokio::test]
async fn question_takes_the_same_statements_for_any_range_and_number_of_functions() {
    let mut costs = Vec::new();
    for functions in [2, 30] {
        let server = with_functions(functions).await;
        for number in 0..functions {
            let run = start(&server, number).await;
            end(&server, run, RunStatus::Failed, 1).await;
        }
        roll(&server).await;
        for range in [last(HOUR), last(700 * DAY)] {
            let fields = format!(
                "runThroughput({range}, flow: ENDED, groupBy: FUNCTION) {{ label total points {{ value }} }}
                 latency({range}, kind: SDK_REQUEST, groupBy: FUNCTION) {{ label overall {{ p99Ms }} }}
                 runStatusCounts({range}) {{ total }} failingFunctions({range}) {{ function {{ name }} rate }}
                 events({range}, top: 10) {{ label total points {{ value }} }}"
            );
            let before = server.services.store().statements();
            metrics(&server, &fields).await;
            costs.push(server.services.store().statements() - before);
        }
    }
    // Three for each group, one for each of the others, and the functions, perhaps of two fields at once.
    assert!(
        costs.iter().all(|cost| (12..=14).contains(cost)),
        "{costs:?}"
    );
}

#[tokio::test]
async fn ticks_tell_what_has_come_since_the_one_before() {
    let server = with_functions(1).await;
    let early = start(&server, 0).await;
    roll(&server).await;
    let functions = "{ environment { functions { nodes { id } } } }";
    let found = server.query(functions, json!({})).await;
    let id = &found["environment"]["functions"]["nodes"][0]["id"];

    let mut client = Client::open(&server).await;
    client.say(json!({"type": "connection_init"})).await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    let query = format!(
        "subscription {{ functionMetrics(functionId: {id}, intervalSeconds: 1) {{ at intervalMs counts {{ queued completed }} backlog {{ ready }} }} }}"
    );
    client.subscribe("1", &query).await;
    let first = client.hear_of("1").await;
    let tick = &first["payload"]["data"]["functionMetrics"];
    assert_eq!(
        (&tick["intervalMs"], &tick["counts"]),
        (&json!(0), &json!({"queued": 0, "completed": 0}))
    );
    assert_eq!(tick["backlog"]["ready"], 1, "{first}");

    start(&server, 0).await;
    end(&server, early, RunStatus::Completed, 1).await;
    roll(&server).await;
    let mut sum = (0, 0);
    while sum != (1, 1) {
        let message = client.hear_of("1").await;
        let tick = &message["payload"]["data"]["functionMetrics"];
        assert!(tick["intervalMs"].as_u64().unwrap() >= 1_000, "{message}");
        let count = |name: &str| tick["counts"][name].as_u64().unwrap();
        sum = (sum.0 + count("queued"), sum.1 + count("completed"));
    }

    for (seconds, id) in [
        (0, id.clone()),
        (61, id.clone()),
        (1, json!("fn_00000000-0000-4000-8000-000000000001")),
    ] {
        let query = format!(
            "subscription {{ functionMetrics(functionId: {id}, intervalSeconds: {seconds}) {{ at }} }}"
        );
        client.subscribe("2", &query).await;
        let message = client.hear_of("2").await;
        assert!(message.to_string().contains("BAD_USER_INPUT"), "{message}");
        if message["type"] == "next" {
            client.hear_of("2").await;
        }
    }
}
