//! Lists: pages in both directions over filtered rows, and how many rows there are. One machinery serves all of them.

mod apps;
mod bulk;
pub(crate) mod each;
mod events;
pub(crate) mod keyset;
mod of_parents;
mod runs;
mod search;
mod sized;
pub(crate) mod source;
mod syncs;
mod waits;
pub(crate) mod weight;

pub use apps::{AppFilter, FunctionFilter};
pub use bulk::BulkFilter;
pub use events::EventFilter;
pub use runs::{RunFilter, TimeSpan};
pub use search::{Hints, Slice, Traces};
pub use syncs::SyncFilter;
pub use waits::WaitSource;
