//! What the schedule holds, per environment and per function.

use std::{cmp::Reverse, sync::Arc};

use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject};

use inngest_core::time::Timestamp;
use inngest_services::{Backlog, QueueTick};

use crate::graphql::{
    connection::{self, Counted, OrderDirection, Page},
    error::bad_input,
    ids,
    loaders::load,
    objects::function::FunctionObject,
    scalars::{DateTime, Long, Milliseconds},
};

/// The backlogs of an environment.
pub(crate) struct QueueStats {
    at: Timestamp,
    backlogs: Arc<Vec<Backlog>>,
}

/// Message of queueStats.
#[derive(SimpleObject)]
pub(crate) struct QueueStatsTick {
    /// When it was measured.
    at: DateTime,
    /// Queue state.
    stats: QueueStats,
}

impl From<QueueTick> for QueueStatsTick {
    fn from(tick: QueueTick) -> Self {
        Self {
            at: DateTime(tick.at),
            stats: QueueStats::new(tick.at, tick.backlogs),
        }
    }
}

impl QueueStats {
    pub(crate) fn new(at: Timestamp, backlogs: Arc<Vec<Backlog>>) -> Self {
        Self { at, backlogs }
    }

    fn sum(&self, figure: impl Fn(&Backlog) -> u64) -> Long {
        Long(self.backlogs.iter().map(figure).sum())
    }
}

/// Present state of the queue of an environment: what is due or under way. What is due later is with its runs.
#[Object]
impl QueueStats {
    /// When it was measured.
    async fn at(&self) -> DateTime {
        DateTime(self.at)
    }

    /// Items due now.
    async fn ready(&self) -> Long {
        self.sum(|backlog| backlog.ready)
    }

    /// Items under way.
    async fn executing(&self) -> Long {
        self.sum(|backlog| backlog.executing)
    }

    /// Age of the oldest due item; null when nothing is due.
    async fn oldest_ready_age_ms(&self) -> Option<Milliseconds> {
        let oldest = self.backlogs.iter().filter_map(|one| one.oldest_due).min();
        age(self.at, oldest)
    }

    /// Functions by backlog, the deepest first unless an order is given.
    #[graphql(complexity = "connection::cost(first, last, child_complexity)")]
    async fn partitions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries from the front, 1 to 200; 50 when omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor of the entry before the page.")] after: Option<String>,
        #[graphql(desc = "How many entries from the back, 1 to 200; 50 when omitted.")]
        last: Option<i32>,
        #[graphql(desc = "Cursor of the entry after the page.")] before: Option<String>,
        #[graphql(desc = "In which order; READY, DESC when omitted.")] order_by: Option<
            BacklogOrder,
        >,
    ) -> Result<Page<FunctionBacklog, Counted>, Error> {
        connection::cut_counted(
            BacklogOrder::sorted(order_by, &self.backlogs),
            "backlogs.function",
            &connection::request(ctx, first, after, last, before)?,
            |backlog| backlog.function.to_string(),
            FunctionBacklog,
        )
    }
}

/// Order of backlogs.
#[derive(InputObject, Clone, Copy)]
pub(crate) struct BacklogOrder {
    /// What to order by.
    field: BacklogOrderField,
    /// In which direction.
    direction: OrderDirection,
}

/// What backlogs can be ordered by.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BacklogOrderField {
    /// Items due now.
    Ready,
    /// Age of the oldest due item; a function without one has no age, and counts as younger than all others.
    OldestReadyAge,
}

impl BacklogOrder {
    /// Sorted, and those that are equal by slug, as they come.
    fn sorted(order: Option<Self>, backlogs: &[Backlog]) -> Vec<Backlog> {
        let order = order.unwrap_or(Self {
            field: BacklogOrderField::Ready,
            direction: OrderDirection::Descending,
        });
        let depth = |one: &Backlog| match order.field {
            BacklogOrderField::Ready => i128::from(one.ready),
            BacklogOrderField::OldestReadyAge => one
                .oldest_due
                .map_or(i128::MIN, |due| -i128::from(due.as_millis())),
        };
        let mut sorted = backlogs.to_vec();
        match order.direction {
            OrderDirection::Ascending => sorted.sort_by_key(depth),
            OrderDirection::Descending => sorted.sort_by_key(|one| Reverse(depth(one))),
        }
        sorted
    }
}

/// The backlog of a function.
pub(crate) struct FunctionBacklog(pub(crate) Backlog);

/// Present queue state of one function: what is due or under way. What is due later is with its runs.
#[Object]
impl FunctionBacklog {
    /// Global id, prefix blg.
    pub(crate) async fn id(&self) -> ID {
        ids::backlog(self.0.function)
    }

    /// The function.
    async fn function(&self, ctx: &Context<'_>) -> Result<FunctionObject, Error> {
        load(ctx, self.0.function)
            .await?
            .map(FunctionObject)
            .ok_or_else(|| bad_input("the function of this backlog is gone"))
    }

    /// When it was measured.
    async fn at(&self) -> DateTime {
        DateTime(self.0.at)
    }

    /// Items due now.
    async fn ready(&self) -> Long {
        Long(self.0.ready)
    }

    /// Items under way.
    async fn executing(&self) -> Long {
        Long(self.0.executing)
    }

    /// Age of the oldest due item; null when nothing is due.
    async fn oldest_ready_age_ms(&self) -> Option<Milliseconds> {
        age(self.0.at, self.0.oldest_due)
    }
}

fn age(at: Timestamp, due: Option<Timestamp>) -> Option<Milliseconds> {
    let age = at.since(due?);
    Some(Milliseconds(
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
    ))
}

#[cfg(test)]
mod tests {
    use super::{
        BacklogOrderField::{OldestReadyAge, Ready},
        *,
    };

    #[test]
    fn backlogs_are_ordered_by_depth_or_by_age() {
        let function = |number: u8| {
            format!("00000000-0000-4000-8000-00000000000{number}")
                .parse()
                .unwrap()
        };
        let backlog = |number: u8, ready, due: Option<i64>| Backlog {
            function: function(number),
            at: Timestamp::from_millis(100),
            ready,
            executing: 0,
            oldest_due: due.map(Timestamp::from_millis),
        };
        let all = [
            backlog(1, 0, None),
            backlog(2, 5, Some(90)),
            backlog(3, 2, Some(10)),
            backlog(4, 0, None),
        ];
        let order = |field, direction| {
            let sorted = BacklogOrder::sorted(Some(BacklogOrder { field, direction }), &all);
            sorted
                .iter()
                .map(|one| one.function.raw().as_bytes()[15])
                .collect::<Vec<_>>()
        };
        assert_eq!(order(Ready, OrderDirection::Descending), [2, 3, 1, 4]);
        assert_eq!(order(Ready, OrderDirection::Ascending), [1, 4, 3, 2]);
        assert_eq!(
            order(OldestReadyAge, OrderDirection::Descending),
            [3, 2, 1, 4]
        );
        assert_eq!(
            order(OldestReadyAge, OrderDirection::Ascending),
            [1, 4, 2, 3]
        );
    }
}
