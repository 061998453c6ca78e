use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_785_574_800_000; // 2026-08-01T09:00:00Z

#[test]
fn durations_are_sums_of_numbers_with_units() {
    let check = |text: &str, expected_ns: u128| {
        assert_eq!(
            parse(text).map(|found| found.as_nanos()),
            Ok(expected_ns),
            "{text}"
        );
    };
    check("1s", 1_000_000_000);
    check("2h45m", 9_900_000_000_000);
    check("42m30s", 2_550_000_000_000);
    check("1d2h30m", 95_400_000_000_000);
    check("1w", 604_800_000_000_000);
    check("1.5h", 5_400_000_000_000);
    check(".5s", 500_000_000);
    check("1.s", 1_000_000_000);
    check("0.000000001s", 1);
    check("100ms", 100_000_000);
    check("3us", 3_000);
    check("3µs", 3_000);
    check("3μs", 3_000);
    check("7ns", 7);
    check("1m1m", 120_000_000_000);
    check("0", 0);
    check("0s", 0);
    check(" 5m ", 300_000_000_000);
    check("366d", 31_622_400_000_000_000);
    check("0.33333333333333333333333333s", 333_333_333);
}

#[test]
fn other_texts_are_not_durations() {
    let check = |text: &str| assert!(parse(text).is_err(), "{text}");
    for text in [
        "",
        " ",
        "1",
        "s",
        "1x",
        "1 s",
        "1h 30m",
        "-1h",
        "+1h",
        "1..5s",
        "1.2.3s",
        ".s",
        "1e3s",
        "1H",
        "1hour",
        "h1",
        "∞",
        "１s",
        "99999999999d",
        "999999999999999999999999999999s",
        "1h-30m",
    ] {
        check(text);
    }
    check(&"1s".repeat(100));
    assert_eq!(parse("99999999999d"), Err(InvalidDuration::TooLong));
    assert_eq!(parse(""), Err(InvalidDuration::Empty));
    assert_eq!(
        parse_go("1d"),
        Err(InvalidDuration::Malformed {
            text: "1d".to_owned()
        })
    );
    assert!(parse_go("1w").is_err());
    assert_eq!(parse_go("1h30m"), Ok(Duration::from_secs(5_400)));
}

#[test]
fn sleeps_end_at_dates_or_after_durations() {
    let check = |text: &str, expected: i64| {
        assert_eq!(parse_when(text, NOW), Ok(NOW + expected), "{text}");
    };
    check("1h", 3_600_000);
    check("1h30m", 5_400_000);
    check("1ns", 1);
    check("2026-08-01T09:00:10Z", 10_000);
    check("2026-08-01T09:00:10.250Z", 10_250);
    check("2026-08-01T09:00:10.123456+00:00", 10_123);
    check("2026-08-01T11:00:10+02:00", 10_000);
    check("2026-08-01T11:00:10+0200", 10_000);
    check("2026-08-01T09:00:10", 10_000);
    check("2026-08-01 09:00:10", 10_000);
    check("2026-08-01 09:00:10Z", 10_000);
    check("2026-08-01 11:00:10+02:00", 10_000);
    check("2026-08-01T09:01", 60_000);
    check("2026-08-02", 15 * 3_600_000);
    check("2020-01-01T00:00:00Z", 0);
    check("2020-01-01", 0);
    check("", 0);
    check("  ", 0);
    check("-5m", 0);
    check("0s", 0);
    check("100000000000ns", 100_000);
    check("9999-01-01T00:00:00Z", 253_370_764_800_000 - NOW);
    for text in [
        "soon",
        "tomorrow at noon",
        "2026-13-01T00:00:00Z",
        "--5m",
        "-",
        "99999999999d",
    ] {
        assert!(parse_when(text, NOW).is_err(), "{text}");
    }
    assert_eq!(parse_when("1h", i64::MAX), Ok(i64::MAX));
}

#[test]
fn retry_delays_are_read_in_every_form_and_clamped() {
    let check = |text: &str, expected: Option<u64>| {
        assert_eq!(retry_after(text, NOW), expected, "{text}");
    };
    check("0", Some(1_000));
    check("-1", Some(1_000));
    check("1", Some(1_000));
    check("30", Some(30_000));
    check(" 30 ", Some(30_000));
    check("86400", Some(86_400_000));
    check("86401", Some(86_400_000));
    check("315360000", Some(86_400_000));
    check("99999999999999999999999", Some(86_400_000));
    check("-99999999999999999999999", Some(1_000));
    check("garbage", None);
    check("much longer garbage, with words in it", None);
    check("", None);
    check("-", None);
    check("1.5", None);
    check("2026-08-01T09:00:10Z", Some(10_000));
    check("2026-08-01T09:00:10.500Z", Some(10_500));
    check("2026-08-01T09:00:10", Some(10_000));
    check("2026-08-01T11:00:10+02:00", Some(10_000));
    check("Sat, 01 Aug 2026 09:00:10 GMT", Some(10_000));
    check("Sat, 01 Aug 2026 11:00:10 +0200", Some(10_000));
    check("Sat, 1 Aug 2026 09:00:10 UTC", Some(10_000));
    check("Saturday, 01-Aug-26 09:00:10 GMT", Some(10_000));
    check("01 Aug 26 09:01 UTC", Some(60_000));
    check("01 Aug 26 05:01 EDT", Some(60_000));
    check("01 Aug 26 11:01 +0200", Some(60_000));
    check("Sat Aug  1 09:00:10 2026", Some(10_000));
    check("2026-08-02", Some(15 * 3_600_000));
    check("2036-08-02", Some(86_400_000));
    check("1999-08-02", Some(1_000));
    check("Sat, 32 Aug 2026 09:00:10 GMT", None);
    check("Sat, 01 Aug 2026 09:00:10 +99999", None);
}

#[test]
fn durations_are_written_as_they_are_read() {
    let check = |ms: u64, expected: &str| assert_eq!(format(ms), expected);
    check(0, "0s");
    check(1, "1ms");
    check(1_500, "1s500ms");
    check(5_400_000, "1h30m");
    check(86_400_000, "1d");
    check(788_645_000, "9d3h4m5s");
}

proptest! {
    #[test]
    fn written_durations_are_read_back(ms in 0_u64..9_000_000_000_000) {
        prop_assert_eq!(parse(&format(ms)), Ok(Duration::from_millis(ms)));
    }

    #[test]
    fn any_text_is_survived(text in ".*", now in any::<i64>()) {
        let _ = (parse(&text), parse_go(&text));
        if let Ok(due) = parse_when(&text, now) {
            prop_assert!(due >= now);
        }
        let _ = retry_after(&text, now);
    }

    #[test]
    fn texts_near_a_form_are_survived(text in "[0-9.]{0,40}[a-zµ]{0,2}[0-9T:Z+. -]{0,40}(GMT|Aug)?[0-9 :-]{0,20}", now in any::<i64>()) {
        let _ = (parse(&text), parse_when(&text, now));
        if let Some(delay) = retry_after(&text, now) {
            prop_assert!((1_000..=86_400_000).contains(&delay));
        }
    }

    #[test]
    fn long_numbers_never_overflow(numbers in prop::collection::vec(any::<u64>(), 1..6), unit in "(ns|us|ms|s|m|h|d|w)") {
        let text: String = numbers.iter().map(|number| format!("{number}.{number}{unit}")).collect();
        let _ = parse(&text);
    }
}
