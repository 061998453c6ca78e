//! Versions of functions.

use async_graphql::{Context, Error, ID, Object};

use sha2::{Digest, Sha256};

use inngest_core::app::FunctionVersion;

use crate::graphql::{
    error::bad_input,
    ids,
    loaders::load,
    objects::{
        function::{FunctionObject, TriggerObject, read_config, triggers_of},
        function_config::FunctionConfigObject,
        sync::{self, SyncObject},
    },
    scalars::DateTime,
};

/// One registered configuration of a function.
pub(crate) struct FunctionVersionObject(pub(crate) FunctionVersion);

/// One registered configuration of a function.
#[Object(name = "FunctionVersion")]
impl FunctionVersionObject {
    /// Global id, prefix fnv.
    pub(crate) async fn id(&self) -> ID {
        ids::function_version(self.0.function, self.0.number)
    }

    /// The function.
    async fn function(&self, ctx: &Context<'_>) -> Result<FunctionObject, Error> {
        load(ctx, self.0.function)
            .await?
            .map(FunctionObject)
            .ok_or_else(|| bad_input("the function of this version is gone"))
    }

    /// Counts up from 1.
    async fn number(&self) -> u32 {
        self.0.number
    }

    /// Whether it is in force: the newest version of a function that is not archived.
    async fn is_current(&self, ctx: &Context<'_>) -> Result<bool, Error> {
        let function = load(ctx, self.0.function).await?;
        Ok(function.is_some_and(|function| {
            function.version == self.0.number && function.archived_at.is_none()
        }))
    }

    /// Settings of this version.
    async fn config(&self, ctx: &Context<'_>) -> Result<FunctionConfigObject, Error> {
        Ok(FunctionConfigObject {
            config: read_config(ctx, self.0.function, &self.0.config)?,
            raw: self.0.config.clone(),
        })
    }

    /// Triggers of this version; the next start of a schedule is told by the function.
    #[graphql(complexity = "5 * child_complexity")]
    async fn triggers(&self, ctx: &Context<'_>) -> Result<Vec<TriggerObject>, Error> {
        let config = read_config(ctx, self.0.function, &self.0.config)?;
        Ok(triggers_of(config, None))
    }

    /// SHA-256 of the configuration as it is stored, in hex: equal for versions that say the same.
    async fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.0.config.as_bytes()))
    }

    /// Sync that created it, while it is kept.
    async fn sync(&self, ctx: &Context<'_>) -> Option<Result<SyncObject, Error>> {
        sync::find(ctx, self.0.sync).await
    }

    /// When it was registered.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }
}
