//! Attempts at steps.

use async_graphql::{Enum, ID, Object};

use inngest_core::{
    run::{StepRecord, StepStatus},
    time::Timestamp,
};
use inngest_services::FailedAttempt;

use crate::graphql::{
    ids,
    objects::{failure::ExecutionError, step::is_wait},
    scalars::{DateTime, Milliseconds},
};

/// One try of a step.
pub(crate) struct StepAttemptObject {
    step: StepRecord,
    number: u32,
    outcome: Outcome,
}

enum Outcome {
    Failed(FailedAttempt),
    Completed,
    Running,
}

/// The attempt that has not failed: the last one of a completed step, or the one under way. Steps that only wait have none.
pub(crate) fn unfailed(step: &StepRecord) -> Option<StepAttemptStatus> {
    if is_wait(step.kind) {
        return None;
    }
    match step.status {
        StepStatus::Completed => Some(StepAttemptStatus::Completed),
        StepStatus::Open if step.started_at.is_some() && step.failed_attempts == 0 => {
            Some(StepAttemptStatus::Running)
        }
        StepStatus::Open | StepStatus::Failed | StepStatus::TimedOut | StepStatus::Cancelled => {
            None
        }
    }
}

/// The attempts at one step, given the failed ones of its run.
pub(crate) fn of_step(step: &StepRecord, failed: Vec<FailedAttempt>) -> Vec<StepAttemptObject> {
    let mut attempts: Vec<StepAttemptObject> = failed
        .into_iter()
        .filter(|attempt| attempt.step.as_ref() == Some(&step.step))
        .map(|attempt| StepAttemptObject {
            step: step.clone(),
            number: attempt.attempt,
            outcome: Outcome::Failed(attempt),
        })
        .collect();
    attempts.sort_by_key(|attempt| attempt.number);
    let next = attempts
        .last()
        .map_or(step.failed_attempts, |last| last.number + 1);
    let last = unfailed(step).map(|status| match status {
        StepAttemptStatus::Completed => Outcome::Completed,
        StepAttemptStatus::Running | StepAttemptStatus::Failed => Outcome::Running,
    });
    attempts.extend(last.map(|outcome| StepAttemptObject {
        step: step.clone(),
        number: next,
        outcome,
    }));
    attempts
}

/// One try of a step.
#[Object(name = "StepAttempt")]
impl StepAttemptObject {
    /// Global id, prefix att.
    async fn id(&self) -> ID {
        ids::attempt(self.step.run, &self.step.step, self.number)
    }

    /// Counted from 0.
    async fn number(&self) -> i32 {
        i32::try_from(self.number).unwrap_or(i32::MAX)
    }

    /// Present state.
    async fn status(&self) -> StepAttemptStatus {
        match self.outcome {
            Outcome::Failed(_) => StepAttemptStatus::Failed,
            Outcome::Completed => StepAttemptStatus::Completed,
            Outcome::Running => StepAttemptStatus::Running,
        }
    }

    /// When the request began; null for failed attempts, whose start is not kept.
    async fn started_at(&self) -> Option<DateTime> {
        self.started().map(DateTime)
    }

    /// When the answer was stored.
    async fn ended_at(&self) -> Option<DateTime> {
        self.ended().map(DateTime)
    }

    /// Time from start to end.
    async fn duration_ms(&self) -> Option<Milliseconds> {
        Some(super::run::millis(self.ended()?.since(self.started()?)))
    }

    /// Error of this try.
    async fn error(&self) -> Option<ExecutionError> {
        match &self.outcome {
            Outcome::Failed(attempt) => Some(ExecutionError::of_attempt(attempt)),
            Outcome::Completed | Outcome::Running => None,
        }
    }

    /// When the next try is due.
    async fn retry_at(&self) -> Option<DateTime> {
        match &self.outcome {
            Outcome::Failed(attempt) => attempt.next_at.map(DateTime),
            Outcome::Completed | Outcome::Running => None,
        }
    }
}

impl StepAttemptObject {
    fn started(&self) -> Option<Timestamp> {
        match self.outcome {
            Outcome::Failed(_) => None,
            Outcome::Completed | Outcome::Running => self.step.started_at,
        }
    }

    fn ended(&self) -> Option<Timestamp> {
        match &self.outcome {
            Outcome::Failed(attempt) => Some(attempt.at),
            Outcome::Completed => self.step.ended_at,
            Outcome::Running => None,
        }
    }
}

/// State of an attempt.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StepAttemptStatus {
    /// Under way.
    Running,
    /// Ended with a result.
    Completed,
    /// Ended with an error.
    Failed,
}

#[cfg(test)]
mod tests {
    use inngest_core::{
        ids::{RunId, StepId},
        json::Json,
        run::StepKind,
    };

    use super::*;

    #[test]
    fn completed_step_shows_its_failures_and_then_its_success() {
        let step = StepRecord {
            run: RunId::from_raw(ulid::Ulid(1)),
            step: StepId::parse("a").unwrap(),
            name: "a".into(),
            kind: StepKind::Run,
            status: StepStatus::Completed,
            memo: Some(Json::null()),
            position: Some(0),
            failed_attempts: 1,
            queued_at: Timestamp::default(),
            started_at: None,
            ended_at: Some(Timestamp::default()),
        };
        let failed = |step: &str, attempt: u32| FailedAttempt {
            run: RunId::from_raw(ulid::Ulid(1)),
            step: Some(StepId::parse(step).unwrap()),
            attempt,
            class: "user".into(),
            code: "Error".into(),
            error: Json::null(),
            at: Timestamp::default(),
            next_at: None,
        };
        let attempts = of_step(&step, vec![failed("b", 0), failed("a", 0)]);
        let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, vec![0, 1]);
        assert!(matches!(attempts[0].outcome, Outcome::Failed(_)));
        assert!(matches!(attempts[1].outcome, Outcome::Completed));
    }
}
