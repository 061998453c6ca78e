//! What functions, runs and replays have to do with each other, over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    breadth_rows::{fill_some, slug},
    harness::{Server, registration},
};

const TIME: &str = "{time: {from: \"2020-01-01T00:00:00Z\"}}";

/// Ids of the same millisecond are in no order.
fn later(server: &Server) {
    let clock = server.services.clock();
    clock.advance(Duration::from_millis(1));
}

async fn ids_of(server: &Server) -> (Value, Value) {
    let query = "{ environment { id function(slug: \"shop-receipt\") { id } } }";
    let mut found = server.query(query, json!({})).await["environment"].take();
    (found["id"].take(), found["function"]["id"].take())
}

#[tokio::test]
async fn function_has_the_operations_that_are_about_it() {
    let server = Server::dev().await;
    fill_some(&server, 2).await;
    let (ask, slug) = ("query ($slug: String!, $after: String) { environment { function(slug: $slug) {
        cancellations { totalCount { value } nodes { id function { slug } } }
        replays(first: 1, after: $after) { totalCount { value } nodes { id function { slug } } pageInfo { hasNextPage hasPreviousPage endCursor } } } } }", slug(1));
    let shown = server.query(ask, json!({"slug": slug})).await;
    let shown = &shown["environment"]["function"];
    assert_eq!(shown["cancellations"]["totalCount"]["value"], 1);
    assert_eq!(
        shown["cancellations"]["nodes"][0]["function"]["slug"],
        json!(slug)
    );
    assert!(
        shown["replays"]["nodes"][0]["id"]
            .as_str()
            .unwrap()
            .starts_with("rpl_")
    );
    assert_eq!(shown["replays"]["pageInfo"]["hasNextPage"], false);

    let all = "{ environment { id function(slug: \"app001-work\") { id } } }";
    let found = server.query(all, json!({})).await;
    let create = "mutation ($input: CreateReplayInput!) { createReplay(input: $input) { replay { id } errors { code } } }";
    let input = json!({"environmentId": found["environment"]["id"], "filter": {"functionIds": [found["environment"]["function"]["id"]],
        "queued": {"from": "2020-01-01T00:00:00Z"}}});
    later(&server);
    let begun = server.query(create, json!({"input": input})).await;
    let newest = &begun["createReplay"]["replay"]["id"];
    let first = server.query(ask, json!({"slug": slug})).await;
    let first = &first["environment"]["function"]["replays"];
    assert_eq!(first["totalCount"]["value"], 2);
    assert_eq!(&first["nodes"][0]["id"], newest);
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let after = &first["pageInfo"]["endCursor"];
    let second = server
        .query(ask, json!({"slug": slug, "after": after}))
        .await;
    let second = &second["environment"]["function"]["replays"];
    assert_eq!(second["nodes"][0]["id"], shown["replays"]["nodes"][0]["id"]);
    assert_eq!(second["pageInfo"]["hasPreviousPage"], true);
}

#[tokio::test]
async fn function_has_its_latest_run_also_when_that_was_skipped() {
    let server = Server::dev().await;
    server.register().await;
    let ask = "{ environment { function(slug: \"shop-receipt\") { latestRun { runId status } } } }";
    let latest =
        async || server.query(ask, json!({})).await["environment"]["function"]["latestRun"].take();
    assert_eq!(latest().await, Value::Null);
    let (_, run) = server.start_run().await;
    assert_eq!(latest().await, json!({"runId": run, "status": "QUEUED"}));
    let (_, function) = ids_of(&server).await;
    let pause =
        "mutation ($id: ID!) { pauseFunction(input: {functionId: $id}) { errors { code } } }";
    server.query(pause, json!({"id": function})).await;
    later(&server);
    let answer = server
        .post("/e/key", &json!({"name": "shop/order.placed"}))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(latest().await["status"], "SKIPPED");
}

#[tokio::test]
async fn failure_handler_is_the_function_that_is_registered_for_the_failure_of_just_this_one() {
    let server = Server::dev().await;
    let mut body = registration();
    let of = |slug: &str, name: &str, expression: Value| {
        let mut function = registration()["functions"][0].clone();
        function["id"] = json!(slug);
        function["name"] = json!(name);
        function["triggers"] =
            json!([{"event": "inngest/function.failed", "expression": expression}]);
        function
    };
    let functions = body["functions"].as_array_mut().unwrap();
    functions.push(of(
        "shop-receipt-failure",
        "Receipt (failure)",
        json!("event.data.function_id == 'shop-receipt'"),
    ));
    // These listen to other failures, or to all of them.
    functions.push(of(
        "shop-other",
        "Other",
        json!("event.data.function_id == 'shop-receipt'"),
    ));
    functions.push(of("shop-other-failure", "All", json!("true")));
    functions.push(of(
        "shop-receipt-failure-failure",
        "Third",
        json!("event.data.function_id == 'shop-receipt'"),
    ));
    let answer = server.post("/fn/register", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let ask = "{ environment { functions { nodes { slug failureHandler { slug failureHandler { slug } } } } } }";
    let shown = server.query(ask, json!({})).await;
    let handled: Vec<(&str, &Value)> = shown["environment"]["functions"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|function| {
            (
                function["slug"].as_str().unwrap(),
                &function["failureHandler"],
            )
        })
        .collect();
    let own = json!({"slug": "shop-receipt-failure", "failureHandler": null});
    assert_eq!(
        handled,
        [
            ("shop-other", &Value::Null),
            ("shop-other-failure", &Value::Null),
            ("shop-receipt", &own),
            ("shop-receipt-failure", &Value::Null),
            ("shop-receipt-failure-failure", &Value::Null),
        ]
    );
}

#[tokio::test]
async fn run_has_the_runs_that_repeat_it_and_those_that_it_invoked() {
    let server = Server::dev().await;
    fill_some(&server, 2).await;
    let ask = format!(
        "query ($after: String) {{ environment {{ runs(first: 1, filter: {{time: {{from: \"2020-01-01T00:00:00Z\"}}, triggerKinds: [EVENT]}}) {{ nodes {{ id stateSizeBytes maxAttempts
            reruns(first: 2, after: $after) {{ totalCount {{ value }} nodes {{ id rerunOf {{ id }} }} pageInfo {{ hasNextPage endCursor }} }}
            invokedRuns {{ totalCount {{ value }} nodes {{ id parentStep {{ run {{ id }} }} replay {{ id runs {{ totalCount {{ value }} nodes {{ id }} }} }} }} }} }} }}
          replays {{ nodes {{ id runs(first: 1) {{ totalCount {{ value }} nodes {{ id replay {{ id }} }} pageInfo {{ hasNextPage }} }} }} }}
          all: runs(filter: {TIME}) {{ totalCount {{ value }} }} }} }}"
    );
    let shown = server.query(&ask, json!({})).await;
    let run = &shown["environment"]["runs"]["nodes"][0];
    // Three steps, each with the memo {"data":1}.
    assert_eq!(run["stateSizeBytes"], 30);
    assert_eq!(run["maxAttempts"], 5);
    let invoked = &run["invokedRuns"];
    assert_eq!(invoked["totalCount"]["value"], 1);
    let child = &invoked["nodes"][0];
    assert_eq!(child["parentStep"]["run"]["id"], run["id"]);
    assert_eq!(
        run["reruns"]["nodes"],
        json!([{"id": child["id"], "rerunOf": {"id": run["id"]}}])
    );
    assert_eq!(
        child["replay"]["runs"],
        json!({"totalCount": {"value": 1}, "nodes": [{"id": child["id"]}]})
    );
    for replay in shown["environment"]["replays"]["nodes"].as_array().unwrap() {
        let runs = &replay["runs"];
        assert_eq!(runs["totalCount"]["value"], 1);
        assert_eq!(runs["nodes"][0]["replay"]["id"], replay["id"]);
        assert_eq!(runs["pageInfo"]["hasNextPage"], false);
    }
    assert_eq!(shown["environment"]["all"]["totalCount"]["value"], 4);

    let again =
        "mutation ($id: ID!) { rerunRun(input: {runId: $id}) { run { id } errors { code } } }";
    let mut newest = Vec::new();
    for _ in 0..2 {
        later(&server);
        let begun = server.query(again, json!({"id": run["id"]})).await;
        newest.insert(0, begun["rerunRun"]["run"]["id"].clone());
    }
    let first = server.query(&ask, json!({})).await;
    let first = &first["environment"]["runs"]["nodes"][0]["reruns"];
    let listed: Vec<&Value> = first["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["id"])
        .collect();
    assert_eq!(listed, newest.iter().collect::<Vec<_>>());
    assert_eq!(
        (
            &first["totalCount"]["value"],
            &first["pageInfo"]["hasNextPage"]
        ),
        (&json!(3), &json!(true))
    );
    let after = &first["pageInfo"]["endCursor"];
    let second = server.query(&ask, json!({"after": after})).await;
    let second = &second["environment"]["runs"]["nodes"][0]["reruns"];
    assert_eq!(second["nodes"][0]["id"], child["id"]);
    assert_eq!(second["pageInfo"]["hasNextPage"], false);
}
