//! Why a run is where it is.

use std::collections::{BTreeMap, HashMap};

use inngest_core::{
    access::Actor,
    ids::{RunId, StepId, WorkId},
    job::{JobKind, Work},
    run::{Run, StepKind},
    time::Timestamp,
};
use inngest_queue::model::{EntryPlace, PartitionStats, ScheduleState};

use crate::{Error, runs::Runs};

/// Why a run is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Stable word: `calling_app`, `queued`, `retrying`, `sleeping`, `waiting_for_event`, `waiting_for_run`, `waiting_for_signal`,
    /// `fetching`, `scheduled`, `ended`.
    pub code: &'static str,
    /// A sentence for people.
    pub text: String,
    /// When it will move at the latest.
    pub until: Option<Timestamp>,
    /// The step that this is about; none for the run itself.
    pub step: Option<StepId>,
}

/// What the schedule knows of a run.
struct ScheduleOf {
    state: ScheduleState,
    places: HashMap<WorkId, EntryPlace>,
    /// How its function does; none when nothing of the run waits for a worker.
    function: Option<PartitionStats>,
}

impl ScheduleOf {
    /// What keeps work that is due from being done.
    fn obstacle(&self, work: WorkId, at: &str) -> String {
        match (self.state, &self.function) {
            (ScheduleState::Unreachable, _) => {
                format!("it waits{at} because the schedule does not answer")
            }
            (ScheduleState::Lost | ScheduleState::Closed, _) => {
                format!("it waits{at} until the schedule has been rebuilt")
            }
            (ScheduleState::Whole | ScheduleState::Filling, Some(function))
                if self.places.contains_key(&work) =>
            {
                let due = function.ready + function.backlog;
                let leased = function.leased;
                format!(
                    "it waits for a free worker{at} (of its function: {due} due, {leased} under way)"
                )
            }
            (ScheduleState::Whole | ScheduleState::Filling, _) => {
                format!("it is about to be scheduled{at}")
            }
        }
    }
}

impl Runs<'_> {
    /// Why a run is not moving, or what it is doing. Never empty.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is not this actor's.
    pub async fn explain(&self, actor: &Actor, id: RunId) -> Result<Vec<Reason>, Error> {
        let run = self.get(actor, id).await?;
        if run.status.is_ended() {
            let text = format!("the run has ended: {:?}", run.status).to_lowercase();
            return Ok(vec![Reason {
                code: "ended",
                text,
                until: None,
                step: None,
            }]);
        }
        let steps = self.0.store.steps_of_runs(actor.env, &[id]).await?;
        let names: BTreeMap<StepId, (String, StepKind)> = steps
            .into_iter()
            .map(|step| (step.step, (step.name, step.kind)))
            .collect();
        let work = self.0.store.work_of_run(actor.env, id).await?;
        let schedule = self.schedule_of(&run, &work).await;
        let now = self.0.clock.now();
        let mut reasons: Vec<Reason> = work
            .iter()
            .filter_map(|work| {
                let is_called = self.0.cells.call_since(id, work.id).is_some();
                reason(work, is_called, names_of(work, &names), &schedule, now)
            })
            .collect();
        if reasons.is_empty() {
            reasons.push(Reason {
                code: "queued",
                text: "its next step is about to be scheduled".to_owned(),
                until: None,
                step: None,
            });
        }
        Ok(reasons)
    }

    /// What the schedule says of the work of a run. Where it does not answer its state says so.
    async fn schedule_of(&self, run: &Run, work: &[Work]) -> ScheduleOf {
        let queue = &self.0.queue;
        let ids: Vec<WorkId> = work.iter().map(|work| work.id).collect();
        let places = queue.places(&ids).await.unwrap_or_default();
        let waits = places.values().any(|place| *place == EntryPlace::Waiting);
        let function = if waits {
            let found = queue.partitions_of(&[run.function]).await;
            found.ok().and_then(|found| found.into_iter().next())
        } else {
            None
        };
        ScheduleOf {
            state: queue.state(),
            places,
            function,
        }
    }
}

fn names_of(
    work: &Work,
    names: &BTreeMap<StepId, (String, StepKind)>,
) -> (String, Option<StepKind>) {
    let found = work.step.as_ref().and_then(|step| names.get(step));
    found.map_or_else(
        || (String::new(), None),
        |(name, kind)| (format!(" in step `{name}`"), Some(*kind)),
    )
}

/// Why a piece of work is not done yet; none for what is no part of the run's way.
fn reason(
    work: &Work,
    is_called: bool,
    (at, kind): (String, Option<StepKind>),
    schedule: &ScheduleOf,
    now: Timestamp,
) -> Option<Reason> {
    // Another process may be calling; the schedule knows that it holds the work.
    let is_held = is_called || schedule.places.get(&work.id) == Some(&EntryPlace::Leased);
    let due = work.due_at;
    let (code, text, until) = match work.kind {
        JobKind::Discover | JobKind::RunStep if is_held => {
            let attempt = work.attempt + 1;
            let text = format!("the app is being called{at}, attempt {attempt}");
            ("calling_app", text, None)
        }
        JobKind::Discover | JobKind::RunStep if work.attempt > 0 && due > now => {
            let failed = work.attempt;
            let text = format!("attempt {failed} failed{at}; it is tried again at {due}");
            ("retrying", text, Some(due))
        }
        JobKind::Discover | JobKind::RunStep if due > now => {
            let text = format!("its event asks for a start at {due}");
            ("scheduled", text, Some(due))
        }
        JobKind::Discover | JobKind::RunStep => ("queued", schedule.obstacle(work.id, &at), None),
        JobKind::Wake => {
            let text = format!("it sleeps until {due}{at}");
            ("sleeping", text, Some(due))
        }
        JobKind::WaitTimeout => {
            let (code, what) = match kind {
                Some(StepKind::Invoke) => ("waiting_for_run", "the function that it invoked"),
                Some(StepKind::WaitForSignal) => ("waiting_for_signal", "a signal"),
                _ => ("waiting_for_event", "an event"),
            };
            let text = format!("it waits for {what}{at}, until {due} at the latest");
            (code, text, Some(due))
        }
        JobKind::Fetch if due > now => {
            let text = format!("a request of the server failed{at}; it is made again at {due}");
            ("retrying", text, Some(due))
        }
        JobKind::Fetch if is_held => {
            let text = format!("the server makes a request for it{at}");
            ("fetching", text, None)
        }
        JobKind::Fetch => ("queued", schedule.obstacle(work.id, &at), None),
        JobKind::Resume | JobKind::Cancel => {
            let text = format!("what it waited for has come{at}");
            ("queued", text, None)
        }
        JobKind::StartTimeout | JobKind::FinishTimeout | JobKind::Cron => return None,
    };
    Some(Reason {
        code,
        text,
        until,
        step: work.step.clone(),
    })
}
