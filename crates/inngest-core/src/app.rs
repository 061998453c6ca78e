//! Apps, and what a sync changes about them.

use std::collections::HashMap;

use crate::{
    ids::{AppId, FunctionId, SyncId},
    json::Json,
    pause::Pause,
    sync::SyncFailure,
    time::Timestamp,
};

/// A set of functions served at one URL.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// The name that the SDK's client was given (`id` in code).
    pub name: String,
    /// Where it is served.
    pub url: String,
    /// Version of the user's code, where it says one.
    pub version: Option<String>,
    /// For example `js`.
    pub sdk_language: String,
    /// For example `4.24.0`.
    pub sdk_version: String,
    /// For example `express`.
    pub framework: Option<String>,
    /// Where it is hosted, if it says so; for example `vercel`.
    pub platform: Option<String>,
    /// Checksum of the last accepted sync.
    pub checksum: String,
    /// Why the last sync failed, when it did.
    pub failure: Option<SyncFailure>,
    /// The last sync that is kept.
    pub last_sync: SyncId,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it last changed.
    pub synced_at: Timestamp,
    /// When it last registered, whether or not anything had changed; to [`crate::sync::WRITTEN_EVERY`].
    pub seen_at: Timestamp,
    /// When it was removed.
    pub archived_at: Option<Timestamp>,
}

/// A function as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its id.
    pub id: FunctionId,
    /// Its app.
    pub app: AppId,
    /// The composite id, for example `shop-send-receipt`.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// Counts the syncs that changed it, from 1.
    pub version: u32,
    /// The configuration as the app sent it.
    pub config: Json,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When its configuration last changed.
    pub updated_at: Timestamp,
    /// When a sync no longer had it.
    pub archived_at: Option<Timestamp>,
    /// How it is paused, if it is.
    pub pause: Option<Pause>,
}

/// One registered configuration of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionVersion {
    /// The function.
    pub function: FunctionId,
    /// Counted from 1.
    pub number: u32,
    /// The configuration as the app sent it.
    pub config: Json,
    /// The sync that brought it.
    pub sync: SyncId,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// What came of a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The record of this sync; the earlier one's when nothing changed.
    pub sync: SyncId,
    /// The app.
    pub app: AppId,
    /// Whether anything was changed.
    pub modified: bool,
}

/// What one sync does to the functions of an app.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncDiff {
    /// New, changed or returned functions, each with the version it gets.
    pub upserts: Vec<(FunctionId, u32)>,
    /// Functions that the sync no longer has.
    pub archives: Vec<FunctionId>,
}

/// Compares stored functions (archived ones included) with the ids and configurations of a sync.
pub fn diff(stored: &[Function], synced: &[(FunctionId, &Json)]) -> SyncDiff {
    let known: HashMap<FunctionId, &Function> = stored
        .iter()
        .map(|function| (function.id, function))
        .collect();
    let mut diff = SyncDiff::default();
    for (id, config) in synced {
        match known.get(id) {
            None => diff.upserts.push((*id, 1)),
            Some(function) if function.archived_at.is_some() || function.config != **config => {
                diff.upserts.push((*id, function.version.saturating_add(1)));
            }
            Some(_) => {}
        }
    }
    let kept: std::collections::HashSet<FunctionId> = synced.iter().map(|(id, _)| *id).collect();
    diff.archives = stored
        .iter()
        .filter(|function| function.archived_at.is_none() && !kept.contains(&function.id))
        .map(|function| function.id)
        .collect();
    diff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DEFAULT_ENV;

    fn function(slug: &str, config: &str, archived: bool) -> Function {
        let app = AppId::derive(DEFAULT_ENV, "shop");
        Function {
            id: FunctionId::derive(app, slug),
            app,
            slug: slug.into(),
            name: slug.into(),
            version: 3,
            config: Json::parse(config.as_bytes()).unwrap(),
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            archived_at: archived.then(Timestamp::default),
            pause: None,
        }
    }

    #[test]
    fn sync_adds_changes_revives_and_archives() {
        let stored = [
            function("same", "1", false),
            function("changed", "1", false),
            function("gone", "1", false),
            function("back", "1", true),
        ];
        let (one, two) = (Json::parse(b"1").unwrap(), Json::parse(b"2").unwrap());
        let app = AppId::derive(DEFAULT_ENV, "shop");
        let id = |slug| FunctionId::derive(app, slug);
        let got = diff(
            &stored,
            &[
                (id("same"), &one),
                (id("changed"), &two),
                (id("back"), &one),
                (id("new"), &one),
            ],
        );
        assert_eq!(
            got.upserts,
            vec![(id("changed"), 4), (id("back"), 4), (id("new"), 1)]
        );
        assert_eq!(got.archives, vec![id("gone")]);
    }
}
