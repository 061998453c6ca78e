//! The attempts at a step, put together from what is stored: each failure, and of the attempt that has not failed what its step says.

use crate::{
    ids::{RunId, StepId},
    json::Json,
    run::{SdkResponse, StepRecord, StepStatus},
    time::Timestamp,
};

/// An attempt that failed, as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedAttempt {
    /// The run.
    pub run: RunId,
    /// The step; none for the function itself.
    pub step: Option<StepId>,
    /// Counted from 0.
    pub attempt: u32,
    /// Whose failure: `engine`, `network`, `app`, `limit`, `auth` or `config`.
    pub class: String,
    /// Stable word.
    pub code: String,
    /// The error object.
    pub error: Json,
    /// When.
    pub at: Timestamp,
    /// When it is tried again.
    pub next_at: Option<Timestamp>,
    /// What answered; none when nothing did, as the error says.
    pub response: Option<SdkResponse>,
}

impl FailedAttempt {
    /// What happened, as user code (or we in its place) said it.
    pub fn message(&self) -> String {
        let message = self.error.member("message");
        message
            .and_then(|message| message.to_text())
            .unwrap_or_default()
    }
}

/// One try of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Counted from 0.
    pub number: u32,
    /// Where it is.
    pub status: AttemptStatus,
    /// When it became due; none when that is not known.
    pub queued_at: Option<Timestamp>,
    /// When it began; none before that, and for a failed attempt that was followed by another one, whose start is not stored.
    pub started_at: Option<Timestamp>,
    /// When its outcome was stored.
    pub ended_at: Option<Timestamp>,
    /// How it failed.
    pub failure: Option<FailedAttempt>,
    /// The answer of the app that ended it; none when no answer did, or the result came by a checkpoint.
    pub response: Option<SdkResponse>,
}

impl Attempt {
    /// The attempt of this failure, which was due at `due`. A step that fails on being found is stored only when it ends, so its first
    /// failure is older than the step; then nothing is known of when that became due.
    pub(crate) fn failed(failure: &FailedAttempt, due: Option<Timestamp>) -> Self {
        Self {
            number: failure.attempt,
            status: AttemptStatus::Failed,
            queued_at: due.filter(|due| *due <= failure.at),
            started_at: None,
            ended_at: Some(failure.at),
            failure: Some(failure.clone()),
            response: failure.response.clone(),
        }
    }
}

/// Where an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptStatus {
    /// It waits for its turn.
    Queued,
    /// It is under way.
    Running,
    /// It brought a result.
    Completed,
    /// It failed.
    Failed,
    /// The run was cancelled first.
    Cancelled,
}

/// The attempts at one step in order, given the failed ones of its run. None for a step that only waits.
pub fn attempts(step: &StepRecord, failed: &[FailedAttempt]) -> Vec<Attempt> {
    if step.kind.only_waits() {
        return Vec::new();
    }
    let mut own: Vec<&FailedAttempt> = failed
        .iter()
        .filter(|attempt| attempt.step.as_ref() == Some(&step.step))
        .collect();
    own.sort_by_key(|attempt| (attempt.attempt, attempt.at));
    // What was recorded twice under one number is one attempt.
    own.dedup_by_key(|attempt| attempt.attempt);
    let mut attempts = Vec::with_capacity(own.len() + 1);
    let (mut next, mut due) = (0, Some(step.queued_at));
    for failure in own {
        attempts.push(Attempt::failed(failure, due));
        next = failure.attempt.saturating_add(1);
        due = failure.next_at;
    }
    let status = match step.status {
        StepStatus::Completed => AttemptStatus::Completed,
        StepStatus::Cancelled => AttemptStatus::Cancelled,
        StepStatus::Open if step.started_at.is_some() => AttemptStatus::Running,
        StepStatus::Open => AttemptStatus::Queued,
        StepStatus::Failed | StepStatus::TimedOut => match attempts.last_mut() {
            // The step ended with this attempt, so its start is the step's.
            Some(last) => {
                last.started_at = step
                    .started_at
                    .filter(|start| *start <= last.ended_at.unwrap_or(*start));
                return attempts;
            }
            None => AttemptStatus::Failed,
        },
    };
    attempts.push(Attempt {
        number: next,
        status,
        // A step that was found and run by the same call was never queued before it ran.
        queued_at: due.map(|due| step.started_at.map_or(due, |started| due.min(started))),
        started_at: step.started_at,
        ended_at: step.ended_at,
        failure: None,
        response: step.response.clone(),
    });
    attempts
}
