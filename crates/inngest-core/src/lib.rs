//! What the product means: domain types and decisions, without I/O.
//!
//! Nothing here is `async`, asks what time it is, or knows a database, a queue or a network. Every rule of the product can therefore be
//! read, tested and fuzzed as values in, values out. Deliberately absent: storage forms of domain types (they live next to whoever
//! stores them) and settings.

pub mod access;
pub mod app;
pub mod budget;
pub mod bulk;
pub mod cron;
pub mod duration;
pub mod event;
pub mod expr;
pub mod function;
pub mod ids;
pub mod job;
pub mod json;
pub mod limits;
pub mod op;
pub mod page;
pub mod pause;
pub mod rollup;
pub mod run;
pub mod sync;
pub mod time;
pub mod trace_context;
pub mod wait;
pub mod wire;
