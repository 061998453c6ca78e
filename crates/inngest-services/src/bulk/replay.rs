//! Starting many runs again.

use std::{collections::HashMap, time::Duration};

use inngest_core::{
    access::Actor,
    bulk::{BulkOperation, BulkStatus},
    event::Event,
    ids::EventId,
    job::Work,
    page::{Direction, PageRequest},
    run::{Run, progress::Progress},
    time::Timestamp,
};
use inngest_state::{BulkChange, BulkPlace, BulkStep, Commit, Fence, NewRun, Refused, fail_point};
use tracing::info;

use super::{
    Round,
    portion::{after, filter_of, place_of, portion},
};
use crate::{
    Error,
    engine::{Engine, TRIES},
    registry::Registry,
    route::{Cause, progress_of},
};

/// Runs of one portion, whose events are in memory together.
const PORTION: u32 = 50;

impl Engine {
    /// Starts the next runs again. They, and that they are, are one commit: so each is started once, whatever happens.
    pub(super) async fn replay_portion(
        &self,
        work: &Work,
        operation: &BulkOperation,
    ) -> Result<Round, Error> {
        let now = self.clock.now();
        let selection = &operation.selection;
        if operation.status == BulkStatus::Pending {
            let step = BulkStep {
                total: self.count_selected(work.env, selection).await?,
                ..BulkStep::new(work.env, operation.id)
            };
            return self.more(work, step).await;
        }
        let actor = Actor::system(work.org, work.env);
        let filter = filter_of(selection, now);
        let runs = portion(self, &actor, selection, &filter, Direction::Ascending);
        let limit = operation.rate.map_or(PORTION, |rate| rate.min(PORTION));
        let request = PageRequest::new(limit, operation.position.map(after));
        let (page, goes_on) = runs.read(&request).await?;
        let events = self.events_of_all(work, &page).await?;
        let position = match &goes_on {
            Some(cursor) => place_of(cursor)?,
            None => page.last().map(|run| run.id),
        };
        for _ in 0..TRIES {
            let registry = self.registries.get(work.env).await?;
            let (runs, drafts) = self.draft_again(work, operation, &registry, &page, &events);
            let (succeeded, looked_at) = (runs.len() as u64, page.len() as u64);
            let mut step = BulkStep {
                succeeded,
                failed: looked_at - succeeded,
                position,
                // Two who believe that they have this job start the runs once.
                from: BulkPlace::At(operation.position),
                ..BulkStep::new(work.env, operation.id)
            };
            if goes_on.is_none() {
                // With a search it was not known before how many match.
                step.total = Some(operation.progress.processed() + looked_at);
                step.ends = Some((BulkStatus::Completed, now));
            }
            let commit = Commit {
                fence: Some(Fence {
                    id: work.id,
                    epoch: work.epoch,
                    ends: step.ends.is_some(),
                }),
                functions_version: Some((work.env, registry.version)),
                runs,
                bulk: Some(BulkChange::Step(step)),
                ..Commit::default()
            };
            fail_point!("bulk::drafted");
            match self.commit(commit).await {
                Ok(committed) => {
                    fail_point!("bulk::replayed");
                    self.announce(&committed, drafts).await;
                    self.schedule(&committed.work).await;
                    return Ok(self.after_portion(operation, step, now));
                }
                Err(Refused::FunctionsChanged) => drop(self.registries.reload(work.env).await?),
                Err(Refused::Store(error)) => {
                    self.note_failed_commit(&error);
                    return Err(error.into());
                }
                Err(_) => return Ok(Round::Gone),
            }
        }
        Err(Error::Busy)
    }

    fn after_portion(&self, operation: &BulkOperation, step: BulkStep, now: Timestamp) -> Round {
        if step.ends.is_some() {
            let runs = operation.progress.succeeded + step.succeeded;
            info!(bulk.id = %operation.id, runs, "replay completed");
            return Round::Ended;
        }
        match operation.rate {
            Some(rate) => {
                let pause = Duration::from_secs(step.succeeded + step.failed) / rate.max(1);
                Round::Later(now.plus(pause))
            }
            None => Round::More,
        }
    }

    /// The events of these runs.
    async fn events_of_all(
        &self,
        work: &Work,
        runs: &[Run],
    ) -> Result<HashMap<EventId, Event>, Error> {
        let ids: Vec<EventId> = runs.iter().flat_map(|run| run.events.clone()).collect();
        let mut events = HashMap::new();
        for ids in ids.chunks(500) {
            let found = self.store.find_events(work.env, ids).await?;
            events.extend(found.into_iter().map(|event| (event.id, event)));
        }
        Ok(events)
    }

    /// The new runs, and what they will look like. A run whose function or first event is gone cannot be started again.
    fn draft_again(
        &self,
        work: &Work,
        operation: &BulkOperation,
        registry: &Registry,
        page: &[Run],
        events: &HashMap<EventId, Event>,
    ) -> (Vec<NewRun>, Vec<Progress>) {
        let now = self.clock.now();
        let mut runs = Vec::with_capacity(page.len());
        let mut drafts = Vec::with_capacity(page.len());
        for old in page {
            let known: Vec<&Event> = old.events.iter().filter_map(|id| events.get(id)).collect();
            let (Some(first), Some(loaded)) = (known.first(), registry.by_id(old.function)) else {
                continue;
            };
            let cause = Cause {
                original: Some(old.original.unwrap_or(old.id)),
                cron: old.cron.clone(),
                replay: Some(operation.id),
                by: Some(operation.by.clone()),
                ..Cause::default()
            };
            let draft = self.draft_run(work.org, work.env, loaded, first, cause, now);
            let run = NewRun {
                events: known.iter().map(|event| event.id).collect(),
                ..draft
            };
            let bodies = known.iter().map(|event| (event.id, event.body.clone()));
            drafts.push(progress_of(&run, bodies.collect()));
            runs.push(run);
        }
        (runs, drafts)
    }
}
