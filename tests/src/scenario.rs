//! One test's view of the server and the apps, which all tests of a process share.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use crate::{
    app::{App, AppOptions, Sdk},
    server::{Run, Server, ServerOptions},
    wait::{DEADLINE, wait_until},
};

const SDKS: [Sdk; 3] = [Sdk::Ts4, Sdk::Ts3, Sdk::Py];

/// The shared server and one app per SDK, started by whichever test comes first.
#[derive(Debug)]
pub struct World {
    /// The server; retries come after one second.
    pub server: Server,
    apps: Vec<App>,
}

/// The shared world.
///
/// # Panics
/// When it cannot be started.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let server = Server::start(&ServerOptions {
            name: "server".to_owned(),
            arguments: ["--retry-interval", "1"].map(str::to_owned).to_vec(),
            port: None,
        });
        let base = server.base();
        let apps: Vec<_> = thread::scope(|scope| {
            let starting =
                SDKS.map(|sdk| scope.spawn(move || App::start(&AppOptions::new(sdk, base))));
            starting
                .into_iter()
                .map(|app| app.join().expect("the app starts"))
                .collect()
        });
        for app in &apps {
            app.register("inngest");
            app.register("stream");
        }
        server.wait_for_functions("all functions to be registered", |slugs| {
            SDKS.iter()
                .all(|sdk| slugs.contains(&format!("{}-echo", sdk.id())))
        });
        World { server, apps }
    })
}

/// One test with one SDK. Its marker goes into every event it sends and every journal entry it reads.
#[derive(Debug)]
pub struct Scenario {
    /// The SDK under test.
    pub sdk: Sdk,
    /// Unique among the tests of this process.
    pub marker: String,
    world: &'static World,
}

/// A started function: the event that started it.
#[derive(Debug)]
pub struct Started<'a> {
    /// ULID of the event.
    pub event_id: String,
    scenario: &'a Scenario,
}

impl Scenario {
    /// A scenario called `name`, in the shared world.
    pub fn new(sdk: Sdk, name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            sdk,
            marker: format!("{name}-{number}"),
            world: world(),
        }
    }

    /// The shared server.
    pub fn server(&self) -> &'static Server {
        &self.world.server
    }

    /// The SDK's app.
    pub fn app(&self) -> &'static App {
        let index = SDKS
            .iter()
            .position(|sdk| *sdk == self.sdk)
            .expect("every SDK has an app");
        &self.world.apps[index]
    }

    /// The name of an event of this app: `x` becomes `ts4/x`.
    pub fn event(&self, name: &str) -> String {
        format!("{}/{name}", self.sdk.id())
    }

    /// The slug of a function of this app: `x` becomes `ts4-x`.
    pub fn slug(&self, function: &str) -> String {
        format!("{}-{function}", self.sdk.id())
    }

    /// Sends an event of this app; `data` gains the marker.
    pub fn send(&self, name: &str, data: Value) -> Started<'_> {
        self.send_event(json!({ "name": self.event(name), "data": data }))
    }

    /// Sends an event as it is, except that its `data` gains the marker.
    ///
    /// # Panics
    /// When the server does not accept it.
    pub fn send_event(&self, mut event: Value) -> Started<'_> {
        if event["data"]["marker"].is_null() {
            event["data"]["marker"] = json!(self.marker);
        }
        let mut ids = self.server().send(&event);
        Started {
            event_id: ids.pop().expect("one event has one id"),
            scenario: self,
        }
    }

    /// What this scenario's functions noted so far.
    pub fn journal(&self) -> Vec<Value> {
        self.app().journal(&self.marker)
    }

    /// The `what` of every entry.
    pub fn notes(&self) -> Vec<String> {
        self.journal()
            .iter()
            .map(|entry| entry["what"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// How often `what` was noted.
    pub fn count(&self, what: &str) -> usize {
        self.notes().iter().filter(|note| *note == what).count()
    }

    /// The first entry `what`, once it is there.
    ///
    /// # Panics
    /// When it does not come in time.
    pub fn noted(&self, what: &str) -> Value {
        self.noted_times(what, 1).swap_remove(0)
    }

    /// The entries `what`, once there are at least `count`.
    ///
    /// # Panics
    /// When they do not come in time.
    pub fn noted_times(&self, what: &str, count: usize) -> Vec<Value> {
        wait_until(
            &format!("{count} × `{what}` in the journal of {}", self.marker),
            DEADLINE,
            || {
                let found: Vec<_> = self
                    .journal()
                    .into_iter()
                    .filter(|entry| entry["what"] == what)
                    .collect();
                (found.len() >= count).then_some(found)
            },
        )
    }
}

impl Started<'_> {
    /// The runs the event has started so far.
    pub fn runs(&self) -> Vec<Run> {
        self.scenario.server().runs_of(&self.event_id)
    }

    /// The run the event started, as soon as there is one.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn run(&self) -> Run {
        wait_until(
            &format!("a run of event {}", self.event_id),
            DEADLINE,
            || self.runs().into_iter().next(),
        )
    }

    /// The run, as soon as it has ended.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn ended(&self) -> Run {
        let run = self.run();
        self.scenario.server().ended(&run.id)
    }

    /// The output of the run, which must complete.
    ///
    /// # Panics
    /// When it ends in another way.
    pub fn completed(&self) -> Value {
        let run = self.ended();
        assert_eq!(
            run.status, "Completed",
            "run {} ended with {}",
            run.id, run.output
        );
        run.output
    }

    /// The error of the run as text, which must fail.
    ///
    /// # Panics
    /// When it ends in another way.
    pub fn failed(&self) -> String {
        let run = self.ended();
        assert_eq!(
            run.status, "Failed",
            "run {} ended with {}",
            run.id, run.output
        );
        run.output.to_string()
    }
}
