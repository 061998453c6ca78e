//! Reading runs, and what people can do to one.

use std::collections::HashMap;

use inngest_core::{
    access::{Actor, Scope},
    ids::{EnvId, EventId, RunId, StepId, WorkId},
    job::{HELD_MS, JobKind},
    json::Json,
    limits,
    run::{
        FailedAttempt, RerunFrom, Run, RunStatus, StepRecord,
        decide::{Decision, Effect, Ending, Fate},
    },
    time::Timestamp,
    wire::{call::memos_body, memo},
};
use inngest_state::WorkHead;

use crate::{
    Error,
    engine::Engine,
    record::{Record, Recorded},
};

/// Most runs that are listed for a set of events.
const RUNS_OF_EVENTS: u64 = 1_000;

/// Most jobs of a run that are listed.
const JOBS_OF_RUN: u64 = 10;

/// The label of the first job of a run.
pub(crate) const FIRST_JOB: &str = "discover:1";

/// What is outstanding for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunJob {
    /// Its id.
    pub id: WorkId,
    /// What is to be done.
    pub kind: JobKind,
    /// Whether it is the first call of the run.
    pub is_first: bool,
    /// For which step.
    pub step: Option<StepId>,
    /// Not before.
    pub due_at: Timestamp,
    /// Whether a pause holds it back, whatever the time.
    pub is_held: bool,
    /// Attempts made before this one.
    pub attempt: u32,
}

impl RunJob {
    fn new(run: RunId, work: WorkHead) -> Self {
        let due_at = work.due_at.as_millis();
        let is_held = due_at >= HELD_MS;
        Self {
            is_first: work.id == WorkId::derive(run, FIRST_JOB),
            id: work.id,
            kind: work.kind,
            step: work.step,
            due_at: Timestamp::from_millis(if is_held { due_at - HELD_MS } else { due_at }),
            is_held,
            attempt: work.attempt,
        }
    }
}

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
        let most = limits::TOGETHER_BYTES;
        let found = self.0.store.find_runs_within(actor.env, ids, most);
        let (runs, is_all) = found.await?;
        if !is_all {
            return Err(Error::payloads_too_large("results of runs"));
        }
        let shown = |run: Run| (run.id, self.0.shown(run));
        Ok(runs.into_iter().map(shown).collect())
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
        let mut steps = self.0.steps_together(actor.env, ids).await?;
        self.0.show_steps(actor.env, ids, &mut steps).await?;
        for step in steps {
            by_run.entry(step.run).or_default().push(step);
        }
        Ok(by_run)
    }

    /// What is outstanding for a run, soonest first, at most ten; what a pause holds back comes last.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, or it is not this actor's.
    pub async fn jobs(&self, actor: &Actor, id: RunId) -> Result<Vec<RunJob>, Error> {
        self.get(actor, id).await?;
        let store = &self.0.store;
        let work = store.work_heads_of_run(actor.env, id, JOBS_OF_RUN).await?;
        Ok(work.into_iter().map(|work| RunJob::new(id, work)).collect())
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
                request_made: None,
                response: None,
            };
            let ending = Ending::Cancelled {
                reason: "it was cancelled by request".to_owned(),
                by: Some(actor.author()),
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
