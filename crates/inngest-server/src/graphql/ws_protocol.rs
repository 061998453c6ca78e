//! Messages of the protocol `graphql-transport-ws`, and the codes with which a socket is closed.

use async_graphql::ServerError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::graphql::response::Answer;

/// Name of the sub-protocol.
pub(crate) const NAME: &str = "graphql-transport-ws";

/// What a client sends.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ClientMessage {
    ConnectionInit {
        #[serde(default)]
        payload: Option<Value>,
    },
    Ping {
        #[serde(default)]
        payload: Option<Value>,
    },
    Pong {},
    Subscribe {
        id: String,
        payload: Value,
    },
    Complete {
        id: String,
    },
}

/// What the server sends.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ServerMessage<'a> {
    ConnectionAck {
        payload: Value,
    },
    Ping {},
    Pong {},
    Next {
        id: &'a str,
        payload: &'a Answer,
    },
    Error {
        id: &'a str,
        payload: &'a [ServerError],
    },
    Complete {
        id: &'a str,
    },
}

impl ServerMessage<'_> {
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("messages hold only JSON values")
    }
}

/// Why the server closes a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The server stops.
    GoingAway,
    /// Not a message of the protocol.
    Invalid,
    /// An operation before the acknowledgement.
    Unauthorized,
    /// No credential, or a worthless one.
    Forbidden,
    /// Silence, or a reader that does not read.
    TimedOut,
    /// An id that is in use.
    DuplicateId,
    /// A second initialisation.
    SecondInit,
    /// More operations than allowed.
    TooMany,
    /// More connections than allowed.
    TooManySockets,
}

impl Close {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Invalid => 4400,
            Self::Unauthorized => 4401,
            Self::Forbidden => 4403,
            Self::TimedOut => 4408,
            Self::DuplicateId => 4409,
            Self::SecondInit | Self::TooMany | Self::TooManySockets => 4429,
        }
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::GoingAway => "the server is stopping",
            Self::Invalid => "not a message of this protocol",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::TimedOut => "the connection was silent for too long",
            Self::DuplicateId => "an operation with this id is running",
            Self::SecondInit => "Too many initialisation requests",
            Self::TooMany => "too many operations on one connection",
            Self::TooManySockets => "too many connections of one caller",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_protocol_are_read_and_others_are_not() {
        for good in [
            r#"{"type":"connection_init"}"#,
            r#"{"type":"connection_init","payload":null}"#,
            r#"{"type":"ping","payload":{"a":1}}"#,
            r#"{"type":"pong","payload":{}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"{ a }"}}"#,
            r#"{"type":"complete","id":"1"}"#,
        ] {
            assert!(
                serde_json::from_str::<ClientMessage>(good).is_ok(),
                "{good}"
            );
        }
        for bad in [
            r#"{"type":"start","id":"1"}"#,
            r#"{"type":"subscribe","payload":{}}"#,
            r#"{"type":"complete"}"#,
            "[]",
            "x",
        ] {
            assert!(serde_json::from_str::<ClientMessage>(bad).is_err(), "{bad}");
        }
        assert_eq!(
            ServerMessage::Complete { id: "1" }.text(),
            r#"{"type":"complete","id":"1"}"#
        );
    }
}
