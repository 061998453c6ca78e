//! The binary under test, with every line that it has written.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Map, Value};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Line = Map<String, Value>;

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

pub(crate) struct Server {
    child: Child,
    log: Arc<Log>,
    base: String,
    reader: Option<thread::JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Starts `inngest dev` with these more arguments and variables, and waits until it listens.
    pub(crate) fn dev(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_inngest"))
            .args([
                "dev",
                "--port",
                "0",
                "--no-discovery",
                "--no-poll",
                "--json",
            ])
            .args(args)
            .current_dir(dir.path())
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (log, output) = (Arc::new(Log::default()), child.stdout.take().unwrap());
        let lines = log.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                lines.lines.lock().unwrap().push(line);
                lines.grown.notify_all();
            }
        });
        let mut server = Self {
            child,
            log,
            base: String::new(),
            reader: Some(reader),
            _dir: dir,
        };
        let listening = server.line(|line| line["message"] == "listening");
        server.base = format!("http://{}", listening["address"].as_str().unwrap());
        server
    }

    /// Every line so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().clone()
    }

    /// The first line that is meant; waits for it.
    pub(crate) fn line(&self, is_meant: impl Fn(&Line) -> bool) -> Line {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        let mut seen = 0;
        loop {
            for line in &lines[seen..] {
                let line: Line = serde_json::from_str(line).unwrap();
                if is_meant(&line) {
                    return line;
                }
            }
            seen = lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such line among {lines:#?}");
            lines = self.log.grown.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Value {
        let mut request = ureq::post(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = request.send_json(body).unwrap();
        answer.body_mut().read_json().unwrap()
    }

    /// Waits until the lines are as they should be.
    pub(crate) fn until(&self, is_enough: impl Fn(&[String]) -> bool) {
        let lines = self.log.lines.lock().unwrap();
        let waiting = |lines: &mut Vec<String>| !is_enough(lines);
        let waited = self.log.grown.wait_timeout_while(lines, PATIENCE, waiting);
        let (lines, waited) = waited.unwrap();
        assert!(!waited.timed_out(), "{lines:#?}");
    }

    /// Asks the process to stop, waits for its end, and returns all that it has written.
    pub(crate) fn stop(mut self) -> Vec<String> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(sent.unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the server does not stop");
            thread::sleep(Duration::from_millis(10));
        }
        let reader = self.reader.take().unwrap();
        reader.join().unwrap();
        self.lines()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
