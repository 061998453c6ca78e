//! Operations on many runs, which are carried out in the background.

use crate::{
    access::Author,
    ids::{BulkId, FunctionId, RunId},
    run::RunStatus,
    time::Timestamp,
};

/// How the reason of a run begins that was cancelled together with others; the id of the operation follows. Stored with the run.
pub const BULK_CANCELLATION: &str = "it was cancelled by bulk cancellation ";

/// An operation on all runs that match a selection.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkOperation {
    /// Its id. Sorts by the time at which it was asked for.
    pub id: BulkId,
    /// What is done to the runs.
    pub kind: BulkKind,
    /// What people call it.
    pub name: Option<String>,
    /// Who asked for it.
    pub by: Author,
    /// When.
    pub created_at: Timestamp,
    /// Which runs.
    pub selection: Selection,
    /// Runs that it starts in a second at most; none for as fast as they can be stored.
    pub rate: Option<u32>,
    /// Where it is in its life.
    pub status: BulkStatus,
    /// How far it is.
    pub progress: BulkProgress,
    /// Up to this run it has gone through them.
    pub position: Option<RunId>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Which runs an operation is about. All parts must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Of any of these functions; never empty.
    pub functions: Vec<FunctionId>,
    /// Queued at or after.
    pub from: Timestamp,
    /// Queued before.
    pub until: Timestamp,
    /// In any of these states; never empty.
    pub statuses: Vec<RunStatus>,
    /// A search over runs.
    pub search: Option<String>,
}

/// How far an operation is, in runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkProgress {
    /// Those it had to look at when it began; none until they were counted.
    pub total: Option<u64>,
    /// Done what was asked for.
    pub succeeded: u64,
    /// In need of nothing.
    pub skipped: u64,
    /// Not to be helped.
    pub failed: u64,
}

impl BulkProgress {
    /// Looked at.
    pub fn processed(self) -> u64 {
        self.succeeded + self.skipped + self.failed
    }
}

/// What an operation does. The numbers are stored; never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum BulkKind {
    /// Cancels runs.
    Cancellation = 1,
    /// Starts runs again.
    Replay = 2,
}

impl BulkKind {
    /// The stored number.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The kind with this number, if there is one in this version.
    pub fn from_code(code: i16) -> Option<Self> {
        let all = [Self::Cancellation, Self::Replay];
        all.into_iter().find(|kind| kind.code() == code)
    }
}

/// Where an operation is in its life. The numbers are stored; never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum BulkStatus {
    /// Not begun.
    Pending = 1,
    /// At work, or in force.
    Running = 2,
    /// Done.
    Completed = 3,
    /// Ended by somebody.
    Stopped = 4,
    /// Ended by an error.
    Failed = 5,
}

impl BulkStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Stopped,
        Self::Failed,
    ];

    /// The stored number.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The status with this number, if there is one in this version.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Whether nothing more is done.
    pub fn is_ended(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Completed | Self::Stopped | Self::Failed => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for status in BulkStatus::ALL {
            assert_eq!(BulkStatus::from_code(status.code()), Some(status));
            let takes_time = [BulkStatus::Pending, BulkStatus::Running];
            assert_eq!(status.is_ended(), !takes_time.contains(&status));
        }
        for kind in [BulkKind::Cancellation, BulkKind::Replay] {
            assert_eq!(BulkKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(
            (BulkKind::from_code(0), BulkStatus::from_code(0)),
            (None, None)
        );
    }
}
