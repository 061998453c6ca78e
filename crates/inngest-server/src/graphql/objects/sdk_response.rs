//! What an app answered.

use async_graphql::Object;

use inngest_core::{json::Json, run::SdkResponse};

use crate::graphql::scalars::{JsonScalar, Long, Milliseconds};

/// Facts about one answer of an app.
pub(crate) struct SdkResponseObject(pub(crate) SdkResponse);

/// Facts about one answer of an app, or of what answered in its place.
#[Object(name = "SdkResponse")]
impl SdkResponseObject {
    /// HTTP status.
    async fn status_code(&self) -> i32 {
        i32::from(self.0.status)
    }

    /// Answer headers by their names in lower case: the few that tell who answered, such as server, via and the ids of proxies, each cut
    /// to 80 bytes and 400 in all. Empty for an attempt that brought a result.
    async fn headers(&self) -> JsonScalar {
        let texts: Vec<(&str, Json)> = self
            .0
            .headers()
            .map(|(name, text)| (name, Json::string(text)))
            .collect();
        let members = texts.iter().map(|(name, text)| (*name, text));
        JsonScalar(Json::object(members))
    }

    /// Time from the start of the request to the last byte.
    async fn duration_ms(&self) -> Milliseconds {
        Milliseconds(u64::from(self.0.duration_ms))
    }

    /// Size of the body, decompressed.
    async fn size_bytes(&self) -> Long {
        Long(u64::from(self.0.size_bytes))
    }

    /// Language from the answer headers; null when no SDK named itself.
    async fn sdk_language(&self) -> Option<String> {
        self.0.sdk_language()
    }

    /// Version from the answer headers; null when no SDK named itself.
    async fn sdk_version(&self) -> Option<String> {
        self.0.sdk_version()
    }
}
