//! Domain types as GraphQL types: each wraps the domain value, so there is no second set of fields to keep in step.

pub(crate) mod app;
pub(crate) mod attempt;
pub(crate) mod environment;
pub(crate) mod event;
pub(crate) mod event_type;
pub(crate) mod expression;
pub(crate) mod failure;
pub(crate) mod feed;
pub(crate) mod filter;
pub(crate) mod function;
pub(crate) mod function_config;
pub(crate) mod function_version;
pub(crate) mod metrics;
pub(crate) mod node;
pub(crate) mod pause;
pub(crate) mod queue;
pub(crate) mod run;
pub(crate) mod run_parts;
pub(crate) mod series;
pub(crate) mod server;
pub(crate) mod step;
pub(crate) mod step_details;
pub(crate) mod trace;
pub(crate) mod user_error;
pub(crate) mod viewer;
pub(crate) mod wait;
