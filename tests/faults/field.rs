//! Servers on one Postgres and one Redis, each with a network of its own between it and them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use inngest_tests::{
    balancer::Balancer,
    databases::{PrivatePostgres, PrivateRedis},
    http::{self, SIGNING_KEY},
    process::free_port,
    proxy::Proxy,
    server::{Server, ServerOptions},
};

use crate::{
    app::StubApp,
    check::{self, Kill},
    load::{Accepted, Load},
};

/// How long everything that was accepted may take to end once nothing is wrong any more.
pub(crate) const DRAIN: Duration = Duration::from_secs(120);

/// What is there of runs that have not ended: runs, work, waits, open steps.
const UNENDED: [&str; 4] = [
    "SELECT id, status, event_id, event_name, queued_at, started_at, revision FROM runs WHERE ended_at IS NULL LIMIT 20",
    "SELECT kind, run_id, step_id, due_at, attempt, epoch, (extract(epoch FROM now()) * 1000)::bigint AS now FROM work LIMIT 20",
    "SELECT run_id, kind, step_id, event_name, key_path, key_hash, since, expires_at FROM waits LIMIT 20",
    "SELECT s.run_id, s.step_id, s.status, s.queued_at FROM steps s JOIN runs r ON r.id = s.run_id WHERE r.ended_at IS NULL LIMIT 20",
];

/// Counts the servers that were started.
static LIVES: AtomicU64 = AtomicU64::new(0);

/// Everything under test, and what it stands on.
pub(crate) struct Field {
    name: &'static str,
    pub(crate) postgres: PrivatePostgres,
    pub(crate) redis: PrivateRedis,
    pub(crate) servers: Vec<Server>,
    /// Between each server and Postgres.
    pub(crate) to_postgres: Vec<Proxy>,
    /// Between each server and Redis.
    pub(crate) to_redis: Vec<Proxy>,
    ports: Vec<u16>,
    balancer: Balancer,
    pub(crate) app: StubApp,
    /// Further arguments of all.
    more: Vec<String>,
}

impl Field {
    /// Starts so many servers; `None` where a database is not installed. `more` are further arguments of each.
    pub(crate) fn start(name: &'static str, servers: usize, more: &[&str]) -> Option<Self> {
        let postgres = PrivatePostgres::start(name)?;
        let redis = PrivateRedis::start(name)?;
        let ports: Vec<u16> = (0..servers).map(|_| free_port()).collect();
        let proxies = |port| (0..servers).map(|_| Proxy::start(port)).collect();
        let balancer = Balancer::start(&ports);
        let app = StubApp::start(balancer.base());
        let mut field = Self {
            name,
            to_postgres: proxies(postgres.port()),
            to_redis: proxies(redis.port()),
            postgres,
            redis,
            servers: Vec::new(),
            ports,
            balancer,
            app,
            more: more.iter().map(|part| (*part).to_owned()).collect(),
        };
        for number in 0..servers {
            let server = field.launch(number, None, BTreeMap::new());
            field.servers.push(server);
        }
        for server in &mut field.servers {
            server.wait_until_healthy();
        }
        field.app.register(&field.servers[0]);
        Some(field)
    }

    /// Starts a server, and waits for nothing.
    pub(crate) fn launch(
        &self,
        number: usize,
        binary: Option<PathBuf>,
        env: BTreeMap<String, String>,
    ) -> Server {
        self.launch_with(number, binary, env, &[])
    }

    /// Starts a server with further arguments of its own, and waits for nothing.
    pub(crate) fn launch_with(
        &self,
        number: usize,
        binary: Option<PathBuf>,
        env: BTreeMap<String, String>,
        more: &[&str],
    ) -> Server {
        let postgres = format!(
            "postgres://postgres@127.0.0.1:{}/postgres",
            self.to_postgres[number].port()
        );
        let redis = format!("redis://127.0.0.1:{}", self.to_redis[number].port());
        let arguments = [
            "--postgres-uri",
            &postgres,
            "--redis-uri",
            &redis,
            "--signing-key",
            SIGNING_KEY,
            "--event-key",
            "test",
            "--retry-interval",
            "1",
            "--drain-timeout",
            "10",
        ];
        let mut arguments = arguments.map(str::to_owned).to_vec();
        arguments.extend(self.more.iter().cloned());
        arguments.extend(more.iter().map(|part| (*part).to_owned()));
        let options = ServerOptions {
            // Each life has a log of its own.
            name: format!(
                "{}-{number}-{}",
                self.name,
                LIVES.fetch_add(1, Ordering::Relaxed)
            ),
            arguments,
            port: Some(self.ports[number]),
        };
        Server::launch(binary, env, &options)
    }

    /// Starts a server anew, once it has ended.
    pub(crate) fn restart(&mut self, number: usize) {
        self.restart_with(number, &[]);
    }

    /// Starts a server anew with further arguments, once it has ended.
    pub(crate) fn restart_with(&mut self, number: usize, more: &[&str]) {
        self.servers[number] = self.launch_with(number, None, BTreeMap::new(), more);
        self.servers[number].wait_until_healthy();
    }

    /// The address behind which all servers are.
    pub(crate) fn base(&self) -> &str {
        self.balancer.base()
    }

    /// Sends an event every `pause`.
    pub(crate) fn load(&self, pause: Duration) -> Load {
        Load::start(self.base(), pause, None)
    }

    /// The networks between all servers and both databases.
    pub(crate) fn networks(&self) -> impl Iterator<Item = &Proxy> {
        self.to_postgres.iter().chain(&self.to_redis)
    }

    /// Ends the load, and checks that what was accepted has happened, once.
    pub(crate) fn check(self, load: Load, faults: &[Kill]) {
        let accepted = load.stop();
        eprintln!("{}: {} events accepted", self.name, accepted.len());
        self.check_sent(&accepted, faults);
    }

    /// Checks that what was accepted has happened, once.
    pub(crate) fn check_sent(self, accepted: &[Accepted], faults: &[Kill]) {
        self.networks().for_each(Proxy::heal);
        let server = Server::behind(self.base());
        let found = check::look(&server, &self.app, accepted, faults, DRAIN);
        eprintln!("{}: steps by executions: {:?}", self.name, found.executions);
        let mut wrong: Vec<_> = found.wrong.into_values().flatten().collect();
        wrong.extend(check::rows(&self.postgres.uri(), Duration::from_secs(30)));
        wrong.truncate(20);
        assert!(
            wrong.is_empty(),
            "{}: {wrong:#?}\n{}",
            self.name,
            self.unended()
        );
    }

    /// The rows of what has not ended, for a failure message.
    pub(crate) fn unended(&self) -> String {
        let shown = UNENDED.map(|sql| match self.postgres.sql(sql) {
            Ok(rows) | Err(rows) => rows,
        });
        shown.join("\n--\n")
    }
}

/// The sum of a figure over its labels, as the metrics on this listener tell it; 0 when it is not there.
pub(crate) fn figure(listen: &str, name: &str) -> f64 {
    let page = http::text(&format!("http://{listen}/metrics"));
    page.lines()
        .filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
