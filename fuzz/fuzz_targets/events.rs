//! Events as senders post them: the first byte chooses the type of the body.
#![no_main]

use inngest_core::{
    ids::IdSource,
    json::Json,
    limits,
    time::Timestamp,
    wire::event::{parse_events, parse_invoke},
};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_millis(1_785_570_000_000);
const SEED: &str = "1785570000000,AAECAwQFBgcICQ==";

fuzz_target!(|data: &[u8]| {
    let Some((&first, body)) = data.split_first() else {
        return;
    };
    let content_type = match first % 4 {
        0 => Some("application/json"),
        1 => Some("application/x-www-form-urlencoded; charset=utf-8"),
        2 => Some("multipart/form-data"),
        _ => None,
    };
    let ids = IdSource::counting();
    let read = || parse_events(body, content_type, Some(SEED), NOW, &ids);
    let result = read();
    assert_eq!(result, read(), "a seeded request repeats");
    if let Ok(events) = result {
        assert!(events.len() <= limits::EVENTS_PER_REQUEST);
        for event in events {
            assert!(!event.name.is_empty() && event.name.len() <= limits::EVENT_NAME_BYTES);
            assert!(
                (limits::EVENT_TS_MIN..=limits::EVENT_TS_MAX).contains(&event.ts.as_millis())
                    || event.ts == NOW
            );
            assert_eq!(
                Json::parse(event.body.as_bytes()).as_ref(),
                Ok(&event.body),
                "not canonical"
            );
            assert_eq!(
                event.body.member("name").and_then(|name| name.to_text()),
                Some(event.name)
            );
        }
    }
    if let Ok(event) = parse_invoke(body, "app-f", None, NOW, &ids) {
        assert_eq!(
            Json::parse(event.body.as_bytes()).as_ref(),
            Ok(&event.body),
            "not canonical"
        );
    }
});
