//! Pauses of functions, and who did something.

use async_graphql::{Enum, SimpleObject};

use inngest_core::{
    access::{ActorKind, Author},
    pause::Pause,
};

use crate::graphql::scalars::DateTime;

/// Who did something.
#[derive(SimpleObject)]
#[graphql(name = "Actor")]
pub(crate) struct ActorObject {
    /// What sort of caller it was.
    kind: ActorKindEnum,
    /// Who that is in the words of the issuer of its token; null without a token.
    subject: Option<String>,
}

impl ActorObject {
    pub(crate) fn of(author: &Author) -> Self {
        Self {
            kind: match author.kind {
                ActorKind::Dev => ActorKindEnum::Anonymous,
                ActorKind::Token => ActorKindEnum::User,
                ActorKind::SigningKey | ActorKind::EventKey => ActorKindEnum::Key,
                ActorKind::System => ActorKindEnum::System,
            },
            subject: author.subject.as_deref().map(str::to_owned),
        }
    }
}

/// Sort of caller.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "ActorKind")]
enum ActorKindEnum {
    /// A person or a program with a token.
    User,
    /// A program with a key of the server.
    Key,
    /// Somebody in dev mode without authentication.
    Anonymous,
    /// The server itself.
    System,
}

/// Why and how a function is paused.
#[derive(SimpleObject)]
pub(crate) struct FunctionPause {
    /// Since when.
    paused_at: DateTime,
    /// By whom.
    paused_by: ActorObject,
    /// Note left by that one.
    reason: Option<String>,
    /// What happens to runs that had started.
    in_flight: PauseInFlight,
    /// What happens to new triggers.
    new_events: PauseNewEvents,
    /// When it ends by itself, null for never.
    resumes_at: Option<DateTime>,
}

impl FunctionPause {
    pub(crate) fn of(pause: &Pause) -> Self {
        Self {
            paused_at: DateTime(pause.at),
            paused_by: ActorObject::of(&pause.by),
            reason: pause.reason.clone(),
            in_flight: pause.in_flight.into(),
            new_events: pause.new_events.into(),
            resumes_at: pause.resumes_at.map(DateTime),
        }
    }
}

/// What a pause does to started runs. Runs that had not started are held, unless they are cancelled.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "inngest_core::pause::PauseInFlight")]
pub(crate) enum PauseInFlight {
    /// They go on.
    Continue,
    /// Their next step waits until the function is resumed.
    Hold,
    /// They are cancelled, and so are those that had not started.
    Cancel,
}

/// What a pause does to new triggers. Reruns are held in any case.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "inngest_core::pause::PauseNewEvents")]
pub(crate) enum PauseNewEvents {
    /// They are recorded as skipped runs, which start nothing later by themselves.
    Skip,
    /// They queue until the function is resumed.
    Hold,
}
