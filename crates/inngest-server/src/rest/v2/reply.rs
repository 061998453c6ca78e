//! Envelopes of `/v2`.

use axum::response::{IntoResponse, Response};
use http::header::LINK;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

use inngest_core::page::Page;
use inngest_services::Found;

use crate::rest::{
    operation::Asked,
    reply::{self, Reply, schema_of},
};

/// When the answer was true.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "MetadataV2")]
struct Metadata {
    /// In UTC.
    #[schemars(extend("format" = "date-time"))]
    fetched_at: String,
}

impl Metadata {
    fn now(asked: &Asked) -> Self {
        Self {
            fetched_at: asked.services().clock().now().to_rfc3339(),
        }
    }
}

/// Where a list goes on.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PageV2")]
struct PageBody {
    /// What to give as `cursor` to go on; left out when the page is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    has_more: bool,
    limit: u32,
}

#[derive(Serialize)]
struct Envelope<T> {
    data: T,
    metadata: Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<PageBody>,
}

/// `{"data", "metadata"}`.
pub(super) struct Data<T>(pub(super) T);

impl<T: Serialize + JsonSchema + Send + 'static> Reply for Data<T> {
    const MEANING: &'static str = "What was asked for.";

    fn schema(generator: &mut SchemaGenerator) -> Option<Value> {
        Some(json!({
            "type": "object",
            "required": ["data", "metadata"],
            "properties": {"data": schema_of::<T>(generator), "metadata": schema_of::<Metadata>(generator)},
        }))
    }

    fn answer(self, asked: &Asked) -> Response {
        let body = Envelope {
            data: self.0,
            metadata: Metadata::now(asked),
            page: None,
        };
        axum::Json(body).into_response()
    }
}

/// `{"data": […], "metadata", "page"}`.
pub(super) struct List<T>(reply::List<T>);

impl<T> List<T> {
    pub(super) fn of<R>(asked: &Asked, page: Page<R>, show: impl Fn(&R) -> T) -> Self {
        Self(reply::List::of(asked, page, show))
    }

    pub(super) fn found<R>(asked: &Asked, found: Found<R>, show: impl Fn(&R) -> T) -> Self {
        Self(reply::List::found(asked, found, show))
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> Reply for List<T> {
    const MEANING: &'static str = "A page.";
    const IS_PAGE: bool = true;

    fn schema(generator: &mut SchemaGenerator) -> Option<Value> {
        let mut schema = Data::<Vec<T>>::schema(generator)?;
        schema["properties"]["page"] = schema_of::<PageBody>(generator);
        schema["required"] = json!(["data", "metadata", "page"]);
        Some(schema)
    }

    fn answer(self, asked: &Asked) -> Response {
        let link = self.0.link(asked);
        let page = PageBody {
            cursor: self.0.page.cursor,
            has_more: self.0.page.has_more,
            limit: self.0.page.limit,
        };
        let body = Envelope {
            data: self.0.data,
            metadata: Metadata::now(asked),
            page: Some(page),
        };
        let mut response = axum::Json(body).into_response();
        if let Some(link) = link {
            response.headers_mut().insert(LINK, link);
        }
        response
    }
}
