//! Clients that others wrote, against the running server: npm `graphql-ws` and `urql`, the audits of `graphql-http`, GraphQL Code Generator
//! and graphql-js on `schema.graphql`; PyPI `schemathesis` on the OpenAPI document of REST. They are tests of their own in `tests/clients`;
//! here they get a server.
//!
//! Node 20, Python 3 and the binary at `target/debug/inngest` (or `INNGEST_BIN`) must be there. `UPDATE_AUDIT=1` writes
//! `docs/graphql-http.md` again.

use std::{fs, process::Command};

use serde_json::{Value, json};

use inngest_tests::{
    app::{install_node, install_python},
    http,
    process::workspace,
    server::{Server, ServerOptions},
};

#[test]
fn clients_of_others_get_along_with_the_server_and_its_schema() {
    let directory = workspace().join("tests/clients");
    install_node(directory.clone());
    let server = Server::start(&ServerOptions {
        name: "server-clients".to_owned(),
        ..ServerOptions::default()
    });
    let output = Command::new("node")
        // Each file waits for the one before it: a small machine is slow enough.
        .args(["--test", "--test-concurrency=1"])
        .env("INNGEST_TEST_SERVER", server.base())
        .current_dir(directory)
        .output();
    let output = output.expect("node can be started");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{errors}");
    // A run that found no tests would succeed as well.
    assert!(told.contains("# pass 8"), "{told}");
}

/// Requests as the OpenAPI document allows and forbids them, chosen by a fixed seed; no answer may be another than it describes.
#[test]
fn rest_is_what_its_document_says() {
    const SIGNING_KEY: &str = "signkey-test-0123456789abcdef0123456789abcdef";
    let directory = workspace().join("tests/clients");
    install_python(directory.clone());
    let arguments = ["--signing-key", SIGNING_KEY, "--event-key", "the-event-key"];
    let server = Server::start_self_hosted(&ServerOptions {
        name: "server-schemathesis".to_owned(),
        arguments: arguments.map(str::to_owned).to_vec(),
        ..ServerOptions::default()
    });
    let bearer = format!("Bearer {SIGNING_KEY}");
    let url = format!("{}/fn/register", server.base());
    let app = "http://127.0.0.1:1/api/inngest";
    let step = format!("{app}?fnId=shop-receipt&stepId=step");
    let registration = json!({
        "url": app, "deployType": "ping", "framework": "express", "appName": "shop", "sdk": "js:v4.24.0", "v": "0.1",
        "functions": [{
            "id": "shop-receipt", "name": "Receipt", "triggers": [{"event": "shop/order.placed"}],
            "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "http", "url": step}}},
        }],
    });
    let headers = [("authorization", bearer.as_str())];
    let registered = http::request("POST", &url, &headers, Some(&registration));
    assert_eq!(registered.status, 200, "{}", registered.body);
    let events = json!([{"name": "shop/order.placed"}, {"name": "shop/order.placed"}]);
    let sent = http::request(
        "POST",
        &format!("{}/e/the-event-key", server.base()),
        &[],
        Some(&events),
    );
    assert_eq!(sent.status, 200, "{}", sent.body);

    let file = workspace().join("docs/openapi.json");
    let document = fs::read_to_string(&file).expect("the document is there");
    let document: Value = serde_json::from_str(&document).expect("the document is JSON");
    let methods = |path: &Value| path.as_object().map_or(0, serde_json::Map::len);
    let operations: usize = document["paths"]
        .as_object()
        .map_or(0, |paths| paths.values().map(methods).sum());
    let output = Command::new(directory.join(".venv/bin/schemathesis"))
        .args(["--no-color", "--config-file", "schemathesis.toml", "run"])
        .arg(file)
        .args([
            "--url",
            server.base(),
            "--header",
            &format!("Authorization: {bearer}"),
        ])
        .current_dir(directory)
        .output();
    let output = output.expect("schemathesis can be started");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{errors}");
    // A run that asked for nothing would succeed as well; one operation is left out.
    let tested = format!("Tested: {}", operations - 1);
    assert!(told.contains(&tested), "not {tested}: {told}");
}
