//! Work: the durable list of what must happen, and when.

use bytes::Bytes;

use crate::{
    ids::{EnvId, EventId, FunctionId, OrgId, RunId, StepId, WorkId},
    json::Json,
    time::Timestamp,
};

/// What is to be done. The numbers are stored; never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum JobKind {
    /// Call the app so that the function finds what comes next.
    Discover = 1,
    /// Call the app for one planned step.
    RunStep = 2,
    /// A sleep is over.
    Wake = 3,
    /// A wait has lasted too long.
    WaitTimeout = 4,
    /// What a step waited for has come.
    Resume = 5,
    /// Make an HTTP request for the app.
    Fetch = 6,
    /// A cancel rule matched.
    Cancel = 7,
    /// A run has waited too long for its first call.
    StartTimeout = 8,
    /// A run has worked too long.
    FinishTimeout = 9,
    /// A tick of a cron schedule.
    Cron = 10,
    /// The pause of a function is over: what it held back may go on.
    Release = 11,
    /// A pause was to end by itself at this time.
    EndPause = 12,
    /// Go on with an operation on many runs.
    Bulk = 13,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Discover,
        Self::RunStep,
        Self::Wake,
        Self::WaitTimeout,
        Self::Resume,
        Self::Fetch,
        Self::Cancel,
        Self::StartTimeout,
        Self::FinishTimeout,
        Self::Cron,
        Self::Release,
        Self::EndPause,
        Self::Bulk,
    ];

    /// The stored number.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The kind with this number, if there is one in this version.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether the app is called, so that the job counts against limits on flow.
    pub fn calls_app(self) -> bool {
        match self {
            Self::Discover | Self::RunStep => true,
            Self::Wake
            | Self::WaitTimeout
            | Self::Resume
            | Self::Fetch
            | Self::Cancel
            | Self::StartTimeout
            | Self::FinishTimeout
            | Self::Cron
            | Self::Release
            | Self::EndPause
            | Self::Bulk => false,
        }
    }
}

/// A row of the list of work. It is inserted by the commit that makes it necessary and deleted by the one that records its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Follows from what is to be done, so that a second insert changes nothing.
    pub id: WorkId,
    /// The tenant.
    pub org: OrgId,
    /// The environment.
    pub env: EnvId,
    /// What is to be done.
    pub kind: JobKind,
    /// Whose it is; names the partition of the schedule.
    pub function: FunctionId,
    /// For which run.
    pub run: Option<RunId>,
    /// For which step.
    pub step: Option<StepId>,
    /// Not before.
    pub due_at: Timestamp,
    /// Order among due work of one partition: smaller goes first. Ms, the scheduling time of the run less its priority.
    pub rank: i64,
    /// Attempts made before this one.
    pub attempt: u32,
    /// Rises whenever the work is handed to somebody else; outcomes state it, and an older one changes nothing.
    pub epoch: i64,
    /// What the handler needs besides; its form belongs to `services`.
    pub payload: Bytes,
}

/// Added to the time of work that a pause holds back, in ms: later than any time that work can be due, so that the schedule never holds it.
/// Stored; an index of the database names it as well.
pub const HELD_MS: i64 = 1_000_000_000_000_000;

impl Work {
    /// Whether a pause holds it back.
    pub fn is_held(&self) -> bool {
        self.due_at.as_millis() >= HELD_MS
    }
}

/// What came for a step that waited: the payload of [`JobKind::Resume`] and [`JobKind::Cancel`].
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// This event.
    Event(EventId),
    /// This memo, of a step that succeeds with it.
    Memo(Json),
    /// This memo, of a step that fails with it.
    Failure(Json),
}

impl Arrival {
    /// The stored form.
    pub fn to_payload(&self) -> Bytes {
        let (tag, rest) = match self {
            Self::Event(id) => (b'e', id.to_string().into_bytes()),
            Self::Memo(memo) => (b'm', memo.as_bytes().to_vec()),
            Self::Failure(memo) => (b'f', memo.as_bytes().to_vec()),
        };
        let mut bytes = Vec::with_capacity(rest.len() + 1);
        bytes.push(tag);
        bytes.extend_from_slice(&rest);
        bytes.into()
    }

    /// Reads the stored form; none when it is not one of this version's.
    pub fn from_payload(payload: &Bytes) -> Option<Self> {
        let rest = payload.get(1..)?;
        match payload.first()? {
            b'e' => std::str::from_utf8(rest)
                .ok()?
                .parse()
                .ok()
                .map(Self::Event),
            b'm' => Json::parse(rest).ok().map(Self::Memo),
            b'f' => Json::parse(rest).ok().map(Self::Failure),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_survive_their_stored_form() {
        let event: EventId = "01M8042M3T9P7KCFEAD2V1QVZ9".parse().unwrap();
        let memo = Json::parse(b"{\"data\":1}").unwrap();
        for arrival in [
            Arrival::Event(event),
            Arrival::Memo(memo.clone()),
            Arrival::Failure(memo),
        ] {
            assert_eq!(Arrival::from_payload(&arrival.to_payload()), Some(arrival));
        }
        for foreign in ["", "x", "e", "enope", "m{"] {
            assert_eq!(
                Arrival::from_payload(&Bytes::from_static(foreign.as_bytes())),
                None,
                "{foreign}"
            );
        }
    }

    #[test]
    fn every_kind_survives_its_number() {
        for kind in JobKind::ALL {
            assert_eq!(JobKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(JobKind::from_code(0), None);
    }
}
