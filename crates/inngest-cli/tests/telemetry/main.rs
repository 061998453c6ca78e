//! What the binary tells of what it does: log lines, spans, health.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by a panic"
)]

mod app;
mod logs;
mod server;
mod traces;
