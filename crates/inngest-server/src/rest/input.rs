//! Bodies of requests: read by the type that describes them.

use std::borrow::Cow;

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::{Value, json, value::RawValue};

use inngest_core::{event::Event, json::Json, limits, time::Timestamp, wire};

use crate::rest::{
    operation::{Asked, IDEMPOTENCY_KEY},
    problem::Refusal,
    query::time_of,
    reply::schema_of,
};

/// What is read from the body of a request.
pub(crate) trait Input: Sized + Send + 'static {
    /// Whether it sends events, which may be larger than other bodies.
    const IS_LARGE: bool = false;

    fn schema(generator: &mut SchemaGenerator) -> Value;

    /// Whether the body can be left out.
    fn is_optional() -> bool {
        false
    }

    /// # Errors
    /// 400 for what is not JSON, 422 for JSON of another shape.
    fn read(asked: &Asked, body: &[u8]) -> Result<Self, Refusal>;
}

/// A body that serde reads, and the JSON that it was. No body is an object without members.
pub(crate) struct JsonBody<T> {
    pub(crate) value: T,
    pub(crate) json: Json,
}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Input for JsonBody<T> {
    fn schema(generator: &mut SchemaGenerator) -> Value {
        schema_of::<T>(generator)
    }

    fn is_optional() -> bool {
        serde_json::from_str::<T>("{}").is_ok()
    }

    fn read(_: &Asked, body: &[u8]) -> Result<Self, Refusal> {
        let body = match body.trim_ascii().is_empty() {
            true => b"{}",
            false => body,
        };
        let json = Json::parse(body)
            .map_err(|error| Refusal::bad_request("invalid_json", error.to_string()))?;
        if !json.is_object() {
            return Err(invalid("the body must be an object".to_owned()));
        }
        let value = serde_json::from_slice(json.as_bytes());
        let value = value.map_err(|error| invalid(told(&error)))?;
        Ok(Self { value, json })
    }
}

/// What is wrong with the shape of a body, without any of its values.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line").next().unwrap_or_default();
    match [
        "missing field",
        "unknown field",
        "a time must",
        "a state must",
    ]
    .iter()
    .any(|it| text.starts_with(it))
    {
        true => format!("the body has the wrong shape: {text}"),
        false => {
            "a member of the body has the wrong type; the OpenAPI document has its shape".to_owned()
        }
    }
}

fn invalid(detail: String) -> Refusal {
    Refusal::Request {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        code: "invalid_body",
        detail,
    }
}

/// Any JSON inside of a body.
#[derive(Clone, Debug)]
pub(crate) struct AnyJson(pub(crate) Json);

impl<'de> Deserialize<'de> for AnyJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let json = Json::parse(raw.get().as_bytes());
        json.map(Self).map_err(D::Error::custom)
    }
}

/// A time inside of a body: RFC 3339.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeInput(pub(crate) Timestamp);

impl<'de> Deserialize<'de> for TimeInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = time_of(&text).map(Self);
        time.ok_or_else(|| D::Error::custom("a time must be one such as 2026-08-22T10:15:30Z"))
    }
}

impl JsonSchema for TimeInput {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

/// One event or a list of them, read as every door for events reads them.
pub(crate) struct SentEvents {
    pub(crate) events: Vec<Event>,
    /// The whole body of a request that may be made twice.
    pub(crate) json: Json,
}

impl Input for SentEvents {
    const IS_LARGE: bool = true;

    fn schema(generator: &mut SchemaGenerator) -> Value {
        let one = schema_of::<EventInput>(generator);
        let limit = limits::EVENTS_PER_REQUEST;
        json!({"anyOf": [one, {"type": "array", "maxItems": limit, "items": one}]})
    }

    fn read(asked: &Asked, body: &[u8]) -> Result<Self, Refusal> {
        let seed = asked.headers.get(wire::headers::EVENT_ID_SEED);
        let seed = seed.and_then(|value| value.to_str().ok());
        let services = asked.services();
        let now = services.clock().now();
        let read = wire::event::parse_events(body, None, seed, now, services.ids());
        let events = read.map_err(|error| {
            let status = match error.code {
                "invalid_body" => StatusCode::BAD_REQUEST,
                "event_too_large" | "too_many_events" => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            Refusal::Request {
                status,
                code: error.code,
                detail: error.message,
            }
        })?;
        // It was read before, and is compared only where the request has a key.
        let json = match asked.headers.contains_key(&IDEMPOTENCY_KEY) {
            true => Json::parse(body).unwrap_or_else(|_| Json::null()),
            false => Json::null(),
        };
        Ok(Self { events, json })
    }
}

/// One event.
pub(crate) struct OneEvent {
    pub(crate) event: Event,
    /// As of [`SentEvents`].
    pub(crate) json: Json,
}

impl Input for OneEvent {
    const IS_LARGE: bool = true;

    fn schema(generator: &mut SchemaGenerator) -> Value {
        schema_of::<EventInput>(generator)
    }

    fn read(asked: &Asked, body: &[u8]) -> Result<Self, Refusal> {
        let SentEvents { mut events, json } = SentEvents::read(asked, body)?;
        match events.pop() {
            Some(event) if !body.trim_ascii().starts_with(b"[") => Ok(Self { event, json }),
            _ => Err(invalid("the body must be one event".to_owned())),
        }
    }
}

// `core::wire::event` reads it.
/// An event as its sender writes it.
#[derive(JsonSchema)]
#[schemars(rename = "EventInput")]
#[expect(dead_code, reason = "it only describes")]
struct EventInput {
    /// Name; those that begin with `inngest/` are reserved.
    #[schemars(length(min = 1, max = 512))]
    name: String,
    /// Data of the event.
    data: Option<serde_json::Map<String, Value>>,
    /// The sender's own id; a second event with it starts no function again within 24 hours.
    id: Option<String>,
    /// When it happened, in ms since the epoch; now when omitted. A later time puts its runs off.
    #[schemars(range(min = 315_532_800_000_i64, max = 4_102_444_800_000_i64))]
    ts: Option<i64>,
    /// A user.
    user: Option<serde_json::Map<String, Value>>,
    /// Version of its shape.
    v: Option<String>,
}
