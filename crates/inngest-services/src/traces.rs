//! Traces of runs.

use std::collections::HashMap;

use inngest_core::{
    access::Actor,
    ids::{EnvId, EventId, FunctionId, RunId, StepId, WorkId},
    limits,
    run::{
        FailedAttempt, Run, StepKind, StepRecord, StepStatus,
        trace::{self, Span, TraceRows},
    },
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
    /// The steps of runs, to be shown.
    ///
    /// # Errors
    /// `payloads_too_large` when they and their results have 64 MiB together.
    pub(crate) async fn steps_together(
        &self,
        env: EnvId,
        runs: &[RunId],
    ) -> Result<Vec<StepRecord>, Error> {
        let most = limits::TOGETHER_BYTES;
        let found = self.store.steps_of_runs_within(env, runs, most).await?;
        found.ok_or_else(|| Error::payloads_too_large("results of steps"))
    }

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
        let mut found = self.traces(actor, &[id]).await?;
        found.remove(&id).ok_or_else(|| Error::no_run(id))
    }

    /// [`Runs::trace`] for several runs; unknown and foreign ids are left out. Costs five statements, however many runs there are.
    pub async fn traces(
        &self,
        actor: &Actor,
        ids: &[RunId],
    ) -> Result<HashMap<RunId, Trace>, Error> {
        let rows = self.rows_of(actor, ids).await?;
        let trace = |rows: Rows| {
            let spans = trace::derive(rows.view());
            (
                rows.run.id,
                Trace {
                    run: rows.run,
                    spans,
                },
            )
        };
        Ok(rows.into_iter().map(trace).collect())
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
        let mut found = self.rows_of(actor, &[id]).await?;
        found.pop().ok_or_else(|| Error::no_run(id))
    }

    async fn rows_of(&self, actor: &Actor, ids: &[RunId]) -> Result<Vec<Rows>, Error> {
        let runs = self.get_many(actor, ids).await?;
        let engine = self.0;
        let mut all = engine.steps_together(actor.env, ids).await?;
        for step in &mut all {
            engine.show_start(step);
        }
        let mut invoked = self.invoked_by(actor, &all).await?;
        let mut steps: HashMap<RunId, Vec<StepRecord>> = HashMap::new();
        for step in all {
            steps.entry(step.run).or_default().push(step);
        }
        let mut failed = self.attempts_of(actor, ids).await?;
        let mut functions: Vec<FunctionId> = runs.values().map(|run| run.function).collect();
        functions.sort_unstable();
        functions.dedup();
        let functions = engine.store.find_functions(actor.env, &functions).await?;
        let names: HashMap<FunctionId, String> = functions
            .into_iter()
            .map(|function| (function.id, function.name))
            .collect();
        let rows = |(id, run): (RunId, Run)| Rows {
            name: names
                .get(&run.function)
                .map_or_else(|| "run".to_owned(), Clone::clone),
            steps: steps.remove(&id).unwrap_or_default(),
            failed: failed.remove(&id).unwrap_or_default(),
            invoked: invoked.remove(&id).unwrap_or_default(),
            run,
        };
        Ok(runs.into_iter().map(rows).collect())
    }

    /// The runs that these steps have started.
    async fn invoked_by(
        &self,
        actor: &Actor,
        steps: &[StepRecord],
    ) -> Result<HashMap<RunId, HashMap<StepId, RunId>>, Error> {
        let mut invoking: HashMap<EventId, (RunId, StepId)> = HashMap::new();
        for step in steps.iter().filter(|step| step.kind == StepKind::Invoke) {
            let event = invocation_id(step.run, &step.step);
            invoking.insert(event, (step.run, step.step.clone()));
        }
        let mut invoked: HashMap<RunId, HashMap<StepId, RunId>> = HashMap::new();
        let events: Vec<EventId> = invoking.keys().copied().collect();
        for (event, run) in self.first_of_events(actor, &events).await? {
            if let Some((parent, step)) = invoking.remove(&event) {
                invoked.entry(parent).or_default().insert(step, run.id);
            }
        }
        Ok(invoked)
    }

    /// The part of a trace that belongs to some steps of a run, which are named because a step that has failed may have no record yet; also
    /// the spans of the run itself when `with_own` is set. Costs as many statements for one step as for many.
    pub(crate) async fn part_of_trace(
        &self,
        actor: &Actor,
        run: Run,
        named: &[StepId],
        steps: &[StepRecord],
        with_own: bool,
    ) -> Result<Trace, Error> {
        let mut failed = self.attempts_of(actor, &[run.id]).await?;
        let mut failed = failed.remove(&run.id).unwrap_or_default();
        failed.retain(|attempt| match &attempt.step {
            Some(step) => named.contains(step),
            None => with_own,
        });
        let mut invoked = self.invoked_by(actor, steps).await?;
        let functions: &[FunctionId] = if with_own { &[run.function] } else { &[] };
        let functions = self.0.store.find_functions(actor.env, functions).await?;
        let name = functions.into_iter().next().map(|function| function.name);
        let mut spans = trace::derive(TraceRows {
            run: &run,
            name: name.as_deref().unwrap_or("run"),
            steps,
            failed: &failed,
            invoked: &invoked.remove(&run.id).unwrap_or_default(),
        });
        spans.retain(|span| with_own || span.step.is_some());
        Ok(Trace { run, spans })
    }
}
