//! Root fields that change something. Each takes one `input` and returns one payload; in its `errors` is what a correct client can run
//! into, everything else is a top-level error.

mod apps;
mod events;
mod runs;

use async_graphql::MergedObject;

/// Write operations; each takes one input and returns one payload.
#[derive(MergedObject)]
pub(crate) struct Mutation(
    events::EventMutations,
    runs::RunMutations,
    apps::AppMutations,
);

impl Mutation {
    pub(crate) fn new() -> Self {
        Self(
            events::EventMutations,
            runs::RunMutations,
            apps::AppMutations,
        )
    }
}
