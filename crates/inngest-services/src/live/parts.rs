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
use crate::{Error, engine::Shared, traces::Trace};

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
        /// The spans of these steps, and of the run itself where it has changed; none unless the stream was asked for them.
        trace: Option<Box<Trace>>,
    },
    /// Changes were dropped: read the steps again.
    Reset,
}

struct Parts {
    watcher: Watcher,
    run: RunId,
    with_spans: bool,
    opening: Option<Opening>,
}

pub(super) async fn watch(
    engine: &Shared,
    standing: Standing,
    run: RunId,
    with_spans: bool,
    after: Option<FeedCursor>,
) -> Result<impl super::Stream<PartNews> + use<>, Error> {
    crate::Runs(engine).get(&standing.actor(), run).await?;
    let interest = Interest::Parts(run);
    let (watcher, opening) =
        Watcher::resume(engine, standing, Scope::RunsRead, interest, after).await?;
    Ok(stream(Parts {
        watcher,
        run,
        with_spans,
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
                        Thing::Event(_) | Thing::App(_) | Thing::Function(_) => {}
                    }
                }
            }
            due = if steps.len() < STEPS {
                self.watcher.more()
            } else {
                None
            };
        }
        let (engine, actor) = (&self.watcher.engine, self.watcher.actor());
        let found = if steps.is_empty() {
            Vec::new()
        } else {
            let store = &engine.store;
            let mut found = store.find_steps(actor.env, self.run, &steps).await?;
            engine
                .show_steps(actor.env, &[self.run], &mut found)
                .await?;
            found
        };
        let run = if has_run || self.with_spans {
            engine.store.find_run(actor.env, self.run).await?
        } else {
            None
        };
        let run = run.map(|run| engine.shown(run));
        let trace = match &run {
            Some(run) if self.with_spans => {
                let runs = crate::Runs(engine);
                let part = runs.part_of_trace(&actor, run.clone(), &steps, &found, has_run);
                Some(Box::new(part.await?))
            }
            _ => None,
        };
        let news = PartNews::Updated {
            run: run.filter(|_| has_run).map(Box::new),
            steps: found,
            trace,
        };
        Ok(Some(self.watcher.update(news, Some(at))))
    }
}
