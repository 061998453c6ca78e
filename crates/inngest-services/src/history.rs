//! Versions of functions, and the names under which events come.

use std::collections::{BTreeSet, HashMap};

use inngest_core::{
    access::{Actor, Scope},
    app::{Function, FunctionVersion},
    event::is_internal,
    ids::{EventId, FunctionId},
    limits,
    time::Timestamp,
};
use inngest_state::EventFilter;

use crate::{Error, apps::Functions, events::Events, lists::bounded};

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

    /// The filter with the names that its wildcards stand for, unless there are too many of them: an index knows names, and not their
    /// beginnings.
    pub(crate) async fn named(
        &self,
        actor: &Actor,
        filter: &EventFilter,
    ) -> Result<EventFilter, Error> {
        actor.require(Scope::EventsRead)?;
        bounded(filter.longest_list())?;
        let mut named = filter.clone();
        let Some(names) = &mut named.names else {
            return Ok(named);
        };
        if names.iter().any(|name| name.ends_with('*')) {
            let most = limits::EVENT_NAMES_LISTED;
            let stored = self.0.store.event_names(actor.env, most).await?;
            if stored.len() < most as usize {
                let is_wanted = |name: &String| {
                    names.iter().any(|wanted| match wanted.strip_suffix('*') {
                        Some(start) => name.starts_with(start.trim_end_matches('*')),
                        None => name == wanted,
                    })
                };
                let wanted: Vec<String> = stored.into_iter().filter(is_wanted).collect();
                if bounded(wanted.len()).is_ok() {
                    *names = wanted;
                }
            }
        }
        if !named.with_internal {
            names.retain(|name| !is_internal(name));
        }
        Ok(named)
    }
}
