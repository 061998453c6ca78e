//! What an app tells of itself when it is looked at (sdk-protocol 2.1), and whether its secrets are ours.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    json::Json,
    wire::{
        reply::ReplyHeaders,
        signature::{SigningKey, without_prefix},
    },
};

/// Fewest digits of a hash that are compared. SDKs may show no more than the first twelve.
const HASH_DIGITS: usize = 12;
/// Characters of a text that are read.
const TEXT_CHARS: usize = 255;

/// What an app answers to a GET. What it does not say is none; to a request that it does not trust it says little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Introspection {
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
    /// Its event key.
    pub event_key: ShownSecret,
    /// Its signing key.
    pub signing_key: ShownSecret,
    /// The signing key that it takes as well.
    pub signing_key_fallback: ShownSecret,
    /// Whether it took the signature of the request; none when it does not say.
    pub trusts_us: Option<bool>,
}

/// What an app shows of one of its secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownSecret {
    /// Whether it has one; none when it does not say.
    pub is_set: Option<bool>,
    /// The hash of it, or the first digits of the hash, in lower case and without a prefix.
    pub hash: Option<String>,
}

/// A secret of an app, compared by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretCheck {
    /// The same secret.
    Correct,
    /// Another one.
    Incorrect,
    /// The app has none.
    Missing,
    /// The app does not say, or there is nothing to compare it with.
    Unknown,
}

impl Introspection {
    /// Reads an answer.
    pub fn parse(
        status: u16,
        headers: &ReplyHeaders,
        framework: Option<&str>,
        body: &[u8],
    ) -> Self {
        let json = Json::parse(body).unwrap_or_default();
        let text = |key: &str| {
            let text = json.member(key).and_then(|value| value.to_text())?;
            let text: String = text.chars().take(TEXT_CHARS).collect();
            (!text.is_empty()).then_some(text)
        };
        let flag = |key: &str| match json.member(key)?.as_bytes() {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        };
        let secret = |name: &str| ShownSecret {
            is_set: flag(&format!("has_{name}")),
            hash: text(&format!("{name}_hash"))
                .map(|hash| without_prefix(&hash).to_ascii_lowercase()),
        };
        let (language, version) = sdk_of(headers.sdk.as_deref());
        // Some SDKs say nothing at all to a request whose signature they do not take.
        let is_refused = status == 401 && headers.is_sdk();
        let trusts_us = flag("authentication_succeeded").or(is_refused.then_some(false));
        Self {
            app_name: text("app_id"),
            sdk_language: text("sdk_language").or(language),
            sdk_version: text("sdk_version")
                .map(|it| it.strip_prefix('v').unwrap_or(&it).to_owned())
                .or(version),
            framework: text("framework").or_else(|| framework.map(str::to_owned)),
            mode: text("mode"),
            event_key: secret("event_key"),
            signing_key: secret("signing_key"),
            signing_key_fallback: secret("signing_key_fallback"),
            trusts_us,
        }
    }

    /// Whether the app's signing key is one of ours. An app that did not take our signature has another one.
    pub fn check_signing_key(&self, ours: &[SigningKey]) -> SecretCheck {
        let checked = check_key(&self.signing_key, ours);
        match (checked, self.trusts_us, ours) {
            (SecretCheck::Unknown, Some(false), [_, ..]) => SecretCheck::Incorrect,
            _ => checked,
        }
    }

    /// Whether the signing key that the app takes as well is one of ours.
    pub fn check_signing_key_fallback(&self, ours: &[SigningKey]) -> SecretCheck {
        check_key(&self.signing_key_fallback, ours)
    }

    /// Whether the app's event key is one of ours.
    pub fn check_event_key(&self, ours: &[String]) -> SecretCheck {
        let hashes = ours.iter().map(|key| hex::encode(Sha256::digest(key)));
        let hashes: Vec<String> = hashes.collect();
        self.event_key.check(hashes.iter().map(String::as_str))
    }
}

fn check_key(shown: &ShownSecret, ours: &[SigningKey]) -> SecretCheck {
    shown.check(ours.iter().map(SigningKey::hash))
}

impl ShownSecret {
    /// Compares with the hashes of what would be right.
    fn check<'a>(&self, ours: impl Iterator<Item = &'a str>) -> SecretCheck {
        if self.is_set == Some(false) {
            return SecretCheck::Missing;
        }
        let shown = self.hash.as_deref();
        let Some(shown) = shown.filter(|hash| hash.len() >= HASH_DIGITS) else {
            return SecretCheck::Unknown;
        };
        let mut checked = SecretCheck::Unknown;
        for hash in ours {
            let head = hash.get(..shown.len()).unwrap_or(hash);
            if bool::from(head.as_bytes().ct_eq(shown.as_bytes())) {
                return SecretCheck::Correct;
            }
            checked = SecretCheck::Incorrect;
        }
        checked
    }
}

/// Language and version from `inngest-js:v4.24.0`.
pub(crate) fn sdk_of(sdk: Option<&str>) -> (Option<String>, Option<String>) {
    let sdk = sdk.unwrap_or_default();
    let (language, version) = sdk.split_once(':').unwrap_or((sdk, ""));
    let language = language.strip_prefix("inngest-").unwrap_or(language);
    let version = version.strip_prefix('v').unwrap_or(version);
    let some =
        |text: &str| (!text.is_empty()).then(|| text.chars().take(TEXT_CHARS).collect::<String>());
    (some(language), some(version))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::headers;

    const KEY: &str = "signkey-prod-12345678";
    const HASH: &str = "b2ed992186a5cb19f6668aade821f502c1d00970dfd0e35128d51bac4649916c";

    fn read(status: u16, body: &Value) -> Introspection {
        let mut answer = ReplyHeaders::default();
        answer.set(headers::SDK, "inngest-js:v4.24.0");
        Introspection::parse(status, &answer, Some("nodejs"), body.to_string().as_bytes())
    }

    fn keys() -> Vec<SigningKey> {
        [KEY, "signkey-prod-abcdef12"]
            .map(|key| SigningKey::parse(key).unwrap())
            .into()
    }

    #[test]
    fn full_answer_is_read_and_a_short_one_filled_from_headers() {
        let full = read(
            200,
            &json!({"app_id": "shop", "sdk_language": "go", "sdk_version": "v0.14.0", "framework": "x", "mode": "cloud",
                "has_signing_key": true, "authentication_succeeded": true}),
        );
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(full.app_name, some("shop"));
        assert_eq!(
            (full.sdk_language, full.sdk_version),
            (some("go"), some("0.14.0"))
        );
        assert_eq!((full.framework, full.mode), (some("x"), some("cloud")));
        assert_eq!(full.trusts_us, Some(true));
        let short = read(200, &json!({"mode": "dev", "app_id": null}));
        assert_eq!(
            (short.sdk_language, short.sdk_version),
            (some("js"), some("4.24.0"))
        );
        assert_eq!((short.framework, short.app_name), (some("nodejs"), None));
        assert_eq!(read(502, &json!("oops")).mode, None);
    }

    #[test]
    fn signing_keys_are_compared_by_what_sdks_show_of_their_hash() {
        use SecretCheck::{Correct, Incorrect, Missing, Unknown};
        for (body, expected) in [
            (json!({"signing_key_hash": HASH}), Correct),
            (
                json!({"signing_key_hash": format!("signkey-prod-{HASH}")}),
                Correct,
            ),
            (json!({"signing_key_hash": &HASH[..12]}), Correct),
            (json!({"signing_key_hash": HASH.to_uppercase()}), Correct),
            (json!({"signing_key_hash": &HASH[..11]}), Unknown),
            (json!({"signing_key_hash": format!("{HASH}00")}), Incorrect),
            (json!({"signing_key_hash": "000000000000"}), Incorrect),
            (json!({"signing_key_hash": "é".repeat(12)}), Incorrect),
            (json!({"has_signing_key": false}), Missing),
            (json!({"has_signing_key": true}), Unknown),
            (
                json!({"has_signing_key": true, "authentication_succeeded": false}),
                Incorrect,
            ),
            (json!({}), Unknown),
        ] {
            assert_eq!(
                read(200, &body).check_signing_key(&keys()),
                expected,
                "{body}"
            );
        }
        let refused = read(401, &json!({"message": "Unauthorized"}));
        assert_eq!(refused.check_signing_key(&keys()), Incorrect);
        assert_eq!(refused.check_signing_key(&[]), Unknown);
        assert_eq!(refused.check_signing_key_fallback(&keys()), Unknown);
        let fallback = read(200, &json!({"signing_key_fallback_hash": HASH}));
        assert_eq!(fallback.check_signing_key_fallback(&keys()), Correct);
    }

    #[test]
    fn event_keys_are_compared_by_the_hash_of_their_text() {
        let ours = ["one".to_owned(), "two".to_owned()];
        let hash = |key: &str| hex::encode(Sha256::digest(key));
        for (key, expected) in [
            ("two", SecretCheck::Correct),
            ("three", SecretCheck::Incorrect),
        ] {
            let found = read(
                200,
                &json!({"has_event_key": true, "event_key_hash": hash(key)}),
            );
            assert_eq!(found.check_event_key(&ours), expected);
        }
        let found = read(200, &json!({"event_key_hash": hash("one")}));
        assert_eq!(found.check_event_key(&[]), SecretCheck::Unknown);
    }
}
