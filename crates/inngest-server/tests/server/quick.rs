//! Jumping to something by its id or its name, over HTTP.

use serde_json::{Value, json};

use crate::harness::{Server, registration};

/// A server with the functions `shop-receipt` and `shop-order-mail`, and an event of the first with its run.
async fn with_two_functions() -> (Server, String, String) {
    let server = Server::dev().await;
    let mut body = registration();
    let mut other = body["functions"][0].clone();
    (other["id"], other["name"]) = (json!("shop-order-mail"), json!("Mail a Receipt"));
    other["triggers"] = json!([{"event": "shop/order.mailed"}]);
    body["functions"].as_array_mut().unwrap().push(other);
    let answer = server.post("/fn/register", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let (event, run) = server.start_run().await;
    (server, event, run)
}

/// What is found, each as `<type> <name>`.
async fn found(server: &Server, term: &str, first: Option<i32>) -> Vec<String> {
    let query = "query ($term: String!, $first: Int) { environment { quickSearch(term: $term, first: $first) { __typename
        ... on App { a: externalId } ... on Function { b: slug } ... on Run { c: runId } ... on Event { d: eventId } ... on EventType { e: name } } } }";
    let shown = server
        .query(query, json!({"term": term, "first": first}))
        .await;
    let hits = shown["environment"]["quickSearch"].as_array().unwrap();
    let told = |hit: &Value| {
        let hit = hit.as_object().unwrap();
        let name = hit.iter().find(|(key, _)| *key != "__typename").unwrap().1;
        format!(
            "{} {}",
            hit["__typename"].as_str().unwrap(),
            name.as_str().unwrap()
        )
    };
    hits.iter().map(told).collect()
}

#[tokio::test]
async fn names_are_found_by_a_part_in_any_case_and_whole_names_come_first() {
    let (server, ..) = with_two_functions().await;
    for (term, expected) in [
        (
            "shop",
            &[
                "App shop",
                "Function shop-order-mail",
                "Function shop-receipt",
                "EventType shop/order.mailed",
                "EventType shop/order.placed",
            ][..],
        ),
        (
            "RECEIPT",
            &["Function shop-order-mail", "Function shop-receipt"],
        ),
        // Its whole name, of which the slug of the other is a part no less.
        ("shop-receipt", &["Function shop-receipt"]),
        ("shop/order.placed", &["EventType shop/order.placed"]),
        (
            " order ",
            &[
                "Function shop-order-mail",
                "EventType shop/order.mailed",
                "EventType shop/order.placed",
            ],
        ),
        ("nothing", &[]),
        ("", &[]),
        ("%", &[]),
    ] {
        assert_eq!(found(&server, term, None).await, expected, "{term:?}");
    }
    assert_eq!(
        found(&server, "shop", Some(2)).await,
        ["App shop", "Function shop-order-mail"]
    );
    // A whole name is among the first, however many others come before it.
    assert_eq!(
        found(&server, "Receipt", Some(1)).await,
        ["Function shop-receipt"]
    );
}

#[tokio::test]
async fn ids_are_found_native_and_global() {
    let (server, event, run) = with_two_functions().await;
    let query = "{ environment { function(slug: \"shop-receipt\") { functionId app { appId } } } }";
    let shown = server.query(query, json!({})).await;
    let function = &shown["environment"]["function"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for (prefix, id, expected) in [
        ("run", run.clone(), format!("Run {run}")),
        ("evt", event.clone(), format!("Event {event}")),
        (
            "fn",
            text(&function["functionId"]),
            "Function shop-receipt".to_owned(),
        ),
        (
            "app",
            text(&function["app"]["appId"]),
            "App shop".to_owned(),
        ),
    ] {
        assert_eq!(found(&server, &id, None).await, [expected.as_str()]);
        assert_eq!(
            found(&server, &format!("{prefix}_{id}"), None).await,
            [expected.as_str()]
        );
        let nothing: [&str; 0] = [];
        assert_eq!(found(&server, &format!("env_{id}"), None).await, nothing);
    }
}

#[tokio::test]
async fn terms_and_numbers_that_are_too_large_are_refused() {
    let (server, ..) = with_two_functions().await;
    let query = "query ($term: String!, $first: Int) { environment { quickSearch(term: $term, first: $first) { __typename } } }";
    for (term, first) in [
        ("x".repeat(257), 10),
        ("a".to_owned(), 0),
        ("a".to_owned(), 51),
        ("a".to_owned(), -1),
    ] {
        let body = json!({"query": query, "variables": {"term": term, "first": first}});
        let answer = server.post("/graphql", &body).await.json();
        assert_eq!(
            answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
            "{answer}"
        );
    }
}
