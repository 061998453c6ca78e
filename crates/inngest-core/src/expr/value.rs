//! Values while an expression is evaluated, and what is true, equal, or less than what.

use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::Deref;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value as Json;

use super::number::Number;
use super::{ExprError, MAX_COST};

/// Values nested deeper than this are not looked into.
const MAX_VALUE_DEPTH: usize = 128;

/// Event data is borrowed, never copied, until something new is made of it.
#[derive(Clone, Debug)]
pub(super) enum Value<'v> {
    /// A path that leads nowhere.
    Missing,
    Null,
    Bool(bool),
    Number(Number),
    Text(Text<'v>),
    Bytes(Rc<[u8]>),
    /// An array or object of an event.
    Json(&'v Json),
    List(Rc<Vec<Value<'v>>>),
    Map(Rc<Vec<(Value<'v>, Value<'v>)>>),
    Time(DateTime<Utc>),
    /// A length of time, in ns.
    Span(i64),
    Type(&'static str),
}

/// Text of an event, of the expression, or made meanwhile. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Text<'v> {
    Borrowed(&'v str),
    Made(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Made(text.into())
    }
}

/// What is left of the work an evaluation may do.
#[derive(Debug)]
pub(super) struct Budget(Cell<u32>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Cell::new(MAX_COST))
    }

    pub(super) fn spend(&self, cost: usize) -> Result<(), ExprError> {
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let left = self.0.get().checked_sub(cost);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(ExprError::TooCostly)
    }

    pub(super) fn spend_reading(&self, text: &str) -> Result<(), ExprError> {
        self.spend(text.len() / 256)
    }

    pub(super) fn spend_making(&self, bytes: usize) -> Result<(), ExprError> {
        self.spend(bytes / 64)
    }
}

impl<'v> Value<'v> {
    pub(super) fn from_json(json: &'v Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Number(Number::from_json(number)),
            Json::String(text) => Self::Text(Text::Borrowed(text)),
            Json::Array(_) | Json::Object(_) => Self::Json(json),
        }
    }

    /// For JSON that was made during evaluation. Spends what its size costs.
    pub(super) fn from_owned_json(json: Json, budget: &Budget) -> Result<Self, ExprError> {
        budget.spend(1)?;
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => Self::Number(Number::from_json(&number)),
            Json::String(text) => {
                budget.spend_making(text.len())?;
                Self::Text(text.into())
            }
            Json::Array(items) => {
                let items = items
                    .into_iter()
                    .map(|item| Self::from_owned_json(item, budget));
                Self::List(Rc::new(items.collect::<Result<_, _>>()?))
            }
            Json::Object(fields) => {
                let fields = fields.into_iter().map(|(name, field)| {
                    budget.spend_making(name.len())?;
                    let name = Self::Text(name.into());
                    Ok((name, Self::from_owned_json(field, budget)?))
                });
                Self::Map(Rc::new(fields.collect::<Result<_, _>>()?))
            }
        })
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Missing | Self::Null)
    }

    /// As in JavaScript: empty text and zero are false, empty lists and maps are true.
    pub(super) fn is_truthy(&self) -> bool {
        match self {
            Self::Missing | Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(number) => {
                let number = number.to_f64();
                number != 0.0 && !number.is_nan()
            }
            Self::Text(text) => !text.is_empty(),
            Self::Bytes(_)
            | Self::Json(_)
            | Self::List(_)
            | Self::Map(_)
            | Self::Time(_)
            | Self::Span(_)
            | Self::Type(_) => true,
        }
    }

    /// What a person calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "a missing value",
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Bytes(_) => "bytes",
            Self::Json(Json::Array(_)) | Self::List(_) => "a list",
            Self::Json(_) | Self::Map(_) => "a map",
            Self::Time(_) => "a time",
            Self::Span(_) => "a duration",
            Self::Type(_) => "a type",
        }
    }

    /// What CEL calls its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Missing | Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Number(Number::Int(_)) => "int",
            Self::Number(Number::Uint(_)) => "uint",
            Self::Number(Number::Whole(_) | Number::Double(_)) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Json(Json::Array(_)) | Self::List(_) => "list",
            Self::Json(_) | Self::Map(_) => "map",
            Self::Time(_) => "google.protobuf.Timestamp",
            Self::Span(_) => "google.protobuf.Duration",
            Self::Type(_) => "type",
        }
    }

    /// The value of a field. Missing when there is none, also on anything that has no fields.
    pub(super) fn field(&self, name: &str) -> Self {
        match self {
            Self::Json(Json::Object(fields)) => {
                fields.get(name).map_or(Self::Missing, Self::from_json)
            }
            Self::Map(entries) => entries
                .iter()
                .find(|(key, _)| matches!(key, Self::Text(text) if **text == *name))
                .map_or(Self::Missing, |(_, value)| value.clone()),
            _ => Self::Missing,
        }
    }

    /// The element of a list, counted from 0. Missing when there is none, also on anything that is no list.
    pub(super) fn element(&self, index: usize) -> Self {
        match self {
            Self::Json(Json::Array(items)) => {
                items.get(index).map_or(Self::Missing, Self::from_json)
            }
            Self::List(items) => items.get(index).cloned().unwrap_or(Self::Missing),
            _ => Self::Missing,
        }
    }

    /// `self[index]`.
    pub(super) fn at(&self, index: &Self, budget: &Budget) -> Result<Self, ExprError> {
        match (self, index) {
            (Self::Map(entries), _) => {
                for (key, value) in entries.iter() {
                    if equal(key, index, budget)? {
                        return Ok(value.clone());
                    }
                }
                Ok(Self::Missing)
            }
            (_, Self::Text(name)) => Ok(self.field(name)),
            (_, Self::Number(number)) => {
                let index = number
                    .to_whole()
                    .and_then(|whole| usize::try_from(whole).ok());
                Ok(index.map_or(Self::Missing, |index| self.element(index)))
            }
            _ => Ok(Self::Missing),
        }
    }

    /// The elements of a list, or the keys of a map. `None` for anything else.
    pub(super) fn items(&self) -> Option<Vec<Self>> {
        match self {
            Self::Json(Json::Array(items)) => Some(items.iter().map(Self::from_json).collect()),
            Self::Json(Json::Object(fields)) => Some(
                fields
                    .keys()
                    .map(|name| Self::Text(Text::Borrowed(name)))
                    .collect(),
            ),
            Self::List(items) => Some(items.as_ref().clone()),
            Self::Map(entries) => Some(entries.iter().map(|(key, _)| key.clone()).collect()),
            _ => None,
        }
    }

    /// How many elements [`Value::items`] would give.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Json(Json::Array(items)) => Some(items.len()),
            Self::Json(Json::Object(fields)) => Some(fields.len()),
            Self::List(items) => Some(items.len()),
            Self::Map(entries) => Some(entries.len()),
            _ => None,
        }
    }

    fn is_list(&self) -> bool {
        matches!(self, Self::List(_) | Self::Json(Json::Array(_)))
    }

    pub(super) fn into_number(self) -> Result<f64, ExprError> {
        match self {
            Self::Missing | Self::Null | Self::Bool(false) => Ok(0.0),
            Self::Number(number) if number.to_f64().is_finite() => Ok(number.to_f64()),
            other => Err(ExprError::NotNumber {
                found: other.kind(),
            }),
        }
    }

    /// Text that stands for the value in keys and where it is joined to a text. `None` for what only JSON can write.
    pub(super) fn scalar_text(&self) -> Option<Text<'v>> {
        Some(match self {
            Self::Missing | Self::Null => Text::Borrowed(""),
            Self::Bool(true) => Text::Borrowed("true"),
            Self::Bool(false) => Text::Borrowed("false"),
            Self::Number(number) => number.to_text().into(),
            Self::Text(text) => text.clone(),
            Self::Time(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true).into(),
            Self::Span(nanos) => span_text(*nanos).into(),
            Self::Type(name) => Text::Borrowed(name),
            Self::Bytes(_) | Self::Json(_) | Self::List(_) | Self::Map(_) => return None,
        })
    }

    pub(super) fn key_text(&self, budget: &Budget) -> Result<Option<String>, ExprError> {
        if matches!(self, Self::Missing | Self::Null | Self::Bool(false)) {
            return Ok(None);
        }
        match self.scalar_text() {
            Some(text) => Ok(Some(text.to_string())),
            None => Ok(Some(self.to_json(budget)?.to_string())),
        }
    }

    /// Missing becomes `false`; bytes, times, durations and types become text.
    pub(super) fn to_json(&self, budget: &Budget) -> Result<Json, ExprError> {
        self.to_json_at(budget, 0)
    }

    fn to_json_at(&self, budget: &Budget, depth: usize) -> Result<Json, ExprError> {
        budget.spend(1)?;
        if depth > MAX_VALUE_DEPTH {
            return Err(ExprError::TooCostly);
        }
        Ok(match self {
            Self::Missing => Json::Bool(false),
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Number(number) => number.to_json(),
            Self::Text(text) => {
                budget.spend_making(text.len())?;
                Json::String(text.to_string())
            }
            Self::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
            // Part of the event, which is bounded; but several copies of it are not.
            Self::Json(json) => {
                spend_copying(json, budget, depth)?;
                (*json).clone()
            }
            Self::List(items) => {
                let items = items.iter().map(|item| item.to_json_at(budget, depth + 1));
                Json::Array(items.collect::<Result<_, _>>()?)
            }
            Self::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    let name = match key.scalar_text() {
                        Some(text) => text.to_string(),
                        None => key.to_json_at(budget, depth + 1)?.to_string(),
                    };
                    Ok((name, value.to_json_at(budget, depth + 1)?))
                });
                Json::Object(entries.collect::<Result<_, _>>()?)
            }
            Self::Time(_) | Self::Span(_) | Self::Type(_) => Json::String(
                self.scalar_text()
                    .expect("times, durations and types have a text")
                    .to_string(),
            ),
        })
    }
}

fn spend_copying(json: &Json, budget: &Budget, depth: usize) -> Result<(), ExprError> {
    budget.spend(1)?;
    if depth > MAX_VALUE_DEPTH {
        return Err(ExprError::TooCostly);
    }
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(()),
        Json::String(text) => budget.spend_making(text.len()),
        Json::Array(items) => items
            .iter()
            .try_for_each(|item| spend_copying(item, budget, depth + 1)),
        Json::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            budget.spend_making(name.len())?;
            spend_copying(field, budget, depth + 1)
        }),
    }
}

/// `==`. Missing equals null, but not another missing value.
pub(super) fn equal(
    left: &Value<'_>,
    right: &Value<'_>,
    budget: &Budget,
) -> Result<bool, ExprError> {
    equal_at(left, right, budget, 0)
}

fn equal_at(
    left: &Value<'_>,
    right: &Value<'_>,
    budget: &Budget,
    depth: usize,
) -> Result<bool, ExprError> {
    budget.spend(1)?;
    if depth > MAX_VALUE_DEPTH {
        return Err(ExprError::TooCostly);
    }
    Ok(match (left, right) {
        (Value::Missing, Value::Null) | (Value::Null, Value::Missing | Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Number(left), Value::Number(right)) => {
            left.compare(*right) == Some(Ordering::Equal)
        }
        (Value::Text(left), Value::Text(right)) => {
            budget.spend_reading(left)?;
            **left == **right
        }
        (Value::Bytes(left), Value::Bytes(right)) => left == right,
        (Value::Time(left), Value::Time(right)) => left == right,
        (Value::Span(left), Value::Span(right)) => left == right,
        (Value::Type(left), Value::Type(right)) => left == right,
        _ => match (left.len(), right.len()) {
            (Some(left_len), Some(right_len))
                if left_len == right_len && left.is_list() == right.is_list() =>
            {
                equal_parts(left, right, budget, depth + 1)?
            }
            _ => false,
        },
    })
}

/// For two lists, or two maps, of the same length.
fn equal_parts(
    left: &Value<'_>,
    right: &Value<'_>,
    budget: &Budget,
    depth: usize,
) -> Result<bool, ExprError> {
    budget.spend(left.len().unwrap_or(0))?;
    let (Some(left_items), Some(right_items)) = (left.items(), right.items()) else {
        return Ok(false);
    };
    if left.is_list() {
        for (left, right) in left_items.iter().zip(&right_items) {
            if !equal_at(left, right, budget, depth)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    for key in &left_items {
        let found = right.at(key, budget)?;
        if found.is_missing() || !equal_at(&left.at(key, budget)?, &found, budget, depth)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The order behind `<` and its kin. Missing and null read as zero, as the empty text, or as false, whatever they are compared with.
/// `None` when no comparison holds.
///
/// # Errors
/// `Type` for values of different kinds, or without order.
pub(super) fn order(
    left: &Value<'_>,
    right: &Value<'_>,
    budget: &Budget,
) -> Result<Option<Ordering>, ExprError> {
    const ZERO: Number = Number::Int(0);
    Ok(match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.compare(*right),
        (Value::Number(left), right) if right.is_absent() => left.compare(ZERO),
        (left, Value::Number(right)) if left.is_absent() => ZERO.compare(*right),
        (Value::Text(left), Value::Text(right)) => {
            budget.spend_reading(left)?;
            Some(left.as_bytes().cmp(right.as_bytes()))
        }
        (Value::Text(left), right) if right.is_absent() => Some((**left).cmp("")),
        (left, Value::Text(right)) if left.is_absent() => Some("".cmp(&**right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Bool(left), right) if right.is_absent() => Some(left.cmp(&false)),
        (left, Value::Bool(right)) if left.is_absent() => Some(false.cmp(right)),
        (Value::Bytes(left), Value::Bytes(right)) => Some(left.cmp(right)),
        (Value::Time(left), Value::Time(right)) => Some(left.cmp(right)),
        (Value::Span(left), Value::Span(right)) => Some(left.cmp(right)),
        (left, right) if left.is_absent() || right.is_absent() => None,
        _ => return Err(type_error("ordering", &[left, right])),
    })
}

pub(super) fn type_error(operation: &'static str, operands: &[&Value<'_>]) -> ExprError {
    let kinds: Vec<&str> = operands.iter().map(|value| value.kind()).collect();
    ExprError::Type {
        operation,
        operands: kinds.join(" and "),
    }
}

/// Seconds, as CEL prints them: `5400s`, `0.25s`.
fn span_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if fraction == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{fraction:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}
