//! One who watches a feed over `graphql-transport-ws`, loses the connection now and then, and goes on from its last cursor.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{SinkExt, StreamExt};
use inngest_tests::http::SIGNING_KEY;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use tokio_util::task::TaskTracker;

use crate::Dice;

/// The environment of a new installation.
pub(crate) const ENVIRONMENT: &str = "00000000-0000-4000-b000-000000000000";

/// A longer silence than that of any server that lives: it pings every 20 s.
const SILENCE: Duration = Duration::from_secs(45);
/// Before it connects again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long after a connection was made what is told may be old.
const SETTLE: Duration = Duration::from_secs(1);

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// Runs; the value is the rest of the filter, of list and feed alike.
    Runs(Value),
    /// Events of these names.
    Events(Vec<String>),
}

impl Watched {
    fn subscription(&self, after: Option<&str>) -> Value {
        let (query, filter) = match self {
            Self::Runs(filter) => (
                "subscription ($env: ID!, $after: String, $filter: RunFeedFilter) {
                   feed: runFeed(environmentId: $env, after: $after, filter: $filter) { kind cursor at removedId run { id status } } }",
                filter.clone(),
            ),
            Self::Events(names) => (
                "subscription ($env: ID!, $after: String, $filter: EventFeedFilter) {
                   feed: eventFeed(environmentId: $env, after: $after, filter: $filter) { kind cursor at event { id } } }",
                json!({ "names": names }),
            ),
        };
        let variables = json!({"env": ENVIRONMENT, "after": after, "filter": filter});
        json!({"type": "subscribe", "id": "1", "payload": {"query": query, "variables": variables}})
    }
}

/// What one has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Run and its state, or event and nothing.
    pub(crate) holds: BTreeMap<String, String>,
    /// What must never be told.
    pub(crate) wrong: Vec<String>,
    /// From a commit to here, in ms; without what was told because of a new connection.
    pub(crate) delays: Vec<u64>,
    pub(crate) connections: u64,
    pub(crate) messages: u64,
    pub(crate) resets: u64,
    cursor: Option<String>,
    /// A list has to be read before the feed goes on.
    must_list: bool,
}

/// One who watches.
pub(crate) struct Watcher {
    pub(crate) watched: Watched,
    seen: Arc<Mutex<Seen>>,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Watcher {
    /// Begins to watch as the bearer of a token through the server behind `base` (`http://…`), in a task of its own that never ends.
    /// Which message is the last of a connection follows from `number`.
    pub(crate) fn start(
        tasks: &TaskTracker,
        base: &str,
        token: &str,
        watched: Watched,
        number: u64,
    ) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (base, token) = (base.to_owned(), token.to_owned());
        let (watched_there, there) = (watched.clone(), seen.clone());
        tasks.spawn(async move {
            let mut dice = Dice::new(number);
            loop {
                if let Err(wrong) = watch(&base, &token, &watched_there, &there, &mut dice).await {
                    hold(&there).wrong.push(wrong);
                }
                sleep(PAUSE).await;
            }
        });
        Self { watched, seen }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        hold(&self.seen)
    }

    /// Whether it has heard that its feed is live.
    pub(crate) fn is_live(&self) -> bool {
        self.seen().cursor.is_some()
    }
}

fn hold(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection. Whatever breaks it is no error.
async fn watch(
    base: &str,
    token: &str,
    watched: &Watched,
    seen: &Mutex<Seen>,
    dice: &mut Dice,
) -> Result<(), String> {
    let Ok(mut socket) = open(base, token).await else {
        return Ok(());
    };
    if hold(seen).must_list {
        let Ok(listed) = list(base, watched).await else {
            return Ok(());
        };
        let mut seen = hold(seen);
        (seen.holds, seen.must_list) = (listed, false);
    }
    let after = hold(seen).cursor.clone();
    let subscription = watched.subscription(after.as_deref());
    if say(&mut socket, &subscription).await.is_none() {
        return Ok(());
    }
    let begun = Instant::now();
    hold(seen).connections += 1;
    let mut told = BTreeSet::new();
    while let Some(message) = hear(&mut socket).await {
        match message["type"].as_str() {
            Some("ping") => {
                if say(&mut socket, &json!({"type": "pong"})).await.is_none() {
                    return Ok(());
                }
            }
            Some("next") => {
                let next = &message["payload"]["data"]["feed"];
                if next.is_null() {
                    // A database that does not answer for a moment.
                    return Ok(());
                }
                let mut seen = hold(seen);
                let at = (begun.elapsed() > SETTLE).then(now_ms);
                take(&mut seen, next, at, &mut told);
                if seen.must_list {
                    return Ok(());
                }
            }
            Some("complete" | "error") | None => return Ok(()),
            Some(other) => {
                return Err(format!(
                    "`{other}` is no message of the protocol: {message}"
                ));
            }
        }
        if dice.roll(40) == 0 {
            return Ok(());
        }
    }
    Ok(())
}

fn take(seen: &mut Seen, message: &Value, at: Option<u64>, told: &mut BTreeSet<String>) {
    seen.messages += 1;
    seen.cursor = message["cursor"].as_str().map(str::to_owned);
    let kind = message["kind"].as_str().unwrap_or_default();
    let committed = message["at"].as_str().and_then(parse_ms);
    if let (Some(at), Some(committed), true) = (at, committed, kind != "READY") {
        seen.delays.push(at.saturating_sub(committed));
    }
    match kind {
        "READY" => {}
        "RESET" => {
            seen.resets += 1;
            seen.must_list = true;
        }
        "REMOVED" => {
            let id = message["removedId"].as_str().unwrap_or_default();
            seen.holds.remove(id);
        }
        _ => match (
            message["run"]["id"].as_str(),
            message["event"]["id"].as_str(),
        ) {
            (Some(id), _) => {
                let status = message["run"]["status"].as_str().unwrap_or_default();
                let before = seen.holds.insert(id.to_owned(), status.to_owned());
                if before
                    .as_deref()
                    .is_some_and(|before| !is_open(before) && before != status)
                {
                    seen.wrong
                        .push(format!("{id} went from {before:?} to {status}"));
                }
            }
            (None, Some(id)) => {
                if !told.insert(id.to_owned()) {
                    seen.wrong
                        .push(format!("{id} was told twice on one connection"));
                }
                seen.holds.insert(id.to_owned(), String::new());
            }
            (None, None) => seen.wrong.push(format!("about nothing: {message}")),
        },
    }
}

/// A server that is about to call the app for the first time says so before it is stored; the others still say `QUEUED`.
fn is_open(status: &str) -> bool {
    matches!(status, "QUEUED" | "RUNNING")
}

/// What a list holds, page by page.
///
/// # Errors
/// When it cannot be read now.
pub(crate) async fn list(
    base: &str,
    watched: &Watched,
) -> Result<BTreeMap<String, String>, String> {
    let time = json!({"from": "2020-01-01T00:00:00Z"});
    let (query, filter) = match watched {
        Watched::Runs(filter) => {
            let mut filter = filter.clone();
            filter["time"] = time;
            let query = "query ($after: String, $filter: RunFilter!) { environment {
                list: runs(first: 200, after: $after, filter: $filter) { nodes { id status } pageInfo { hasNextPage endCursor } } } }";
            (query, filter)
        }
        Watched::Events(names) => {
            let query = "query ($after: String, $filter: EventFilter!) { environment {
                list: events(first: 200, after: $after, filter: $filter) { nodes { id } pageInfo { hasNextPage endCursor } } } }";
            (query, json!({"time": time, "names": names}))
        }
    };
    let client = reqwest::Client::new();
    let mut found = BTreeMap::new();
    let mut after = Value::Null;
    loop {
        let body = json!({"query": query, "variables": {"after": after, "filter": filter}});
        let answer = client
            .post(format!("{base}/graphql"))
            .bearer_auth(SIGNING_KEY)
            .header("content-type", "application/json")
            .body(body.to_string())
            .timeout(Duration::from_secs(10))
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let page = &answer["data"]["environment"]["list"];
        let nodes = page["nodes"].as_array().ok_or_else(|| text.clone())?;
        let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        found.extend(
            nodes
                .iter()
                .map(|node| (text_of(&node["id"]), text_of(&node["status"]))),
        );
        if page["pageInfo"]["hasNextPage"] != true {
            return Ok(found);
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

async fn open(base: &str, token: &str) -> Result<Socket, ()> {
    let url = format!("{}/graphql", base.replacen("http://", "ws://", 1));
    let mut request = url.into_client_request().map_err(drop)?;
    let protocol = "graphql-transport-ws".parse().map_err(drop)?;
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol);
    let connected = timeout(SILENCE, connect_async(request)).await;
    let (mut socket, _) = connected.map_err(drop)?.map_err(drop)?;
    let payload = json!({ "authorization": format!("Bearer {token}") });
    let init = json!({"type": "connection_init", "payload": payload});
    say(&mut socket, &init).await.ok_or(())?;
    match hear(&mut socket).await {
        Some(message) if message["type"] == "connection_ack" => Ok(socket),
        _ => Err(()),
    }
}

async fn say(socket: &mut Socket, message: &Value) -> Option<()> {
    socket.send(Message::text(message.to_string())).await.ok()
}

/// The next message; none when the connection is gone or dead.
async fn hear(socket: &mut Socket) -> Option<Value> {
    loop {
        match timeout(SILENCE, socket.next()).await.ok()??.ok()? {
            Message::Text(text) => return serde_json::from_str(&text).ok(),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

fn parse_ms(text: &str) -> Option<u64> {
    let found = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    u64::try_from(found.timestamp_millis()).ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "servers tell the time of the same machine"
)]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
