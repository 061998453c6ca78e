//! What was found at the URL of an app.

use async_graphql::{Enum, SimpleObject};

use inngest_core::wire::introspection;
use inngest_services as services;

/// Comparison of a secret by hash.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "introspection::SecretCheck")]
pub(crate) enum SecretCheck {
    /// Same secret.
    Correct,
    /// Different secret.
    Incorrect,
    /// No secret set.
    Missing,
    /// The SDK did not say, or the server has none to compare it with.
    Unknown,
}

/// Result of probing an app URL without syncing it.
#[derive(SimpleObject)]
pub(crate) struct AppCheck {
    /// Whether the URL answered.
    is_reachable: bool,
    /// Whether the answer came from a compatible SDK.
    is_sdk: bool,
    /// HTTP status of the answer.
    status_code: Option<i32>,
    /// Why the probe failed.
    error: Option<String>,
    /// App id reported by the SDK.
    app_external_id: Option<String>,
    /// Language reported by the SDK.
    sdk_language: Option<String>,
    /// Version reported by the SDK.
    sdk_version: Option<String>,
    /// Framework reported by the SDK.
    framework: Option<String>,
    /// Mode reported by the SDK.
    mode: Option<String>,
    /// Whether the app has the right event key.
    event_key_status: SecretCheck,
    /// Whether the app has the right signing key.
    signing_key_status: SecretCheck,
    /// Whether the app has the right fallback key.
    signing_key_fallback_status: SecretCheck,
}

impl From<services::AppCheck> for AppCheck {
    fn from(check: services::AppCheck) -> Self {
        Self {
            is_reachable: check.status.is_some(),
            is_sdk: check.is_sdk,
            status_code: check.status.map(i32::from),
            error: check.error,
            app_external_id: check.app_name,
            sdk_language: check.sdk_language,
            sdk_version: check.sdk_version,
            framework: check.framework,
            mode: check.mode,
            event_key_status: check.event_key.into(),
            signing_key_status: check.signing_key.into(),
            signing_key_fallback_status: check.signing_key_fallback.into(),
        }
    }
}
