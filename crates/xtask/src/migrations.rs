//! Migrations, by the databases' own tools: up, down, up again, and nothing may be left between.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use anyhow::{Context, bail};

use crate::{
    ci::Outcome,
    command::{command, find_program, root},
};

/// Counts what is left when everything has been taken down.
const LEFT_IN_SQLITE: &str =
    "SELECT group_concat(name) FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'";
const LEFT_IN_POSTGRES: &str = "SELECT string_agg(relname, ',') FROM pg_class WHERE relnamespace = current_schema()::regnamespace";

/// Runs script files, and queries that must find nothing, one after the other in one database.
const SQLITE: &str = "\
import sqlite3, sys
connection = sqlite3.connect(':memory:')
for kind, text in zip(sys.argv[1::2], sys.argv[2::2]):
    if kind == 'file':
        connection.executescript(open(text).read())
    else:
        left = connection.execute(text).fetchone()[0]
        if left:
            sys.exit('left behind: ' + left)
";

/// Both dialects must have the same migrations, each with its way back.
///
/// # Errors
/// When a script fails, a way back is missing or leaves something behind, or the dialects differ.
pub(crate) fn check_sqlite() -> anyhow::Result<Outcome> {
    let (sqlite, postgres) = (names("sqlite")?, names("postgres")?);
    if sqlite != postgres {
        let differ: Vec<&String> = sqlite.symmetric_difference(&postgres).collect();
        bail!("only one of the dialects has {differ:?}");
    }
    let mut python = command("python3");
    python.args(["-c", SQLITE]);
    for step in steps("sqlite")? {
        match step {
            Step::Run(path) => python.arg("file").arg(path),
            Step::MustBeEmpty => python.arg("query").arg(LEFT_IN_SQLITE),
        };
    }
    succeed(&mut python)
}

/// The same on a schema of its own in the database at `url`.
///
/// # Errors
/// When a script fails, or a way back leaves something behind.
pub(crate) fn check_postgres(url: Option<&str>) -> anyhow::Result<Outcome> {
    let Some(url) = url else {
        return Ok(Outcome::Skipped("there is no Postgres".to_owned()));
    };
    if find_program("psql").is_none() {
        return Ok(Outcome::Skipped("psql is not installed".to_owned()));
    }
    let schema = format!("migrations_{}", std::process::id());
    let mut psql = command("psql");
    psql.args([url, "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1"]);
    psql.arg("-c")
        .arg(format!("CREATE SCHEMA {schema}"))
        .arg("-c")
        .arg(format!("SET search_path TO {schema}"));
    for step in steps("postgres")? {
        match step {
            Step::Run(path) => psql.arg("--file").arg(path),
            Step::MustBeEmpty => psql.arg("-c").arg(format!(
                "DO $$ DECLARE remains text := ({LEFT_IN_POSTGRES}); BEGIN IF remains IS NOT NULL THEN RAISE 'left behind: %', remains; END IF; END $$"
            )),
        };
    }
    psql.arg("-c").arg(format!("DROP SCHEMA {schema} CASCADE"));
    succeed(psql.env("PGOPTIONS", "--client-min-messages=warning"))
}

enum Step {
    Run(PathBuf),
    MustBeEmpty,
}

fn steps(dialect: &str) -> anyhow::Result<Vec<Step>> {
    let names = names(dialect)?;
    let path =
        |name: &str, way: &str| Step::Run(directory(dialect).join(format!("{name}.{way}.sql")));
    let up = || names.iter().map(|name| path(name, "up"));
    let down = || names.iter().rev().map(|name| path(name, "down"));
    Ok(up()
        .chain(down())
        .chain([Step::MustBeEmpty])
        .chain(up())
        .chain(down())
        .chain([Step::MustBeEmpty])
        .collect())
}

/// The names of the migrations in order, each of which has both ways.
fn names(dialect: &str) -> anyhow::Result<BTreeSet<String>> {
    let directory = directory(dialect);
    let mut ways: [BTreeSet<String>; 2] = Default::default();
    for entry in fs::read_dir(&directory)
        .with_context(|| format!("could not read {}", directory.display()))?
    {
        let name = entry?.file_name().to_string_lossy().into_owned();
        match (name.strip_suffix(".up.sql"), name.strip_suffix(".down.sql")) {
            (Some(name), _) => ways[0].insert(name.to_owned()),
            (_, Some(name)) => ways[1].insert(name.to_owned()),
            (None, None) => bail!("{name} is neither .up.sql nor .down.sql"),
        };
    }
    let [up, down] = ways;
    if up != down || up.is_empty() {
        bail!("each migration of {dialect} needs an .up.sql and a .down.sql");
    }
    Ok(up)
}

fn directory(dialect: &str) -> PathBuf {
    root().join("migrations").join(dialect)
}

fn succeed(command: &mut Command) -> anyhow::Result<Outcome> {
    let output = command
        .output()
        .context("could not run the database's tool")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{}",
            text.trim()
                .lines()
                .last()
                .unwrap_or("it failed without a word")
        );
    }
    Ok(Outcome::Passed)
}
