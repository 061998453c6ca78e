//! Schedules: eight bytes of time, then the text.
#![no_main]

use std::time::Duration;

use inngest_core::cron::{Schedule, jitter_ms};
use libfuzzer_sys::fuzz_target;

const MINUTE_MS: i64 = 60_000;
/// Most years are near the present.
const SPAN_MS: i64 = 200 * 366 * 86_400_000;

fuzz_target!(|data: &[u8]| {
    let Some((time, text)) = data.split_first_chunk::<8>() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let any_ms = i64::from_le_bytes(*time);
    let jitter = Duration::from_millis(u64::from_le_bytes(*time));
    assert!(jitter_ms(text, jitter) <= u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX));
    let Ok(schedule) = Schedule::parse(text) else {
        return;
    };
    for start in [any_ms, any_ms % SPAN_MS] {
        let mut after = start;
        for _ in 0..3 {
            let Some(next) = schedule.next_after(after) else {
                break;
            };
            assert!(next > after && next % MINUTE_MS == 0);
            assert_eq!(
                schedule.next_after(next - 1),
                Some(next),
                "it is due just before"
            );
            after = next;
        }
    }
});
