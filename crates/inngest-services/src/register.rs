//! Registering one function by itself; the other functions of its app stay.

use inngest_core::{
    access::{Actor, Scope},
    app::Function,
    ids::{AppId, FunctionId},
    json::Json,
    limits,
    sync::SyncKind,
    wire::sync::{OneFunction, with_function},
};

use crate::{Error, FunctionView, apps::Apps, engine::TRIES};

impl Apps<'_> {
    /// Stores a function by itself, and its app when it is the first. The same again changes nothing; another one with its id takes its
    /// place. When the app registers itself later, it says anew which functions it has.
    ///
    /// # Errors
    /// `Invalid` with the code of what is wrong with it.
    pub async fn put_function(
        &self,
        actor: &Actor,
        one: &OneFunction,
    ) -> Result<FunctionView, Error> {
        actor.require(Scope::AppsWrite)?;
        if let Some(retries) = one.retries.filter(|retries| *retries > limits::MAX_RETRIES) {
            return Err(Error::Invalid {
                code: "retries_invalid",
                message: format!(
                    "a function has at most {} retries, not {retries}",
                    limits::MAX_RETRIES
                ),
            });
        }
        let engine = self.0;
        let id = AppId::derive(actor.env, &one.app);
        let function = FunctionId::derive(id, &one.slug());
        let _one_at_a_time = engine.syncing.lock().await;
        for _ in 0..TRIES {
            // First, so that the functions that are read after it are refused when they have changed.
            let version = engine.store.functions_version(actor.env).await?;
            let app = engine.store.find_apps(actor.env, &[id]).await?.pop();
            let stored = engine.store.functions_of_app(actor.env, id).await?;
            let is_other = |it: &&Function| it.id != function && it.archived_at.is_none();
            let others: Vec<&Json> = stored
                .iter()
                .filter(is_other)
                .map(|it| &it.config)
                .collect();
            let registration = with_function(app.as_ref(), &others, one);
            let registration = registration.map_err(|invalid| Error::Invalid {
                code: invalid.code,
                message: invalid.in_full(),
            })?;
            let kind = SyncKind::OutOfBand;
            let synced = self.try_register(actor, &registration, kind, version);
            if synced.await?.is_some() {
                return engine.find_function(actor, &function.to_string()).await;
            }
        }
        Err(Error::Busy)
    }
}
