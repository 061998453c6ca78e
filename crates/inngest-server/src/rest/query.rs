//! Query parameters: described once, and read strictly, so that a misspelled filter is an error and not a longer list.

use http::Uri;
use serde_json::{Value, json};

use inngest_core::{
    ids::EventId,
    page::{Cursor, Direction, Order, PageRequest},
    time::Timestamp,
};
use inngest_services::Error;

use crate::rest::problem::Refusal;

/// Entries of a page whose caller names no number.
const DEFAULT_LIMIT: u32 = 20;
/// Most entries of a page.
const MAX_LIMIT: u32 = 100;

/// One parameter of an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether it may be given more than once; then any of the values will do.
    pub(crate) repeats: bool,
    pub(crate) about: &'static str,
}

/// What a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// A ULID.
    Ulid,
    Uuid,
    /// RFC 3339.
    Time,
    /// `true` or `false`.
    Flag,
    /// A whole number, not negative.
    Count,
    /// One of these words, in any letter case.
    Word(&'static [&'static str]),
    /// Entries of the page.
    Limit,
}

impl Param {
    pub(crate) const fn one(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self {
            name,
            kind,
            repeats: false,
            about,
        }
    }

    pub(crate) const fn many(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self {
            repeats: true,
            ..Self::one(name, kind, about)
        }
    }

    /// Whether it says which page is asked for, and nothing of what is on it.
    fn is_of_page(&self) -> bool {
        self.kind == Kind::Limit || self.name == "cursor"
    }

    /// Its schema. Where that is not strict, no text is wrong for all that can be said of a text: an empty one is none, and a limit may be
    /// anything.
    pub(crate) fn schema(&self, strict: bool) -> Value {
        let one = match self.kind {
            _ if !strict => json!({"type": "string"}),
            Kind::Text => json!({"type": "string"}),
            Kind::Ulid => json!({"type": "string", "pattern": ULID}),
            Kind::Uuid => json!({"type": "string", "format": "uuid"}),
            Kind::Time => json!({"type": "string", "format": "date-time"}),
            Kind::Flag => json!({"type": "boolean"}),
            Kind::Count => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
            Kind::Word(words) => json!({"type": "string", "enum": words}),
            Kind::Limit => {
                json!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT})
            }
        };
        match self.repeats {
            true => json!({"type": "array", "items": one}),
            false => one,
        }
    }

    fn check(&self, value: &str) -> Result<(), Refusal> {
        let name = self.name;
        let refuse = |code, what: &str| {
            let detail = format!("`{name}` must be {what}");
            Err(Refusal::bad_request(code, detail))
        };
        match self.kind {
            Kind::Text => Ok(()),
            Kind::Ulid if value.parse::<EventId>().is_err() => refuse("invalid_id", "a ULID"),
            Kind::Uuid if value.parse::<inngest_core::ids::AppId>().is_err() => {
                refuse("invalid_id", "a UUID")
            }
            Kind::Time if time_of(value).is_none() => {
                refuse("invalid_time", "a time such as 2026-08-22T10:15:30Z")
            }
            Kind::Flag if !["true", "false"].contains(&value) => {
                refuse("invalid_parameter", "true or false")
            }
            Kind::Count if value.parse::<u32>().is_err() => {
                refuse("invalid_parameter", "a whole number")
            }
            Kind::Word(words) if words.iter().all(|word| !word.eq_ignore_ascii_case(value)) => {
                refuse("invalid_parameter", &format!("one of {}", words.join(", ")))
            }
            Kind::Limit
                if !value
                    .parse()
                    .is_ok_and(|limit| (1..=MAX_LIMIT).contains(&limit)) =>
            {
                refuse(
                    "invalid_parameter",
                    &format!("a number from 1 to {MAX_LIMIT}"),
                )
            }
            Kind::Ulid
            | Kind::Uuid
            | Kind::Time
            | Kind::Flag
            | Kind::Count
            | Kind::Word(_)
            | Kind::Limit => Ok(()),
        }
    }
}

/// What a ULID looks like.
pub(crate) const ULID: &str = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$";

pub(crate) fn time_of(text: &str) -> Option<Timestamp> {
    let parsed = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp::from_millis(parsed.timestamp_millis()))
}

/// The parameters of a request.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads those that are `known`. Where that is not strict, a limit may be anything, an empty value is none, and of several values
    /// of one parameter the last one counts.
    ///
    /// # Errors
    /// 400 for a parameter that is not known, and for a value that its parameter cannot have.
    pub(crate) fn read(uri: &Uri, known: &[Param], strict: bool) -> Result<Self, Refusal> {
        let read = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        let mut pairs = read
            .map_err(|_| Refusal::bad_request("invalid_query", "the query is not readable"))?
            .0;
        if !strict {
            pairs.retain(|(_, value)| !value.is_empty());
            if known.iter().all(Param::is_of_page) {
                // Where there is nothing to filter by, nobody is told that it was said wrongly.
                pairs.retain(|(name, _)| known.iter().any(|param| param.name == name));
            }
        }
        for (index, (name, value)) in pairs.iter().enumerate() {
            let Some(param) = known.iter().find(|param| param.name == name) else {
                let names: Vec<&str> = known.iter().map(|param| param.name).collect();
                let detail = format!("unknown parameter `{name}`; known are {}", names.join(", "));
                return Err(Refusal::bad_request("unknown_parameter", detail));
            };
            if strict && !param.repeats && pairs[..index].iter().any(|(before, _)| before == name) {
                let detail = format!("`{name}` can be given once");
                return Err(Refusal::bad_request("invalid_parameter", detail));
            }
            if strict || param.kind != Kind::Limit {
                param.check(value)?;
            }
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter.
    pub(crate) fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).last()
    }

    /// All values of a parameter that repeats.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let own = self.0.iter().filter(move |(key, _)| key == name);
        own.map(|(_, value)| value.as_str())
    }

    /// All values as they are; none when there is no value, which says nothing.
    pub(crate) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let texts: Vec<String> = self.all(name).map(str::to_owned).collect();
        (!texts.is_empty()).then_some(texts)
    }

    /// All values, read as ids.
    ///
    /// # Errors
    /// 400 for one that is none.
    pub(crate) fn ids<T>(&self, name: &str) -> Result<Option<Vec<T>>, Refusal>
    where
        T: std::str::FromStr,
        Error: From<T::Err>,
    {
        let read = |text: &str| text.parse::<T>().map_err(Error::from);
        let ids: Vec<T> = self.all(name).map(read).collect::<Result<_, _>>()?;
        Ok((!ids.is_empty()).then_some(ids))
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| value == "true")
    }

    pub(crate) fn count(&self, name: &str) -> Option<u32> {
        self.get(name).and_then(|value| value.parse().ok())
    }

    pub(crate) fn time(&self, name: &str) -> Option<Timestamp> {
        self.get(name).and_then(time_of)
    }

    /// `limit`, held between 1 and 100; 20 when it is absent or not a number.
    pub(crate) fn limit(&self) -> u32 {
        let limit = self.get("limit").and_then(|text| text.parse::<i64>().ok());
        let limit = limit.map(|limit| limit.clamp(1, MAX_LIMIT.into()));
        limit.map_or(DEFAULT_LIMIT, |limit| {
            u32::try_from(limit).unwrap_or(DEFAULT_LIMIT)
        })
    }

    /// The page that `limit` and `cursor` ask for.
    pub(crate) fn page(&self) -> PageRequest {
        PageRequest::new(self.limit(), self.get("cursor").map(str::to_owned))
    }

    /// The same for clients that know no pages: as large as one can be where no limit is given.
    pub(crate) fn page_or_largest(&self) -> PageRequest {
        let limit = self.get("limit").map_or(MAX_LIMIT, |_| self.limit());
        PageRequest::new(limit, self.get("cursor").map(str::to_owned))
    }

    /// The same for a list in this order of ULIDs, whose cursor may be that of the last entry seen.
    pub(crate) fn page_of(&self, order: Order) -> PageRequest {
        let after = self
            .get("cursor")
            .map(|text| match text.parse::<EventId>() {
                Ok(id) => Cursor::at(order, id.raw()).encode(),
                Err(_) => text.to_owned(),
            });
        PageRequest::new(self.limit(), after)
    }

    /// The direction that `order` names; newest first when there is none.
    pub(crate) fn direction(&self) -> Direction {
        match self.get("order") {
            Some(order) if order.eq_ignore_ascii_case("asc") => Direction::Ascending,
            Some(_) | None => Direction::Descending,
        }
    }

    /// The same request for the page after `cursor`.
    pub(crate) fn next_page(&self, path: &str, cursor: &str) -> String {
        let others = self.0.iter().filter(|(name, _)| name != "cursor");
        let mut next = format!("{path}?");
        for (name, value) in others {
            next.push_str(name);
            next.push('=');
            escape(&mut next, value);
            next.push('&');
        }
        next.push_str("cursor=");
        escape(&mut next, cursor);
        next
    }
}

/// Percent-encodes whatever a query could take for something else.
fn escape(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                out.push('%');
                for digit in [byte >> 4, byte & 15] {
                    let digit = char::from_digit(u32::from(digit), 16).unwrap_or('0');
                    out.push(digit.to_ascii_uppercase());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Order = Order {
        name: "things",
        direction: Direction::Descending,
    };

    const KNOWN: &[Param] = &[
        Param::one("limit", Kind::Limit, ""),
        Param::one("cursor", Kind::Text, ""),
        Param::one("from", Kind::Time, ""),
        Param::one("has", Kind::Flag, ""),
        Param::many("id", Kind::Uuid, ""),
        Param::many("state", Kind::Word(&["Done"]), ""),
    ];

    fn params(query: &str, strict: bool) -> Result<Params, Refusal> {
        Params::read(&format!("/x?{query}").parse().unwrap(), KNOWN, strict)
    }

    #[test]
    fn what_cannot_be_meant_is_refused_where_that_is_strict() {
        let id = "00000000-0000-4000-a000-000000000000";
        let twice = format!("id={id}&id={id}");
        for (query, strict, lenient) in [
            ("limit=7", true, true),
            ("limit=0", false, true),
            ("limit=101", false, true),
            ("limit=many", false, true),
            ("limit=", false, true),
            ("limit=1&limit=2", false, true),
            ("limits=7", false, false),
            ("from=yesterday", false, false),
            ("from=2026-08-22T10:15:30Z", true, true),
            ("has=yes", false, false),
            (twice.as_str(), true, true),
            ("id=x", false, false),
            ("state=DONE", true, true),
            ("state=open", false, false),
        ] {
            assert_eq!(params(query, true).is_ok(), strict, "{query}");
            assert_eq!(params(query, false).is_ok(), lenient, "{query}");
        }
    }

    #[test]
    fn limit_is_held_in_its_range() {
        for (query, limit) in [
            ("", 20),
            ("limit=0", 1),
            ("limit=-5", 1),
            ("limit=7", 7),
            ("limit=1000", 100),
            ("limit=many", 20),
        ] {
            assert_eq!(params(query, false).unwrap().limit(), limit, "{query}");
        }
    }

    #[test]
    fn page_goes_on_after_a_cursor_or_the_id_of_the_last_entry() {
        let id = EventId::from_seed(7, [1; 10], 1);
        for text in [id.to_string(), Cursor::at(ORDER, id.raw()).encode()] {
            let page = params(&format!("cursor={text}"), true)
                .unwrap()
                .page_of(ORDER);
            let from = Cursor::decode(&page.from.unwrap(), ORDER);
            assert_eq!(from, Ok(Cursor::at(ORDER, id.raw())));
        }
    }

    #[test]
    fn next_page_asks_for_the_same_list() {
        let first = params(
            "limit=2&cursor=old&state=done&from=2026-08-22T10:15:30%2B02:00",
            true,
        );
        let next = first.unwrap().next_page("/x", "a/b");
        assert_eq!(
            next,
            "/x?limit=2&state=done&from=2026-08-22T10%3A15%3A30%2B02%3A00&cursor=a%2Fb"
        );
        let again = Params::read(&next.parse().unwrap(), KNOWN, true).unwrap();
        assert_eq!(again.get("cursor"), Some("a/b"));
    }
}
