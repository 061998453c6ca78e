//! What a credential is worth.

mod jwks;
pub(crate) mod secrets;
mod tokens;
#[cfg(test)]
mod tokens_tests;

use std::{sync::atomic::AtomicU64, time::Duration};

use inngest_core::{
    access::{Actor, Role},
    ids::{DEFAULT_ENV, DEFAULT_ORG},
    time::Timestamp,
    wire::signature::bearer_matches,
};
use inngest_state::Store;
use tracing::{Span, debug, field::display};

pub use secrets::{SecretKey, WeakSecret};
pub(crate) use tokens::Tokens;
pub use tokens::{TokenIssuer, TokenKey, TokenKeys, UnusableKey};

use crate::{
    Error,
    engine::{Counters, Engine},
    settings::Mode,
};

/// Sign-in. Made by `Services::auth`.
pub struct Auth<'a>(pub(crate) &'a Engine);

/// Credentials that were refused.
#[derive(Debug, Default)]
pub struct SignInFailures {
    /// Event keys.
    pub event_keys: AtomicU64,
    /// Bearer credentials.
    pub bearers: AtomicU64,
}

impl Auth<'_> {
    /// Who sends events with this key. In `dev` every key will do.
    ///
    /// # Errors
    /// `Unauthenticated` when the key is not one of ours.
    pub fn event_key(&self, key: &str) -> Result<Actor, Error> {
        let settings = &self.0.settings;
        if settings.mode == Mode::Dev {
            return Ok(noted(Actor::dev()));
        }
        // Compared by digest, so that the time taken says nothing about how much of a key was right.
        let given = digest(key);
        let known = settings
            .event_keys
            .iter()
            .fold(false, |known, own| known | (digest(own) == given));
        if known {
            Ok(noted(Actor::event_key(DEFAULT_ORG, DEFAULT_ENV)))
        } else {
            Counters::add(&self.0.sign_in_failures.event_keys, 1);
            Err(Error::Unauthenticated {
                code: "event_key_not_found",
                message: "Event key not found".to_owned(),
            })
        }
    }

    /// Who calls with this `Authorization` header: an app by a signing key, or the bearer of a token, who may name one of its
    /// environments. In `dev` nobody is asked.
    ///
    /// # Errors
    /// `Unauthenticated` when the header is missing or holds nothing of worth; it does not say what was wrong.
    pub async fn bearer(
        &self,
        authorization: Option<&str>,
        environment: Option<&str>,
    ) -> Result<Actor, Error> {
        let engine = self.0;
        if engine.settings.mode == Mode::Dev {
            return Ok(noted(Actor::dev()));
        }
        let Some(header) = authorization else {
            return Err(self.refuse("missing"));
        };
        if bearer_matches(header, &engine.settings.signing_keys) {
            return Ok(noted(Actor::signing_key(DEFAULT_ORG, DEFAULT_ENV)));
        }
        let token = header
            .split_at_checked(7)
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer "))
            .map(|(_, token)| token.trim());
        let Some(token) = token else {
            return Err(self.refuse("not a bearer"));
        };
        engine
            .tokens
            .verify(token, environment, engine)
            .await
            .map(noted)
            .map_err(|reason| self.refuse(reason))
    }

    fn refuse(&self, reason: &'static str) -> Error {
        debug!(reason, "a credential was refused");
        Counters::add(&self.0.sign_in_failures.bearers, 1);
        Error::Unauthenticated {
            code: "authentication_failed",
            message: "Authentication failed".to_owned(),
        }
    }
}

/// Says in the span of the request for whom it is.
fn noted(actor: Actor) -> Actor {
    let span = Span::current();
    span.record("org.id", display(actor.org));
    span.record("env.id", display(actor.env));
    actor
}

/// A token of the installation that this database belongs to, for its first environment.
///
/// # Errors
/// `Invalid` when the secret keys do not fit; the store's.
pub async fn issue_token(
    store: &Store,
    keys: &[SecretKey],
    subject: &str,
    role: Role,
    valid_for: Duration,
    now: Timestamp,
) -> Result<String, Error> {
    let secret = secrets::find_or_make(store, keys, TOKENS, now).await?;
    let tokens = Tokens::new(TokenKeys::default(), secret.as_deref());
    tokens.issue(subject, role, valid_for, now)
}

/// The purpose of the secret with which the installation signs its tokens.
pub(crate) const TOKENS: &str = "tokens";

fn digest(text: &str) -> uuid::Uuid {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, text.as_bytes())
}
