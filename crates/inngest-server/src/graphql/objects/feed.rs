//! Messages of live streams.

use async_graphql::{Enum, ID, Interface, SimpleObject};

use inngest_services::{AppNews, EventNews, PartNews, RunNews, Update};

use crate::graphql::{
    ids::GlobalId,
    objects::{
        app::AppObject,
        event::EventObject,
        function::FunctionObject,
        run::RunObject,
        step::StepObject,
        trace::{self, TraceSpanObject},
    },
    scalars::DateTime,
};

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
    field(name = "at", ty = "&DateTime", desc = "When the change was committed.")
)]
pub(crate) enum FeedMessage {
    Run(RunUpdate),
    RunFeed(RunFeedUpdate),
    RunTrace(RunTraceUpdate),
    EventFeed(EventFeedUpdate),
    AppFeed(AppFeedUpdate),
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
    /// When the change was committed.
    at: DateTime,
    /// The run.
    run: Option<RunObject>,
}

/// Message of runFeed.
#[derive(SimpleObject)]
pub(crate) struct RunFeedUpdate {
    /// What the message says.
    kind: FeedMessageKind,
    /// Position after this message.
    cursor: String,
    /// When the change was committed.
    at: DateTime,
    /// The run; null for READY, REMOVED and RESET.
    run: Option<RunObject>,
    /// Id of a run that no longer matches.
    removed_id: Option<ID>,
}

/// Message of runTraceFeed.
#[derive(SimpleObject)]
pub(crate) struct RunTraceUpdate {
    /// What the message says.
    kind: FeedMessageKind,
    /// Position after this message.
    cursor: String,
    /// When the change was committed.
    at: DateTime,
    /// The run, when it changed too.
    run: Option<RunObject>,
    /// Steps that are new or changed.
    steps: Vec<StepObject>,
    /// Spans of these steps, and of the run itself when it changed; a span may be told again without a change.
    spans: Vec<TraceSpanObject>,
}

/// Message of eventFeed.
#[derive(SimpleObject)]
pub(crate) struct EventFeedUpdate {
    /// What the message says.
    kind: FeedMessageKind,
    /// Position after this message.
    cursor: String,
    /// When the change was committed.
    at: DateTime,
    /// The event; null for READY and RESET.
    event: Option<EventObject>,
}

/// Message of appFeed.
#[derive(SimpleObject)]
pub(crate) struct AppFeedUpdate {
    /// What the message says.
    kind: FeedMessageKind,
    /// Position after this message.
    cursor: String,
    /// When the change was committed.
    at: DateTime,
    /// The app, when it is new or has changed; UPDATED also when one comes back that was removed.
    app: Option<AppObject>,
    /// The function, when it is new or has changed, or when its pause has.
    function: Option<FunctionObject>,
    /// Id of an app or function that is gone.
    removed_id: Option<ID>,
}

impl From<Update<AppNews>> for AppFeedUpdate {
    fn from(update: Update<AppNews>) -> Self {
        let message = |kind| Self {
            kind,
            cursor: update.cursor.to_string(),
            at: DateTime(update.at),
            app: None,
            function: None,
            removed_id: None,
        };
        let told = |is_new| match is_new {
            true => FeedMessageKind::Created,
            false => FeedMessageKind::Updated,
        };
        let removed = |id: ID| Self {
            removed_id: Some(id),
            ..message(FeedMessageKind::Removed)
        };
        match update.news {
            AppNews::Ready => message(FeedMessageKind::Ready),
            AppNews::App(app, is_new) => Self {
                app: Some(AppObject(*app)),
                ..message(told(is_new))
            },
            AppNews::Function(function, is_new) => Self {
                function: Some(FunctionObject(*function)),
                ..message(told(is_new))
            },
            AppNews::AppRemoved(id) => removed(id.global()),
            AppNews::FunctionRemoved(id) => removed(id.global()),
            AppNews::Reset => message(FeedMessageKind::Reset),
        }
    }
}

impl From<Update<RunNews>> for RunFeedUpdate {
    fn from(update: Update<RunNews>) -> Self {
        let (kind, run, removed) = match update.news {
            RunNews::Ready => (FeedMessageKind::Ready, None, None),
            RunNews::Created(run) => (FeedMessageKind::Created, Some(run), None),
            RunNews::Updated(run) => (FeedMessageKind::Updated, Some(run), None),
            RunNews::Removed(id) => (FeedMessageKind::Removed, None, Some(id)),
            RunNews::Ended(run) => (FeedMessageKind::Ended, Some(run), None),
            RunNews::Reset => (FeedMessageKind::Reset, None, None),
        };
        Self {
            kind,
            cursor: update.cursor.to_string(),
            at: DateTime(update.at),
            run: run.map(RunObject),
            removed_id: removed.map(|id| id.global()),
        }
    }
}

impl From<Update<RunNews>> for RunUpdate {
    fn from(update: Update<RunNews>) -> Self {
        let RunFeedUpdate {
            kind,
            cursor,
            at,
            run,
            ..
        } = update.into();
        Self {
            kind,
            cursor,
            at,
            run,
        }
    }
}

impl From<Update<PartNews>> for RunTraceUpdate {
    fn from(update: Update<PartNews>) -> Self {
        let (kind, run, steps, trace) = match update.news {
            PartNews::Ready => (FeedMessageKind::Ready, None, Vec::new(), None),
            PartNews::Updated { run, steps, trace } => {
                (FeedMessageKind::Updated, run, steps, trace)
            }
            PartNews::Reset => (FeedMessageKind::Reset, None, Vec::new(), None),
        };
        Self {
            kind,
            cursor: update.cursor.to_string(),
            at: DateTime(update.at),
            run: run.map(|run| RunObject(*run)),
            steps: steps.into_iter().map(StepObject).collect(),
            spans: trace.as_deref().map(trace::spans).unwrap_or_default(),
        }
    }
}

impl From<Update<EventNews>> for EventFeedUpdate {
    fn from(update: Update<EventNews>) -> Self {
        let (kind, event) = match update.news {
            EventNews::Ready => (FeedMessageKind::Ready, None),
            EventNews::Created(event) => (FeedMessageKind::Created, Some(event)),
            EventNews::Reset => (FeedMessageKind::Reset, None),
        };
        Self {
            kind,
            cursor: update.cursor.to_string(),
            at: DateTime(update.at),
            event: event.map(EventObject),
        }
    }
}
