//! Apps, and how they come to be known.

use std::collections::HashMap;

use inngest_core::{
    access::{Actor, Scope},
    app::{App, Function, Synced, diff},
    ids::{AppId, FunctionId, SyncId},
    json::Json,
    limits,
    sync::{FUNCTIONS_NAMED, Sync, SyncKind, SyncStatus, WRITTEN_EVERY},
    time::Timestamp,
    wire::sync::{Registration, SyncReply, parse_config, parse_register},
};
use inngest_executor::SyncRequest;
use inngest_state::{AppSync, FunctionChange};
use tracing::{info, warn};

use crate::{
    Error, cron,
    engine::{Engine, TRIES},
    syncs::{Attempt, shown},
};

/// Apps. Made by `Services::apps`.
pub struct Apps<'a>(pub(crate) &'a Engine);

/// What came of asking an app for its functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReport {
    /// Whether anything changed; none when the app registered through another door and did not say.
    pub modified: Option<bool>,
    /// The app, when it is known.
    pub app: Option<AppId>,
    /// What is kept of it; of an app that was in sync already, what is kept of the last time.
    pub sync: Option<SyncId>,
}

impl Apps<'_> {
    /// Takes a registration as an app sends it, from one that says in a header where it is hosted. See [`Apps::register`].
    ///
    /// # Errors
    /// `Sync` with the code of what is wrong with it, which is kept as a failed sync.
    pub async fn register_body(
        &self,
        actor: &Actor,
        body: &[u8],
        platform: Option<&str>,
    ) -> Result<Synced, Error> {
        actor.require(Scope::AppsWrite)?;
        let since = self.0.clock.now();
        match parse_register(body) {
            Ok(registration) => self.register(actor, registration.hosted_on(platform)).await,
            Err(mut invalid) => {
                let about = &mut invalid.about;
                about.platform = about.platform.take().or(platform.map(str::to_owned));
                let attempt = Attempt::invalid(&invalid, SyncKind::OutOfBand, since);
                Err(Error::Sync {
                    code: invalid.code,
                    sync: self.note_failure(actor, &attempt).await,
                    message: invalid.message,
                })
            }
        }
    }

    /// Refuses the registration of an app that means a server of another kind.
    pub async fn refuse_other_kind(&self, actor: &Actor, message: String) -> Error {
        let code = "server_kind_mismatch";
        let now = self.0.clock.now();
        let attempt = Attempt::failed(code, &message, SyncKind::OutOfBand, now);
        let sync = match actor.require(Scope::AppsWrite) {
            Ok(()) => self.note_failure(actor, &attempt).await,
            Err(_) => None,
        };
        Error::Sync {
            code,
            message,
            sync,
        }
    }

    /// Stores what an app says about itself: all of it, or nothing. The same again changes nothing.
    ///
    /// # Errors
    /// The store's.
    pub async fn register(
        &self,
        actor: &Actor,
        registration: Registration,
    ) -> Result<Synced, Error> {
        self.register_by(actor, registration, SyncKind::OutOfBand)
            .await
    }

    async fn register_by(
        &self,
        actor: &Actor,
        registration: Registration,
        kind: SyncKind,
    ) -> Result<Synced, Error> {
        actor.require(Scope::AppsWrite)?;
        let engine = self.0;
        if registration.functions.len() > limits::FUNCTIONS_PER_APP {
            let error = Error::OverLimit {
                code: "too_many_functions",
                what: "functions of one app",
                limit: limits::FUNCTIONS_PER_APP as u64,
                actual: registration.functions.len() as u64,
            };
            let message = error.to_string();
            let attempt = Attempt::failed(error.code(), &message, kind, engine.clock.now());
            let attempt = attempt.about(registration.about());
            self.note_failure(actor, &attempt).await;
            return Err(error);
        }
        let _one_at_a_time = engine.syncing.lock().await;
        for _ in 0..TRIES {
            let version = engine.store.functions_version(actor.env).await?;
            let synced = self.try_register(actor, &registration, kind, version);
            if let Some(synced) = synced.await? {
                return Ok(synced);
            }
        }
        Err(Error::Busy)
    }

    /// Whether the app is known as the registration says; then it is noted that it is there. None: look again.
    async fn is_known(
        &self,
        actor: &Actor,
        app: &App,
        registration: &Registration,
        kind: SyncKind,
    ) -> Result<Option<SyncId>, Error> {
        let engine = self.0;
        let now = engine.clock.now();
        if app.failure.is_none() {
            if now.since(app.seen_at) >= WRITTEN_EVERY {
                engine.store.note_seen(actor.env, app.id, now).await?;
            }
            return Ok(Some(app.last_sync));
        }
        let record = self.record_of(app.id, registration, kind, now);
        let record = Sync {
            status: SyncStatus::Unchanged,
            ..record
        };
        let is_noted = engine.record_sync(actor, app, &record).await?;
        Ok(is_noted.then_some(record.id))
    }

    /// A sync that succeeded and has changed no function.
    fn record_of(
        &self,
        app: AppId,
        registration: &Registration,
        kind: SyncKind,
        now: Timestamp,
    ) -> Sync {
        Sync {
            id: self.0.ids.sync(),
            app: Some(app),
            status: SyncStatus::Succeeded,
            kind,
            about: shown(&registration.about()),
            failure: None,
            added: Vec::new(),
            changed: Vec::new(),
            removed: Vec::new(),
            created_at: now,
            last_at: now,
        }
    }

    /// Stores what an app says, if the functions of the environment are still of the expected version. None: look again.
    pub(crate) async fn try_register(
        &self,
        actor: &Actor,
        registration: &Registration,
        kind: SyncKind,
        expected_version: i64,
    ) -> Result<Option<Synced>, Error> {
        let engine = self.0;
        let now = engine.clock.now();
        let id = AppId::derive(actor.env, &registration.app_name);
        let known = engine.store.find_apps(actor.env, &[id]).await?.pop();
        if let Some(app) = known.as_ref().filter(|app| {
            app.checksum == registration.checksum
                && app.archived_at.is_none()
                && app.platform == registration.platform
        }) {
            let sync = self.is_known(actor, app, registration, kind).await?;
            return Ok(sync.map(|sync| Synced {
                sync,
                app: id,
                modified: false,
            }));
        }
        let stored = engine.store.functions_of_app(actor.env, id).await?;
        let ids: Vec<(FunctionId, &Json)> = registration
            .functions
            .iter()
            .map(|function| (FunctionId::derive(id, &function.config.slug), &function.raw))
            .collect();
        let changes = diff(&stored, &ids);
        let by_id: HashMap<FunctionId, _> = ids
            .iter()
            .map(|(id, _)| *id)
            .zip(&registration.functions)
            .collect();
        let mut functions = Vec::new();
        let mut work = Vec::new();
        for (function, version) in &changes.upserts {
            let Some(registered) = by_id.get(function) else {
                continue;
            };
            functions.push(FunctionChange {
                id: *function,
                slug: registered.config.slug.clone(),
                name: registered.config.name.clone(),
                version: *version,
                config: registered.raw.clone(),
            });
            work.extend(cron::ticks(
                actor.org,
                actor.env,
                *function,
                &registered.config,
                now,
            ));
        }
        let was_there = |id: &FunctionId| {
            let is_live = |it: &Function| it.id == *id && it.archived_at.is_none();
            stored.iter().any(is_live)
        };
        let upserts = changes.upserts.iter().map(|(id, _)| *id);
        let (changed, added): (Vec<_>, Vec<_>) = upserts.partition(was_there);
        let named = |ids: Vec<FunctionId>| ids.into_iter().take(FUNCTIONS_NAMED).collect();
        let record = Sync {
            added: named(added),
            changed: named(changed),
            removed: named(changes.archives.clone()),
            ..self.record_of(id, registration, kind, now)
        };
        let change = AppSync {
            org: actor.org,
            env: actor.env,
            expected_version,
            app: App {
                id,
                name: registration.app_name.clone(),
                url: registration.url.clone(),
                version: registration.app_version.clone(),
                sdk_language: registration.sdk_language.clone(),
                sdk_version: registration.sdk_version.clone(),
                framework: registration.framework.clone(),
                platform: registration.platform.clone(),
                checksum: registration.checksum.clone(),
                failure: None,
                last_sync: record.id,
                created_at: known.map_or(now, |app| app.created_at),
                synced_at: now,
                seen_at: now,
                archived_at: None,
            },
            record: Some(record),
            functions,
            archives: changes.archives.clone(),
            function_count: registration.functions.len(),
            work,
            now,
        };
        if !engine.save_sync(&change).await? {
            return Ok(None);
        }
        engine.schedule(&change.work).await;
        log_sync(registration, &stored, &change);
        Ok(Some(Synced {
            sync: change.app.last_sync,
            app: id,
            modified: true,
        }))
    }

    /// Removes the app at this URL and archives its functions. Their runs go on.
    ///
    /// # Errors
    /// `NotFound` when there is no such app.
    pub async fn remove(&self, actor: &Actor, url: &str) -> Result<(), Error> {
        actor.require(Scope::AppsWrite)?;
        let found = self.0.store.find_app_by_url(actor.env, url).await?;
        let app = found.ok_or_else(|| Error::NotFound {
            what: "app",
            id: url.to_owned(),
        })?;
        self.remove_app(actor, app.id).await
    }

    /// Removes an app and archives its functions. Their runs go on.
    ///
    /// # Errors
    /// `NotFound` when there is no such app, or it was removed before.
    pub async fn remove_app(&self, actor: &Actor, id: AppId) -> Result<(), Error> {
        actor.require(Scope::AppsWrite)?;
        let engine = self.0;
        let _one_at_a_time = engine.syncing.lock().await;
        for _ in 0..TRIES {
            let now = engine.clock.now();
            let expected_version = engine.store.functions_version(actor.env).await?;
            let found = engine.store.find_apps(actor.env, &[id]).await?.pop();
            let found = found.filter(|app| app.archived_at.is_none());
            let app = found.ok_or_else(|| Error::NotFound {
                what: "app",
                id: id.to_string(),
            })?;
            let stored = engine.store.functions_of_app(actor.env, id).await?;
            let archives = diff(&stored, &[]).archives;
            let change = AppSync {
                org: actor.org,
                env: actor.env,
                expected_version,
                record: None,
                app: App {
                    archived_at: Some(now),
                    checksum: String::new(),
                    synced_at: now,
                    ..app
                },
                functions: Vec::new(),
                archives,
                function_count: 0,
                work: Vec::new(),
                now,
            };
            if engine.save_sync(&change).await? {
                info!(app.id = %change.app.id, functions = change.archives.len(), "app removed");
                return Ok(());
            }
        }
        Err(Error::Busy)
    }

    /// Brings an app back that was removed, with the functions that were removed with it, as they were. One that is there stays as it is.
    ///
    /// # Errors
    /// `NotFound` when there never was such an app.
    pub async fn restore(&self, actor: &Actor, id: AppId) -> Result<(), Error> {
        actor.require(Scope::AppsWrite)?;
        let engine = self.0;
        let _one_at_a_time = engine.syncing.lock().await;
        for _ in 0..TRIES {
            let now = engine.clock.now();
            let expected_version = engine.store.functions_version(actor.env).await?;
            let found = engine.store.find_apps(actor.env, &[id]).await?.pop();
            let app = found.ok_or_else(|| Error::NotFound {
                what: "app",
                id: id.to_string(),
            })?;
            let Some(removed_at) = app.archived_at else {
                return Ok(());
            };
            let stored = engine.store.functions_of_app(actor.env, id).await?;
            let went_with_it = |function: &&Function| function.archived_at == Some(removed_at);
            let back: Vec<&Function> = stored.iter().filter(went_with_it).collect();
            let ticks = back.iter().filter_map(|function| {
                // What this version cannot read starts nothing anyway.
                let config = parse_config(&function.config).ok()?;
                Some(cron::ticks(actor.org, actor.env, function.id, &config, now))
            });
            let functions = back.iter().map(|function| FunctionChange {
                id: function.id,
                slug: function.slug.clone(),
                name: function.name.clone(),
                version: function.version.saturating_add(1),
                config: function.config.clone(),
            });
            let change = AppSync {
                org: actor.org,
                env: actor.env,
                expected_version,
                record: None,
                app: App {
                    archived_at: None,
                    synced_at: now,
                    ..app
                },
                work: ticks.flatten().collect(),
                functions: functions.collect(),
                archives: Vec::new(),
                function_count: back.len(),
                now,
            };
            if engine.save_sync(&change).await? {
                engine.schedule(&change.work).await;
                info!(app.id = %id, functions = change.functions.len(), "app restored");
                return Ok(());
            }
        }
        Err(Error::Busy)
    }

    /// Asks the app at this URL which functions it has. It answers by registering, or in its reply. `known` is the app that was found there
    /// before, if any: what fails is said of it.
    ///
    /// # Errors
    /// `Sync` with the code of sdk-protocol 1.7 when the app does not answer, is no app, or refuses; kept as a failed sync.
    pub async fn sync(
        &self,
        actor: &Actor,
        url: &str,
        known: Option<AppId>,
    ) -> Result<SyncReport, Error> {
        actor.require(Scope::AppsWrite)?;
        let engine = self.0;
        let since = engine.clock.now();
        let request = SyncRequest {
            url,
            kind: SyncKind::OutOfBand,
            signing_key: engine.settings.signing_keys.first(),
            now: since,
        };
        let (attempt, code, message) = match engine.client.sync(request).await {
            SyncReply::Registered => {
                let app = self.find_at(actor, url).await?;
                return Ok(SyncReport {
                    modified: None,
                    sync: app.as_ref().map(|app| app.last_sync),
                    app: app.map(|app| app.id),
                });
            }
            SyncReply::InBand(registration) => {
                let kind = SyncKind::InBand;
                let synced = self.register_by(actor, *registration, kind).await?;
                return Ok(SyncReport {
                    modified: Some(synced.modified),
                    app: Some(synced.app),
                    sync: Some(synced.sync),
                });
            }
            SyncReply::Invalid(invalid) => (
                Attempt::invalid(&invalid, SyncKind::InBand, since),
                invalid.code,
                invalid.message,
            ),
            SyncReply::Failed { code, message } => (
                Attempt::failed(&code, &message, SyncKind::OutOfBand, since),
                stable(&code),
                message,
            ),
        };
        let attempt = attempt.at(url, known);
        Err(Error::Sync {
            code,
            message,
            sync: self.note_failure(actor, &attempt).await,
        })
    }

    /// The same where the caller wants the app: an answer without a registration is a failure.
    ///
    /// # Errors
    /// As of [`Apps::sync`], and `Sync` with the code `not_registered`.
    pub async fn sync_registered(
        &self,
        actor: &Actor,
        url: &str,
        known: Option<AppId>,
    ) -> Result<(AppId, Option<SyncId>), Error> {
        let since = self.0.clock.now();
        let report = self.sync(actor, url, known).await?;
        if let Some(app) = report.app {
            return Ok((app, report.sync));
        }
        let code = "not_registered";
        let message = "the app answered, but registered nothing under this URL: it may talk to another server (INNGEST_DEV, INNGEST_BASE_URL) \
            or know itself by another URL (serveOrigin, servePath)"
            .to_owned();
        let attempt = Attempt::failed(code, &message, SyncKind::OutOfBand, since).at(url, known);
        Err(Error::Sync {
            code,
            sync: self.note_failure(actor, &attempt).await,
            message,
        })
    }

    /// Apps that are not archived, by name.
    pub async fn list(&self, actor: &Actor) -> Result<Vec<App>, Error> {
        actor.require(Scope::AppsRead)?;
        Ok(self.0.store.list_apps(actor.env).await?)
    }

    /// Apps by id; unknown and foreign ids are left out.
    pub async fn get_many(
        &self,
        actor: &Actor,
        ids: &[AppId],
    ) -> Result<HashMap<AppId, App>, Error> {
        actor.require(Scope::AppsRead)?;
        let apps = self.0.store.find_apps(actor.env, ids).await?;
        Ok(apps.into_iter().map(|app| (app.id, app)).collect())
    }
}

/// Codes of sdk-protocol 1.7; whatever else an app says is one word to programs.
fn stable(code: &str) -> &'static str {
    const CODES: [&str; 14] = [
        "unreachable",
        "unsupported_protocol",
        "invalid_signing_key",
        "missing_signing_key",
        "no_functions",
        "invalid_function",
        "missing_branch_env_name",
        "server_kind_mismatch",
        "app_config_invalid",
        "unauthorized",
        "forbidden",
        "url_not_found",
        "internal_server_error",
        "not_sdk",
    ];
    CODES
        .into_iter()
        .find(|known| *known == code)
        .unwrap_or("sync_failed")
}

fn log_sync(registration: &Registration, stored: &[Function], change: &AppSync) {
    let before = stored
        .iter()
        .filter(|function| function.archived_at.is_none())
        .count();
    info!(
        app.id = %change.app.id,
        app = %change.app.name,
        functions = change.function_count,
        changed = change.functions.len(),
        removed = change.archives.len(),
        before,
        "app synced"
    );
    for function in &registration.functions {
        for warning in &function.warnings {
            warn!(function.slug = %function.config.slug, "{warning}");
        }
        let present = function.config.flow.present();
        if !present.is_empty() {
            warn!(
                function.slug = %function.config.slug,
                settings = %present.join(", "),
                "these settings are stored and shown, but not enforced yet by this version"
            );
        }
    }
}

/// Functions. Made by `Services::functions`.
pub struct Functions<'a>(pub(crate) &'a Engine);

impl Functions<'_> {
    /// Functions of the environment, or of one app, by slug.
    pub async fn list(
        &self,
        actor: &Actor,
        app: Option<AppId>,
        with_archived: bool,
    ) -> Result<Vec<Function>, Error> {
        actor.require(Scope::AppsRead)?;
        Ok(self
            .0
            .store
            .list_functions(actor.env, app, with_archived)
            .await?)
    }

    /// Functions by id; unknown and foreign ids are left out.
    pub async fn get_many(
        &self,
        actor: &Actor,
        ids: &[FunctionId],
    ) -> Result<HashMap<FunctionId, Function>, Error> {
        actor.require(Scope::AppsRead)?;
        let functions = self.0.store.find_functions(actor.env, ids).await?;
        Ok(functions
            .into_iter()
            .map(|function| (function.id, function))
            .collect())
    }
}
