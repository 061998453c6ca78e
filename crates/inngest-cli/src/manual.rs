//! `inngest completions` and `inngest man`: what shells and `man` know of the command line, made from the command line itself.

use std::path::Path;

use anyhow::Context;
use clap_complete::Shell;

use crate::{args, tools::print};

/// Prints the script that completes commands and flags in a shell.
///
/// # Errors
/// When standard output takes nothing.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "inngest", &mut script);
    print(&String::from_utf8(script).context("the script is no text")?)
}

/// Writes a page for each command into a directory, which is made if need be.
///
/// # Errors
/// When the directory cannot be written.
pub(crate) fn pages(directory: &Path) -> anyhow::Result<()> {
    let place = directory.display();
    std::fs::create_dir_all(directory)
        .with_context(|| format!("could not make the directory {place}"))?;
    clap_mangen::generate_to(args::command(), directory)
        .with_context(|| format!("could not write into {place}"))
}
