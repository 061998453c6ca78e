//! Commands that ask a server, against a server: what they print, their exit codes, what they keep to themselves.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by a panic"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
    thread,
};

use serde_json::{Value, json};

const SIGNING_KEY: &str = "signkey-test-0123456789abcdef0123456789abcdef";

struct Server {
    child: Child,
    url: String,
    dir: tempfile::TempDir,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = inngest(dir.path())
            .args(args)
            .args(["--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let port = port(&mut log);
        // A full pipe would hold the server.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let url = format!("http://127.0.0.1:{port}");
        Self { child, url, dir }
    }

    fn dev() -> Self {
        Self::start(&["dev", "--no-discovery"])
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = inngest(self.dir.path());
        command.args(args).args(["--server", &self.url]);
        command
    }

    fn ask(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The JSON that a command prints, which must do what it is asked to.
    fn json(&self, args: &[&str]) -> Value {
        let output = self.ask(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn inngest(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inngest"));
    command.current_dir(dir).env_clear().stdin(Stdio::null());
    command
}

fn port(log: &mut BufReader<ChildStdout>) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server has ended");
        let Some((_, rest)) = line.split_once("\"address\":\"") else {
            continue;
        };
        let address = rest.split('"').next().unwrap();
        return address.rsplit(':').next().unwrap().to_owned();
    }
}

/// An app `shop`: `shop-good` returns, `shop-bad` fails for good, `shop-nap` sleeps for an hour,
/// `shop-wait` returns when it gets the signal `go`.
fn app() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/inngest", listener.local_addr().unwrap());
    let own = url.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let own = own.clone();
            thread::spawn(move || answer(stream.unwrap(), &own));
        }
    });
    url
}

fn answer(mut stream: TcpStream, own: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length) = (String::new(), 0);
    // A prober may connect and say nothing.
    if reader.read_line(&mut first).unwrap_or_default() == 0 {
        return;
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    // It knows the step when the signal has come.
    let waits = first.contains("shop-wait") && !text(&body).contains(&"w".repeat(40));
    let (status, extra, body) = if first.starts_with("PUT") {
        (
            "200 OK",
            "x-inngest-sync-kind: in_band\r\n",
            registration(own),
        )
    } else if first.contains("shop-bad") {
        let error = json!({"name": "Error", "message": "out of stock", "stack": ""});
        ("400 Bad Request", "x-inngest-no-retry: true\r\n", error)
    } else if first.contains("shop-nap") {
        let nap = json!([{"op": "Sleep", "id": "n".repeat(40), "name": "1h", "displayName": "nap", "opts": {}}]);
        ("206 Partial Content", "", nap)
    } else if waits {
        let opts = json!({"signal": "go", "timeout": "1h", "conflict": "fail"});
        let wait = json!([{"op": "WaitForSignal", "id": "w".repeat(40), "name": "go", "displayName": "go", "opts": opts}]);
        ("206 Partial Content", "", wait)
    } else {
        ("200 OK", "", json!("done"))
    };
    let body = body.to_string();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-inngest-sdk: inngest-js:v4.24.0\r\nx-inngest-req-version: 2\r\n\
         {extra}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}

fn registration(url: &str) -> Value {
    let function = |id: &str| {
        json!({
            "id": format!("shop-{id}"), "name": id, "triggers": [{"event": format!("shop/{id}")}],
            "steps": {"step": {"id": "step", "name": "step",
                "runtime": {"type": "http", "url": format!("{url}?fnId=shop-{id}&stepId=step")}}},
        })
    };
    let functions = ["good", "bad", "nap", "wait"].map(function);
    json!({
        "app_id": "shop", "env": null, "framework": "nodejs", "functions": functions,
        "inspection": {}, "sdk_author": "inngest", "sdk_language": "js", "sdk_version": "4.24.0", "sdk": "js:v4.24.0", "url": url,
    })
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn apps_functions_events_and_runs_are_handled_from_the_command_line() {
    let server = Server::dev();
    let app = app();

    let synced = server.json(&["apps", "sync", &app]);
    assert_eq!(synced[0]["externalId"], "shop");
    assert_eq!(server.json(&["apps", "list"])[0]["functionCount"], 4);
    let named = |name| server.json(&["apps", "list", "--name", name]);
    assert_eq!(
        (named("HOP")[0]["externalId"].clone(), named("x")),
        (json!("shop"), json!([]))
    );
    assert_eq!(server.json(&["apps", "get", "shop"])["url"], json!(app));
    let again = server.json(&["apps", "sync", "shop"]);
    assert_eq!(again[0]["appId"], synced[0]["appId"]);

    let functions = server.json(&["functions", "list", "--app", "shop", "--limit", "2"]);
    assert_eq!(functions.as_array().unwrap().len(), 2);
    let good = server.json(&["functions", "get", "shop-good"]);
    assert_eq!(good["triggers"][0]["eventName"], "shop/good");

    let sent = server.json(&["events", "send", "shop/nap", "--data", r#"{"n":1}"#]);
    let event = sent[0]["eventId"].as_str().unwrap();
    assert_eq!(
        server.json(&["events", "get", event])["data"],
        json!({"n": 1})
    );
    assert_eq!(
        server.json(&["events", "list", "--name", "shop/nap"])[0]["eventId"],
        event
    );

    let listed = server.json(&["runs", "list", "--function", "shop-nap", "--since", "1h"]);
    let run = listed[0]["runId"].as_str().unwrap().to_owned();
    assert_eq!(
        server.json(&["runs", "get", &run])["input"],
        json!({"n": 1})
    );
    let none = server.json(&["runs", "list", "--status", "skipped"]);
    assert_eq!(none, json!([]));

    // A watch that is under way sees the end of its run.
    let watch = server
        .command(&["runs", "watch", &run, "--jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut watch = watch.unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["run"]["runId"], json!(run));
    let cancelled = server.json(&["runs", "cancel", &run]);
    assert_eq!(cancelled[0]["status"], "CANCELLED");
    let last: Value = serde_json::from_str(&lines.last().unwrap().unwrap()).unwrap();
    assert_eq!(last["run"]["status"], "CANCELLED");
    assert_eq!(watch.wait().unwrap().code(), Some(7));

    let rerun = server.json(&["runs", "rerun", &run]);
    assert_ne!(rerun[0]["runId"], json!(run));
    let edited = server.json(&["runs", "rerun", &run, "--data", r#"{"n":2}"#]);
    let edited = edited[0]["runId"].as_str().unwrap().to_owned();
    assert_eq!(
        server.json(&["runs", "get", &edited])["input"],
        json!({"n": 2})
    );
    let steps = server.json(&["runs", "get", &run])["steps"]["nodes"].clone();
    let step = steps[0]["name"].as_str().unwrap();
    let from_step = server.json(&["runs", "rerun", &run, "--from-step", step]);
    assert_ne!(from_step[0]["runId"], json!(run));
    let unknown = server.ask(&["runs", "rerun", &run, "--from-step", "nothing"]);
    assert_eq!(code(&unknown), Some(3), "{unknown:?}");

    let invoked = server.json(&["functions", "invoke", "shop-good", "--wait"]);
    assert_eq!(
        (&invoked["status"], &invoked["output"]),
        (&json!("COMPLETED"), &json!("done"))
    );
    let failed = server.ask(&["functions", "invoke", "shop-bad", "--wait", "--json"]);
    assert_eq!(code(&failed), Some(7), "{failed:?}");
    assert!(text(&failed.stderr).contains("out of stock"), "{failed:?}");
    let state: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(state["status"], "FAILED");

    let table = text(&server.ask(&["runs", "list"]).stdout);
    assert!(
        table.starts_with("RUN") && table.contains("shop-bad"),
        "{table}"
    );
    let lines = text(&server.ask(&["runs", "list", "--jsonl"]).stdout);
    assert_eq!(lines.lines().count(), 6, "{lines}");

    assert_eq!(
        server.json(&["apps", "remove", "shop"])[0]["isArchived"],
        true
    );
    assert_eq!(code(&server.ask(&["apps", "get", "shop"])), Some(3));
    assert_eq!(server.json(&["apps", "list"]), json!([]));
    let all = server.json(&["apps", "list", "--archived"]);
    assert_eq!(all[0]["isArchived"], true);
}

#[test]
fn functions_are_paused_and_many_runs_cancelled_and_started_again() {
    let server = Server::dev();
    server.json(&["apps", "sync", &app()]);
    let pause = ["functions", "pause", "shop-good", "--until", "1h"];
    let paused = server.json(&[&pause[..], &["--reason", "stock-taking"]].concat());
    assert_eq!(paused[0]["isPaused"], true);
    assert_eq!(paused[0]["pause"]["newEvents"], "SKIP");
    assert_eq!(paused[0]["pause"]["reason"], "stock-taking");
    server.json(&["events", "send", "shop/good"]);
    let skipped = server.json(&["runs", "list", "--status", "skipped"]);
    assert_eq!(skipped.as_array().unwrap().len(), 1);
    let resumed = server.json(&["functions", "resume", "shop-good"]);
    assert_eq!(resumed[0]["isPaused"], false);

    for number in ["1", "2"] {
        let data = format!("{{\"n\":{number}}}");
        server.json(&["events", "send", "shop/nap", "--data", &data]);
    }
    let condition = ["--where", "event.data.n == 1", "--wait"];
    let cancel = ["runs", "cancel", "--function", "shop-nap"];
    let cancelled = server.json(&[&cancel[..], &condition].concat());
    assert_eq!(cancelled[0]["status"], "COMPLETED");
    assert_eq!(cancelled[0]["progress"]["succeeded"], 1);
    let ended = server.json(&["runs", "list", "--status", "cancelled"]);
    assert_eq!(ended.as_array().unwrap().len(), 1);

    let replay = ["runs", "replay", "--function", "shop-good", "--wait"];
    let replayed = server.json(&[&replay[..], &["--status", "skipped"]].concat());
    assert_eq!(replayed[0]["progress"]["succeeded"], 1);
    let nothing = server.ask(&["runs", "cancel"]);
    assert_eq!(code(&nothing), Some(2), "{nothing:?}");
    let nobody = server.ask(&["functions", "pause", "shop-nobody"]);
    assert_eq!(code(&nobody), Some(3), "{nobody:?}");
}

#[test]
fn run_that_waits_for_a_signal_is_resumed() {
    let server = Server::dev();
    server.json(&["apps", "sync", &app()]);
    let waiting = server.json(&["functions", "invoke", "shop-wait"]);
    let run = waiting[0]["runId"].as_str().unwrap();
    let watch = server
        .command(&["runs", "watch", run, "--jsonl"])
        .stdout(Stdio::piped())
        .spawn();
    let mut watch = watch.unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    // The watch tells when the run waits, and not later than that.
    for line in lines.map_while(Result::ok) {
        let change: Value = serde_json::from_str(&line).unwrap();
        if change["run"]["activity"] == "WAITING_FOR_SIGNAL" {
            break;
        }
    }
    let resumed = server.json(&["runs", "signal", "go", "--data", "[1]", "--wait"]);
    assert_eq!(resumed["runId"], json!(run));
    assert_eq!(resumed["status"], "COMPLETED");
    let steps = &server.json(&["runs", "get", run])["steps"]["nodes"];
    assert_eq!(steps[0]["output"]["data"], json!([1]), "{steps}");
    watch.wait().unwrap();
    let nobody = server.ask(&["runs", "signal", "go"]);
    assert_eq!(code(&nobody), Some(3), "{nobody:?}");
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let server = Server::dev();
    let unknown = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for (args, expected) in [
        (vec!["runs", "get", unknown], 3),
        (vec!["runs", "watch", unknown], 3),
        (vec!["runs", "cancel", unknown], 3),
        (vec!["runs", "get", "nonsense"], 2),
        (vec!["runs", "list", "--since", "yesterday"], 2),
        (vec!["runs", "list", "--json", "--jsonl"], 2),
        (vec!["runs", "watch", "--json"], 2),
        (vec!["functions", "get", "nobody-nothing"], 3),
        (vec!["functions", "invoke", "nobody-nothing"], 3),
        (vec!["apps", "sync", "nobody"], 3),
        (vec!["apps", "sync", "http://127.0.0.1:1/"], 1),
        (vec!["events", "send", "inngest/mine"], 2),
        (vec!["events", "send", "a", "--data", "[]"], 2),
        (vec!["runs", "list", "--env", "elsewhere"], 0),
        (vec!["runs", "explode"], 2),
    ] {
        let output = server.ask(&args);
        assert_eq!(code(&output), Some(expected), "{args:?}: {output:?}");
        assert_eq!(
            output.stderr.is_empty(),
            expected == 0,
            "{args:?}: {output:?}"
        );
        if expected != 0 {
            assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let nobody = ["runs", "list", "--server", "http://127.0.0.1:1"];
    let output = inngest(dir.path()).args(nobody).output().unwrap();
    assert_eq!(code(&output), Some(5), "{output:?}");
    assert!(text(&output.stderr).contains("inngest dev"), "{output:?}");
}

#[test]
fn server_for_known_documents_serves_this_command_line_to_whoever_has_the_key() {
    let keys = ["--signing-key", SIGNING_KEY, "--event-key", "e1"];
    let server = Server::start(
        &[
            &[
                "start",
                "--host",
                "127.0.0.1",
                "--graphql-documents",
                "known-only",
                "--metrics-listen",
                "off",
            ],
            &keys[..],
        ]
        .concat(),
    );
    let secret = "signkey-test-ffffffffffffffffffffffffffffffff";
    for args in [["runs", "list"], ["runs", "watch"], ["apps", "list"]] {
        for token in [None, Some(secret)] {
            let mut command = server.command(&args);
            command.args(["-l", "trace"]);
            command.envs(token.map(|token| ("INNGEST_TOKEN", token)));
            let output = command.output().unwrap();
            assert_eq!(code(&output), Some(4), "{args:?}: {output:?}");
            assert!(!text(&output.stderr).contains(secret), "{output:?}");
            assert!(output.stdout.is_empty(), "{output:?}");
        }
    }
    let file = server.dir.path().join("token");
    std::fs::write(&file, format!("{SIGNING_KEY}\n")).unwrap();
    let mut command = server.command(&["apps", "list"]);
    let output = command.env("INNGEST_TOKEN_FILE", &file).output().unwrap();
    assert_eq!(code(&output), Some(0), "{output:?}");

    let mut child = server
        .command(&["events", "send", "a", "--token", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{SIGNING_KEY}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("RECEIVED"), "{output:?}");
}
