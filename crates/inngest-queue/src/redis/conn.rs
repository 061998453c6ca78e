//! The connection that all commands share, and what happens while there is none.
//!
//! A connection that breaks is made again in the background. Whoever asks meanwhile waits a moment for it if it has just broken, and is
//! told at once that there is none if that is known: no caller ever waits long for a Redis that is down.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, RedisError, RedisResult, ScriptInvocation, ServerErrorKind, Value,
    aio::{MultiplexedConnection, PubSub},
    cluster_async::ClusterConnection,
};
use tokio::{sync::Notify, time::timeout};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::{
    error::Error,
    redis::address::{Address, BadAddress},
};

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// An answer. Default 1 s.
    pub response: Duration,
    /// A connection. Default 2 s.
    pub connect: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            response: Duration::from_secs(1),
            connect: Duration::from_secs(2),
        }
    }
}

/// How long a caller waits for a connection that has just broken.
const MOMENT: Duration = Duration::from_millis(300);
/// Answers that did not come in a row, after which the connection counts as broken.
const MAX_SILENCE: u32 = 3;
/// How often a script is sent again that Redis has forgotten in between; somebody empties its cache again and again, then.
const MAX_FORGOTTEN: u32 = 5;
/// Longest pause between two tries to connect; the first are shorter.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Shared by all who use one schedule.
#[derive(Debug)]
pub(super) struct Connection {
    address: Address,
    timeouts: Timeouts,
    state: Mutex<State>,
    /// Somebody has connected.
    connected: Notify,
    /// Where tasks are spawned.
    tracker: TaskTracker,
}

#[derive(Debug)]
struct State {
    line: Line,
    /// Rises with each connection, so that a failure of an older one does not break a newer one.
    number: u64,
    silent: u32,
    is_connecting: bool,
}

#[derive(Debug)]
enum Line {
    Up(Commands),
    /// Broken a moment ago.
    Broken,
    /// Known to be down.
    Down,
}

/// What commands are sent by. Clones share one connection.
#[derive(Clone)]
pub(super) enum Commands {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Commands")
    }
}

impl Commands {
    async fn invoke(&mut self, script: &ScriptInvocation<'_>) -> RedisResult<Value> {
        match self {
            Self::Single(conn) => script.invoke_async(conn).await,
            Self::Cluster(conn) => script.invoke_async(conn).await,
        }
    }

    /// Carries out one plain command.
    pub(super) async fn query(&mut self, command: &redis::Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(conn) => command.query_async(conn).await,
            Self::Cluster(conn) => command.query_async(conn).await,
        }
    }
}

impl Connection {
    /// Nothing is connected yet.
    pub(super) fn new(
        uri: &str,
        timeouts: Timeouts,
        tracker: &TaskTracker,
    ) -> Result<Arc<Self>, BadAddress> {
        Ok(Arc::new(Self {
            address: Address::parse(uri, timeouts)?,
            timeouts,
            state: Mutex::new(State {
                line: Line::Broken,
                number: 0,
                silent: 0,
                is_connecting: false,
            }),
            connected: Notify::new(),
            tracker: tracker.clone(),
        }))
    }

    /// Runs a script, and once more if the connection broke: scripts bear being run twice.
    ///
    /// # Errors
    /// `Unavailable`, with a word for why.
    pub(super) async fn run(
        self: &Arc<Self>,
        script: &ScriptInvocation<'_>,
    ) -> Result<Value, Error> {
        let mut is_again = false;
        let mut forgotten = 0;
        loop {
            let (mut commands, number) = self.commands().await?;
            let reason = match timeout(self.timeouts.response, commands.invoke(script)).await {
                Ok(Ok(value)) => {
                    self.lock().silent = 0;
                    return Ok(value);
                }
                Ok(Err(error)) if is_forgotten(&error) && forgotten < MAX_FORGOTTEN => {
                    forgotten += 1;
                    continue;
                }
                Ok(Err(error)) => match judge(&error) {
                    Judgement::Broken(reason) => {
                        self.note_broken(number, reason);
                        reason
                    }
                    Judgement::Refused(reason) => {
                        return Err(Error::Unavailable { reason });
                    }
                },
                Err(_) => {
                    let is_silent = {
                        let mut state = self.lock();
                        state.silent += 1;
                        state.silent >= MAX_SILENCE
                    };
                    if is_silent {
                        self.note_broken(number, "no answer");
                    }
                    return Err(Error::Unavailable {
                        reason: "no answer",
                    });
                }
            };
            if is_again {
                return Err(Error::Unavailable { reason });
            }
            is_again = true;
        }
    }

    /// Carries out a plain command.
    ///
    /// # Errors
    /// `Unavailable`, with a word for why.
    pub(super) async fn query(self: &Arc<Self>, command: &redis::Cmd) -> Result<Value, Error> {
        let (mut commands, number) = self.commands().await?;
        match timeout(self.timeouts.response, commands.query(command)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(match judge(&error) {
                Judgement::Broken(reason) => {
                    self.note_broken(number, reason);
                    Error::Unavailable { reason }
                }
                Judgement::Refused(reason) => Error::Unavailable { reason },
            }),
            Err(_) => Err(Error::Unavailable {
                reason: "no answer",
            }),
        }
    }

    /// Whether there is a connection.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.lock().line, Line::Up(_))
    }

    /// Waits until there is a connection, which may be now.
    pub(super) async fn until_up(self: &Arc<Self>) {
        loop {
            let connected = self.connected.notified();
            if self.is_up() {
                return;
            }
            self.connect_in_background();
            connected.await;
        }
    }

    async fn commands(self: &Arc<Self>) -> Result<(Commands, u64), Error> {
        let down = Error::Unavailable {
            reason: "not connected",
        };
        let connected = self.connected.notified();
        {
            let state = self.lock();
            match &state.line {
                Line::Up(commands) => return Ok((commands.clone(), state.number)),
                Line::Down => return Err(down),
                Line::Broken => {}
            }
        }
        self.connect_in_background();
        let moment = if self.lock().number == 0 {
            self.timeouts.connect
        } else {
            MOMENT
        };
        // Whether it came or not, the state tells.
        let _ = timeout(moment, connected).await;
        let state = self.lock();
        match &state.line {
            Line::Up(commands) => Ok((commands.clone(), state.number)),
            Line::Broken | Line::Down => Err(down),
        }
    }

    fn note_broken(self: &Arc<Self>, number: u64, reason: &'static str) {
        {
            let mut state = self.lock();
            if state.number != number || !matches!(state.line, Line::Up(_)) {
                return;
            }
            state.line = Line::Broken;
            state.silent = 0;
        }
        warn!(reason, "the connection to Redis broke");
        self.connect_in_background();
    }

    fn connect_in_background(self: &Arc<Self>) {
        if std::mem::replace(&mut self.lock().is_connecting, true) {
            return;
        }
        self.tracker.spawn(connect_until_up(Arc::downgrade(self)));
    }

    /// Connects once, aside from the connection that is shared.
    pub(super) async fn connect(&self) -> RedisResult<Commands> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeouts.connect))
            .set_response_timeout(Some(self.timeouts.response));
        match &self.address {
            Address::Single(client) => client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .map(Commands::Single),
            Address::Sentinel(client) => client
                .lock()
                .await
                .get_async_connection_with_config(&config)
                .await
                .map(Commands::Single),
            Address::Cluster(client, _) => {
                client.get_async_connection().await.map(Commands::Cluster)
            }
        }
    }

    /// A Redis that throws keys away when its memory is full takes work out of the schedule, which comes back minutes later only.
    async fn warn_of_eviction(&self, mut commands: Commands) {
        let Commands::Single(_) = &commands else {
            // The nodes of a cluster may differ, and one of them is asked only.
            return;
        };
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg("maxmemory-policy");
        let asked = timeout(self.timeouts.response, commands.query(&command)).await;
        // Many providers do not permit the question.
        let Ok(Ok(value)) = asked else { return };
        let answer: Vec<String> = redis::from_redis_value(value).unwrap_or_default();
        if let [_, policy] = answer.as_slice()
            && policy != "noeviction"
        {
            warn!(
                policy,
                "Redis throws keys away when its memory is full; set its maxmemory-policy to noeviction"
            );
        }
    }

    /// A connection for channels. In a cluster any node will do, because messages reach all of them.
    pub(super) async fn channels(&self) -> RedisResult<PubSub> {
        match &self.address {
            Address::Single(client) => client.get_async_pubsub().await,
            Address::Sentinel(client) => {
                let master = client.lock().await.async_get_client().await?;
                master.get_async_pubsub().await
            }
            Address::Cluster(_, nodes) => {
                let mut outcome = Err(RedisError::from((
                    redis::ErrorKind::ClusterConnectionNotFound,
                    "no node answers",
                )));
                for node in nodes {
                    outcome = node.get_async_pubsub().await;
                    if outcome.is_ok() {
                        break;
                    }
                }
                outcome
            }
        }
    }

    /// Where tasks are spawned.
    pub(super) fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// How long a connection may take.
    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect_until_up(connection: Weak<Connection>) {
    let mut pause = Duration::from_millis(20);
    loop {
        let Some(this) = connection.upgrade() else {
            return;
        };
        let patience = this.timeouts.connect * 2;
        let outcome = timeout(patience, this.connect()).await;
        match outcome {
            Ok(Ok(commands)) => {
                {
                    let mut state = this.lock();
                    state.line = Line::Up(commands.clone());
                    state.number += 1;
                    state.silent = 0;
                    state.is_connecting = false;
                }
                info!("connected to Redis");
                this.connected.notify_waiters();
                this.warn_of_eviction(commands).await;
                return;
            }
            Ok(Err(error)) => note_down(&this, reason_of(&error)),
            Err(_) => note_down(&this, "no answer"),
        }
        drop(this);
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn note_down(connection: &Connection, reason: &'static str) {
    let mut state = connection.lock();
    if !matches!(state.line, Line::Down) {
        state.line = Line::Down;
        warn!(
            reason,
            "Redis cannot be reached; trying again in the background"
        );
    }
    drop(state);
    connection.connected.notify_waiters();
}

fn is_forgotten(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript)
}

enum Judgement {
    /// The connection is of no use any more.
    Broken(&'static str),
    /// The server does not want to.
    Refused(&'static str),
}

fn judge(error: &RedisError) -> Judgement {
    let reason = reason_of(error);
    let is_broken = error.is_io_error()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        // A master that became a replica: its successor is found by connecting anew.
        || error.kind() == redis::ErrorKind::Server(ServerErrorKind::ReadOnly)
        || matches!(error.kind(), redis::ErrorKind::AuthenticationFailed);
    if is_broken && !error.is_timeout() {
        Judgement::Broken(reason)
    } else {
        Judgement::Refused(reason)
    }
}

/// A word for an error that holds nothing of what was sent.
pub(super) fn reason_of(error: &RedisError) -> &'static str {
    match error.kind() {
        redis::ErrorKind::Io if error.is_timeout() => "no answer",
        redis::ErrorKind::Io => "connection broken",
        redis::ErrorKind::AuthenticationFailed => "authentication failed",
        redis::ErrorKind::ClusterConnectionNotFound => "no node of the cluster answers",
        redis::ErrorKind::MasterNameNotFoundBySentinel => "the sentinels know no such master",
        redis::ErrorKind::Server(ServerErrorKind::ReadOnly) => "read-only",
        redis::ErrorKind::Server(ServerErrorKind::BusyLoading) => "loading its data",
        redis::ErrorKind::Server(ServerErrorKind::ClusterDown) => "the cluster is down",
        redis::ErrorKind::Server(ServerErrorKind::MasterDown) => "the master is down",
        redis::ErrorKind::Server(ServerErrorKind::NoPerm) => "not permitted",
        _ => match error.code() {
            Some("OOM") => "out of memory",
            Some("BUSY") => "busy with a script",
            Some("NOAUTH" | "WRONGPASS") => "authentication failed",
            Some("MISCONF") => "cannot save to disk",
            _ => "refused the command",
        },
    }
}
