//! Events as senders post them (http-api section 1, sdk-protocol 6.5). All events of a request are checked before any is taken.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    event::{Event, FUNCTION_INVOKED, is_internal},
    ids::{EventId, IdSource},
    json::Json,
    limits,
    time::Timestamp,
};

/// Most sessions of one event.
const SESSIONS: usize = 5;
/// Longest key of a session, in bytes.
const SESSION_KEY_BYTES: usize = 128;
/// Longest id of a session, in bytes.
const SESSION_ID_BYTES: usize = 512;

/// Why a request that sends events was refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidEvents {
    /// Stable word: `invalid_body`, `unsupported_media_type`, `too_many_events`, `event_too_large` or `invalid_event`.
    pub code: &'static str,
    /// What to tell the sender; holds nothing of the data.
    pub message: String,
    /// Which event was wrong, from 0.
    pub index: Option<usize>,
}

impl InvalidEvents {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            index: None,
        }
    }

    fn event(message: impl Into<String>) -> Self {
        Self::new("invalid_event", message)
    }
}

/// Reads one event or an array of them. `content_type` matters only for a body that is a form; `seed` is the value of
/// [`super::headers::EVENT_ID_SEED`], and ignored when it is malformed.
///
/// # Errors
/// `InvalidEvents` for the first thing that is wrong; then none of the events may be taken.
pub fn parse_events(
    body: &[u8],
    content_type: Option<&str>,
    seed: Option<&str>,
    now: Timestamp,
    ids: &IdSource,
) -> Result<Vec<Event>, InvalidEvents> {
    let intake = Intake {
        seed: seed.and_then(parse_seed),
        now,
        ids,
    };
    let first = body
        .iter()
        .copied()
        .find(|byte| !byte.is_ascii_whitespace());
    match first {
        None => Err(InvalidEvents::new("invalid_body", "Request body is empty")),
        Some(b'{' | b'[') => {
            let json = Json::parse(body)
                .map_err(|error| InvalidEvents::new("invalid_body", error.to_string()))?;
            if json.is_object() {
                return Ok(vec![intake.read(&json, 0)?]);
            }
            let items: Vec<Json> = json.items().take(limits::EVENTS_PER_REQUEST + 1).collect();
            if items.len() > limits::EVENTS_PER_REQUEST {
                let message = format!(
                    "Cannot have more than {} events in a batch",
                    limits::EVENTS_PER_REQUEST
                );
                return Err(InvalidEvents::new("too_many_events", message));
            }
            let read = |(index, item)| {
                intake.read(item, index).map_err(|error| InvalidEvents {
                    index: Some(index),
                    ..error
                })
            };
            items.iter().enumerate().map(read).collect()
        }
        Some(_) => match media_type(content_type).as_str() {
            "application/x-www-form-urlencoded" => Ok(vec![intake.read(&form_event(body)?, 0)?]),
            "multipart/form-data" => Err(InvalidEvents::new(
                "unsupported_media_type",
                "Multipart forms are not supported; send JSON or a URL-encoded form",
            )),
            _ => Err(not_an_event()),
        },
    }
}

/// Reads the body of a direct invocation of the function `slug`: an event without a name. An empty body is an event without data.
///
/// # Errors
/// `InvalidEvents` when it is not an event.
pub fn parse_invoke(
    body: &[u8],
    slug: &str,
    seed: Option<&str>,
    now: Timestamp,
    ids: &IdSource,
) -> Result<Event, InvalidEvents> {
    let body = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    let json =
        Json::parse(body).map_err(|error| InvalidEvents::new("invalid_body", error.to_string()))?;
    if !json.is_object() {
        return Err(InvalidEvents::new(
            "invalid_body",
            "Invalid invocation event",
        ));
    }
    within_size(&json)?;
    let intake = Intake {
        seed: seed.and_then(parse_seed),
        now,
        ids,
    };
    let mut draft = Draft::read(&json)?;
    draft.name = FUNCTION_INVOKED.to_owned();
    draft.data = with_internal(&draft.data, &Json::object([("fn_id", &Json::string(slug))]));
    intake.finish(draft, 0)
}

/// `data` with its member `_inngest` set.
pub(super) fn with_internal(data: &Json, internal: &Json) -> Json {
    let members: Vec<_> = data.members().collect();
    Json::object(
        members
            .iter()
            .map(|(key, value)| (key.as_ref(), value))
            .chain([("_inngest", internal)]),
    )
}

fn without_internal(data: Json) -> Json {
    if data.member("_inngest").is_none() {
        return data;
    }
    let members: Vec<_> = data
        .members()
        .filter(|(key, _)| key != "_inngest")
        .collect();
    Json::object(members.iter().map(|(key, value)| (key.as_ref(), value)))
}

fn not_an_event() -> InvalidEvents {
    InvalidEvents::new(
        "invalid_body",
        "Request body must contain an event object or an array of event objects",
    )
}

fn within_size(json: &Json) -> Result<(), InvalidEvents> {
    if json.len() <= limits::EVENT_BYTES {
        return Ok(());
    }
    let message = format!(
        "Event is over the max size: Max {} bytes / Size {} bytes",
        limits::EVENT_BYTES,
        json.len()
    );
    Err(InvalidEvents::new("event_too_large", message))
}

struct Intake<'a> {
    seed: Option<(u64, [u8; 10])>,
    now: Timestamp,
    ids: &'a IdSource,
}

impl Intake<'_> {
    fn read(&self, json: &Json, index: usize) -> Result<Event, InvalidEvents> {
        if !json.is_object() {
            return Err(not_an_event());
        }
        within_size(json)?;
        let mut draft = Draft::read(json)?;
        if draft.name.is_empty() {
            return Err(InvalidEvents::event("event name is empty"));
        }
        if draft.name.len() > limits::EVENT_NAME_BYTES {
            return Err(InvalidEvents::event(format!(
                "event name is over {} bytes",
                limits::EVENT_NAME_BYTES
            )));
        }
        if draft.name.contains('\0') {
            return Err(InvalidEvents::event("event name holds a NUL character"));
        }
        if is_internal(&draft.name) {
            return Err(InvalidEvents::event(format!(
                "event name is reserved for internal use: {}",
                draft.name
            )));
        }
        draft.data = without_internal(draft.data);
        // Positions of seeded ids begin at 1; a direct invocation has 0.
        self.finish(draft, u32::try_from(index + 1).unwrap_or(u32::MAX))
    }

    fn finish(&self, draft: Draft, position: u32) -> Result<Event, InvalidEvents> {
        let id = match self.seed {
            Some((millis, entropy)) => EventId::from_seed(millis, entropy, position),
            None => self.ids.event(self.now),
        };
        Ok(draft.into_event(id, self.now))
    }
}

/// An event that is read and checked, but has no id of ours yet.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) data: Json,
    pub(super) id: Option<String>,
    pub(super) ts: Option<Timestamp>,
    pub(super) user: Json,
    pub(super) version: Option<Json>,
    pub(super) meta: Option<Json>,
}

impl Draft {
    pub(super) fn new(name: &str, data: Json, ts: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            data,
            id: None,
            ts: Some(ts),
            user: Json::empty_object(),
            version: None,
            meta: None,
        }
    }

    fn read(json: &Json) -> Result<Self, InvalidEvents> {
        let mut draft = Self {
            name: String::new(),
            data: Json::empty_object(),
            id: None,
            ts: None,
            user: Json::empty_object(),
            version: None,
            meta: None,
        };
        for (key, value) in json.members() {
            if value.is_null() {
                continue;
            }
            match key.as_ref() {
                "name" => draft.name = text("name", &value)?,
                "data" => draft.data = object("data", value)?,
                "user" => draft.user = object("user", value)?,
                "id" => draft.id = Some(text("id", &value)?).filter(|id| !id.is_empty()),
                "v" => draft.version = (!text("v", &value)?.is_empty()).then_some(value),
                "ts" => draft.ts = read_ts(&value)?,
                "meta" => draft.meta = sessions(&object("meta", value)?)?,
                _ => {}
            }
        }
        if draft
            .id
            .as_ref()
            .is_some_and(|id| id.len() > limits::EVENT_KEY_BYTES)
        {
            return Err(InvalidEvents::event(format!(
                "event id is over {} bytes",
                limits::EVENT_KEY_BYTES
            )));
        }
        // Not every database can store it in a text.
        if draft.id.as_ref().is_some_and(|id| id.contains('\0')) {
            return Err(InvalidEvents::event("event id holds a NUL character"));
        }
        Ok(draft)
    }

    pub(super) fn into_event(self, id: EventId, now: Timestamp) -> Event {
        let key = self.id.unwrap_or_else(|| id.to_string());
        let ts = self.ts.unwrap_or(now);
        let (name, id_text, millis) = (
            Json::string(&self.name),
            Json::string(&key),
            Json::integer(ts.as_millis()),
        );
        let mut members = vec![
            ("data", &self.data),
            ("id", &id_text),
            ("name", &name),
            ("ts", &millis),
            ("user", &self.user),
        ];
        members.extend(self.version.as_ref().map(|version| ("v", version)));
        members.extend(self.meta.as_ref().map(|meta| ("meta", meta)));
        let body = Json::object(members);
        Event {
            id,
            key,
            name: self.name,
            ts,
            received_at: now,
            body,
            door: None,
        }
    }
}

fn text(member: &str, value: &Json) -> Result<String, InvalidEvents> {
    value
        .to_text()
        .ok_or_else(|| InvalidEvents::event(format!("event `{member}` must be a string")))
}

fn object(member: &str, value: Json) -> Result<Json, InvalidEvents> {
    if value.is_object() {
        Ok(value)
    } else {
        Err(InvalidEvents::event(format!(
            "event `{member}` must be an object"
        )))
    }
}

fn read_ts(value: &Json) -> Result<Option<Timestamp>, InvalidEvents> {
    let number = value.as_str();
    if !number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return Err(InvalidEvents::event(
            "event `ts` must be a number of milliseconds",
        ));
    }
    if number.contains('.') || number.contains("e-") {
        return Err(InvalidEvents::event(
            "event `ts` must be a whole number of milliseconds",
        ));
    }
    // What does not fit is written with an exponent in canonical form, or has more digits than any time.
    let millis = number.parse().unwrap_or(if number.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    });
    match millis {
        0 => Ok(None),
        ..limits::EVENT_TS_MIN => Err(InvalidEvents::event("timestamp is before Jan 1, 1980")),
        _ if millis > limits::EVENT_TS_MAX => {
            Err(InvalidEvents::event("timestamp is after Jan 1, 2100"))
        }
        _ => Ok(Some(Timestamp::from_millis(millis))),
    }
}

/// Merges the sessions that the sender set with those that its SDK carried along. What the sender set wins, null takes away.
fn sessions(meta: &Json) -> Result<Option<Json>, InvalidEvents> {
    let set = meta.member("sessions");
    let carried = meta
        .member("propagated_sessions")
        .filter(|carried| !carried.is_null());
    let mut merged: BTreeMap<String, String> = BTreeMap::new();
    let mut taken_away: Vec<String> = Vec::new();
    let drops_carried = set.as_ref().is_some_and(Json::is_null);
    if let Some(set) = set.filter(|set| !set.is_null()) {
        for (key, value) in object("meta.sessions", set)?.members() {
            if value.is_null() {
                taken_away.push(key.into_owned());
            } else {
                merged.insert(check_key(&key)?, session_id(&value)?);
            }
        }
    }
    if merged.len() > SESSIONS {
        return Err(InvalidEvents::event(format!(
            "an event has at most {SESSIONS} sessions"
        )));
    }
    if let Some(carried) = carried.filter(|_| !drops_carried) {
        let mut carried: Vec<(String, Json)> = object("meta.propagated_sessions", carried)?
            .members()
            .map(|(key, value)| (key.into_owned(), value))
            .collect();
        carried.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, value) in carried {
            let is_wanted =
                !merged.contains_key(&key) && !taken_away.contains(&key) && !value.is_null();
            if is_wanted && merged.len() < SESSIONS {
                merged.insert(check_key(&key)?, session_id(&value)?);
            }
        }
    }
    if merged.is_empty() {
        return Ok(None);
    }
    let merged: Vec<(String, Json)> = merged
        .into_iter()
        .map(|(key, id)| (key, Json::string(&id)))
        .collect();
    let sessions = Json::object(merged.iter().map(|(key, id)| (key.as_str(), id)));
    Ok(Some(Json::object([("sessions", &sessions)])))
}

fn check_key(key: &str) -> Result<String, InvalidEvents> {
    if key.is_empty() || key.len() > SESSION_KEY_BYTES {
        return Err(InvalidEvents::event(format!(
            "a session key has 1 to {SESSION_KEY_BYTES} bytes"
        )));
    }
    Ok(key.to_owned())
}

fn session_id(value: &Json) -> Result<String, InvalidEvents> {
    let is_number = value
        .as_str()
        .starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let id = if is_number {
        value.as_str().to_owned()
    } else {
        text("meta.sessions", value)?
    };
    if id.is_empty() || id.len() > SESSION_ID_BYTES {
        return Err(InvalidEvents::event(format!(
            "a session id has 1 to {SESSION_ID_BYTES} bytes"
        )));
    }
    Ok(id)
}

/// `<milliseconds>,<base64 of ten bytes>`.
fn parse_seed(seed: &str) -> Option<(u64, [u8; 10])> {
    let (millis, entropy) = seed.trim().split_once(',')?;
    let millis: u64 = millis.trim().parse().ok()?;
    let entropy = STANDARD.decode(entropy.trim()).ok()?.try_into().ok()?;
    // A ULID has room for 48 bits of time.
    (millis > 0 && millis < 1 << 48).then_some((millis, entropy))
}

fn media_type(content_type: Option<&str>) -> String {
    content_type
        .and_then(|text| text.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// `name`, `id`, `ts` and `v` of a form go where they belong, all other fields into the data.
fn form_event(body: &[u8]) -> Result<Json, InvalidEvents> {
    let body = std::str::from_utf8(body)
        .map_err(|_| InvalidEvents::new("invalid_body", "Form is not UTF-8"))?;
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    for pair in body.trim().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if fields
            .insert(form_decode(key), form_decode(value))
            .is_some()
        {
            return Err(InvalidEvents::new(
                "invalid_body",
                "Form has a field with more than one value",
            ));
        }
    }
    let mut own: Vec<(&str, Json)> = Vec::new();
    for key in ["name", "id", "ts", "v"] {
        let Some(value) = fields.remove(key) else {
            continue;
        };
        let value = match key {
            "ts" => {
                let millis: i64 = value.parse().map_err(|_| {
                    InvalidEvents::event("event `ts` must be a whole number of milliseconds")
                })?;
                Json::integer(millis)
            }
            _ => Json::string(&value),
        };
        own.push((key, value));
    }
    let data: Vec<(String, Json)> = fields
        .into_iter()
        .map(|(key, value)| (key, Json::string(&value)))
        .collect();
    own.push((
        "data",
        Json::object(data.iter().map(|(key, value)| (key.as_str(), value))),
    ));
    Ok(Json::object(own.iter().map(|(key, value)| (*key, value))))
}

fn form_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten();
        let decoded = escaped.and_then(|digits| hex::decode(digits).ok());
        match decoded {
            Some(decoded) => {
                out.extend_from_slice(&decoded);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
