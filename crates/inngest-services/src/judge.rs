//! Whether an expression holds for a run.

use std::collections::HashMap;

use inngest_core::{
    access::{Actor, Scope},
    expr::{Program, SearchOver, SearchRoot, Vars},
    ids::{EnvId, EventId, RunId},
    limits,
    run::{Run, RunStatus},
    time::Timestamp,
    wire,
};
use serde_json::{Value, json};

use crate::{Error, engine::Engine, sift::SLICE};

/// Judges runs by an expression over `event`, `output`, `error` and `run`. A run of several events matches when one of them does.
pub(crate) struct RunJudge(Program);

/// What was read of the events of some runs.
enum Bodies {
    /// Nothing: the search does not look at them.
    NotLookedAt,
    Read(HashMap<EventId, Value>),
    /// They are larger than what is looked at together.
    TooLarge,
}

impl RunJudge {
    /// # Errors
    /// The expression's; `Denied` where it looks at events that the actor may not read.
    pub(crate) fn new(actor: &Actor, text: &str) -> Result<Self, Error> {
        let judge = Self(Program::parse_search(text, SearchOver::Runs)?);
        if judge.looks_at(SearchRoot::Event) {
            actor.require(Scope::EventsRead)?;
        }
        Ok(judge)
    }

    pub(crate) fn program(&self) -> &Program {
        &self.0
    }

    /// The scope that looking needs besides that of runs.
    pub(crate) fn scope(&self) -> Option<Scope> {
        self.looks_at(SearchRoot::Event)
            .then_some(Scope::EventsRead)
    }

    /// What the search does not look at is not read, and of the events no more at once than a slice has rows.
    pub(crate) async fn judge(
        &self,
        engine: &Engine,
        env: EnvId,
        runs: &[Run],
        now: Timestamp,
    ) -> Result<Vec<bool>, Error> {
        let attempts = self.attempts(engine, env, runs).await?;
        let mut judged = Vec::with_capacity(runs.len());
        let (mut rest, mut most) = (runs, runs.len());
        while !rest.is_empty() {
            let mut events = 0;
            let fitting = rest.iter().take(most).take_while(|run| {
                events += run.events.len();
                events <= SLICE as usize
            });
            let (some, others) = rest.split_at(fitting.count().max(1));
            let bodies = match self.bodies(engine, env, some).await? {
                Bodies::TooLarge => {
                    most = some.len() / 2;
                    continue;
                }
                Bodies::NotLookedAt => None,
                Bodies::Read(bodies) => Some(bodies),
            };
            rest = others;
            for run in some {
                let attempt = attempts.get(&run.id).copied().unwrap_or(0);
                judged.push(self.is_match(run, attempt, bodies.as_ref(), now));
                // Expressions take time: others have their turn in between.
                tokio::task::coop::consume_budget().await;
            }
        }
        Ok(judged)
    }

    fn looks_at(&self, root: SearchRoot) -> bool {
        self.0.looks_at(root)
    }

    /// The bodies of the events of these runs, if the search looks at them. Those of one run are read however large they are.
    async fn bodies(&self, engine: &Engine, env: EnvId, runs: &[Run]) -> Result<Bodies, Error> {
        if !self.looks_at(SearchRoot::Event) {
            return Ok(Bodies::NotLookedAt);
        }
        let ids: Vec<EventId> = runs.iter().flat_map(|run| run.events.clone()).collect();
        let mut bodies = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(SLICE as usize) {
            let store = &engine.store;
            let most = match runs {
                [_] => u64::MAX,
                _ => limits::PAGE_BYTES,
            };
            let (events, is_all) = store.find_events_within(env, ids, most).await?;
            if !is_all {
                return Ok(Bodies::TooLarge);
            }
            bodies.extend(events.into_iter().map(|it| (it.id, it.body.to_value())));
        }
        Ok(Bodies::Read(bodies))
    }

    /// The attempts at which the bodies of these runs are, if the search looks at runs; one that is left out is at its first.
    async fn attempts(
        &self,
        engine: &Engine,
        env: EnvId,
        runs: &[Run],
    ) -> Result<HashMap<RunId, u32>, Error> {
        let mut attempts: HashMap<RunId, u32> = HashMap::new();
        if !self.looks_at(SearchRoot::Run) {
            return Ok(attempts);
        }
        let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
        for failed in engine.store.failed_attempts_of_runs(env, &ids).await? {
            if failed.step.is_none() {
                let next = failed.attempt + u32::from(failed.next_at.is_some());
                let attempt = attempts.entry(failed.run).or_default();
                *attempt = next.max(*attempt);
            }
        }
        Ok(attempts)
    }

    fn is_match(
        &self,
        run: &Run,
        attempt: u32,
        bodies: Option<&HashMap<EventId, Value>>,
        now: Timestamp,
    ) -> bool {
        let (output, error) = self.results(run);
        let own = own_value(run, attempt, now);
        let with = |event: Option<&Value>| {
            let vars = Vars {
                event,
                output: output.as_ref(),
                error: error.as_ref(),
                run: Some(&own),
                now: Some(now.as_millis()),
                ..Vars::default()
            };
            self.0.finds(&vars)
        };
        match bodies {
            None => with(None),
            Some(bodies) => run.events.iter().any(|id| with(bodies.get(id))),
        }
    }

    /// `output` and `error` of a run, as far as the search looks at them.
    fn results(&self, run: &Run) -> (Option<Value>, Option<Value>) {
        let Some(ended) = run.ended.as_ref().map(|ended| &ended.output) else {
            return (None, None);
        };
        match run.status {
            RunStatus::Completed if self.looks_at(SearchRoot::Output) => {
                (Some(ended.to_value()), None)
            }
            RunStatus::Failed if self.looks_at(SearchRoot::Error) => {
                let error = wire::memo::parse_error(ended);
                let mut shown = json!({ "name": error.name, "message": error.message });
                if let Some(stack) = error.stack {
                    shown["stack"] = stack.into();
                }
                (None, Some(shown))
            }
            RunStatus::Cancelled if self.looks_at(SearchRoot::Error) => {
                let mut shown = json!({ "name": "Cancelled" });
                if let Some(reason) = ended.member("reason").and_then(|it| it.to_text()) {
                    shown["message"] = reason.into();
                }
                (None, Some(shown))
            }
            _ => (None, None),
        }
    }
}

/// `run` of a search.
fn own_value(run: &Run, attempt: u32, now: Timestamp) -> Value {
    let mut own = json!({ "status": word(run.status), "attempt": attempt });
    if let Some(started) = run.started_at {
        let until = run.ended.as_ref().map_or(now, |ended| ended.at);
        let duration = u64::try_from(until.since(started).as_millis()).unwrap_or(u64::MAX);
        own["durationMs"] = duration.into();
    }
    own
}

/// What `run.status` is called in searches.
pub(crate) fn word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Queued => "QUEUED",
        RunStatus::Running => "RUNNING",
        RunStatus::Completed => "COMPLETED",
        RunStatus::Failed => "FAILED",
        RunStatus::Cancelled => "CANCELLED",
        RunStatus::Skipped => "SKIPPED",
    }
}
