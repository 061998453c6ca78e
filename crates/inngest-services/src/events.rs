//! Taking events in, and reading them.

use std::{collections::HashMap, sync::Arc};

use inngest_core::{
    access::{Actor, Scope},
    event::{Door, Event},
    ids::{EventId, FunctionId, RunId},
    json::Json,
    limits,
};
use inngest_state::{Commit, NewEvent, NewRequest, Refused, fail_point};
use tracing::{Instrument, debug_span};

use crate::{
    Error,
    engine::{Counters, Engine, TRIES},
    registry::{Loaded, Registry},
    requests::{RequestKey, answered, read_id},
    route::{Cause, drafts_of, key_hash},
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
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let events = come_by(&Door::Ingest, events);
        let span = debug_span!("ingest", events = count);
        self.take(actor, events).instrument(span).await
    }

    async fn take(&self, actor: &Actor, events: Vec<Event>) -> Result<Vec<EventId>, Error> {
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
            match engine
                .store_events(actor, registry.version, news, None)
                .await?
            {
                Stored::Done => return Ok(ids),
                Stored::Outdated | Stored::Requested(_) => {
                    engine.registries.reload(actor.env).await?;
                }
            }
        }
        Err(Error::Busy)
    }

    /// Like [`Events::ingest`], for people and programs that are to know what became of each event: of one that started nothing because
    /// its sender's id had started the same functions before, the id is that of the first. A second request with the same key sends
    /// nothing.
    ///
    /// # Errors
    /// The store's; `Busy` when too much waits to be stored; `Conflict` with `idempotency_key_reused`.
    pub async fn send(
        &self,
        actor: &Actor,
        events: Vec<Event>,
        key: Option<RequestKey>,
    ) -> Result<Vec<EventId>, Error> {
        actor.require(Scope::EventsSend)?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let events = come_by(&Door::Api(actor.author()), events);
        let engine = self.0;
        if let Some(result) = engine.find_answer(actor, key.as_ref()).await? {
            return engine
                .first_of_twins(actor, &events, read_ids(&result)?)
                .await;
        }
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let now = engine.clock.now();
        for _ in 0..TRIES {
            let registry = engine.registries.get(actor.env).await?;
            let route = |event: &Event| {
                engine.route(&registry, actor.org, actor.env, event.clone(), true, now)
            };
            let news: Vec<NewEvent> = events.iter().map(route).collect();
            let request = key
                .as_ref()
                .map(|key| key.remember(actor, ids_body(&ids), now));
            let stored = engine.store_events(actor, registry.version, news, request);
            let ids = match stored.await? {
                Stored::Done => ids,
                Stored::Requested(result) => read_ids(&answered(key.as_ref(), result)?)?,
                Stored::Outdated => {
                    engine.registries.reload(actor.env).await?;
                    continue;
                }
            };
            return engine.first_of_twins(actor, &events, ids).await;
        }
        Err(Error::Busy)
    }

    /// Starts the function of a slug directly. `event` is the `inngest/function.invoked` event for it. A second request with the same key
    /// gets the event of the first.
    ///
    /// # Errors
    /// `NotFound` when there is no such function; `Busy` when too much waits to be stored; `Conflict` with `idempotency_key_reused`.
    pub async fn invoke(
        &self,
        actor: &Actor,
        slug: &str,
        event: Event,
        key: Option<RequestKey>,
    ) -> Result<EventId, Error> {
        self.start_by(actor, slug, |registry| registry.by_name(slug), event, key)
            .await
    }

    /// [`Events::invoke`] by the id of the function, which is the only one that tells it from those of other apps.
    ///
    /// # Errors
    /// As of [`Events::invoke`].
    pub async fn invoke_function(
        &self,
        actor: &Actor,
        id: FunctionId,
        event: Event,
        key: Option<RequestKey>,
    ) -> Result<EventId, Error> {
        let name = id.to_string();
        self.start_by(actor, &name, |registry| registry.by_id(id), event, key)
            .await
    }

    async fn start_by(
        &self,
        actor: &Actor,
        name: &str,
        find: impl Fn(&Registry) -> Option<&Arc<Loaded>> + Send,
        event: Event,
        key: Option<RequestKey>,
    ) -> Result<EventId, Error> {
        actor.require(Scope::EventsSend)?;
        let engine = self.0;
        if let Some(result) = engine.find_answer(actor, key.as_ref()).await? {
            return read_id(&result);
        }
        let event = Event {
            door: Some(Door::Api(actor.author())),
            ..event
        };
        let now = engine.clock.now();
        for _ in 0..TRIES {
            let registry = engine.registries.get(actor.env).await?;
            let Some(loaded) = find(&registry) else {
                // Perhaps registered elsewhere a moment ago.
                if engine.store.functions_version(actor.env).await? != registry.version {
                    engine.registries.reload(actor.env).await?;
                    continue;
                }
                return Err(Error::NotFound {
                    what: "function",
                    id: name.to_owned(),
                });
            };
            let cause = Cause {
                by: Some(actor.author()),
                ..Cause::default()
            };
            let run = engine.draft_run(actor.org, actor.env, loaded, &event, cause, now);
            let new = NewEvent {
                org: actor.org,
                env: actor.env,
                event: event.clone(),
                may_exist: true,
                runs: vec![run],
            };
            let request = key.as_ref().map(|key| {
                let result = Json::string(&event.id.to_string());
                key.remember(actor, result, now)
            });
            match engine
                .store_events(actor, registry.version, vec![new], request)
                .await?
            {
                Stored::Done => return Ok(event.id),
                Stored::Requested(result) => return read_id(&answered(key.as_ref(), result)?),
                Stored::Outdated => drop(engine.registries.reload(actor.env).await?),
            }
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
    ///
    /// # Errors
    /// `payloads_too_large` when they have more than 64 MiB together.
    pub async fn get_many(
        &self,
        actor: &Actor,
        ids: &[EventId],
    ) -> Result<HashMap<EventId, Event>, Error> {
        actor.require(Scope::EventsRead)?;
        let most = limits::TOGETHER_BYTES;
        let found = self.0.store.find_events_within(actor.env, ids, most);
        let (events, is_all) = found.await?;
        if !is_all {
            return Err(Error::payloads_too_large("events"));
        }
        Ok(events.into_iter().map(|event| (event.id, event)).collect())
    }
}

/// What came of storing events.
enum Stored {
    Done,
    /// The functions have changed since: route again.
    Outdated,
    /// The request was made before.
    Requested(Option<Json>),
}

/// Events with the door through which they came.
fn come_by(door: &Door, events: Vec<Event>) -> Vec<Event> {
    let come = |event| Event {
        door: Some(door.clone()),
        ..event
    };
    events.into_iter().map(come).collect()
}

fn ids_body(ids: &[EventId]) -> Json {
    let texts: Vec<Json> = ids.iter().map(|id| Json::string(&id.to_string())).collect();
    Json::array(texts.iter())
}

fn read_ids(result: &Json) -> Result<Vec<EventId>, Error> {
    result.items().map(|id| read_id(&id)).collect()
}

impl Engine {
    /// For each event that its sender has given an id, the first event with that id that still counts for one of the functions that it
    /// triggers; its own id for all others.
    async fn first_of_twins(
        &self,
        actor: &Actor,
        events: &[Event],
        mut ids: Vec<EventId>,
    ) -> Result<Vec<EventId>, Error> {
        let now = self.clock.now();
        let registry = self.registries.get(actor.env).await?;
        let mut keys = Vec::new();
        for event in events.iter().filter(|event| event.has_own_key()) {
            let triggered =
                registry.triggered_by(&event.name, || event.body.to_value(), now.as_millis());
            let hash = key_hash("event", &event.key);
            keys.extend(triggered.iter().map(|loaded| (loaded.function.id, hash)));
        }
        if keys.is_empty() {
            return Ok(ids);
        }
        let holders = self.store.key_holders(&keys, now).await?;
        let holders: Vec<RunId> = holders.into_values().collect();
        let runs = self.store.find_runs(actor.env, &holders).await?;
        let started_by: Vec<EventId> = runs.iter().flat_map(|run| run.events.clone()).collect();
        let mut firsts: HashMap<String, EventId> = HashMap::new();
        for found in self.store.find_events(actor.env, &started_by).await? {
            // They come in order of acceptance.
            firsts.entry(found.key).or_insert(found.id);
        }
        for (id, event) in ids.iter_mut().zip(events) {
            if let Some(first) = firsts.get(&event.key).filter(|_| event.has_own_key()) {
                *id = *first;
            }
        }
        Ok(ids)
    }

    /// Stores routed events. A sender that hangs up meanwhile takes nothing along: what is stored is told to the schedule all the same.
    async fn store_events(
        self: &Arc<Self>,
        actor: &Actor,
        version: i64,
        events: Vec<NewEvent>,
        request: Option<NewRequest>,
    ) -> Result<Stored, Error> {
        let (engine, actor) = (self.clone(), actor.clone());
        let storing = async move { engine.store_routed(&actor, version, events, request).await };
        let storing = self.tracker.spawn(storing.in_current_span());
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
        request: Option<NewRequest>,
    ) -> Result<Stored, Error> {
        let drafts = drafts_of(&events);
        let count = events.len();
        let commit = Commit {
            functions_version: Some((actor.env, version)),
            events,
            request,
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
                Ok(Stored::Done)
            }
            Err(Refused::FunctionsChanged) => Ok(Stored::Outdated),
            Err(Refused::Requested(result)) => Ok(Stored::Requested(result)),
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
