//! The life of a run, and what one reply of an app makes of it.

pub mod attempt;
pub mod decide;
pub mod details;
mod draft;
pub mod limits;
pub mod progress;
pub mod reply;
pub mod response;
pub mod retry;
pub mod status;
pub mod trace;
pub mod waiting;

use crate::{
    access::Author,
    event::FUNCTION_INVOKED,
    ids::{AppId, BulkId, EventId, FunctionId, RunId, StepId},
    json::Json,
    time::Timestamp,
};

pub use attempt::FailedAttempt;
pub use details::{CodeId, StepDetails, StepTold};
pub use limits::RunLimits;
pub use response::SdkResponse;
pub use status::{RunStatus, SkipReason, StepKind, StepStatus};
pub use waiting::{StepWait, WaitStatus};

/// One execution of a function, as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The app of its function.
    pub app: AppId,
    /// Its function.
    pub function: FunctionId,
    /// The version of the function under which it was scheduled.
    pub function_version: u32,
    /// Where it is in its life.
    pub status: RunStatus,
    /// Why it was never executed; set exactly when it was skipped.
    pub skip_reason: Option<SkipReason>,
    /// The events that started it; never empty.
    pub events: Vec<EventId>,
    /// The name of the first event.
    pub event_name: String,
    /// The cron schedule that started it.
    pub cron: Option<String>,
    /// The first run that this one repeats.
    pub original: Option<RunId>,
    /// Where it begins, when it does not begin at its start.
    pub rerun: Option<RerunFrom>,
    /// The replay that started it.
    pub replay: Option<BulkId>,
    /// Who asked for it through an API: for an invocation, a rerun or a replay; none for others, and for those stored before this was kept.
    pub started_by: Option<Author>,
    /// The value of its function's idempotency expression that guards it, cut to [`crate::limits::SHOWN_KEY_BYTES`]; none when the function has
    /// none, for runs that nothing guards (skipped ones and repetitions), and for those stored before this was kept.
    pub idempotency_key: Option<String>,
    /// Who waits for its result: `<run id>.<step id>`.
    pub correlation: Option<String>,
    /// When it was scheduled.
    pub queued_at: Timestamp,
    /// When its app was first called.
    pub started_at: Option<Timestamp>,
    /// When it ended, and with what.
    pub ended: Option<Ended>,
    /// Grows with each change; never down.
    pub revision: u64,
}

/// In which way a run was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TriggerKind {
    /// By one event.
    Event,
    /// By a batch of events.
    Batch,
    /// By a schedule.
    Cron,
    /// By an invoke step, or an invocation through an API.
    Invoke,
    /// As a repetition of another run.
    Rerun,
    /// As a repetition of another run, by a replay of many.
    Replay,
}

impl TriggerKind {
    /// Every way.
    pub const ALL: &'static [Self] = &[
        Self::Event,
        Self::Batch,
        Self::Cron,
        Self::Invoke,
        Self::Rerun,
        Self::Replay,
    ];
}

impl Run {
    /// In which way it was started; a repetition counts as that and not as what it repeats.
    pub fn trigger_kind(&self) -> TriggerKind {
        if self.replay.is_some() {
            TriggerKind::Replay
        } else if self.original.is_some() {
            TriggerKind::Rerun
        } else if self.cron.is_some() {
            TriggerKind::Cron
        } else if self.correlation.is_some() || self.event_name == FUNCTION_INVOKED {
            TriggerKind::Invoke
        } else if self.events.len() > 1 {
            TriggerKind::Batch
        } else {
            TriggerKind::Event
        }
    }
}

/// The step at which a run begins that repeats another one. The results of what had ended before it are the other run's.
#[derive(Clone, Debug, PartialEq)]
pub struct RerunFrom {
    /// The step.
    pub step: StepId,
    /// Its arguments, a list, in place of those that the code gives it.
    pub input: Option<Json>,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// The return value of a completed run, the error object of a failed one, the reason of a cancelled one.
    pub output: Json,
    /// Who cancelled it; none when nobody did, and for runs that ended before this was kept.
    pub cancelled_by: Option<Author>,
}

/// A step of a run, as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// The run.
    pub run: RunId,
    /// The hashed id.
    pub step: StepId,
    /// The display name.
    pub name: String,
    /// What it does.
    pub kind: StepKind,
    /// Where it is in its life.
    pub status: StepStatus,
    /// The memo that apps get, once it has ended.
    pub memo: Option<Json>,
    /// Its place in the stack, from 0, once it has ended.
    pub position: Option<u32>,
    /// Attempts that failed.
    pub failed_attempts: u32,
    /// What it asked for; none for steps that only run code, and for those stored before this was kept.
    pub details: Option<StepDetails>,
    /// What else the app said of it.
    pub told: StepTold,
    /// The group of steps that were reported together; none where it was reported alone, or races.
    pub group: Option<u32>,
    /// The event that ended it: what it waited for, or the end of the run that it invoked.
    pub ended_by: Option<EventId>,
    /// The answer of the app that brought its result, without headers; none where no answer did, or it came by a checkpoint.
    pub response: Option<SdkResponse>,
    /// When it was first reported.
    pub queued_at: Timestamp,
    /// When its code began, as the app measured it or as we saw it.
    pub started_at: Option<Timestamp>,
    /// When its result was stored.
    pub ended_at: Option<Timestamp>,
}

impl StepRecord {
    /// The id that the code gives it; none when the app has not told it and it is not the name either.
    pub fn code_id(&self) -> Option<CodeId> {
        let told = self.told.code_id.clone();
        told.or_else(|| CodeId::of_name(&self.name, &self.step))
    }

    /// The error that its memo holds, if it holds one. An object with a second member is a result that happens to have an `error`.
    pub fn error(&self) -> Option<Json> {
        let memo = self.memo.as_ref()?;
        let error = memo.member("error")?;
        (memo.members().count() == 1).then_some(error)
    }

    /// The result of a step that has one: what its memo holds as `data` and nothing else, or the whole memo. Of a wait that nothing
    /// ended in time it is null.
    pub fn output(&self) -> Option<Json> {
        let has_result = match self.status {
            StepStatus::Completed => true,
            StepStatus::TimedOut => self.error().is_none(),
            StepStatus::Open | StepStatus::Failed | StepStatus::Cancelled => false,
        };
        let memo = self.memo.as_ref().filter(|_| has_result)?;
        let data = memo.member("data").filter(|_| memo.members().count() == 1);
        Some(data.unwrap_or_else(|| memo.clone()))
    }
}
