//! Scalars of the schema.

use async_graphql::{InputValueError, InputValueResult, Number, Scalar, ScalarType, Value};

use inngest_core::{json::Json, time::Timestamp};

/// RFC 3339 instant in UTC with millisecond precision, for example 2026-08-22T10:15:30.123Z.
#[derive(Clone, Copy)]
pub(crate) struct DateTime(pub(crate) Timestamp);

/// RFC 3339 instant in UTC with millisecond precision, for example 2026-08-22T10:15:30.123Z.
#[Scalar(name = "DateTime")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        Self::of_text(text).ok_or_else(|| {
            InputValueError::custom("not an RFC 3339 time such as 2026-08-22T10:15:30.123Z")
        })
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339())
    }
}

impl DateTime {
    /// Reads an RFC 3339 text.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let parsed = chrono::DateTime::parse_from_rfc3339(text).ok()?;
        Some(Self(Timestamp::from_millis(parsed.timestamp_millis())))
    }
}

/// Any JSON value, returned as JSON and never as an encoded string.
#[derive(Clone, Debug)]
pub(crate) struct JsonScalar(pub(crate) Json);

/// Any JSON value, returned as JSON and never as an encoded string.
#[Scalar(name = "JSON")]
impl ScalarType for JsonScalar {
    fn parse(value: Value) -> InputValueResult<Self> {
        let value = value
            .into_json()
            .map_err(|_| InputValueError::custom("not a JSON value"))?;
        Ok(Self(Json::from_value(&value)))
    }

    fn to_value(&self) -> Value {
        serde_json::from_slice(self.0.as_bytes()).unwrap_or(Value::Null)
    }
}

/// A whole number, which GraphQL's own `Int` would cut at 32 bits.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name(pub(crate) u64);

        $(#[$doc])*
        #[Scalar]
        impl ScalarType for $name {
            fn parse(value: Value) -> InputValueResult<Self> {
                match &value {
                    Value::Number(number) => number.as_u64().map(Self).ok_or_else(|| InputValueError::custom("not a whole number from 0")),
                    _ => Err(InputValueError::expected_type(value)),
                }
            }

            fn to_value(&self) -> Value {
                Value::Number(Number::from(self.0))
            }
        }
    };
}

number!(
    /// Whole number of milliseconds as a JSON number up to 2^53-1; used where Int would overflow after 24 days.
    Milliseconds
);
number!(
    /// Whole number as a JSON number up to 2^53-1; used for byte sizes and large counters.
    Long
);

/// Text in a known form, passed through as it is.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $label:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub(crate) struct $name(pub(crate) String);

        $(#[$doc])*
        #[Scalar(name = $label)]
        impl ScalarType for $name {
            fn parse(value: Value) -> InputValueResult<Self> {
                match value {
                    Value::String(text) => Ok(Self(text)),
                    other => Err(InputValueError::expected_type(other)),
                }
            }

            fn to_value(&self) -> Value {
                Value::String(self.0.clone())
            }
        }
    };
}

text!(
    /// 26 character Crockford base32 identifier whose first 48 bits are a millisecond timestamp.
    UlidText, "ULID"
);
text!(
    /// RFC 9562 identifier in lower-case hyphenated form.
    UuidText, "UUID"
);
text!(
    /// Absolute http or https URL.
    UrlText, "URL"
);
text!(
    /// CEL source text, passed through as text and compiled by the service; failures carry the code INVALID_EXPRESSION.
    CelExpression, "CelExpression"
);
text!(
    /// Duration in the form the SDKs send, for example 30s, 5m, 2h or 7d.
    DurationString, "DurationString"
);

impl DurationString {
    /// A duration in the largest unit that holds it exactly.
    pub(crate) fn of(duration: std::time::Duration) -> Self {
        let millis = duration.as_millis();
        let (count, unit) = match millis {
            m if m % 86_400_000 == 0 && m > 0 => (m / 86_400_000, "d"),
            m if m % 3_600_000 == 0 && m > 0 => (m / 3_600_000, "h"),
            m if m % 60_000 == 0 && m > 0 => (m / 60_000, "m"),
            m if m % 1_000 == 0 => (m / 1_000, "s"),
            m => (m, "ms"),
        };
        Self(format!("{count}{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_use_the_largest_exact_unit() {
        for (millis, text) in [
            (0, "0s"),
            (1, "1ms"),
            (30_000, "30s"),
            (90_000, "90s"),
            (120_000, "2m"),
            (7_200_000, "2h"),
            (604_800_000, "7d"),
        ] {
            assert_eq!(DurationString::of(Duration::from_millis(millis)).0, text);
        }
    }

    #[test]
    fn json_goes_through_unchanged() {
        let json = Json::parse(br#"{"a":[1,2.5,null,true,"x"],"big":9007199254740991}"#).unwrap();
        let value = JsonScalar(json.clone()).to_value();
        assert_eq!(JsonScalar::parse(value).unwrap().0, json);
    }
}
