//! Answers: the types that are sent are the ones that describe them.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::LINK};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

use inngest_core::{page::Page, time::Timestamp};
use inngest_services::Found;

use crate::rest::operation::Asked;

/// What a handler answers.
pub(crate) trait Reply: Send + 'static {
    const STATUS: StatusCode = StatusCode::OK;
    const MEANING: &'static str;
    /// Whether it is one of several pages.
    const IS_PAGE: bool = false;
    /// The status where it tells what an earlier request has led to, if that is another one.
    const REPEATED: Option<StatusCode> = None;

    /// Of its body; none when that is empty.
    fn schema(generator: &mut SchemaGenerator) -> Option<Value>;

    fn answer(self, asked: &Asked) -> Response;
}

/// The schema of a type as the document refers to it.
pub(crate) fn schema_of<T: JsonSchema + ?Sized>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().into()
}

/// When the answer was true.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Metadata {
    /// In UTC.
    #[schemars(extend("format" = "date-time"))]
    fetched_at: String,
}

impl Metadata {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self {
            fetched_at: now.to_rfc3339(),
        }
    }
}

/// Where a list goes on.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Page")]
pub(crate) struct PageBody {
    /// What to give as `cursor` to go on; null when the page is empty.
    pub(crate) cursor: Option<String>,
    /// Whether there is more.
    pub(crate) has_more: bool,
    /// How many entries the page could have.
    pub(crate) limit: u32,
    /// Rows that a search has looked at; a page that is not full has more when its budget ran out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scanned: Option<u64>,
}

/// `{"data", "metadata"}`.
pub(crate) struct Data<T>(pub(crate) T);

impl<T: Serialize + JsonSchema + Send + 'static> Reply for Data<T> {
    const MEANING: &'static str = "What was asked for.";

    fn schema(generator: &mut SchemaGenerator) -> Option<Value> {
        Some(envelope(generator, schema_of::<T>))
    }

    fn answer(self, asked: &Asked) -> Response {
        #[derive(Serialize)]
        struct Envelope<T> {
            data: T,
            metadata: Metadata,
        }
        let metadata = Metadata::at(asked.services().clock().now());
        let data = self.0;
        axum::Json(Envelope { data, metadata }).into_response()
    }
}

fn envelope(
    generator: &mut SchemaGenerator,
    data: impl FnOnce(&mut SchemaGenerator) -> Value,
) -> Value {
    json!({
        "type": "object",
        "required": ["data", "metadata"],
        "properties": {"data": data(generator), "metadata": schema_of::<Metadata>(generator)},
    })
}

/// `{"data": […], "metadata", "page"}`, and the next page in `Link`.
pub(crate) struct List<T> {
    pub(crate) data: Vec<T>,
    pub(crate) page: PageBody,
}

impl<T> List<T> {
    /// A page of a list.
    pub(crate) fn of<R>(asked: &Asked, page: Page<R>, show: impl Fn(&R) -> T) -> Self {
        Self {
            page: PageBody {
                cursor: page.cursors.last().cloned(),
                has_more: page.has_next,
                limit: asked.params.limit(),
                scanned: None,
            },
            data: page.items.iter().map(show).collect(),
        }
    }

    /// A page of what was found. Where the budget of a search ran out it goes on from there and not from the last match.
    pub(crate) fn found<R>(asked: &Asked, found: Found<R>, show: impl Fn(&R) -> T) -> Self {
        let scan = found.scan;
        let mut list = Self::of(asked, found.page, show);
        if scan.stopped_at.is_some() {
            list.page.cursor = scan.stopped_at;
        }
        list.page.scanned = asked.params.get("search").map(|_| scan.scanned);
        list
    }

    /// The page as the value of `Link`.
    pub(crate) fn link(&self, asked: &Asked) -> Option<HeaderValue> {
        let cursor = self.page.cursor.as_deref().filter(|_| self.page.has_more)?;
        let next = asked.params.next_page(asked.uri.path(), cursor);
        HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok()
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> Reply for List<T> {
    const MEANING: &'static str = "A page.";
    const IS_PAGE: bool = true;

    fn schema(generator: &mut SchemaGenerator) -> Option<Value> {
        let mut schema = envelope(generator, schema_of::<Vec<T>>);
        schema["properties"]["page"] = schema_of::<PageBody>(generator);
        schema["required"] = json!(["data", "metadata", "page"]);
        Some(schema)
    }

    fn answer(self, asked: &Asked) -> Response {
        #[derive(Serialize)]
        struct Envelope<T> {
            data: Vec<T>,
            metadata: Metadata,
            page: PageBody,
        }
        let link = self.link(asked);
        let Self { data, page } = self;
        let metadata = Metadata::at(asked.services().clock().now());
        let body = Envelope {
            data,
            metadata,
            page,
        };
        let mut response = axum::Json(body).into_response();
        if let Some(link) = link {
            response.headers_mut().insert(LINK, link);
        }
        response
    }
}

/// JSON without an envelope.
pub(crate) struct Bare<T>(pub(crate) T);

impl<T: Serialize + JsonSchema + Send + 'static> Reply for Bare<T> {
    const MEANING: &'static str = "What was asked for.";

    fn schema(generator: &mut SchemaGenerator) -> Option<Value> {
        Some(schema_of::<T>(generator))
    }

    fn answer(self, _: &Asked) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// 204.
pub(crate) struct NoContent;

impl Reply for NoContent {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;
    const MEANING: &'static str = "Done.";

    fn schema(_: &mut SchemaGenerator) -> Option<Value> {
        None
    }

    fn answer(self, _: &Asked) -> Response {
        Self::STATUS.into_response()
    }
}

/// 200 with an empty body, as clients of `/v1` expect.
pub(crate) struct EmptyOk;

impl Reply for EmptyOk {
    const MEANING: &'static str = "Done.";

    fn schema(_: &mut SchemaGenerator) -> Option<Value> {
        None
    }

    fn answer(self, _: &Asked) -> Response {
        Self::STATUS.into_response()
    }
}

/// A document whose shape is not ours.
pub(crate) struct AnyObject(pub(crate) Cow<'static, Value>);

impl Reply for AnyObject {
    const MEANING: &'static str = "What was asked for.";

    fn schema(_: &mut SchemaGenerator) -> Option<Value> {
        Some(json!({"type": "object"}))
    }

    fn answer(self, _: &Asked) -> Response {
        axum::Json(self.0).into_response()
    }
}
