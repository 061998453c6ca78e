//! Requests that their caller may make twice: the second one gets what the first has led to.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use inngest_core::{access::Actor, json::Json, limits, time::Timestamp};
use inngest_state::NewRequest;
use uuid::Uuid;

use crate::{Error, engine::Engine};

/// The key by which a caller marks a request, with a hash of what it asks for. Clones are of one request.
#[derive(Clone, Debug)]
pub struct RequestKey {
    key: Uuid,
    input: Uuid,
    is_repeated: Arc<AtomicBool>,
}

impl RequestKey {
    /// `operation` and `input` say what is asked for: with another of them the same key is refused.
    ///
    /// # Errors
    /// `Invalid` when the key is empty or longer than [`limits::REQUEST_KEY_BYTES`].
    pub fn new(key: &str, operation: &str, input: &Json) -> Result<Self, Error> {
        if key.is_empty() || key.len() > limits::REQUEST_KEY_BYTES {
            return Err(Error::Invalid {
                code: "idempotency_key_invalid",
                message: format!(
                    "an idempotency key has 1 to {} bytes, this one has {}",
                    limits::REQUEST_KEY_BYTES,
                    key.len()
                ),
            });
        }
        let asked = [operation.as_bytes(), b"\n", input.as_bytes()].concat();
        Ok(Self {
            key: Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes()),
            input: Uuid::new_v5(&Uuid::NAMESPACE_OID, &asked),
            is_repeated: Arc::default(),
        })
    }

    /// Whether the request had been made before, and got what that led to. Known once it is carried out.
    pub fn is_repeated(&self) -> bool {
        self.is_repeated.load(Ordering::Relaxed)
    }

    /// The request, to be remembered for a day with what it leads to.
    pub(crate) fn remember(&self, actor: &Actor, result: Json, now: Timestamp) -> NewRequest {
        NewRequest {
            env: actor.env,
            actor: actor.principal(),
            key: self.key,
            input: self.input,
            result,
            at: now,
            until: now.plus(limits::IDEMPOTENCY_WINDOW),
        }
    }
}

/// What the request with this key has led to that was made before.
///
/// # Errors
/// `Conflict` when it asked for something else.
pub(crate) fn answered(key: Option<&RequestKey>, result: Option<Json>) -> Result<Json, Error> {
    let result = result.ok_or_else(|| Error::Conflict {
        code: "idempotency_key_reused",
        message: "this idempotency key was used before with other input; choose a new one"
            .to_owned(),
    })?;
    if let Some(key) = key {
        key.is_repeated.store(true, Ordering::Relaxed);
    }
    Ok(result)
}

/// Reads an id out of a remembered result.
pub(crate) fn read_id<T: std::str::FromStr>(result: &Json) -> Result<T, Error> {
    let text = result.to_text().unwrap_or_default();
    text.parse().map_err(|_| Error::Internal {
        what: "the remembered result of a request is unreadable".to_owned(),
    })
}

impl Engine {
    /// What a request with this key has led to; none when it is new or has no key.
    ///
    /// # Errors
    /// `Conflict` when it was made before and asked for something else.
    pub(crate) async fn find_answer(
        &self,
        actor: &Actor,
        key: Option<&RequestKey>,
    ) -> Result<Option<Json>, Error> {
        let Some(key) = key else { return Ok(None) };
        let now = self.clock.now();
        let found = self
            .store
            .find_request(actor.env, &actor.principal(), key.key, now)
            .await?;
        found
            .map(|(input, result)| answered(Some(key), (input == key.input).then_some(result)))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_the_same_when_operation_and_input_are() {
        let (one, two) = (Json::integer(1), Json::integer(2));
        let first = RequestKey::new("k", "a", &one).unwrap();
        let again = RequestKey::new("k", "a", &one).unwrap();
        assert_eq!((again.key, again.input), (first.key, first.input));
        for other in [
            RequestKey::new("k", "a", &two),
            RequestKey::new("k", "b", &one),
        ] {
            let other = other.unwrap();
            assert_eq!(other.key, first.key);
            assert_ne!(other.input, first.input);
        }
        assert!(answered(Some(&first), None).is_err() && !first.is_repeated());
        assert!(answered(Some(&first.clone()), Some(one.clone())).is_ok() && first.is_repeated());
        assert!(!again.is_repeated());
        for bad in [String::new(), "x".repeat(256)] {
            assert!(RequestKey::new(&bad, "a", &one).is_err());
        }
    }
}
