//! Lists over GraphQL: pages in both directions, orders, filters, and what is refused.

use inngest_core::{ids::DEFAULT_ENV, json::Json, run::RunStatus, time::Timestamp};
use inngest_state::{Commit, RunChange};
use serde_json::{Value, json};

use crate::harness::{NOW, Server};

const ANY_TIME: &str = "time: {from: \"2020-01-01T00:00:00Z\"}";

/// A server with five runs of `shop-receipt`.
async fn with_five_runs() -> Server {
    let server = Server::dev().await;
    server.register().await;
    for _ in 0..5 {
        let answer = server
            .post("/e/key", &json!({"name": "shop/order.placed"}))
            .await;
        assert_eq!(answer.status, 200);
    }
    server
}

/// The connection `field` of the environment with these arguments.
async fn list(server: &Server, field: &str, arguments: &str) -> Value {
    let query = format!(
        "{{ environment {{ {field}({arguments}) {{ edges {{ cursor node {{ id }} }} nodes {{ id }} totalCount {{ value isExact }} \
         pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }} }}"
    );
    server.query(&query, json!({})).await["environment"][field].take()
}

async fn code(server: &Server, field: &str, arguments: &str) -> Value {
    let query = format!("{{ environment {{ {field}({arguments}) {{ nodes {{ id }} }} }} }}");
    let answer = server.post("/graphql", &json!({"query": query})).await;
    answer.json()["errors"][0]["extensions"]["code"].take()
}

fn ids(connection: &Value) -> Vec<String> {
    let nodes = connection["nodes"].as_array().unwrap();
    nodes
        .iter()
        .map(|node| node["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn lists_are_paged_in_both_directions_and_orders() {
    let server = with_five_runs().await;
    for field in ["runs", "events"] {
        let filter = format!("filter: {{{ANY_TIME}}}");
        let all = list(&server, field, &filter).await;
        assert_eq!(all["totalCount"], json!({"value": 5, "isExact": true}));
        assert_eq!(all["edges"][0]["cursor"], all["pageInfo"]["startCursor"]);
        let all = ids(&all);
        assert_eq!(all.len(), 5);

        let first = list(&server, field, &format!("first: 2, {filter}")).await;
        assert_eq!(ids(&first), all[..2]);
        let page = &first["pageInfo"];
        assert_eq!(
            (&page["hasNextPage"], &page["hasPreviousPage"]),
            (&json!(true), &json!(false))
        );
        let after = page["endCursor"].as_str().unwrap();
        let second = list(
            &server,
            field,
            &format!("first: 2, after: \"{after}\", {filter}"),
        )
        .await;
        assert_eq!(ids(&second), all[2..4]);
        assert_eq!(second["pageInfo"]["hasPreviousPage"], true);
        let last = list(&server, field, &format!("last: 2, {filter}")).await;
        assert_eq!(ids(&last), all[3..]);
        let before = last["pageInfo"]["startCursor"].as_str().unwrap();
        let back = list(
            &server,
            field,
            &format!("last: 9, before: \"{before}\", {filter}"),
        )
        .await;
        assert_eq!(ids(&back), all[..3]);
        assert_eq!(back["pageInfo"]["hasPreviousPage"], false);
        assert_eq!(back["pageInfo"]["hasNextPage"], true);

        let name = if field == "runs" {
            "QUEUED_AT"
        } else {
            "RECEIVED_AT"
        };
        let oldest = format!("orderBy: {{field: {name}, direction: ASC}}, {filter}");
        let reversed = ids(&list(&server, field, &oldest).await);
        assert!(reversed.iter().eq(all.iter().rev()));
        // The cursor of one order is none of the other.
        let arguments = format!("after: \"{after}\", {oldest}");
        assert_eq!(code(&server, field, &arguments).await, "INVALID_CURSOR");
    }
}

#[tokio::test]
async fn arguments_that_name_no_page_are_refused() {
    let server = with_five_runs().await;
    let filter = format!("filter: {{{ANY_TIME}}}");
    let versioned = format!("filter: {{{ANY_TIME}, functionVersion: 1}}");
    for (arguments, expected) in [
        (format!("first: 0, {filter}"), "BAD_USER_INPUT"),
        (format!("first: 201, {filter}"), "BAD_USER_INPUT"),
        (format!("last: -1, {filter}"), "BAD_USER_INPUT"),
        (format!("first: 1, last: 1, {filter}"), "BAD_USER_INPUT"),
        (
            format!("first: 1, before: \"x\", {filter}"),
            "BAD_USER_INPUT",
        ),
        (
            format!("after: \"x\", before: \"x\", {filter}"),
            "BAD_USER_INPUT",
        ),
        (format!("after: \"x\", {filter}"), "INVALID_CURSOR"),
        (versioned, "BAD_USER_INPUT"),
        ("first: 1".to_owned(), "GRAPHQL_VALIDATION_FAILED"),
    ] {
        assert_eq!(
            code(&server, "runs", &arguments).await,
            expected,
            "{arguments}"
        );
    }
    assert_eq!(
        code(&server, "functions", "after: \"x\"").await,
        "INVALID_CURSOR"
    );
    let query = format!(
        "{{ environment {{ runs({filter}) {{ nodes {{ steps(first: 1, after: \"x\") {{ nodes {{ id }} }} }} }} }} }}"
    );
    let answer = server.post("/graphql", &json!({"query": query})).await;
    assert_eq!(
        answer.json()["errors"][0]["extensions"]["code"],
        "INVALID_CURSOR"
    );
}

#[tokio::test]
async fn typed_filters_choose_runs_events_functions_and_apps() {
    let server = with_five_runs().await;
    let count = async |field: &str, filter: &str| {
        let found = list(&server, field, &format!("filter: {{{filter}}}")).await;
        assert_eq!(found["totalCount"]["value"], ids(&found).len());
        ids(&found).len()
    };
    for (filter, expected) in [
        ("triggerKinds: [EVENT]", 5),
        ("triggerKinds: [CRON, INVOKE]", 0),
        ("eventNames: [\"shop/order.placed\"]", 5),
        ("eventNames: [\"other\"]", 0),
        ("hasError: true", 0),
        ("durationMs: {min: 0}", 0),
        (
            "functionSlugs: [\"shop-receipt\", \"x\"], functionVersion: 1",
            5,
        ),
        ("functionSlugs: [\"shop-receipt\"], functionVersion: 2", 0),
        ("runIds: [], statuses: [QUEUED]", 0),
    ] {
        let filter = format!("{ANY_TIME}, {filter}");
        assert_eq!(count("runs", &filter).await, expected, "{filter}");
    }
    for (filter, expected) in [
        ("names: [\"shop/*\"]", 5),
        ("names: [\"shop/order.placed\", \"x\"]", 5),
        ("names: [\"shop\"]", 0),
        ("hasRuns: true", 5),
        ("hasRuns: false", 0),
        ("idempotencyKeys: [\"x\"]", 0),
    ] {
        let filter = format!("{ANY_TIME}, {filter}");
        assert_eq!(count("events", &filter).await, expected, "{filter}");
    }
    for (filter, expected) in [
        ("nameContains: \"RECEIPT\"", 1),
        ("nameContains: \"x\"", 0),
        ("triggerKinds: [EVENT]", 1),
        ("triggerKinds: [CRON, INVOKE]", 0),
        ("triggerEventName: \"shop/order.placed\"", 1),
        ("triggerEventName: \"shop/order\"", 0),
        ("appIds: []", 0),
        ("includeArchived: true", 1),
    ] {
        assert_eq!(count("functions", filter).await, expected, "{filter}");
    }
    assert_eq!(count("apps", "nameContains: \"SHO\"").await, 1);
    assert_eq!(count("apps", "nameContains: \"bank\"").await, 0);
}

#[tokio::test]
async fn search_finds_by_what_events_and_runs_hold() {
    let server = Server::dev().await;
    server.register().await;
    for total in [5, 50, 500] {
        let event = json!({"name": "shop/order.placed", "data": {"total": total, "kind": "a\"b", "none": null}});
        server.post("/e/key", &event).await;
    }
    let found = async |field: &str, search: &str| {
        let query = format!(
            "query ($search: CelExpression) {{ environment {{ {field}(filter: {{{ANY_TIME}, search: $search}}) {{
                nodes {{ id }} totalCount {{ value isExact }} scan {{ isPartial scanned scannedUntil }} }} }} }}"
        );
        let mut found = server.query(&query, json!({"search": search})).await;
        let found = found["environment"][field].take();
        assert_eq!(found["scan"]["isPartial"], false);
        assert_eq!(found["scan"]["scanned"], 3);
        assert!(found["scan"]["scannedUntil"].is_string());
        assert_eq!(
            found["totalCount"],
            json!({"value": ids(&found).len(), "isExact": true})
        );
        ids(&found).len()
    };
    for (search, expected) in [
        ("event.data.total == 50", 1),
        ("event.data.total == 50.0", 1),
        ("event.data.total == 5", 1),
        ("event.data.total > 5", 2),
        ("event.data.total in [5, 500]", 2),
        ("event.data.kind == 'a\"b'", 3),
        ("event.data.kind == 'a'", 0),
        ("event.data.none == null", 3),
        ("event.data.absent == null", 0),
        (
            "event.name == 'shop/order.placed' && event.data.total < 100",
            2,
        ),
        ("event.name.startsWith('shop/')", 3),
        ("event.data.kind > 5", 0),
    ] {
        assert_eq!(found("events", search).await, expected, "{search}");
        assert_eq!(found("runs", search).await, expected, "{search}");
    }
    for (search, expected) in [
        ("run.status == 'QUEUED'", 3),
        ("run.status == 'COMPLETED'", 0),
        (
            "run.status in ['QUEUED', 'FAILED'] && event.data.total == 5",
            1,
        ),
        ("run.attempt == 0", 3),
        ("output.total == 5", 0),
        ("error.message == 'x'", 0),
        ("has(run.durationMs)", 0),
    ] {
        assert_eq!(found("runs", search).await, expected, "{search}");
    }
}

#[tokio::test]
async fn search_pages_meet_in_both_directions() {
    let server = with_five_runs().await;
    for field in ["runs", "events"] {
        let filter =
            format!("filter: {{{ANY_TIME}, search: \"event.name == 'shop/order.placed'\"}}");
        let all = ids(&list(&server, field, &filter).await);
        assert_eq!(all.len(), 5);
        let first = list(&server, field, &format!("first: 3, {filter}")).await;
        let after = first["pageInfo"]["endCursor"].as_str().unwrap();
        assert_eq!(first["pageInfo"]["hasNextPage"], true);
        let arguments = format!("first: 3, after: \"{after}\", {filter}");
        let second = list(&server, field, &arguments).await;
        assert_eq!([ids(&first), ids(&second)].concat(), all);
        assert_eq!(second["pageInfo"]["hasNextPage"], false);
        assert_eq!(second["pageInfo"]["hasPreviousPage"], true);
        let last = list(&server, field, &format!("last: 2, {filter}")).await;
        assert_eq!(ids(&last), all[3..]);
        assert_eq!(last["pageInfo"]["hasPreviousPage"], true);
    }
}

#[tokio::test]
async fn bad_search_says_where_it_is_bad() {
    let server = Server::dev().await;
    let query = format!(
        "{{ environment {{ events(filter: {{{ANY_TIME}, search: \"event.data.a ==\"}}) {{ nodes {{ id }} }} }} }}"
    );
    let answer = server.post("/graphql", &json!({"query": query})).await;
    let extensions = answer.json()["errors"][0]["extensions"].take();
    assert_eq!(extensions["code"], "INVALID_EXPRESSION");
    assert_eq!(extensions["issues"][0]["line"], 1);
    let filter = format!("filter: {{{ANY_TIME}, search: \"output.a == 1\"}}");
    assert_eq!(code(&server, "events", &filter).await, "INVALID_EXPRESSION");
}

#[tokio::test]
async fn expressions_can_be_tried_out() {
    let server = Server::dev().await;
    let check = async |expression: &str, kind: &str, sample: Value| {
        let query = "query ($text: String!, $kind: ExpressionKind!, $sample: JSON) { checkExpression(expression: $text, kind: $kind, sample: $sample) \
                     { isValid isIndexed result errors { message line column } } }";
        let variables = json!({"text": expression, "kind": kind, "sample": sample});
        server.query(query, variables).await["checkExpression"].take()
    };
    let sample = json!({"event": {"data": {"a": 1}}});
    let checked = check("event.data.a == 1", "EVENT_SEARCH", sample.clone()).await;
    let expected = json!({"isValid": true, "isIndexed": true, "result": true, "errors": []});
    assert_eq!(checked, expected);
    let checked = check("event.data.a > 0", "RUN_SEARCH", Value::Null).await;
    let expected = json!({"isValid": true, "isIndexed": false, "result": null, "errors": []});
    assert_eq!(checked, expected);
    let checked = check("event.data.a + 1", "KEY", sample.clone()).await;
    assert_eq!(checked["result"], 2);
    let checked = check("event.data.a * \"x\"", "TRIGGER", sample).await;
    assert_eq!(checked["isValid"], true);
    assert_eq!(checked["errors"].as_array().unwrap().len(), 1);
    let checked = check("run.status == \"x\"", "TRIGGER", Value::Null).await;
    assert_eq!(checked["isValid"], false);
}

/// Ends the run, or only begins it: `started` and `ended` in ms from now.
async fn change(server: &Server, run: &str, started: i64, ended: Option<i64>) {
    let at = |ms: i64| Timestamp::from_millis(NOW + ms);
    let id = run.strip_prefix("run_").unwrap().parse().unwrap();
    let change = RunChange {
        id,
        env: DEFAULT_ENV,
        expected: 1,
        status: match ended {
            Some(_) => RunStatus::Failed,
            None => RunStatus::Running,
        },
        request_version: 2,
        force_plan: false,
        started_at: Some(at(started)),
        ended: ended.map(|ended| (at(ended), Json::parse(b"{\"message\":\"no\"}").unwrap())),
        cancelled_by: None,
    };
    let commit = Commit {
        run: Some(change),
        ..Commit::default()
    };
    server.services.store().commit(commit).await.unwrap();
}

#[tokio::test]
async fn runs_are_found_by_when_they_started_or_ended() {
    let server = with_five_runs().await;
    let all = ids(&list(&server, "runs", &format!("filter: {{{ANY_TIME}}}")).await);
    change(&server, &all[0], 1_000, None).await;
    change(&server, &all[1], 2_000, Some(5_000)).await;
    change(&server, &all[2], 3_000, Some(4_000)).await;
    let at = |ms: i64| Timestamp::from_millis(NOW + ms).to_rfc3339();
    for (field, from, until, more, expected) in [
        ("STARTED_AT", 0, 10_000, "", &[0, 1, 2][..]),
        ("STARTED_AT", 1_000, 3_000, "", &[0, 1]),
        ("STARTED_AT", 1_001, 2_000, "", &[]),
        ("ENDED_AT", 0, 10_000, "", &[1, 2]),
        ("ENDED_AT", 0, 5_000, "", &[2]),
        ("ENDED_AT", 4_500, 10_000, "statuses: [FAILED]", &[1]),
        ("ENDED_AT", 0, 10_000, "statuses: [RUNNING]", &[]),
        ("QUEUED_AT", -1_000, 1_000, "", &[0, 1, 2, 3, 4]),
        ("QUEUED_AT", 1_000, 10_000, "", &[]),
    ] {
        let time = format!("time: {{from: \"{}\", until: \"{}\"}}", at(from), at(until));
        let arguments = format!("filter: {{{time}, timeField: {field} {more}}}");
        let found = list(&server, "runs", &arguments).await;
        let expected: Vec<String> = expected.iter().map(|place| all[*place].clone()).collect();
        assert_eq!(ids(&found), expected, "{arguments}");
        assert_eq!(found["totalCount"]["value"], expected.len(), "{arguments}");
        let query = format!(
            "{{ environment {{ function(slug: \"shop-receipt\") {{ runs({arguments}) {{ nodes {{ id }} totalCount {{ value }} }} }} }} }}"
        );
        let of_function = server.query(&query, json!({})).await;
        let of_function = &of_function["environment"]["function"]["runs"];
        assert_eq!(ids(of_function), expected, "{arguments}");
        assert_eq!(of_function["totalCount"]["value"], expected.len());
    }
}

#[tokio::test]
async fn runs_are_found_by_what_they_do_now() {
    let server = with_five_runs().await;
    let all = ids(&list(&server, "runs", &format!("filter: {{{ANY_TIME}}}")).await);
    change(&server, &all[0], 1, Some(2)).await;
    for (filter, expected) in [
        ("activities: [QUEUED]", &all[1..]),
        ("activities: [SLEEPING, QUEUED, PAUSED]", &all[1..]),
        ("activities: [SLEEPING]", &[]),
        ("activities: []", &[]),
        ("activities: [QUEUED], statuses: [FAILED]", &[]),
        (
            "activities: [QUEUED], search: \"run.status == 'QUEUED'\"",
            &all[1..],
        ),
        (
            "activities: [QUEUED], search: \"run.status == 'FAILED'\"",
            &[],
        ),
    ] {
        let arguments = format!("filter: {{{ANY_TIME}, {filter}}}");
        let found = list(&server, "runs", &arguments).await;
        assert_eq!(ids(&found), expected, "{filter}");
        assert_eq!(found["totalCount"]["value"], expected.len(), "{filter}");
        let page = list(&server, "runs", &format!("first: 2, {arguments}")).await;
        assert_eq!(ids(&page), expected[..expected.len().min(2)], "{filter}");
        assert_eq!(page["pageInfo"]["hasNextPage"], expected.len() > 2);
    }
}
