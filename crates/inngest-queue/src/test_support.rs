//! Rows of work for tests.

use bytes::Bytes;
use uuid::Uuid;

use inngest_core::{
    ids::{DEFAULT_ENV, DEFAULT_ORG, FunctionId, WorkId},
    job::{JobKind, Work},
    time::Timestamp,
};

use crate::model::Lease;

/// When the clocks of tests start.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn function_id(number: u128) -> FunctionId {
    FunctionId::from_raw(Uuid::from_u128(number))
}

/// Work that calls the app, of function 1, without a run, due at the start.
pub(crate) fn item(id: u128) -> Work {
    Work {
        id: WorkId::from_raw(Uuid::from_u128(id)),
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        kind: JobKind::Discover,
        function: function_id(1),
        run: None,
        step: None,
        due_at: START,
        rank: 0,
        attempt: 0,
        epoch: 1,
        payload: Bytes::new(),
    }
}

/// The number that `item` was made with.
pub(crate) fn number(lease: &Lease) -> u128 {
    lease.work.id.raw().as_u128()
}
