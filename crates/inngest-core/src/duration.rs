//! Durations and dates as SDKs write them: `1h30m`, `2d`, `2026-08-01T09:00:00.000Z`.
//!
//! Texts come from outside and may be anything: all are bounded in length and in value, and none overflows.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use crate::limits::{RETRY_DELAY_MAX, RETRY_DELAY_MIN};

/// Longest duration or date text, in bytes.
pub const MAX_DURATION_BYTES: usize = 128;

/// Texts shorter than this are never dates.
const MIN_DATE_BYTES: usize = 10;

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    #[error("duration is empty")]
    Empty,
    #[error("duration is longer than 292 years or {MAX_DURATION_BYTES} characters")]
    TooLong,
    #[error("`{text}` is not a duration such as `1h30m` or `2d`")]
    Malformed { text: String },
}

/// Reads a sequence of numbers with units: `ns us µs ms s m h d w`. A week is seven days, a day 24 hours. Numbers may have
/// fractions. A lone `0` needs no unit.
///
/// # Errors
/// See [`InvalidDuration`]. A sign is malformed: no setting takes a negative duration.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    read(text, Units::WithDays)
}

/// Like [`parse`], without `d` and `w`: for settings where SDKs promise a Go duration.
///
/// # Errors
/// See [`InvalidDuration`].
pub fn parse_go(text: &str) -> Result<Duration, InvalidDuration> {
    read(text, Units::Go)
}

/// When a sleep or timeout given as a date or a duration ends, in ms since the epoch. Ten characters or more are tried as a date
/// first. Empty, negative and past all mean now, so the result is never before `now_ms`.
///
/// # Errors
/// See [`InvalidDuration`], for a text that is neither. Far away is no error: limits differ by use.
pub fn parse_when(text: &str, now_ms: i64) -> Result<i64, InvalidDuration> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(now_ms);
    }
    if text.len() >= MIN_DATE_BYTES
        && let Some(date) = parse_date(text)
    {
        return Ok(date.timestamp_millis().max(now_ms));
    }
    if let Some(positive) = text.strip_prefix('-') {
        return parse(positive).map(|_| now_ms);
    }
    let length = parse(text)?;
    // Rounded up, so that nothing is due before its time.
    let ms = i64::try_from(length.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
    Ok(now_ms.saturating_add(ms))
}

/// How long to wait before the next attempt, in ms, from the value of a `Retry-After` header: whole seconds, or a date in the forms
/// HTTP and mail have used. Always between [`RETRY_DELAY_MIN`] and [`RETRY_DELAY_MAX`]. `None` for anything else: the caller
/// then uses its own backoff.
pub fn retry_after(text: &str, now_ms: i64) -> Option<u64> {
    let text = text.trim();
    let delay = match seconds(text) {
        Some(seconds) => seconds.saturating_mul(1_000),
        None => parse_date(text)
            .or_else(|| parse_mail_date(text))?
            .timestamp_millis()
            .saturating_sub(now_ms),
    };
    let delay = Duration::from_millis(u64::try_from(delay).unwrap_or(0));
    let delay = delay.clamp(RETRY_DELAY_MIN, RETRY_DELAY_MAX);
    u64::try_from(delay.as_millis()).ok()
}

/// Writes a duration the way [`parse`] reads it: `1d2h`, `1s500ms`, `0s`.
pub fn format(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut rest = ms;
    let mut text = String::new();
    for (unit, length) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ] {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    text
}

/// A date, with or without time and zone. Without zone it is UTC.
pub(crate) fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    if text.len() > MAX_DURATION_BYTES {
        return None;
    }
    if let Ok(date) = DateTime::parse_from_rfc3339(text) {
        return Some(date.to_utc());
    }
    for form in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"] {
        if let Ok(date) = DateTime::parse_from_str(text, form) {
            return Some(date.to_utc());
        }
    }
    let local = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    for form in [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
    ] {
        if let Ok(date) = NaiveDateTime::parse_from_str(local, form) {
            return Some(date.and_utc());
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_time(NaiveTime::MIN).and_utc())
}

/// The older forms: RFC 1123 and 822, with day names or without, RFC 850, ANSI C. Day names are not checked against the date.
fn parse_mail_date(text: &str) -> Option<DateTime<Utc>> {
    if text.len() > MAX_DURATION_BYTES {
        return None;
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let starts_with_day_name = words
        .first()?
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || byte == b',');
    let words = if starts_with_day_name {
        words.get(1..)?
    } else {
        &words
    };
    match *words {
        // 02 Jan 2006 15:04:05 GMT
        [day, month, year, time, zone] => mail_date(&[day, month, year], time, zone),
        // Jan _2 15:04:05 2006
        [month, day, time, year]
            if !day.contains(':') && time.contains(':') && !year.contains(':') =>
        {
            if month.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                mail_date(&[day, month, year], time, "UTC")
            } else {
                None
            }
        }
        // 02 Jan 2006 15:04:05
        [day, month, year, time] => mail_date(&[day, month, year], time, "UTC"),
        // 02-Jan-06 15:04:05 GMT
        [date, time, zone] => {
            let parts: Vec<&str> = date.split('-').collect();
            mail_date(&parts, time, zone)
        }
        _ => None,
    }
}

fn mail_date(day_month_year: &[&str], time: &str, zone: &str) -> Option<DateTime<Utc>> {
    let &[day, month, year] = day_month_year else {
        return None;
    };
    let year_form = if year.len() == 2 { "%y" } else { "%Y" };
    let date = NaiveDate::parse_from_str(
        &format!("{day} {month} {year}"),
        &format!("%d %b {year_form}"),
    )
    .ok()?;
    let time = NaiveTime::parse_from_str(time, "%H:%M:%S")
        .or_else(|_| NaiveTime::parse_from_str(time, "%H:%M"))
        .ok()?;
    date.and_time(time)
        .and_utc()
        .checked_sub_signed(TimeDelta::minutes(zone_minutes(zone)?))
}

/// East of Greenwich. A name that mail does not know counts as UTC, as HTTP dates are in UTC whatever they say.
fn zone_minutes(zone: &str) -> Option<i64> {
    let hours = match zone {
        "EDT" => -4,
        "EST" | "CDT" => -5,
        "CST" | "MDT" => -6,
        "MST" | "PDT" => -7,
        "PST" => -8,
        _ if zone.bytes().all(|byte| byte.is_ascii_alphabetic()) => 0,
        _ => return numeric_zone_minutes(zone),
    };
    Some(hours * 60)
}

fn numeric_zone_minutes(zone: &str) -> Option<i64> {
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    Some(sign * (number / 100 * 60 + number % 100))
}

/// Whole seconds with an optional sign. More digits than fit count as the largest number.
fn seconds(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().unwrap_or(i64::MAX);
    Some(if text.starts_with('-') { 0 } else { number })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Units {
    Go,
    WithDays,
}

const SECOND_NS: u128 = 1_000_000_000;

impl Units {
    fn length_ns(self, unit: &str) -> Option<u128> {
        let length = match unit {
            "ns" => 1,
            // Both the micro sign and the Greek letter are in use.
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND_NS,
            "m" => 60 * SECOND_NS,
            "h" => 3_600 * SECOND_NS,
            "d" if self == Self::WithDays => 86_400 * SECOND_NS,
            "w" if self == Self::WithDays => 7 * 86_400 * SECOND_NS,
            _ => return None,
        };
        Some(length)
    }
}

fn read(text: &str, units: Units) -> Result<Duration, InvalidDuration> {
    let text = text.trim();
    if text.is_empty() {
        return Err(InvalidDuration::Empty);
    }
    if text.len() > MAX_DURATION_BYTES {
        return Err(InvalidDuration::TooLong);
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let malformed = || InvalidDuration::Malformed {
        text: text.to_owned(),
    };
    let mut total: u128 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split_while(after, |c| !c.is_ascii_digit() && c != '.');
        rest = after;
        let unit = units.length_ns(unit).ok_or_else(malformed)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let has_digits = !(whole.is_empty() && fraction.is_empty());
        if !has_digits || fraction.contains('.') {
            return Err(malformed());
        }
        let whole: u64 = match whole {
            "" => 0,
            _ => whole.parse().map_err(|_| InvalidDuration::TooLong)?,
        };
        // Each product is below 2^64 × 2^50, the sum of at most 64 of them below 2^120.
        total += u128::from(whole) * unit + fraction_of(fraction, unit);
    }
    match i64::try_from(total) {
        Ok(_) => {
            let nanos = (total % SECOND_NS) as u32;
            Ok(Duration::new((total / SECOND_NS) as u64, nanos))
        }
        Err(_) => Err(InvalidDuration::TooLong),
    }
}

/// The decimal fraction `digits` of `unit`. Digits beyond the fifteenth cannot be seen in a duration and are ignored.
fn fraction_of(digits: &str, unit: u128) -> u128 {
    let mut scale = 1;
    let mut number = 0;
    for digit in digits.bytes().take(15) {
        scale *= 10;
        number = number * 10 + u128::from(digit - b'0');
    }
    number * unit / scale
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
#[path = "duration_tests.rs"]
mod tests;
