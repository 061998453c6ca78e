//! One test's view of the server and the apps, which all tests of a process share.

use std::{
    collections::BTreeMap,
    env,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use crate::{
    app::{App, AppOptions, Sdk},
    databases::{PrivatePostgres, PrivateRedis},
    http::SIGNING_KEY,
    process::free_port,
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
    _databases: Databases,
}

/// The shared world.
///
/// # Panics
/// When it cannot be started.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let mode = Mode::wanted();
        let ports = SDKS.map(|_| free_port());
        let (server, databases) = mode.start(&ports);
        let base = server.base();
        let apps: Vec<_> = thread::scope(|scope| {
            let starting = SDKS.iter().zip(ports).map(|(sdk, port)| {
                let options = AppOptions {
                    port: Some(port),
                    env: mode.environment(base),
                    ..AppOptions::new(*sdk, base)
                };
                scope.spawn(move || App::start(&options))
            });
            let starting: Vec<_> = starting.collect();
            starting
                .into_iter()
                .map(|app| app.join().expect("the app starts"))
                .collect()
        });
        if mode == Mode::Dev {
            for app in &apps {
                app.register("inngest");
                app.register("stream");
            }
        }
        server.wait_for_functions("all functions to be registered", |slugs| {
            SDKS.iter()
                .all(|sdk| slugs.contains(&format!("{}-echo", sdk.id())))
        });
        World {
            server,
            apps,
            _databases: databases,
        }
    })
}

/// How the shared server keeps what it knows, and whom it asks for keys; `INNGEST_TEST_MODE` says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// `inngest dev`.
    Dev,
    /// `inngest start` on a file.
    File,
    /// `inngest start` on Postgres.
    Postgres,
    /// `inngest start` on Postgres and Redis.
    Redis,
}

type Databases = (Option<PrivatePostgres>, Option<PrivateRedis>);

impl Mode {
    fn wanted() -> Self {
        let word = env::var_os("INNGEST_TEST_MODE").unwrap_or_default();
        match word.to_str().unwrap_or("?") {
            "" | "dev" => Self::Dev,
            "start-file" => Self::File,
            "start-postgres" => Self::Postgres,
            "start-redis" => Self::Redis,
            other => panic!("INNGEST_TEST_MODE is `{other}`"),
        }
    }

    /// Starts the server. Where it asks for keys, it looks for the apps at these ports, as one in production does.
    fn start(self, ports: &[u16]) -> (Server, Databases) {
        let name = "server".to_owned();
        let mut arguments = ["--retry-interval", "1", "--test-routes"]
            .map(str::to_owned)
            .to_vec();
        let mut databases: Databases = (None, None);
        if self == Self::Dev {
            let server = Server::start(&ServerOptions {
                name,
                arguments,
                port: None,
            });
            return (server, databases);
        }
        let mut add =
            |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["--signing-key", SIGNING_KEY, "--event-key", "test"]);
        add(&["--poll-interval", "1", "--v0-gql"]);
        for port in ports {
            for path in ["inngest", "stream"] {
                add(&["--sdk-url", &format!("http://127.0.0.1:{port}/api/{path}")]);
            }
        }
        if matches!(self, Self::Postgres | Self::Redis) {
            let postgres = PrivatePostgres::start("sdk").expect("Postgres is installed");
            add(&["--postgres-uri", &postgres.uri()]);
            databases.0 = Some(postgres);
        }
        if self == Self::Redis {
            let redis = PrivateRedis::start("sdk").expect("Redis is installed");
            add(&["--redis-uri", &redis.uri()]);
            databases.1 = Some(redis);
        }
        let server = Server::start_self_hosted(&ServerOptions {
            name,
            arguments,
            port: None,
        });
        (server, databases)
    }

    /// What an app is told of the server.
    fn environment(self, server: &str) -> BTreeMap<String, String> {
        let variables = match self {
            Self::Dev => vec![("INNGEST_DEV", server)],
            Self::File | Self::Postgres | Self::Redis => vec![
                ("INNGEST_BASE_URL", server),
                ("INNGEST_SIGNING_KEY", SIGNING_KEY),
                ("INNGEST_EVENT_KEY", "test"),
            ],
        };
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        variables.into_iter().map(owned).collect()
    }
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

    /// What the events of this scenario carry, unlike those of any other.
    pub fn marker(&self) -> &str {
        &self.marker
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
