//! Every check, each with its time, and what became of it at the end.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{
    advisories,
    command::{cargo, find_program, output, root, run},
    databases::Databases,
    migrations,
};

/// What follows a failed check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The others, so that one run tells everything.
    RunAll,
    /// Nothing.
    Stop,
}

/// What became of a check.
pub(crate) enum Outcome {
    /// It was run and found nothing.
    Passed,
    /// It could not be run here, for this reason.
    Skipped(String),
}

/// Prints a reason for something left out.
pub(crate) fn tell(outcome: Outcome) {
    if let Outcome::Skipped(reason) = outcome {
        println!("SKIPPED: {reason}");
    }
}

/// Runs the checks whose name holds one of `names`, or all if there are none. Databases are started for the tests and stopped at the end, whatever happens.
///
/// # Errors
/// When a check fails.
pub(crate) fn run_checks(after: After, names: &[&str]) -> anyhow::Result<()> {
    let mut report = Report {
        after,
        names,
        lines: Vec::new(),
        failed: 0,
    };
    let result = checks(&mut report);
    report.print();
    result?;
    match report.failed {
        0 => Ok(()),
        failed => bail!("{failed} of {} checks failed", report.lines.len()),
    }
}

fn checks(report: &mut Report<'_>) -> anyhow::Result<()> {
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    report.check("formatting", || {
        passed(cargo().args(["fmt", "--all", "--", "--check", "-l"]))
    })?;
    report.check("advisories", advisories::check)?;
    report.check("clippy", || passed(cargo().args(clippy)))?;
    report.check("documentation", || {
        passed(
            cargo()
                .args(["doc", "--workspace", "--no-deps", "--locked", "--quiet"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    })?;
    report.check("migrations on SQLite", migrations::check_sqlite)?;
    let databases = Databases::start();
    report.check("Postgres for tests", || databases.postgres())?;
    report.check("Redis for tests", || databases.redis())?;
    report.check("Redis cluster for tests", || databases.cluster())?;
    report.check("migrations on Postgres", || {
        migrations::check_postgres(databases.postgres_url())
    })?;
    let tests = Tests {
        databases: &databases,
        has_nextest: find_program("cargo-nextest").is_some(),
    };
    // First, because the build after it puts the ordinary binary in its place.
    report.check("binary with fail points", build_with_failpoints)?;
    // Builds the binary as well, because its own tests run it.
    let is_built = report.check("build", || {
        let build = [
            "test",
            "--workspace",
            "--features",
            TEST_FEATURES,
            "--no-run",
            "--locked",
        ];
        passed(cargo().args(build))
    })?;
    if !is_built {
        println!("the tests are not run, because they do not compile");
        return Ok(());
    }
    report.check("schema.graphql is current", || {
        tests.named("schema_is_current")
    })?;
    report.check("tests of the workspace", || tests.workspace())?;
    report.check("the engine on SQLite", || tests.engine_on_sqlite())?;
    report.check("examples in the documentation", || {
        passed(cargo().args(["test", "--workspace", "--doc", "--locked", "--quiet"]))
    })?;
    report.check("apps on the real SDKs", || tests.end_to_end("sdk", "16"))?;
    // The same scenarios where keys are asked for. Most of their time is waiting, so all three run at once.
    report.check("apps on the real SDKs, in `start`", || {
        let mut modes = vec!["start-file"];
        if databases.postgres_url().is_some() {
            modes.extend(["start-postgres", "start-redis"]);
        }
        tests.end_to_end_in("sdk", "16", &modes)
    })?;
    report.check("clients of others", || tests.end_to_end("clients", "1"))?;
    report.check("processes killed on purpose", || {
        tests.end_to_end("faults", "1")
    })?;
    Ok(())
}

/// The binary that dies at named places when it is told to, for the fault tests.
pub(crate) fn build_with_failpoints() -> anyhow::Result<Outcome> {
    run(cargo().args([
        "build",
        "-p",
        "inngest-cli",
        "--features",
        "failpoints",
        "--locked",
    ]))?;
    std::fs::copy(target_dir().join("debug/inngest"), failpoints_binary())?;
    Ok(Outcome::Passed)
}

pub(crate) fn failpoints_binary() -> PathBuf {
    target_dir().join("debug/inngest-failpoints")
}

fn passed(command: &mut Command) -> anyhow::Result<Outcome> {
    run(command).map(|()| Outcome::Passed)
}

/// Writes `schema.graphql` again from the code.
///
/// # Errors
/// When the server does not compile or the file cannot be written.
pub(crate) fn write_schema() -> anyhow::Result<()> {
    run(cargo()
        .args([
            "test",
            "-p",
            "inngest-server",
            "--quiet",
            "schema_is_current",
        ])
        .env("UPDATE_SCHEMA", "1"))
}

/// Fixtures that other crates' tests use, so that everything is built once.
const TEST_FEATURES: &str = "inngest-services/test-util";

struct Tests<'a> {
    databases: &'a Databases,
    has_nextest: bool,
}

impl Tests<'_> {
    /// The tests whose name holds `name`. A name that no test has is a failure: the check would be empty.
    fn named(&self, name: &str) -> anyhow::Result<Outcome> {
        let list = output(self.prepare(cargo().args([
            "test",
            "--workspace",
            "--features",
            TEST_FEATURES,
            "--lib",
            "--locked",
            "--quiet",
            name,
            "--",
            "--list",
        ])));
        if !list.unwrap_or_default().contains(name) {
            bail!("no test is named `{name}`, or the tests do not compile");
        }
        passed(self.prepare(cargo().args([
            "test",
            "--workspace",
            "--features",
            TEST_FEATURES,
            "--lib",
            "--locked",
            "--quiet",
            name,
        ])))
    }

    fn workspace(&self) -> anyhow::Result<Outcome> {
        if self.has_nextest {
            let run = [
                "nextest",
                "run",
                "--workspace",
                "--features",
                TEST_FEATURES,
                "--locked",
                "--no-fail-fast",
                "-E",
                "not (binary(sdk) or binary(clients) or binary(faults))",
            ];
            return passed(self.prepare(cargo().args(run)));
        }
        let others = [
            "test",
            "--workspace",
            "--features",
            TEST_FEATURES,
            "--lib",
            "--bins",
            "--test",
            "it",
            "--locked",
            "--no-fail-fast",
        ];
        passed(self.prepare(cargo().args(others)))
    }

    /// The tests of the workspace run on Postgres where they can choose; the engine is tried on SQLite as well.
    fn engine_on_sqlite(&self) -> anyhow::Result<Outcome> {
        let run = [
            "test",
            "--workspace",
            "--features",
            TEST_FEATURES,
            "--test",
            "it",
            "--locked",
            "--no-fail-fast",
        ];
        passed(
            self.prepare(cargo().args(run))
                .env_remove("TEST_POSTGRES_URL"),
        )
    }

    /// One process, because its tests may share a server and its apps. Most of their time is waiting, so more of them run at once than
    /// there are cores.
    fn end_to_end(&self, suite: &str, threads: &str) -> anyhow::Result<Outcome> {
        self.end_to_end_in(suite, threads, &["dev"])
    }

    /// In each of these modes, at the same time.
    fn end_to_end_in(&self, suite: &str, threads: &str, modes: &[&str]) -> anyhow::Result<Outcome> {
        let arguments = [
            "test",
            "--workspace",
            "--features",
            TEST_FEATURES,
            "--test",
            suite,
            "--locked",
            "--no-fail-fast",
            "--",
            "--test-threads",
            threads,
        ];
        let failed: Vec<&str> = std::thread::scope(|scope| {
            let running: Vec<_> = modes
                .iter()
                .map(|&mode| {
                    let run = move || {
                        let begun = Instant::now();
                        let outcome = passed(
                            self.prepare(cargo().args(arguments))
                                .env("INNGEST_TEST_MODE", mode),
                        );
                        println!("{suite} in {mode}: {:.1} s", begun.elapsed().as_secs_f64());
                        outcome.is_err().then_some(mode)
                    };
                    scope.spawn(run)
                })
                .collect();
            running
                .into_iter()
                .filter_map(|running| running.join().unwrap_or(Some("a mode that panicked")))
                .collect()
        });
        if !failed.is_empty() {
            bail!("`{suite}` failed in {}", failed.join(", "));
        }
        Ok(Outcome::Passed)
    }

    fn prepare<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .envs(self.databases.variables())
            .env("INNGEST_BIN", target_dir().join("debug/inngest"))
            .env("INNGEST_FAILPOINTS_BIN", failpoints_binary())
    }
}

pub(crate) fn target_dir() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

struct Report<'a> {
    after: After,
    names: &'a [&'a str],
    lines: Vec<(String, String, Duration)>,
    failed: usize,
}

impl Report<'_> {
    /// Runs one check unless it was not asked for; whether it did not fail.
    fn check(
        &mut self,
        name: &str,
        check: impl FnOnce() -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<bool> {
        if !self.names.is_empty() && !self.names.iter().any(|part| name.contains(part)) {
            return Ok(true);
        }
        println!("\n=== {name}");
        let start = Instant::now();
        let result = check();
        let text = match &result {
            Ok(Outcome::Passed) => "ok".to_owned(),
            Ok(Outcome::Skipped(reason)) => format!("SKIPPED: {reason}"),
            Err(error) => format!("FAILED: {error:#}"),
        };
        println!("{name}: {text}");
        self.lines.push((name.to_owned(), text, start.elapsed()));
        match result {
            Ok(_) => Ok(true),
            Err(_) if self.after == After::RunAll => {
                self.failed += 1;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn print(&self) {
        println!("\n=== summary");
        for (name, text, time) in &self.lines {
            println!("{:>6.1}s  {name}: {text}", time.as_secs_f64());
        }
    }
}
