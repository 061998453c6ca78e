//! Values of headers: one line each for a signature, a retry delay, a seed and an authorization; the rest is a body.
#![no_main]

use std::time::Duration;

use inngest_core::{
    duration,
    ids::IdSource,
    limits,
    time::Timestamp,
    wire::{
        event::parse_events,
        reply::ReplyHeaders,
        signature::{SigningKey, bearer, bearer_matches},
    },
};
use libfuzzer_sys::fuzz_target;

const NOW_S: i64 = 1_785_570_000;
const SKEW: Duration = Duration::from_secs(300);

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(5, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (signature, delay, seed, authorization, body) = (line(), line(), line(), line(), line());
    let [Ok(signature), Ok(delay), Ok(seed), Ok(authorization)] =
        [signature, delay, seed, authorization].map(std::str::from_utf8)
    else {
        return;
    };

    let key = SigningKey::parse("signkey-test-00ff").expect("it is a key");
    assert!(key.verify(signature, body, NOW_S, SKEW).is_err(), "forged");
    let signed = key.sign(body, NOW_S);
    assert_eq!(key.verify(&signed, body, NOW_S, SKEW), Ok(()));
    if let Ok(other) = SigningKey::parse(authorization) {
        let signed = other.sign(body, NOW_S);
        assert_eq!(other.verify(&signed, body, NOW_S, SKEW), Ok(()));
        assert!(other.matches_token(&other.prefixed_hash()));
    }
    if bearer_matches(authorization, &[key]) {
        let token = bearer(authorization).unwrap_or_default();
        assert!(token.contains("00ff") || token.len() >= 64);
    }

    let now_ms = NOW_S * 1_000;
    if let Some(delay_ms) = duration::retry_after(delay, now_ms) {
        let bounds = limits::RETRY_DELAY_MIN..=limits::RETRY_DELAY_MAX;
        assert!(bounds.contains(&Duration::from_millis(delay_ms)));
    }
    if let Ok(due) = duration::parse_when(delay, now_ms) {
        assert!(due >= now_ms);
    }
    if let Ok(length) = duration::parse(delay) {
        let ms = u64::try_from(length.as_millis()).expect("durations are bounded");
        let again = duration::parse(&duration::format(ms));
        assert_eq!(again, Ok(Duration::from_millis(ms)));
    }
    if let Ok(length) = duration::parse_go(delay) {
        assert_eq!(duration::parse(delay), Ok(length));
    }

    let ids = IdSource::counting();
    let events = parse_events(
        br#"{"name":"e"}"#,
        None,
        Some(seed),
        Timestamp::from_millis(now_ms),
        &ids,
    );
    assert_eq!(
        events.map(|events| events.len()),
        Ok(1),
        "a bad seed is ignored"
    );

    let mut headers = ReplyHeaders::default();
    for name in [
        "x-inngest-sdk",
        "x-inngest-req-version",
        "x-inngest-no-retry",
        "Retry-After",
        authorization,
    ] {
        headers.set(name, delay);
    }
});
