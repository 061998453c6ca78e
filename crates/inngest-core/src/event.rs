//! Events: named JSON facts.

use crate::{access::Author, ids::EventId, json::Json, time::Timestamp};

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
    /// Through which door it came; none for events that the server makes, and for those stored before this was kept.
    pub door: Option<Door>,
}

/// Through which door an event came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// The address for events. It serves functions that send events as well, which nothing in their requests tells apart.
    Ingest,
    /// An API, and who asked there.
    Api(Author),
}

impl Door {
    /// The stored number of [`Door::Ingest`].
    pub const INGEST: i16 = 1;
    /// The stored number of [`Door::Api`].
    pub const API: i16 = 2;

    /// The stored number.
    pub fn code(&self) -> i16 {
        match self {
            Self::Ingest => Self::INGEST,
            Self::Api(_) => Self::API,
        }
    }

    /// Who asked, where that is kept.
    pub fn author(&self) -> Option<&Author> {
        match self {
            Self::Ingest => None,
            Self::Api(author) => Some(author),
        }
    }

    /// Reads the stored form; none when it is not one of this version's.
    pub fn from_code(code: i16, author: Option<Author>) -> Option<Self> {
        match (code, author) {
            (Self::INGEST, _) => Some(Self::Ingest),
            (Self::API, Some(author)) => Some(Self::Api(author)),
            _ => None,
        }
    }
}

/// Where an event came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// The address for events.
    EventApi,
    /// Another API.
    Api,
    /// The server itself.
    System,
}

impl Event {
    /// Whether the sender named an id of its own, so that a twin must be looked for.
    pub fn has_own_key(&self) -> bool {
        self.key != self.id.to_string()
    }

    /// Where it came from; none when that is not known.
    pub fn source_kind(&self) -> Option<SourceKind> {
        match &self.door {
            Some(Door::Ingest) => Some(SourceKind::EventApi),
            Some(Door::Api(_)) => Some(SourceKind::Api),
            None => self.is_internal().then_some(SourceKind::System),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn door_of_an_event_survives_being_stored() {
        let (author, door) = (Author::system(), Door::Api(Author::system()));
        for door in [Door::Ingest, door] {
            let stored = (door.code(), door.author().cloned());
            assert_eq!(Door::from_code(stored.0, stored.1), Some(door));
        }
        for (code, author) in [(0, None), (2, None), (3, Some(author))] {
            assert_eq!(Door::from_code(code, author), None);
        }
    }
}
