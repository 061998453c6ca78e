//! Looking at an app without syncing it.

use inngest_core::{
    access::{Actor, Scope},
    wire::introspection::SecretCheck,
};

use crate::{Error, apps::Apps};

/// What was found at a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppCheck {
    /// The HTTP status of the answer; none when nothing answered.
    pub status: Option<u16>,
    /// Whether an SDK answered.
    pub is_sdk: bool,
    /// What is wrong, for people.
    pub error: Option<String>,
    /// The name that the SDK's client was given.
    pub app_name: Option<String>,
    /// For example `js`.
    pub sdk_language: Option<String>,
    /// For example `4.24.0`.
    pub sdk_version: Option<String>,
    /// For example `express`.
    pub framework: Option<String>,
    /// `dev` or `cloud`.
    pub mode: Option<String>,
    /// Whether the app has an event key of ours.
    pub event_key: SecretCheck,
    /// Whether it has a signing key of ours.
    pub signing_key: SecretCheck,
    /// Whether the signing key that it takes as well is one of ours.
    pub signing_key_fallback: SecretCheck,
}

impl Apps<'_> {
    /// Asks the app at this URL what it is, and compares the hashes of its secrets with those of ours. Changes nothing and keeps nothing. Not
    /// for everybody who may read: the server calls a URL of the caller's choice and signs it.
    pub async fn check(&self, actor: &Actor, url: &str) -> Result<AppCheck, Error> {
        actor.require(Scope::AppsWrite)?;
        let engine = self.0;
        let (keys, event_keys) = (&engine.settings.signing_keys, &engine.settings.event_keys);
        let now = engine.clock.now();
        let found = match engine.client.inspect(url, keys.first(), now).await {
            Ok(found) => found,
            Err(failure) => {
                return Ok(AppCheck {
                    status: None,
                    is_sdk: false,
                    error: Some(failure.message),
                    app_name: None,
                    sdk_language: None,
                    sdk_version: None,
                    framework: None,
                    mode: None,
                    event_key: SecretCheck::Unknown,
                    signing_key: SecretCheck::Unknown,
                    signing_key_fallback: SecretCheck::Unknown,
                });
            }
        };
        let (told, status) = (found.told, found.status);
        let error = match (found.is_sdk, status) {
            (false, _) => Some(format!(
                "something answers with status {status}, but it is no Inngest SDK: name the whole URL at which the SDK is served, which often ends in /api/inngest"
            )),
            (true, 401 | 403) => Some(format!(
                "the app answers with status {status}: it does not take the signature of this server, so their signing keys differ, or it expects a server of another kind"
            )),
            (true, 200..=299) => None,
            (true, _) => Some(format!("the app answers with status {status}")),
        };
        let signing_key = told.check_signing_key(keys);
        Ok(AppCheck {
            status: Some(status),
            is_sdk: found.is_sdk,
            error,
            event_key: told.check_event_key(event_keys),
            signing_key,
            signing_key_fallback: told.check_signing_key_fallback(keys),
            app_name: told.app_name,
            sdk_language: told.sdk_language,
            sdk_version: told.sdk_version,
            framework: told.framework,
            mode: told.mode,
        })
    }
}
