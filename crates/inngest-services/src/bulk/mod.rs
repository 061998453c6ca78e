//! Operations on many runs: asked for with one request, carried out in the background in portions, by whichever process has their job.
//!
//! An operation is a row with what it matches, what has come of it so far, and the run up to which it has gone; its job is a row of
//! work. What is done to a run, or to a portion of them, is committed together with the number that it adds, and not at all when
//! the operation has ended. So a kill at any moment neither loses nor doubles anything, and whoever takes the job over goes on.

mod cancel;
mod portion;
mod replay;
mod views;
mod watch;

use std::collections::HashMap;

use inngest_core::{
    access::{Actor, Scope},
    bulk::{BulkKind, BulkOperation, BulkProgress, BulkStatus, Selection},
    expr::{Program, SearchOver, SearchRoot},
    ids::{BulkId, EnvId, FunctionId, WorkId},
    job::{JobKind, Work},
    json::Json,
    limits,
    page::{COUNT_CAP, Count, Direction, Page, PageRequest},
    run::{Run, RunStatus},
    time::Timestamp,
};
use inngest_queue::model::Verdict;
use inngest_state::{BulkChange, BulkFilter, BulkStep, Commit, Fence, NewBulk, Refused};

pub use views::{BulkView, FunctionNames};

use self::portion::{PORTION, filter_of, portion};
use crate::{
    Error,
    engine::{Engine, Shared},
    lists::bounded,
    requests::{RequestKey, answered, read_id},
};

/// Portions after which the job is given back, so that others have their turn.
const PORTIONS: usize = 25;
/// Runs of a preview that are shown.
const SAMPLE: usize = 10;

/// Operations on many runs. Made by `Services::bulk`.
pub struct Bulk<'a>(pub(crate) &'a Shared);

/// Which runs, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BulkRequest {
    /// Of any of these functions, at least one.
    pub functions: Vec<FunctionId>,
    /// Queued at or after.
    pub from: Timestamp,
    /// Queued before; now when it is none.
    pub until: Option<Timestamp>,
    /// In any of these states; those that the operation is usually about when it is none.
    pub statuses: Option<Vec<RunStatus>>,
    /// A search over runs.
    pub search: Option<String>,
    /// What people call it.
    pub name: Option<String>,
    /// Runs that a replay starts in a second at most; none for as fast as they can be stored.
    pub rate: Option<u32>,
}

/// What an operation would touch.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// How many runs.
    pub total: Count,
    /// The states of those that were counted.
    pub statuses: Vec<RunStatus>,
    /// Some of them, the newest.
    pub sample: Vec<Run>,
}

impl Bulk<'_> {
    /// Cancels all runs that match and have not ended. Where the window reaches into the time to come, runs that are queued until its
    /// end are cancelled as well, within a second. A second request with the same key gets the operation of the first.
    ///
    /// # Errors
    /// `NotFound` for a function that is none of the environment's; `Invalid` or `Malformed` for what cannot be asked;
    /// `too_many_bulk_operations`; `Conflict` with `idempotency_key_reused`.
    pub async fn cancel(
        &self,
        actor: &Actor,
        request: BulkRequest,
        key: Option<RequestKey>,
    ) -> Result<BulkOperation, Error> {
        self.begin(actor, BulkKind::Cancellation, request, key)
            .await
    }

    /// Starts a new run for each run that matches and has ended, with the same events and by the version of its function that is in
    /// force. Only runs that were queued before now are looked at. A second request with the same key gets the operation of the first.
    ///
    /// # Errors
    /// As of [`Bulk::cancel`]; `replay_rate_invalid`.
    pub async fn replay(
        &self,
        actor: &Actor,
        request: BulkRequest,
        key: Option<RequestKey>,
    ) -> Result<BulkOperation, Error> {
        let now = self.0.clock.now();
        let until = request.until.map_or(now, |until| until.min(now));
        let request = BulkRequest {
            until: Some(until),
            ..request
        };
        self.begin(actor, BulkKind::Replay, request, key).await
    }

    /// Ends an operation: what it has not done yet is not done any more. One that has ended stays as it is.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn stop(
        &self,
        actor: &Actor,
        kind: BulkKind,
        id: BulkId,
    ) -> Result<BulkOperation, Error> {
        actor.require(Scope::RunsWrite)?;
        let operation = self.get(actor, kind, id).await?;
        if operation.status.is_ended() {
            return Ok(operation);
        }
        let now = self.0.clock.now();
        self.0.store.stop_bulk(actor.env, kind, id, now).await?;
        self.0.live.publish(actor.env);
        self.get(actor, kind, id).await
    }

    /// One operation.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is not this actor's.
    pub async fn get(
        &self,
        actor: &Actor,
        kind: BulkKind,
        id: BulkId,
    ) -> Result<BulkOperation, Error> {
        actor.require(Scope::RunsRead)?;
        let found = self.0.store.find_bulk(actor.env, kind, id).await?;
        found.ok_or_else(|| no_operation(kind, id))
    }

    /// Operations by id; unknown and foreign ids are left out.
    pub async fn get_many(
        &self,
        actor: &Actor,
        kind: BulkKind,
        ids: &[BulkId],
    ) -> Result<HashMap<BulkId, BulkOperation>, Error> {
        actor.require(Scope::RunsRead)?;
        let found = self.0.store.find_bulks(actor.env, kind, ids).await?;
        Ok(found.into_iter().map(|found| (found.id, found)).collect())
    }

    /// One page of operations, newest first.
    ///
    /// # Errors
    /// `invalid_cursor`, and `filter_too_long` for more than 500 values in a part of the filter.
    pub async fn list(
        &self,
        actor: &Actor,
        filter: &BulkFilter,
        request: &PageRequest,
    ) -> Result<Page<BulkOperation>, Error> {
        actor.require(Scope::RunsRead)?;
        bounded(filter.longest_list())?;
        Ok(self.0.store.list_bulk(actor.env, filter, request).await?)
    }

    /// How many operations a list has.
    ///
    /// # Errors
    /// `filter_too_long`, as for the list.
    pub async fn count(&self, actor: &Actor, filter: &BulkFilter) -> Result<Count, Error> {
        actor.require(Scope::RunsRead)?;
        bounded(filter.longest_list())?;
        Ok(self.0.store.count_bulk(actor.env, filter).await?)
    }

    /// What an operation with this request would touch now; without states, runs in any.
    ///
    /// # Errors
    /// As of the operation.
    pub async fn preview(&self, actor: &Actor, request: &BulkRequest) -> Result<Preview, Error> {
        actor.require(Scope::RunsRead)?;
        let engine = self.0;
        let now = engine.clock.now();
        let statuses = request.statuses.clone();
        let statuses = statuses.unwrap_or_else(|| RunStatus::ALL.to_vec());
        let selection = engine.check(actor, request, statuses, now).await?;
        let filter = filter_of(&selection, now);
        let mut preview = Preview {
            total: Count::capped(0),
            statuses: Vec::new(),
            sample: Vec::new(),
        };
        let began = tokio::time::Instant::now();
        let (mut from, mut is_exact) = (None, true);
        loop {
            let request = PageRequest::new(PORTION, from);
            let portion = portion(engine, actor, &selection, &filter, Direction::Descending);
            let (page, goes_on) = portion.read(&request).await?;
            let room = SAMPLE.saturating_sub(preview.sample.len());
            preview.statuses.extend(page.iter().map(|run| run.status));
            preview.sample.extend(page.into_iter().take(room));
            from = goes_on;
            if from.is_none() {
                break;
            }
            let is_enough = preview.statuses.len() as u64 >= COUNT_CAP;
            if is_enough || began.elapsed() >= PREVIEW_TIME {
                is_exact = false;
                break;
            }
        }
        preview
            .statuses
            .truncate(usize::try_from(COUNT_CAP).unwrap_or(usize::MAX));
        preview.total = Count {
            value: preview.statuses.len() as u64,
            is_exact,
        };
        Ok(preview)
    }

    async fn begin(
        &self,
        actor: &Actor,
        kind: BulkKind,
        request: BulkRequest,
        key: Option<RequestKey>,
    ) -> Result<BulkOperation, Error> {
        actor.require(Scope::RunsWrite)?;
        let engine = self.0;
        if let Some(result) = engine.find_answer(actor, key.as_ref()).await? {
            return self.get(actor, kind, read_id(&result)?).await;
        }
        let now = engine.clock.now();
        let statuses = statuses_of(kind, request.statuses.as_deref())?;
        let selection = engine.check(actor, &request, statuses, now).await?;
        engine.check_room_for_bulk(actor.env).await?;
        let operation = BulkOperation {
            id: engine.ids.bulk(now),
            kind,
            name: request.name,
            by: actor.author(),
            created_at: now,
            selection,
            rate: request.rate,
            status: BulkStatus::Pending,
            progress: BulkProgress::default(),
            position: None,
            ended_at: None,
        };
        let id = operation.id;
        let new = NewBulk {
            org: actor.org,
            env: actor.env,
            operation: operation.clone(),
        };
        let commit = Commit {
            work: vec![work_of(&new)],
            bulk: Some(BulkChange::Begin(Box::new(new))),
            request: key
                .as_ref()
                .map(|key| key.remember(actor, Json::string(&id.to_string()), now)),
            ..Commit::default()
        };
        match engine.commit(commit).await {
            Ok(committed) => {
                engine.schedule(&committed.work).await;
                Ok(operation)
            }
            Err(Refused::Requested(result)) => {
                self.get(actor, kind, read_id(&answered(key.as_ref(), result)?)?)
                    .await
            }
            Err(Refused::Store(error)) => {
                engine.note_failed_commit(&error);
                Err(error.into())
            }
            Err(refused) => Err(Error::Internal {
                what: refused.to_string(),
            }),
        }
    }
}

/// How long a preview goes on counting.
const PREVIEW_TIME: std::time::Duration = std::time::Duration::from_secs(3);

fn no_operation(kind: BulkKind, id: BulkId) -> Error {
    Error::NotFound {
        what: match kind {
            BulkKind::Cancellation => "cancellation",
            BulkKind::Replay => "replay",
        },
        id: id.to_string(),
    }
}

fn wrong_number_of_functions(count: usize) -> Error {
    let most = limits::BULK_FUNCTIONS;
    Error::Invalid {
        code: "functions_needed",
        message: format!("an operation names 1 to {most} functions, this one {count}"),
    }
}

/// The states that an operation is about.
fn statuses_of(kind: BulkKind, asked: Option<&[RunStatus]>) -> Result<Vec<RunStatus>, Error> {
    let (possible, usual): (&[RunStatus], &[RunStatus]) = match kind {
        BulkKind::Cancellation => {
            let unended: &[RunStatus] = &[RunStatus::Queued, RunStatus::Running];
            (unended, unended)
        }
        BulkKind::Replay => (
            &[
                RunStatus::Completed,
                RunStatus::Failed,
                RunStatus::Cancelled,
                RunStatus::Skipped,
            ],
            &[RunStatus::Failed],
        ),
    };
    let asked = asked.unwrap_or(usual);
    match asked.iter().find(|status| !possible.contains(status)) {
        None if asked.is_empty() => Err(Error::Invalid {
            code: "statuses_needed",
            message: "a list of no states matches nothing; leave it out to have the usual ones"
                .to_owned(),
        }),
        None => Ok(asked.to_vec()),
        Some(status) => Err(Error::Invalid {
            code: "status_not_possible",
            message: format!("this cannot be done to runs in state {status:?}"),
        }),
    }
}

/// The job of an operation. It belongs to the first of its functions, among whose work it has its turn.
pub(crate) fn work_of(new: &NewBulk) -> Work {
    let operation = &new.operation;
    let functions = &operation.selection.functions;
    Work {
        id: WorkId::derive_for_bulk(operation.id),
        org: new.org,
        env: new.env,
        kind: JobKind::Bulk,
        function: functions
            .first()
            .copied()
            .unwrap_or(FunctionId::from_raw(uuid::Uuid::nil())),
        run: None,
        step: None,
        due_at: operation.created_at,
        rank: operation.created_at.as_millis(),
        attempt: 0,
        epoch: 1,
        payload: operation.id.to_string().into_bytes().into(),
    }
}

/// The operation of a job; none when its payload is not readable.
fn operation_of(work: &Work) -> Option<BulkId> {
    std::str::from_utf8(&work.payload).ok()?.parse().ok()
}

/// What came of a portion.
enum Round {
    /// There may be more.
    More,
    /// There is nothing more to do for now.
    Later(Timestamp),
    /// The operation has ended, and its job with it.
    Ended,
    /// The operation was ended by somebody, or somebody else has its job.
    Gone,
}

impl Engine {
    /// # Errors
    /// `too_many_bulk_operations`.
    pub(crate) async fn check_room_for_bulk(&self, env: EnvId) -> Result<(), Error> {
        let unended = self.store.count_unended_bulk(env).await?;
        if unended < limits::BULK_UNENDED {
            return Ok(());
        }
        Err(Error::OverLimit {
            code: "too_many_bulk_operations",
            what: "operations on many runs that have not ended",
            limit: limits::BULK_UNENDED,
            actual: unended + 1,
        })
    }

    /// Reads what is asked for, and refuses what cannot be.
    async fn check(
        &self,
        actor: &Actor,
        request: &BulkRequest,
        statuses: Vec<RunStatus>,
        now: Timestamp,
    ) -> Result<Selection, Error> {
        let invalid = |code, message: String| Err(Error::Invalid { code, message });
        let mut functions = request.functions.clone();
        functions.sort_unstable();
        functions.dedup();
        if functions.is_empty() || functions.len() > limits::BULK_FUNCTIONS {
            return Err(wrong_number_of_functions(functions.len()));
        }
        let name = request.name.as_ref().map_or(0, String::len);
        if name > limits::BULK_NAME_BYTES {
            let most = limits::BULK_NAME_BYTES;
            let message = format!("a name has at most {most} bytes, this one has {name}");
            return invalid("bulk_name_too_long", message);
        }
        if let Some(rate) = request.rate
            && !(1..=limits::REPLAY_RATE).contains(&rate)
        {
            let most = limits::REPLAY_RATE;
            let message = format!("a replay starts 1 to {most} runs in a second, not {rate}");
            return invalid("replay_rate_invalid", message);
        }
        let until = request.until.unwrap_or(now);
        if until <= request.from || until > now.plus(limits::BULK_AHEAD) {
            let message = "the window ends after it begins, and within 366 days from now";
            return invalid("bulk_window_invalid", message.to_owned());
        }
        if let Some(text) = &request.search {
            let program = Program::parse_search(text, SearchOver::Runs)?;
            if program.looks_at(SearchRoot::Event) {
                actor.require(Scope::EventsRead)?;
            }
        }
        let found = self.store.find_functions(actor.env, &functions).await?;
        let known = |id: &FunctionId| found.iter().any(|function| function.id == *id);
        if let Some(missing) = functions.iter().find(|id| !known(id)) {
            return Err(Error::NotFound {
                what: "function",
                id: missing.to_string(),
            });
        }
        Ok(Selection {
            functions,
            from: request.from,
            until,
            statuses,
            search: request.search.clone(),
        })
    }

    /// Goes on with an operation on many runs.
    pub(crate) async fn go_through(&self, work: &Work) -> Result<Verdict, Error> {
        let Some(id) = operation_of(work) else {
            return Err(Error::Internal {
                what: format!("work `{}` has an unreadable payload", work.id),
            });
        };
        for _ in 0..PORTIONS {
            let found = self.store.find_any_bulk(work.env, id).await?;
            let Some(operation) = found.filter(|operation| !operation.status.is_ended()) else {
                self.give_up(Some(work)).await;
                return Ok(Verdict::done());
            };
            let round = match operation.kind {
                BulkKind::Cancellation => self.cancel_portion(work, &operation).await?,
                BulkKind::Replay => self.replay_portion(work, &operation).await?,
            };
            match round {
                Round::More => {}
                Round::Later(due_at) => return Ok(again(work, due_at)),
                Round::Ended => return Ok(Verdict::done()),
                Round::Gone => {
                    let now = self.store.find_any_bulk(work.env, id).await?;
                    if now.is_none_or(|operation| operation.status.is_ended()) {
                        self.give_up(Some(work)).await;
                    }
                    return Ok(Verdict::done());
                }
            }
        }
        Ok(again(work, self.clock.now()))
    }

    /// Records how an operation goes on, if its job is still this one. `false` when it is not, or the operation has ended.
    async fn note_step(&self, work: &Work, step: BulkStep) -> Result<bool, Error> {
        let commit = Commit {
            fence: Some(Fence {
                id: work.id,
                epoch: work.epoch,
                ends: step.ends.is_some(),
            }),
            bulk: Some(BulkChange::Step(step)),
            ..Commit::default()
        };
        match self.commit(commit).await {
            Ok(_) => Ok(true),
            Err(Refused::Store(error)) => {
                self.note_failed_commit(&error);
                Err(error.into())
            }
            Err(_) => Ok(false),
        }
    }

    /// Records how an operation goes on that may have more to do.
    async fn more(&self, work: &Work, step: BulkStep) -> Result<Round, Error> {
        Ok(match self.note_step(work, step).await? {
            true => Round::More,
            false => Round::Gone,
        })
    }

    /// How many runs an operation has to look at; none when that are more than a list is counted for, which its end tells.
    async fn count_selected(
        &self,
        env: EnvId,
        selection: &Selection,
    ) -> Result<Option<u64>, Error> {
        let filter = filter_of(selection, self.clock.now());
        let count = self.store.count_runs(env, &filter).await?;
        Ok(count.is_exact.then_some(count.value))
    }

    /// Ends an operation that cannot go on, after its job has failed too often.
    pub(crate) async fn fail_bulk(&self, work: &Work) -> Result<(), Error> {
        if let Some(id) = operation_of(work) {
            let step = BulkStep {
                ends: Some((BulkStatus::Failed, self.clock.now())),
                ..BulkStep::new(work.env, id)
            };
            self.note_step(work, step).await?;
        }
        Ok(())
    }
}

/// The row stays as it is; only the schedule is told to come back.
fn again(work: &Work, due_at: Timestamp) -> Verdict {
    Verdict::RetryAt {
        work: Work {
            due_at,
            ..work.clone()
        },
    }
}
