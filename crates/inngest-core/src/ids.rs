//! One newtype per identifier, so that a run id cannot go where an event id is wanted.
//!
//! Parsing is the only way from text. Ids that must repeat are derived from what they name; all others come from an [`IdSource`].

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ulid::Ulid;
use uuid::Uuid;

use crate::time::Timestamp;

/// Text that is not an identifier of the named kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind} id")]
pub struct InvalidId {
    /// What was expected, for example `run`.
    pub kind: &'static str,
    /// What was given, cut to 64 characters.
    pub text: String,
}

impl InvalidId {
    fn new(kind: &'static str, text: &str) -> Self {
        Self {
            kind,
            text: text.chars().take(64).collect(),
        }
    }
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident($inner:ty), $label:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name($inner);

        impl $name {
            /// Wraps a raw value that is known to be one of these, for example from a database row.
            pub const fn from_raw(raw: $inner) -> Self {
                Self(raw)
            }

            /// The raw value, for storage.
            pub const fn raw(self) -> $inner {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.parse().map(Self).map_err(|_| InvalidId::new($label, text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id_type!(
    /// A tenant.
    OrgId(Uuid), "organization");
id_type!(
    /// One isolated world of apps, keys, events and runs inside an organization.
    EnvId(Uuid), "environment");
id_type!(
    /// An app; derived from its environment and name, so it survives a new URL.
    AppId(Uuid), "app");
id_type!(
    /// A function; derived from its app and slug, so it survives every sync.
    FunctionId(Uuid), "function");
id_type!(
    /// One telling of an app which functions it has.
    SyncId(Uuid), "sync");
id_type!(
    /// An event as we stored it. The sender's own id is the event's idempotency key, not this.
    EventId(Ulid), "event");
id_type!(
    /// One execution of one function. Sorts by the time it was scheduled.
    RunId(Ulid), "run");
id_type!(
    /// A stored wait; derived from what waits (run and step, or run and cancel rule).
    WaitId(Uuid), "wait");
id_type!(
    /// A row of the list of work; derived from what is to be done, so that storing it twice stores it once.
    WorkId(Uuid), "work");

id_type!(
    /// An operation on many runs. Sorts by the time at which it was asked for.
    BulkId(Ulid), "bulk operation");

impl RunId {
    /// The time at which the run was scheduled.
    pub fn scheduled_at(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
    }
}

impl EventId {
    /// The time at which the event was accepted (or the one that its sender's seed names).
    pub fn accepted_at(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
    }

    /// The `position`-th id of a request that carried `x-inngest-event-id-seed` (http-api 1.3): the last four
    /// bytes of the entropy, read as a big-endian number, grow by `position` with wrap-around.
    pub fn from_seed(millis: u64, entropy: [u8; 10], position: u32) -> Self {
        let mut entropy = entropy;
        let tail = u32::from_be_bytes([entropy[6], entropy[7], entropy[8], entropy[9]])
            .wrapping_add(position);
        entropy[6..].copy_from_slice(&tail.to_be_bytes());
        let mut random = [0u8; 16];
        random[6..].copy_from_slice(&entropy);
        Self(Ulid::from_parts(millis, u128::from_be_bytes(random)))
    }
}

impl AppId {
    /// The app of this name in this environment.
    pub fn derive(env: EnvId, name: &str) -> Self {
        Self(Uuid::new_v5(&env.0, name.as_bytes()))
    }
}

impl FunctionId {
    /// The function of this slug in this app.
    pub fn derive(app: AppId, slug: &str) -> Self {
        Self(Uuid::new_v5(&app.0, slug.as_bytes()))
    }
}

impl WaitId {
    /// The wait that a step of a run stands for, or (with a `cancel:` label) one of its cancel rules.
    pub fn derive(run: RunId, label: &str) -> Self {
        Self(derive(b"wait", run, label))
    }
}

impl WorkId {
    /// Work that belongs to a run; `label` says which, for example `wake:<step>`.
    pub fn derive(run: RunId, label: &str) -> Self {
        Self(derive(b"work", run, label))
    }

    /// The work of an operation on many runs.
    pub fn derive_for_bulk(bulk: BulkId) -> Self {
        Self(Uuid::new_v5(&Uuid::from_u128(bulk.0.0), b"bulk"))
    }

    /// Work that belongs to a function, for example one tick of a cron schedule.
    pub fn derive_for_function(function: FunctionId, label: &str) -> Self {
        Self(Uuid::new_v5(&function.0, label.as_bytes()))
    }
}

fn derive(kind: &[u8; 4], run: RunId, label: &str) -> Uuid {
    let mut name = Vec::with_capacity(4 + label.len());
    name.extend_from_slice(kind);
    name.extend_from_slice(label.as_bytes());
    Uuid::new_v5(&Uuid::from_u128(run.0.0), &name)
}

/// The id of a step as the SDK computes it (40 hex digits of a SHA-1); opaque to us. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId(Arc<str>);

impl StepId {
    /// Longest accepted id in bytes. SDKs send 40.
    pub const MAX_LEN: usize = 128;

    /// # Errors
    /// `InvalidId` when the text is empty, longer than [`StepId::MAX_LEN`], or holds anything but visible ASCII.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let fits = !text.is_empty()
            && text.len() <= Self::MAX_LEN
            && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId::new("step", text))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where new ids come from. Cheap to clone; clones of a counting source share the count.
#[derive(Clone, Debug)]
pub struct IdSource(Source);

#[derive(Clone, Debug)]
enum Source {
    Random,
    Counting(Arc<AtomicU64>),
}

impl IdSource {
    /// Unpredictable ids, for everything but tests.
    pub fn random() -> Self {
        Self(Source::Random)
    }

    /// Ids 1, 2, 3, …, for tests.
    pub fn counting() -> Self {
        Self(Source::Counting(Arc::new(AtomicU64::new(0))))
    }

    fn entropy(&self) -> u128 {
        match &self.0 {
            Source::Random => rand::random(),
            Source::Counting(count) => u128::from(count.fetch_add(1, Ordering::Relaxed) + 1),
        }
    }

    /// A new event id that sorts by `now`.
    pub fn event(&self, now: Timestamp) -> EventId {
        EventId(self.ulid(now))
    }

    /// A new run id that sorts by `now`.
    pub fn run(&self, now: Timestamp) -> RunId {
        RunId(self.ulid(now))
    }

    /// A new event id that sorts by the time of `twin`.
    pub fn event_beside(&self, twin: EventId) -> EventId {
        EventId(self.ulid(twin.accepted_at()))
    }

    /// The id of a new operation on many runs that sorts by `now`.
    pub fn bulk(&self, now: Timestamp) -> BulkId {
        BulkId(self.ulid(now))
    }

    /// A new sync id.
    pub fn sync(&self) -> SyncId {
        SyncId(uuid::Builder::from_random_bytes(self.entropy().to_be_bytes()).into_uuid())
    }

    /// A ULID for anything without a type of its own, for example a request id.
    pub fn ulid(&self, now: Timestamp) -> Ulid {
        Ulid::from_parts(now.as_millis().try_into().unwrap_or(0), self.entropy())
    }
}

/// The one organization of a server without accounts.
pub const DEFAULT_ORG: OrgId = OrgId(Uuid::from_u128(0x0000_0000_0000_4000_a000_0000_0000_0000));
/// The one environment of a server without accounts (http-api 0.4).
pub const DEFAULT_ENV: EnvId = EnvId(Uuid::from_u128(0x0000_0000_0000_4000_b000_0000_0000_0000));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_ids_repeat_and_differ_by_position() {
        let entropy = [0, 1, 2, 3, 4, 5, 0xff, 0xff, 0xff, 0xff];
        let first = EventId::from_seed(1_700_000_000_000, entropy, 1);
        assert_eq!(first, EventId::from_seed(1_700_000_000_000, entropy, 1));
        assert_ne!(first, EventId::from_seed(1_700_000_000_000, entropy, 2));
        assert_eq!(first.accepted_at().as_millis(), 1_700_000_000_000);
    }

    #[test]
    fn step_ids_are_visible_ascii_of_bounded_length() {
        for bad in ["", "a b", "é", "\u{0}", &"x".repeat(129)] {
            assert!(StepId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(StepId::parse("86f7e437faa5a7fce15d1ddcb9eaeaea377667b8").is_ok());
    }

    #[test]
    fn foreign_text_is_refused_with_its_kind() {
        let error = "not-an-id".parse::<RunId>().unwrap_err();
        assert_eq!(error.to_string(), "`not-an-id` is not a valid run id");
    }
}
