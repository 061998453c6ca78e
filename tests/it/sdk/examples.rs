//! The two apps of `examples/`, as the quick start has a newcomer run them.

use std::{collections::BTreeMap, path::PathBuf};

use inngest_tests::{
    app::{App, install_node, install_python},
    process::{Process, Spec, free_port, workspace},
    server::{Server, ServerOptions},
    wait::{DEADLINE, wait_until},
};
use serde_json::{Value, json};

/// Starts an example and a server that is told of it, as in the quick start.
fn start(language: &str, directory: PathBuf, command: &[&str]) -> (Server, App) {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/api/inngest");
    let server = Server::start(&ServerOptions {
        name: format!("example-{language}"),
        arguments: ["-u", &url, "--poll-interval", "1"]
            .map(str::to_owned)
            .to_vec(),
        port: None,
    });
    let command: Vec<_> = command.iter().map(|part| (*part).to_owned()).collect();
    let env = BTreeMap::from([
        ("PORT".to_owned(), port.to_string()),
        ("INNGEST_DEV".to_owned(), server.base().to_owned()),
    ]);
    let spec = Spec {
        name: &format!("example-app-{language}"),
        command: &command,
        directory: &directory,
        env,
    };
    let app = App::running(Process::start(&spec), port);
    server.wait_for_functions("the example to be registered", |found| found.len() == 2);
    (server, app)
}

fn example_ships_an_order_and_apologizes_for_another(server: &Server) {
    let order = |id: &str, total: u32| json!({ "name": "shop/order.placed", "data": { "orderId": id, "total": total } });
    let ids = server.send(&json!([order("o-1", 20), order("o-2", 2000)]));
    let run_of = |id: &str| wait_until("the run", DEADLINE, || server.runs_of(id).pop()).id;

    let declined = server.ended(&run_of(&ids[1]));
    assert_eq!(declined.status, "Failed");
    let apology = wait_until("the failure handler", DEADLINE, || apology_of(server));
    assert_eq!(apology, json!("order o-2 failed: card declined"));

    let scanned = json!({ "name": "shop/parcel.scanned", "data": { "orderId": "o-1" } });
    let shipped = run_of(&ids[0]);
    // The parcel is scanned again and again, because only the run knows when it begins to wait.
    let ended = wait_until("the order to be shipped", DEADLINE, || {
        server.send(&scanned);
        Some(server.run(&shipped)).filter(inngest_tests::server::Run::is_ended)
    });
    assert_eq!(
        ended.output,
        json!({ "payment": "payment-o-1", "status": "shipped" })
    );
}

/// The output of the run that the failure event started.
fn apology_of(server: &Server) -> Option<Value> {
    let query = "{ environment { runs(first: 10, filter: { time: { from: \"2020-01-01T00:00:00Z\" },
        functionSlugs: [\"shop-fulfil-order-failure\", \"shop-python-fulfil-order-failure\"], statuses: [COMPLETED] }) { nodes { output } } } }";
    let shown = server.graphql(query, &json!({}));
    let node = shown["environment"]["runs"]["nodes"]
        .as_array()?
        .first()?
        .clone();
    Some(node["output"].clone())
}

#[test]
fn the_typescript_example_ships_an_order_and_apologizes_for_another() {
    let directory = workspace().join("examples/typescript");
    install_node(directory.clone());
    // What `npm start` does, without the processes in between.
    let (server, _app) = start(
        "typescript",
        directory,
        &["node", "--import", "tsx", "app.ts"],
    );
    example_ships_an_order_and_apologizes_for_another(&server);
}

#[test]
fn the_python_example_ships_an_order_and_apologizes_for_another() {
    let directory = workspace().join("examples/python");
    install_python(directory.clone());
    let (server, _app) = start("python", directory, &[".venv/bin/python", "app.py"]);
    example_ships_an_order_and_apologizes_for_another(&server);
}
