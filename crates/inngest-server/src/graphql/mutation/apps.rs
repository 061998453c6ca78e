//! Syncing apps, removing them and bringing them back.

use async_graphql::{Context, Error, ID, InputObject, Object, OneofObject, SimpleObject};

use inngest_core::{
    app::App,
    ids::{AppId, SyncId},
};
use inngest_services::Error as ServiceError;

use crate::graphql::{
    asking::asking,
    ids,
    loaders::load,
    objects::{
        app::AppObject, environment::EnvironmentObject, sync::SyncObject, user_error::UserError,
    },
    scalars::UrlText,
};

#[derive(Default)]
pub(super) struct AppMutations;

/// App to sync.
#[derive(InputObject)]
struct SyncAppInput {
    /// By URL or by id.
    target: SyncTargetInput,
}

/// How to find the app to sync.
#[derive(OneofObject)]
enum SyncTargetInput {
    /// A URL that may be new.
    Url(SyncUrlInput),
    /// A known app at its known URL.
    AppId(ID),
}

/// URL to sync.
#[derive(InputObject)]
struct SyncUrlInput {
    /// Environment to register in.
    environment_id: ID,
    /// Serve URL.
    url: UrlText,
}

/// Result of syncApp.
#[derive(SimpleObject)]
struct SyncAppPayload {
    /// The app.
    app: Option<AppObject>,
    /// The attempt, also when it failed; of an app that was in sync already, what is kept of the last time.
    sync: Option<SyncObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// App to archive.
#[derive(InputObject)]
struct RemoveAppInput {
    /// The app.
    app_id: ID,
}

/// Result of removeApp.
#[derive(SimpleObject)]
struct RemoveAppPayload {
    /// The archived app.
    app: Option<AppObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// App to bring back.
#[derive(InputObject)]
struct RestoreAppInput {
    /// The app.
    app_id: ID,
}

/// Result of restoreApp.
#[derive(SimpleObject)]
struct RestoreAppPayload {
    /// The app.
    app: Option<AppObject>,
    /// Expected failures; empty on success.
    errors: Vec<UserError>,
}

/// Syncing and removing apps.
#[Object]
impl AppMutations {
    /// Syncs an app by URL or again by id. Needs APPS_MANAGE.
    async fn sync_app(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: SyncAppInput,
    ) -> Result<SyncAppPayload, Error> {
        let asking = asking(ctx);
        let refused = async |error: &ServiceError, path: &[&str], id: Option<&ID>| {
            let errors = vec![UserError::sort(error, path, id, &asking.request_id)?];
            let sync = match error {
                ServiceError::Sync { sync, .. } => *sync,
                _ => None,
            };
            Ok(SyncAppPayload {
                app: None,
                sync: find_sync(ctx, sync).await?,
                errors,
            })
        };
        let (url, known, path) = match input.target {
            SyncTargetInput::Url(target) => {
                EnvironmentObject::check(asking, &target.environment_id)?;
                (target.url.0, None, ["input", "target", "url"])
            }
            SyncTargetInput::AppId(id) => {
                let path = ["input", "target", "appId"];
                match find(ctx, &id).await? {
                    Ok(app) => (app.url, Some(app.id), path),
                    Err(missing) => return refused(&missing, &path, Some(&id)).await,
                }
            }
        };
        let apps = asking.services.apps();
        match apps.sync_registered(&asking.actor, &url, known).await {
            Ok((app, sync)) => Ok(SyncAppPayload {
                app: load(ctx, app).await?.map(AppObject),
                sync: find_sync(ctx, sync).await?,
                errors: Vec::new(),
            }),
            Err(error) => refused(&error, &path, None).await,
        }
    }

    /// Archives an app and its functions. Needs APPS_MANAGE.
    async fn remove_app(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: RemoveAppInput,
    ) -> Result<RemoveAppPayload, Error> {
        let asking = asking(ctx);
        let refused = |error: &ServiceError| {
            let errors = vec![UserError::sort(
                error,
                &["input", "appId"],
                Some(&input.app_id),
                &asking.request_id,
            )?];
            Ok(RemoveAppPayload { app: None, errors })
        };
        let app = match find(ctx, &input.app_id).await? {
            Ok(app) => app,
            Err(missing) => return refused(&missing),
        };
        let apps = asking.services.apps();
        match apps.remove_app(&asking.actor, app.id).await {
            Ok(()) => Ok(RemoveAppPayload {
                app: load(ctx, app.id).await?.map(AppObject),
                errors: Vec::new(),
            }),
            Err(error) => refused(&error),
        }
    }

    /// Brings an archived app back, with the functions that were archived with it. Needs APPS_MANAGE.
    async fn restore_app(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to do.")] input: RestoreAppInput,
    ) -> Result<RestoreAppPayload, Error> {
        let asking = asking(ctx);
        let id: AppId = ids::parse(&input.app_id)?;
        match asking.services.apps().restore(&asking.actor, id).await {
            Ok(()) => Ok(RestoreAppPayload {
                app: load(ctx, id).await?.map(AppObject),
                errors: Vec::new(),
            }),
            Err(error) => {
                let (path, id) = (["input", "appId"], &input.app_id);
                let sorted = UserError::sort(&error, &path, Some(id), &asking.request_id)?;
                Ok(RestoreAppPayload {
                    app: None,
                    errors: vec![sorted],
                })
            }
        }
    }
}

/// What is kept of an attempt, if anything is.
async fn find_sync(ctx: &Context<'_>, id: Option<SyncId>) -> Result<Option<SyncObject>, Error> {
    match id {
        Some(id) => Ok(load(ctx, id).await?.map(SyncObject)),
        None => Ok(None),
    }
}

/// The app with this id, or the error that says that there is none.
async fn find(ctx: &Context<'_>, id: &ID) -> Result<Result<App, ServiceError>, Error> {
    let id: AppId = ids::parse(id)?;
    Ok(load(ctx, id).await?.ok_or_else(|| ServiceError::NotFound {
        what: "app",
        id: id.to_string(),
    }))
}
