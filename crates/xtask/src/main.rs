//! All automation: `cargo xtask ci | chaos | schema | db | setup`.
//!
//! Needs nothing but the tools it calls, so that it builds in a second and explains what is missing instead of failing on it.

#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

mod advisories;
mod chaos;
mod ci;
mod command;
mod databases;
mod migrations;
mod setup;

use std::process::ExitCode;

use anyhow::bail;

const HELP: &str = "\
Usage: cargo xtask <command>

  ci [--fail-fast] [name…]
                    every check (or those whose name holds one of the names), cheap ones first; all are run unless --fail-fast
  chaos --minutes N [--seed S]
                    three servers, one Postgres, one Redis, and everything that can go wrong; with a report
  schema            write schema.graphql again from the code
  db <command>…     run a command with a private Postgres and Redis beside it (TEST_POSTGRES_URL, TEST_REDIS_URL)
  setup             install what the tests need (Debian, Ubuntu), or say what is missing";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["ci", "--fail-fast", names @ ..] => ci::run_checks(ci::After::Stop, names),
        ["ci", names @ ..] => ci::run_checks(ci::After::RunAll, names),
        ["chaos", args @ ..] => chaos::run_chaos(args),
        ["schema"] => ci::write_schema(),
        ["db", program, args @ ..] => with_databases(program, args),
        ["setup"] => setup::run_setup(),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        other => {
            println!("{HELP}\n");
            fail_unknown(other)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn with_databases(program: &str, args: &[&str]) -> anyhow::Result<()> {
    let databases = databases::Databases::start();
    ci::tell(databases.postgres()?);
    ci::tell(databases.redis()?);
    ci::tell(databases.cluster()?);
    command::run(
        command::command(program)
            .args(args)
            .envs(databases.variables()),
    )
}

fn fail_unknown(args: &[&str]) -> anyhow::Result<()> {
    bail!("`{}` is not a command", args.join(" "))
}
