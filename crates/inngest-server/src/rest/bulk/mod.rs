//! Operations on many runs over REST.

mod body;
mod cancellations;
mod replays;

use inngest_core::bulk::BulkKind;
use inngest_services::BulkFilter;

use crate::rest::{
    operation::{Ask, Operation},
    problem::Refusal,
    query::{Kind, Param},
};

const LIMIT: Param = Param::one("limit", Kind::Limit, "Entries of the page.");
const CURSOR: Param = Param::one(
    "cursor",
    Kind::Text,
    "Where to go on: the cursor of the page before.",
);

/// What counting the runs of an operation costs, as `bulkPreview` of GraphQL.
const PREVIEW: u64 = 500;

const LIST: &[Param] = &[
    LIMIT,
    CURSOR,
    Param::many(
        "status",
        Kind::Word(body::STATUSES),
        "Only in this state, in any letter case.",
    ),
    Param::many("function", Kind::Uuid, "Only about this function."),
    Param::one("from", Kind::Time, "Only asked for at or after this time."),
    Param::one("until", Kind::Time, "Only asked for before this time."),
];

/// Operations on operations on many runs.
pub(crate) fn operations() -> Vec<Operation> {
    let all = [replays::operations(), cancellations::operations()];
    all.into_iter().flatten().collect()
}

fn filter(ask: &Ask, kind: BulkKind) -> Result<BulkFilter, Refusal> {
    let params = &ask.params;
    let statuses = params.all("status").filter_map(body::parse_status);
    let statuses: Vec<_> = statuses.collect();
    Ok(BulkFilter {
        statuses: (!statuses.is_empty()).then_some(statuses),
        functions: params.ids("function")?,
        from: params.time("from"),
        until: params.time("until"),
        ..BulkFilter::of(kind)
    })
}
