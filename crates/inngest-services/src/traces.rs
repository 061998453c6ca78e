//! Traces of runs, and what they wait for.

use std::collections::HashMap;

use inngest_core::{
    access::{Actor, Scope},
    ids::{EventId, RunId, StepId, WaitId, WorkId},
    run::{
        FailedAttempt, Run, StepKind, StepRecord, StepStatus,
        trace::{self, Span, TraceRows},
    },
    wait::{Wait, WaitKind},
    wire::{
        finish::invocation_id,
        v0::trace::{Node, Output, OutputId, View, nested, output},
    },
};

use crate::{Error, engine::Engine, runs::Runs};

/// All rows of which a trace is derived.
struct Rows {
    run: Run,
    name: String,
    steps: Vec<StepRecord>,
    failed: Vec<FailedAttempt>,
    invoked: HashMap<StepId, RunId>,
}

impl Rows {
    fn view(&self) -> TraceRows<'_> {
        TraceRows {
            run: &self.run,
            name: &self.name,
            steps: &self.steps,
            failed: &self.failed,
            invoked: &self.invoked,
        }
    }
}

/// The spans of a run; see `core::run::trace`.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The run.
    pub run: Run,
    /// Its spans, the root first.
    pub spans: Vec<Span>,
}

impl Engine {
    /// The start of a step is stored with its end; until then this process knows it, if it is the one that calls.
    pub(crate) fn show_start(&self, step: &mut StepRecord) {
        if step.status == StepStatus::Open && step.kind == StepKind::Run {
            let work = WorkId::derive(step.run, &format!("step:{}", step.step));
            step.started_at = self.cells.call_since(step.run, work);
        }
    }
}

impl Runs<'_> {
    /// The trace of a run, from its rows. Bounded by the limits on steps and attempts.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, or it is not this actor's.
    pub async fn trace(&self, actor: &Actor, id: RunId) -> Result<Trace, Error> {
        let rows = self.rows(actor, id).await?;
        let spans = trace::derive(rows.view());
        Ok(Trace {
            run: rows.run,
            spans,
        })
    }

    /// The trace of a run as the older GraphQL API nests it.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, or it is not this actor's.
    pub async fn nested_trace(&self, actor: &Actor, id: RunId, view: View) -> Result<Node, Error> {
        Ok(nested(&self.rows(actor, id).await?.view(), view))
    }

    /// The result or the error that an id out of [`Runs::nested_trace`] names.
    ///
    /// # Errors
    /// `NotFound` when there is no such run, it is not this actor's, or it has none of that id.
    pub async fn span_output(&self, actor: &Actor, id: &OutputId) -> Result<Output, Error> {
        let rows = self.rows(actor, id.run).await?;
        output(&rows.view(), id).ok_or_else(|| Error::NotFound {
            what: "output",
            id: id.to_string(),
        })
    }

    async fn rows(&self, actor: &Actor, id: RunId) -> Result<Rows, Error> {
        let run = self.get(actor, id).await?;
        let engine = self.0;
        let mut steps = engine.store.steps_of_runs(actor.env, &[id]).await?;
        for step in &mut steps {
            engine.show_start(step);
        }
        let failed = engine
            .store
            .failed_attempts_of_runs(actor.env, &[id])
            .await?;
        let invoked = self.invoked(actor, &steps).await?;
        let functions = engine
            .store
            .find_functions(actor.env, &[run.function])
            .await?;
        let function = functions.into_iter().next();
        Ok(Rows {
            name: function.map_or_else(|| "run".to_owned(), |function| function.name),
            run,
            steps,
            failed,
            invoked,
        })
    }

    /// The runs that invoke steps have started.
    async fn invoked(
        &self,
        actor: &Actor,
        steps: &[StepRecord],
    ) -> Result<HashMap<StepId, RunId>, Error> {
        let by_event: HashMap<EventId, &StepId> = steps
            .iter()
            .filter(|step| step.kind == StepKind::Invoke)
            .map(|step| (invocation_id(step.run, &step.step), &step.step))
            .collect();
        if by_event.is_empty() {
            return Ok(HashMap::new());
        }
        let events: Vec<EventId> = by_event.keys().copied().collect();
        let runs = self.of_events(actor, &events).await?;
        let step_of = |(event, runs): (EventId, Vec<Run>)| {
            Some(((*by_event.get(&event)?).clone(), runs.first()?.id))
        };
        Ok(runs.into_iter().filter_map(step_of).collect())
    }

    /// What a run waits for now, oldest first; rules that would cancel it are not among them.
    pub async fn waits_of(&self, actor: &Actor, id: RunId) -> Result<Vec<Wait>, Error> {
        actor.require(Scope::RunsRead)?;
        let mut waits = self.0.store.waits_of_run(actor.env, id).await?;
        waits.retain(|wait| wait.kind != WaitKind::Cancel);
        waits.sort_by_key(|wait| (wait.since, wait.step.clone()));
        Ok(waits)
    }

    /// One open wait.
    ///
    /// # Errors
    /// `NotFound` when there is none, it has ended, or it is not this actor's.
    pub async fn wait(&self, actor: &Actor, id: WaitId) -> Result<Wait, Error> {
        actor.require(Scope::RunsRead)?;
        let found = self.0.store.find_wait(actor.env, id).await?;
        found
            .filter(|wait| wait.kind != WaitKind::Cancel)
            .ok_or_else(|| Error::NotFound {
                what: "wait",
                id: id.to_string(),
            })
    }
}
