//! What a run waits for, and the runs that it waits for.

use inngest_core::{
    ids::{EventId, StepId, WaitId},
    job::{Arrival, JobKind},
    json::Json,
    limits,
    op::StepError,
    run::StepDetails,
    time::Timestamp,
    wait::{self, Condition, Wait, WaitKind},
    wire::{
        finish::{self, Invocation},
        memo,
    },
};
use inngest_state::NewEvent;

use super::Draft;
use crate::route::Cause;

impl Draft<'_> {
    pub(super) fn wait(
        &mut self,
        step: StepId,
        event: String,
        expression: Option<String>,
        until: Timestamp,
    ) {
        let details = StepDetails::Event {
            name: event.clone(),
            expression: expression
                .clone()
                .filter(|text| text.len() <= limits::DETAIL_BYTES),
            until,
        };
        self.note(&step, details);
        let program = expression
            .as_deref()
            .and_then(|text| self.engine.programs.get(text));
        let trigger = self
            .run
            .events
            .first()
            .map(|(_, body)| body.to_value())
            .unwrap_or_default();
        let condition = Condition::of(program.as_ref(), &trigger);
        let wait = self.new_wait(&step, WaitKind::Event, until);
        self.commit.waits.push(Wait {
            event_name: Some(event),
            key_path: condition.key_path,
            key_hash: condition.key_hash,
            expression,
            bindings: condition.bindings,
            ..wait
        });
        self.add_timeout(step, until);
    }

    pub(super) fn invoke(
        &mut self,
        step: StepId,
        name: &str,
        function: &str,
        payload: &Json,
        until: Timestamp,
    ) {
        let end = function.floor_char_boundary(limits::DETAIL_BYTES);
        let details = StepDetails::Invoke {
            function: function[..end].to_owned(),
            until,
        };
        self.note(&step, details);
        let Some(target) = self.basis.registry.by_name(function) else {
            let message = format!("could not find function with ID: {function}");
            return self.refuse_invoke(step, message);
        };
        let now = self.basis.now;
        let correlation = wait::correlation(self.run.run, &step);
        let event = finish::invoked(&Invocation {
            id: finish::invocation_id(self.run.run, &step),
            function_slug: &target.function.slug,
            payload,
            run: self.run.run,
            step: &step,
            step_name: name,
            source_app: self.run.app,
            source_function: self.run.function,
            source_version: self.basis.loaded.function.version,
            expires_at: until,
            at: now,
        });
        let cause = Cause {
            correlation: Some(correlation.clone()),
            ..Cause::default()
        };
        let mut child =
            self.engine
                .draft_run(self.run.org, self.run.env, target, &event, cause, now);
        if child.status.is_ended() {
            self.commit.events.push(NewEvent {
                org: self.run.org,
                env: self.run.env,
                event,
                may_exist: false,
                runs: vec![child],
            });
            let message = format!("`{function}` is paused, so it was not started");
            return self.refuse_invoke(step, message);
        }
        let refusal = StepError::new(
            "Error",
            format!(
                "`{function}` has already run for this idempotency key, so it was not started again"
            ),
        );
        child.otherwise = Some(self.work(
            JobKind::Resume,
            &format!("resume:{step}"),
            Some(step.clone()),
            now,
            Arrival::Failure(memo::error(&refusal)).to_payload(),
        ));
        self.commit.events.push(NewEvent {
            org: self.run.org,
            env: self.run.env,
            event,
            may_exist: false,
            runs: vec![child],
        });
        let condition = Condition::of_correlation(&correlation);
        let wait = self.new_wait(&step, WaitKind::Invoke, until);
        self.commit.waits.push(Wait {
            event_name: Some(inngest_core::event::FUNCTION_FINISHED.to_owned()),
            key_path: condition.key_path,
            key_hash: condition.key_hash,
            ..wait
        });
        self.add_timeout(step, until);
    }

    /// Ends an invoke step with an error, at once.
    fn refuse_invoke(&mut self, step: StepId, message: String) {
        let arrival = Arrival::Failure(memo::error(&StepError::new("Error", message)));
        self.add_work(
            JobKind::Resume,
            &format!("resume:{step}"),
            Some(step),
            self.basis.now,
            arrival.to_payload(),
        );
    }

    pub(super) fn new_wait(&self, step: &StepId, kind: WaitKind, until: Timestamp) -> Wait {
        Wait {
            id: WaitId::derive(self.run.run, step.as_str()),
            org: self.run.org,
            env: self.run.env,
            kind,
            run: self.run.run,
            function: self.run.function,
            step: Some(step.clone()),
            rank: self.run.rank,
            event_name: None,
            key_path: String::new(),
            key_hash: 0,
            expression: None,
            bindings: Json::empty_object(),
            trigger: self
                .run
                .events
                .first()
                .map_or_else(|| EventId::from_raw(ulid::Ulid::nil()), |(id, _)| *id),
            signal: None,
            replaces: false,
            since: self.basis.since.minus(self.engine.skew()),
            expires_at: until,
        }
    }

    pub(super) fn add_timeout(&mut self, step: StepId, until: Timestamp) {
        self.add_work(
            JobKind::WaitTimeout,
            &format!("timeout:{step}"),
            Some(step),
            until,
            bytes::Bytes::new(),
        );
    }
}
