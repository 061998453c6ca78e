//! Root fields that read.

use async_graphql::{Context, Error, ID, Object};

use inngest_core::ids::{AppId, EventId, FunctionId, RunId};

use crate::graphql::{
    asking::asking,
    error::{bad_input, failed},
    ids,
    loaders::load,
    objects::{
        app::AppObject,
        app_check::AppCheck,
        environment::EnvironmentObject,
        event::EventObject,
        expression::{ExpressionCheck, ExpressionKind},
        function::FunctionObject,
        node::{self, Node},
        run::{self, RunObject},
        server::ServerInfo,
        viewer::{OrganizationObject, Viewer},
    },
    scalars::{JsonScalar, UrlText},
};

/// Most ids in one `nodes`.
const NODES: usize = 100;

/// Read operations.
pub(crate) struct Query;

/// Read operations.
#[Object]
impl Query {
    /// Facts about this server.
    async fn server(&self) -> ServerInfo {
        ServerInfo
    }

    /// The caller.
    async fn viewer(&self) -> Viewer {
        Viewer
    }

    /// The organization of the credential.
    async fn organization(&self) -> OrganizationObject {
        OrganizationObject
    }

    /// Any object by global id; null when missing or not visible.
    #[graphql(complexity = "5 + child_complexity")]
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id.")] id: ID,
    ) -> Option<Result<Node, Error>> {
        node::find(ctx, &id).await
    }

    /// Up to 100 objects in the order of the ids.
    #[graphql(complexity = "5 + ids.len().min(NODES) * child_complexity")]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global ids.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>, Error> {
        if ids.len() > NODES {
            return Err(bad_input(format!("at most {NODES} ids at once")));
        }
        let found = futures_util::future::join_all(ids.iter().map(|id| node::find(ctx, id))).await;
        found.into_iter().map(Option::transpose).collect()
    }

    /// An environment of the organization; the one of the credential when omitted.
    async fn environment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Unique name within the organization.")] slug: Option<String>,
    ) -> Option<EnvironmentObject> {
        let environment = EnvironmentObject::of(asking(ctx));
        slug.is_none_or(|slug| slug == environment.slug_text())
            .then_some(environment)
    }

    /// An app by global id or UUID.
    async fn app(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id or UUID.")] id: ID,
    ) -> Option<Result<AppObject, Error>> {
        let id = match ids::parse::<AppId>(&id) {
            Ok(id) => id,
            Err(error) => return Some(Err(error)),
        };
        load(ctx, id)
            .await
            .transpose()
            .map(|found| found.map(AppObject))
    }

    /// Probes an app URL without syncing it. Needs APPS_MANAGE.
    #[graphql(complexity = "2000 + child_complexity")]
    async fn check_app(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Environment whose keys the app should have.")] environment_id: ID,
        #[graphql(desc = "Serve URL.")] url: UrlText,
    ) -> Result<AppCheck, Error> {
        let asking = asking(ctx);
        EnvironmentObject::check(asking, &environment_id)?;
        let apps = asking.services.apps();
        let check = apps.check(&asking.actor, &url.0).await;
        check
            .map(AppCheck::from)
            .map_err(|error| failed(ctx, &error))
    }

    /// A function by global id or UUID.
    async fn function(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id or UUID.")] id: ID,
    ) -> Option<Result<FunctionObject, Error>> {
        let id = match ids::parse::<FunctionId>(&id) {
            Ok(id) => id,
            Err(error) => return Some(Err(error)),
        };
        load(ctx, id)
            .await
            .transpose()
            .map(|found| found.map(FunctionObject))
    }

    /// An event by global id or ULID.
    async fn event(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id or ULID.")] id: ID,
    ) -> Option<Result<EventObject, Error>> {
        let id = match ids::parse::<EventId>(&id) {
            Ok(id) => id,
            Err(error) => return Some(Err(error)),
        };
        load(ctx, id)
            .await
            .transpose()
            .map(|found| found.map(EventObject))
    }

    /// A run by global id or ULID.
    async fn run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id or ULID.")] id: ID,
    ) -> Option<Result<RunObject, Error>> {
        match ids::parse::<RunId>(&id) {
            Ok(id) => run::find(ctx, id).await,
            Err(error) => Some(Err(error)),
        }
    }

    /// Compiles a CEL expression and evaluates it on a sample.
    async fn check_expression(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The text.")] expression: String,
        #[graphql(desc = "Where it will be used.")] kind: ExpressionKind,
        #[graphql(desc = "Values of the names that it looks at, for example {\"event\": {}}.")]
        sample: Option<JsonScalar>,
    ) -> Result<ExpressionCheck, Error> {
        let asking = asking(ctx);
        let sample = sample.as_ref().map(|sample| &sample.0);
        asking
            .services
            .check_expression(&asking.actor, &expression, kind.into(), sample)
            .map(ExpressionCheck::from)
            .map_err(|error| failed(ctx, &error))
    }
}
