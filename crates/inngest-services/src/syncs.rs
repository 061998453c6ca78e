//! What is kept of attempts to register apps, and how it is looked at.

use std::collections::HashMap;

use inngest_core::{
    access::{Actor, Scope},
    app::App,
    ids::{AppId, SyncId},
    page::{Count, Page, PageRequest},
    sync::{About, SAME_WITHIN, Sync, SyncFailure, SyncKind, SyncStatus, WRITTEN_EVERY},
    time::Timestamp,
    wire::sync::{InvalidRegistration, identity_url, normalize_url, public_url},
};
use inngest_state::{AppSync, SyncFilter};
use tracing::warn;

use crate::{
    Error,
    apps::Apps,
    engine::{Engine, TRIES},
    lists::bounded,
    of_many::{with_empty, with_zero},
};

/// An attempt that failed.
pub(crate) struct Attempt {
    kind: SyncKind,
    about: About,
    failure: SyncFailure,
    /// The app, where it is known without what it says about itself.
    app: Option<AppId>,
    /// When it began.
    since: Timestamp,
}

impl Attempt {
    /// One of which only the outcome is known.
    pub(crate) fn failed(code: &str, message: &str, kind: SyncKind, since: Timestamp) -> Self {
        Self {
            kind,
            about: About::default(),
            failure: SyncFailure::new(code, message),
            app: None,
            since,
        }
    }

    /// One that was refused here.
    pub(crate) fn invalid(invalid: &InvalidRegistration, kind: SyncKind, since: Timestamp) -> Self {
        Self::failed(invalid.code, &invalid.in_full(), kind, since).about((*invalid.about).clone())
    }

    /// With what the app says about itself.
    pub(crate) fn about(self, about: About) -> Self {
        Self { about, ..self }
    }

    /// With the URL that was asked, and the app that was found there before. What the app says counts first.
    pub(crate) fn at(mut self, url: &str, known: Option<AppId>) -> Self {
        self.about.url.get_or_insert_with(|| url.to_owned());
        self.app = known;
        self
    }

    /// As it is kept of this app.
    fn record(&self, id: SyncId, app: Option<&App>, now: Timestamp) -> Sync {
        let mut about = shown(&self.about);
        if let Some(app) = app {
            about.url = about.url.or_else(|| public_url(&app.url));
        }
        Sync {
            id,
            app: app.map(|app| app.id),
            status: SyncStatus::Failed,
            kind: self.kind,
            about,
            failure: Some(self.failure.clone()),
            added: Vec::new(),
            changed: Vec::new(),
            removed: Vec::new(),
            created_at: now,
            last_at: now,
        }
    }
}

/// What an app says about itself as it is kept: bounded, and without what may be a secret in its URL.
pub(crate) fn shown(about: &About) -> About {
    let url = about.url.as_deref();
    let url = url.and_then(|url| public_url(&normalize_url(url)?));
    About {
        url,
        ..about.clone()
    }
    .clipped()
}

impl Engine {
    /// Stores what a sync changes, tells whoever watches, and reads the functions again. `false` when the functions have changed since
    /// it was computed.
    pub(crate) async fn save_sync(&self, change: &AppSync) -> Result<bool, Error> {
        if !self.store.save_sync(change).await? {
            return Ok(false);
        }
        self.live.publish(change.env);
        self.registries.reload(change.env).await?;
        Ok(true)
    }

    /// Stores an attempt that changed nothing but how the app is, and tells whoever watches. `false` when another one came before it.
    pub(crate) async fn record_sync(
        &self,
        actor: &Actor,
        app: &App,
        record: &Sync,
    ) -> Result<bool, Error> {
        let (org, env) = (actor.org, actor.env);
        let is_noted = self.store.record_sync(org, env, app, record).await?;
        if is_noted {
            self.live.publish(env);
        }
        Ok(is_noted)
    }
}

impl Apps<'_> {
    /// The app that calls itself by this URL or by another spelling of it, unless it is archived.
    pub(crate) async fn find_at(&self, actor: &Actor, url: &str) -> Result<Option<App>, Error> {
        let (normal, identity) = (normalize_url(url), identity_url(url));
        let mut urls = vec![url];
        urls.extend(normal.as_deref());
        urls.extend(identity.as_deref());
        Ok(self.0.store.find_app_by_urls(actor.env, &urls).await?)
    }

    /// Keeps an attempt that failed. One that fails as the last one did is not another one; and one whose app has registered since it
    /// began says nothing any more. Returns what is kept; none when that did not succeed, which must not hide why the attempt failed.
    pub(crate) async fn note_failure(&self, actor: &Actor, attempt: &Attempt) -> Option<SyncId> {
        match self.try_note_failure(actor, attempt).await {
            Ok(id) => Some(id),
            Err(error) => {
                warn!(error = %error, "a failed sync was not noted");
                None
            }
        }
    }

    async fn try_note_failure(&self, actor: &Actor, attempt: &Attempt) -> Result<SyncId, Error> {
        let engine = self.0;
        for _ in 0..TRIES {
            let Some(app) = self.app_of(actor, attempt).await? else {
                return self.note_without_app(actor, attempt).await;
            };
            if app.seen_at > attempt.since {
                return Ok(app.last_sync);
            }
            if let Some(before) = &app.failure
                && attempt.failure.repeats(before)
            {
                let found = engine.store.find_syncs(actor.env, &[app.last_sync]).await?;
                if let Some(last) = found.first() {
                    return self.repeat(actor, last, attempt).await;
                }
            }
            let record = attempt.record(engine.ids.sync(), Some(&app), engine.clock.now());
            if engine.record_sync(actor, &app, &record).await? {
                return Ok(record.id);
            }
        }
        Err(Error::Busy)
    }

    /// Whose attempt it was.
    async fn app_of(&self, actor: &Actor, attempt: &Attempt) -> Result<Option<App>, Error> {
        let named = attempt.about.app_name.as_deref();
        let id = named
            .map(|name| AppId::derive(actor.env, name))
            .or(attempt.app);
        if let Some(id) = id {
            let found = self.0.store.find_apps(actor.env, &[id]).await?.pop();
            return Ok(found.filter(|app| app.archived_at.is_none()));
        }
        match &attempt.about.url {
            Some(url) => self.find_at(actor, url).await,
            None => Ok(None),
        }
    }

    async fn note_without_app(&self, actor: &Actor, attempt: &Attempt) -> Result<SyncId, Error> {
        let engine = self.0;
        let now = engine.clock.now();
        let record = attempt.record(engine.ids.sync(), None, now);
        let (store, url) = (&engine.store, record.about.url.as_deref());
        let last = store.last_sync_without_app(actor.env, url).await?;
        if let Some(last) = last
            && let Some(before) = &last.failure
            && attempt.failure.repeats(before)
            && now.since(last.last_at) < SAME_WITHIN
        {
            return self.repeat(actor, &last, attempt).await;
        }
        store
            .record_sync_without_app(actor.org, actor.env, &record)
            .await?;
        Ok(record.id)
    }

    /// The last attempt failed again. Of what an app only heard of, the first telling stays.
    async fn repeat(&self, actor: &Actor, last: &Sync, attempt: &Attempt) -> Result<SyncId, Error> {
        let engine = self.0;
        let now = engine.clock.now();
        if now.since(last.last_at) >= WRITTEN_EVERY {
            let before = last.failure.as_ref();
            let told = before.filter(|before| before.code != attempt.failure.code);
            let message = &told.unwrap_or(&attempt.failure).message;
            let store = &engine.store;
            store.repeat_sync(actor.env, last.id, message, now).await?;
        }
        Ok(last.id)
    }

    /// One page of attempts to register apps that are kept, newest first.
    ///
    /// # Errors
    /// `invalid_cursor`, and `filter_too_long` for more than 500 values in a part of the filter.
    pub async fn syncs(
        &self,
        actor: &Actor,
        filter: &SyncFilter,
        request: &PageRequest,
    ) -> Result<Page<Sync>, Error> {
        actor.require(Scope::AppsRead)?;
        bounded(filter.longest_list())?;
        let page = self.0.store.list_syncs(actor.env, filter, request);
        Ok(page.await?)
    }

    /// How many attempts the list has.
    ///
    /// # Errors
    /// `filter_too_long`, as for the list.
    pub async fn count_syncs(&self, actor: &Actor, filter: &SyncFilter) -> Result<Count, Error> {
        actor.require(Scope::AppsRead)?;
        bounded(filter.longest_list())?;
        Ok(self.0.store.count_syncs(actor.env, filter).await?)
    }

    /// The same page of the syncs of each of these apps, newest first; every app has an entry.
    ///
    /// # Errors
    /// `invalid_cursor`.
    pub async fn syncs_of_apps(
        &self,
        actor: &Actor,
        apps: &[AppId],
        request: &PageRequest,
    ) -> Result<HashMap<AppId, Page<Sync>>, Error> {
        actor.require(Scope::AppsRead)?;
        let pages = self.0.store.list_syncs_of_apps(actor.env, apps, request);
        Ok(with_empty(apps, pages.await?))
    }

    /// How many syncs of each of these apps are kept.
    pub async fn count_syncs_of_apps(
        &self,
        actor: &Actor,
        apps: &[AppId],
    ) -> Result<HashMap<AppId, Count>, Error> {
        actor.require(Scope::AppsRead)?;
        let counts = self.0.store.count_syncs_of_apps(actor.env, apps);
        Ok(with_zero(apps, counts.await?))
    }

    /// Syncs by id; unknown and foreign ids, and those that are no longer kept, are left out.
    pub async fn get_syncs(
        &self,
        actor: &Actor,
        ids: &[SyncId],
    ) -> Result<HashMap<SyncId, Sync>, Error> {
        actor.require(Scope::AppsRead)?;
        let syncs = self.0.store.find_syncs(actor.env, ids).await?;
        Ok(syncs.into_iter().map(|sync| (sync.id, sync)).collect())
    }

    /// When an app was last in sync, to a minute; none when there never was one.
    pub async fn last_synced_at(&self, actor: &Actor) -> Result<Option<Timestamp>, Error> {
        actor.require(Scope::AppsRead)?;
        Ok(self.0.store.last_synced_at(actor.env).await?)
    }
}
