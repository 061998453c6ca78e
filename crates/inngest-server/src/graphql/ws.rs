//! `/graphql` over a websocket: many operations on one connection.
//!
//! One task reads the socket and keeps the rules, one writes, and each operation has its own, so a busy one cannot starve another. All of
//! them end when the socket does.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, Sink, SinkExt, StreamExt};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::AbortHandle,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use inngest_core::access::Actor;
use inngest_services::{Held, Kept, Standing};

use crate::{
    graphql::{
        asking::Asking,
        document::{self, Refusal},
        http as transport, limits, operation,
        response::Answer,
        ws_protocol::{ClientMessage, Close, NAME, ServerMessage},
    },
    origin::{self, Origin},
    rest::problem::Problem,
    state::AppState,
};

/// Largest message of a client, in bytes.
const MESSAGE_BYTES: usize = 256 * 1024;
/// Time for `connection_init`.
const INIT_TIME: Duration = Duration::from_secs(10);
/// How often the server pings.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Longest silence of a client.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest time for one message to be taken by the client.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// Time for a last message to a client that takes none.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Messages waiting for the writer. Operations that wait for room get it in turn.
const WAITING: usize = 64;

/// Answers the upgrade, or refuses it before there is a socket.
pub(crate) fn upgrade(
    state: &AppState,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
    request_id: &str,
) -> Response {
    let refuse = |status, code, message: &str| {
        Problem::new(status, code, message, request_id).into_response()
    };
    if origin::judge(&state.settings, headers) == Origin::Foreign {
        return refuse(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "pages of this origin may not call this server",
        );
    }
    let upgrade = upgrade
        .protocols([NAME])
        .max_message_size(MESSAGE_BYTES)
        .max_frame_size(MESSAGE_BYTES);
    if upgrade.selected_protocol().is_none() {
        return refuse(
            StatusCode::BAD_REQUEST,
            "unknown_protocol",
            "the only sub-protocol is graphql-transport-ws",
        );
    }
    let Ok(permit) = Arc::clone(&state.sockets).try_acquire_owned() else {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_connections",
            "too many websockets are open",
        );
    };
    let tracker = state.settings.tracker.clone();
    let peer = Peer {
        state: state.clone(),
        request_id: request_id.to_owned(),
        is_browser: transport::is_browser(headers),
    };
    upgrade.on_upgrade(move |socket| tracker.track_future(run(socket, peer, permit)))
}

/// Whom a socket belongs to.
#[derive(Clone)]
struct Peer {
    state: AppState,
    request_id: String,
    is_browser: bool,
}

/// What goes to the writer.
enum Outgoing {
    Text(String),
    Close(Close),
}

impl Outgoing {
    fn into_message(self) -> Message {
        match self {
            Self::Text(text) => Message::Text(text.into()),
            Self::Close(close) => Message::Close(Some(CloseFrame {
                code: close.code(),
                reason: close.reason().into(),
            })),
        }
    }
}

async fn run(socket: WebSocket, peer: Peer, _permit: OwnedSemaphorePermit) {
    let (sink, mut incoming) = socket.split();
    let (outgoing, queue) = mpsc::channel(WAITING);
    let broken = CancellationToken::new();
    let settings = &peer.state.settings;
    let writer = settings.tracker.spawn(write(sink, queue, broken.clone()));
    let mut socket = Socket {
        stop: settings.stop.clone(),
        peer,
        outgoing,
        broken: broken.clone().drop_guard(),
        caller: None,
        running: Running::default(),
        started: 0,
    };
    let mut pings = tokio::time::interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.tick().await;
    let mut deadline = Instant::now() + INIT_TIME;
    let close = loop {
        let expiry = socket.until_expiry();
        tokio::select! {
            () = expiry => {
                socket.expire().await;
                break Some(Close::Forbidden);
            }
            () = broken.cancelled() => break None,
            () = socket.stop.cancelled() => break Some(Close::GoingAway),
            () = tokio::time::sleep_until(deadline) => break Some(Close::TimedOut),
            _ = pings.tick() => {
                if socket.caller.is_some() && !socket.send(&ServerMessage::Ping {}).await {
                    break None;
                }
            }
            message = incoming.next() => {
                let text = match message {
                    Some(Ok(Message::Text(text))) => text,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                        socket.extend(&mut deadline);
                        continue;
                    }
                    Some(Ok(Message::Binary(_))) => break Some(Close::Invalid),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                };
                if let Err(close) = socket.handle(text.as_str()).await {
                    break close;
                }
                socket.extend(&mut deadline);
            }
        }
    };
    socket.running.abort_all();
    if let Some(close) = close {
        let _ =
            tokio::time::timeout(WRITE_TIME, socket.outgoing.send(Outgoing::Close(close))).await;
    }
    // The writer ends when the last sender is gone; aborted operations drop theirs.
    let Socket {
        outgoing, broken, ..
    } = socket;
    drop(outgoing);
    let _ = tokio::time::timeout(WRITE_TIME, writer).await;
    drop(broken);
}

/// Writes until the queue or the connection ends, or the reader has taken nothing for so long that it is given up.
async fn write(
    mut sink: impl Sink<Message> + Unpin,
    mut queue: mpsc::Receiver<Outgoing>,
    broken: CancellationToken,
) {
    while let Some(outgoing) = queue.recv().await {
        let is_last = matches!(outgoing, Outgoing::Close(_));
        let message = outgoing.into_message();
        let sent = tokio::time::timeout(WRITE_TIME, sink.send(message)).await;
        if sent.is_err() {
            // It may still arrive, if the reader wakes up before the connection goes.
            let last = Outgoing::Close(Close::TimedOut).into_message();
            let _ = tokio::time::timeout(LAST_WORD, sink.send(last)).await;
        }
        if is_last || !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    broken.cancel();
    let _ = tokio::time::timeout(WRITE_TIME, sink.close()).await;
}

/// Operations that are running, by the client's id. The number tells an operation from a later one under the same id.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<Operations>>);

type Operations = HashMap<String, (u64, AbortHandle)>;

impl Running {
    fn lock(&self) -> std::sync::MutexGuard<'_, Operations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets an operation; true when it was still known.
    fn finish(&self, id: &str, number: u64) -> bool {
        let mut running = self.lock();
        let is_same = running.get(id).is_some_and(|(found, _)| *found == number);
        if is_same {
            running.remove(id);
        }
        is_same
    }

    fn abort(&self, id: &str) {
        if let Some((_, handle)) = self.lock().remove(id) {
            handle.abort();
        }
    }

    fn abort_all(&self) {
        for (_, (_, handle)) in self.lock().drain() {
            handle.abort();
        }
    }
}

/// Who speaks on a socket.
struct Caller {
    /// The actor that the last credential stands for; running operations follow it.
    actor: watch::Sender<Actor>,
    standing: Standing,
    _held: Held,
}

struct Socket {
    peer: Peer,
    stop: CancellationToken,
    outgoing: mpsc::Sender<Outgoing>,
    broken: DropGuard,
    /// Set by `connection_init`.
    caller: Option<Caller>,
    running: Running,
    started: u64,
}

impl Socket {
    /// A sign of life moves the deadline, but before the acknowledgement only `connection_init` counts.
    fn extend(&self, deadline: &mut Instant) {
        if self.caller.is_some() {
            *deadline = Instant::now() + SILENCE;
        }
    }

    /// False when the writer is gone.
    async fn send(&self, message: &ServerMessage<'_>) -> bool {
        self.outgoing
            .send(Outgoing::Text(message.text()))
            .await
            .is_ok()
    }

    /// One message of the client. The error says how to end the connection; `None` inside it means that it has ended already.
    async fn handle(&mut self, text: &str) -> Result<(), Option<Close>> {
        let message: ClientMessage =
            serde_json::from_str(text).map_err(|_| Some(Close::Invalid))?;
        let alive = match message {
            ClientMessage::ConnectionInit { payload } => self.init(payload.as_ref()).await?,
            ClientMessage::Ping { payload } => {
                self.renew(payload.as_ref()).await?;
                self.send(&ServerMessage::Pong {}).await
            }
            ClientMessage::Pong {} => true,
            ClientMessage::Complete { id } => {
                self.running.abort(&id);
                true
            }
            ClientMessage::Subscribe { id, payload } => {
                self.subscribe(id, payload)?;
                true
            }
        };
        if alive { Ok(()) } else { Err(None) }
    }

    /// Waits until the credential of the connection has ended.
    fn until_expiry(&self) -> impl Future<Output = ()> + use<> {
        let now = self.peer.state.services.clock().now();
        let left = self
            .caller
            .as_ref()
            .and_then(|caller| caller.actor.borrow().expires_at)
            .map(|at| at.since(now));
        async move {
            match left {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        }
    }

    /// The credential has ended: every operation is told.
    async fn expire(&self) {
        let running: Vec<String> = self.running.lock().keys().cloned().collect();
        self.running.abort_all();
        let refusal = Refusal::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHENTICATED",
            "the credential has expired; sign in again and go on from the last cursor",
        );
        let answer = Answer::refusal(refusal, &self.peer.request_id);
        let tell = async {
            for id in &running {
                let payload = &answer.errors;
                if !self.send(&ServerMessage::Error { id, payload }).await {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(WRITE_TIME, tell).await;
    }

    async fn init(&mut self, payload: Option<&Value>) -> Result<bool, Option<Close>> {
        if self.caller.is_some() {
            return Err(Some(Close::SecondInit));
        }
        let text = |name: &str| {
            let value = payload.and_then(|payload| payload.get(name));
            value.and_then(Value::as_str)
        };
        let auth = self.peer.state.services.auth();
        let actor = auth
            .bearer(text("authorization"), text("environment"))
            .await
            .map_err(|_| Some(Close::Forbidden))?;
        let expires_at = actor.expires_at.map(|at| at.to_rfc3339());
        let budgets = self.peer.state.services.budgets();
        let held = budgets
            .hold(Kept::Socket, &actor)
            .ok_or(Some(Close::TooManySockets))?;
        let (actor, standing) = Standing::renewable(actor);
        self.caller = Some(Caller {
            actor,
            standing,
            _held: held,
        });
        let version = self.peer.state.services.health().await.version;
        let payload = json!({"server": version, "expiresAt": expires_at, "maxOperations": limits::OPERATIONS_PER_SOCKET});
        Ok(self.send(&ServerMessage::ConnectionAck { payload }).await)
    }

    /// A ping may carry a new credential, for the same tenant.
    async fn renew(&mut self, payload: Option<&Value>) -> Result<(), Option<Close>> {
        let Some(authorization) = payload
            .and_then(|payload| payload.get("authorization"))
            .and_then(Value::as_str)
        else {
            return Ok(());
        };
        let Some(caller) = &self.caller else {
            return Ok(());
        };
        let actor = caller.actor.borrow().clone();
        let environment = actor.env.to_string();
        let renewed = self
            .peer
            .state
            .services
            .auth()
            .bearer(Some(authorization), Some(&environment))
            .await
            .map_err(|_| Some(Close::Forbidden))?;
        let whose = |actor: &Actor| (actor.principal(), actor.env);
        if whose(&renewed) != whose(&actor) {
            return Err(Some(Close::Forbidden));
        }
        caller.actor.send_replace(renewed);
        Ok(())
    }

    fn subscribe(&mut self, id: String, payload: Value) -> Result<(), Option<Close>> {
        let caller = self.caller.as_ref().ok_or(Some(Close::Unauthorized))?;
        let mut running = self.running.lock();
        if running.contains_key(&id) {
            return Err(Some(Close::DuplicateId));
        }
        if running.len() >= limits::OPERATIONS_PER_SOCKET {
            return Err(Some(Close::TooMany));
        }
        self.started += 1;
        let operation = Operation {
            id: id.clone(),
            number: self.started,
            peer: self.peer.clone(),
            asking: Asking {
                services: self.peer.state.services.clone(),
                actor: caller.actor.borrow().clone(),
                standing: caller.standing.clone(),
                request_id: format!("{}.{}", self.peer.request_id, self.started),
            },
            outgoing: self.outgoing.clone(),
            running: self.running.clone(),
        };
        // The lock is held until the handle is in place, so the operation cannot finish before it is known.
        let handle = self
            .peer
            .state
            .settings
            .tracker
            .spawn(operation.run(payload))
            .abort_handle();
        running.insert(id, (self.started, handle));
        Ok(())
    }
}

/// One operation of a client.
struct Operation {
    id: String,
    number: u64,
    peer: Peer,
    asking: Asking,
    outgoing: mpsc::Sender<Outgoing>,
    running: Running,
}

impl Operation {
    async fn run(self, payload: Value) {
        let outcome = AssertUnwindSafe(self.execute(payload)).catch_unwind().await;
        let refusal = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(answer)) => Some(answer),
            Err(_) => {
                tracing::error!(
                    request.id = self.asking.request_id,
                    "an operation on a websocket panicked"
                );
                let message =
                    "something went wrong on our side; the request id names the log entry";
                Some(self.refused(Refusal::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "INTERNAL",
                    message,
                )))
            }
        };
        // Forgotten first, so that the client may use the id again as soon as it reads the last message.
        if !self.running.finish(&self.id, self.number) {
            return;
        }
        let last = match &refusal {
            Some(answer) => ServerMessage::Error {
                id: &self.id,
                payload: &answer.errors,
            },
            None => ServerMessage::Complete { id: &self.id },
        };
        let _ = self.outgoing.send(Outgoing::Text(last.text())).await;
    }

    fn refused(&self, refusal: Refusal) -> Answer {
        Answer::refusal(refusal, &self.asking.request_id)
    }

    /// The error is an answer that goes out as `error` instead of `complete`.
    async fn execute(&self, payload: Value) -> Result<(), Answer> {
        let documents = &self.peer.state.settings.documents;
        let refused = |refusal| self.refused(refusal);
        let _held = operation::enter(&self.peer.state, &self.asking).map_err(refused)?;
        let prepared = document::parameters(payload)
            .and_then(|parameters| documents.resolve(parameters, self.peer.is_browser))
            .and_then(document::prepare)
            .map_err(refused)?;
        let answers = operation::answers(&self.peer.state, prepared, self.asking.clone());
        let mut answers = std::pin::pin!(answers);
        while let Some(answer) = answers.next().await {
            if answer.is_refusal() {
                return Err(answer);
            }
            let message = ServerMessage::Next {
                id: &self.id,
                payload: &answer,
            };
            let text = Outgoing::Text(message.text());
            if self.outgoing.send(text).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::sync::Notify;

    use super::*;

    /// A message to somebody who takes nothing until `wakes`; what was taken, and whether the connection was given up.
    async fn written_to(wakes: Option<Duration>) -> (Vec<Message>, bool) {
        let (awake, taken) = (&Notify::new(), &Mutex::new(Vec::new()));
        let take = |(), message| async move {
            awake.notified().await;
            awake.notify_one();
            taken.lock().unwrap().push(message);
            Ok::<_, Infallible>(())
        };
        let sink = Box::pin(futures_util::sink::unfold((), take));
        let (outgoing, queue) = mpsc::channel(1);
        let broken = CancellationToken::new();
        outgoing
            .send(Outgoing::Text("news".to_owned()))
            .await
            .unwrap();
        let waking = async {
            if let Some(wakes) = wakes {
                tokio::time::sleep(wakes).await;
                awake.notify_one();
            }
            // Nothing more is to be written to somebody who reads.
            drop(outgoing);
        };
        tokio::join!(write(sink, queue, broken.clone()), waking);
        let taken = taken.lock().unwrap().clone();
        (taken, broken.is_cancelled())
    }

    #[tokio::test(start_paused = true)]
    async fn reader_that_takes_nothing_for_half_a_minute_is_given_up() {
        let news = Message::Text("news".into());
        let late = Outgoing::Close(Close::TimedOut).into_message();
        let Message::Close(Some(frame)) = &late else {
            panic!("it is the end");
        };
        assert_eq!(frame.code, 4408);
        let before = WRITE_TIME - Duration::from_millis(1);
        let after = WRITE_TIME + Duration::from_millis(1);
        for (wakes, taken) in [
            (Some(before), vec![news.clone()]),
            (Some(after), vec![news, late]),
            (None, vec![]),
        ] {
            let began = Instant::now();
            assert_eq!(written_to(wakes).await, (taken, true), "{wakes:?}");
            assert!(began.elapsed() >= before, "{wakes:?}");
        }
    }
}
