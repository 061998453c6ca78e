//! Reading runs, and what people can do to one.

use std::collections::{BTreeMap, HashMap};

use inngest_core::{
    access::{Actor, Scope},
    ids::{EnvId, EventId, RunId, StepId},
    job::{JobKind, Work},
    json::Json,
    run::{
        FailedAttempt, RerunFrom, Run, RunStatus, StepKind, StepRecord,
        decide::{Decision, Effect, Ending, Fate},
    },
    time::Timestamp,
    wire::{call::memos_body, memo},
};

use crate::{
    Error,
    engine::Engine,
    record::{Record, Recorded},
};

/// Most runs that are listed for a set of events.
const RUNS_OF_EVENTS: u64 = 1_000;

impl Engine {
    /// A run as people see it. The first call of a run is recorded only when it lasts; until then this process knows better than the
    /// row that the run has started.
    pub(crate) fn shown(&self, run: Run) -> Run {
        if run.status != RunStatus::Queued {
            return run;
        }
        match self.cells.called_since(run.id) {
            Some(since) => Run {
                status: RunStatus::Running,
                started_at: Some(since),
                ..run
            },
            None => run,
        }
    }

    /// Steps as people see them: how often each has failed, and since when it is called. `runs` are theirs.
    pub(crate) async fn show_steps(
        &self,
        env: EnvId,
        runs: &[RunId],
        steps: &mut [StepRecord],
    ) -> Result<(), Error> {
        let mut failed: HashMap<(RunId, StepId), u32> = HashMap::new();
        for attempt in self.store.failed_attempts_of_runs(env, runs).await? {
            if let Some(step) = attempt.step {
                *failed.entry((attempt.run, step)).or_default() += 1;
            }
        }
        for step in steps {
            let key = (step.run, step.step.clone());
            step.failed_attempts = failed.get(&key).copied().unwrap_or(0);
            self.show_start(step);
        }
        Ok(())
    }
}

/// Runs. Made by `Services::runs`.
pub struct Runs<'a>(pub(crate) &'a Engine);

/// Why a run is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Stable word: `calling_app`, `queued`, `retrying`, `sleeping`, `waiting_for_event`, `waiting_for_run`, `waiting_for_signal`,
    /// `fetching`, `scheduled`, `ended`.
    pub code: &'static str,
    /// A sentence for people.
    pub text: String,
    /// When it will move at the latest.
    pub until: Option<Timestamp>,
}

impl Runs<'_> {
    /// One run.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is not this actor's.
    pub async fn get(&self, actor: &Actor, id: RunId) -> Result<Run, Error> {
        actor.require(Scope::RunsRead)?;
        self.0
            .store
            .find_run(actor.env, id)
            .await?
            .map(|run| self.0.shown(run))
            .ok_or_else(|| Error::no_run(id))
    }

    /// Runs by id; unknown and foreign ids are left out.
    pub async fn get_many(
        &self,
        actor: &Actor,
        ids: &[RunId],
    ) -> Result<HashMap<RunId, Run>, Error> {
        actor.require(Scope::RunsRead)?;
        Ok(self
            .0
            .store
            .find_runs(actor.env, ids)
            .await?
            .into_iter()
            .map(|run| (run.id, self.0.shown(run)))
            .collect())
    }

    /// The runs that events started, oldest first; every event has an entry.
    pub async fn of_events(
        &self,
        actor: &Actor,
        ids: &[EventId],
    ) -> Result<HashMap<EventId, Vec<Run>>, Error> {
        actor.require(Scope::RunsRead)?;
        let runs = self
            .0
            .store
            .runs_of_events(actor.env, ids, RUNS_OF_EVENTS)
            .await?;
        let mut by_event: HashMap<EventId, Vec<Run>> =
            ids.iter().map(|id| (*id, Vec::new())).collect();
        for run in runs {
            if let Some(event) = run.events.first() {
                by_event.entry(*event).or_default().push(self.0.shown(run));
            }
        }
        Ok(by_event)
    }

    /// The steps of runs; every run has an entry.
    pub async fn steps_of(
        &self,
        actor: &Actor,
        ids: &[RunId],
    ) -> Result<HashMap<RunId, Vec<StepRecord>>, Error> {
        actor.require(Scope::RunsRead)?;
        let mut by_run: HashMap<RunId, Vec<StepRecord>> =
            ids.iter().map(|id| (*id, Vec::new())).collect();
        let mut steps = self.0.store.steps_of_runs(actor.env, ids).await?;
        self.0.show_steps(actor.env, ids, &mut steps).await?;
        for step in steps {
            by_run.entry(step.run).or_default().push(step);
        }
        Ok(by_run)
    }

    /// The attempts of runs that failed; every run has an entry.
    pub async fn attempts_of(
        &self,
        actor: &Actor,
        ids: &[RunId],
    ) -> Result<HashMap<RunId, Vec<FailedAttempt>>, Error> {
        actor.require(Scope::RunsRead)?;
        let mut by_run: HashMap<RunId, Vec<FailedAttempt>> =
            ids.iter().map(|id| (*id, Vec::new())).collect();
        for attempt in self.0.store.failed_attempts_of_runs(actor.env, ids).await? {
            by_run.entry(attempt.run).or_default().push(attempt);
        }
        Ok(by_run)
    }

    /// Why a run is not moving, or what it is doing. Never empty.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is not this actor's.
    pub async fn explain(&self, actor: &Actor, id: RunId) -> Result<Vec<Reason>, Error> {
        let run = self.get(actor, id).await?;
        if run.status.is_ended() {
            let text = format!("the run has ended: {:?}", run.status).to_lowercase();
            return Ok(vec![Reason {
                code: "ended",
                text,
                until: None,
            }]);
        }
        let now = self.0.clock.now();
        let steps = self.0.store.steps_of_runs(actor.env, &[id]).await?;
        let names: BTreeMap<StepId, (String, StepKind)> = steps
            .into_iter()
            .map(|step| (step.step, (step.name, step.kind)))
            .collect();
        let work = self.0.store.work_of_run(actor.env, id).await?;
        let mut reasons: Vec<Reason> = work
            .iter()
            .filter_map(|work| {
                reason(
                    work,
                    self.0.cells.call_since(id, work.id).is_some(),
                    names_of(work, &names),
                    now,
                )
            })
            .collect();
        if reasons.is_empty() {
            reasons.push(Reason {
                code: "queued",
                text: "its next step is about to be scheduled".to_owned(),
                until: None,
            });
        }
        Ok(reasons)
    }

    /// Ends a run that has not ended. After this no new call of it is made, and a call on its way changes nothing any more.
    ///
    /// # Errors
    /// `RunEnded` when it ended in another way before. Cancelling it twice is fine.
    pub async fn cancel(&self, actor: &Actor, id: RunId) -> Result<Run, Error> {
        actor.require(Scope::RunsWrite)?;
        let engine = self.0;
        let run = self.get(actor, id).await?;
        if !run.status.is_ended() {
            let loaded = engine.registries.function(actor.env, run.function).await?;
            let loaded = loaded.ok_or_else(|| Error::NotFound {
                what: "function",
                id: run.function.to_string(),
            })?;
            let cell = engine.cells.get(id);
            let since = engine.clock.now();
            let record = Record {
                run: id,
                loaded: &loaded,
                work: None,
                goes_on: false,
                claims: Vec::new(),
                since,
            };
            let ending = Ending::Cancelled {
                reason: "it was cancelled by request".to_owned(),
            };
            let recorded = engine
                .record(actor.env, &cell, record, |_, _| Decision {
                    effects: vec![Effect::Finish(ending.clone())],
                    fate: Fate::Done,
                })
                .await?;
            if let Recorded::Done { next, .. } = recorded {
                engine.schedule(&next).await;
                return self.get(actor, id).await;
            }
        }
        let run = self.get(actor, id).await?;
        if run.status == RunStatus::Cancelled {
            Ok(run)
        } else {
            Err(Error::RunEnded { run: id })
        }
    }

    /// The events of a run as its app sees them.
    ///
    /// # Errors
    /// `NotFound` when there is no such run.
    pub async fn events_of(&self, actor: &Actor, id: RunId) -> Result<Vec<Json>, Error> {
        actor.require(Scope::Execute)?;
        let run = self.get(actor, id).await?;
        let mut bodies: HashMap<EventId, Json> = self
            .0
            .store
            .find_events(actor.env, &run.events)
            .await?
            .into_iter()
            .map(|event| (event.id, event.body))
            .collect();
        Ok(run
            .events
            .iter()
            .filter_map(|id| bodies.remove(id))
            .collect())
    }

    /// The results of a run's steps as its app sees them.
    ///
    /// # Errors
    /// `NotFound` when there is no such run.
    pub async fn memos_of(&self, actor: &Actor, id: RunId) -> Result<Json, Error> {
        actor.require(Scope::Execute)?;
        let run = self.get(actor, id).await?;
        let steps = self.0.store.steps_of_runs(actor.env, &[id]).await?;
        let mut memos: Vec<(StepId, Json)> = steps
            .into_iter()
            .filter_map(|step| step.memo.map(|memo| (step.step, memo)))
            .collect();
        if let Some(RerunFrom {
            step,
            input: Some(input),
        }) = run.rerun
            && memos.iter().all(|(ended, _)| *ended != step)
        {
            memos.push((step, memo::input(&input)));
        }
        Ok(memos_body(&memos))
    }
}

fn names_of(
    work: &Work,
    names: &BTreeMap<StepId, (String, StepKind)>,
) -> (String, Option<StepKind>) {
    let found = work.step.as_ref().and_then(|step| names.get(step));
    found.map_or_else(
        || (String::new(), None),
        |(name, kind)| (format!(" in step `{name}`"), Some(*kind)),
    )
}

fn reason(
    work: &Work,
    is_called: bool,
    (at, kind): (String, Option<StepKind>),
    now: Timestamp,
) -> Option<Reason> {
    let until = Some(work.due_at);
    let reason = match work.kind {
        JobKind::Discover | JobKind::RunStep if is_called => Reason {
            code: "calling_app",
            text: format!("the app is being called{at}, attempt {}", work.attempt + 1),
            until: None,
        },
        JobKind::Discover | JobKind::RunStep if work.attempt > 0 => Reason {
            code: "retrying",
            text: format!(
                "attempt {} failed{at}; it is tried again at {}",
                work.attempt, work.due_at
            ),
            until,
        },
        JobKind::Discover | JobKind::RunStep if work.due_at > now => Reason {
            code: "scheduled",
            text: format!("its event asks for a start at {}", work.due_at),
            until,
        },
        JobKind::Discover | JobKind::RunStep => Reason {
            code: "queued",
            text: format!("it waits for a free worker{at}"),
            until: None,
        },
        JobKind::Wake => Reason {
            code: "sleeping",
            text: format!("it sleeps until {}{at}", work.due_at),
            until,
        },
        JobKind::WaitTimeout => {
            let (code, what) = match kind {
                Some(StepKind::Invoke) => ("waiting_for_run", "the function that it invoked"),
                Some(StepKind::WaitForSignal) => ("waiting_for_signal", "a signal"),
                _ => ("waiting_for_event", "an event"),
            };
            Reason {
                code,
                text: format!(
                    "it waits for {what}{at}, until {} at the latest",
                    work.due_at
                ),
                until,
            }
        }
        JobKind::Fetch => Reason {
            code: "fetching",
            text: format!("the server makes a request for it{at}"),
            until: None,
        },
        JobKind::Resume | JobKind::Cancel => Reason {
            code: "queued",
            text: format!("what it waited for has come{at}"),
            until: None,
        },
        JobKind::StartTimeout | JobKind::FinishTimeout | JobKind::Cron => return None,
    };
    Some(reason)
}
