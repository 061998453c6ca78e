//! Registrations, answers to a sync, and URLs of apps.
#![no_main]

use inngest_core::{
    json::Json,
    limits,
    wire::{
        reply::ReplyHeaders,
        sync::{
            identity_url, normalize_url, parse_config, parse_in_band, parse_register,
            parse_sync_reply,
        },
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for registration in [parse_register(data), parse_in_band(data)]
        .into_iter()
        .flatten()
    {
        assert!(registration.functions.len() <= limits::FUNCTIONS_PER_APP);
    }
    let mut headers = ReplyHeaders::default();
    headers.set("x-inngest-sdk", "inngest-js:v4.24.0");
    for status in [200, 401, 500] {
        let _ = parse_sync_reply(status, &headers, Some("in_band"), data);
        let _ = parse_sync_reply(status, &headers, None, data);
    }
    if let Ok(json) = Json::parse(data)
        && let Ok(config) = parse_config(&json)
    {
        assert!(config.max_attempts() >= 1 && config.max_attempts() <= limits::MAX_RETRIES + 1);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(normal) = normalize_url(text)
    {
        assert_eq!(
            normalize_url(&normal).as_ref(),
            Some(&normal),
            "normalizing twice"
        );
        let identity = identity_url(&normal).expect("it is a URL");
        assert_eq!(identity_url(&identity), Some(identity.clone()));
    }
});
