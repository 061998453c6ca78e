//! The release before beside this one, on one database: it must go on working on the schema that this one makes.
//!
//! `PREVIOUS_INNGEST` names its binary. There is none before the second release.

use std::process::{Command, Stdio};

#[test]
fn previous_release_runs_on_the_schema_of_this_one() {
    let Some(previous) = std::env::var_os("PREVIOUS_INNGEST") else {
        eprintln!("skipped: there is no earlier release; PREVIOUS_INNGEST would name its binary");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let run = |binary: &std::ffi::OsStr, args: &[&str]| {
        let output = Command::new(binary)
            .args(args)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {text}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let this = std::ffi::OsStr::new(env!("CARGO_BIN_EXE_inngest"));
    // The old one makes the database, the new one changes it, and the old one still opens and uses it.
    run(&previous, &["migrate"]);
    run(this, &["migrate"]);
    run(&previous, &["retention"]);
    assert_eq!(
        run(this, &["migrate", "--dry-run"]),
        "The schema is up to date.\n"
    );
}
