//! Scalars that only this schema has.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};

use inngest_core::time::Timestamp;

/// RFC 3339 instant. Any offset and fraction is read; what is written is UTC.
#[derive(Clone, Copy)]
pub(crate) struct Time(pub(crate) Timestamp);

/// RFC 3339 instant. Any offset and fraction is read; what is written is UTC.
#[Scalar(name = "Time")]
impl ScalarType for Time {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        let parsed = chrono::DateTime::parse_from_rfc3339(text)
            .map_err(|_| InputValueError::custom("not an RFC 3339 time"))?;
        Ok(Self(Timestamp::from_millis(parsed.timestamp_millis())))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339())
    }
}

/// Text, as it is.
#[derive(Clone)]
pub(crate) struct Bytes(pub(crate) String);

/// Text, as it is.
#[Scalar(name = "Bytes")]
impl ScalarType for Bytes {
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
