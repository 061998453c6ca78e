//! `/v2`, also at `/api/v2`: what reads, and what starts and ends runs, of the newer API that users of the SDKs know. Names are camelCase,
//! whole numbers of 64 bits are text, and errors are a list. `docs/rest.md` says what is left out.

mod apps;
mod body;
mod events;
mod reply;
mod runs;

use crate::rest::{
    operation::{Mount, Operation},
    query::{Kind, Param},
};

const HERE: &[Mount] = &[Mount::V2];

const PAGE: &[Param] = &[
    Param::one("limit", Kind::Limit, "Entries of the page."),
    Param::one(
        "cursor",
        Kind::Text,
        "Where to go on: the cursor of the page before.",
    ),
];

/// Operations of `/v2`.
pub(crate) fn operations() -> Vec<Operation> {
    let all = [apps::operations(), events::operations(), runs::operations()];
    all.into_iter().flatten().collect()
}
