//! Functions and their apps.

use async_graphql::{Context, Error, ID, Object};

use inngest_core::{app, ids::FunctionId};

use crate::graphql::{error::bad_input, loaders::load};

/// An app.
pub(crate) struct App(pub(crate) app::App);

/// An app.
#[Object]
impl App {
    /// Its UUID.
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    /// The id that its code gives it.
    #[graphql(name = "externalID")]
    async fn external_id(&self) -> &str {
        &self.0.name
    }

    /// The same.
    async fn name(&self) -> &str {
        &self.0.name
    }
}

/// A function.
pub(crate) struct Function(pub(crate) app::Function);

/// A function.
#[Object]
impl Function {
    /// Its UUID.
    async fn id(&self) -> String {
        self.0.id.to_string()
    }

    /// Display name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// App and function id, joined.
    async fn slug(&self) -> &str {
        &self.0.slug
    }

    /// Its app.
    async fn app(&self, ctx: &Context<'_>) -> Result<App, Error> {
        load(ctx, self.0.app)
            .await?
            .map(App)
            .ok_or_else(|| bad_input("the app of this function is gone"))
    }
}

/// The function of a run.
pub(crate) async fn get(ctx: &Context<'_>, id: FunctionId) -> Result<Function, Error> {
    load(ctx, id)
        .await?
        .map(Function)
        .ok_or_else(|| bad_input("the function of this run is gone"))
}
