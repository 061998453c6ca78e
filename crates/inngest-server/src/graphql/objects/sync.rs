//! Attempts to register apps.

use async_graphql::{Context, Enum, Error, ID, InputObject, Object};

use inngest_core::{
    ids::{AppId, FunctionId, SyncId},
    page::PageRequest,
    sync::{self, Sync},
};
use inngest_services as services;

use crate::graphql::{
    asking::asking,
    connection::{Counted, Length, Page},
    ids::GlobalId,
    listed::{SyncList, Total},
    loaders::{load, load_many},
    objects::{
        app::AppObject, environment::EnvironmentObject, filter::TimeRange, function::FunctionObject,
    },
    parents::{SyncCountOf, SyncsOf},
    related::answer,
    scalars::{DateTime, UrlText},
};

/// One attempt to register an app.
pub(crate) struct SyncObject(pub(crate) Sync);

/// Result of a sync.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "SyncStatus", remote = "sync::SyncStatus")]
pub(crate) enum SyncStatusEnum {
    /// Registration changed.
    #[graphql(name = "SUCCESS")]
    Succeeded,
    /// Registration was identical, after a failure. Otherwise nothing is kept of identical ones.
    Unchanged,
    /// Registration was not applied.
    Failed,
}

/// How a registration travelled.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "SyncKind", remote = "sync::SyncKind")]
pub(crate) enum SyncKindEnum {
    /// In the answer to a call by the server.
    InBand,
    /// In a call by the app to the register address.
    OutOfBand,
}

/// One attempt to register an app; failures that repeat are one. The newest 200 of each app are kept, and of those without an app.
#[Object(name = "Sync")]
impl SyncObject {
    /// Global id, prefix sync.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.global()
    }

    /// The app, null when the attempt failed before the app was known.
    async fn app(&self, ctx: &Context<'_>) -> Option<Result<AppObject, Error>> {
        let found = load(ctx, self.0.app?).await.transpose()?;
        Some(found.map(AppObject))
    }

    /// Where the app was registered.
    async fn environment(&self, ctx: &Context<'_>) -> EnvironmentObject {
        EnvironmentObject::of(asking(ctx))
    }

    /// Result.
    async fn status(&self) -> SyncStatusEnum {
        self.0.status.into()
    }

    /// How the registration travelled.
    async fn kind(&self) -> SyncKindEnum {
        self.0.kind.into()
    }

    /// URL that was synced, without its query.
    async fn url(&self) -> Option<UrlText> {
        self.0.about.url.clone().map(UrlText)
    }

    /// Why it failed.
    async fn error(&self) -> Option<&str> {
        self.0.failure.as_ref().map(|it| it.message.as_str())
    }

    /// Why it failed, as a stable word, for example unreachable or config_invalid.
    async fn error_code(&self) -> Option<&str> {
        self.0.failure.as_ref().map(|it| it.code.as_str())
    }

    /// Language reported by the SDK.
    async fn sdk_language(&self) -> Option<&str> {
        self.0.about.sdk_language.as_deref()
    }

    /// Version reported by the SDK.
    async fn sdk_version(&self) -> Option<&str> {
        self.0.about.sdk_version.as_deref()
    }

    /// Framework reported by the SDK.
    async fn framework(&self) -> Option<&str> {
        self.0.about.framework.as_deref()
    }

    /// Platform reported by the SDK.
    async fn platform(&self) -> Option<&str> {
        self.0.about.platform.as_deref()
    }

    /// Version given in code.
    async fn app_version(&self) -> Option<&str> {
        self.0.about.app_version.as_deref()
    }

    /// Functions that are new or have returned, at most 200.
    #[graphql(complexity = "10 + 10 * child_complexity")]
    async fn functions_added(&self, ctx: &Context<'_>) -> Result<Vec<FunctionObject>, Error> {
        functions(ctx, &self.0.added).await
    }

    /// Functions whose configuration changed, at most 200.
    #[graphql(complexity = "10 + 10 * child_complexity")]
    async fn functions_changed(&self, ctx: &Context<'_>) -> Result<Vec<FunctionObject>, Error> {
        functions(ctx, &self.0.changed).await
    }

    /// Functions that are gone, at most 200.
    #[graphql(complexity = "10 + 10 * child_complexity")]
    async fn functions_removed(&self, ctx: &Context<'_>) -> Result<Vec<FunctionObject>, Error> {
        functions(ctx, &self.0.removed).await
    }

    /// When it happened; of a failure that was repeated, for the first time.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When it was last repeated, to a minute; when it happened, if it never was.
    async fn last_at(&self) -> DateTime {
        DateTime(self.0.last_at)
    }
}

async fn functions(ctx: &Context<'_>, ids: &[FunctionId]) -> Result<Vec<FunctionObject>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = load_many(ctx, ids.to_vec()).await?;
    let known = ids.iter().filter_map(|id| found.remove(id));
    Ok(known.map(FunctionObject).collect())
}

/// The sync with this id, null when it is missing, no longer kept, or not the caller's to see.
pub(crate) async fn find(ctx: &Context<'_>, id: SyncId) -> Option<Result<SyncObject, Error>> {
    let found = load(ctx, id).await.transpose()?;
    Some(found.map(SyncObject))
}

/// A page of the syncs of an app.
pub(crate) async fn list_of_app(
    ctx: &Context<'_>,
    app: AppId,
    request: PageRequest,
) -> Result<Page<SyncObject, Counted>, Error> {
    let found = answer(ctx, SyncsOf(app, request)).await?;
    let extra = Counted(Length::SyncsOf(SyncCountOf(app)));
    Ok(Page::of(found, extra, SyncObject))
}

/// Filter for syncs.
#[derive(InputObject, Default)]
pub(crate) struct SyncFilter {
    /// Only these results.
    statuses: Option<Vec<SyncStatusEnum>>,
    /// Only attempts that could not be tied to an app.
    without_app: Option<bool>,
    /// Only in this interval.
    time: Option<TimeRange>,
}

impl SyncFilter {
    /// A page of the syncs of the caller's environment.
    pub(crate) async fn list(
        self,
        ctx: &Context<'_>,
        request: PageRequest,
    ) -> Result<Page<SyncObject, Counted>, Error> {
        let statuses = self.statuses;
        let filter = services::SyncFilter {
            statuses: statuses.map(|list| list.into_iter().map(Into::into).collect()),
            without_app: self.without_app.unwrap_or(false),
            from: self.time.as_ref().map(|time| time.from.0),
            until: self.time.and_then(|time| time.until).map(|until| until.0),
        };
        let found = answer(ctx, SyncList(filter.clone(), request)).await?;
        let extra = Counted(Length::Total(Total::Syncs(filter)));
        Ok(Page::of(found, extra, SyncObject))
    }
}
