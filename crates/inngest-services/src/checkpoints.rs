//! Steps that an app reports by itself while it is being called.

use std::collections::HashSet;

use inngest_core::{
    access::{Actor, Scope},
    ids::{RunId, StepId, WorkId},
    job::Work,
    op::{Op, OpKind},
    run::{
        RunLimits, StepKind, StepStatus,
        decide::{Decision, Effect, Fate, Memo},
        progress::Progress,
    },
    wire::checkpoint::Checkpoint,
};
use inngest_state::fail_point;

use crate::{
    Error,
    engine::Engine,
    record::{Record, Recorded},
};

/// Reports of running apps. Made by `Services::checkpoints`.
pub struct Checkpoints<'a>(pub(crate) &'a Engine);

impl Checkpoints<'_> {
    /// Stores the steps that an app has finished. The call goes on; its reply then lists only what is new.
    ///
    /// # Errors
    /// `Stale` when the call was replaced by a newer one, or its run has ended: the app should stop. `Malformed` when the report names
    /// no work of this run. `TooLarge` when the run would exceed a limit.
    pub async fn report(
        &self,
        actor: &Actor,
        run: RunId,
        checkpoint: Checkpoint,
    ) -> Result<(), Error> {
        actor.require(Scope::Execute)?;
        let engine = self.0;
        let malformed = |message: &str| Error::Malformed {
            code: "invalid_checkpoint",
            message: message.to_owned(),
        };
        let id: WorkId = checkpoint
            .qi_id
            .parse()
            .map_err(|_| malformed("`qi_id` names no work of ours"))?;
        let work = engine
            .store
            .work_of_run(actor.env, run)
            .await?
            .into_iter()
            .find(|work| work.id == id);
        let Some(work) = work else {
            return Err(match engine.store.find_run(actor.env, run).await? {
                None => Error::no_run(run),
                Some(_) => Error::Stale { run },
            });
        };
        let cell = engine.cells.get(run);
        // A process that did not make the call itself knows its epoch only from the row, and from what the app says.
        let epoch = cell.call(id).map_or(work.epoch, |call| call.epoch);
        if checkpoint
            .generation
            .is_some_and(|generation| generation != epoch)
        {
            return Err(Error::Stale { run });
        }
        let Some(loaded) = engine.registries.function(actor.env, work.function).await? else {
            return Err(Error::Internal {
                what: "the function of a run cannot be read".to_owned(),
            });
        };
        let work = Work { epoch, ..work };
        let now = engine.clock.now();
        let record = Record {
            run,
            loaded: &loaded,
            work: Some(&work),
            goes_on: true,
            claims: Vec::new(),
            since: now,
            request_made: None,
            response: None,
        };
        let limits = engine.limits.of(actor.env, work.function);
        let mut saved = 0;
        let mut too_large = None;
        let recorded = engine
            .record(actor.env, &cell, record, |progress, _| {
                let mut effects = steps_of(&checkpoint.ops, |step| progress.has_ended(step));
                too_large = limit_exceeded(progress, &effects, limits);
                if too_large.is_some() {
                    effects.clear();
                }
                let is_end = |effect: &&Effect| matches!(effect, Effect::EndStep { .. });
                saved = effects.iter().filter(is_end).count();
                Decision {
                    effects,
                    fate: Fate::Done,
                }
            })
            .await?;
        if let Some(message) = too_large {
            return Err(Error::TooLarge {
                code: "checkpoint_too_large",
                message,
            });
        }
        match recorded {
            Recorded::Done {
                next, goes_on_with, ..
            } => {
                fail_point!("checkpoint::twice");
                cell.call_reported(id, saved);
                engine.schedule(&next).await;
                engine.schedule(goes_on_with.as_slice()).await;
                Ok(())
            }
            Recorded::Replaced | Recorded::Ended => Err(Error::Stale { run }),
        }
    }
}

/// Which limit the run would exceed with these steps. The same limits end a run whose reply exceeds them.
fn limit_exceeded(run: &Progress, effects: &[Effect], limits: RunLimits) -> Option<String> {
    let (mut steps, mut bytes) = (run.steps.len(), 0);
    for effect in effects {
        if let Effect::EndStep { step, memo, .. } = effect {
            steps += usize::from(!run.steps.contains_key(step));
            bytes += match memo {
                Memo::Data(data) | Memo::Verbatim(data) => data.len(),
                Memo::Null | Memo::Error(_) => 0,
            };
        }
    }
    let (most_steps, most_bytes) = (limits.steps, limits.state_bytes);
    if steps > most_steps {
        return Some(format!("the run would have more than {most_steps} steps"));
    }
    (bytes > 0 && run.state_bytes() + bytes > most_bytes)
        .then(|| format!("the state of the run would be larger than {most_bytes} bytes"))
}

/// The steps of a report that have no result yet, each once.
fn steps_of(ops: &[Op], has_ended: impl Fn(&StepId) -> bool) -> Vec<Effect> {
    let mut seen = HashSet::new();
    ops.iter()
        .filter_map(|op| {
            let sort = op.sort.clone();
            let memo = match &op.kind {
                OpKind::StepRun { data } => Memo::Data(data.clone()),
                OpKind::StepVerbatim { data } => Memo::Verbatim(data.clone()),
                _ => return None,
            };
            if has_ended(&op.step) || !seen.insert(op.step.clone()) {
                return None;
            }
            let end = Effect::EndStep {
                step: op.step.clone(),
                name: op.name.clone(),
                kind: StepKind::Run,
                status: StepStatus::Completed,
                memo,
                timing: op.timing,
            };
            let sort = sort.map(|sort| Effect::Sort {
                step: op.step.clone(),
                sort,
            });
            let told = (!op.told.is_empty()).then(|| Effect::Tell {
                step: op.step.clone(),
                told: op.told.clone(),
            });
            Some([Some(end), sort, told])
        })
        .flatten()
        .flatten()
        .collect()
}
