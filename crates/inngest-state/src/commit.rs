//! What is written together: a commit, its conditions, and what came of it.

use std::time::Duration;

use inngest_core::{
    access::Author,
    event::Event,
    ids::{AppId, BulkId, EnvId, EventId, FunctionId, OrgId, RunId, StepId, WaitId, WorkId},
    job::Work,
    json::Json,
    run::{
        RerunFrom, RunStatus, SdkResponse, SkipReason, StepDetails, StepKind, StepStatus, StepTold,
    },
    time::Timestamp,
    trace_context::TraceParent,
    wait::Wait,
};
use uuid::Uuid;

use crate::{bulk::BulkChange, requests::NewRequest};

/// The rows of one run or one request. All of it is written, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The work that this commit records the outcome of.
    pub fence: Option<Fence>,
    /// The work of the fence, which must not end, is held back until its function is resumed: it gets a higher epoch, and is due beyond
    /// all times. Needs the version of the functions, so that whoever resumes the function finds it.
    pub hold: bool,
    /// Waits that must still be there; they are used up.
    pub claims: Vec<WaitId>,
    /// The environment and the version of its functions by which events were routed.
    pub functions_version: Option<(EnvId, i64)>,
    /// The change of a run.
    pub run: Option<RunChange>,
    /// New or ended steps of that run.
    pub steps: Vec<StepChange>,
    /// Attempts that failed.
    pub failed_attempts: Vec<FailedAttemptRow>,
    /// The request to the app whose outcome this commit records; it is counted, and counts for the function of the run that is changed.
    pub request_made: Option<RequestMade>,
    /// New events and what they start.
    pub events: Vec<NewEvent>,
    /// New runs that no new event starts.
    pub runs: Vec<NewRun>,
    /// New events that only the runs of this commit are to see: they are stored, and neither start nor resume anything.
    pub edited_events: Vec<NewEvent>,
    /// What makes a second commit for the same request no second effect.
    pub request: Option<NewRequest>,
    /// What becomes of an operation on many runs.
    pub bulk: Option<BulkChange>,
    /// New waits.
    pub waits: Vec<Wait>,
    /// Waits to give up, if they are still there.
    pub drop_waits: Vec<WaitId>,
    /// New work; an id that exists already changes nothing.
    pub work: Vec<Work>,
    /// Work to give up, if it is still there.
    pub drop_work: Vec<WorkId>,
    /// Waits stored by an earlier commit that look back once more, if they are still there; see `Committed::fresh_waits`.
    pub look_again: Vec<Wait>,
    /// Stored events that are matched with the waits once more; nothing else of them is looked at.
    pub match_again: Vec<NewEvent>,
}

/// Permission to record the outcome of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The work.
    pub id: WorkId,
    /// The epoch under which it was leased.
    pub epoch: i64,
    /// Whether the work is done by this, or only must still be ours.
    pub ends: bool,
}

/// The new state of a run; refused unless its revision is `expected` and it has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunChange {
    /// The run.
    pub id: RunId,
    /// The tenant.
    pub env: EnvId,
    /// The revision under which the change was decided.
    pub expected: u64,
    /// New status.
    pub status: RunStatus,
    /// See `Progress`.
    pub request_version: i32,
    /// See `Progress`.
    pub force_plan: bool,
    /// Set once.
    pub started_at: Option<Timestamp>,
    /// Set when the run ends: its waits and work go with it.
    pub ended: Option<(Timestamp, Json)>,
    /// Who has it ended, if somebody does.
    pub cancelled_by: Option<Author>,
}

/// A step that was reported or has ended; the first end counts.
#[derive(Clone, Debug, PartialEq)]
pub struct StepChange {
    /// The run.
    pub run: RunId,
    /// The tenant.
    pub org: OrgId,
    /// The environment.
    pub env: EnvId,
    /// The step.
    pub step: StepId,
    /// Display name.
    pub name: String,
    /// What it does.
    pub kind: StepKind,
    /// Where it is in its life.
    pub status: StepStatus,
    /// See `StepState::group`.
    pub group: Option<u32>,
    /// Place in the stack, once ended.
    pub position: Option<u32>,
    /// Result, once ended.
    pub memo: Option<Json>,
    /// What it asks for; stored with its first change, and kept.
    pub details: Option<StepDetails>,
    /// What else the app said of it; stored and kept like that.
    pub told: StepTold,
    /// The event that has ended it.
    pub ended_by: Option<EventId>,
    /// The answer of the app that has brought its result.
    pub response: Option<SdkResponse>,
    /// When it was first reported.
    pub queued_at: Timestamp,
    /// When its code began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A request to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestMade {
    /// When it was answered, or given up.
    pub at: Timestamp,
    /// How long that took.
    pub took: Duration,
    /// Whether it was answered as it should be.
    pub is_ok: bool,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedAttemptRow {
    /// The run.
    pub run: RunId,
    /// The tenant.
    pub org: OrgId,
    /// The environment.
    pub env: EnvId,
    /// The step; none for the function itself.
    pub step: Option<StepId>,
    /// Counted from 0.
    pub attempt: u32,
    /// Whose failure it was.
    pub class: String,
    /// Stable word.
    pub code: String,
    /// The error object.
    pub error: Json,
    /// When.
    pub at: Timestamp,
    /// When it is tried again.
    pub next_at: Option<Timestamp>,
    /// What answered, if anything did.
    pub response: Option<SdkResponse>,
}

/// An event to store, with the runs that it starts. An event that exists already brings nothing with it.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The tenant.
    pub org: OrgId,
    /// The environment.
    pub env: EnvId,
    /// The event.
    pub event: Event,
    /// Its id may exist already, because the sender (or the run that it is about) determined it.
    pub may_exist: bool,
    /// The runs it starts.
    pub runs: Vec<NewRun>,
}

/// A run to store, with its first work. A run whose key is taken brings nothing with it.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The tenant.
    pub org: OrgId,
    /// The environment.
    pub env: EnvId,
    /// The id.
    pub id: RunId,
    /// The app.
    pub app: AppId,
    /// The function.
    pub function: FunctionId,
    /// Its version.
    pub function_version: u32,
    /// `Queued`, or `Skipped`.
    pub status: RunStatus,
    /// Why it was skipped.
    pub skip_reason: Option<SkipReason>,
    /// The trigger events, never empty.
    pub events: Vec<EventId>,
    /// Name of the first.
    pub event_name: String,
    /// The schedule that started it.
    pub cron: Option<String>,
    /// The run that it repeats.
    pub original: Option<RunId>,
    /// Where it begins, when it does not begin at its start.
    pub rerun: Option<RerunFrom>,
    /// The replay that starts it.
    pub replay: Option<BulkId>,
    /// See `Run::started_by`.
    pub started_by: Option<Author>,
    /// See `Run::idempotency_key`.
    pub idempotency_key: Option<String>,
    /// Who waits for it.
    pub correlation: Option<String>,
    /// Where in a trace it was scheduled.
    pub trace: Option<TraceParent>,
    /// See `Work::rank`.
    pub rank: i64,
    /// When it was scheduled.
    pub queued_at: Timestamp,
    /// What makes a second start the same start, and until when.
    pub keys: Vec<(Uuid, Timestamp)>,
    /// Its first work.
    pub work: Vec<Work>,
    /// What must happen instead when a key is taken.
    pub otherwise: Option<Work>,
    /// Its cancel rules.
    pub waits: Vec<Wait>,
}

/// What came of a commit.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// All work that now must be in the schedule because of this commit, whether the caller asked for it or an event brought it about.
    pub work: Vec<Work>,
    /// Runs that were started; one that was skipped was not.
    pub started: Vec<RunId>,
    /// Runs that were not started because of a key, each with the run that holds it.
    pub duplicates: Vec<(RunId, RunId)>,
    /// Events that existed already.
    pub known_events: Vec<EventId>,
    /// Work that went with a run that ended, besides the fence's own: the schedule may forget it.
    pub removed: Vec<WorkId>,
    /// Waits that this commit has stored while others write to the same database: an event of a transaction that was under way at the
    /// same time may have missed them. They have to look again once all such transactions have ended. Empty where one process writes.
    pub fresh_waits: Vec<Wait>,
}

/// Why a commit was refused. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The work was done by somebody else, given up, or handed on; or the operation on many runs has ended or was carried on.
    #[error("the work was replaced")]
    FenceLost,
    /// A wait was used up or given up.
    #[error("the wait is gone")]
    WaitGone,
    /// The run has changed since, or has ended: read it again and decide again.
    #[error("the run has changed")]
    RunChanged,
    /// The functions have changed since: route again.
    #[error("the functions have changed")]
    FunctionsChanged,
    /// Somebody else waits for this signal.
    #[error("another run waits for this signal")]
    SignalTaken,
    /// A request of this actor has been made before with the same key: what it has led to, unless it asked for something else.
    #[error("a request with this key was made before")]
    Requested(Option<Json>),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] crate::Error),
}

impl Commit {
    /// The environment in which this changes something that people see; none when it does not.
    pub fn changed_env(&self) -> Option<EnvId> {
        let run = self.run.as_ref().map(|run| run.env);
        run.or_else(|| self.events.first().map(|event| event.env))
            .or_else(|| self.runs.first().map(|run| run.env))
            .or_else(|| self.steps.first().map(|step| step.env))
            .or_else(|| self.failed_attempts.first().map(|failed| failed.env))
            .or(match &self.bulk {
                Some(BulkChange::Begin(new)) => Some(new.env),
                Some(BulkChange::Step(step)) => Some(step.env),
                None => None,
            })
    }

    /// Roughly how many rows this writes.
    pub(crate) fn rows(&self) -> usize {
        let of_run = |run: &NewRun| 1 + run.work.len() + run.waits.len();
        let events: usize = self
            .events
            .iter()
            .map(|event| 1 + event.runs.iter().map(of_run).sum::<usize>())
            .sum();
        events
            + self.runs.iter().map(of_run).sum::<usize>()
            + self.steps.len()
            + self.work.len()
            + self.waits.len()
            + self.look_again.len()
            + self.match_again.len()
            + self.edited_events.len()
            + usize::from(self.request.is_some())
            + 2
    }
}
