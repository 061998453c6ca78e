//! The server as its callers see it: real services on a database that is gone afterwards, no apps and no workers.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, also in its helpers"
)]

mod access;
mod breadth;
mod breadth_rows;
mod budget;
mod bulk;
mod charts;
mod checks;
mod documents;
mod event_charts;
mod facts;
mod feeds;
mod graphql;
mod harness;
mod http;
mod lists;
mod metrics;
mod objects;
mod pauses;
mod permissions;
mod quick;
mod relations;
mod rest;
mod rest_api;
mod rest_bulk;
mod rest_functions;
mod rest_pages;
mod rest_tenants;
mod rest_v2;
mod sdk;
mod socket;
mod sse;
mod suites;
mod syncs;
mod tokens;
mod v0;
mod v0_documents;
mod v0_lists;
mod waits;
