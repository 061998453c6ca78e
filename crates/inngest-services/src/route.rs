//! From an event to the runs that it starts. One function, whichever door the event came through.

use std::{collections::HashMap, time::Duration};

use inngest_core::{
    access::Author,
    event::{self, Event},
    expr::{Program, Vars},
    ids::{BulkId, EnvId, EventId, OrgId, RunId, WaitId, WorkId},
    job::{JobKind, Work},
    json::Json,
    limits,
    run::{RerunFrom, RunStatus, SkipReason, progress::Progress},
    time::Timestamp,
    wait::{Condition, Wait, WaitKind},
};
use inngest_state::{Committed, NewEvent, NewRun};
use uuid::Uuid;

use crate::{
    engine::{Counters, Engine},
    registry::{Loaded, Registry},
    runs::FIRST_JOB,
    trace_context,
};

/// Why a run is started, besides the event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cause {
    /// Who waits for the result.
    pub(crate) correlation: Option<String>,
    /// The schedule whose tick this is.
    pub(crate) cron: Option<String>,
    /// The first run that this one repeats.
    pub(crate) original: Option<RunId>,
    /// Where it begins, when it does not begin at its start.
    pub(crate) rerun: Option<RerunFrom>,
    /// The replay that starts it.
    pub(crate) replay: Option<BulkId>,
    /// Who asks for it through an API.
    pub(crate) by: Option<Author>,
}

impl Engine {
    /// An event with the runs that it starts by the triggers of the environment's functions.
    pub(crate) fn route(
        &self,
        registry: &Registry,
        org: OrgId,
        env: EnvId,
        event: Event,
        may_exist: bool,
        now: Timestamp,
    ) -> NewEvent {
        let triggered =
            registry.triggered_by(&event.name, || event.body.to_value(), now.as_millis());
        let runs = triggered
            .iter()
            .map(|loaded| self.draft_run(org, env, loaded, &event, Cause::default(), now))
            .collect();
        NewEvent {
            org,
            env,
            event,
            may_exist,
            runs,
        }
    }

    /// A run of `loaded` for `event`, with its first work, its timeouts and its cancel rules.
    pub(crate) fn draft_run(
        &self,
        org: OrgId,
        env: EnvId,
        loaded: &Loaded,
        event: &Event,
        cause: Cause,
        now: Timestamp,
    ) -> NewRun {
        let function = &loaded.function;
        // Later than the id of its event, so that whoever sorts both sees the cause first.
        let id = self.ids.run(now.plus(Duration::from_millis(1)));
        let rank = now.as_millis();
        let work = |kind, label: &str, due_at| Work {
            id: WorkId::derive(id, label),
            org,
            env,
            kind,
            function: function.id,
            run: Some(id),
            step: None,
            due_at,
            rank,
            attempt: 0,
            epoch: 1,
            payload: bytes::Bytes::new(),
        };
        let starts_at = event.ts.max(now);
        let mut first = vec![work(JobKind::Discover, FIRST_JOB, starts_at)];
        if let Some(timeout) = loaded.config.timeouts.start {
            first.push(work(
                JobKind::StartTimeout,
                "timeout:start",
                now.plus(timeout),
            ));
        }
        let (keys, idempotency_key) = if cause.original.is_some() {
            (Vec::new(), None)
        } else {
            keys(loaded, event, &cause, now)
        };
        // A repetition is asked for by somebody who knows of the pause: it waits instead.
        let is_skipped = cause.original.is_none() && loaded.skips();
        let run = NewRun {
            org,
            env,
            id,
            app: function.app,
            function: function.id,
            function_version: function.version,
            status: RunStatus::Queued,
            skip_reason: None,
            events: vec![event.id],
            event_name: event.name.clone(),
            cron: cause.cron,
            original: cause.original,
            rerun: cause.rerun,
            replay: cause.replay,
            started_by: cause.by,
            idempotency_key,
            correlation: cause.correlation,
            trace: trace_context::current(),
            rank,
            queued_at: now,
            keys,
            work: first,
            otherwise: None,
            waits: self.cancel_waits(org, env, loaded, id, event, now),
        };
        if is_skipped {
            skipped(run, SkipReason::FunctionPaused)
        } else {
            run
        }
    }

    fn cancel_waits(
        &self,
        org: OrgId,
        env: EnvId,
        loaded: &Loaded,
        run: RunId,
        event: &Event,
        now: Timestamp,
    ) -> Vec<Wait> {
        if loaded.config.cancels.is_empty() {
            return Vec::new();
        }
        let trigger = event.body.to_value();
        let rules = loaded.config.cancels.iter().enumerate();
        rules
            .map(|(number, rule)| {
                let program = rule
                    .expression
                    .as_deref()
                    .and_then(|text| self.programs.get(text));
                let condition = Condition::of(program.as_ref(), &trigger);
                Wait {
                    id: WaitId::derive(run, &format!("cancel:{number}")),
                    org,
                    env,
                    kind: WaitKind::Cancel,
                    run,
                    function: loaded.function.id,
                    step: None,
                    rank: now.as_millis(),
                    event_name: Some(rule.event.clone()),
                    key_path: condition.key_path,
                    key_hash: condition.key_hash,
                    expression: program.as_ref().map(Program::text).map(str::to_owned),
                    bindings: condition.bindings,
                    trigger: event.id,
                    signal: None,
                    replaces: false,
                    since: now,
                    expires_at: now.plus(rule.timeout.unwrap_or(limits::WAIT_DEFAULT)),
                }
            })
            .collect()
    }

    /// Passes on what a commit has brought about: runs to the cells, waits to their second look.
    pub(crate) async fn announce(&self, committed: &Committed, drafts: Vec<Progress>) {
        Counters::add(&self.counters.runs_started, committed.started.len());
        self.second_look.note(committed, self.clock.now());
        for progress in drafts {
            if committed.started.contains(&progress.run) {
                self.cells.put(progress);
            }
        }
    }
}

/// What makes a second start of this function the same start; and the value of its idempotency expression as people see it.
pub(crate) fn keys(
    loaded: &Loaded,
    event: &Event,
    cause: &Cause,
    now: Timestamp,
) -> (Vec<(Uuid, Timestamp)>, Option<String>) {
    let until = now.plus(limits::IDEMPOTENCY_WINDOW);
    let mut keys = Vec::new();
    // An event without an id of its own is unique anyway; its row in `events` sees to that.
    if event.has_own_key() || cause.cron.is_some() {
        keys.push((key_hash("event", &event.key), until));
    }
    let Some(program) = &loaded.idempotency else {
        return (keys, None);
    };
    let body = event.body.to_value();
    let vars = Vars {
        event: Some(&body),
        incoming: None,
        now: Some(now.as_millis()),
        ..Vars::default()
    };
    let Ok(Some(key)) = program.key(&vars) else {
        return (keys, None);
    };
    keys.push((key_hash("function", &key), until));
    // Texts of Postgres hold no zero byte.
    let mut shown = key.replace('\0', "\u{fffd}");
    shown.truncate(shown.floor_char_boundary(limits::SHOWN_KEY_BYTES));
    (keys, Some(shown))
}

/// The record of a run that is never executed. It takes no key, so that a later start by the same key is no second one.
fn skipped(run: NewRun, reason: SkipReason) -> NewRun {
    NewRun {
        status: RunStatus::Skipped,
        skip_reason: Some(reason),
        keys: Vec::new(),
        idempotency_key: None,
        work: Vec::new(),
        waits: Vec::new(),
        ..run
    }
}

pub(crate) fn key_hash(kind: &str, key: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{kind}:{key}").as_bytes())
}

/// What new runs will look like once they are stored, so that their first call needs no read.
pub(crate) fn drafts_of<'a>(events: impl IntoIterator<Item = &'a NewEvent>) -> Vec<Progress> {
    events
        .into_iter()
        .flat_map(|new| {
            new.runs
                .iter()
                .filter(|run| !run.status.is_ended())
                .map(|run| progress_of(run, vec![(new.event.id, new.event.body.clone())]))
        })
        .collect()
}

/// What a new run will look like once it is stored.
pub(crate) fn progress_of(run: &NewRun, events: Vec<(EventId, Json)>) -> Progress {
    Progress {
        org: run.org,
        env: run.env,
        app: run.app,
        function: run.function,
        run: run.id,
        revision: 1,
        status: run.status,
        started_at: None,
        request_version: inngest_core::wire::call::VERSION_UNKNOWN,
        force_plan: false,
        stack: Vec::new(),
        steps: HashMap::new(),
        work: run
            .work
            .iter()
            .map(|work| (work.id, (work.kind, work.step.clone())))
            .collect(),
        event_name: run.event_name.clone(),
        queued_at: run.queued_at,
        events,
        rank: run.rank,
        correlation: run.correlation.clone(),
        rerun: run.rerun.clone(),
        trace: run.trace,
    }
}

/// Whether a run with this trigger tells others of its end. One that such an event started does not, or it would never stop.
pub(crate) fn tells_its_end(event_name: &str) -> bool {
    event_name != event::FUNCTION_FINISHED && event_name != event::FUNCTION_FAILED
}
