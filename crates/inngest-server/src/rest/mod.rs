//! REST: `/api/v1`, and under `/v1` the same handlers where the paths coincide with the ones that SDK users know.

pub(crate) mod body;
pub(crate) mod events;
pub(crate) mod functions;
pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod runs;
