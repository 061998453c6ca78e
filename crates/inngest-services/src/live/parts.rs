//! The steps of one run as they change.

use inngest_core::{
    access::Scope,
    ids::{RunId, StepId},
    run::{Run, StepRecord},
    time::Timestamp,
};

use super::{
    FeedCursor, Standing, Update,
    dirty::{Due, Thing},
    hub::Interest,
    stream::{Opening, Telling, Watcher, stream},
};
use crate::{Error, engine::Shared};

/// Most steps of one message.
const STEPS: usize = 20;

/// What is told of the parts of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum PartNews {
    /// The stream is live and there was nothing to catch up with.
    Ready,
    /// The newest state of what changed, in no order.
    Updated {
        /// The run, where it has changed or one of its own attempts has failed.
        run: Option<Box<Run>>,
        /// Its steps.
        steps: Vec<StepRecord>,
    },
    /// Changes were dropped: read the steps again.
    Reset,
}

struct Parts {
    watcher: Watcher,
    run: RunId,
    opening: Option<Opening>,
}

pub(super) async fn watch(
    engine: &Shared,
    standing: Standing,
    run: RunId,
    after: Option<FeedCursor>,
) -> Result<impl super::Stream<PartNews> + use<>, Error> {
    crate::Runs(engine).get(&standing.actor(), run).await?;
    let interest = Interest::Parts(run);
    let (watcher, opening) =
        Watcher::resume(engine, standing, Scope::RunsRead, interest, after).await?;
    Ok(stream(Parts {
        watcher,
        run,
        opening: Some(opening),
    }))
}

impl Telling for Parts {
    type News = PartNews;

    async fn step(&mut self) -> Result<Option<Update<PartNews>>, Error> {
        match self.opening.take() {
            Some(Opening::Ready) => return Ok(Some(self.watcher.update(PartNews::Ready, None))),
            Some(Opening::Reset) => return Ok(Some(self.watcher.update(PartNews::Reset, None))),
            Some(Opening::Behind) | None => {}
        }
        let (mut has_run, mut steps): (bool, Vec<StepId>) = (false, Vec::new());
        let mut at = Timestamp::default();
        let mut due = Some(self.watcher.next().await?);
        while let Some(one) = due {
            match one {
                Due::Reset => {
                    return Ok(Some(self.watcher.update(PartNews::Reset, None)));
                }
                Due::One(thing, mark) => {
                    at = at.max(mark.at);
                    match thing {
                        Thing::Step(Some(step)) => steps.push(step),
                        Thing::Step(None) | Thing::Run(_) => has_run = true,
                        Thing::Event(_) => {}
                    }
                }
            }
            due = if steps.len() < STEPS {
                self.watcher.more()
            } else {
                None
            };
        }
        let (engine, env) = (&self.watcher.engine, self.watcher.actor().env);
        let run = if has_run {
            engine.store.find_run(env, self.run).await?
        } else {
            None
        };
        let steps = if steps.is_empty() {
            Vec::new()
        } else {
            let mut found = engine.store.find_steps(env, self.run, &steps).await?;
            engine.show_steps(env, &[self.run], &mut found).await?;
            found
        };
        let news = PartNews::Updated {
            run: run.map(|run| Box::new(engine.shown(run))),
            steps,
        };
        Ok(Some(self.watcher.update(news, Some(at))))
    }
}
