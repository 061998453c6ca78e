//! What the tests need from the machine, and how to get it on Debian and Ubuntu.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::{Context, bail};

use crate::command::{command, find_program, is_root, output, run};

const OLDEST_NODE: u32 = 20;

struct Need {
    what: &'static str,
    packages: &'static [&'static str],
    is_there: fn() -> bool,
    elsewhere: &'static str,
}

const NEEDS: [Need; 6] = [
    Need {
        what: "Node.js 20 or newer",
        packages: &["nodejs"],
        is_there: || node_version().is_some_and(|version| version >= OLDEST_NODE),
        elsewhere: "install it from https://nodejs.org (Debian 12's own is too old)",
    },
    Need {
        what: "npm",
        packages: &["npm"],
        is_there: || find_program("npm").is_some(),
        elsewhere: "it comes with Node.js",
    },
    Need {
        what: "Python 3 with venv",
        packages: &["python3", "python3-venv"],
        is_there: || output(command("python3").args(["-c", "import venv, ensurepip"])).is_some(),
        elsewhere: "install Python 3.10 or newer",
    },
    Need {
        what: "Postgres",
        packages: &["postgresql"],
        is_there: || find_program("initdb").is_some() || Path::new("/usr/lib/postgresql").is_dir(),
        elsewhere: "install Postgres 14 or newer, or set TEST_POSTGRES_URL",
    },
    Need {
        what: "Redis",
        packages: &["redis-server"],
        is_there: || find_program("redis-server").is_some(),
        elsewhere: "install Redis 7 or newer, or set TEST_REDIS_URL",
    },
    Need {
        what: "libfaketime",
        packages: &["libfaketime"],
        is_there: || {
            let places = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
            places
                .map(|place| place.path().join("faketime/libfaketimeMT.so.1"))
                .any(|library| library.exists())
        },
        elsewhere: "install libfaketime; without it no test sets a server's clock",
    },
];

/// Installs what is missing if this is root (or sudo works without a password) on a system with apt-get.
///
/// # Errors
/// When something is still missing at the end; the message says how to get it.
pub(crate) fn run_setup() -> anyhow::Result<()> {
    if let Some(apt) = apt_get() {
        let packages: Vec<&str> = missing()
            .flat_map(|need| need.packages.iter().copied())
            .collect();
        if !packages.is_empty() {
            install(&apt, &packages)?;
        }
    }
    let mut still = Vec::new();
    for need in &NEEDS {
        if (need.is_there)() {
            println!("{}: there", need.what);
        } else {
            println!("{}: MISSING; {}", need.what, need.elsewhere);
            still.push(need.what);
        }
    }
    if find_program("cargo-nextest").is_none() {
        println!("cargo-nextest: not installed, `cargo test` is used instead");
    }
    if !still.is_empty() {
        bail!("missing: {}", still.join(", "));
    }
    Ok(())
}

fn missing() -> impl Iterator<Item = &'static Need> {
    NEEDS.iter().filter(|need| !(need.is_there)())
}

fn node_version() -> Option<u32> {
    output(command("node").arg("--version"))?
        .trim_start_matches('v')
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// The words before the arguments of apt-get; `None` where it cannot be used.
fn apt_get() -> Option<Vec<&'static str>> {
    find_program("apt-get")?;
    if is_root() {
        return Some(vec!["apt-get"]);
    }
    output(command("sudo").args(["-n", "true"])).map(|_| vec!["sudo", "-n", "apt-get"])
}

fn install(apt: &[&str], packages: &[&str]) -> anyhow::Result<()> {
    let apt_get = || -> anyhow::Result<Command> {
        let (program, rest) = apt.split_first().context("no program")?;
        let mut apt_get = command(program);
        apt_get.args(rest).env("DEBIAN_FRONTEND", "noninteractive");
        Ok(apt_get)
    };
    let _quiet = NoServices::declare();
    run(apt_get()?.arg("update"))?;
    run(apt_get()?
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages))
}

/// Keeps packages from starting their servers while they are installed: tests start their own.
struct NoServices;

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn declare() -> Option<Self> {
        if Path::new(POLICY).exists() {
            return None;
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").ok()?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).ok()?;
        Some(Self)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(POLICY) {
            println!("could not delete {POLICY}: {error}");
        }
    }
}
