//! Known documents, and who may send others.

use http::Method;
use serde_json::{Value, json};

use inngest_server::{DocumentMode, Documents};
use inngest_services::Mode;

use crate::{
    harness::{SIGNING_KEY, Server},
    socket::Client,
};

const KNOWN: &str = "{ server { mode } }";
/// The SHA-256 of [`KNOWN`].
const ID: &str = "sha256:7edfa5ced4df5fe4a37a75d1ad99a961d73a9f48a380ab129a2be3bc536350f5";
const OTHER: &str = "{ server { version } }";
const PAGE: &str = "https://page.example";

async fn server(mode: DocumentMode) -> Server {
    let mut documents = Documents::new(mode);
    documents.add(KNOWN);
    Server::with(Mode::Start, |settings| {
        settings.documents = documents;
        settings.allowed_origins = vec![PAGE.to_owned()];
    })
    .await
}

/// Status and code of an answer.
async fn ask(
    server: &Server,
    method: Method,
    path: &str,
    body: &Value,
    page: bool,
) -> (u16, Value) {
    let bearer = format!("Bearer {SIGNING_KEY}");
    let mut headers = vec![
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    if page {
        headers.push(("origin", PAGE));
    }
    let answer = server.send(method, path, body, &headers).await;
    let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    (answer.status.as_u16(), body)
}

async fn graphql(server: &Server, body: Value, page: bool) -> (u16, Value) {
    let (status, body) = ask(server, Method::POST, "/graphql", &body, page).await;
    let code = body.pointer("/errors/0/extensions/code").cloned();
    (status, code.unwrap_or_default())
}

#[tokio::test]
async fn known_documents_are_served_by_id_and_text_and_others_as_the_mode_says() {
    for (mode, program, page) in [
        (DocumentMode::Open, true, true),
        (DocumentMode::KnownForBrowsers, true, false),
        (DocumentMode::KnownOnly, false, false),
    ] {
        let server = server(mode).await;
        for (is_page, may) in [(false, program), (true, page)] {
            for known in [json!({"documentId": ID}), json!({"query": KNOWN})] {
                let served = graphql(&server, known, is_page).await;
                assert_eq!(served, (200, Value::Null), "{mode:?} {is_page}");
            }
            let other = graphql(&server, json!({"query": OTHER}), is_page).await;
            let refused = (403, json!("DOCUMENT_NOT_ALLOWED"));
            let expected = if may { (200, Value::Null) } else { refused };
            assert_eq!(other, expected, "{mode:?} {is_page}");
            let unknown = json!({"documentId": "sha256:0000"});
            let unknown = graphql(&server, unknown, is_page).await;
            assert_eq!(unknown, (404, json!("DOCUMENT_NOT_FOUND")), "{mode:?}");
            let path = "/graphql/schema.graphql";
            let (status, _) = ask(&server, Method::GET, path, &Value::Null, is_page).await;
            assert_eq!(status, if may { 200 } else { 403 }, "{mode:?} {is_page}");
        }
    }
}

#[tokio::test]
async fn sockets_know_the_same_documents() {
    let server = server(DocumentMode::KnownOnly).await;
    let mut client = Client::open(&server).await;
    let credential = json!({"authorization": format!("Bearer {SIGNING_KEY}")});
    client
        .say(json!({"type": "connection_init", "payload": credential}))
        .await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    for (id, payload, kind) in [
        ("1", json!({"documentId": ID}), "next"),
        ("2", json!({"query": OTHER}), "error"),
    ] {
        client
            .say(json!({"type": "subscribe", "id": id, "payload": payload}))
            .await;
        let heard = client.hear().await;
        assert_eq!((&heard["id"], &heard["type"]), (&json!(id), &json!(kind)));
        if kind == "next" {
            assert_eq!(client.hear().await["type"], "complete");
        } else {
            let code = &heard["payload"][0]["extensions"]["code"];
            assert_eq!(code, "DOCUMENT_NOT_ALLOWED");
        }
    }
}
