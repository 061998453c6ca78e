//! Messages of live streams.

use async_graphql::{Enum, ID, Interface, SimpleObject};

use inngest_core::{run::Run, time::Timestamp};

use crate::graphql::{objects::run::RunObject, scalars::DateTime};

/// Common part of all messages of resumable feeds.
#[derive(Interface)]
#[graphql(
    field(
        name = "kind",
        ty = "&FeedMessageKind",
        desc = "What the message says."
    ),
    field(
        name = "cursor",
        ty = "&String",
        desc = "Position after this message; pass it as after to resume."
    ),
    field(name = "at", ty = "&DateTime", desc = "When the change was seen.")
)]
pub(crate) enum FeedMessage {
    Run(RunUpdate),
    RunFeed(RunFeedUpdate),
}

/// What a feed message says.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FeedMessageKind {
    /// The stream is live; cursor is the present position and nothing before it was sent.
    Ready,
    /// The object is new.
    Created,
    /// The object changed; the message carries its latest state.
    Updated,
    /// The object no longer matches or is gone.
    Removed,
    /// Changes were missed or dropped; fetch a fresh list, then go on from cursor.
    Reset,
    /// The object is final; the server completes the stream next.
    Ended,
}

/// Message of runUpdated.
#[derive(SimpleObject)]
pub(crate) struct RunUpdate {
    /// What the message says.
    kind: FeedMessageKind,
    /// Position after this message.
    cursor: String,
    /// When the change was seen.
    at: DateTime,
    /// The run.
    run: Option<RunObject>,
}

impl RunUpdate {
    pub(crate) fn new(kind: FeedMessageKind, run: Run, at: Timestamp) -> Self {
        Self {
            kind,
            cursor: position(at),
            at: DateTime(at),
            run: Some(RunObject(run)),
        }
    }
}

/// Message of runFeed.
#[derive(SimpleObject)]
pub(crate) struct RunFeedUpdate {
    /// What the message says.
    kind: FeedMessageKind,
    /// Position after this message.
    cursor: String,
    /// When the change was seen.
    at: DateTime,
    /// The run; null for READY, REMOVED and RESET.
    run: Option<RunObject>,
    /// Id of a run that no longer matches.
    removed_id: Option<ID>,
}

impl RunFeedUpdate {
    pub(crate) fn bare(kind: FeedMessageKind, at: Timestamp) -> Self {
        Self {
            kind,
            cursor: position(at),
            at: DateTime(at),
            run: None,
            removed_id: None,
        }
    }

    pub(crate) fn with_run(kind: FeedMessageKind, run: Run, at: Timestamp) -> Self {
        Self {
            run: Some(RunObject(run)),
            ..Self::bare(kind, at)
        }
    }

    pub(crate) fn removed(id: ID, at: Timestamp) -> Self {
        Self {
            removed_id: Some(id),
            ..Self::bare(FeedMessageKind::Removed, at)
        }
    }
}

/// A position in a feed. No log of changes is kept yet, so a feed that is resumed answers with RESET, and the client fetches its list
/// again; nothing is lost that way.
pub(crate) fn position(at: Timestamp) -> String {
    format!("{:x}", at.as_millis())
}
