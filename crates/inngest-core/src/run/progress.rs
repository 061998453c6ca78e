//! What the engine must know of a run to call its app and to understand the reply.

use std::collections::{HashMap, HashSet};

use crate::{
    ids::{AppId, EnvId, EventId, FunctionId, OrgId, RunId, StepId, WorkId},
    job::JobKind,
    json::Json,
    run::{RerunFrom, RunStatus, StepKind, StepStatus},
    time::Timestamp,
    trace_context::TraceParent,
};

/// A run in the middle of its life. Loaded from rows, or kept up to date by whoever writes
/// the effects of `decide`.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The tenant.
    pub org: OrgId,
    /// The environment.
    pub env: EnvId,
    /// The app.
    pub app: AppId,
    /// The function.
    pub function: FunctionId,
    /// The run.
    pub run: RunId,
    /// Counts the changes of the stored run; a change states the one it was decided under.
    pub revision: u64,
    /// Where the run is in its life.
    pub status: RunStatus,
    /// When its app was first called.
    pub started_at: Option<Timestamp>,
    /// The dialect of the app; -1 until its first reply.
    pub request_version: i32,
    /// Calls ask the app to plan steps instead of running the one it finds.
    pub force_plan: bool,
    /// Steps that have ended, in the order in which their results were stored.
    pub stack: Vec<StepId>,
    /// All steps that were ever reported.
    pub steps: HashMap<StepId, StepState>,
    /// Work that is outstanding, by kind and step.
    pub work: HashMap<WorkId, (JobKind, Option<StepId>)>,
    /// The name of the first trigger event.
    pub event_name: String,
    /// When the run was scheduled.
    pub queued_at: Timestamp,
    /// The trigger events, in order; never empty.
    pub events: Vec<(EventId, Json)>,
    /// Priority of the run in the schedule; see `Work::rank`.
    pub rank: i64,
    /// Who waits for the result.
    pub correlation: Option<String>,
    /// Where the run begins, when it repeats another one from a step.
    pub rerun: Option<RerunFrom>,
    /// Where in a trace it was scheduled.
    pub trace: Option<TraceParent>,
}

/// One step of a run in the middle of its life.
#[derive(Clone, Debug, PartialEq)]
pub struct StepState {
    /// The display name.
    pub name: String,
    /// What it does.
    pub kind: StepKind,
    /// Where it is in its life.
    pub status: StepStatus,
    /// The result that calls carry, once there is one.
    pub memo: Option<Json>,
    /// Steps reported together are a group; discovery waits for all of it.
    pub group: Option<u32>,
}

impl Progress {
    /// Bytes of trigger events and results together.
    pub fn state_bytes(&self) -> usize {
        let events: usize = self.events.iter().map(|(_, body)| body.len()).sum();
        let memos: usize = self
            .steps
            .values()
            .filter_map(|step| step.memo.as_ref())
            .map(Json::len)
            .sum();
        let input = self.rerun.as_ref().and_then(|rerun| rerun.input.as_ref());
        events + memos + input.map_or(0, Json::len)
    }

    /// A rough size in memory, for the bounds of a cache.
    pub fn weight(&self) -> usize {
        512 + self.state_bytes() + self.steps.len() * 256 + self.work.len() * 64
    }

    /// Whether calls must ask the app to plan: because the run is in a parallel part, or because a planned step is under way, which
    /// an app that runs steps as it finds them would run a second time.
    pub fn must_plan(&self) -> bool {
        self.force_plan
            || self
                .steps
                .values()
                .any(|step| step.kind == StepKind::Run && !step.status.is_ended())
    }

    /// Whether a step has ended.
    pub fn has_ended(&self, step: &StepId) -> bool {
        self.steps
            .get(step)
            .is_some_and(|state| state.status.is_ended())
    }

    /// The step that is given other arguments than its own, with these, until it has ended.
    pub fn edited(&self) -> Option<(&StepId, &Json)> {
        let rerun = self.rerun.as_ref()?;
        let input = rerun.input.as_ref()?;
        (!self.has_ended(&rerun.step)).then_some((&rerun.step, input))
    }

    /// Whether anything but `except` is outstanding, so that the run will move again by itself.
    pub fn is_waiting(&self, except: WorkId) -> bool {
        self.work.iter().any(|(id, (kind, _))| {
            *id != except && !matches!(kind, JobKind::StartTimeout | JobKind::FinishTimeout)
        })
    }

    /// Whether a discovery other than `except` is outstanding.
    pub fn has_discovery(&self, except: Option<WorkId>) -> bool {
        self.work
            .iter()
            .any(|(id, (kind, _))| *kind == JobKind::Discover && Some(*id) != except)
    }

    /// Steps of `group` that have not ended, without those in `ended`.
    pub fn pending_in(&self, group: u32, ended: &HashSet<StepId>) -> bool {
        self.steps.iter().any(|(id, step)| {
            step.group == Some(group) && !step.status.is_ended() && !ended.contains(id)
        })
    }
}
