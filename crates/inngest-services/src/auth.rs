//! What a credential is worth.

use inngest_core::{
    access::Actor,
    ids::{DEFAULT_ENV, DEFAULT_ORG},
    wire::signature::bearer_matches,
};

use crate::{Error, engine::Engine, settings::Mode};

/// Sign-in. Made by `Services::auth`.
pub struct Auth<'a>(pub(crate) &'a Engine);

impl Auth<'_> {
    /// Who sends events with this key. In `dev` every key will do.
    ///
    /// # Errors
    /// `Unauthenticated` when the key is not one of ours.
    pub fn event_key(&self, key: &str) -> Result<Actor, Error> {
        let settings = &self.0.settings;
        if settings.mode == Mode::Dev {
            return Ok(Actor::dev());
        }
        // Compared by digest, so that the time taken says nothing about how much of a key was right.
        let given = digest(key);
        let known = settings
            .event_keys
            .iter()
            .fold(false, |known, own| known | (digest(own) == given));
        if known {
            Ok(Actor::event_key(DEFAULT_ORG, DEFAULT_ENV))
        } else {
            Err(Error::Unauthenticated {
                code: "event_key_not_found",
                message: "Event key not found".to_owned(),
            })
        }
    }

    /// Who calls with this `Authorization` header. In `dev` nobody is asked.
    ///
    /// # Errors
    /// `Unauthenticated` when the header is missing or holds no key of ours.
    pub fn bearer(&self, authorization: Option<&str>) -> Result<Actor, Error> {
        let settings = &self.0.settings;
        if settings.mode == Mode::Dev {
            return Ok(Actor::dev());
        }
        if authorization.is_some_and(|header| bearer_matches(header, &settings.signing_keys)) {
            return Ok(Actor::signing_key(DEFAULT_ORG, DEFAULT_ENV));
        }
        Err(Error::Unauthenticated {
            code: "authentication_failed",
            message: "Authentication failed".to_owned(),
        })
    }
}

fn digest(text: &str) -> uuid::Uuid {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, text.as_bytes())
}
