//! The server under test: one process of the binary, and its public API.

use std::{collections::BTreeMap, env, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{
    http::{self, Answer},
    process::{Process, Spec, free_port, own_directory, workspace},
    wait::{DEADLINE, wait_until},
};

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Name of the log file; unique among the servers of one test process.
    pub name: String,
    /// Arguments after the command, the host and the port.
    pub arguments: Vec<String>,
    /// Port to listen on; a free one when absent.
    pub port: Option<u16>,
}

/// A running `inngest dev` or `inngest start`.
#[derive(Debug)]
pub struct Server {
    base: String,
    port: u16,
    /// None for servers that are looked after elsewhere.
    process: Option<Process>,
}

/// A run as the REST API shows it.
#[derive(Clone, Debug)]
pub struct Run {
    /// ULID.
    pub id: String,
    /// `Running`, `Completed`, …
    pub status: String,
    /// Return value, or the error of a failed run; `null` before the end.
    pub output: Value,
}

impl Run {
    /// Whether nothing will happen to it any more.
    pub fn is_ended(&self) -> bool {
        matches!(
            self.status.as_str(),
            "Completed" | "Failed" | "Cancelled" | "Skipped"
        )
    }
}

impl Server {
    /// Starts `inngest dev` and waits until it is healthy.
    ///
    /// # Panics
    /// When there is no binary, or it does not become healthy in time.
    pub fn start(options: &ServerOptions) -> Self {
        Self::start_as(&["dev", "--no-discovery"], options)
    }

    /// [`Server::start`] with another binary and more environment.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn start_other(
        binary: PathBuf,
        env: BTreeMap<String, String>,
        options: &ServerOptions,
    ) -> Self {
        Self::start_with(binary, env, &["dev", "--no-discovery"], options)
    }

    /// Servers that somebody else has started and that are reached by this address.
    pub fn behind(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            port: 0,
            process: None,
        }
    }

    /// Starts `inngest start` with another binary and more environment, without waiting for anything.
    ///
    /// # Panics
    /// When there is no binary.
    pub fn launch(
        binary: Option<PathBuf>,
        env: BTreeMap<String, String>,
        options: &ServerOptions,
    ) -> Self {
        Self::spawn(
            binary.unwrap_or_else(self::binary),
            env,
            &["start"],
            options,
        )
    }

    /// Starts `inngest start`, which needs keys among its arguments.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn start_self_hosted(options: &ServerOptions) -> Self {
        Self::start_as(&["start"], options)
    }

    fn start_as(mode: &[&str], options: &ServerOptions) -> Self {
        Self::start_with(binary(), BTreeMap::new(), mode, options)
    }

    fn start_with(
        binary: PathBuf,
        env: BTreeMap<String, String>,
        mode: &[&str],
        options: &ServerOptions,
    ) -> Self {
        let mut server = Self::spawn(binary, env, mode, options);
        server.wait_until_healthy();
        server
    }

    fn spawn(
        binary: PathBuf,
        mut env: BTreeMap<String, String>,
        mode: &[&str],
        options: &ServerOptions,
    ) -> Self {
        let port = options.port.unwrap_or_else(free_port);
        assert!(
            binary.exists(),
            "no server at {}; build it or set INNGEST_BIN",
            binary.display()
        );
        let mut command = vec![binary.display().to_string()];
        command.extend(
            mode.iter()
                .chain(&["--host", "127.0.0.1", "--port"])
                .map(|part| (*part).to_owned()),
        );
        command.push(port.to_string());
        command.extend(options.arguments.iter().cloned());
        env.insert("RUST_BACKTRACE".to_owned(), "1".to_owned());
        let process = Process::start(&Spec {
            name: &options.name,
            command: &command,
            directory: &own_directory(&options.name),
            env,
        });
        Self {
            base: format!("http://127.0.0.1:{port}"),
            port,
            process: Some(process),
        }
    }

    /// Waits until it answers and has what it needs.
    ///
    /// # Panics
    /// When it ends instead, or takes too long.
    pub fn wait_until_healthy(&mut self) {
        wait_until("the server to be healthy", DEADLINE, || {
            assert!(!self.has_ended(), "the server ended\n{}", self.log_tail());
            let answer = http::try_request("GET", &self.url("/health"), &[], None).ok()?;
            (answer.status == 200).then_some(())
        });
    }

    /// Its address without a path, as SDKs take it.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id, unless it is looked after elsewhere.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Kills the process as a power cut would.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    /// Sends the process a signal, for example `STOP`.
    pub fn signal(&self, signal: &str) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Waits until the process has ended by itself.
    pub fn wait(&mut self) {
        if let Some(process) = &mut self.process {
            process.wait();
        }
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::has_ended)
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.process
            .as_ref()
            .map_or_else(String::new, Process::log_tail)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Answer {
        http::request("GET", &self.url(path), &[], None)
    }

    /// `POST path` with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        http::request("POST", &self.url(path), &[], Some(body))
    }

    /// `DELETE path`.
    pub fn delete(&self, path: &str) -> Answer {
        http::request("DELETE", &self.url(path), &[], None)
    }

    /// Sends one event or an array of events and returns the ids in order.
    ///
    /// # Panics
    /// When the server does not accept them.
    pub fn send(&self, events: &Value) -> Vec<String> {
        self.send_with(events, &[])
    }

    /// [`Server::send`] with request headers.
    ///
    /// # Panics
    /// When the server does not accept them.
    pub fn send_with(&self, events: &Value, headers: &[(&str, &str)]) -> Vec<String> {
        let answer = http::request("POST", &self.url("/e/test"), headers, Some(events));
        assert_eq!(answer.status, 200, "events refused: {}", answer.body);
        let ids = answer.body["ids"]
            .as_array()
            .expect("an accepted request has ids");
        ids.iter()
            .map(|id| id.as_str().expect("an id is text").to_owned())
            .collect()
    }

    /// The runs an event started, by the REST API.
    pub fn runs_of(&self, event_id: &str) -> Vec<Run> {
        let answer = self.get(&format!("/v1/events/{event_id}/runs"));
        let Some(runs) = answer.body["data"].as_array() else {
            return Vec::new();
        };
        runs.iter().map(run_of).collect()
    }

    /// One run, by the REST API.
    ///
    /// # Panics
    /// When there is no such run.
    pub fn run(&self, run_id: &str) -> Run {
        let answer = self.get(&format!("/v1/runs/{run_id}"));
        assert!(
            answer.body["data"].is_object(),
            "no run {run_id}: {answer:?}"
        );
        run_of(&answer.body["data"])
    }

    /// One run as soon as it has ended.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn ended(&self, run_id: &str) -> Run {
        wait_until(&format!("the end of run {run_id}"), DEADLINE, || {
            Some(self.run(run_id)).filter(Run::is_ended)
        })
    }

    /// The `data` of a GraphQL answer.
    ///
    /// # Panics
    /// When the answer has errors.
    pub fn graphql(&self, query: &str, variables: &Value) -> Value {
        let mut answer = self.post(
            "/graphql",
            &json!({ "query": query, "variables": variables }),
        );
        assert!(
            answer.body["errors"].is_null(),
            "GraphQL errors: {}",
            answer.body["errors"]
        );
        answer.body["data"].take()
    }

    /// The slugs of all live functions, sorted.
    pub fn function_slugs(&self) -> Vec<String> {
        let answer = self.post(
            "/graphql",
            &json!({"query": "{ environment { functions(first: 200) { nodes { slug } } } }"}),
        );
        let functions = answer.body["data"]["environment"]["functions"]["nodes"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut slugs: Vec<_> = functions
            .iter()
            .filter_map(|function| Some(function["slug"].as_str()?.to_owned()))
            .collect();
        slugs.sort();
        slugs
    }

    /// Waits until the live functions satisfy `condition`.
    ///
    /// # Panics
    /// When they do not in time.
    pub fn wait_for_functions(&self, what: &str, condition: impl Fn(&[String]) -> bool) {
        let deadline = DEADLINE + Duration::from_secs(30);
        wait_until(what, deadline, || {
            condition(&self.function_slugs()).then_some(())
        });
    }
}

fn run_of(value: &Value) -> Run {
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    Run {
        id: text("run_id"),
        status: text("status"),
        output: value["output"].clone(),
    }
}

/// The program under test.
pub fn binary() -> PathBuf {
    match env::var_os("INNGEST_BIN") {
        Some(path) => PathBuf::from(path),
        None => workspace().join("target/debug/inngest"),
    }
}
