//! Pausing functions and resuming them, and the work that a pause holds back.
//!
//! A pause is stored with its function, and read and cached with it. New triggers are skipped by whoever routes them, because routing
//! states the version of the functions, which a pause raises. What was scheduled already is held back by whoever is about to call the
//! app: its row is put beyond all times, where no schedule keeps it and no rebuild finds it. When the pause ends, a job gives all of it
//! free in portions. Work is held back on condition of the version too, so nothing is put there after that job has begun.

use inngest_core::{
    access::{Actor, Scope},
    app::Function,
    ids::{EnvId, FunctionId, OrgId, WorkId},
    job::{JobKind, Work},
    limits,
    pause::{Pause, PauseInFlight, PauseNewEvents},
    time::Timestamp,
};
use inngest_queue::model::Verdict;
use inngest_state::{Commit, Fence, PauseChange, Refused, fail_point};
use tracing::info;

use crate::{
    Error, FunctionView,
    apps::Functions,
    bulk,
    engine::{Engine, TRIES},
};

/// Rows given free by one statement.
const PORTION: u64 = 1_000;

/// How a function is to be paused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PauseRequest {
    /// What becomes of runs that have started.
    pub in_flight: PauseInFlight,
    /// What becomes of new triggers.
    pub new_events: PauseNewEvents,
    /// A note for people.
    pub reason: Option<String>,
    /// When it ends by itself; none for never.
    pub resumes_at: Option<Timestamp>,
}

impl Functions<'_> {
    /// Pauses a function, or changes how it is paused. From now on none of its runs is begun; calls on their way are not interrupted.
    /// Other processes learn of it within a second.
    ///
    /// # Errors
    /// `NotFound` when there is no such function; `Invalid` with `pause_reason_too_long` and `pause_end_past`;
    /// `too_many_bulk_operations` when it is to cancel runs.
    pub async fn pause(
        &self,
        actor: &Actor,
        id: FunctionId,
        request: PauseRequest,
    ) -> Result<Function, Error> {
        actor.require(Scope::FunctionsWrite)?;
        let engine = self.0;
        let now = engine.clock.now();
        check(&request, now)?;
        if request.in_flight == PauseInFlight::Cancel {
            engine.check_room_for_bulk(actor.env).await?;
        }
        let function = engine.stored_function(actor.env, id).await?;
        let pause = Pause {
            at: now,
            by: actor.author(),
            reason: request.reason,
            in_flight: request.in_flight,
            new_events: request.new_events,
            resumes_at: request.resumes_at,
        };
        let paused = Function {
            pause: Some(pause),
            ..function.clone()
        };
        engine.change_pause(actor, &function, &paused, None).await?;
        info!(function.slug = %paused.slug, env.id = %actor.env, "function paused");
        Ok(paused)
    }

    /// Ends the pause of a function; one that is not paused stays as it is. What was held back goes on.
    ///
    /// # Errors
    /// `NotFound` when there is no such function.
    pub async fn resume(&self, actor: &Actor, id: FunctionId) -> Result<Function, Error> {
        actor.require(Scope::FunctionsWrite)?;
        let engine = self.0;
        let function = engine.stored_function(actor.env, id).await?;
        if function.pause.is_none() {
            return Ok(function);
        }
        let resumed = Function {
            pause: None,
            ..function.clone()
        };
        engine
            .change_pause(actor, &function, &resumed, None)
            .await?;
        info!(function.slug = %resumed.slug, env.id = %actor.env, "function resumed");
        Ok(resumed)
    }

    /// [`Functions::pause`], by id or slug, with the app of the function.
    ///
    /// # Errors
    /// Those of [`Functions::pause`].
    pub async fn pause_named(
        &self,
        actor: &Actor,
        name: &str,
        request: PauseRequest,
    ) -> Result<FunctionView, Error> {
        actor.require(Scope::FunctionsWrite)?;
        let FunctionView { function, app } = self.0.find_function(actor, name).await?;
        let function = self.pause(actor, function.id, request).await?;
        Ok(FunctionView { function, app })
    }

    /// [`Functions::resume`], by id or slug, with the app of the function.
    ///
    /// # Errors
    /// Those of [`Functions::resume`].
    pub async fn resume_named(&self, actor: &Actor, name: &str) -> Result<FunctionView, Error> {
        actor.require(Scope::FunctionsWrite)?;
        let FunctionView { function, app } = self.0.find_function(actor, name).await?;
        let function = self.resume(actor, function.id).await?;
        Ok(FunctionView { function, app })
    }
}

fn check(request: &PauseRequest, now: Timestamp) -> Result<(), Error> {
    let length = request.reason.as_ref().map_or(0, String::len);
    if length > limits::PAUSE_REASON_BYTES {
        return Err(Error::Invalid {
            code: "pause_reason_too_long",
            message: format!(
                "a note on a pause has at most {} bytes, this one has {length}",
                limits::PAUSE_REASON_BYTES
            ),
        });
    }
    if request.resumes_at.is_some_and(|at| at <= now) {
        return Err(Error::Invalid {
            code: "pause_end_past",
            message: "a pause can only end by itself at a time to come".to_owned(),
        });
    }
    Ok(())
}

/// The work by which a pause ends by itself; its id tells which pause that is.
fn end_of(org: OrgId, env: EnvId, function: FunctionId, pause: &Pause) -> Option<Work> {
    let due_at = pause.resumes_at?;
    let which = format!("{}:{}", pause.at.as_millis(), due_at.as_millis());
    let label = format!("end-pause:{which}");
    Some(Work {
        due_at,
        ..job(org, env, function, JobKind::EndPause, &label, pause.at)
    })
}

fn job(
    org: OrgId,
    env: EnvId,
    function: FunctionId,
    kind: JobKind,
    label: &str,
    now: Timestamp,
) -> Work {
    Work {
        id: WorkId::derive_for_function(function, label),
        org,
        env,
        kind,
        function,
        run: None,
        step: None,
        due_at: now,
        rank: now.as_millis(),
        attempt: 0,
        epoch: 1,
        payload: bytes::Bytes::new(),
    }
}

impl Engine {
    /// A function as it is stored.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn stored_function(
        &self,
        env: EnvId,
        id: FunctionId,
    ) -> Result<Function, Error> {
        let found = self.store.find_functions(env, &[id]).await?.pop();
        found.ok_or_else(|| Error::NotFound {
            what: "function",
            id: id.to_string(),
        })
    }

    /// Stores how a function is paused, with what follows from it. `false` when it is not paused as `only_if` any more.
    async fn change_pause(
        &self,
        actor: &Actor,
        before: &Function,
        after: &Function,
        only_if: Option<Pause>,
    ) -> Result<bool, Error> {
        let (org, env, function) = (actor.org, actor.env, after.id);
        let now = self.clock.now();
        let ending = after.pause.as_ref();
        let mut work: Vec<Work> = ending
            .and_then(|pause| end_of(org, env, function, pause))
            .into_iter()
            .collect();
        // Also when it is only changed: what the new pause holds back as well is held back again. And also when it was not paused a
        // moment ago: somebody else may have paused it since, whose work this replaces.
        let label = format!("release:{}", self.ids.ulid(now));
        work.push(job(org, env, function, JobKind::Release, &label, now));
        let cancels = ending.filter(|pause| pause.in_flight == PauseInFlight::Cancel);
        let bulk = cancels.map(|pause| self.cancellation_of_all(org, env, after, pause));
        work.extend(bulk.as_ref().map(bulk::work_of));
        let change = PauseChange {
            env,
            function,
            pause: after.pause.clone(),
            only_if,
            bulk,
            work,
        };
        if !self.store.save_pause(&change, &self.clock).await? {
            return Ok(false);
        }
        fail_point!("pause::stored");
        // First, because what follows must not wait for the next refill when the functions cannot be read now.
        self.schedule(&change.work).await;
        self.live.publish(env);
        self.registries.reload(env).await?;
        self.forget_end(org, env, before, &change.work).await;
        Ok(true)
    }

    /// Removes the work by which the pause was to end that is no more. Left behind, it would do nothing.
    async fn forget_end(&self, org: OrgId, env: EnvId, before: &Function, new: &[Work]) {
        let pause = before.pause.as_ref();
        let work = pause.and_then(|pause| end_of(org, env, before.id, pause));
        let Some(work) = work.filter(|work| new.iter().all(|new| new.id != work.id)) else {
            return;
        };
        let commit = Commit {
            drop_work: vec![work.id],
            ..Commit::default()
        };
        if self.store.commit(commit).await.is_ok() {
            self.unschedule(&[work.id]).await;
        }
    }

    /// Holds work back, because a pause of its function says so. `None` when none does any more.
    pub(crate) async fn hold(
        &self,
        work: &Work,
        has_started: bool,
    ) -> Result<Option<Verdict>, Error> {
        for _ in 0..TRIES {
            // In this order: the function may be newer than the version that the commit states, and then it is refused, but not older.
            let registry = self.registries.get(work.env).await?;
            let loaded = self.registries.function(work.env, work.function).await?;
            if loaded.is_none_or(|loaded| !loaded.holds(has_started)) {
                return Ok(None);
            }
            let commit = Commit {
                fence: Some(Fence {
                    id: work.id,
                    epoch: work.epoch,
                    ends: false,
                }),
                functions_version: Some((work.env, registry.version)),
                hold: true,
                ..Commit::default()
            };
            match self.commit(commit).await {
                Ok(_) => return Ok(Some(Verdict::done())),
                Err(Refused::FunctionsChanged) => drop(self.registries.reload(work.env).await?),
                Err(Refused::Store(error)) => {
                    self.note_failed_commit(&error);
                    return Err(error.into());
                }
                // It belongs to somebody else, or went with its run.
                Err(_) => return Ok(Some(Verdict::done())),
            }
        }
        Err(Error::Busy)
    }

    /// Gives free what pauses of a function have held back. What one holds back that is in force now is held back again when it comes up.
    pub(crate) async fn release(&self, work: &Work) -> Result<Verdict, Error> {
        let mut last = None;
        let mut count = 0;
        loop {
            let portion = self
                .store
                .release_work(work.env, work.function, last, PORTION)
                .await?;
            fail_point!("pause::released");
            self.schedule(&portion).await;
            count += portion.len();
            last = portion.last().map(|work| work.id);
            if (portion.len() as u64) < PORTION {
                break;
            }
        }
        if count > 0 {
            info!(function.id = %work.function, jobs = count, "work of a paused function goes on");
        }
        self.give_up(Some(work)).await;
        Ok(Verdict::done())
    }

    /// Ends the pause that this work is about, if the function is still paused like that.
    pub(crate) async fn end_pause(&self, work: &Work) -> Result<Verdict, Error> {
        let found = self.stored_function(work.env, work.function).await;
        let function = match found {
            Err(Error::NotFound { .. }) => None,
            found => Some(found?),
        };
        let function = function.filter(|function| {
            let pause = function.pause.as_ref();
            let end = pause.and_then(|pause| end_of(work.org, work.env, work.function, pause));
            end.is_some_and(|end| end.id == work.id)
        });
        if let Some(function) = function {
            let resumed = Function {
                pause: None,
                ..function.clone()
            };
            let only_if = function.pause.clone();
            let system = Actor::system(work.org, work.env);
            if self
                .change_pause(&system, &function, &resumed, only_if)
                .await?
            {
                info!(function.slug = %resumed.slug, env.id = %work.env, "pause of a function is over");
            }
        }
        self.give_up(Some(work)).await;
        Ok(Verdict::done())
    }
}
