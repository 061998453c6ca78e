//! The loop that finds apps and asks them for their functions.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use inngest_core::{access::Actor, ids::AppId};
use inngest_executor::{AppClient, Probe};
use inngest_services::{Error, Services};

use crate::{
    defaults::PATHS,
    notice::{Notice, Notices, Seen},
};

/// Apps that are asked at the same time; an app that hangs must not hold up the others.
const AT_ONCE: usize = 8;

/// Which apps to keep in sync, and how often to look.
#[derive(Clone, Debug)]
pub struct WatchSettings {
    /// Apps that are always asked.
    pub urls: Vec<String>,
    /// Where to search for apps until one has been found; `None` does not search.
    pub scan: Option<Scan>,
    /// Whether apps that work are asked again; those whose last sync failed always are.
    pub poll_healthy: bool,
    /// The pause between two rounds.
    pub interval: Duration,
}

/// Where to search for apps on this machine.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The ports to try.
    pub ports: Vec<u16>,
    /// The server's own port, which is never asked.
    pub own_port: u16,
}

/// Finds apps and keeps them in sync until `stop`. Failures are logged and tried again; nothing here can stop the server.
pub async fn watch_apps(
    services: Services,
    client: AppClient,
    actor: Actor,
    settings: WatchSettings,
    stop: CancellationToken,
) {
    let mut watch = Watch {
        services,
        client,
        actor,
        settings,
        found: Vec::new(),
        ids: HashMap::new(),
        notices: Notices::default(),
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = watch.round() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(watch.settings.interval) => {}
        }
    }
}

struct Watch {
    services: Services,
    client: AppClient,
    actor: Actor,
    settings: WatchSettings,
    /// Apps that the search has found.
    found: Vec<String>,
    /// Which app answered at a URL. An app may call itself by another URL than the one it was found by.
    ids: HashMap<String, AppId>,
    notices: Notices,
}

impl Watch {
    async fn round(&mut self) {
        let (mut urls, any_works) = self.known().await;
        if !any_works && !self.notices.any_synced() {
            let found = self.scan(&urls).await;
            self.found.extend(found.iter().cloned());
            urls.extend(found);
        }
        let (services, actor, notices) = (&self.services, &self.actor, &self.notices);
        let ids = &self.ids;
        let seen: Vec<(String, Option<AppId>, Seen)> = stream::iter(urls)
            .map(|url| async move {
                let before = ids.get(&url).copied();
                let (app, seen) =
                    ask(services, actor, (&url, before), notices.functions(&url)).await;
                (url, app, seen)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (url, app, seen) in seen {
            self.ids.extend(app.map(|app| (url.clone(), app)));
            if let Some(notice) = self.notices.observe(&url, seen) {
                tell(&url, notice);
            }
        }
    }

    /// The apps to ask in this round, each by one URL: those of the settings, those found, and those that came by themselves.
    /// And whether any of the last kind works, so that there is nothing to search for.
    async fn known(&self) -> (BTreeSet<String>, bool) {
        let ours = self.settings.urls.iter().chain(&self.found);
        let due = |url: &&String| self.settings.poll_healthy || !self.notices.is_synced(url);
        let mut urls: BTreeSet<String> = ours.filter(due).cloned().collect();
        let apps = match self.services.apps().list(&self.actor).await {
            Ok(apps) => apps,
            Err(error) => {
                warn!(error = %error, "could not list apps; asking only those that the settings name");
                return (urls, false);
            }
        };
        let mut any_works = false;
        // Those that came by themselves answer at URLs that are not ours, and are asked each time.
        let ours: HashSet<AppId> = self
            .settings
            .urls
            .iter()
            .chain(&self.found)
            .filter_map(|url| self.ids.get(url).copied())
            .collect();
        for app in apps.into_iter().filter(|app| app.archived_at.is_none()) {
            let is_ours = ours.contains(&app.id);
            let is_due = self.settings.poll_healthy || app.failure.is_some();
            let is_http = app.url.starts_with("http://") || app.url.starts_with("https://");
            any_works |= !is_ours && !is_due;
            if !is_ours && is_due && is_http {
                urls.insert(app.url);
            }
        }
        (urls, any_works)
    }

    /// Apps on the usual ports that are not known yet.
    async fn scan(&self, known: &BTreeSet<String>) -> Vec<String> {
        let Some(scan) = &self.settings.scan else {
            return Vec::new();
        };
        let ports = scan
            .ports
            .iter()
            .copied()
            .filter(|port| *port != scan.own_port);
        stream::iter(ports)
            .map(|port| self.find_app(port))
            .buffer_unordered(AT_ONCE)
            .filter_map(async |url| {
                url.filter(|url| !known.contains(url) && !self.settings.urls.contains(url))
            })
            .collect()
            .await
    }

    async fn find_app(&self, port: u16) -> Option<String> {
        if !self.client.dial(port).await {
            return None;
        }
        for path in PATHS {
            let url = format!("http://localhost:{port}{path}");
            if matches!(self.client.probe(&url).await, Probe::App { .. }) {
                return Some(url);
            }
        }
        None
    }
}

/// Asks one app to sync. Its functions are read again unless the app says that nothing has changed.
async fn ask(
    services: &Services,
    actor: &Actor,
    (url, before): (&str, Option<AppId>),
    known: Option<&BTreeSet<String>>,
) -> (Option<AppId>, Seen) {
    let report = match services.apps().sync(actor, url, before).await {
        Ok(report) => report,
        Err(error) => return (None, failed(&error)),
    };
    if let (Some(false), Some(known)) = (report.modified, known) {
        return (report.app, Seen::Synced(known.clone()));
    }
    let Some(app) = report.app else {
        // It calls itself by another URL and is asked there as well, so nothing is missed.
        return (None, Seen::Synced(BTreeSet::new()));
    };
    match services.functions().list(actor, Some(app), false).await {
        Ok(functions) => {
            let slugs = functions.into_iter().map(|function| function.slug);
            (Some(app), Seen::Synced(slugs.collect()))
        }
        Err(error) => (Some(app), failed(&error)),
    }
}

fn failed(error: &Error) -> Seen {
    Seen::Failed {
        code: error.code(),
        message: error.to_string(),
    }
}

fn tell(url: &str, notice: Notice) {
    match notice {
        Notice::Synced { functions: 0 } => info!("app at {url} is in sync"),
        Notice::Synced { functions: 1 } => info!("app at {url} is in sync: 1 function"),
        Notice::Synced { functions } => info!("app at {url} is in sync: {functions} functions"),
        Notice::Changed { added, removed } => {
            let parts = [("added", added), ("removed", removed)];
            let parts = parts
                .iter()
                .filter(|(_, names)| !names.is_empty())
                .map(|(what, names)| format!("{what} {}", names.join(", ")));
            info!(
                "app at {url} has changed: {}",
                parts.collect::<Vec<_>>().join("; ")
            );
        }
        Notice::Failed { code, message } => {
            warn!(code, "app at {url} could not be synced: {message}")
        }
    }
}
