//! Versions of functions, and the names under which events come.

use std::collections::{BTreeSet, HashMap};

use inngest_core::{
    access::{Actor, Scope},
    app::{Function, FunctionVersion},
    ids::{EventId, FunctionId},
    limits,
    time::Timestamp,
};

use crate::{Error, apps::Functions, events::Events};

impl Functions<'_> {
    /// Versions by function and number; unknown and foreign ones are left out.
    pub async fn get_versions(
        &self,
        actor: &Actor,
        ids: &[(FunctionId, u32)],
    ) -> Result<HashMap<(FunctionId, u32), FunctionVersion>, Error> {
        actor.require(Scope::AppsRead)?;
        let found = self.0.store.find_function_versions(actor.env, ids).await?;
        let keyed = |version: FunctionVersion| ((version.function, version.number), version);
        Ok(found.into_iter().map(keyed).collect())
    }

    /// The functions that listen to events of this name, whatever their conditions, by slug.
    pub async fn listening(&self, actor: &Actor, name: &str) -> Result<Vec<Function>, Error> {
        actor.require(Scope::AppsRead)?;
        let registry = self.0.registries.get(actor.env).await?;
        let found = registry.listening(name).into_iter();
        Ok(found.map(|loaded| loaded.function.clone()).collect())
    }
}

impl Events<'_> {
    /// The names of events that are stored or that functions listen to, in order; at most [`limits::EVENT_NAMES_LISTED`] of each sort.
    /// `part` keeps those that contain it, in any case.
    pub async fn names(&self, actor: &Actor, part: Option<&str>) -> Result<Vec<String>, Error> {
        actor.require(Scope::EventsRead)?;
        let most = limits::EVENT_NAMES_LISTED;
        let stored = self.0.store.event_names(actor.env, most).await?;
        let registry = self.0.registries.get(actor.env).await?;
        let listened: BTreeSet<&str> = registry.event_names().collect();
        let listened = listened.into_iter().take(most as usize);
        let mut names: BTreeSet<String> = listened.map(str::to_owned).chain(stored).collect();
        if let Some(part) = part.map(str::to_lowercase) {
            names.retain(|name| name.to_lowercase().contains(&part));
        }
        Ok(names.into_iter().collect())
    }

    /// Of these names those that an event or a trigger has.
    pub async fn known_names(
        &self,
        actor: &Actor,
        names: &[String],
    ) -> Result<BTreeSet<String>, Error> {
        let registry = self.0.registries.get(actor.env).await?;
        let listened: BTreeSet<&str> = registry.event_names().collect();
        let seen = self.seen(actor, names).await?;
        let is_known =
            |name: &&String| listened.contains(name.as_str()) || seen.contains_key(*name);
        Ok(names.iter().filter(is_known).cloned().collect())
    }

    /// When the first and the last event of each of these names were accepted that are still stored; a name without any is left out.
    pub async fn seen(
        &self,
        actor: &Actor,
        names: &[String],
    ) -> Result<HashMap<String, (Timestamp, Timestamp)>, Error> {
        actor.require(Scope::EventsRead)?;
        let found = self.0.store.first_and_last_events(actor.env, names).await?;
        let times = |(name, first, last): (String, EventId, EventId)| {
            (name, (first.accepted_at(), last.accepted_at()))
        };
        Ok(found.into_iter().map(times).collect())
    }
}
