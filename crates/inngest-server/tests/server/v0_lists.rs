//! The lists of the older GraphQL API: pages, orders, windows, and what they leave out.

use std::time::Duration;

use http::Method;
use inngest_core::{
    access::Actor,
    ids::{DEFAULT_ENV, RunId},
    json::Json,
    run::RunStatus,
    time::Timestamp,
};
use inngest_state::{Commit, RunChange};
use serde_json::{Value, json};

use crate::{
    harness::{NOW, Server},
    v0::ask,
};

/// Before everything, as clients that leave the time open send it.
const EVER: &str = "0001-01-01T00:00:00Z";

/// Sends so many events that start `receipt`, numbered in `data.n`; their ids.
async fn send(server: &Server, count: usize) -> Vec<String> {
    let event = |n| json!({"name": "shop/order.placed", "data": {"n": n}});
    let events: Vec<Value> = (0..count).map(event).collect();
    let sent = server.post("/e/key", &json!(events)).await.json();
    let ids = sent["ids"].as_array().unwrap();
    ids.iter()
        .map(|id| id.as_str().unwrap().to_owned())
        .collect()
}

async fn runs_of(server: &Server, event: &str) -> Vec<String> {
    let runs = server.get(&format!("/v1/events/{event}/runs")).await.json();
    let runs = runs["data"].as_array().unwrap();
    runs.iter()
        .map(|run| run["run_id"].as_str().unwrap().to_owned())
        .collect()
}

/// Has a run end as if its app had been called `started` ms after the beginning of the test and had answered at `ended`.
async fn end(server: &Server, run: &str, status: RunStatus, output: &str, times: (i64, i64)) {
    let id: RunId = run.parse().unwrap();
    let known = server.services.runs().get(&Actor::dev(), id).await.unwrap();
    let at = |ms: i64| Timestamp::from_millis(NOW + ms);
    let change = RunChange {
        id,
        env: DEFAULT_ENV,
        expected: known.revision,
        status,
        request_version: 2,
        force_plan: false,
        started_at: Some(at(times.0)),
        ended: Some((at(times.1), Json::parse(output.as_bytes()).unwrap())),
        cancelled_by: None,
    };
    let commit = Commit {
        run: Some(change),
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
}

/// The list `field` with these arguments.
async fn list(server: &Server, field: &str, arguments: &str) -> Value {
    let query = format!(
        "{{ {field}({arguments}) {{ edges {{ cursor node {{ id }} }} totalCount
            pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
    );
    ask(server, &query, json!({})).await[field].take()
}

async fn error(server: &Server, query: &str) -> Value {
    let answer = server.post("/v0/gql", &json!({"query": query})).await;
    answer.json()["errors"][0]["extensions"]["code"].take()
}

fn ids(list: &Value) -> Vec<String> {
    let edges = list["edges"].as_array().unwrap();
    edges
        .iter()
        .map(|edge| edge["node"]["id"].as_str().unwrap().to_owned())
        .collect()
}

fn newest_first(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids
}

#[tokio::test]
async fn events_come_newest_first_in_pages_of_at_most_51() {
    let server = Server::dev().await;
    let sent = newest_first(send(&server, 60).await);
    let filter = format!("filter: {{from: \"{EVER}\"}}");
    for (first, expected) in [
        ("", 40),
        ("first: 51, ", 51),
        ("first: 1, ", 1),
        ("first: 52, ", 40),
        ("first: 0, ", 40),
        ("first: -7, ", 40),
        ("after: \"\", ", 40),
    ] {
        let page = list(&server, "eventsV2", &format!("{first}{filter}")).await;
        assert_eq!(ids(&page), sent[..expected], "{first}");
        let info = &page["pageInfo"];
        assert_eq!(
            (
                &page["totalCount"],
                &info["hasNextPage"],
                &info["hasPreviousPage"]
            ),
            (&json!(60), &json!(true), &json!(false)),
            "{first}"
        );
        assert_eq!(page["edges"][0]["cursor"], info["startCursor"]);
        assert_eq!(page["edges"][expected - 1]["cursor"], info["endCursor"]);
    }
    let first = list(&server, "eventsV2", &filter).await;
    let after = first["pageInfo"]["endCursor"].as_str().unwrap();
    // The last page is a whole one, and says so.
    let arguments = format!("first: 20, after: \"{after}\", {filter}");
    let second = list(&server, "eventsV2", &arguments).await;
    assert_eq!(ids(&second), sent[40..]);
    let info = &second["pageInfo"];
    assert_eq!(
        (
            &second["totalCount"],
            &info["hasNextPage"],
            &info["hasPreviousPage"]
        ),
        (&json!(60), &json!(false), &json!(true))
    );
    let query = format!("{{ eventsV2(after: \"x\", {filter}) {{ totalCount }} }}");
    assert_eq!(error(&server, &query).await, "INVALID_CURSOR");
}

#[tokio::test]
async fn events_of_the_server_are_hidden_unless_asked_for_even_by_name() {
    let server = Server::dev().await;
    server.register().await;
    let (event, run) = server.start_run().await;
    server.services.clock().advance(Duration::from_millis(5));
    let path = format!("/v1/runs/{run}");
    server.send(Method::DELETE, &path, &Value::Null, &[]).await;
    let query = "query ($names: [String!], $internal: Boolean = true) {
        eventsV2(filter: {from: \"0001-01-01T00:00:00Z\", eventNames: $names, includeInternalEvents: $internal}) { totalCount edges { node { id name raw } } } }";
    let named = json!(["shop/order.placed", "inngest/function.finished"]);
    for (internal, names, expected) in [
        (json!(true), named.clone(), 2),
        (json!(null), named.clone(), 2),
        (json!(false), named.clone(), 1),
        (json!(false), json!(["inngest/function.finished"]), 0),
        (json!(false), json!([]), 1),
        (json!(false), json!(null), 1),
        (json!(false), json!(["shop/other"]), 0),
    ] {
        let variables = json!({"internal": internal, "names": names});
        let found = ask(&server, query, variables.clone()).await["eventsV2"].take();
        assert_eq!(found["totalCount"], expected, "{variables}");
        assert_eq!(found["edges"].as_array().unwrap().len(), expected);
        if expected > 0 {
            let last = &found["edges"][expected - 1]["node"];
            assert_eq!(last["id"], json!(event), "{variables}");
        }
        if expected == 2 {
            let raw = found["edges"][0]["node"]["raw"].as_str().unwrap();
            let raw: Value = serde_json::from_str(raw).unwrap();
            assert_eq!(raw["name"], "inngest/function.finished");
            assert_eq!(raw["data"]["function_id"], "shop-receipt");
        }
    }
    let plain = format!("filter: {{from: \"{EVER}\"}}");
    assert_eq!(ids(&list(&server, "eventsV2", &plain).await), [event]);
}

#[tokio::test]
async fn windows_and_conditions_of_events_must_all_hold() {
    let server = Server::dev().await;
    let sent = send(&server, 4).await;
    let count = async |filter: Value| {
        let query = "query ($f: EventsFilter!) { eventsV2(filter: $f) { totalCount edges { node { id } } } }";
        let found = ask(&server, query, json!({"f": filter})).await["eventsV2"].take();
        assert_eq!(
            found["totalCount"],
            found["edges"].as_array().unwrap().len()
        );
        found["totalCount"].as_i64().unwrap()
    };
    let at = |ms: i64| Timestamp::from_millis(NOW + ms).to_rfc3339();
    for (from, until, expected) in [
        (EVER.to_owned(), None, 4),
        (at(0), Some(at(1)), 4),
        (at(0), Some(at(0)), 0),
        (at(1), None, 0),
        ("2026-09-21T16:13:20+02:00".to_owned(), None, 4),
    ] {
        let filter = json!({"from": from, "until": until});
        assert_eq!(count(filter.clone()).await, expected, "{filter}");
    }
    for (query, expected) in [
        ("event.name == 'shop/order.placed'\nevent.data.n > 1", 2),
        ("event.data.n > 1\nevent.data.n > 2", 1),
        (
            "event.data.n == 0 || event.data.n == 3\nevent.data.n < 3",
            1,
        ),
        ("\n \n", 4),
        ("event.data.n == '1'", 0),
    ] {
        let filter = json!({"from": EVER, "query": query});
        assert_eq!(count(filter).await, expected, "{query}");
    }
    let arguments = format!("first: 1, filter: {{from: \"{EVER}\", query: \"event.data.n < 2\"}}");
    let page = list(&server, "eventsV2", &arguments).await;
    assert_eq!(page["totalCount"], 2);
    assert_eq!(page["pageInfo"]["hasNextPage"], true);
    let after = page["pageInfo"]["endCursor"].as_str().unwrap();
    let rest = list(
        &server,
        "eventsV2",
        &format!("after: \"{after}\", {arguments}"),
    )
    .await;
    assert_eq!(rest["pageInfo"]["hasNextPage"], false);
    let expected = newest_first(sent[..2].to_vec());
    assert_eq!([ids(&page), ids(&rest)].concat(), expected);
    for wrong in ["output.a == 1", "event.data.n ==", "true) || (true"] {
        let query = format!(
            "{{ eventsV2(filter: {{from: \"{EVER}\", query: \"{wrong}\"}}) {{ totalCount }} }}"
        );
        assert_eq!(
            error(&server, &query).await,
            "INVALID_EXPRESSION",
            "{wrong}"
        );
    }
}

/// Five runs, of which four have ended; the order of their starts and ends is another one than that in which they were queued.
async fn five_runs(server: &Server) -> Vec<String> {
    server.register().await;
    let mut runs = Vec::new();
    for event in newest_first(send(server, 5).await).iter().rev() {
        runs.extend(runs_of(server, event).await);
    }
    runs.sort_unstable();
    let result = r#"{"num":1}"#;
    let failed = r#"{"message":"boom","name":"Error"}"#;
    end(server, &runs[0], RunStatus::Completed, result, (40, 45)).await;
    end(server, &runs[1], RunStatus::Failed, failed, (30, 60)).await;
    end(
        server,
        &runs[2],
        RunStatus::Completed,
        r#"{"num":2}"#,
        (40, 50),
    )
    .await;
    end(server, &runs[3], RunStatus::Skipped, "null", (1, 1)).await;
    runs
}

#[tokio::test]
async fn runs_are_ordered_and_bounded_by_the_time_that_is_asked_for() {
    let server = Server::dev().await;
    let runs = five_runs(&server).await;
    let at = |ms: i64| Timestamp::from_millis(NOW + ms).to_rfc3339();
    for (filter, order, expected) in [
        ("", "[]", vec![4, 2, 1, 0]),
        ("", "[{field: QUEUED_AT, direction: ASC}]", vec![0, 1, 2, 4]),
        // The last one has not started: it stands where time begins. Two began at once: their ids decide.
        (
            "",
            "[{field: STARTED_AT, direction: ASC}]",
            vec![4, 1, 0, 2],
        ),
        (
            "",
            "[{field: STARTED_AT, direction: DESC}]",
            vec![2, 0, 1, 4],
        ),
        ("", "[{field: ENDED_AT, direction: DESC}]", vec![1, 2, 0, 4]),
        (
            "",
            "[{field: ENDED_AT, direction: ASC}, {field: QUEUED_AT, direction: DESC}]",
            vec![4, 0, 2, 1],
        ),
        ("timeField: STARTED_AT", "[]", vec![2, 1, 0]),
        (
            "timeField: ENDED_AT",
            "[{field: ENDED_AT, direction: DESC}]",
            vec![1, 2, 0],
        ),
        ("status: [FAILED]", "[]", vec![1]),
        ("status: [COMPLETED, SKIPPED]", "[]", vec![2, 0]),
        ("status: [SKIPPED]", "[]", vec![]),
        ("status: []", "[]", vec![4, 2, 1, 0]),
        ("isDeferred: true", "[]", vec![]),
        ("isDeferred: false", "[]", vec![4, 2, 1, 0]),
    ] {
        let arguments = format!("orderBy: {order}, filter: {{from: \"{EVER}\", {filter}}}");
        let found = list(&server, "runs", &arguments).await;
        let expected: Vec<_> = expected.iter().map(|n| runs[*n].clone()).collect();
        assert_eq!(ids(&found), expected, "{arguments}");
        assert_eq!(found["totalCount"], expected.len(), "{arguments}");
        // The same, one at a time.
        let (mut one_by_one, mut after) = (Vec::new(), String::new());
        while one_by_one.len() < expected.len() {
            let page = format!("first: 1, after: \"{after}\", {arguments}");
            let page = list(&server, "runs", &page).await;
            one_by_one.extend(ids(&page));
            let goes_on = one_by_one.len() < expected.len();
            assert_eq!(page["pageInfo"]["hasNextPage"], goes_on, "{arguments}");
            after = page["pageInfo"]["endCursor"].as_str().unwrap().to_owned();
        }
        assert_eq!(one_by_one, expected, "{arguments}");
    }
    for (field, from, until, expected) in [
        ("STARTED_AT", 30, 40, 1),
        ("STARTED_AT", 40, 41, 2),
        ("ENDED_AT", 45, 60, 2),
        ("ENDED_AT", 61, 99, 0),
        ("QUEUED_AT", 0, 99, 4),
        ("QUEUED_AT", 40, 99, 0),
    ] {
        let arguments = format!(
            "orderBy: [], filter: {{timeField: {field}, from: \"{}\", until: \"{}\"}}",
            at(from),
            at(until)
        );
        let found = list(&server, "runs", &arguments).await;
        assert_eq!(found["totalCount"], expected, "{arguments}");
    }
    let desc = "orderBy: [{field: ENDED_AT, direction: DESC}]";
    let arguments = format!("first: 1, {desc}, filter: {{from: \"{EVER}\"}}");
    let after = list(&server, "runs", &arguments).await["pageInfo"]["endCursor"].take();
    let query = format!(
        "{{ runs(after: {after}, orderBy: [], filter: {{from: \"{EVER}\"}}) {{ totalCount }} }}"
    );
    assert_eq!(error(&server, &query).await, "INVALID_CURSOR");
}

#[tokio::test]
async fn runs_are_chosen_by_function_app_and_conditions() {
    let server = Server::dev().await;
    let runs = five_runs(&server).await;
    let query = "query ($f: RunsFilterV2!, $o: [RunsV2OrderBy!]!) { runs(filter: $f, orderBy: $o, preview: true) {
        totalCount(preview: true) edges { node { id function { id app { id } } } } pageInfo { hasNextPage } } }";
    let order = json!([{"field": "ENDED_AT", "direction": "ASC"}]);
    let found = async |more: Value| {
        let mut filter = json!({"from": EVER});
        let members = more.as_object().unwrap().clone();
        filter.as_object_mut().unwrap().extend(members);
        let variables = json!({"f": filter, "o": order});
        let found = ask(&server, query, variables).await["runs"].take();
        assert_eq!(found["totalCount"], ids(&found).len(), "{more}");
        assert_eq!(found["pageInfo"]["hasNextPage"], false);
        found
    };
    let all = found(json!({})).await;
    let function = &all["edges"][0]["node"]["function"];
    let (function, app) = (&function["id"], &function["app"]["id"]);
    let nil = "00000000-0000-0000-0000-000000000000";
    for (more, expected) in [
        (json!({"functionIDs": [function]}), vec![4, 0, 2, 1]),
        (json!({"functionIDs": [nil]}), vec![]),
        (json!({"functionIDs": []}), vec![4, 0, 2, 1]),
        (
            json!({"functionIDs": null, "status": null, "query": null}),
            vec![4, 0, 2, 1],
        ),
        (json!({"appIDs": [app]}), vec![4, 0, 2, 1]),
        (json!({"appIDs": [nil, app], "functionIDs": [nil]}), vec![]),
        (
            json!({"query": "event.name == 'shop/order.placed'\noutput.num > 1"}),
            vec![2],
        ),
        (json!({"query": "output.num > 0"}), vec![0, 2]),
        (json!({"query": "error.message == 'boom'"}), vec![1]),
        (
            json!({"query": "event.data.n >= 0", "status": ["COMPLETED"]}),
            vec![0, 2],
        ),
        (json!({"query": "output.num == null"}), vec![]),
    ] {
        let expected: Vec<_> = expected.iter().map(|n| runs[*n].clone()).collect();
        assert_eq!(ids(&found(more.clone()).await), expected, "{more}");
    }
    // A search in an order by time goes on where it was left.
    let text = "filter: {from: \"0001-01-01T00:00:00Z\", query: \"event.data.n >= 0\"}, orderBy: [{field: STARTED_AT, direction: DESC}]";
    let first = list(&server, "runs", &format!("first: 2, {text}")).await;
    assert_eq!(first["totalCount"], 4);
    let after = first["pageInfo"]["endCursor"].as_str().unwrap();
    let rest = list(
        &server,
        "runs",
        &format!("first: 2, after: \"{after}\", {text}"),
    )
    .await;
    let expected: Vec<_> = [2, 0, 1, 4].map(|n| runs[n].clone()).to_vec();
    assert_eq!([ids(&first), ids(&rest)].concat(), expected);
    assert_eq!(rest["pageInfo"]["hasNextPage"], false);
    let query = "{ runs(orderBy: [], filter: {from: \"0001-01-01T00:00:00Z\", functionIDs: [\"x\"]}) { totalCount } }";
    assert_eq!(error(&server, query).await, "BAD_USER_INPUT");
}

#[tokio::test]
async fn pages_of_runs_have_at_most_399() {
    let server = Server::dev().await;
    server.register().await;
    send(&server, 401).await;
    let filter = format!("orderBy: [], filter: {{from: \"{EVER}\"}}");
    for (first, expected) in [
        ("first: 399, ", 399),
        ("", 100),
        ("first: 400, ", 40),
        ("first: 0, ", 40),
    ] {
        let page = list(&server, "runs", &format!("{first}{filter}")).await;
        assert_eq!(ids(&page).len(), expected, "{first}");
        assert_eq!(
            (&page["totalCount"], &page["pageInfo"]["hasNextPage"]),
            (&json!(401), &json!(true)),
            "{first}"
        );
    }
    let page = list(&server, "runs", &format!("first: 399, {filter}")).await;
    let after = page["pageInfo"]["endCursor"].as_str().unwrap();
    let rest = list(
        &server,
        "runs",
        &format!("first: 399, after: \"{after}\", {filter}"),
    )
    .await;
    let all = [ids(&page), ids(&rest)].concat();
    assert_eq!(all, newest_first(all.clone()));
    assert_eq!(
        (all.len(), &rest["pageInfo"]["hasNextPage"]),
        (401, &json!(false))
    );
    assert_eq!(rest["pageInfo"]["hasPreviousPage"], true);
}

#[tokio::test]
async fn stream_and_events_name_events_by_the_ids_that_their_senders_got() {
    let server = Server::dev().await;
    server.register().await;
    let sent = newest_first(send(&server, 3).await);
    let query = "query ($q: StreamQuery!) { stream(query: $q) { id trigger runs { id function { name } } } }";
    let stream = async |variables: Value| {
        let found = ask(&server, query, json!({"q": variables})).await["stream"].take();
        let items = found.as_array().unwrap().clone();
        let ids = items
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned());
        (ids.collect::<Vec<_>>(), items)
    };
    let (ids, items) = stream(json!({"limit": 999, "includeInternalEvents": false})).await;
    assert_eq!(ids, sent);
    let runs = runs_of(&server, &sent[0]).await;
    assert_eq!(
        items[0],
        json!({"id": sent[0], "trigger": "shop/order.placed", "runs": [{"id": runs[0], "function": {"name": "Receipt"}}]})
    );
    let at = |ms: i64| Timestamp::from_millis(NOW + ms).to_rfc3339();
    for (variables, expected) in [
        (json!({}), 0..3),
        (json!({"limit": 2}), 0..2),
        (json!({"limit": 2_000}), 0..3),
        (json!({"before": sent[0]}), 1..3),
        (json!({"after": sent[2]}), 0..2),
        (json!({"after": sent[2], "before": sent[0]}), 1..2),
        (json!({"after": at(0), "before": at(1)}), 0..3),
        (json!({"after": at(1)}), 0..0),
        (json!({"before": at(0)}), 0..0),
    ] {
        let (ids, _) = stream(variables.clone()).await;
        assert_eq!(ids, sent[expected], "{variables}");
    }
    let query = "query Events($query: EventsQuery!) { events(query: $query) { id name payload functionRuns { id } } }";
    let events = ask(&server, query, json!({"query": {}})).await["events"].take();
    let ids: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].clone())
        .collect();
    assert_eq!(json!(ids), json!(sent));
    assert_eq!(events[0]["name"], "shop/order.placed");
    assert_eq!(events[0]["functionRuns"], json!([{"id": runs[0]}]));
    let payload: Value = serde_json::from_str(events[0]["payload"].as_str().unwrap()).unwrap();
    assert!(payload["n"].is_number());
    let before = ask(&server, query, json!({"query": {"lastEventId": sent[1]}})).await;
    assert_eq!(before["events"].as_array().unwrap().len(), 1);
    assert_eq!(before["events"][0]["id"], json!(sent[2]));
    for field in [
        "stream(query: {after: \"x\"}) { id }",
        "events(query: {lastEventId: \"x\"}) { id }",
    ] {
        let query = format!("{{ {field} }}");
        assert_eq!(error(&server, &query).await, "BAD_USER_INPUT", "{field}");
    }

    server.services.clock().advance(Duration::from_millis(5));
    let path = format!("/v1/runs/{}", runs[0]);
    server.send(Method::DELETE, &path, &Value::Null, &[]).await;
    let (ids, items) = stream(json!({"includeInternalEvents": true})).await;
    assert!(
        ids.len() > 3
            && items[0]["trigger"]
                .as_str()
                .unwrap()
                .starts_with("inngest/")
    );
    assert_eq!(stream(json!({})).await.0.len(), 3);
}

#[tokio::test]
async fn lists_cost_as_many_statements_however_long_they_are() {
    let queries = [
        "{ eventsV2(first: 51, filter: {from: \"0001-01-01T00:00:00Z\"}) { totalCount edges { node { id raw runs { id function { name slug app { id } } } } } } }",
        "{ runs(first: 51, orderBy: [{field: ENDED_AT, direction: ASC}], filter: {from: \"0001-01-01T00:00:00Z\"}) { totalCount edges { node { id function { name } } } } }",
        "{ stream(query: {limit: 51}) { id trigger runs { id function { name } } } }",
        "{ events(query: {}) { id name payload functionRuns { id function { name } } } }",
    ];
    let server = Server::dev().await;
    server.register().await;
    let mut costs = Vec::new();
    for count in [2, 48] {
        send(&server, count).await;
        for query in queries {
            let before = server.services.store().statements();
            ask(&server, query, json!({})).await;
            costs.push(server.services.store().statements() - before);
        }
    }
    let (few, many) = costs.split_at(queries.len());
    assert_eq!(few, many);
    assert!(few.iter().all(|cost| *cost <= 8), "{few:?}");
}
