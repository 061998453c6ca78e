//! The binary as its users meet it: exit codes, messages, ports, signals.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by a panic"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

const KEYS: [&str; 4] = [
    "--signing-key",
    "signkey-test-12345678",
    "--event-key",
    "e1",
];

fn inngest(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inngest"));
    command.current_dir(dir).env_clear().stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    inngest(dir).args(args).output().unwrap()
}

#[test]
fn wrong_settings_end_with_a_message_and_code_1_wrong_usage_with_2() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    fs::write(dir.path().join("typo.yml"), "sdk-urls: x").unwrap();
    let with_keys = |more: &[&'static str]| [&["start"], KEYS.as_slice(), more].concat();
    for (args, code, message) in [
        (vec!["start"], 1, "signing-key is required"),
        (
            vec!["start", "--signing-key", "1234"],
            1,
            "at least one event-key is required",
        ),
        (
            with_keys(&["--redis-uri", "redis://localhost"]),
            1,
            "--redis-uri needs postgres-uri as well",
        ),
        (with_keys(&["--port", "99999"]), 1, "--port is `99999`"),
        (
            with_keys(&["--sqlite-dir", "file", "--port", "0"]),
            1,
            "could not make the directory",
        ),
        (
            with_keys(&["--host", "192.0.2.1"]),
            1,
            "192.0.2.1 is not an address of this machine",
        ),
        (
            vec!["dev", "--config", "typo.yml"],
            1,
            "did you mean `sdk-url`?",
        ),
        (
            vec!["dev", "--config", "none.yml"],
            1,
            "none.yml cannot be read",
        ),
        (vec!["dev", "--prot", "1"], 2, "--port"),
        (vec![], 2, "Usage"),
    ] {
        let output = run(dir.path(), &args);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains(message), "{args:?}: {errors}");
    }
}

#[test]
fn version_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    for args in [["version"], ["--version"]] {
        let output = run(dir.path(), &args);
        assert!(
            output.status.success() && output.stdout.starts_with(b"inngest "),
            "{output:?}"
        );
    }
}

#[test]
fn file_that_is_no_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(
        dir.path().join("data/main.db"),
        "this is a shopping list, not a database".repeat(100),
    )
    .unwrap();
    let output = run(
        dir.path(),
        &[
            &["start", "--port", "0", "--sqlite-dir", "data"],
            KEYS.as_slice(),
        ]
        .concat(),
    );
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    for part in ["main.db", "not a database"] {
        assert!(errors.contains(part), "{errors}");
    }
}

struct Server {
    child: Child,
    log: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut child = inngest(dir)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let line = wait_for(&mut log, "\"listening\"");
        let address = line
            .split("\"address\":\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        Self { child, log, port }
    }

    /// Whether it is ready within five seconds: it listens before its schedule is filled.
    fn becomes_ready(&self) -> bool {
        (0..250).any(|_| {
            let is_ready = self.get("127.0.0.1", "/ready").starts_with("HTTP/1.1 200");
            if !is_ready {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            is_ready
        })
    }

    fn get(&self, host: &str, path: &str) -> String {
        let mut stream = TcpStream::connect((host, self.port)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    fn exit_code(mut self) -> Option<i32> {
        // The rest of the log has to be read, or a full pipe would hold the process.
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(log: &mut impl BufRead, text: &str) -> String {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(
            log.read_line(&mut line).unwrap(),
            0,
            "the log ended without {text}:\n{all}"
        );
        if line.contains(text) {
            return line;
        }
        all.push_str(&line);
    }
}

#[test]
fn dev_answers_by_both_versions_of_ip_and_stops_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for signal in ["INT", "TERM"] {
        let server = Server::start(dir.path(), &["dev", "--port", "0", "--no-discovery"]);
        assert!(
            server
                .get("127.0.0.1", "/health")
                .starts_with("HTTP/1.1 200")
        );
        if TcpStream::connect(("::1", server.port)).is_ok() {
            assert!(server.get("::1", "/health").starts_with("HTTP/1.1 200"));
        }
        server.signal(signal);
        assert_eq!(server.exit_code(), Some(0), "{signal}");
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "dev has left something behind"
    );
}

#[test]
fn taken_port_moves_dev_and_stops_start() {
    let dir = tempfile::tempdir().unwrap();
    let first = Server::start(dir.path(), &["dev", "--port", "0", "--no-discovery"]);
    let port = first.port.to_string();
    let second = Server::start(dir.path(), &["dev", "--port", &port, "--no-discovery"]);
    assert_ne!(second.port, first.port);
    let output = run(
        dir.path(),
        &[
            &["start", "--host", "127.0.0.1", "--port", &port],
            KEYS.as_slice(),
        ]
        .concat(),
    );
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors.contains(&format!("port {port} is already in use")),
        "{errors}"
    );
}

#[test]
fn one_directory_serves_one_server_and_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let start = [
        &["start", "--host", "127.0.0.1", "--port", "0"],
        KEYS.as_slice(),
    ]
    .concat();
    let first = Server::start(dir.path(), &start);
    let refused = run(dir.path(), &start);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("another inngest server uses")
    );
    first.signal("TERM");
    assert_eq!(first.exit_code(), Some(0));
    let again = Server::start(dir.path(), &start);
    assert!(again.becomes_ready());
    assert!(dir.path().join(".inngest/main.db").is_file());
}

#[test]
fn schema_is_brought_up_to_date_by_hand_where_starts_may_not_do_it() {
    let dir = tempfile::tempdir().unwrap();
    let text = |output: &Output| {
        let (out, err) = (&output.stdout, &output.stderr);
        format!(
            "{}{}",
            String::from_utf8_lossy(out),
            String::from_utf8_lossy(err)
        )
    };
    let start = [&["start", "--port", "0", "--no-migrate"], KEYS.as_slice()].concat();
    let refused = run(dir.path(), &start);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(
        text(&refused).contains("inngest migrate"),
        "{}",
        text(&refused)
    );

    let pending = run(dir.path(), &["migrate", "--dry-run"]);
    assert!(pending.status.success(), "{}", text(&pending));
    assert!(
        text(&pending).contains("pending 2026"),
        "{}",
        text(&pending)
    );
    let applied = run(dir.path(), &["migrate"]);
    let pending = String::from_utf8_lossy(&pending.stdout).replace("pending", "applied");
    assert_eq!(String::from_utf8_lossy(&applied.stdout), pending);
    for _ in 0..2 {
        let again = run(dir.path(), &["migrate", "--dry-run"]);
        assert_eq!(text(&again), "The schema is up to date.\n");
    }
}

#[test]
fn retention_says_what_it_would_delete_and_deletes_it() {
    let dir = tempfile::tempdir().unwrap();
    let refused = run(dir.path(), &["retention", "--dry-run"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(run(dir.path(), &["migrate"]).status.success());
    let empty = run(dir.path(), &["retention", "--dry-run"]);
    assert_eq!(
        String::from_utf8_lossy(&empty.stdout),
        "There is no environment yet.\n"
    );
    let sql = "INSERT INTO organizations VALUES (zeroblob(16), 'o', 1); \
               INSERT INTO environments (id, org_id, slug, created_at) VALUES (zeroblob(16), zeroblob(16), 'main', 1); \
               INSERT INTO events (id, org_id, env_id, name, key, internal, late, ts, received_at, body) VALUES (x'00000000000000000000000000000001', zeroblob(16), zeroblob(16), 'a', 'k', 0, 0, 1, 1, x'7b7d')";
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.close()";
    let file = dir.path().join(".inngest/main.db");
    let filled = Command::new("python3")
        .args(["-c", script, file.to_str().unwrap(), sql])
        .status()
        .unwrap();
    assert!(filled.success());
    for (args, message) in [
        (
            &["retention", "--dry-run", "--retention-days", "0"][..],
            "environment main: everything is kept",
        ),
        (
            &["retention", "--dry-run"],
            "environment main: would delete 0 runs, 0 steps, 0 failed attempts, 1 events",
        ),
        (
            &["retention"],
            "environment main: deleted 0 runs, 0 steps, 0 failed attempts, 1 events",
        ),
    ] {
        let output = run(dir.path(), args);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(message), "{text}");
    }
}
