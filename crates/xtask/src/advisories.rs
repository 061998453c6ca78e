//! Known weaknesses in what we depend on.

use std::process::{Command, Stdio};

use anyhow::bail;

use crate::{
    ci::Outcome,
    command::{cargo, command, find_program, run},
};

const DATABASE: &str = "https://github.com/RustSec/advisory-db";

/// Asks `cargo deny` or `cargo audit`, whichever is installed. Where neither is, or the database of advisories cannot be reached,
/// the check says so and is skipped.
///
/// # Errors
/// When a dependency has a known weakness.
pub(crate) fn check() -> anyhow::Result<Outcome> {
    let tool: &[&str] = if find_program("cargo-deny").is_some() {
        &["deny", "check", "advisories"]
    } else if find_program("cargo-audit").is_some() {
        &["audit"]
    } else {
        return Ok(Outcome::Skipped(
            "neither cargo-deny nor cargo-audit is installed (`cargo install cargo-deny --locked`)"
                .to_owned(),
        ));
    };
    if !is_reachable() {
        return Ok(Outcome::Skipped(format!(
            "the database of advisories ({DATABASE}) cannot be reached from here"
        )));
    }
    match run(cargo().args(tool)) {
        Ok(()) => Ok(Outcome::Passed),
        Err(error) => bail!(error),
    }
}

fn is_reachable() -> bool {
    let mut git: Command = command("timeout");
    git.args(["20", "git", "ls-remote", "--exit-code", DATABASE, "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0");
    git.stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
