//! Cron schedules: when one is due next.
//!
//! Five fields (minute, hour, day of month, month, day of week), with an optional `TZ=<zone> ` or `CRON_TZ=<zone> ` before them; UTC
//! without it. Lists, ranges, steps, month and day names, `?` for `*`. No seconds, no `@daily`, no `L`, `W`, `#`. When both day
//! fields are restricted, a day matching either is due. Instants are judged by what a clock on the wall of that zone shows: a local
//! time that a clock change leaves out is skipped that day, one that it repeats is due twice.

use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike};
use chrono_tz::Tz;
use sha2::{Digest, Sha256};

/// Longest schedule text, in bytes.
pub const MAX_CRON_BYTES: usize = 255;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// How far ahead a next time is looked for. A schedule that is never due within it is never due.
const HORIZON_DAYS: i64 = 5 * 366;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What is wrong with a schedule's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("cron schedule is longer than {MAX_CRON_BYTES} bytes")]
    TooLong,
    #[error("cron schedules such as `{text}` are not supported, use five fields")]
    Descriptor { text: String },
    #[error("time zone `{zone}` is unknown")]
    UnknownZone { zone: String },
    #[error(
        "cron schedule has {count} fields instead of five: minute, hour, day of month, month, day of week"
    )]
    FieldCount { count: usize },
    #[error("{field} `{text}` is not valid, it takes {min}-{max}, lists, ranges, steps and `*`")]
    Field {
        field: &'static str,
        text: String,
        min: u32,
        max: u32,
    },
}

/// A parsed schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    zone: Tz,
    minutes: u64,
    hours: u64,
    days: Days,
    months: u64,
}

/// Which days of a month are due.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Days {
    of_month: u64,
    of_week: u64,
    /// Both fields are restricted, so a day matching one of them is due.
    either: bool,
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// See [`CronError`]. A schedule that is well formed but never due, such as 30 February, is no error.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        if text.len() > MAX_CRON_BYTES {
            return Err(CronError::TooLong);
        }
        let mut rest = text.trim();
        let mut zone = Tz::UTC;
        let prefixed = rest
            .strip_prefix("CRON_TZ=")
            .or_else(|| rest.strip_prefix("TZ="));
        if let Some(prefixed) = prefixed {
            let (name, fields) = prefixed
                .split_once(char::is_whitespace)
                .unwrap_or((prefixed, ""));
            zone = name.parse().map_err(|_| CronError::UnknownZone {
                zone: name.to_owned(),
            })?;
            rest = fields.trim();
        }
        if rest.starts_with('@') {
            return Err(CronError::Descriptor {
                text: rest.to_owned(),
            });
        }
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(CronError::FieldCount {
                count: fields.len(),
            });
        };
        let (minutes, _) = MINUTE.parse(minute)?;
        let (hours, _) = HOUR.parse(hour)?;
        let (of_month, any_day) = DAY.parse(day)?;
        let (months, _) = MONTH.parse(month)?;
        let (of_week, any_weekday) = WEEKDAY.parse(weekday)?;
        Ok(Self {
            zone,
            minutes,
            hours,
            days: Days {
                of_month,
                of_week,
                either: !any_day && !any_weekday,
            },
            months,
        })
    }

    /// The name of its time zone, as the time zone database has it.
    pub fn zone_name(&self) -> &'static str {
        self.zone.name()
    }

    /// The first due time later than `after_ms`; both in ms since the epoch. Always a whole minute. `None` when there is none within
    /// five years, or when `after_ms` is outside the calendar.
    pub fn next_after(&self, after_ms: i64) -> Option<i64> {
        let mut from = after_ms
            .div_euclid(MINUTE_MS)
            .checked_add(1)?
            .checked_mul(MINUTE_MS)?;
        for _ in 0..HORIZON_DAYS {
            let to = from.checked_add(DAY_MS)?;
            let offset = self.offset_at(from)?;
            // Two clock changes within a day do not happen, so equal offsets mean that local time runs evenly between.
            let found = if offset == self.offset_at(to)? {
                self.find_in_even_day(from, offset)?
            } else {
                self.find_by_minute(from, to)?
            };
            if found.is_some() {
                return found;
            }
            from = to;
        }
        None
    }

    fn offset_at(&self, at_ms: i64) -> Option<TimeDelta> {
        let utc = DateTime::from_timestamp_millis(at_ms)?.naive_utc();
        let offset = self.zone.offset_from_utc_datetime(&utc).fix();
        Some(TimeDelta::seconds(i64::from(offset.local_minus_utc())))
    }

    fn local_at(&self, at_ms: i64, offset: TimeDelta) -> Option<NaiveDateTime> {
        DateTime::from_timestamp_millis(at_ms)?
            .naive_utc()
            .checked_add_signed(offset)
    }

    /// The first match in `[from, from + 24 h)` under one offset. The outer `None` means the calendar's end.
    fn find_in_even_day(&self, from: i64, offset: TimeDelta) -> Option<Option<i64>> {
        let start = self.local_at(from, offset)?;
        let midnight = start.date().and_hms_opt(0, 0, 0)?;
        let since_midnight = i64::from(start.hour() * 60 + start.minute());
        for (date, first, end) in [
            (start.date(), since_midnight, 24 * 60),
            (start.date().succ_opt()?, 0, since_midnight),
        ] {
            if !self.is_due_on(date) {
                continue;
            }
            let Some(minute) = self.first_minute(first, end) else {
                continue;
            };
            let midnight = midnight + (date - start.date());
            let elapsed = midnight + TimeDelta::minutes(minute) - start.with_second(0)?;
            return Some(Some(from + elapsed.num_milliseconds()));
        }
        Some(None)
    }

    fn first_minute(&self, first: i64, end: i64) -> Option<i64> {
        (first..end)
            .find(|at| has(self.hours, (at / 60) as u32) && has(self.minutes, (at % 60) as u32))
    }

    fn find_by_minute(&self, from: i64, to: i64) -> Option<Option<i64>> {
        let mut at = from;
        while at < to {
            let local = self.local_at(at, self.offset_at(at)?)?;
            let in_time = has(self.hours, local.hour()) && has(self.minutes, local.minute());
            if in_time && self.is_due_on(local.date()) {
                return Some(Some(at));
            }
            at += MINUTE_MS;
        }
        Some(None)
    }

    fn is_due_on(&self, date: chrono::NaiveDate) -> bool {
        if !has(self.months, date.month()) {
            return false;
        }
        let by_month = has(self.days.of_month, date.day());
        let by_week = has(self.days.of_week, date.weekday().num_days_from_sunday());
        if self.days.either {
            by_month || by_week
        } else {
            by_month && by_week
        }
    }
}

/// By how many ms the occurrence called `identity` is moved: the same every time it is asked, spread evenly over `[1 s, jitter)`.
/// A jitter of a second or less is used as it is.
pub fn jitter_ms(identity: &str, jitter: Duration) -> u64 {
    let jitter = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX);
    if jitter <= 1_000 {
        return jitter;
    }
    let digest = Sha256::digest(identity.as_bytes());
    let number = digest
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    1_000 + number % (jitter - 1_000)
}

fn has(set: u64, value: u32) -> bool {
    set >> value & 1 == 1
}

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// Names of the values from `min` on.
    names: &'static [&'static str],
}

const MINUTE: Field = Field::new("minute", 0, 59, &[]);
const HOUR: Field = Field::new("hour", 0, 23, &[]);
const DAY: Field = Field::new("day of month", 1, 31, &[]);
const MONTH: Field = Field::new("month", 1, 12, &MONTHS);
const WEEKDAY: Field = Field::new("day of week", 0, 6, &WEEKDAYS);

impl Field {
    const fn new(name: &'static str, min: u32, max: u32, names: &'static [&'static str]) -> Self {
        Self {
            name,
            min,
            max,
            names,
        }
    }

    /// The set of values as bits, and whether the field restricts nothing.
    fn parse(&self, text: &str) -> Result<(u64, bool), CronError> {
        let invalid = || CronError::Field {
            field: self.name,
            text: text.to_owned(),
            min: self.min,
            max: self.max,
        };
        let mut set = 0;
        let mut any = false;
        for part in text.split(',') {
            let (values, is_any) = self.parse_part(part).ok_or_else(invalid)?;
            set |= values;
            any |= is_any;
        }
        Ok((set, any))
    }

    fn parse_part(&self, part: &str) -> Option<(u64, bool)> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step)?)),
            None => (part, None),
        };
        if step == Some(0) {
            return None;
        }
        let is_star = range == "*" || range == "?";
        let (first, last) = if is_star {
            (self.min, self.max)
        } else if let Some((first, last)) = range.split_once('-') {
            (self.value(first)?, self.value(last)?)
        } else {
            let first = self.value(range)?;
            // `5/15` means from 5 on.
            (first, if step.is_some() { self.max } else { first })
        };
        if first > last {
            return None;
        }
        let step = step.unwrap_or(1);
        let set = (first..=last)
            .filter(|value| (value - first) % step == 0)
            .fold(0_u64, |set, value| set | 1 << value);
        Some((set, is_star && step == 1))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self
            .names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(index) => self.min + u32::try_from(index).ok()?,
            None => number(text)?,
        };
        (self.min..=self.max).contains(&value).then_some(value)
    }
}

/// Digits only: no sign, which `u32`'s own parser would take.
fn number(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
#[path = "cron_tests.rs"]
mod tests;
