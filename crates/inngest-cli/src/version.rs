//! `inngest version`.

use std::io::{Write, stdout};

use anyhow::Context;

/// Prints the version to standard output.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn print() -> anyhow::Result<()> {
    writeln!(stdout(), "inngest {}", env!("CARGO_PKG_VERSION"))
        .context("could not write to standard output")
}
