//! SDK apps: the three test apps under `tests/sdk`, started and registered.

use std::{collections::BTreeMap, path::PathBuf, process::Command, sync::Mutex};

use serde_json::Value;

use crate::{
    http,
    process::{Process, Spec, free_port, workspace},
    wait::{DEADLINE, wait_until},
};

/// The SDKs under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// npm `inngest` 4.
    Ts4,
    /// npm `inngest` 3.
    Ts3,
    /// PyPI `inngest`.
    Py,
}

impl Sdk {
    /// The app's id and the name of its directory.
    pub fn id(self) -> &'static str {
        match self {
            Self::Ts4 => "ts4",
            Self::Ts3 => "ts3",
            Self::Py => "py",
        }
    }

    fn directory(self) -> PathBuf {
        workspace().join("tests/sdk").join(self.id())
    }

    fn command(self) -> Vec<String> {
        match self {
            Self::Ts4 | Self::Ts3 => vec!["node".to_owned(), "app.js".to_owned()],
            Self::Py => vec![".venv/bin/python".to_owned(), "app.py".to_owned()],
        }
    }

    /// Installs what the app needs, once per checkout.
    fn install(self) {
        match self {
            Self::Ts4 | Self::Ts3 => install_node(self.directory()),
            Self::Py => install_python(self.directory()),
        }
    }
}

/// Runs `npm ci` in `directory` unless that has been done.
pub fn install_node(directory: PathBuf) {
    let ready = directory.join("node_modules");
    install(directory, ready, &["npm ci --no-audit --no-fund"]);
}

/// Makes a virtual environment in `directory` unless that has been done.
pub fn install_python(directory: PathBuf) {
    let ready = directory.join(".venv");
    install(
        directory,
        ready,
        &[
            "python3 -m venv .venv",
            ".venv/bin/pip install --quiet -r requirements.txt",
        ],
    );
}

fn install(directory: PathBuf, ready: PathBuf, commands: &[&str]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if ready.exists() {
        return;
    }
    for command in commands {
        let status = Command::new("sh")
            .args(["-c", command])
            .current_dir(&directory)
            .status();
        let succeeded = status.as_ref().is_ok_and(std::process::ExitStatus::success);
        assert!(
            succeeded,
            "`{command}` failed in {}: {status:?}",
            directory.display()
        );
    }
}

/// How to start a test app.
#[derive(Clone, Debug)]
pub struct AppOptions {
    /// Which SDK.
    pub sdk: Sdk,
    /// Id of the app; the SDK's own when absent.
    pub id: Option<String>,
    /// Port to listen on; a free one when absent.
    pub port: Option<u16>,
    /// Function ids to register; all when absent.
    pub only: Option<String>,
    /// More environment, such as keys.
    pub env: BTreeMap<String, String>,
}

impl AppOptions {
    /// The app of `sdk` in development mode, with all its functions.
    pub fn new(sdk: Sdk, server: &str) -> Self {
        let env = BTreeMap::from([("INNGEST_DEV".to_owned(), server.to_owned())]);
        Self {
            sdk,
            id: None,
            port: None,
            only: None,
            env,
        }
    }
}

/// A running test app.
#[derive(Debug)]
pub struct App {
    base: String,
    port: u16,
    process: Process,
}

impl App {
    /// Starts the app and waits until it answers. It is not registered yet.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub fn start(options: &AppOptions) -> Self {
        options.sdk.install();
        let port = options.port.unwrap_or_else(free_port);
        let id = options
            .id
            .clone()
            .unwrap_or_else(|| options.sdk.id().to_owned());
        let mut env = options.env.clone();
        env.insert("PORT".to_owned(), port.to_string());
        env.insert("APP_ID".to_owned(), id.clone());
        if let Some(only) = &options.only {
            env.insert("ONLY".to_owned(), only.clone());
        }
        let process = Process::start(&Spec {
            name: &format!("app-{id}-{port}"),
            command: &options.sdk.command(),
            directory: &options.sdk.directory(),
            env,
        });
        Self::running(process, port)
    }

    /// Adopts a process that will listen on `port`, and waits until it answers.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub fn running(mut process: Process, port: u16) -> Self {
        let base = format!("http://127.0.0.1:{port}");
        wait_until("the app to answer", DEADLINE, || {
            assert!(
                !process.has_ended(),
                "the app ended\n{}",
                process.log_tail()
            );
            http::try_request("GET", &format!("{base}/api/inngest"), &[], None).ok()
        });
        Self {
            base,
            port,
            process,
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the SDK listens; `endpoint` is `inngest`, or `stream` for the one that streams its replies.
    pub fn url(&self, endpoint: &str) -> String {
        format!("{}/api/{endpoint}", self.base)
    }

    /// Makes the app register itself, as the server's own PUT would.
    ///
    /// # Panics
    /// When the SDK reports a failure.
    pub fn register(&self, endpoint: &str) {
        let answer = http::request(
            "PUT",
            &self.url(endpoint),
            &[("x-inngest-server-kind", "dev")],
            None,
        );
        assert_eq!(answer.status, 200, "registration failed: {}", answer.body);
    }

    /// The journal entries of one marker, oldest first.
    pub fn journal(&self, marker: &str) -> Vec<Value> {
        let answer = http::request(
            "GET",
            &format!("{}/journal?marker={marker}", self.base),
            &[],
            None,
        );
        answer.body.as_array().cloned().unwrap_or_default()
    }

    /// Kills the process in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
