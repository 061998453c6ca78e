//! Starting a run again: as a whole, from one of its steps, or with other data.

use std::collections::HashMap;

use inngest_core::{
    access::{Actor, Scope},
    app::Function,
    event::{Door, Event},
    ids::{EventId, RunId, StepId},
    json::Json,
    limits,
    run::{
        RerunFrom, Run, StepRecord,
        progress::{Progress, StepState},
    },
};
use inngest_state::{Commit, NewEvent, NewRun, Refused, StepChange};

use crate::{
    Error,
    engine::{Engine, TRIES},
    registry::Loaded,
    requests::{RequestKey, answered, read_id},
    route::{Cause, progress_of},
    runs::Runs,
};

/// How a run is repeated.
#[derive(Clone, Debug, Default)]
pub struct Rerun {
    /// Where it begins.
    pub from: Beginning,
    /// By which version of its function it is scheduled.
    pub version: RerunVersion,
}

/// Where a rerun begins.
#[derive(Clone, Debug, Default)]
pub enum Beginning {
    /// At its start, with the same events.
    #[default]
    Start,
    /// At a step: what had ended before it keeps its results, the step and what follows run again.
    Step(RerunFrom),
    /// At its start, with this data in its first event. No other function sees the event.
    Data(Json),
}

/// Which settings decide how a rerun is scheduled: its timeout until the start, and its cancel rules. Whatever comes later goes by the
/// version in force, as it does for every run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RerunVersion {
    /// Those in force.
    #[default]
    Latest,
    /// Those of the run that is repeated.
    Original,
}

/// What a new run is made from.
struct Basis {
    old: Run,
    events: Vec<Event>,
    /// Results that the new run begins with, in the order of their ends.
    kept: Vec<StepRecord>,
    rerun: Rerun,
}

impl Runs<'_> {
    /// Starts a new run of the same function. A second request with the same key gets the run of the first.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, or its function is archived. `Conflict` with `run_not_rerunnable` when what is needed for
    /// it is gone or the run has no such step, and with `idempotency_key_reused`.
    pub async fn rerun(
        &self,
        actor: &Actor,
        id: RunId,
        rerun: Rerun,
        key: Option<RequestKey>,
    ) -> Result<Run, Error> {
        actor.require(Scope::RunsWrite)?;
        let engine = self.0;
        if let Some(result) = engine.find_answer(actor, key.as_ref()).await? {
            return self.get(actor, read_id(&result)?).await;
        }
        let old = self.get(actor, id).await?;
        let basis = engine.basis(actor, old, rerun).await?;
        for _ in 0..TRIES {
            let registry = engine.registries.get(actor.env).await?;
            let loaded = registry.by_id(basis.old.function);
            let loaded = loaded.ok_or_else(|| Error::NotFound {
                what: "function",
                id: basis.old.function.to_string(),
            })?;
            let earlier;
            let loaded = match engine.earlier_version(actor, loaded, &basis).await? {
                Some(found) => {
                    earlier = found;
                    &earlier
                }
                None => loaded,
            };
            let (mut commit, progress) = engine.draft_rerun(actor, loaded, &basis);
            commit.functions_version = Some((actor.env, registry.version));
            let new = progress.run;
            let result = Json::string(&new.to_string());
            commit.request = key
                .as_ref()
                .map(|key| key.remember(actor, result, engine.clock.now()));
            match engine.store.commit(commit).await {
                Ok(committed) => {
                    engine.announce(&committed, vec![progress]).await;
                    engine.schedule(&committed.work).await;
                    return self.get(actor, new).await;
                }
                Err(Refused::FunctionsChanged) => drop(engine.registries.reload(actor.env).await?),
                Err(Refused::Requested(result)) => {
                    return self
                        .get(actor, read_id(&answered(key.as_ref(), result)?)?)
                        .await;
                }
                Err(Refused::Store(error)) => {
                    // It may have been written all the same, and then the schedule lacks what follows.
                    engine.note_failed_commit(&error);
                    return Err(error.into());
                }
                Err(refused) => {
                    return Err(Error::Internal {
                        what: refused.to_string(),
                    });
                }
            }
        }
        Err(Error::Busy)
    }
}

impl Engine {
    async fn basis(&self, actor: &Actor, old: Run, rerun: Rerun) -> Result<Basis, Error> {
        let found = self.store.find_events(actor.env, &old.events).await?;
        let by_id: HashMap<EventId, Event> =
            found.into_iter().map(|event| (event.id, event)).collect();
        let mut events: Vec<Event> = old
            .events
            .iter()
            .filter_map(|id| by_id.get(id).cloned())
            .collect();
        let Some(first) = events.first_mut() else {
            return Err(not_rerunnable(
                "the event of this run is gone, so it cannot run again".to_owned(),
            ));
        };
        let mut kept = Vec::new();
        match &rerun.from {
            Beginning::Start => {}
            Beginning::Step(from) => {
                check_input(from)?;
                kept = self.kept_results(actor, &old, &from.step).await?;
            }
            Beginning::Data(data) => *first = self.edited(actor, first, data)?,
        }
        Ok(Basis {
            old,
            events,
            kept,
            rerun,
        })
    }

    /// The results of what had ended before `step`.
    async fn kept_results(
        &self,
        actor: &Actor,
        old: &Run,
        step: &StepId,
    ) -> Result<Vec<StepRecord>, Error> {
        let steps = self.store.steps_of_runs(actor.env, &[old.id]).await?;
        let Some(chosen) = steps.iter().find(|found| found.step == *step) else {
            return Err(not_rerunnable(format!("the run has no step `{step}`")));
        };
        let before = chosen.position.unwrap_or(u32::MAX);
        // They come in the order of the stack.
        let ended = |found: &StepRecord| found.position.is_some_and(|position| position < before);
        Ok(steps.into_iter().filter(ended).collect())
    }

    /// A twin of an event with other data. It counts as accepted when the event was, so that no wait of today finds it.
    fn edited(&self, actor: &Actor, event: &Event, data: &Json) -> Result<Event, Error> {
        if !data.is_object() {
            return Err(Error::Invalid {
                code: "event_data_invalid",
                message: "the data of an event is an object".to_owned(),
            });
        }
        let id = self.ids.event_beside(event.id);
        let text = Json::string(&id.to_string());
        let members: Vec<(String, Json)> = event
            .body
            .members()
            .map(|(name, value)| (name.into_owned(), value))
            .collect();
        let members = members.iter().map(|(name, value)| match name.as_str() {
            "data" => ("data", data),
            "id" => ("id", &text),
            _ => (name.as_str(), value),
        });
        let body = Json::object(members);
        if body.len() > limits::EVENT_BYTES {
            return Err(too_large(
                "event_too_large",
                body.len(),
                limits::EVENT_BYTES,
            ));
        }
        Ok(Event {
            id,
            key: id.to_string(),
            body,
            door: Some(Door::Api(actor.author())),
            ..event.clone()
        })
    }

    /// The function as it was when the run was scheduled that is repeated, if that is what is asked for and differs.
    async fn earlier_version(
        &self,
        actor: &Actor,
        loaded: &Loaded,
        basis: &Basis,
    ) -> Result<Option<Loaded>, Error> {
        let (current, version) = (&loaded.function, basis.old.function_version);
        if basis.rerun.version == RerunVersion::Latest || version == current.version {
            return Ok(None);
        }
        let config = self
            .store
            .find_function_config(actor.env, current.id, version)
            .await?;
        let function = config.map(|config| Function {
            config,
            version,
            ..current.clone()
        });
        let earlier = function.and_then(|function| Loaded::new(function, &self.programs));
        earlier.map(Some).ok_or_else(|| {
            not_rerunnable(format!("version {version} of the function is not known"))
        })
    }

    fn draft_rerun(&self, actor: &Actor, loaded: &Loaded, basis: &Basis) -> (Commit, Progress) {
        let old = &basis.old;
        let rerun = match &basis.rerun.from {
            Beginning::Step(from) => Some(from.clone()),
            Beginning::Start | Beginning::Data(_) => None,
        };
        let cause = Cause {
            original: Some(old.original.unwrap_or(old.id)),
            cron: old.cron.clone(),
            rerun,
            by: Some(actor.author()),
            ..Cause::default()
        };
        let now = self.clock.now();
        let first = &basis.events[0];
        let draft = self.draft_run(actor.org, actor.env, loaded, first, cause, now);
        let run = NewRun {
            events: basis.events.iter().map(|event| event.id).collect(),
            ..draft
        };
        let bodies = basis
            .events
            .iter()
            .map(|event| (event.id, event.body.clone()));
        let mut progress = progress_of(&run, bodies.collect());
        let mut steps = Vec::new();
        for (position, kept) in basis.kept.iter().enumerate() {
            steps.push(StepChange {
                run: run.id,
                org: actor.org,
                env: actor.env,
                step: kept.step.clone(),
                name: kept.name.clone(),
                kind: kept.kind,
                status: kept.status,
                group: None,
                position: u32::try_from(position).ok(),
                memo: kept.memo.clone(),
                details: kept.details.clone(),
                told: kept.told.clone(),
                ended_by: kept.ended_by,
                response: kept.response.clone(),
                queued_at: kept.queued_at,
                started_at: kept.started_at,
                ended_at: kept.ended_at,
            });
            progress.stack.push(kept.step.clone());
            let state = StepState {
                name: kept.name.clone(),
                kind: kept.kind,
                status: kept.status,
                memo: kept.memo.clone(),
                group: None,
            };
            progress.steps.insert(kept.step.clone(), state);
        }
        let edited = matches!(basis.rerun.from, Beginning::Data(_)).then(|| NewEvent {
            org: actor.org,
            env: actor.env,
            event: first.clone(),
            may_exist: false,
            runs: Vec::new(),
        });
        let commit = Commit {
            runs: vec![run],
            steps,
            edited_events: edited.into_iter().collect(),
            ..Commit::default()
        };
        (commit, progress)
    }
}

fn check_input(from: &RerunFrom) -> Result<(), Error> {
    let Some(input) = &from.input else {
        return Ok(());
    };
    if !input.is_array() {
        return Err(Error::Invalid {
            code: "step_input_invalid",
            message: "the arguments of a step are a list".to_owned(),
        });
    }
    if input.len() > limits::STEP_BYTES {
        return Err(too_large(
            "step_input_too_large",
            input.len(),
            limits::STEP_BYTES,
        ));
    }
    Ok(())
}

fn too_large(code: &'static str, actual: usize, limit: usize) -> Error {
    Error::OverLimit {
        code,
        what: "bytes",
        limit: limit as u64,
        actual: actual as u64,
    }
}

fn not_rerunnable(message: String) -> Error {
    Error::Conflict {
        code: "run_not_rerunnable",
        message,
    }
}
