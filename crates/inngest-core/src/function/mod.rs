//! Functions: their configuration and what triggers them.

pub mod config;
pub mod trigger;
