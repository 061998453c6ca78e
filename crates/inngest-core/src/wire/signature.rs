//! Signing keys, signatures of calls, and the credential that apps send back (sdk-protocol 0.3 to 0.5).

use std::{fmt, time::Duration};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Oldest signature that is still taken, and how far a sender's clock may be ahead.
pub const MAX_SKEW: Duration = Duration::from_secs(300);

/// A key that signs calls between server and app. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct SigningKey {
    prefix: String,
    secret: String,
    hash: String,
    mac: Hmac<Sha256>,
}

/// Text that is not a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing key is hex digits of even number, behind an optional `signkey-<environment>-`")]
pub struct InvalidKey;

/// Why a signature was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSignature {
    /// Not of the form `t=<seconds>&s=<hex>`.
    #[error("the signature is malformed")]
    Malformed,
    /// Older, or further in the future, than allowed.
    #[error("the signature has expired")]
    Expired,
    /// Made with another key or over other bytes.
    #[error("the signature does not match")]
    Mismatch,
}

impl SigningKey {
    /// Reads `signkey-<env>-<hex>` or bare hex; white space around it is ignored.
    ///
    /// # Errors
    /// `InvalidKey` when nothing is left behind the prefix, or it is not hex of even length.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let (prefix, secret) = split_prefix(text.trim());
        let bytes = hex::decode(secret).map_err(|_| InvalidKey)?;
        if bytes.is_empty() {
            return Err(InvalidKey);
        }
        let mac = Hmac::new_from_slice(secret.as_bytes()).map_err(|_| InvalidKey)?;
        Ok(Self {
            prefix: prefix.to_owned(),
            secret: secret.to_owned(),
            hash: hex::encode(Sha256::digest(bytes)),
            mac,
        })
    }

    /// SHA-256 of the decoded key, in hex, without the prefix.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The prefix as given, and the hash.
    pub fn prefixed_hash(&self) -> String {
        format!("{}{}", self.prefix, self.hash)
    }

    /// The value of the signature header for these bytes, which must be canonical JSON or empty. `unix_s` is in seconds.
    pub fn sign(&self, body: &[u8], unix_s: i64) -> String {
        format!(
            "t={unix_s}&s={}",
            hex::encode(
                self.mac_of(body, &unix_s.to_string())
                    .finalize()
                    .into_bytes()
            )
        )
    }

    /// Checks a signature header over these bytes. Both times are in seconds.
    ///
    /// # Errors
    /// See [`InvalidSignature`].
    pub fn verify(
        &self,
        header: &str,
        body: &[u8],
        now_s: i64,
        max_skew: Duration,
    ) -> Result<(), InvalidSignature> {
        let (mut time, mut signature) = (None, None);
        for part in header.trim().split('&') {
            match part.split_once('=') {
                Some(("t", value)) => time = Some(value),
                Some(("s", value)) => signature = Some(value),
                _ => {}
            }
        }
        let (Some(time), Some(signature)) = (time, signature) else {
            return Err(InvalidSignature::Malformed);
        };
        let signed_s: i64 = time.parse().map_err(|_| InvalidSignature::Malformed)?;
        let signature = hex::decode(signature).map_err(|_| InvalidSignature::Malformed)?;
        if now_s.abs_diff(signed_s) > max_skew.as_secs() {
            return Err(InvalidSignature::Expired);
        }
        self.mac_of(body, time)
            .verify_slice(&signature)
            .map_err(|_| InvalidSignature::Mismatch)
    }

    fn mac_of(&self, body: &[u8], time: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(body);
        mac.update(time.as_bytes());
        mac
    }

    /// Whether an app may show this token (without `Bearer`): the hash or the bare key, with or without a prefix. Takes as long for a
    /// wrong token as for a right one of the same length.
    pub fn matches_token(&self, token: &str) -> bool {
        let (_, token) = split_prefix(token.trim());
        let is_hash = token.as_bytes().ct_eq(self.hash.as_bytes());
        let is_secret = token.as_bytes().ct_eq(self.secret.as_bytes());
        (is_hash | is_secret).into()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

/// The token in an `Authorization` header; `None` when it is of another scheme or empty.
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Whether an `Authorization` header names one of these keys.
pub fn bearer_matches(header: &str, keys: &[SigningKey]) -> bool {
    bearer(header).is_some_and(|token| {
        keys.iter()
            .fold(false, |found, key| key.matches_token(token) | found)
    })
}

/// Splits `signkey-<word>-` off.
/// A key or its hash without `signkey-<environment>-`.
pub(crate) fn without_prefix(text: &str) -> &str {
    split_prefix(text.trim()).1
}

fn split_prefix(text: &str) -> (&str, &str) {
    let word_end = text.strip_prefix("signkey-").and_then(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        (end > 0 && rest[end..].starts_with('-')).then_some(end)
    });
    match word_end {
        Some(end) => text.split_at("signkey-".len() + end + 1),
        None => ("", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SigningKey {
        SigningKey::parse(text).unwrap()
    }

    #[test]
    fn published_vectors_hold() {
        let hashed =
            "signkey-prod-b2ed992186a5cb19f6668aade821f502c1d00970dfd0e35128d51bac4649916c";
        assert_eq!(key("signkey-prod-12345678").prefixed_hash(), hashed);
        for (body, expected) in [
            (
                r#"{"a":1}"#,
                "67a82077baa52522b1f612a154a25275c00a0338efc32be5ee396bd2391ba5e0",
            ),
            (
                "",
                "189656184e486419febc1f6fd73e1c45bc8595c99633a32ebe1ea40ac8adf630",
            ),
            (
                r#"{"url":"http://localhost:3000/api/inngest"}"#,
                "79c7e78b659f7161417794ab50cfd64517cf6b5e1bf38b8b10bc47e3789666c5",
            ),
        ] {
            let key = key("signkey-test-12345678");
            assert_eq!(
                key.sign(body.as_bytes(), 1_700_000_000),
                format!("t=1700000000&s={expected}")
            );
        }
    }

    #[test]
    fn signature_is_taken_only_for_the_same_bytes_key_and_time() {
        let signed = key("signkey-test-12345678").sign(b"{}", 1_000);
        let check = |key: &str, header: &str, body: &[u8], now_s| {
            self::key(key).verify(header, body, now_s, MAX_SKEW)
        };
        assert_eq!(check("12345678", &signed, b"{}", 1_000), Ok(()));
        assert_eq!(check("12345678", &signed, b"{}", 1_300), Ok(()));
        assert_eq!(check("12345678", &signed, b"{}", 700), Ok(()));
        assert_eq!(
            check("12345678", &signed, b"{}", 1_301),
            Err(InvalidSignature::Expired)
        );
        assert_eq!(
            check("12345678", &signed, b"{}", 699),
            Err(InvalidSignature::Expired)
        );
        assert_eq!(
            check("12345678", &signed, b"[]", 1_000),
            Err(InvalidSignature::Mismatch)
        );
        assert_eq!(
            check("12345679", &signed, b"{}", 1_000).unwrap_err(),
            InvalidSignature::Mismatch
        );
        for bad in [
            "",
            "t=1000",
            "s=00",
            "t=x&s=00",
            "t=1000&s=zz",
            "t=99999999999999999999&s=00",
        ] {
            assert_eq!(
                check("12345678", bad, b"{}", 1_000),
                Err(InvalidSignature::Malformed),
                "{bad}"
            );
        }
        assert_eq!(
            check("12345678", "t=1000&s=00", b"{}", 1_000),
            Err(InvalidSignature::Mismatch)
        );
        assert_eq!(
            check("12345678", "t=-9223372036854775808&s=00", b"{}", i64::MAX),
            Err(InvalidSignature::Expired)
        );
    }

    #[test]
    fn apps_show_their_key_in_many_forms() {
        let keys = [key("signkey-prod-00ff"), key("signkey-prod-12345678")];
        let hash = "b2ed992186a5cb19f6668aade821f502c1d00970dfd0e35128d51bac4649916c";
        for good in [
            format!("Bearer signkey-prod-{hash}"),
            format!("bearer signkey-other-{hash}"),
            format!("Bearer {hash}"),
            "Bearer signkey-prod-12345678".to_owned(),
            "Bearer  12345678 ".to_owned(),
        ] {
            assert!(bearer_matches(&good, &keys), "{good}");
        }
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer undefined",
            "Basic 12345678",
            "Bearer signkey-prod-",
            "Bearer signkey-prod",
            "12345678",
        ] {
            assert!(!bearer_matches(bad, &keys), "{bad}");
        }
        assert!(!bearer_matches("Bearer 12345678", &[]));
    }

    #[test]
    fn keys_are_hex_behind_an_optional_prefix() {
        for good in ["12345678", "signkey-test-00ff", " signkey-a_1-00FF\n"] {
            assert!(SigningKey::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "123",
            "xyz0",
            "signkey-test-",
            "signkey--00",
            "signkey-test-00-00",
        ] {
            assert!(SigningKey::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", key("00ff")), "SigningKey(***)");
    }
}
