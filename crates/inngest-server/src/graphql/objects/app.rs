//! Apps.

use async_graphql::{Context, Enum, Error, ID, Object};

use inngest_core::app::App;
use inngest_services::FunctionFilter;

use crate::graphql::{
    asking::asking,
    connection::{self, Counted, Page},
    ids::GlobalId,
    objects::{
        environment::EnvironmentObject,
        filter,
        function::FunctionObject,
        sync::{self, SyncObject},
    },
    parents::FunctionCountOf,
    related::answer,
    scalars::{DateTime, UrlText, UuidText},
};

/// Group of functions served by one SDK client.
pub(crate) struct AppObject(pub(crate) App);

/// How the server reaches an app.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppMethod {
    /// HTTP calls to the serve URL.
    Serve,
}

/// Result of the last contact with an app.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppStatus {
    /// Last sync succeeded.
    Connected,
    /// Last sync could not reach the app.
    Unreachable,
    /// Last sync was rejected.
    Invalid,
}

/// Group of functions served by one SDK client.
#[Object(name = "App")]
impl AppObject {
    /// Global id, prefix app.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.global()
    }

    /// Native id.
    async fn app_id(&self) -> UuidText {
        UuidText(self.0.id.to_string())
    }

    /// Id given in code.
    async fn external_id(&self) -> &str {
        &self.0.name
    }

    /// Display name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Owner.
    async fn environment(&self, ctx: &Context<'_>) -> EnvironmentObject {
        EnvironmentObject::of(asking(ctx))
    }

    /// How the server reaches the app.
    async fn method(&self) -> AppMethod {
        AppMethod::Serve
    }

    /// Serve URL.
    async fn url(&self) -> Option<UrlText> {
        Some(UrlText(self.0.url.clone()))
    }

    /// Language reported by the SDK.
    async fn sdk_language(&self) -> &str {
        &self.0.sdk_language
    }

    /// Version reported by the SDK.
    async fn sdk_version(&self) -> &str {
        &self.0.sdk_version
    }

    /// Web framework reported by the SDK.
    async fn framework(&self) -> Option<&str> {
        self.0.framework.as_deref()
    }

    /// Hosting platform reported by the SDK.
    async fn platform(&self) -> Option<&str> {
        self.0.platform.as_deref()
    }

    /// Version given in code.
    async fn app_version(&self) -> Option<&str> {
        self.0.version.as_deref()
    }

    /// Hash of the last registration.
    async fn checksum(&self) -> Option<&str> {
        Some(self.0.checksum.as_str()).filter(|checksum| !checksum.is_empty())
    }

    /// Result of the last contact.
    async fn status(&self) -> AppStatus {
        match &self.0.failure {
            None => AppStatus::Connected,
            Some(failure) if failure.is_unreachable() => AppStatus::Unreachable,
            Some(_) => AppStatus::Invalid,
        }
    }

    /// Why the last sync failed; null when it succeeded.
    async fn last_error(&self) -> Option<&str> {
        self.0.failure.as_ref().map(|it| it.message.as_str())
    }

    /// Archived apps start no new runs.
    async fn is_archived(&self) -> bool {
        self.0.archived_at.is_some()
    }

    /// When it was archived.
    async fn archived_at(&self) -> Option<DateTime> {
        self.0.archived_at.map(DateTime)
    }

    /// First sync.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// Number of live functions.
    #[graphql(complexity = 10)]
    async fn function_count(&self, ctx: &Context<'_>) -> Result<i32, Error> {
        let count = answer(ctx, FunctionCountOf(self.0.id, FunctionFilter::default())).await?;
        Ok(i32::try_from(count.value).unwrap_or(i32::MAX))
    }

    /// Functions, by slug.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn functions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
        #[graphql(desc = "Only these functions.")] filter: Option<filter::FunctionFilter>,
    ) -> Result<Page<FunctionObject, Counted>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        let filter = filter.unwrap_or_default();
        filter.list_of_app(ctx, self.0.id, request).await
    }

    /// Last sync attempt that is kept: of identical registrations nothing is, unless they follow a failure.
    async fn latest_sync(&self, ctx: &Context<'_>) -> Option<Result<SyncObject, Error>> {
        sync::find(ctx, self.0.last_sync).await
    }

    /// Sync attempts, newest first; the newest 200 are kept.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn syncs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
    ) -> Result<Page<SyncObject, Counted>, Error> {
        let request = connection::request(ctx, first, after, last, before)?;
        sync::list_of_app(ctx, self.0.id, request).await
    }
}
