//! What only test suites ask for: other limits for the runs of a function, how much there is left to do, and an end of everything.

use inngest_core::{
    access::{Actor, Scope},
    app::Function,
    ids::{FunctionId, RunId},
    limits::{STATE_BYTES, STEPS_PER_RUN_MOST},
    page::{Direction, MAX_PAGE, PageRequest},
    run::{Run, RunLimits, RunStatus},
};
use inngest_state::RunFilter;

use crate::{Error, apps::Functions, engine::Engine, pauses::PauseRequest, runs::Runs};

/// Most runs that one reset ends.
const RUNS_ENDED: usize = 10_000;

/// What only test suites ask for. Made by `Services::suites` where the settings allow it.
pub struct Suites<'a>(&'a Engine);

/// A limit of the runs of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunLimit {
    /// How many steps they may have, 1 to 10,000.
    Steps,
    /// How many bytes their trigger events and results may have together, 1 to 33,554,432.
    StateBytes,
}

impl RunLimit {
    fn most(self) -> usize {
        match self {
            Self::Steps => STEPS_PER_RUN_MOST,
            Self::StateBytes => STATE_BYTES,
        }
    }
}

impl<'a> Suites<'a> {
    pub(crate) fn new(engine: &'a Engine) -> Result<Self, Error> {
        if engine.settings.test_routes {
            return Ok(Self(engine));
        }
        Err(Error::Conflict {
            code: "test_routes_off",
            message:
                "this server does nothing that only tests ask for; start it with --test-routes"
                    .to_owned(),
        })
    }

    /// Answers to whoever may see runs.
    ///
    /// # Errors
    /// `Denied`.
    pub fn greet(&self, actor: &Actor) -> Result<(), Error> {
        Ok(actor.require(Scope::RunsRead)?)
    }

    /// Gives the runs of a function another limit from their next reply on, or the product's again. Only this process knows of it, until it
    /// stops.
    ///
    /// # Errors
    /// `NotFound` when there is no such function; `Malformed` with `invalid_limit` for a number that the limit cannot be; `OverLimit` when
    /// 1,000 functions have other limits already.
    pub async fn limit(
        &self,
        actor: &Actor,
        function: FunctionId,
        limit: RunLimit,
        most: Option<usize>,
    ) -> Result<(), Error> {
        actor.require(Scope::AppsWrite)?;
        if let Some(most) = most.filter(|most| !(1..=limit.most()).contains(most)) {
            return Err(Error::Malformed {
                code: "invalid_limit",
                message: format!(
                    "the limit must be between 1 and {}, not {most}",
                    limit.most()
                ),
            });
        }
        let function = self.function(actor, function).await?;
        self.0.limits.change(actor.env, function.id, |limits| {
            let usual = RunLimits::default();
            match limit {
                RunLimit::Steps => limits.steps = most.unwrap_or(usual.steps),
                RunLimit::StateBytes => limits.state_bytes = most.unwrap_or(usual.state_bytes),
            }
        })
    }

    /// Pauses a function, as a person does who says nothing more about it.
    ///
    /// # Errors
    /// `NotFound` when there is no such function.
    pub async fn pause(&self, actor: &Actor, function: FunctionId) -> Result<(), Error> {
        let functions = Functions(self.0);
        let request = PauseRequest::default();
        functions.pause(actor, function, request).await.map(drop)
    }

    /// Ends every run of the environment that has not ended, 10,000 at most, ends the pauses of its functions and gives them the product's
    /// limits. Returns how many runs it has ended. Runs that are started by those ends are ended as well.
    ///
    /// # Errors
    /// The store's.
    pub async fn reset(&self, actor: &Actor) -> Result<usize, Error> {
        actor.require(Scope::RunsWrite)?;
        actor.require(Scope::AppsWrite)?;
        self.0.limits.forget(actor.env);
        let functions = self.0.store.list_functions(actor.env, None, false);
        for function in functions.await? {
            if function.pause.is_some() {
                Functions(self.0).resume(actor, function.id).await?;
            }
        }
        let filter = RunFilter {
            statuses: Some(vec![RunStatus::Queued, RunStatus::Running]),
            ..RunFilter::default()
        };
        let runs = Runs(self.0);
        let mut ended = 0;
        while ended < RUNS_ENDED {
            let request = PageRequest::new(MAX_PAGE, None);
            let page = runs.list(actor, &filter, Direction::Ascending, &request);
            let page = page.await?;
            if page.items.is_empty() {
                break;
            }
            for run in page.items {
                match runs.cancel(actor, run.id).await {
                    // It has ended by itself meanwhile.
                    Ok(_) | Err(Error::RunEnded { .. }) => ended += 1,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(ended)
    }

    /// Ends a run of this function.
    ///
    /// # Errors
    /// `NotFound` when the function has no such run; `RunEnded` when it ended in another way before.
    pub async fn cancel(
        &self,
        actor: &Actor,
        function: FunctionId,
        id: RunId,
    ) -> Result<Run, Error> {
        actor.require(Scope::RunsWrite)?;
        let runs = Runs(self.0);
        let run = runs.get(actor, id).await?;
        if run.function != function {
            return Err(Error::no_run(id));
        }
        runs.cancel(actor, id).await
    }

    /// How many pieces of work the runs of a function have left: calls to make, sleeps to end, waits to time out. Counted up to 10,000, by
    /// a look at all work there is.
    ///
    /// # Errors
    /// `NotFound` when there is no such function.
    pub async fn work_left(&self, actor: &Actor, function: FunctionId) -> Result<u64, Error> {
        actor.require(Scope::RunsRead)?;
        let function = self.function(actor, function).await?;
        let store = &self.0.store;
        Ok(store
            .count_work_of_runs(actor.env, function.id)
            .await?
            .value)
    }

    async fn function(&self, actor: &Actor, id: FunctionId) -> Result<Function, Error> {
        let mut found = Functions(self.0).get_many(actor, &[id]).await?;
        found.remove(&id).ok_or_else(|| Error::NotFound {
            what: "function",
            id: id.to_string(),
        })
    }
}
