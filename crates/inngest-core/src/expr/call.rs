//! The functions an expression can call. A missing or null argument gives a missing value, or false where a boolean is asked for.

use std::borrow::Cow;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::Value as Json;

use super::ExprError;
use super::check::{Function, Getter};
use super::number::Number;
use super::value::{Budget, Value, type_error};
use crate::duration;

type Result<T> = std::result::Result<T, ExprError>;

/// Calls `function`. The number of arguments has been checked when the expression was parsed. `now` is in ms since the epoch.
pub(super) fn call<'v>(
    function: Function,
    args: &[Value<'v>],
    now: Option<i64>,
    budget: &Budget,
) -> Result<Value<'v>> {
    let Some(first) = args.first() else {
        return now_time(now).map(Value::Time);
    };
    match function {
        Function::Size => return size(first, budget),
        Function::JsonParse => return json_parse(first, budget),
        Function::Type => return Ok(Value::Type(first.type_name())),
        Function::Dyn => return Ok(first.clone()),
        Function::Contains | Function::StartsWith | Function::EndsWith => {
            return search(function, args, budget);
        }
        _ if first.is_absent() => return Ok(Value::Missing),
        _ => {}
    }
    match function {
        Function::Lowercase => change_text("`lowercase`", first, budget, str::to_lowercase),
        Function::Uppercase => change_text("`uppercase`", first, budget, str::to_uppercase),
        Function::Base64Decode => base64_decode(first, budget),
        Function::Date => date(first).map(Value::Time),
        Function::Now => now_time(now).map(Value::Time),
        Function::NowPlus => Ok(Value::Time(shift(now_time(now)?, span(first)?)?)),
        Function::NowMinus => Ok(Value::Time(shift(
            now_time(now)?,
            -TimeDelta::nanoseconds(nanos(first)?),
        )?)),
        Function::Int => to_int(first).map(|value| Value::Number(Number::Int(value))),
        Function::Uint => to_uint(first).map(|value| Value::Number(Number::Uint(value))),
        Function::Double => to_double(first).map(|value| Value::Number(Number::Double(value))),
        Function::String => to_text(first, budget),
        Function::Bool => to_bool(first).map(Value::Bool),
        Function::Bytes => match first {
            Value::Bytes(_) => Ok(first.clone()),
            Value::Text(text) => {
                budget.spend_making(text.len())?;
                Ok(Value::Bytes(Rc::from(text.as_bytes())))
            }
            other => Err(type_error("`bytes`", &[other])),
        },
        Function::Timestamp => timestamp(first).map(Value::Time),
        Function::Duration => nanos(first).map(Value::Span),
        Function::Get(getter) => get(getter, first, args.get(1)),
        Function::Size
        | Function::JsonParse
        | Function::Type
        | Function::Dyn
        | Function::Contains
        | Function::StartsWith
        | Function::EndsWith => Ok(Value::Missing),
    }
}

fn failed(operation: &'static str, message: impl Into<String>) -> ExprError {
    ExprError::Failed {
        operation,
        message: message.into(),
    }
}

/// The size of a missing value is 0, that of null is missing.
fn size<'v>(value: &Value<'v>, budget: &Budget) -> Result<Value<'v>> {
    let size = match value {
        Value::Missing => 0,
        Value::Null => return Ok(Value::Missing),
        Value::Text(text) => {
            budget.spend_reading(text)?;
            text.chars().count()
        }
        Value::Bytes(bytes) => bytes.len(),
        other => match other.len() {
            Some(len) => len,
            None => return Err(type_error("`size`", &[other])),
        },
    };
    Ok(Value::Number(Number::Int(
        i64::try_from(size).unwrap_or(i64::MAX),
    )))
}

fn search<'v>(function: Function, args: &[Value<'v>], budget: &Budget) -> Result<Value<'v>> {
    if args.iter().any(Value::is_absent) {
        return Ok(Value::Bool(false));
    }
    let [Value::Text(text), Value::Text(part)] = args else {
        let operands: Vec<&Value<'_>> = args.iter().collect();
        return Err(type_error("a search in a text", &operands));
    };
    budget.spend_reading(text)?;
    Ok(Value::Bool(match function {
        Function::StartsWith => text.starts_with(&**part),
        Function::EndsWith => text.ends_with(&**part),
        _ => text.contains(&**part),
    }))
}

fn change_text<'v>(
    operation: &'static str,
    value: &Value<'v>,
    budget: &Budget,
    change: fn(&str) -> String,
) -> Result<Value<'v>> {
    let Value::Text(text) = value else {
        return Err(type_error(operation, &[value]));
    };
    budget.spend_making(text.len())?;
    Ok(Value::Text(change(text).into()))
}

fn base64_decode<'v>(value: &Value<'v>, budget: &Budget) -> Result<Value<'v>> {
    let Value::Text(text) = value else {
        return Err(type_error("`b64decode`", &[value]));
    };
    budget.spend_making(text.len())?;
    let bytes = STANDARD
        .decode(text.as_bytes())
        .map_err(|_| failed("`b64decode`", "this is not base64"))?;
    let text =
        String::from_utf8(bytes).map_err(|_| failed("`b64decode`", "the content is not UTF-8"))?;
    Ok(Value::Text(text.into()))
}

/// Anything but the text of an object gives an empty map.
fn json_parse<'v>(value: &Value<'v>, budget: &Budget) -> Result<Value<'v>> {
    if let Value::Text(text) = value {
        budget.spend_making(text.len())?;
        if let Ok(json @ Json::Object(_)) = serde_json::from_str(text) {
            return Value::from_owned_json(json, budget);
        }
    }
    Ok(Value::Map(Rc::default()))
}

fn now_time(now: Option<i64>) -> Result<DateTime<Utc>> {
    now.and_then(DateTime::from_timestamp_millis)
        .ok_or_else(|| failed("`now`", "there is no current time here"))
}

/// A date as text, or an integer in ms. Numbers of JSON are doubles and have to be converted, as everywhere else in use.
fn date(value: &Value<'_>) -> Result<DateTime<Utc>> {
    match value {
        Value::Time(time) => Ok(*time),
        Value::Text(text) => {
            duration::parse_date(text.trim()).ok_or_else(|| failed("`date`", "this is not a date"))
        }
        Value::Number(number @ (Number::Int(_) | Number::Uint(_))) => number
            .to_whole()
            .and_then(|ms| i64::try_from(ms).ok())
            .and_then(DateTime::from_timestamp_millis)
            .ok_or_else(|| failed("`date`", "this is outside the calendar")),
        Value::Number(_) => Err(ExprError::Type {
            operation: "`date`",
            operands: "a number of JSON, use `date(int(…))`".to_owned(),
        }),
        other => Err(type_error("`date`", &[other])),
    }
}

/// A date as text, or an integer in seconds.
fn timestamp(value: &Value<'_>) -> Result<DateTime<Utc>> {
    match value {
        Value::Time(time) => Ok(*time),
        Value::Text(text) => DateTime::parse_from_rfc3339(text)
            .map(|time| time.to_utc())
            .map_err(|_| failed("`timestamp`", "this is not an RFC 3339 date")),
        Value::Number(number @ (Number::Int(_) | Number::Uint(_))) => number
            .to_whole()
            .and_then(|seconds| i64::try_from(seconds).ok())
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .ok_or_else(|| failed("`timestamp`", "this is outside the calendar")),
        other => Err(type_error("`timestamp`", &[other])),
    }
}

fn nanos(value: &Value<'_>) -> Result<i64> {
    match value {
        Value::Span(nanos) => Ok(*nanos),
        Value::Text(text) => {
            let (sign, text) = match text.strip_prefix('-') {
                Some(rest) => (-1, rest),
                None => (1, &**text),
            };
            let length =
                duration::parse(text).map_err(|error| failed("`duration`", error.to_string()))?;
            // The parser stays below what 64 bits hold.
            Ok(sign * i64::try_from(length.as_nanos()).unwrap_or(i64::MAX))
        }
        other => Err(type_error("`duration`", &[other])),
    }
}

fn span(value: &Value<'_>) -> Result<TimeDelta> {
    nanos(value).map(TimeDelta::nanoseconds)
}

fn shift(time: DateTime<Utc>, by: TimeDelta) -> Result<DateTime<Utc>> {
    time.checked_add_signed(by)
        .ok_or_else(|| failed("`now`", "the result is outside the calendar"))
}

fn to_int(value: &Value<'_>) -> Result<i64> {
    let found = match value {
        Value::Number(number) => number
            .truncated()
            .and_then(|whole| i64::try_from(whole).ok()),
        Value::Text(text) => text.trim().parse().ok(),
        Value::Time(time) => Some(time.timestamp()),
        other => return Err(type_error("`int`", &[other])),
    };
    found.ok_or_else(|| failed("`int`", "this is not a 64-bit integer"))
}

fn to_uint(value: &Value<'_>) -> Result<u64> {
    let found = match value {
        Value::Number(number) => number
            .truncated()
            .and_then(|whole| u64::try_from(whole).ok()),
        Value::Text(text) => text.trim().parse().ok(),
        other => return Err(type_error("`uint`", &[other])),
    };
    found.ok_or_else(|| failed("`uint`", "this is not an unsigned 64-bit integer"))
}

fn to_double(value: &Value<'_>) -> Result<f64> {
    match value {
        Value::Number(number) => Ok(number.to_f64()),
        Value::Text(text) => text
            .trim()
            .parse()
            .map_err(|_| failed("`double`", "this is not a number")),
        other => Err(type_error("`double`", &[other])),
    }
}

fn to_text<'v>(value: &Value<'v>, budget: &Budget) -> Result<Value<'v>> {
    if let Value::Bytes(bytes) = value {
        budget.spend_making(bytes.len())?;
        return match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::Text(text.to_owned().into())),
            Err(_) => Err(failed("`string`", "the bytes are not UTF-8")),
        };
    }
    let text = value
        .scalar_text()
        .ok_or_else(|| type_error("`string`", &[value]))?;
    budget.spend_making(text.len())?;
    Ok(Value::Text(text))
}

fn to_bool(value: &Value<'_>) -> Result<bool> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::Text(text) => match &**text {
            "true" | "True" | "TRUE" | "t" | "1" => Ok(true),
            "false" | "False" | "FALSE" | "f" | "0" => Ok(false),
            _ => Err(failed("`bool`", "this is neither true nor false")),
        },
        other => Err(type_error("`bool`", &[other])),
    }
}

fn get<'v>(getter: Getter, value: &Value<'v>, zone: Option<&Value<'v>>) -> Result<Value<'v>> {
    let found = match (value, zone) {
        (Value::Time(time), None) => part_of_time(getter, time.naive_utc()),
        (Value::Time(time), Some(Value::Text(zone))) => part_of_time(getter, local(*time, zone)?),
        (Value::Span(nanos), None) => match getter {
            Getter::Hours => nanos / 3_600_000_000_000,
            Getter::Minutes => nanos / 60_000_000_000,
            Getter::Seconds => nanos / 1_000_000_000,
            Getter::Milliseconds => nanos / 1_000_000 % 1_000,
            _ => return Err(type_error("a part of a date", &[value])),
        },
        _ => return Err(type_error("a part of a time", &[value])),
    };
    Ok(Value::Number(Number::Int(found)))
}

/// What a clock in `zone` shows: a name such as `Europe/Berlin`, or `+02:00`.
fn local(time: DateTime<Utc>, zone: &str) -> Result<NaiveDateTime> {
    // Local times beyond the calendar's ends cannot be shown.
    if !(-9_998..=9_998).contains(&time.year()) {
        return Err(failed("a part of a time", "this is outside the calendar"));
    }
    if let Ok(zone) = zone.parse::<Tz>() {
        return Ok(zone.from_utc_datetime(&time.naive_utc()).naive_local());
    }
    let signed = if zone.starts_with(['+', '-']) {
        Cow::Borrowed(zone)
    } else {
        Cow::Owned(format!("+{zone}"))
    };
    match signed.parse::<FixedOffset>() {
        Ok(offset) => Ok(time.with_timezone(&offset).naive_local()),
        Err(_) => Err(failed("a part of a time", "the time zone is unknown")),
    }
}

/// As in JavaScript: months, days of month (but not dates), weekdays and days of the year count from 0, Sunday is 0.
fn part_of_time(getter: Getter, time: NaiveDateTime) -> i64 {
    let part = match getter {
        Getter::FullYear => return time.year().into(),
        Getter::Month => time.month0(),
        Getter::Date => time.day(),
        Getter::DayOfMonth => time.day0(),
        Getter::DayOfWeek => time.weekday().num_days_from_sunday(),
        Getter::DayOfYear => time.ordinal0(),
        Getter::Hours => time.hour(),
        Getter::Minutes => time.minute(),
        Getter::Seconds => time.second(),
        Getter::Milliseconds => time.nanosecond() / 1_000_000,
    };
    part.into()
}
