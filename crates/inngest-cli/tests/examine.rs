//! Commands that look at settings and at what they name, and what shells and `man` know of the command line.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by a panic"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
};

use serde_json::{Value, json};

/// As long as they should be.
const KEYS: [&str; 4] = [
    "--signing-key",
    "signkey-test-0123456789abcdef0123456789abcdef",
    "--event-key",
    "0123456789abcdef",
];
/// The usual port is free for one server on this machine only.
const NO_METRICS: [&str; 2] = ["--metrics-listen", "off"];

fn inngest(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inngest"));
    command.current_dir(dir).env_clear().stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    inngest(dir).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

/// What `inngest doctor` finds with good keys: its exit code, and level, subject and message of each finding that is not good.
fn doctor(dir: &Path, more: &[&str]) -> (Option<i32>, Vec<(String, String, String)>) {
    let no_metrics = match more.contains(&NO_METRICS[0]) {
        true => &[],
        false => NO_METRICS.as_slice(),
    };
    let args = [&["doctor", "--json"], KEYS.as_slice(), no_metrics, more].concat();
    let output = run(dir, &args);
    assert!(!text(&output).contains("hunter2"), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let word = |finding: &Value, member: &str| finding[member].as_str().unwrap().to_owned();
    let mut found = Vec::new();
    for finding in report["findings"].as_array().unwrap() {
        assert_eq!(
            finding["advice"].is_null(),
            finding["level"] == "ok",
            "{finding}"
        );
        if finding["level"] != "ok" {
            let of = |member| word(finding, member);
            found.push((of("level"), of("subject"), of("message")));
        }
    }
    let code = output.status.code();
    assert_eq!(report["ok"] == true, code == Some(0), "{report}");
    (code, found)
}

/// What [`doctor`] finds is one thing.
fn finds(dir: &Path, more: &[&str], code: i32, level: &str, subject: &str, message: &str) {
    let (ended, found) = doctor(dir, more);
    let [(found_level, found_subject, found_message)] = found.as_slice() else {
        panic!("{more:?}: {found:?}");
    };
    assert_eq!(
        (ended, found_level.as_str(), found_subject.as_str()),
        (Some(code), level, subject),
        "{more:?}: {found:?}"
    );
    assert!(found_message.contains(message), "{more:?}: {found:?}");
}

/// A web server that answers everything with these headers; its address.
fn web(headers: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                if line.is_empty() {
                    break;
                }
            }
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\n{headers}content-length: 2\r\nconnection: close\r\n\r\n{{}}"
            );
        }
    });
    address
}

/// An address at which nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn doctor_is_content_with_what_works_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        vec!["doctor", "dev", "--port", "0"],
        [&["doctor", "--port", "0"], KEYS.as_slice(), &NO_METRICS].concat(),
    ] {
        let output = run(dir.path(), &args);
        let shown = text(&output);
        assert_eq!(output.status.code(), Some(0), "{shown}");
        assert!(output.stderr.is_empty(), "{shown}");
        assert!(shown.lines().all(|line| line.starts_with("ok ")), "{shown}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

    let migrated = run(dir.path(), &["migrate"]);
    assert!(migrated.status.success(), "{migrated:?}");
    let app = format!(
        "http://me:hunter2@{}/api/inngest",
        web("x-inngest-sdk: inngest-js:v4.24.0\r\n")
    );
    let (code, found) = doctor(dir.path(), &["--port", "0", "--no-migrate", "-u", &app]);
    assert_eq!((code, found), (Some(0), Vec::new()));
    let args = [&["doctor", "--port", "0", "-u", &app], KEYS.as_slice()].concat();
    let shown = text(&run(dir.path(), &args));
    for part in [
        "has the schema of this version",
        "has SDK inngest-js:v4.24.0",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn doctor_names_each_thing_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (foreign, nowhere) = (web(""), nowhere());
    let port = foreign.rsplit(':').next().unwrap();
    finds(
        dir,
        &["--host", "127.0.0.1", "--port", port],
        1,
        "error",
        "port",
        "already in use",
    );
    let metrics = ["--port", "0", "--metrics-listen", &foreign];
    finds(dir, &metrics, 1, "error", "metrics", &foreign);
    let url = format!("http://{foreign}/api/inngest");
    finds(
        dir,
        &["--port", "0", "-u", &url],
        1,
        "error",
        "app",
        "is no Inngest SDK",
    );
    let url = format!("http://{nowhere}/api/inngest");
    finds(
        dir,
        &["--port", "0", "-u", &url],
        0,
        "warning",
        "app",
        "does not answer",
    );

    let key = ["--port", "0", "--event-key", "hunter2"];
    finds(dir, &key, 0, "warning", "event keys", "1 of 2");
    finds(
        dir,
        &["--port", "0", "--tick", "1"],
        0,
        "warning",
        "settings",
        "has no effect",
    );

    fs::create_dir(dir.join("new")).unwrap();
    fs::write(dir.join("new/main.db"), "").unwrap();
    let new = ["--port", "0", "--sqlite-dir", "new"];
    finds(dir, &new, 0, "warning", "database", "migrations");
    let new = [&new[..], &["--no-migrate"]].concat();
    finds(dir, &new, 1, "error", "database", "migrations");
    fs::write(dir.join("new/main.db"), "a shopping list".repeat(100)).unwrap();
    finds(dir, &new, 1, "error", "database", "not a database");
    let inside_a_file = ["--port", "0", "--sqlite-dir", "new/main.db/x"];
    finds(
        dir,
        &inside_a_file,
        1,
        "error",
        "database",
        "cannot be made",
    );

    let (postgres, redis) = (
        format!("postgres://me:hunter2@{nowhere}/x"),
        format!("redis://:hunter2@{nowhere}"),
    );
    let stores = [
        "--port",
        "0",
        "--postgres-uri",
        &postgres,
        "--redis-uri",
        &redis,
    ];
    let (code, found) = doctor(dir, &stores);
    let subjects: Vec<_> = found
        .iter()
        .map(|(level, subject, _)| (level.as_str(), subject.as_str()))
        .collect();
    assert_eq!(subjects, [("error", "database"), ("error", "Redis")]);
    assert_eq!(code, Some(1));
    assert!(found[0].2.contains(&nowhere), "{found:?}");

    // Without settings there is nothing else to look at.
    finds(dir, &["--port", "x"], 1, "error", "settings", "--port");
    assert_eq!(run(dir, &["doctor", "--prot", "1"]).status.code(), Some(2));
}

#[test]
fn doctor_knows_a_server_of_its_own_kind() {
    let dir = tempfile::tempdir().unwrap();
    let child = inngest(dir.path())
        .args(["dev", "--port", "0", "--no-discovery"])
        .stdout(Stdio::piped())
        .spawn();
    let mut server = Server(child.unwrap());
    let log = BufReader::new(server.0.stdout.take().unwrap());
    let address = log
        .lines()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("\"address\":\"")?.1.to_owned()));
    let address = address.unwrap();
    let port = address
        .split('"')
        .next()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap();
    let wanted = ["--host", "127.0.0.1", "--port", port];
    let message = "an inngest server listens";
    finds(dir.path(), &wanted, 0, "warning", "port", message);
}

#[test]
fn doctor_asks_both_stores() {
    let variable = |name: &str| {
        let uri = std::env::var_os(name)?.into_string().ok()?;
        Some(uri).filter(|uri| !uri.is_empty())
    };
    let (Some(postgres), Some(redis)) = (variable("TEST_POSTGRES_URL"), variable("TEST_REDIS_URL"))
    else {
        eprintln!("skipped: TEST_POSTGRES_URL and TEST_REDIS_URL name none");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let stores = ["--postgres-uri", &postgres, "--redis-uri", &redis];
    let args = [
        &["doctor", "--json", "--port", "0"],
        KEYS.as_slice(),
        &stores,
    ]
    .concat();
    let output = run(dir.path(), &args);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true, "{report}");
    let of = |subject: &str| {
        let all = report["findings"].as_array().unwrap().iter();
        all.filter(|finding| finding["subject"] == subject).count()
    };
    assert_eq!((of("database"), of("Redis")), (1, 2), "{report}");
}

#[test]
fn settings_are_printed_with_their_sources_and_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let file = "port = 9000\nqueue-workers = 7\nsdk-url = [\"http://me:hunter2@a/x\"]\n";
    fs::write(dir.path().join("inngest.toml"), file).unwrap();
    fs::write(dir.path().join("key"), "hunter2hunter2hunter2\n").unwrap();
    let print = |more: &[&str]| {
        let args = [
            &[
                "config",
                "print",
                "--port",
                "9001",
                "--signing-key",
                "12345678",
            ],
            more,
        ]
        .concat();
        let mut command = inngest(dir.path());
        command.env("INNGEST_EVENT_KEY_FILE", "key");
        let output = command
            .env("INNGEST_LOG_LEVEL", "debug")
            .args(args)
            .output()
            .unwrap();
        let shown = text(&output);
        assert_eq!(output.status.code(), Some(0), "{shown}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("12345678"),
            "{shown}"
        );
        shown
    };
    let set = "port = 9001\nsdk-url = [\"http://***@a/x\"]\nqueue-workers = 7\nsigning-key = \"***\"\nevent-key = [\"***\"]\nlog-level = \"debug\"\n";
    let mut lines: Vec<_> = set.lines().collect();
    let printed = print(&[]);
    let mut shown: Vec<_> = printed.lines().collect();
    lines.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, lines);
    let sources = print(&["--sources"]);
    for line in [
        "port = 9001 # flag\n",
        "event-key = [\"***\"] # the file named by variable INNGEST_EVENT_KEY_FILE\n",
        "log-level = \"debug\" # variable INNGEST_LOG_LEVEL\n",
        "# drain-timeout # default\n",
    ] {
        assert!(sources.contains(line), "{line}: {sources}");
    }
    assert!(
        sources
            .lines()
            .any(|line| line.starts_with("queue-workers = 7 # ") && line.ends_with("inngest.toml")),
        "{sources}"
    );
    assert!(
        !sources.contains("persist") && !sources.contains("tick"),
        "{sources}"
    );
    let entries: Value = serde_json::from_str(&print(&["--sources", "--json"])).unwrap();
    let all = entries.as_array().unwrap();
    assert!(
        all.contains(&json!({"key": "port", "value": 9001, "source": "flag"})),
        "{entries}"
    );
    assert!(
        all.contains(&json!({"key": "role", "value": null, "source": "default"})),
        "{entries}"
    );
}

#[test]
fn what_is_printed_can_be_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let flags = [
        "--no-poll",
        "--retry-interval",
        "3",
        "-u",
        "a\\b\"c",
        "-u",
        "d",
    ];
    for sources in [&["--sources"][..], &[]] {
        let args = [&["config", "print", "dev"], &flags[..], sources].concat();
        let output = run(dir.path(), &args);
        assert!(output.status.success(), "{output:?}");
        fs::write(dir.path().join("again.toml"), &output.stdout).unwrap();
        let again = run(
            dir.path(),
            &["config", "print", "dev", "--config", "again.toml"],
        );
        let plain = [&["config", "print", "dev"], &flags[..]].concat();
        assert_eq!(text(&again), text(&run(dir.path(), &plain)));
    }
}

#[test]
fn settings_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    for (args, code, message) in [
        (vec!["config", "check"], 1, "signing-key is required"),
        (vec!["config", "check", "start", "--port", "x"], 1, "--port"),
        (
            vec!["config", "check", "dev"],
            0,
            "The settings can be used.",
        ),
        (
            vec!["config", "check", "dev", "--tick", "1"],
            0,
            "warning: --tick has no effect",
        ),
        (
            vec!["config", "check", "dev", "--redis-uri", "x"],
            2,
            "--redis-uri",
        ),
        (vec!["config", "print"], 1, "signing-key is required"),
        (vec!["config"], 2, "Usage"),
    ] {
        let output = run(dir.path(), &args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(text(&output).contains(message), "{args:?}: {output:?}");
        assert_eq!(output.stderr.is_empty(), code == 0, "{args:?}: {output:?}");
    }
    let output = run(dir.path(), &["config", "check", "--json", "--port", "x"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let places: Vec<_> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| &problem["place"])
        .collect();
    assert!(places.contains(&&json!("--port")), "{report}");
}

#[test]
fn shells_and_manual_know_every_command() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(dir.path(), &["completions", shell]);
        let script = text(&output);
        assert!(output.status.success(), "{shell}: {script}");
        for word in ["doctor", "completions", "no-migrate"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    assert_eq!(
        run(dir.path(), &["completions", "cmd"]).status.code(),
        Some(2)
    );

    let output = run(dir.path(), &["man", "share/man1"]);
    assert!(output.status.success(), "{output:?}");
    for (page, part) in [
        ("inngest.1", "inngest\\-doctor(1)"),
        ("inngest-doctor.1", "Exit codes"),
        ("inngest-runs-list.1", "\\-\\-since"),
    ] {
        let page = dir.path().join("share/man1").join(page);
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.contains(part), "{}: {text}", page.display());
    }
    fs::write(dir.path().join("file"), "").unwrap();
    let refused = run(dir.path(), &["man", "file/man1"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}
