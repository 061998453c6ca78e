//! What becomes known of a request while it is carried out, for the headers of its answer.

use std::{sync::OnceLock, time::Duration};

use axum::response::Response;
use http::{HeaderName, HeaderValue, header::RETRY_AFTER};

use inngest_services::{Cost, RequestKey};

/// The header of answers that tell what an earlier request has led to.
static IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What a caller may ask for, and what is left of it (draft-ietf-httpapi-ratelimit-headers): `q` points that come back within `w` seconds,
/// `r` are left, and after `t` seconds the same request is answered.
static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What the headers of an answer tell.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The key of the request, once its handler has made it.
    key: OnceLock<RequestKey>,
    /// What it cost.
    cost: OnceLock<Cost>,
}

impl Notes {
    /// The key of the request, which it has once.
    pub(crate) fn keep(&self, key: RequestKey) -> RequestKey {
        self.key.get_or_init(|| key).clone()
    }

    /// What the request cost, which is told once.
    pub(crate) fn charged(&self, cost: Cost) -> Cost {
        *self.cost.get_or_init(|| cost)
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
        let Some(bucket) = self.cost.get().and_then(|cost| cost.bucket) else {
            return;
        };
        let wait = bucket.wait.map_or(0, whole_seconds);
        let policy = format!(
            "\"points\";q={};w={}",
            bucket.limit,
            whole_seconds(bucket.window)
        );
        let left = format!("\"points\";r={};t={wait}", bucket.remaining);
        for (name, value) in [(&RATE_LIMIT_POLICY, policy), (&RATE_LIMIT, left)] {
            headers.extend(HeaderValue::try_from(value).map(|value| (name.clone(), value)));
        }
        if wait > 0 {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait));
        }
    }
}

/// Rounded up.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
