//! Query parameters: read strictly, so that a misspelled filter is an error and not a longer list.

use http::{StatusCode, Uri};

use inngest_core::{
    ids::EventId,
    page::{Cursor, Order, PageRequest},
    time::Timestamp,
};

use crate::{middleware::RequestId, rest::problem::Problem};

/// What a list handler needs of the request besides its actor.
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    request_id: String,
}

impl Params {
    /// # Errors
    /// 400 for a parameter that is not among `known`.
    pub(crate) fn read(
        uri: &Uri,
        extensions: &http::Extensions,
        known: &[&str],
    ) -> Result<Self, Problem> {
        let request_id = RequestId::of(extensions);
        let pairs: Vec<(String, String)> = axum::extract::Query::try_from_uri(uri)
            .map(|axum::extract::Query(pairs)| pairs)
            .map_err(|_| {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    "invalid_query",
                    "the query is not readable",
                    &request_id,
                )
            })?;
        if let Some((name, _)) = pairs
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            let message = format!("unknown parameter `{name}`; known are {}", known.join(", "));
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "unknown_parameter",
                message,
                &request_id,
            ));
        }
        Ok(Self { pairs, request_id })
    }

    pub(crate) fn bad(&self, code: &'static str, message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, message, &self.request_id)
    }

    /// The last non-empty value of a parameter.
    pub(crate) fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).last()
    }

    /// All non-empty values of a repeatable parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// `limit` (1 to 100, 20 when absent or not a number) and `cursor` (ours, or the ULID of the last entry seen) of a list in this order.
    pub(crate) fn page(&self, order: Order) -> PageRequest {
        let limit = self
            .get("limit")
            .and_then(|text| text.parse::<i64>().ok())
            .map_or(20, |limit| limit.clamp(1, 100));
        let after = self
            .get("cursor")
            .map(|text| match text.parse::<EventId>() {
                Ok(id) => Cursor::at(order, id.raw()).encode(),
                Err(_) => text.to_owned(),
            });
        PageRequest::new(u32::try_from(limit).unwrap_or(20), after)
    }

    /// An instant in RFC 3339.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let parsed = chrono::DateTime::parse_from_rfc3339(text);
        let parsed = parsed.map_err(|_| {
            self.bad(
                "invalid_time",
                format!("`{name}` must be a time such as 2026-08-22T10:15:30Z"),
            )
        })?;
        Ok(Some(Timestamp::from_millis(parsed.timestamp_millis())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Order = Order {
        name: "things",
        direction: inngest_core::page::Direction::Descending,
    };

    fn params(query: &str) -> Result<Params, Problem> {
        Params::read(
            &format!("/x?{query}").parse().unwrap(),
            &http::Extensions::new(),
            &["limit", "cursor", "from"],
        )
    }

    #[test]
    fn page_parameters_are_held_in_their_range() {
        for (query, limit) in [
            ("", 20),
            ("limit=0", 1),
            ("limit=-5", 1),
            ("limit=7", 7),
            ("limit=1000", 100),
            ("limit=many", 20),
        ] {
            assert_eq!(params(query).unwrap().page(ORDER).limit, limit, "{query}");
        }
        assert!(params("limits=5").is_err());
        assert!(params("from=yesterday").unwrap().time("from").is_err());
        let id = EventId::from_seed(7, [1; 10], 1);
        for text in [id.to_string(), Cursor::at(ORDER, id.raw()).encode()] {
            let page = params(&format!("cursor={text}")).unwrap().page(ORDER);
            let from = Cursor::decode(&page.from.unwrap(), ORDER);
            assert_eq!(from, Ok(Cursor::at(ORDER, id.raw())));
        }
    }
}
