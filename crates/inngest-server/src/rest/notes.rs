//! What becomes known of a request while it is carried out, for the headers of its answer.

use std::sync::OnceLock;

use axum::response::Response;
use http::{HeaderName, HeaderValue};

use inngest_services::RequestKey;

/// The header of answers that tell what an earlier request has led to.
static IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What the headers of an answer tell.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The key of the request, once its handler has made it.
    key: OnceLock<RequestKey>,
}

impl Notes {
    /// The key of the request, which it has once.
    pub(crate) fn keep(&self, key: RequestKey) -> RequestKey {
        self.key.get_or_init(|| key).clone()
    }

    /// Adds what is known to an answer, whether or not it is an error.
    pub(crate) fn tell(&self, response: &mut Response) {
        let headers = response.headers_mut();
        if self.key.get().is_some_and(RequestKey::is_repeated) {
            headers.insert(
                IDEMPOTENT_REPLAYED.clone(),
                HeaderValue::from_static("true"),
            );
        }
    }
}
