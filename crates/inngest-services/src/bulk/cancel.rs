//! Cancelling many runs.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use inngest_core::{
    access::Actor,
    app::Function,
    bulk::{BULK_CANCELLATION, BulkKind, BulkOperation, BulkProgress, BulkStatus, Selection},
    ids::{BulkId, EnvId, OrgId, RunId},
    job::Work,
    page::{Direction, PageRequest},
    pause::Pause,
    run::{
        Run, RunStatus,
        decide::{Decision, Effect, Ending, Fate},
    },
    time::Timestamp,
};
use inngest_state::{BulkStep, NewBulk, Writers, fail_point};
use tracing::info;

use super::{
    Round,
    portion::{PORTION, after, filter_of, place_of, portion},
};
use crate::{
    Error, Kind,
    engine::Engine,
    record::{Record, Recorded},
};

/// Runs that are cancelled at once.
const AT_ONCE: usize = 64;
/// How often it is looked for new runs while the window is open.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Where others write to the same database, a run can become visible after one that was queued later, but not so much later.
const SETTLES: Duration = Duration::from_secs(5);

/// What came of one run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was cancelled, or had ended already.
    Ended,
    Failed,
    /// The operation has ended.
    Stopped,
}

/// How a run ends that is cancelled together with others.
fn reason_of(id: BulkId) -> String {
    format!("{BULK_CANCELLATION}{id}")
}

impl Engine {
    /// Cancels the next runs of a selection.
    pub(super) async fn cancel_portion(
        &self,
        work: &Work,
        operation: &BulkOperation,
    ) -> Result<Round, Error> {
        let now = self.clock.now();
        let selection = &operation.selection;
        let mut step = BulkStep::new(work.env, operation.id);
        if operation.status == BulkStatus::Pending {
            step.total = self.count_selected(work.env, selection).await?;
            return self.more(work, step).await;
        }
        let actor = Actor::system(work.org, work.env);
        let filter = filter_of(selection, now);
        let runs = portion(self, &actor, selection, &filter, Direction::Ascending);
        let request = PageRequest::new(PORTION, operation.position.map(after));
        let (page, goes_on) = runs.read(&request).await?;
        let mut cancelling = Vec::with_capacity(page.len());
        for run in &page {
            let one = self.cancel_one(work.env, operation, run);
            cancelling.push(async { Ok((run.id, one.await?)) });
        }
        // Those that were begun are finished, also when one fails.
        let outcomes: Vec<Result<(RunId, Outcome), Error>> = stream::iter(cancelling)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        fail_point!("bulk::cancelled");
        let outcomes: Vec<(RunId, Outcome)> = outcomes.into_iter().collect::<Result<_, _>>()?;
        if outcomes.iter().any(|(_, it)| *it == Outcome::Stopped) {
            return Ok(Round::Gone);
        }
        // What may have been passed over is looked at again; of what was cancelled nothing is left there.
        let settled = now.minus(self.settles());
        let position = match &goes_on {
            Some(cursor) => place_of(cursor)?,
            None => page.last().map(|run| run.id),
        };
        step.position = position.filter(|run| run.scheduled_at() < settled);
        // One that failed and is looked at again may be cancelled then.
        let is_passed = |run: &RunId| step.position.is_some_and(|position| *run <= position);
        let failed = outcomes
            .iter()
            .filter(|(run, it)| *it == Outcome::Failed && is_passed(run));
        step.failed = failed.count() as u64;
        if goes_on.is_some() && (step.position.is_some() || !page.is_empty()) {
            return self.more(work, step).await;
        }
        if selection.until > settled {
            let closes = selection.until.plus(self.settles());
            let look_again = closes
                .plus(Duration::from_millis(1))
                .min(now.plus(LOOK_AGAIN));
            // Nothing is written while nothing comes.
            let goes_on = step.position.is_none() || self.note_step(work, step).await?;
            return Ok(match goes_on {
                true => Round::Later(look_again),
                false => Round::Gone,
            });
        }
        // Each number was committed with what it counts, maybe by somebody who has had this job before.
        let found = self.store.find_any_bulk(work.env, operation.id).await?;
        let progress = found.map_or(operation.progress, |found| found.progress);
        let done = progress.processed() + step.failed;
        if selection.search.is_none() {
            // Those that ended by themselves before it was their turn needed nothing.
            step.skipped = progress.total.unwrap_or(0).saturating_sub(done);
        }
        // With a search it was not known before how many match.
        step.total = Some(done + step.skipped);
        step.ends = Some((BulkStatus::Completed, now));
        if !self.note_step(work, step).await? {
            return Ok(Round::Gone);
        }
        let cancelled = progress.succeeded;
        info!(bulk.id = %operation.id, env.id = %work.env, runs = cancelled, "bulk cancellation completed");
        Ok(Round::Ended)
    }

    fn settles(&self) -> Duration {
        match self.store.writers() {
            Writers::One => Duration::ZERO,
            Writers::Several => SETTLES,
        }
    }

    async fn cancel_one(
        &self,
        env: EnvId,
        operation: &BulkOperation,
        run: &Run,
    ) -> Result<Outcome, Error> {
        match self.try_cancel_one(env, operation, run).await {
            Err(error) if error.kind() == Kind::Internal => {
                tracing::warn!(run.id = %run.id, bulk.id = %operation.id, error = %error, "a run could not be cancelled");
                Ok(Outcome::Failed)
            }
            outcome => outcome,
        }
    }

    async fn try_cancel_one(
        &self,
        env: EnvId,
        operation: &BulkOperation,
        run: &Run,
    ) -> Result<Outcome, Error> {
        let Some(loaded) = self.registries.function(env, run.function).await? else {
            return Ok(Outcome::Failed);
        };
        let cell = self.cells.get(run.id);
        let record = Record {
            run: run.id,
            loaded: &loaded,
            work: None,
            goes_on: false,
            claims: Vec::new(),
            request_made: None,
            response: None,
            since: self.clock.now(),
        };
        let step = BulkStep {
            succeeded: 1,
            ..BulkStep::new(env, operation.id)
        };
        let ending = Ending::Cancelled {
            reason: reason_of(operation.id),
            by: Some(operation.by.clone()),
        };
        let decide = |_: &_, _| Decision {
            effects: vec![Effect::Finish(ending.clone())],
            fate: Fate::Done,
        };
        let recorded = self.record_with(env, &cell, record, Some(step), decide);
        Ok(match recorded.await? {
            Recorded::Done { next, .. } => {
                self.schedule(&next).await;
                Outcome::Ended
            }
            Recorded::Ended => Outcome::Ended,
            Recorded::Replaced => Outcome::Stopped,
        })
    }

    /// The cancellation of all runs of a function that a pause cancels.
    pub(crate) fn cancellation_of_all(
        &self,
        org: OrgId,
        env: EnvId,
        function: &Function,
        pause: &Pause,
    ) -> NewBulk {
        let operation = BulkOperation {
            id: self.ids.bulk(pause.at),
            kind: BulkKind::Cancellation,
            name: Some(
                format!("pause of {}", function.name)
                    .chars()
                    .take(64)
                    .collect(),
            ),
            by: pause.by.clone(),
            created_at: pause.at,
            selection: Selection {
                functions: vec![function.id],
                from: Timestamp::default(),
                // Until the pause is stored.
                until: pause.at,
                statuses: vec![RunStatus::Queued, RunStatus::Running],
                search: None,
            },
            rate: None,
            status: BulkStatus::Pending,
            progress: BulkProgress::default(),
            position: None,
            ended_at: None,
        };
        NewBulk {
            org,
            env,
            operation,
        }
    }
}
