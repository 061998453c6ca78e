//! Events: named JSON facts.

use crate::{ids::EventId, json::Json, time::Timestamp};

/// Names beginning with this, in any case, are ours.
pub const INTERNAL_PREFIX: &str = "inngest/";
/// A run has ended.
pub const FUNCTION_FINISHED: &str = "inngest/function.finished";
/// A run has failed.
pub const FUNCTION_FAILED: &str = "inngest/function.failed";
/// A run was cancelled.
pub const FUNCTION_CANCELLED: &str = "inngest/function.cancelled";
/// A function was invoked directly.
pub const FUNCTION_INVOKED: &str = "inngest/function.invoked";
/// A cron schedule is due.
pub const SCHEDULED_TIMER: &str = "inngest/scheduled.timer";
/// A deferred call of a run that has ended.
pub const DEFERRED_SCHEDULE: &str = "inngest/deferred.schedule";

/// A stored event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Our id.
    pub id: EventId,
    /// What makes a second event the same event: the sender's `id`, else our own id as text.
    pub key: String,
    /// The name, for example `shop/order.placed`.
    pub name: String,
    /// When it happened, as its sender says.
    pub ts: Timestamp,
    /// When we accepted it.
    pub received_at: Timestamp,
    /// The event as apps see it: `{"data","id","name","ts","user"}` and, if set, `v` and `meta`.
    pub body: Json,
}

impl Event {
    /// Whether the sender named an id of its own, so that a twin must be looked for.
    pub fn has_own_key(&self) -> bool {
        self.key != self.id.to_string()
    }

    /// Whether the name is one of ours.
    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }
}

/// Whether a name is reserved for events that the server makes.
pub fn is_internal(name: &str) -> bool {
    name.get(..INTERNAL_PREFIX.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(INTERNAL_PREFIX))
}
