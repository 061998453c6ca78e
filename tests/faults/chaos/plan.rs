//! What goes wrong, and in which order: it follows from the seed alone.

use std::{
    collections::BTreeMap,
    env,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use inngest_tests::{proxy::Proxy, server::Server};

use crate::{Dice, field::Field};

/// One thing that goes wrong, for a while.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Which server it happens to, of those that one server has.
    server: usize,
    /// How long it lasts, for what has a length.
    span: Duration,
    /// How many times, or which passage of a place.
    count: u64,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ServerKilled,
    ServerDies(&'static str),
    AllServersKilled,
    ServerStandsStill,
    ServersReplaced,
    ServerCutOff,
    RedisFlushed,
    RedisFlushedWhileRebuilt,
    RedisRestartedEmpty,
    RedisDown,
    RedisSlow,
    RedisFull,
    RedisReadOnly,
    RedisForgetsScripts,
    RedisRepliesLost,
    RedisRequestsHalved,
    PostgresRestarted,
    PostgresDown,
    PostgresSlow,
    PostgresLocked,
    PostgresConnectionsCut,
    PostgresConnectionsTaken,
    CommitsUnsent,
    CommitRepliesLost,
}

/// Each kind with the shortest and the longest it lasts, in ms, and the most times.
const KINDS: [(Kind, u64, u64, u64); 24] = [
    (Kind::ServerKilled, 0, 3_000, 1),
    (Kind::ServerDies("ingest::in_tx"), 0, 0, 9),
    (Kind::AllServersKilled, 0, 5_000, 1),
    (Kind::ServerStandsStill, 16_000, 60_000, 1),
    (Kind::ServersReplaced, 0, 0, 1),
    (Kind::ServerCutOff, 2_000, 20_000, 1),
    (Kind::RedisFlushed, 0, 0, 1),
    (Kind::RedisFlushedWhileRebuilt, 30, 400, 8),
    (Kind::RedisRestartedEmpty, 0, 2_000, 1),
    (Kind::RedisDown, 5_000, 30_000, 1),
    (Kind::RedisSlow, 3_000, 10_000, 1),
    (Kind::RedisFull, 1_000, 5_000, 1),
    (Kind::RedisReadOnly, 1_000, 5_000, 1),
    (Kind::RedisForgetsScripts, 0, 0, 1),
    (Kind::RedisRepliesLost, 1_000, 3_000, 30),
    (Kind::RedisRequestsHalved, 1_000, 3_000, 30),
    (Kind::PostgresRestarted, 0, 1_000, 1),
    (Kind::PostgresDown, 5_000, 30_000, 1),
    (Kind::PostgresSlow, 3_000, 10_000, 1),
    (Kind::PostgresLocked, 2_000, 8_000, 1),
    (Kind::PostgresConnectionsCut, 0, 0, 1),
    (Kind::PostgresConnectionsTaken, 2_000, 6_000, 1),
    (Kind::CommitsUnsent, 1_000, 3_000, 20),
    (Kind::CommitRepliesLost, 1_000, 3_000, 20),
];

/// Places at which a server dies, where there is a binary that does.
const PLACES: [&str; 12] = [
    "ingest::in_tx",
    "ingest::after_commit",
    "exec::leased",
    "exec::before_send",
    "exec::got_response",
    "exec::in_tx",
    "exec::after_commit",
    "final::in_tx",
    "final::after_commit",
    "op::wait_register",
    "op::wait_matched",
    "op::sleep",
];

/// How long a server that is to die at a place may live.
const LIFE: Duration = Duration::from_secs(10);

/// Faults without an end: each kind once in some order, then each again in another.
pub(crate) struct Plan {
    dice: Dice,
    left: Vec<(Kind, u64, u64, u64)>,
    rounds: usize,
    servers: usize,
}

impl Plan {
    pub(crate) fn new(seed: u64, servers: usize) -> Self {
        Self {
            dice: Dice::new(seed),
            left: Vec::new(),
            rounds: 0,
            servers,
        }
    }

    /// The next fault, and how long all is well before it.
    pub(crate) fn next(&mut self) -> (Duration, Fault) {
        if self.left.is_empty() {
            self.left = KINDS.to_vec();
            self.rounds += 1;
        }
        let place = index(self.dice.roll(self.left.len() as u64));
        let (kind, shortest, longest, most) = self.left.swap_remove(place);
        let kind = match kind {
            Kind::ServerDies(_) => {
                Kind::ServerDies(PLACES[index(self.dice.roll(PLACES.len() as u64))])
            }
            other => other,
        };
        let fault = Fault {
            kind,
            server: index(self.dice.roll(self.servers as u64)),
            span: Duration::from_millis(shortest + self.dice.roll(longest - shortest + 1)),
            count: 1 + self.dice.roll(most),
        };
        (Duration::from_millis(500 + self.dice.roll(3_500)), fault)
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("small")
}

impl Fault {
    /// What it says in a report.
    pub(crate) fn text(&self) -> String {
        let Self {
            kind,
            server,
            span,
            count,
        } = self;
        format!(
            "{kind:?} (server {server}, {} ms, {count})",
            span.as_millis()
        )
    }

    /// Whether a step may be executed again because of it.
    pub(crate) fn excuses(&self) -> bool {
        !matches!(
            self.kind,
            Kind::RedisFlushed
                | Kind::RedisFlushedWhileRebuilt
                | Kind::RedisForgetsScripts
                | Kind::ServersReplaced
        )
    }

    /// Lets it happen, and puts everything right again.
    pub(crate) fn happen(&self, field: &mut Field) {
        match self.kind {
            Kind::ServerKilled => {
                field.servers[self.server].kill();
                thread::sleep(self.span);
                field.restart(self.server);
            }
            Kind::ServerDies(place) => self.die(field, place),
            Kind::AllServersKilled => {
                field.servers.iter_mut().for_each(Server::kill);
                thread::sleep(self.span);
                (0..field.servers.len()).for_each(|number| field.restart(number));
            }
            Kind::ServerStandsStill => {
                field.servers[self.server].signal("STOP");
                thread::sleep(self.span);
                field.servers[self.server].signal("CONT");
            }
            Kind::ServersReplaced => {
                for number in 0..field.servers.len() {
                    field.servers[number].signal("TERM");
                    field.servers[number].wait();
                    field.restart(number);
                }
            }
            Kind::ServerCutOff => {
                let ends = [
                    &field.to_postgres[self.server],
                    &field.to_redis[self.server],
                ];
                ends.iter().for_each(|end| end.set_silent(true));
                thread::sleep(self.span);
                ends.iter().for_each(|end| end.set_silent(false));
            }
            _ => self.happen_to_databases(field),
        }
        field.networks().for_each(Proxy::heal);
    }

    fn happen_to_databases(&self, field: &mut Field) {
        match self.kind {
            Kind::RedisFlushed => tell(field, &["FLUSHALL"]),
            Kind::RedisFlushedWhileRebuilt => {
                for _ in 0..self.count {
                    tell(field, &["FLUSHALL"]);
                    thread::sleep(self.span);
                }
            }
            Kind::RedisRestartedEmpty | Kind::RedisDown => {
                field.redis.kill();
                thread::sleep(self.span);
                field.redis.start_again();
            }
            Kind::RedisSlow => self.slow(&field.to_redis, 100),
            Kind::RedisFull => {
                tell(field, &["CONFIG", "SET", "maxmemory", "1"]);
                thread::sleep(self.span);
                tell(field, &["CONFIG", "SET", "maxmemory", "0"]);
            }
            Kind::RedisReadOnly => {
                tell(field, &["REPLICAOF", "127.0.0.1", "1"]);
                thread::sleep(self.span);
                tell(field, &["REPLICAOF", "NO", "ONE"]);
            }
            Kind::RedisForgetsScripts => tell(field, &["SCRIPT", "FLUSH"]),
            Kind::RedisRepliesLost => {
                let end = &field.to_redis[self.server];
                end.lose_replies(self.count);
                thread::sleep(self.span);
            }
            Kind::RedisRequestsHalved => {
                let end = &field.to_redis[self.server];
                end.halve_requests(self.count);
                thread::sleep(self.span);
            }
            Kind::PostgresRestarted | Kind::PostgresDown => {
                field.postgres.stop_at_once();
                thread::sleep(self.span);
                field.postgres.start_again();
            }
            Kind::PostgresSlow => self.slow(&field.to_postgres, 30),
            Kind::PostgresLocked => {
                let seconds = self.span.as_secs_f64();
                ask(
                    field,
                    &format!(
                        "BEGIN; LOCK TABLE runs IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
                    ),
                );
            }
            Kind::PostgresConnectionsCut => ask(field, CUT_CONNECTIONS),
            Kind::PostgresConnectionsTaken => {
                // Whoever is cut off does not get a new connection, unless it is quicker.
                field.to_postgres.iter().for_each(Proxy::cut_all);
                let taken = take_connections(field.postgres.port(), 400);
                thread::sleep(self.span);
                drop(taken);
            }
            Kind::CommitsUnsent => {
                let end = &field.to_postgres[self.server];
                end.cut_before_commits(self.count);
                thread::sleep(self.span);
            }
            Kind::CommitRepliesLost => {
                let end = &field.to_postgres[self.server];
                end.lose_commit_replies(self.count);
                thread::sleep(self.span);
            }
            _ => {}
        }
    }

    fn slow(&self, ends: &[Proxy], millis: u64) {
        for end in ends {
            end.set_delay(
                Duration::from_millis(millis),
                Duration::from_millis(millis / 2),
            );
        }
        thread::sleep(self.span);
    }

    /// Replaces a server by one that dies at a place, and that one by an ordinary one.
    fn die(&self, field: &mut Field, place: &str) {
        let binary = env::var_os("INNGEST_FAILPOINTS_BIN").map(PathBuf::from);
        field.servers[self.server].kill();
        if binary.is_some() {
            let armed = BTreeMap::from([(
                "INNGEST_FAILPOINTS".to_owned(),
                format!("{place}=kill@{}", self.count),
            )]);
            let mut server = field.launch(self.server, binary, armed);
            let begun = Instant::now();
            while !server.has_ended() && begun.elapsed() < LIFE {
                thread::sleep(Duration::from_millis(20));
            }
            server.kill();
        }
        field.restart(self.server);
    }
}

const CUT_CONNECTIONS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL AND datname IS NOT NULL";

fn ask(field: &Field, sql: &str) {
    if let Err(error) = field.postgres.sql(sql) {
        eprintln!("chaos: {error}");
    }
}

fn tell(field: &Field, words: &[&str]) {
    let answer = field.redis.command(words);
    assert!(answer.starts_with("+OK"), "{words:?}: {answer}");
}

/// Opens connections to Postgres and says nothing more than who it is, until there are so many or no more.
pub(crate) fn take_connections(port: u16, most: usize) -> Vec<TcpStream> {
    let mut startup = 196_608u32.to_be_bytes().to_vec();
    startup.extend(b"user\0postgres\0database\0postgres\0\0");
    let length = u32::try_from(startup.len() + 4).expect("short");
    let mut message = length.to_be_bytes().to_vec();
    message.extend(startup);
    let mut taken = Vec::new();
    while taken.len() < most {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
            break;
        };
        // `R` is an answer to who asks; an error begins with `E`, and there are no more connections.
        let mut first = [0];
        let is_taken = stream
            .write_all(&message)
            .and_then(|()| stream.read_exact(&mut first))
            .is_ok();
        if !is_taken || first != *b"R" {
            break;
        }
        taken.push(stream);
    }
    taken
}
