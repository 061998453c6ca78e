//! Who is asking, and for which organization and environment.

use crate::ids::{DEFAULT_ENV, DEFAULT_ORG, EnvId, OrgId};

/// Who asks for something. Every service function takes one first, so no caller can forget to say who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The tenant; every query is bounded by it.
    pub org: OrgId,
    /// The environment; every query is bounded by it.
    pub env: EnvId,
    /// What kind of caller this is.
    pub kind: ActorKind,
    scopes: Scopes,
}

/// The kinds of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    /// Anybody who reaches a `dev` server.
    Dev,
    /// An app, proved by a signing key.
    SigningKey,
    /// A sender of events, proved by an event key.
    EventKey,
    /// The server itself.
    System,
}

/// One thing that an actor may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// See apps, functions and syncs.
    AppsRead,
    /// Sync and remove apps.
    AppsWrite,
    /// See events.
    EventsRead,
    /// Send events.
    EventsSend,
    /// See runs and steps.
    RunsRead,
    /// Cancel, rerun, signal.
    RunsWrite,
    /// Report steps and read the state of a run, as an app does.
    Execute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scopes(u16);

impl Scopes {
    const ALL: Self = Self(u16::MAX);

    fn only(scopes: &[Scope]) -> Self {
        Self(
            scopes
                .iter()
                .fold(0, |bits, scope| bits | 1 << (*scope as u8)),
        )
    }
}

/// The actor lacks a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this credential may not do that (it lacks {0:?})")]
pub struct Denied(pub Scope);

impl Actor {
    /// Whoever reaches a server in `dev` mode: the one organization and environment, with every scope.
    pub fn dev() -> Self {
        Self {
            org: DEFAULT_ORG,
            env: DEFAULT_ENV,
            kind: ActorKind::Dev,
            scopes: Scopes::ALL,
        }
    }

    /// The server acting by itself in this environment.
    pub fn system(org: OrgId, env: EnvId) -> Self {
        Self {
            org,
            env,
            kind: ActorKind::System,
            scopes: Scopes::ALL,
        }
    }

    /// An app of this environment.
    pub fn signing_key(org: OrgId, env: EnvId) -> Self {
        Self {
            org,
            env,
            kind: ActorKind::SigningKey,
            scopes: Scopes::ALL,
        }
    }

    /// A sender of events into this environment, who may do nothing else.
    pub fn event_key(org: OrgId, env: EnvId) -> Self {
        Self {
            org,
            env,
            kind: ActorKind::EventKey,
            scopes: Scopes::only(&[Scope::EventsSend]),
        }
    }

    /// # Errors
    /// [`Denied`] when this actor lacks `scope`.
    pub fn require(&self, scope: Scope) -> Result<(), Denied> {
        if self.scopes.0 & (1 << (scope as u8)) == 0 {
            Err(Denied(scope))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_key_may_send_and_nothing_else() {
        let actor = Actor::event_key(DEFAULT_ORG, DEFAULT_ENV);
        assert_eq!(actor.require(Scope::EventsSend), Ok(()));
        for scope in [
            Scope::AppsRead,
            Scope::AppsWrite,
            Scope::EventsRead,
            Scope::RunsRead,
            Scope::RunsWrite,
            Scope::Execute,
        ] {
            assert_eq!(actor.require(scope), Err(Denied(scope)));
        }
    }
}
