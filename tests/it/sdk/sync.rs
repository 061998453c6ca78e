//! Apps that come, change and go. Each test has a server of its own.

use std::time::Duration;

use inngest_tests::{
    app::{App, AppOptions, Sdk},
    http,
    process::{free_port, own_directory},
    server::{Server, ServerOptions},
    wait::{DEADLINE, wait_until},
};
use serde_json::json;

fn server(name: &str, arguments: &[&str]) -> Server {
    Server::start(&ServerOptions {
        name: name.to_owned(),
        arguments: arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect(),
        port: None,
    })
}

fn app(sdk: Sdk, server: &str, only: &str, port: Option<u16>) -> App {
    App::start(&AppOptions {
        only: Some(only.to_owned()),
        port,
        ..AppOptions::new(sdk, server)
    })
}

fn slugs(sdk: Sdk, functions: &[&str]) -> Vec<String> {
    functions
        .iter()
        .map(|function| format!("{}-{function}", sdk.id()))
        .collect()
}

fn restarted_app_shows_its_changed_functions(sdk: Sdk) {
    let server = server(
        &format!("sync-restart-{}", sdk.id()),
        &["--poll-interval", "1"],
    );
    let mut first = app(sdk, server.base(), "echo,nothing", None);
    first.register("inngest");
    assert_eq!(server.function_slugs(), slugs(sdk, &["echo", "nothing"]));
    // Once it has been asked it must be asked again, like one that was never there when it was asked.
    wait_until("the server asks the app", DEADLINE, || {
        server
            .log_tail()
            .contains("is in sync: 2 functions")
            .then_some(())
    });
    first.kill();
    let _second = app(sdk, server.base(), "echo,steps", Some(first.port()));
    let expected = slugs(sdk, &["echo", "steps"]);
    server.wait_for_functions("the changed functions", |found| found == expected);
}

#[test]
fn a_restarted_ts4_app_shows_its_changed_functions() {
    restarted_app_shows_its_changed_functions(Sdk::Ts4);
}

#[test]
fn a_restarted_ts3_app_shows_its_changed_functions() {
    restarted_app_shows_its_changed_functions(Sdk::Ts3);
}

#[test]
fn a_restarted_python_app_shows_its_changed_functions() {
    restarted_app_shows_its_changed_functions(Sdk::Py);
}

#[test]
fn a_removed_function_starts_no_runs() {
    let server = server("sync-removed", &[]);
    let mut first = app(Sdk::Ts4, server.base(), "echo,nothing", None);
    first.register("inngest");
    first.kill();
    let second = app(Sdk::Ts4, server.base(), "echo", Some(first.port()));
    second.register("inngest");
    let events = json!([{ "name": "ts4/nothing", "data": {} }, { "name": "ts4/echo", "data": {} }]);
    let ids = server.send(&events);
    wait_until("the run of what is still there", DEADLINE, || {
        server.runs_of(&ids[1]).pop()
    });
    assert_eq!(server.runs_of(&ids[0]).len(), 0);
    let query = "{ environment { function(slug: \"ts4-nothing\") { isArchived } } }";
    assert_eq!(
        server.graphql(query, &json!({}))["environment"]["function"]["isArchived"],
        true
    );
}

#[test]
fn a_server_finds_the_apps_it_is_told_of() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/api/inngest");
    let server = server("sync-told", &["--sdk-url", &url, "--poll-interval", "1"]);
    assert_eq!(server.function_slugs(), [""; 0]);
    let _app = app(Sdk::Py, server.base(), "echo", Some(port));
    server.wait_for_functions("the app's function", |found| found == ["py-echo"]);
}

#[test]
fn registering_again_changes_nothing() {
    let server = server("sync-again", &[]);
    let app = app(Sdk::Ts4, server.base(), "echo", None);
    let register = || {
        http::request(
            "PUT",
            &app.url("inngest"),
            &[("x-inngest-server-kind", "dev")],
            None,
        )
    };
    assert_eq!(register().body["modified"], true);
    assert_eq!(register().body["modified"], false);
}

#[test]
fn an_app_that_is_down_is_called_again() {
    let server = server("sync-down", &["--retry-interval", "1"]);
    let mut first = app(Sdk::Ts4, server.base(), "echo", None);
    first.register("inngest");
    first.kill();
    let ids = server.send(&json!({ "name": "ts4/echo", "data": { "n": 1 } }));
    let run = wait_until("the run", DEADLINE, || server.runs_of(&ids[0]).pop());
    std::thread::sleep(Duration::from_millis(300));
    let _second = app(Sdk::Ts4, server.base(), "echo", Some(first.port()));
    let ended = server.ended(&run.id);
    assert_eq!(
        (ended.status.as_str(), ended.output),
        ("Completed", json!({ "n": 1 }))
    );
}

#[test]
fn a_killed_app_resumes_after_its_last_step() {
    let server = server("sync-killed", &["--retry-interval", "1"]);
    let mut first = app(Sdk::Ts4, server.base(), "sleep", None);
    first.register("inngest");
    let ids = server.send(&json!({ "name": "ts4/sleep", "data": { "marker": "killed" } }));
    wait_until("the first step", DEADLINE, || {
        (!first.journal("killed").is_empty()).then_some(())
    });
    first.kill();
    let second = app(Sdk::Ts4, server.base(), "sleep", Some(first.port()));
    let run = wait_until("the run", DEADLINE, || server.runs_of(&ids[0]).pop());
    assert_eq!(server.ended(&run.id).output, json!("rested"));
    let notes: Vec<_> = second
        .journal("killed")
        .iter()
        .map(|entry| entry["what"].clone())
        .collect();
    assert!(notes.contains(&json!("after")), "{notes:?}");
}

#[test]
fn a_persistent_server_goes_on_after_a_crash() {
    let path = own_directory("persist").display().to_string();
    let arguments = ["--persist", "--sqlite-dir", &path, "--retry-interval", "1"];
    let mut first = server("persist-1", &arguments);
    let port = first.port();
    let app = app(Sdk::Ts4, first.base(), "sleep,wait", None);
    app.register("inngest");
    let ids = first.send(&json!([
        { "name": "ts4/sleep", "data": { "marker": "persist" } },
        { "name": "ts4/wait", "data": { "marker": "persist" } },
    ]));
    wait_until("both first steps", DEADLINE, || {
        (app.journal("persist").len() >= 2).then_some(())
    });
    first.kill();
    drop(first);

    let arguments = arguments.map(str::to_owned).to_vec();
    let second = Server::start(&ServerOptions {
        name: "persist-2".to_owned(),
        arguments,
        port: Some(port),
    });
    let run_of = |id: &str| wait_until("the run", DEADLINE, || second.runs_of(id).pop()).id;
    assert_eq!(second.ended(&run_of(&ids[0])).output, json!("rested"));
    let waiting = run_of(&ids[1]);
    let answer = json!({ "name": "ts4/answer", "data": { "to": "persist", "ok": true } });
    // The wait may be stored again only after the restart, so the answer is repeated until it is heard.
    let ended = wait_until("the answer to be heard", DEADLINE, || {
        second.send(&answer);
        Some(second.run(&waiting)).filter(inngest_tests::server::Run::is_ended)
    });
    assert_eq!(ended.status, "Completed");
}
