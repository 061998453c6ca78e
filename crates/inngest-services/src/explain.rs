//! Why a run is where it is.

use std::collections::HashMap;

use inngest_core::{
    access::Actor,
    app::Function,
    ids::{FunctionId, RunId, StepId, WorkId},
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
    /// `fetching`, `scheduled`, `paused`, `ended`.
    pub code: &'static str,
    /// A sentence for people.
    pub text: String,
    /// When it will move at the latest.
    pub until: Option<Timestamp>,
    /// The step that this is about; none for the run itself.
    pub step: Option<StepId>,
}

/// What an unfinished run is doing, the busiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Activity {
    /// A request to the app is under way.
    Executing,
    /// Waiting for the next attempt.
    Retrying,
    /// Waiting in the queue without a known obstacle.
    Queued,
    /// Held because the function is paused.
    Paused,
    /// Waiting for an invoked run.
    Invoking,
    /// Waiting for a signal.
    WaitingForSignal,
    /// Waiting for an event.
    WaitingForEvent,
    /// All branches sleep.
    Sleeping,
}

impl Activity {
    /// The busiest of what is said about a run; none after its end.
    pub fn of(reasons: &[Reason]) -> Option<Self> {
        reasons.iter().filter_map(Reason::activity).min()
    }
}

impl Reason {
    /// What the branch that this is about is doing.
    pub fn activity(&self) -> Option<Activity> {
        match self.code {
            "calling_app" | "fetching" => Some(Activity::Executing),
            "retrying" => Some(Activity::Retrying),
            "queued" | "scheduled" => Some(Activity::Queued),
            "paused" => Some(Activity::Paused),
            "waiting_for_run" => Some(Activity::Invoking),
            "waiting_for_signal" => Some(Activity::WaitingForSignal),
            "waiting_for_event" => Some(Activity::WaitingForEvent),
            "sleeping" => Some(Activity::Sleeping),
            _ => None,
        }
    }
}

/// What the schedule knows of runs.
struct ScheduleOf {
    state: ScheduleState,
    places: HashMap<WorkId, EntryPlace>,
    /// How their functions do, as far as something of them waits for a worker.
    functions: HashMap<FunctionId, PartitionStats>,
}

impl ScheduleOf {
    /// What keeps work that is due from being done.
    fn obstacle(&self, work: &Work, at: &str) -> String {
        match (self.state, self.functions.get(&work.function)) {
            (ScheduleState::Unreachable, _) => {
                format!("it waits{at} because the schedule does not answer")
            }
            (ScheduleState::Lost | ScheduleState::Closed, _) => {
                format!("it waits{at} until the schedule has been rebuilt")
            }
            (ScheduleState::Whole | ScheduleState::Filling, Some(function))
                if self.places.contains_key(&work.id) =>
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
        let mut found = self.explain_many(actor, &[id]).await?;
        found.remove(&id).ok_or_else(|| Error::no_run(id))
    }

    /// [`Runs::explain`] for several runs; unknown and foreign ids are left out. Costs three statements and two questions to the schedule,
    /// however many runs there are.
    pub async fn explain_many(
        &self,
        actor: &Actor,
        ids: &[RunId],
    ) -> Result<HashMap<RunId, Vec<Reason>>, Error> {
        let mut found: HashMap<RunId, Vec<Reason>> = HashMap::new();
        let mut open: Vec<RunId> = Vec::new();
        for (id, run) in self.get_many(actor, ids).await? {
            found.insert(id, ended(&run).into_iter().collect());
            if !run.status.is_ended() {
                open.push(id);
            }
        }
        if open.is_empty() {
            return Ok(found);
        }
        let store = &self.0.store;
        let heads = store.step_heads_of_runs(actor.env, &open).await?;
        let names: HashMap<(RunId, StepId), (String, StepKind)> = heads
            .into_iter()
            .map(|head| ((head.run, head.step), (head.name, head.kind)))
            .collect();
        let work = store.work_of_runs(actor.env, &open).await?;
        let schedule = self.schedule_of(&work).await;
        let ends = self.ends_of_pauses(actor, &work).await?;
        let now = self.0.clock.now();
        for work in &work {
            let Some(run) = work.run else { continue };
            let names = names_of(run, work, &names);
            let is_called = self.0.cells.call_since(run, work.id).is_some();
            let reason = match work.is_held() {
                true => Some(held_back(work, &names.0, ends.get(&work.function).copied())),
                false => reason(work, is_called, names, &schedule, now),
            };
            if let Some(reasons) = found.get_mut(&run) {
                reasons.extend(reason);
            }
        }
        for reasons in found.values_mut().filter(|reasons| reasons.is_empty()) {
            reasons.push(Reason {
                code: "queued",
                text: "its next step is about to be scheduled".to_owned(),
                until: None,
                step: None,
            });
        }
        Ok(found)
    }

    /// When the pauses end by themselves that hold back some of this work.
    async fn ends_of_pauses(
        &self,
        actor: &Actor,
        work: &[Work],
    ) -> Result<HashMap<FunctionId, Timestamp>, Error> {
        let held = work.iter().filter(|work| work.is_held());
        let mut functions: Vec<FunctionId> = held.map(|work| work.function).collect();
        functions.sort_unstable();
        functions.dedup();
        if functions.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.0.store.find_functions(actor.env, &functions).await?;
        let end = |function: Function| Some((function.id, function.pause?.resumes_at?));
        Ok(found.into_iter().filter_map(end).collect())
    }

    /// What the schedule says of the work of runs. Where it does not answer its state says so.
    async fn schedule_of(&self, work: &[Work]) -> ScheduleOf {
        let queue = &self.0.queue;
        let ids: Vec<WorkId> = work.iter().map(|work| work.id).collect();
        let places = queue.places(&ids).await.unwrap_or_default();
        let waits = |work: &&Work| places.get(&work.id) == Some(&EntryPlace::Waiting);
        let mut waiting: Vec<FunctionId> = work
            .iter()
            .filter(waits)
            .map(|work| work.function)
            .collect();
        waiting.sort_unstable();
        waiting.dedup();
        let functions = match waiting.is_empty() {
            true => Vec::new(),
            false => queue.partitions_of(&waiting).await.unwrap_or_default(),
        };
        ScheduleOf {
            state: queue.state(),
            places,
            functions: functions
                .into_iter()
                .map(|stats| (stats.function, stats))
                .collect(),
        }
    }
}

/// What there is to say of a run that has ended.
fn ended(run: &Run) -> Option<Reason> {
    run.status.is_ended().then(|| Reason {
        code: "ended",
        text: format!("the run has ended: {:?}", run.status).to_lowercase(),
        until: None,
        step: None,
    })
}

fn names_of(
    run: RunId,
    work: &Work,
    names: &HashMap<(RunId, StepId), (String, StepKind)>,
) -> (String, Option<StepKind>) {
    let step = work.step.clone();
    let found = step.and_then(|step| names.get(&(run, step)));
    found.map_or_else(
        || (String::new(), None),
        |(name, kind)| (format!(" in step `{name}`"), Some(*kind)),
    )
}

/// Why work is not done that a pause holds back.
fn held_back(work: &Work, at: &str, resumes_at: Option<Timestamp>) -> Reason {
    let ending = match resumes_at {
        Some(time) => format!("at {time} at the latest"),
        None => "when somebody resumes it".to_owned(),
    };
    Reason {
        code: "paused",
        text: format!("its function is paused; it goes on{at} {ending}"),
        until: resumes_at,
        step: work.step.clone(),
    }
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
        JobKind::Discover | JobKind::RunStep => ("queued", schedule.obstacle(work, &at), None),
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
        JobKind::Fetch => ("queued", schedule.obstacle(work, &at), None),
        JobKind::Resume | JobKind::Cancel => {
            let text = format!("what it waited for has come{at}");
            ("queued", text, None)
        }
        JobKind::StartTimeout
        | JobKind::FinishTimeout
        | JobKind::Cron
        | JobKind::Release
        | JobKind::EndPause
        | JobKind::Bulk => return None,
    };
    Some(Reason {
        code,
        text,
        until,
        step: work.step.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_does_what_its_busiest_branch_does() {
        let reasons = |codes: &[&'static str]| {
            codes
                .iter()
                .map(|code| Reason {
                    code,
                    text: String::new(),
                    until: None,
                    step: None,
                })
                .collect::<Vec<_>>()
        };
        for (codes, expected) in [
            (
                &["sleeping", "waiting_for_event"][..],
                Some(Activity::WaitingForEvent),
            ),
            (&["sleeping"], Some(Activity::Sleeping)),
            (&["sleeping", "calling_app"], Some(Activity::Executing)),
            (&["retrying", "queued"], Some(Activity::Retrying)),
            (&["sleeping", "paused"], Some(Activity::Paused)),
            (&["ended"], None),
            (&[], None),
        ] {
            assert_eq!(Activity::of(&reasons(codes)), expected, "{codes:?}");
        }
    }
}
