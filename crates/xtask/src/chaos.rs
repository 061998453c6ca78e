//! The long form of the fault tests: everything goes wrong, one thing after the other, for as long as is asked.

use anyhow::{Context, bail};

use crate::{
    ci::{build_with_failpoints, failpoints_binary, target_dir},
    command::{cargo, command, output, run},
};

/// Runs it with the release binary; the report is printed, and written to `target/chaos-<seed>.json`.
///
/// # Errors
/// When an argument is wrong, something cannot be built, or a check of the report fails.
pub(crate) fn run_chaos(args: &[&str]) -> anyhow::Result<()> {
    let (mut minutes, mut seed) = (None, None);
    let mut rest = args.iter();
    while let Some(name) = rest.next() {
        let number = |value: Option<&&str>| -> anyhow::Result<u64> {
            let value = value.with_context(|| format!("`{name}` needs a number"))?;
            let number = value.parse();
            number.with_context(|| format!("`{value}` is not a number"))
        };
        match *name {
            "--minutes" => minutes = Some(number(rest.next())?),
            "--seed" => seed = Some(number(rest.next())?),
            other => bail!("`{other}` is not an argument of `chaos`"),
        }
    }
    let minutes = minutes.context("`chaos` needs `--minutes N`")?;
    // Any number does, and it is printed.
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    build_with_failpoints()?;
    run(cargo().args(["build", "--release", "-p", "inngest-cli", "--locked"]))?;
    let version = output(command("git").args(["describe", "--always", "--dirty"]));
    let report = target_dir().join(format!("chaos-{seed}.json"));
    let test = "chaos::nothing_is_lost_or_done_twice_whatever_goes_wrong";
    let result = run(cargo()
        .args([
            "test",
            "-p",
            "inngest-tests",
            "--test",
            "faults",
            "--locked",
        ])
        .args(["--", "--exact", test, "--nocapture"])
        .env("INNGEST_BIN", target_dir().join("release/inngest"))
        .env("INNGEST_FAILPOINTS_BIN", failpoints_binary())
        .env("FAULT_SECONDS", (minutes * 60).to_string())
        .env("FAULT_SEED", seed.to_string())
        .env("FAULT_REPORT", &report)
        .env("FAULT_VERSION", version.unwrap_or_default()));
    println!("report: {}", report.display());
    result
}
