//! One subscription over `graphql-transport-ws`. A connection that breaks is made again, and the feed goes on from the last cursor.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{SinkExt, StreamExt};
use rand::Rng;
use reqwest::{StatusCode, Upgraded};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::client::{
    connection::Server,
    documents::Document,
    failure::{Exit, Failure},
};

/// Longest silence of a server, which pings every 20 s.
const SILENCE: Duration = Duration::from_secs(60);
/// Pause before the second try to connect; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Largest message that is read, in bytes.
const MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// The id of the only operation on a connection.
const ID: &str = "1";

type Socket = WebSocketStream<Upgraded>;

/// What became of reading one message.
enum Read {
    /// `data` of the subscription.
    Next(Value),
    /// Nothing for the reader.
    Nothing,
    /// The subscription is over.
    Complete,
    /// The connection is gone, for this reason.
    Lost(String),
}

/// Why there is no connection.
enum Broken {
    /// It may work later.
    ForNow(Failure),
    /// It will not.
    ForGood(Failure),
}

/// A running subscription.
pub(crate) struct Feed<'a> {
    server: &'a Server,
    document: Document,
    variables: Value,
    socket: Option<Socket>,
    /// Since when there is no connection; nobody waits for the first one.
    lost_at: Option<Instant>,
    tries: u32,
}

impl<'a> Feed<'a> {
    /// Connects and subscribes. The document has one root field with a `cursor`, and a variable `after`.
    ///
    /// # Errors
    /// What stands against it; the first connection is tried once.
    pub(crate) async fn open(
        server: &'a Server,
        document: Document,
        variables: Value,
    ) -> Result<Self, Failure> {
        let mut feed = Self {
            server,
            document,
            variables,
            socket: None,
            lost_at: None,
            tries: 0,
        };
        match feed.connect().await {
            Ok(socket) => feed.socket = Some(socket),
            Err(Broken::ForNow(failure) | Broken::ForGood(failure)) => return Err(failure),
        }
        Ok(feed)
    }

    /// The next message of the root field; none when the subscription has completed.
    ///
    /// # Errors
    /// What ended it. A broken connection is an error only after the server's timeout.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, Failure> {
        loop {
            let Some(mut socket) = self.socket.take() else {
                self.reconnect().await?;
                continue;
            };
            match read(&mut socket).await? {
                Read::Next(data) => {
                    self.socket = Some(socket);
                    (self.lost_at, self.tries) = (None, 0);
                    let message = data.as_object().and_then(|data| data.values().next());
                    let message = message.cloned().unwrap_or_default();
                    if let Some(cursor) = message["cursor"].as_str() {
                        self.variables["after"] = cursor.into();
                    }
                    return Ok(Some(message));
                }
                Read::Nothing => self.socket = Some(socket),
                Read::Complete => {
                    // A courtesy; the server does well without it.
                    let _ = timeout(Duration::from_secs(1), socket.close(None)).await;
                    return Ok(None);
                }
                Read::Lost(reason) => {
                    tracing::warn!("the connection is lost ({reason}); connecting again");
                    self.lost_at.get_or_insert_with(Instant::now);
                }
            }
        }
    }

    /// One try to connect again, after a pause.
    async fn reconnect(&mut self) -> Result<(), Failure> {
        let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
        if self.tries > 0 {
            tokio::time::sleep(pause(self.tries, rand::rng().random_range(0.5..1.0))).await;
        }
        self.tries += 1;
        match self.connect().await {
            Ok(socket) => self.socket = Some(socket),
            Err(Broken::ForGood(failure)) => return Err(failure),
            Err(Broken::ForNow(failure)) => {
                tracing::debug!(tries = self.tries, "not connected: {failure}");
                if lost_at.elapsed() >= self.server.timeout {
                    let seconds = self.server.timeout.as_secs();
                    let message = format!("gave up after {seconds} s: {failure}");
                    return Err(Failure::new(Exit::Unreachable, message));
                }
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Socket, Broken> {
        let patience = self.server.timeout;
        let connected = timeout(patience, async {
            let mut socket = self.upgrade().await?;
            self.initialise(&mut socket).await?;
            Ok(socket)
        });
        connected.await.unwrap_or_else(|_| {
            let message = format!("{} did not answer in time", self.server.url);
            Err(Broken::ForNow(Failure::new(Exit::Unreachable, message)))
        })
    }

    /// Turns an HTTP request into a websocket, so that TLS and proxies are those of every other request.
    async fn upgrade(&self) -> Result<Socket, Broken> {
        let server = self.server;
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        let response = server
            .http1()
            .map_err(Broken::ForGood)?
            .get(server.url.clone())
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", &key)
            .header("sec-websocket-protocol", "graphql-transport-ws")
            .send()
            .await
            .map_err(|error| Broken::ForNow(server.unreachable(&error)))?;
        let status = response.status();
        let accepts = |name: &str, value: &str| {
            let found = response.headers().get(name);
            found.is_some_and(|found| found.as_bytes() == value.as_bytes())
        };
        let is_ours = accepts("sec-websocket-accept", &derive_accept_key(key.as_bytes()))
            && accepts("sec-websocket-protocol", "graphql-transport-ws");
        if status != StatusCode::SWITCHING_PROTOCOLS || !is_ours {
            let failure = server.foreign(status);
            return Err(match failure.exit {
                Exit::Unreachable => Broken::ForNow(failure),
                _ => Broken::ForGood(failure),
            });
        }
        let upgraded = response
            .upgrade()
            .await
            .map_err(|error| Broken::ForNow(server.unreachable(&error)))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES))
            .max_frame_size(Some(MESSAGE_BYTES));
        Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
    }

    async fn initialise(&self, socket: &mut Socket) -> Result<(), Broken> {
        let server = self.server;
        let mut credential = json!({});
        if let Some(token) = &server.token {
            credential["authorization"] = format!("Bearer {}", token.expose()).into();
        }
        if let Some(environment) = &server.environment {
            credential["environment"] = environment.as_str().into();
        }
        send(
            socket,
            &json!({"type": "connection_init", "payload": credential}),
        )
        .await?;
        // Everything before the acknowledgement is a ping, which `read` answers.
        loop {
            let message = socket.next().await;
            match message {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap_or_default();
                    match message["type"].as_str() {
                        Some("connection_ack") => break,
                        Some("ping") => send(socket, &json!({"type": "pong"})).await?,
                        _ => {}
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.as_ref().map_or(1005, |frame| frame.code.into());
                    return Err(closed(code).map_or_else(
                        || Broken::ForNow(lost(format!("closed with {code}"))),
                        Broken::ForGood,
                    ));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Broken::ForNow(lost(error.to_string()))),
                None => return Err(Broken::ForNow(lost("closed".to_owned()))),
            }
        }
        let payload = json!({"query": self.document.text, "variables": self.variables});
        send(
            socket,
            &json!({"type": "subscribe", "id": ID, "payload": payload}),
        )
        .await?;
        tracing::debug!("subscribed to {}", self.document.name);
        Ok(())
    }
}

fn lost(reason: String) -> Failure {
    Failure::new(
        Exit::Unreachable,
        format!("the connection is lost: {reason}"),
    )
}

async fn send(socket: &mut Socket, message: &Value) -> Result<(), Broken> {
    let sent = socket.send(Message::text(message.to_string())).await;
    sent.map_err(|error| Broken::ForNow(lost(error.to_string())))
}

/// One message. An error is the server's own, and final.
async fn read(socket: &mut Socket) -> Result<Read, Failure> {
    let text = match timeout(SILENCE, socket.next()).await {
        Err(_) => return Ok(Read::Lost("the server is silent".to_owned())),
        Ok(None) => return Ok(Read::Lost("closed".to_owned())),
        Ok(Some(Err(error))) => return Ok(Read::Lost(error.to_string())),
        Ok(Some(Ok(Message::Text(text)))) => text,
        Ok(Some(Ok(Message::Close(frame)))) => {
            let code = frame.as_ref().map_or(1005, |frame| frame.code.into());
            return match closed(code) {
                Some(failure) => Err(failure),
                None => Ok(Read::Lost(format!("closed with {code}"))),
            };
        }
        Ok(Some(Ok(_))) => return Ok(Read::Nothing),
    };
    let mut message: Value = serde_json::from_str(&text).unwrap_or_default();
    match message["type"].as_str() {
        Some("next") => {
            let errors = &message["payload"]["errors"];
            if errors.as_array().is_some_and(|errors| !errors.is_empty()) {
                return Err(Failure::of_response(errors));
            }
            Ok(Read::Next(message["payload"]["data"].take()))
        }
        Some("error") => Err(Failure::of_response(&message["payload"])),
        Some("complete") => Ok(Read::Complete),
        Some("ping") => {
            let pong = Message::text(json!({"type": "pong"}).to_string());
            Ok(match socket.send(pong).await {
                Ok(()) => Read::Nothing,
                Err(error) => Read::Lost(error.to_string()),
            })
        }
        _ => Ok(Read::Nothing),
    }
}

/// Why a connection was closed for good; none when it is worth another try.
fn closed(code: u16) -> Option<Failure> {
    match code {
        4401 | 4403 => Some(Failure::new(
            Exit::Refused,
            "the server refuses the credential, or it has expired; give a token with --token, INNGEST_TOKEN or INNGEST_TOKEN_FILE",
        )),
        // Silence for too long, too many operations: both pass.
        4408 | 4429 => None,
        4000..=4999 => Some(Failure::new(
            Exit::Failed,
            format!("the server closed the connection with {code}"),
        )),
        _ => None,
    }
}

/// The pause before a try; `share` between a half and one spreads many clients of one server.
fn pause(tries: u32, share: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1_u32 << tries.saturating_sub(1).min(10));
    doubled.min(LONGEST_PAUSE).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        assert_eq!(pause(1, 1.0), FIRST_PAUSE);
        assert_eq!(pause(3, 1.0), FIRST_PAUSE * 4);
        assert_eq!(pause(60, 1.0), LONGEST_PAUSE);
        assert_eq!(pause(60, 0.5), LONGEST_PAUSE / 2);
    }

    #[test]
    fn only_some_closings_are_final() {
        for code in [1000, 1001, 1005, 1006, 1011, 4408] {
            assert!(closed(code).is_none(), "{code}");
        }
        assert_eq!(
            closed(4403).map(|failure| failure.exit),
            Some(Exit::Refused)
        );
        assert_eq!(closed(4400).map(|failure| failure.exit), Some(Exit::Failed));
    }
}
