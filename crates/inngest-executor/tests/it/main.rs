//! Calls against small real servers on this machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod app;
mod calls;
mod fetches;
mod syncs;
