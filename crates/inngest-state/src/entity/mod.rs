//! One SeaORM entity per table: plain column types, no logic, private to the crate.

#![expect(
    unreachable_pub,
    reason = "the derive makes `pub` items next to the model"
)]

pub(crate) mod app;
pub(crate) mod bulk_function;
pub(crate) mod bulk_operation;
pub(crate) mod environment;
pub(crate) mod event;
pub(crate) mod failed_attempt;
pub(crate) mod function;
pub(crate) mod function_version;
pub(crate) mod run;
pub(crate) mod step;
pub(crate) mod sync;
pub(crate) mod wait;
pub(crate) mod work;
