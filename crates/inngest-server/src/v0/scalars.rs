//! Scalars that only this schema has.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};

use inngest_core::{json::Json, time::Timestamp};

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

/// A scalar that is text.
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
    /// Text, as it is.
    Bytes, "Bytes"
);
text!(
    /// What an entry of metadata is attached to.
    SpanMetadataScope, "SpanMetadataScope"
);
text!(
    /// Sort of an entry of metadata.
    SpanMetadataKind, "SpanMetadataKind"
);

/// A scalar that is any JSON value.
macro_rules! json {
    ($(#[$doc:meta])* $name:ident, $label:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub(crate) struct $name(pub(crate) Json);

        $(#[$doc])*
        #[Scalar(name = $label)]
        impl ScalarType for $name {
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
    };
}

json!(
    /// Any JSON value.
    Unknown, "Unknown"
);
json!(
    /// An object: the entry of metadata.
    SpanMetadataValues, "SpanMetadataValues"
);
