//! From a decision to the rows that record it, and the run that it leads to.

mod waits;

use std::collections::HashMap;

use inngest_core::{
    access::Author,
    event::Event,
    ids::{EventId, StepId, WaitId, WorkId},
    job::{Arrival, JobKind, Work},
    json::Json,
    op::OpTiming,
    run::{
        RunStatus, SdkResponse, StepDetails, StepKind, StepStatus, StepTold,
        decide::{Decision, Effect, Ending, Fate, Memo},
        progress::{Progress, StepState},
    },
    time::Timestamp,
    wait::{Wait, WaitKind},
    wire::{
        finish::{self, Outcome, RunEnd},
        memo,
    },
};
use inngest_state::{Commit, FailedAttemptRow, Fence, RunChange, StepChange};

use crate::{
    engine::Engine,
    registry::{Loaded, Registry},
    route::tells_its_end,
};

/// Under which a decision is recorded.
pub(crate) struct Basis<'a> {
    /// The functions of the environment.
    pub(crate) registry: &'a Registry,
    /// The function of the run.
    pub(crate) loaded: &'a Loaded,
    /// The work that was carried out; none when nobody leased any, for example on a cancel by hand.
    pub(crate) work: Option<&'a Work>,
    /// Whether the work goes on after this, because an app only reports in between.
    pub(crate) goes_on: bool,
    /// Waits that this uses up.
    pub(crate) claims: Vec<WaitId>,
    /// Since when new waits look back.
    pub(crate) since: Timestamp,
    /// The answer of the app that is recorded.
    pub(crate) response: Option<&'a SdkResponse>,
    /// The time of the decision.
    pub(crate) now: Timestamp,
}

/// A commit, and the run as it will be after it. None when the run will have ended.
pub(crate) struct Drafted {
    pub(crate) commit: Commit,
    pub(crate) run: Option<Progress>,
    /// The work that is to be tried again, as it will be.
    pub(crate) retry: Option<Work>,
}

impl Engine {
    /// Drafts the rows of a decision. Pure but for new ids.
    pub(crate) fn draft(&self, run: &Progress, decision: Decision, basis: &Basis<'_>) -> Drafted {
        let mut draft = Draft {
            engine: self,
            basis,
            run: run.clone(),
            commit: Commit {
                claims: basis.claims.clone(),
                ..Commit::default()
            },
            steps: HashMap::new(),
            ended: None,
            cancelled_by: None,
        };
        draft.run.revision += 1;
        if draft.run.started_at.is_none() && basis.work.is_some_and(|work| work.kind.calls_app()) {
            draft.run.started_at = Some(basis.since);
            draft.run.status = RunStatus::Running;
        }
        for effect in decision.effects {
            draft.apply(effect);
        }
        let retry = draft.settle(decision.fate);
        draft.finish(retry)
    }
}

struct Draft<'a> {
    engine: &'a Engine,
    basis: &'a Basis<'a>,
    run: Progress,
    commit: Commit,
    steps: HashMap<StepId, StepChange>,
    ended: Option<(RunStatus, Json)>,
    cancelled_by: Option<Author>,
}

impl Draft<'_> {
    fn apply(&mut self, effect: Effect) {
        let now = self.basis.now;
        match effect {
            Effect::UseVersion(version) => self.run.request_version = version,
            Effect::ForcePlan(force) => self.run.force_plan = force,
            Effect::OpenStep {
                step,
                name,
                kind,
                group,
            } => self.open(step, name, kind, group),
            Effect::EndStep {
                step,
                name,
                kind,
                status,
                memo,
                timing,
            } => self.end(step, name, kind, status, memo, timing),
            Effect::Sort { step, sort } => self.note(&step, StepDetails::Code { sort }),
            Effect::Tell { step, told } => {
                if let Some(change) = self.steps.get_mut(&step) {
                    change.told = told;
                }
            }
            Effect::Discover => self.add_work(
                JobKind::Discover,
                &format!("discover:{}", self.run.revision),
                None,
                now,
                bytes::Bytes::new(),
            ),
            Effect::RunStep { step } => self.add_work(
                JobKind::RunStep,
                &format!("step:{step}"),
                Some(step),
                now,
                bytes::Bytes::new(),
            ),
            Effect::Wake { step, at } => {
                self.note(&step, StepDetails::Sleep { until: at });
                self.add_work(
                    JobKind::Wake,
                    &format!("wake:{step}"),
                    Some(step),
                    at,
                    bytes::Bytes::new(),
                );
            }
            Effect::Wait {
                step,
                event,
                expression,
                until,
            } => self.wait(step, event, expression, until),
            Effect::Invoke {
                step,
                name,
                function,
                payload,
                until,
            } => self.invoke(step, &name, &function, &payload, until),
            Effect::WaitSignal {
                step,
                signal,
                replaces,
                until,
            } => {
                let name = signal.clone();
                self.note(&step, StepDetails::Signal { name, until });
                let wait = self.new_wait(&step, WaitKind::Signal, until);
                self.commit.waits.push(Wait {
                    signal: Some(signal),
                    replaces,
                    ..wait
                });
                self.add_timeout(step, until);
            }
            Effect::Fetch { step, request } => {
                if let Some(details) = crate::fetch::details(&request) {
                    self.note(&step, details);
                }
                let payload = crate::fetch::to_payload(&request);
                self.add_work(
                    JobKind::Fetch,
                    &format!("fetch:{step}"),
                    Some(step),
                    now,
                    payload,
                );
            }
            Effect::Started => {
                self.run.started_at = self.run.started_at.or(Some(self.basis.since));
                self.run.status = RunStatus::Running;
            }
            Effect::FinishBy { at } => self.add_work(
                JobKind::FinishTimeout,
                "timeout:finish",
                None,
                at,
                bytes::Bytes::new(),
            ),
            Effect::FailedAttempt {
                step,
                attempt,
                class,
                code,
                error,
                next_at,
            } => self.commit.failed_attempts.push(FailedAttemptRow {
                run: self.run.run,
                org: self.run.org,
                env: self.run.env,
                step,
                attempt,
                class: class.as_str().to_owned(),
                code: code.to_owned(),
                error: memo::error_object(&error),
                at: now,
                next_at,
                response: self.basis.response.cloned(),
            }),
            Effect::Finish(ending) => self.end_run(ending),
        }
    }

    /// Keeps what a step that this commit reports asks for.
    fn note(&mut self, step: &StepId, details: StepDetails) {
        if let Some(change) = self.steps.get_mut(step) {
            change.details = Some(details);
        }
    }

    /// The event that ends this step, if the work that is carried out brought one.
    fn arrived(&self, step: &StepId) -> Option<EventId> {
        let work = self
            .basis
            .work
            .filter(|work| work.kind == JobKind::Resume && work.step.as_ref() == Some(step))?;
        match Arrival::from_payload(&work.payload) {
            Some(Arrival::Event(id)) => Some(id),
            _ => None,
        }
    }

    fn open(&mut self, step: StepId, name: String, kind: StepKind, group: Option<u32>) {
        let change = StepChange {
            run: self.run.run,
            org: self.run.org,
            env: self.run.env,
            step: step.clone(),
            name: name.clone(),
            kind,
            status: StepStatus::Open,
            group,
            position: None,
            memo: None,
            details: None,
            told: StepTold::default(),
            ended_by: None,
            response: None,
            queued_at: self.basis.now,
            started_at: None,
            ended_at: None,
        };
        self.steps.insert(step.clone(), change);
        self.run.steps.insert(
            step,
            StepState {
                name,
                kind,
                status: StepStatus::Open,
                memo: None,
                group,
            },
        );
    }

    fn end(
        &mut self,
        step: StepId,
        name: String,
        kind: StepKind,
        status: StepStatus,
        memo: Memo,
        timing: Option<OpTiming>,
    ) {
        if !self.run.steps.contains_key(&step) || !self.steps.contains_key(&step) {
            let group = self.run.steps.get(&step).and_then(|state| state.group);
            self.open(step.clone(), name, kind, group);
        }
        let now = self.basis.now;
        let memo = match memo {
            Memo::Null => Json::null(),
            Memo::Data(data) => memo::data(&data),
            Memo::Verbatim(value) => value,
            Memo::Error(error) => memo::error(&error),
        };
        let position = u32::try_from(self.run.stack.len()).unwrap_or(u32::MAX);
        let started = timing.filter(|timing| timing.started_ns > 0).map(|timing| {
            let at = Timestamp::from_millis(
                i64::try_from(timing.started_ns / 1_000_000).unwrap_or(i64::MAX),
            );
            at.clamp(self.run.queued_at, now)
        });
        let ended_by = self.arrived(&step);
        // That of a failure stands with its attempt.
        let is_result = kind == StepKind::Run && status == StepStatus::Completed;
        let answered = self.basis.response.filter(|_| is_result);
        let response = answered.map(SdkResponse::without_headers);
        if let Some(change) = self.steps.get_mut(&step) {
            change.status = status;
            change.ended_by = ended_by;
            change.response = response;
            change.position = Some(position);
            change.memo = Some(memo.clone());
            change.started_at = started.or(Some(self.basis.since));
            change.ended_at = Some(now);
        }
        if let Some(state) = self.run.steps.get_mut(&step) {
            state.status = status;
            state.memo = Some(memo);
        }
        self.run.stack.push(step.clone());
        self.drop_step_work(&step, kind);
    }

    /// Gives up what a step that has ended was still waiting for.
    fn drop_step_work(&mut self, step: &StepId, kind: StepKind) {
        let mut labels: Vec<String> = Vec::new();
        match kind {
            StepKind::Run => labels.push(format!("step:{step}")),
            StepKind::Sleep => labels.push(format!("wake:{step}")),
            StepKind::Fetch | StepKind::Infer => labels.push(format!("fetch:{step}")),
            StepKind::WaitForEvent | StepKind::Invoke | StepKind::WaitForSignal => {
                labels.push(format!("timeout:{step}"));
                labels.push(format!("resume:{step}"));
                let wait = WaitId::derive(self.run.run, step.as_str());
                if !self.basis.claims.contains(&wait) {
                    self.commit.drop_waits.push(wait);
                }
            }
        }
        let fenced = self.basis.work.map(|work| work.id);
        for label in labels {
            let id = WorkId::derive(self.run.run, &label);
            if Some(id) == fenced {
                continue;
            }
            // Planned and finished in one reply: it is not stored in the first place.
            self.commit.work.retain(|work| work.id != id);
            let is_known = self.run.work.remove(&id).is_some() || label.starts_with("resume:");
            if is_known {
                self.commit.drop_work.push(id);
            }
        }
    }

    fn add_work(
        &mut self,
        kind: JobKind,
        label: &str,
        step: Option<StepId>,
        due_at: Timestamp,
        payload: bytes::Bytes,
    ) {
        let work = self.work(kind, label, step, due_at, payload);
        self.run
            .work
            .insert(work.id, (work.kind, work.step.clone()));
        self.commit.work.push(work);
    }

    fn work(
        &self,
        kind: JobKind,
        label: &str,
        step: Option<StepId>,
        due_at: Timestamp,
        payload: bytes::Bytes,
    ) -> Work {
        Work {
            id: WorkId::derive(self.run.run, label),
            org: self.run.org,
            env: self.run.env,
            kind,
            function: self.run.function,
            run: Some(self.run.run),
            step,
            due_at,
            rank: self.run.rank,
            attempt: 0,
            epoch: 1,
            payload,
        }
    }

    fn end_run(&mut self, ending: Ending) {
        let now = self.basis.now;
        let (status, output) = match &ending {
            Ending::Completed(output) => (RunStatus::Completed, output.clone()),
            Ending::Failed { reason, error } => {
                (RunStatus::Failed, memo::run_error_object(error, reason))
            }
            Ending::Cancelled { reason, .. } => (
                RunStatus::Cancelled,
                Json::object([("reason", &Json::string(reason))]),
            ),
        };
        if tells_its_end(&self.run.event_name) {
            let outcome = match &ending {
                Ending::Completed(result) => Outcome::Completed { result },
                Ending::Failed { reason, error } => Outcome::Failed { error, reason },
                Ending::Cancelled { .. } => Outcome::Cancelled,
            };
            let bodies: Vec<Json> = self
                .run
                .events
                .iter()
                .map(|(_, body)| body.clone())
                .collect();
            let end = RunEnd {
                run: self.run.run,
                function_slug: &self.basis.loaded.function.slug,
                events: &bodies,
                correlation: self.run.correlation.as_deref(),
                outcome,
                at: now,
            };
            let second = match ending {
                Ending::Completed(_) => None,
                Ending::Failed { .. } => Some(finish::failed(&end)),
                Ending::Cancelled { .. } => Some(finish::cancelled(&end)),
            };
            let events: Vec<Event> = std::iter::once(finish::finished(&end))
                .chain(second)
                .collect();
            for event in events {
                let new = self.engine.route(
                    self.basis.registry,
                    self.run.org,
                    self.run.env,
                    event,
                    false,
                    now,
                );
                self.commit.events.push(new);
            }
        }
        if let Ending::Cancelled { by, .. } = ending {
            self.cancelled_by = by;
        }
        self.close_steps();
        self.ended = Some((status, output));
    }

    /// Steps that were still open end with the run.
    fn close_steps(&mut self) {
        let open = self
            .run
            .steps
            .iter()
            .filter(|(_, state)| !state.status.is_ended());
        for (step, state) in open {
            let change = StepChange {
                run: self.run.run,
                org: self.run.org,
                env: self.run.env,
                step: step.clone(),
                name: state.name.clone(),
                kind: state.kind,
                status: StepStatus::Cancelled,
                group: state.group,
                position: None,
                memo: None,
                details: None,
                told: StepTold::default(),
                ended_by: None,
                response: None,
                queued_at: self.basis.now,
                started_at: None,
                ended_at: Some(self.basis.now),
            };
            self.steps.insert(step.clone(), change);
        }
    }

    /// What becomes of the work that was carried out.
    fn settle(&mut self, fate: Fate) -> Option<Work> {
        let work = self.basis.work?;
        let ends = !self.basis.goes_on;
        self.commit.fence = Some(Fence {
            id: work.id,
            epoch: work.epoch,
            ends,
        });
        if !ends || self.ended.is_some() {
            return None;
        }
        match fate {
            Fate::Done => {
                self.run.work.remove(&work.id);
                None
            }
            Fate::Retry { at, attempt } => {
                let again = Work {
                    due_at: at,
                    attempt,
                    epoch: work.epoch + 1,
                    ..work.clone()
                };
                self.commit.work.push(again.clone());
                Some(again)
            }
        }
    }

    fn finish(mut self, retry: Option<Work>) -> Drafted {
        let ended = self.ended.take();
        if ended.is_some() {
            // All of it goes with the run.
            self.commit.work.clear();
            self.commit.waits.clear();
        }
        self.run.status = ended
            .as_ref()
            .map_or(self.run.status, |(status, _)| *status);
        self.commit.run = Some(RunChange {
            id: self.run.run,
            env: self.run.env,
            expected: self.run.revision - 1,
            status: self.run.status,
            request_version: self.run.request_version,
            force_plan: self.run.force_plan,
            started_at: self.run.started_at,
            ended: ended
                .as_ref()
                .map(|(_, output)| (self.basis.now, output.clone())),
            cancelled_by: self.cancelled_by,
        });
        if !self.commit.events.is_empty() {
            self.commit.functions_version = Some((self.run.env, self.basis.registry.version));
        }
        self.commit.steps = self.steps.into_values().collect();
        Drafted {
            commit: self.commit,
            run: ended.is_none().then_some(self.run),
            retry,
        }
    }
}
