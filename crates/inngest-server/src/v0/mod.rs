//! The older GraphQL API at `/v0/gql`, by which test suites of SDKs look at what became of their events: a second, small schema over the
//! same services. `docs/v0-gql.md` says what it answers differently from the server that those suites were written for.

mod event;
mod filter;
mod function;
pub(crate) mod http;
mod list;
mod nulls;
mod query;
mod rules;
mod run;
mod scalars;
mod span;
mod stream;

use async_graphql::{EmptyMutation, EmptySubscription, Schema};

use crate::graphql::{limits, stage};
use query::Query;

pub(crate) type V0Schema = Schema<Query, EmptyMutation, EmptySubscription>;

/// Builds the schema, with the limits of the main one.
pub(crate) fn schema() -> V0Schema {
    Schema::build(Query, EmptyMutation, EmptySubscription)
        .limit_depth(limits::DEPTH)
        .limit_complexity(limits::COMPLEXITY)
        .limit_aliases(limits::ALIASES)
        .limit_directives(limits::DIRECTIVES)
        .extension(stage::Stages)
        .finish()
}
