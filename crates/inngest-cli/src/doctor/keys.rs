//! The form of the keys. Whether apps have the same ones is not known here.

use inngest_config::{Secret, Settings};

use crate::doctor::finding::{Finding, doubtful, good};

/// Hexadecimal digits of a signing key of which no more is guessed than of 16 random bytes.
const SIGNING_DIGITS: usize = 32;
/// Letters of an event key, which only lets events in.
const EVENT_LETTERS: usize = 16;

/// Says something about the keys that are there; `dev` has none.
pub(super) fn look(settings: &Settings) -> Vec<Finding> {
    let keys = &settings.keys;
    let mut findings = Vec::new();
    let signing = keys.signing_key.iter().chain(&keys.signing_key_fallbacks);
    let digits = |key: &Secret<String>| key.expose().rsplit('-').next().map_or(0, str::len);
    if let Some(digits) = signing.map(digits).min() {
        findings.push(if digits < SIGNING_DIGITS {
            doubtful(
                "signing key",
                format!("has {digits} digits, which can be guessed"),
                "make one by `openssl rand -hex 32`; --signing-key-fallback takes the old one until all apps have the new one",
            )
        } else {
            good("signing key", format!("has {digits} digits"))
        });
    }
    let all = keys.event_keys.len();
    let is_short = |key: &&Secret<String>| key.expose().len() < EVENT_LETTERS;
    match keys.event_keys.iter().filter(is_short).count() {
        _ if all == 0 => {}
        0 => findings.push(good("event keys", format!("{all}, none of them short"))),
        short => findings.push(doubtful(
            "event keys",
            format!("{short} of {all} have fewer than {EVENT_LETTERS} letters"),
            "whoever guesses one can send events; make them by `openssl rand -hex 16`",
        )),
    }
    if keys.signing_key.is_some() && keys.secret_key.is_none() {
        findings.push(good(
            "secret key",
            "the signing key seals secrets in the database; --secret-key-fallback has to name it when it is replaced",
        ));
    }
    findings
}
