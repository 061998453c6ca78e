//! Clients that others wrote, against the running server: npm `graphql-ws` and `urql`, the audits of `graphql-http`, GraphQL Code Generator
//! and graphql-js on `schema.graphql`. They are tests of their own in `tests/clients`; here they get a server.
//!
//! Node 20 and the binary at `target/debug/inngest` (or `INNGEST_BIN`) must be there. `UPDATE_AUDIT=1` writes `docs/graphql-http.md` again.

use std::process::Command;

use inngest_tests::{
    app::install_node,
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
