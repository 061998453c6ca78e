use chrono::SecondsFormat;
use proptest::prelude::*;

use super::*;

fn ms(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text)
        .unwrap()
        .timestamp_millis()
}

fn shown(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms)
        .unwrap()
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The due times that follow `after`, as many as are expected.
fn check(schedule: &str, after: &str, expected: &[&str]) {
    let parsed = Schedule::parse(schedule).unwrap();
    let mut at = ms(after);
    for expected in expected {
        at = parsed
            .next_after(at)
            .unwrap_or_else(|| panic!("`{schedule}` has no time after {}", shown(at)));
        assert_eq!(shown(at), *expected, "`{schedule}`");
    }
}

#[test]
fn next_times_follow_the_fields() {
    let start = "2026-08-01T09:30:15Z"; // a Saturday
    check(
        "* * * * *",
        start,
        &["2026-08-01T09:31:00Z", "2026-08-01T09:32:00Z"],
    );
    check(
        "* * * * *",
        "2026-08-01T09:30:00Z",
        &["2026-08-01T09:31:00Z"],
    );
    check(
        "*/15 * * * *",
        start,
        &["2026-08-01T09:45:00Z", "2026-08-01T10:00:00Z"],
    );
    check(
        "5/20 * * * *",
        start,
        &["2026-08-01T09:45:00Z", "2026-08-01T10:05:00Z"],
    );
    check(
        "0 9 * * *",
        start,
        &["2026-08-02T09:00:00Z", "2026-08-03T09:00:00Z"],
    );
    check(
        "0 9-17/4 * * *",
        start,
        &[
            "2026-08-01T13:00:00Z",
            "2026-08-01T17:00:00Z",
            "2026-08-02T09:00:00Z",
        ],
    );
    check("30 9 1 * *", start, &["2026-09-01T09:30:00Z"]);
    check(
        "0 0 * * 0",
        start,
        &["2026-08-02T00:00:00Z", "2026-08-09T00:00:00Z"],
    );
    check("0 0 * * MON-fri", start, &["2026-08-03T00:00:00Z"]);
    check(
        "0 0 1 JAN,jul ?",
        start,
        &["2027-01-01T00:00:00Z", "2027-07-01T00:00:00Z"],
    );
    check(
        "0 0 31 * *",
        start,
        &["2026-08-31T00:00:00Z", "2026-10-31T00:00:00Z"],
    );
    check("  0   9 * * *  ", start, &["2026-08-02T09:00:00Z"]);
}

#[test]
fn a_day_matching_either_day_field_is_due() {
    let start = "2026-08-01T00:00:00Z";
    check(
        "0 0 13 * 5",
        start,
        &[
            "2026-08-07T00:00:00Z",
            "2026-08-13T00:00:00Z",
            "2026-08-14T00:00:00Z",
        ],
    );
    check(
        "0 0 13 * ?",
        start,
        &["2026-08-13T00:00:00Z", "2026-09-13T00:00:00Z"],
    );
    check("0 0 ? * 5", start, &["2026-08-07T00:00:00Z"]);
    check("0 0 */1 * 5", start, &["2026-08-07T00:00:00Z"]);
    check(
        "0 0 */30 * 5",
        start,
        &[
            "2026-08-07T00:00:00Z",
            "2026-08-14T00:00:00Z",
            "2026-08-21T00:00:00Z",
            "2026-08-28T00:00:00Z",
            "2026-08-31T00:00:00Z",
        ],
    );
}

#[test]
fn leap_days_are_found_within_five_years() {
    check(
        "0 12 29 2 *",
        "2026-01-01T00:00:00Z",
        &["2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z"],
    );
    let leap = Schedule::parse("0 12 29 2 *").unwrap();
    assert_eq!(leap.next_after(ms("2096-03-01T00:00:00Z")), None);
    let never = Schedule::parse("0 0 30 2 *").unwrap();
    assert_eq!(never.next_after(ms("2026-01-01T00:00:00Z")), None);
}

#[test]
fn zones_are_read_from_either_prefix() {
    let start = "2026-01-15T00:00:00Z";
    check(
        "TZ=America/New_York 0 9 * * *",
        start,
        &["2026-01-15T14:00:00Z"],
    );
    check(
        "CRON_TZ=Europe/Berlin 0 9 * * *",
        start,
        &["2026-01-15T08:00:00Z"],
    );
    check(
        "TZ=Asia/Kathmandu 0 9 * * *",
        start,
        &["2026-01-15T03:15:00Z"],
    );
    check("TZ=UTC 0 9 * * *", start, &["2026-01-15T09:00:00Z"]);
    check("TZ=Asia/Tokyo 0 0 1 * *", start, &["2026-01-31T15:00:00Z"]);
}

#[test]
fn a_local_time_that_does_not_exist_is_skipped_that_day() {
    check(
        "TZ=America/New_York 30 2 * * *",
        "2026-03-07T00:00:00Z",
        &["2026-03-07T07:30:00Z", "2026-03-09T06:30:00Z"],
    );
    check(
        "TZ=Europe/Berlin 30 2 * * *",
        "2026-03-28T00:00:00Z",
        &["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"],
    );
    check(
        "TZ=Europe/Berlin 0 * * * *",
        "2026-03-29T00:00:00Z",
        &["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"],
    );
    check(
        "TZ=Europe/Berlin 0 2 29 3 *",
        "2026-01-01T00:00:00Z",
        &["2027-03-29T00:00:00Z"],
    );
}

#[test]
fn a_repeated_local_time_is_due_twice() {
    check(
        "TZ=America/New_York 0 1 * * *",
        "2026-11-01T00:00:00Z",
        &[
            "2026-11-01T05:00:00Z",
            "2026-11-01T06:00:00Z",
            "2026-11-02T06:00:00Z",
        ],
    );
    check(
        "TZ=Europe/Berlin 30 2 * * *",
        "2026-10-24T12:00:00Z",
        &[
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-26T01:30:00Z",
        ],
    );
    check(
        "TZ=Europe/Berlin */30 2 * * *",
        "2026-10-24T12:00:00Z",
        &[
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-26T01:00:00Z",
        ],
    );
    check(
        "TZ=Australia/Lord_Howe 45 1 * * *",
        "2026-04-04T00:00:00Z",
        &[
            "2026-04-04T14:45:00Z",
            "2026-04-04T15:15:00Z",
            "2026-04-05T15:15:00Z",
        ],
    );
}

#[test]
fn texts_outside_the_grammar_are_refused() {
    let check = |text: &str| {
        assert!(Schedule::parse(text).is_err(), "`{text}`");
    };
    for text in [
        "",
        "@daily",
        "@every 1h",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 0 *",
        "* * * 13 *",
        "* * * * 7",
        "* * L * *",
        "* * 15W * *",
        "* * * * 5#2",
        "*/0 * * * *",
        "5-1 * * * *",
        "1,,2 * * * *",
        "a * * * *",
        "-1 * * * *",
        "+1 * * * *",
        "1- * * * *",
        "*/ * * * *",
        "1/2/3 * * * *",
        "**  * * * *",
        "TZ=Nowhere/Land * * * * *",
        "TZ=UTC",
        "TZ= * * * * *",
        "jan * * * *",
        "99999999999 * * * *",
        "*/99999999999 * * * *",
    ] {
        check(text);
    }
    check(&format!("{} * * * *", "1,".repeat(200)));
    let message = Schedule::parse("* * * * 7").unwrap_err().to_string();
    assert_eq!(
        message,
        "day of week `7` is not valid, it takes 0-6, lists, ranges, steps and `*`"
    );
}

#[test]
fn jitter_is_stable_and_within_its_bounds() {
    let five_minutes = Duration::from_secs(300);
    let all: Vec<u64> = (0..1_000)
        .map(|index| jitter_ms(&format!("occurrence-{index}"), five_minutes))
        .collect();
    assert!(all.iter().all(|offset| (1_000..300_000).contains(offset)));
    assert!(
        all.iter().any(|offset| *offset < 30_000) && all.iter().any(|offset| *offset > 270_000)
    );
    assert_eq!(
        jitter_ms("same", five_minutes),
        jitter_ms("same", five_minutes)
    );
    assert_eq!(jitter_ms("same", Duration::ZERO), 0);
    assert_eq!(jitter_ms("same", Duration::from_secs(1)), 1_000);
    let _ = jitter_ms("same", Duration::MAX);
}

#[test]
fn instants_at_the_calendars_end_are_survived() {
    let schedule = Schedule::parse("TZ=America/New_York 0 1 * * *").unwrap();
    for at in [
        i64::MIN,
        i64::MIN + 1,
        i64::MAX,
        i64::MAX - 60_000,
        8_210_266_876_799_000,
        -8_334_601_228_800_000,
    ] {
        let _ = schedule.next_after(at);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn next_is_later_and_a_whole_minute(
        after in 0_i64..4_102_444_800_000,
        minute in "(\\*|[0-9]|\\*/7|5-50/9)", hour in "(\\*|[0-9]|2,3)", day in "(\\*|[1-9]|31)", weekday in "(\\*|[0-6])",
        zone in prop::sample::select(vec!["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"]),
    ) {
        let schedule = Schedule::parse(&format!("TZ={zone} {minute} {hour} {day} * {weekday}")).unwrap();
        let next = schedule.next_after(after).unwrap();
        prop_assert!(next > after && next % 60_000 == 0);
        // Nothing that matches lies between: asking from just before gives the same answer.
        prop_assert_eq!(schedule.next_after(next - 1), Some(next));
        let zone: Tz = zone.parse().unwrap();
        let local = DateTime::from_timestamp_millis(next).unwrap().with_timezone(&zone).naive_local();
        prop_assert!(schedule.is_due_on(local.date()));
        prop_assert!(has(schedule.hours, local.hour()) && has(schedule.minutes, local.minute()));
    }

    #[test]
    fn even_days_give_what_minutes_give(after in 1_700_000_000_000_i64..1_900_000_000_000, hour in 0..24_u32, minute in 0..60_u32) {
        let schedule = Schedule::parse(&format!("TZ=Europe/Berlin {minute} {hour} * * *")).unwrap();
        let next = schedule.next_after(after).unwrap();
        let from = (after / 60_000 + 1) * 60_000;
        prop_assert_eq!(schedule.find_by_minute(from, from + 3 * DAY_MS).unwrap(), Some(next));
    }

    #[test]
    fn any_text_is_survived(text in ".*", after in any::<i64>()) {
        if let Ok(schedule) = Schedule::parse(&text) {
            let _ = schedule.next_after(after);
        }
    }

    #[test]
    fn texts_near_the_grammar_are_survived(text in "[0-9*/,?a-zL# -]{0,30}", after in any::<i64>()) {
        if let Ok(schedule) = Schedule::parse(&text) {
            let _ = schedule.next_after(after);
        }
    }
}
