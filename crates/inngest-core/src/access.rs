//! Who is asking, and for which organization and environment.

use std::sync::Arc;

use crate::{
    ids::{DEFAULT_ENV, DEFAULT_ORG, EnvId, OrgId},
    time::Timestamp,
};

/// Who asks for something. Every service function takes one first, so no caller can forget to say who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The tenant; every query is bounded by it.
    pub org: OrgId,
    /// The environment; every query is bounded by it.
    pub env: EnvId,
    /// What kind of caller this is.
    pub kind: ActorKind,
    /// When the credential ends; none for one that does not.
    pub expires_at: Option<Timestamp>,
    /// The role that a token gives; none for the other kinds of caller.
    pub role: Option<Role>,
    /// Who that is in the words of the issuer (`sub`); none for callers that a key or nothing at all proves.
    pub subject: Option<Arc<str>>,
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
    /// A person or a program, proved by a token.
    Token,
}

impl ActorKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Dev,
        Self::SigningKey,
        Self::EventKey,
        Self::System,
        Self::Token,
    ];

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::SigningKey => "signing-key",
            Self::EventKey => "event-key",
            Self::System => "system",
            Self::Token => "token",
        }
    }
}

/// Who did something, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// What kind of caller it was.
    pub kind: ActorKind,
    /// See [`Actor::subject`].
    pub subject: Option<Arc<str>>,
}

impl Author {
    /// The server itself.
    pub fn system() -> Self {
        Self {
            kind: ActorKind::System,
            subject: None,
        }
    }

    /// The stored form.
    pub fn to_text(&self) -> String {
        match &self.subject {
            Some(subject) => format!("{}:{subject}", self.kind.as_str()),
            None => self.kind.as_str().to_owned(),
        }
    }

    /// Reads the stored form; none when it is not one of this version's.
    pub fn from_text(text: &str) -> Option<Self> {
        let (word, subject) = match text.split_once(':') {
            Some((word, subject)) => (word, Some(subject.into())),
            None => (text, None),
        };
        let kind = ActorKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)?;
        Some(Self { kind, subject })
    }
}

/// What the bearer of a token may do; each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// Sends events, starts, cancels and reruns runs, pauses functions.
    Member,
    /// Adds and removes apps.
    Admin,
    /// Whatever there is.
    Owner,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Member, Self::Admin, Self::Owner];

    /// The word in tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The role of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Viewer => &[
                Scope::AppsRead,
                Scope::EventsRead,
                Scope::RunsRead,
                Scope::MetricsRead,
            ],
            Self::Member => &[
                Scope::AppsRead,
                Scope::EventsRead,
                Scope::RunsRead,
                Scope::MetricsRead,
                Scope::EventsSend,
                Scope::RunsWrite,
                Scope::FunctionsWrite,
            ],
            // Reporting steps is for apps alone.
            Self::Admin | Self::Owner => &[
                Scope::AppsRead,
                Scope::EventsRead,
                Scope::RunsRead,
                Scope::MetricsRead,
                Scope::EventsSend,
                Scope::RunsWrite,
                Scope::FunctionsWrite,
                Scope::AppsWrite,
            ],
        }
    }
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
    /// See figures over time.
    MetricsRead,
    /// Pause and resume functions.
    FunctionsWrite,
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
            expires_at: None,
            role: None,
            subject: None,
            scopes: Scopes::ALL,
        }
    }

    /// The server acting by itself in this environment.
    pub fn system(org: OrgId, env: EnvId) -> Self {
        Self {
            org,
            env,
            kind: ActorKind::System,
            expires_at: None,
            role: None,
            subject: None,
            scopes: Scopes::ALL,
        }
    }

    /// An app of this environment.
    pub fn signing_key(org: OrgId, env: EnvId) -> Self {
        Self {
            org,
            env,
            kind: ActorKind::SigningKey,
            expires_at: None,
            role: None,
            subject: None,
            scopes: Scopes::ALL,
        }
    }

    /// A sender of events into this environment, who may do nothing else.
    pub fn event_key(org: OrgId, env: EnvId) -> Self {
        Self {
            org,
            env,
            kind: ActorKind::EventKey,
            expires_at: None,
            role: None,
            subject: None,
            scopes: Scopes::only(&[Scope::EventsSend]),
        }
    }

    /// The bearer of a token for this environment, until it ends.
    pub fn token(org: OrgId, env: EnvId, role: Role, expires_at: Timestamp) -> Self {
        Self {
            org,
            env,
            kind: ActorKind::Token,
            expires_at: Some(expires_at),
            role: Some(role),
            subject: None,
            scopes: Scopes::only(role.scopes()),
        }
    }

    /// The same actor with the name that its credential gives it.
    #[must_use]
    pub fn named(self, subject: &str) -> Self {
        Self {
            subject: Some(subject.into()),
            ..self
        }
    }

    /// Whose doings are counted together, whichever environment they concern: the subject of an organization, or the kind of key.
    pub fn principal(&self) -> String {
        let kind = self.kind.as_str();
        match &self.subject {
            Some(subject) => format!("{}:{kind}:{subject}", self.org),
            None => format!("{}:{kind}:", self.org),
        }
    }

    /// Who this is, to be remembered.
    pub fn author(&self) -> Author {
        Author {
            kind: self.kind,
            subject: self.subject.clone(),
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
    fn each_role_may_what_the_one_before_it_may_and_none_may_act_as_an_app() {
        let mut before: Vec<Scope> = Vec::new();
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            let actor = Actor::token(DEFAULT_ORG, DEFAULT_ENV, role, Timestamp::MAX);
            assert!(before.iter().all(|scope| actor.require(*scope).is_ok()));
            assert!(actor.require(Scope::Execute).is_err());
            before = role.scopes().to_vec();
        }
        assert_eq!(Role::parse("root"), None);
    }

    #[test]
    fn tokens_of_one_subject_are_one_principal_and_those_of_two_organizations_are_not() {
        let token = |org, subject| {
            Actor::token(org, DEFAULT_ENV, Role::Viewer, Timestamp::MAX).named(subject)
        };
        let other = OrgId::from_raw(uuid::Uuid::from_u128(7));
        let one = token(DEFAULT_ORG, "ada").principal();
        let mut later = token(DEFAULT_ORG, "ada");
        later.expires_at = Some(Timestamp::default());
        assert_eq!(later.principal(), one);
        assert_ne!(token(DEFAULT_ORG, "bob").principal(), one);
        assert_ne!(token(other, "ada").principal(), one);
        let key = Actor::signing_key(DEFAULT_ORG, DEFAULT_ENV).principal();
        assert_ne!(Actor::event_key(DEFAULT_ORG, DEFAULT_ENV).principal(), key);
    }

    #[test]
    fn authors_survive_their_stored_form() {
        let person = Actor::token(DEFAULT_ORG, DEFAULT_ENV, Role::Member, Timestamp::MAX);
        for author in [
            Author::system(),
            Actor::dev().author(),
            Actor::signing_key(DEFAULT_ORG, DEFAULT_ENV).author(),
            person.named("https://id.test/ada").author(),
        ] {
            assert_eq!(Author::from_text(&author.to_text()), Some(author));
        }
        assert_eq!(Author::from_text("nobody"), None);
    }

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
            Scope::FunctionsWrite,
            Scope::Execute,
            Scope::MetricsRead,
        ] {
            assert_eq!(actor.require(scope), Err(Denied(scope)));
        }
    }
}
