//! Watching an operation on many runs.

use std::time::Duration;

use futures_util::Stream;
use inngest_core::{
    access::Scope,
    bulk::{BulkKind, BulkOperation},
    ids::BulkId,
};
use inngest_queue::live::Hints;
use tokio::time::{sleep, timeout};

use super::{Bulk, no_operation};
use crate::{Error, engine::Shared, live::Standing};

/// Least time from one look to the next.
const APART: Duration = Duration::from_millis(100);
/// Longest time without a look, because hints may be lost.
const LONGEST: Duration = Duration::from_secs(1);

impl Bulk<'_> {
    /// The present state of an operation, then its newest state as it changes. Ends after the state in which it has ended; at once with
    /// an error when it is gone, or the right to see it has ended.
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is not this actor's.
    pub async fn watch(
        &self,
        standing: Standing,
        kind: BulkKind,
        id: BulkId,
    ) -> Result<impl Stream<Item = Result<BulkOperation, Error>> + Send + use<>, Error> {
        let actor = standing.actor();
        // Listen, then look.
        let hints = self.0.live.subscribe(actor.env);
        self.get(&actor, kind, id).await?;
        let watching = Watching {
            engine: self.0.clone(),
            standing,
            kind,
            id,
            hints,
            told: None,
        };
        let first = Some(watching);
        Ok(futures_util::stream::unfold(first, |watching| async move {
            let mut watching = watching?;
            match watching.next().await {
                Ok(operation) => {
                    let goes_on = !operation.status.is_ended();
                    Some((Ok(operation), goes_on.then_some(watching)))
                }
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

/// One who watches.
struct Watching {
    engine: Shared,
    standing: Standing,
    kind: BulkKind,
    id: BulkId,
    hints: Hints,
    told: Option<BulkOperation>,
}

impl Watching {
    /// The next state that is another than the last.
    async fn next(&mut self) -> Result<BulkOperation, Error> {
        loop {
            self.standing
                .check(Scope::RunsRead, self.engine.clock.now())?;
            let env = self.standing.actor().env;
            let found = self.engine.store.find_bulk(env, self.kind, self.id).await?;
            let found = found.ok_or_else(|| no_operation(self.kind, self.id))?;
            if self.told.as_ref() != Some(&found) {
                self.told = Some(found.clone());
                return Ok(found);
            }
            tokio::select! {
                hint = timeout(LONGEST, self.hints.next()) => {
                    // Nobody hints any more; what is left is to look now and then.
                    let pause = if hint == Ok(false) { LONGEST } else { APART };
                    sleep(pause).await;
                }
                () = self.standing.changed(&self.engine.clock) => {}
            }
        }
    }
}
