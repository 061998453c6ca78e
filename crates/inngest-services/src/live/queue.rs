//! What the schedule holds of an environment, again and again.

use std::{sync::Arc, time::Duration};

use inngest_core::{access::Scope, ids::EnvId, time::Timestamp};

use super::{
    Standing,
    fresh::{Fresh, Regular, Watched},
};
use crate::{Backlog, Error, Kind, apps::Functions, engine::Shared};

/// What is read for all who watch the queue of an environment here.
pub(crate) type Queues = Watched<EnvId, Fresh<QueueTick>>;

/// What a tick tells.
#[derive(Clone, Debug)]
pub struct QueueTick {
    /// When it was measured.
    pub at: Timestamp,
    /// The backlog of every function, as of [`Functions::backlogs`].
    pub backlogs: Arc<Vec<Backlog>>,
}

struct Ticks {
    regular: Regular,
    shared: Arc<Fresh<QueueTick>>,
}

pub(super) async fn watch(
    engine: &Shared,
    standing: Standing,
    every: Duration,
) -> Result<impl futures_util::Stream<Item = Result<QueueTick, Error>> + Send + use<>, Error> {
    let env = standing.actor().env;
    let ticks = Ticks {
        regular: Regular::new(engine, standing, Scope::AppsRead, every)?,
        shared: engine.queues.join(env, Fresh::default).await,
    };
    Ok(futures_util::stream::unfold(
        Some(ticks),
        |ticks| async move {
            let mut ticks = ticks?;
            match ticks.next().await {
                Ok(tick) => Some((Ok(tick), Some(ticks))),
                Err(error) => Some((Err(error), None)),
            }
        },
    ))
}

impl Ticks {
    /// While the schedule does not answer nothing is told.
    async fn next(&mut self) -> Result<QueueTick, Error> {
        loop {
            self.regular.next().await?;
            let engine = &self.regular.engine;
            let actor = self.regular.standing.actor();
            let read = || async {
                let backlogs = Functions(engine).backlogs(&actor).await?;
                Ok(QueueTick {
                    at: engine.clock.now(),
                    backlogs: Arc::new(backlogs),
                })
            };
            match self.shared.get(read).await {
                Err(error) if error.kind() == Kind::Unavailable => {}
                told => return told,
            }
        }
    }
}
