//! What became of an event: for each function that listens to it whether a run was started and, where none was, why.
//!
//! What did not happen is stored nowhere. It is told from the functions as they are now and from the keys that are still kept, so of a
//! function that listens to it only since then, or whose key has expired, nothing is said.

use std::collections::{HashMap, HashSet};

use inngest_core::{
    access::{Actor, Scope},
    event::Event,
    ids::{EventId, FunctionId, RunId},
    run::RunStatus,
    time::Timestamp,
};
use inngest_state::Started;
use uuid::Uuid;

use crate::{
    Error,
    events::Events,
    registry::{Loaded, Registry},
    route::{Cause, keys},
};

/// What was decided for an event and a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatchOutcome {
    /// A run was queued.
    Started,
    /// A run was noted and skipped, because the function was paused.
    SkippedPaused,
    /// Another run holds the key of the event, or of the function's idempotency.
    Duplicate,
    /// The condition of its trigger does not hold.
    NotMatched,
    /// The condition cannot be worked out.
    ExpressionError,
}

/// What became of an event with one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The function.
    pub function: FunctionId,
    /// What was decided.
    pub outcome: DispatchOutcome,
    /// The run that was started or skipped; of a duplicate, the one that was there before.
    pub run: Option<RunId>,
    /// Why, for people; none where a run was started.
    pub detail: Option<String>,
    /// When the run was queued, or the event accepted.
    pub at: Timestamp,
}

impl Events<'_> {
    /// What became of events; of those that are missing nothing. Functions in the order of their slugs, after those that listen to it no
    /// more. Three statements, however many events there are.
    ///
    /// # Errors
    /// `payloads_too_large`, as of [`Events::get_many`].
    pub async fn dispatches(
        &self,
        actor: &Actor,
        ids: &[EventId],
    ) -> Result<HashMap<EventId, Vec<Dispatch>>, Error> {
        actor.require(Scope::RunsRead)?;
        let events = self.get_many(actor, ids).await?;
        let mut started: HashMap<EventId, Vec<Started>> = HashMap::new();
        for run in self.0.store.started_by_events(actor.env, ids).await? {
            started.entry(run.event).or_default().push(run);
        }
        let registry = self.0.registries.get(actor.env).await?;
        let mut all = HashMap::with_capacity(events.len());
        // Those that should have started a run and have not, with their keys.
        let mut unclear: Vec<(EventId, FunctionId, Vec<Uuid>)> = Vec::new();
        for (id, event) in &events {
            let started = started.remove(id).unwrap_or_default();
            let with_run: HashSet<FunctionId> = started.iter().map(|run| run.function).collect();
            let mut told: Vec<Dispatch> = started.iter().map(of_run).collect();
            for (loaded, holds) in judge(&registry, event) {
                let function = loaded.function.id;
                let is_older = loaded.function.created_at <= event.received_at;
                if with_run.contains(&function) || !is_older {
                    continue;
                }
                match without_run(holds) {
                    Some((outcome, detail)) => told.push(Dispatch {
                        function,
                        outcome,
                        run: None,
                        detail: Some(detail),
                        at: event.received_at,
                    }),
                    None => {
                        let cause = Cause::default();
                        let (keys, _) = keys(&loaded, event, &cause, event.received_at);
                        unclear.push((*id, function, keys.into_iter().map(|it| it.0).collect()));
                    }
                }
            }
            all.insert(*id, told);
        }
        self.find_twins(&unclear, &events, &mut all).await?;
        let place = |dispatch: &Dispatch| {
            let loaded = registry.by_id(dispatch.function);
            loaded.map(|loaded| loaded.function.slug.clone())
        };
        for told in all.values_mut() {
            told.sort_by_cached_key(place);
        }
        Ok(all)
    }

    /// Adds those whose keys others hold.
    async fn find_twins(
        &self,
        unclear: &[(EventId, FunctionId, Vec<Uuid>)],
        events: &HashMap<EventId, Event>,
        all: &mut HashMap<EventId, Vec<Dispatch>>,
    ) -> Result<(), Error> {
        let pairs = |(_, function, keys): &(_, FunctionId, Vec<Uuid>)| {
            let function = *function;
            let pairs = keys.iter().map(move |key| (function, *key));
            pairs.collect::<Vec<_>>()
        };
        let keys: Vec<(FunctionId, Uuid)> = unclear.iter().flat_map(pairs).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let now = self.0.clock.now();
        let holders = self.0.store.key_holders(&keys, now).await?;
        for one in unclear {
            let (id, function, _) = one;
            let holder = pairs(one)
                .iter()
                .find_map(|pair| holders.get(pair))
                .copied();
            if let (Some(run), Some(event), Some(told)) = (holder, events.get(id), all.get_mut(id))
            {
                told.push(Dispatch {
                    function: *function,
                    outcome: DispatchOutcome::Duplicate,
                    run: Some(run),
                    detail: Some("a run with the same key had been started before".to_owned()),
                    at: event.received_at,
                });
            }
        }
        Ok(())
    }
}

fn of_run(run: &Started) -> Dispatch {
    let is_skipped = run.status == RunStatus::Skipped;
    Dispatch {
        function: run.function,
        outcome: match is_skipped {
            true => DispatchOutcome::SkippedPaused,
            false => DispatchOutcome::Started,
        },
        run: Some(run.id),
        detail: is_skipped.then(|| "the function was paused".to_owned()),
        at: run.queued_at,
    }
}

/// What is said of a function that an event has started no run of; none when its trigger holds.
fn without_run(holds: Result<bool, String>) -> Option<(DispatchOutcome, String)> {
    match holds {
        Ok(true) => None,
        Ok(false) => {
            let detail = "the condition of its trigger does not hold for this event";
            Some((DispatchOutcome::NotMatched, detail.to_owned()))
        }
        Err(error) => Some((
            DispatchOutcome::ExpressionError,
            format!("the condition of its trigger cannot be worked out: {error}"),
        )),
    }
}

/// The functions whose triggers name the event, and whether one of these holds for it.
fn judge(
    registry: &Registry,
    event: &Event,
) -> Vec<(std::sync::Arc<Loaded>, Result<bool, String>)> {
    let listening = registry.listening(&event.name);
    if listening.is_empty() {
        return Vec::new();
    }
    let body = event.body.to_value();
    let judged = listening.into_iter().map(|loaded| {
        let holds = loaded.is_triggered(&event.name, &body, event.received_at.as_millis());
        (loaded, holds)
    });
    judged.collect()
}
