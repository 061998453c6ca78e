//! Taking events in, and reading them.

use std::{collections::HashMap, sync::Arc};

use inngest_core::{
    access::{Actor, Scope},
    event::Event,
    ids::EventId,
};
use inngest_state::{Commit, NewEvent, Refused, fail_point};

use crate::{
    Error,
    engine::{Counters, Engine, TRIES},
    route::{Cause, drafts_of},
};

/// Events. Made by `Services::events`.
pub struct Events<'a>(pub(crate) &'a Arc<Engine>);

impl Events<'_> {
    /// Stores events together with the runs they start, all or nothing, and answers when they are durable. Ids in the order given.
    ///
    /// # Errors
    /// `Busy` when too much waits to be stored. The store's; nothing was stored then, or (if the connection broke) it is unknown, and
    /// sending again with the same ids is safe.
    pub async fn ingest(&self, actor: &Actor, events: Vec<Event>) -> Result<Vec<EventId>, Error> {
        actor.require(Scope::EventsSend)?;
        let ids = events.iter().map(|event| event.id).collect();
        if events.is_empty() {
            return Ok(ids);
        }
        fail_point!("ingest::after_parse");
        let engine = self.0;
        let now = engine.clock.now();
        for _ in 0..TRIES {
            let registry = engine.registries.get(actor.env).await?;
            let news: Vec<NewEvent> = events
                .iter()
                .map(|event| {
                    engine.route(&registry, actor.org, actor.env, event.clone(), true, now)
                })
                .collect();
            if engine.store_events(actor, registry.version, news).await? {
                return Ok(ids);
            }
            engine.registries.reload(actor.env).await?;
        }
        Err(Error::Busy)
    }

    /// Starts one function directly. `event` is the `inngest/function.invoked` event for it.
    ///
    /// # Errors
    /// `NotFound` when there is no such function; `Busy` when too much waits to be stored.
    pub async fn invoke(&self, actor: &Actor, slug: &str, event: Event) -> Result<EventId, Error> {
        actor.require(Scope::EventsSend)?;
        let engine = self.0;
        let now = engine.clock.now();
        for _ in 0..TRIES {
            let registry = engine.registries.get(actor.env).await?;
            let Some(loaded) = registry.by_name(slug) else {
                // Perhaps registered elsewhere a moment ago.
                if engine.store.functions_version(actor.env).await? != registry.version {
                    engine.registries.reload(actor.env).await?;
                    continue;
                }
                return Err(Error::NotFound {
                    what: "function",
                    id: slug.to_owned(),
                });
            };
            let run = engine.draft_run(actor.org, actor.env, loaded, &event, Cause::default(), now);
            let new = NewEvent {
                org: actor.org,
                env: actor.env,
                event: event.clone(),
                may_exist: true,
                runs: vec![run],
            };
            if engine
                .store_events(actor, registry.version, vec![new])
                .await?
            {
                return Ok(event.id);
            }
            engine.registries.reload(actor.env).await?;
        }
        Err(Error::Busy)
    }

    /// One event.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is not this actor's.
    pub async fn get(&self, actor: &Actor, id: EventId) -> Result<Event, Error> {
        actor.require(Scope::EventsRead)?;
        let found = self.0.store.find_event(actor.env, id).await?;
        found.ok_or_else(|| Error::NotFound {
            what: "event",
            id: id.to_string(),
        })
    }

    /// Events by id; unknown and foreign ids are left out.
    pub async fn get_many(
        &self,
        actor: &Actor,
        ids: &[EventId],
    ) -> Result<HashMap<EventId, Event>, Error> {
        actor.require(Scope::EventsRead)?;
        let events = self.0.store.find_events(actor.env, ids).await?;
        Ok(events.into_iter().map(|event| (event.id, event)).collect())
    }
}

impl Engine {
    /// Stores routed events. `false` when the functions have changed since: route again. A sender that hangs up meanwhile takes nothing
    /// along: what is stored is told to the schedule all the same.
    async fn store_events(
        self: &Arc<Self>,
        actor: &Actor,
        version: i64,
        events: Vec<NewEvent>,
    ) -> Result<bool, Error> {
        let (engine, actor) = (self.clone(), actor.clone());
        let storing = self
            .tracker
            .spawn(async move { engine.store_routed(&actor, version, events).await });
        storing.await.unwrap_or_else(|error| {
            Err(Error::Internal {
                what: error.to_string(),
            })
        })
    }

    async fn store_routed(
        &self,
        actor: &Actor,
        version: i64,
        events: Vec<NewEvent>,
    ) -> Result<bool, Error> {
        let drafts = drafts_of(&events);
        let count = events.len();
        let commit = Commit {
            functions_version: Some((actor.env, version)),
            events,
            ..Commit::default()
        };
        let env = commit.changed_env();
        let Some(outcome) = self.store.offer(commit).await else {
            return Err(Error::Busy);
        };
        self.hint(env, &outcome);
        match outcome {
            Ok(committed) => {
                fail_point!("ingest::after_commit");
                Counters::add(&self.counters.events, count - committed.known_events.len());
                self.announce(&committed, drafts).await;
                self.schedule(&committed.work).await;
                Ok(true)
            }
            Err(Refused::FunctionsChanged) => Ok(false),
            Err(Refused::Store(error)) => {
                // It may have been written all the same, and then the schedule lacks what follows.
                self.note_failed_commit(&error);
                Err(error.into())
            }
            Err(refused) => Err(Error::Internal {
                what: refused.to_string(),
            }),
        }
    }
}
