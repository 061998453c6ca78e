//! A private Postgres and a private Redis for the tests: own directory, own port, gone at the end.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    ci::Outcome,
    command::{command, find_program, is_root, output},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Both databases, each as far as it could be had. Dropping it stops them and deletes their files.
pub(crate) struct Databases {
    postgres: Result<Database, String>,
    redis: Result<Database, String>,
}

struct Database {
    variable: &'static str,
    url: String,
    /// `None` for one that somebody else runs.
    _server: Option<Server>,
}

impl Databases {
    /// Starts what is installed. A database whose variable is set already is taken as it is.
    pub(crate) fn start() -> Self {
        Self {
            postgres: database("TEST_POSTGRES_URL", start_postgres),
            redis: database("TEST_REDIS_URL", start_redis),
        }
    }

    /// Whether tests can use Postgres.
    pub(crate) fn postgres(&self) -> anyhow::Result<Outcome> {
        outcome(&self.postgres)
    }

    /// Where Postgres is, if it is there.
    pub(crate) fn postgres_url(&self) -> Option<&str> {
        self.postgres
            .as_ref()
            .ok()
            .map(|database| database.url.as_str())
    }

    /// Whether tests can use Redis.
    pub(crate) fn redis(&self) -> anyhow::Result<Outcome> {
        outcome(&self.redis)
    }

    /// What tests find the databases by.
    pub(crate) fn variables(&self) -> Vec<(&'static str, &str)> {
        let both = [&self.postgres, &self.redis];
        both.into_iter()
            .flatten()
            .map(|database| (database.variable, database.url.as_str()))
            .collect()
    }
}

fn database(
    variable: &'static str,
    start: fn() -> anyhow::Result<(String, Server)>,
) -> Result<Database, String> {
    if let Some(url) = std::env::var_os(variable) {
        return Ok(Database {
            variable,
            url: url.to_string_lossy().into_owned(),
            _server: None,
        });
    }
    match start() {
        Ok((url, server)) => Ok(Database {
            variable,
            url,
            _server: Some(server),
        }),
        Err(error) => Err(format!("{error:#}")),
    }
}

fn outcome(database: &Result<Database, String>) -> anyhow::Result<Outcome> {
    match database {
        Ok(database) => {
            println!("{}={}", database.variable, database.url);
            Ok(Outcome::Passed)
        }
        Err(reason) => Ok(Outcome::Skipped(format!(
            "{reason}; its tests are left out (`cargo xtask setup` installs it)"
        ))),
    }
}

fn start_postgres() -> anyhow::Result<(String, Server)> {
    let programs = postgres_programs().context("Postgres is not installed")?;
    let account = Account::for_postgres()?;
    let directory = Directory::make("postgres")?;
    account.give(&directory.0)?;
    let data = directory.0.join("data");
    let mut initdb = account.run(&programs.join("initdb"));
    initdb
        .args([
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "-D",
        ])
        .arg(&data);
    if output(initdb.current_dir(&directory.0)).is_none() {
        bail!("initdb failed in {}", data.display());
    }
    let port = free_port()?;
    let mut postgres = account.run(&programs.join("postgres"));
    postgres
        .args([
            "-h",
            "127.0.0.1",
            "-k",
            "",
            "-c",
            "max_connections=300",
            "-p",
            &port.to_string(),
            "-D",
        ])
        .arg(&data);
    let server = Server::start(postgres.current_dir(&directory.0), directory)?;
    let is_ready = || {
        let port = port.to_string();
        output(command(programs.join("pg_isready")).args(["-q", "-h", "127.0.0.1", "-p", &port]))
            .is_some()
    };
    server.wait_until(is_ready)?;
    Ok((
        format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        server,
    ))
}

fn start_redis() -> anyhow::Result<(String, Server)> {
    let program = find_program("redis-server").context("Redis is not installed")?;
    let directory = Directory::make("redis")?;
    let port = free_port()?;
    let mut redis = with_death_signal(command("setpriv"), &program);
    redis
        .args([
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
        ])
        .arg(&directory.0);
    let server = Server::start(redis.current_dir(&directory.0), directory)?;
    server.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok((format!("redis://127.0.0.1:{port}"), server))
}

/// The directory of the newest installed Postgres; Debian keeps most of its programs off the search path.
fn postgres_programs() -> Option<PathBuf> {
    let has_all = |directory: &PathBuf| {
        ["initdb", "postgres", "pg_isready"]
            .iter()
            .all(|name| directory.join(name).is_file())
    };
    let on_path = find_program("initdb")
        .and_then(|initdb| fs::canonicalize(initdb).ok()?.parent().map(Path::to_owned));
    let mut installed: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    installed.sort();
    on_path
        .into_iter()
        .chain(installed.into_iter().rev().map(|(_, path)| path))
        .find(has_all)
}

/// Who runs Postgres, which refuses to be run by root.
enum Account {
    Own,
    Postgres,
}

impl Account {
    fn for_postgres() -> anyhow::Result<Self> {
        if !is_root() {
            return Ok(Self::Own);
        }
        if output(command("id").args(["-u", "postgres"])).is_none() {
            bail!("Postgres does not run as root, and there is no user `postgres`");
        }
        if find_program("setpriv").is_none() {
            bail!("Postgres does not run as root, and `setpriv` (util-linux) is not installed");
        }
        Ok(Self::Postgres)
    }

    fn give(&self, directory: &Path) -> anyhow::Result<()> {
        if matches!(self, Self::Postgres)
            && output(command("chown").arg("postgres").arg(directory)).is_none()
        {
            bail!(
                "could not give {} to the user `postgres`",
                directory.display()
            );
        }
        Ok(())
    }

    fn run(&self, program: &Path) -> Command {
        let mut setpriv = command("setpriv");
        if matches!(self, Self::Postgres) {
            setpriv.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        }
        with_death_signal(setpriv, program)
    }
}

/// `program`, to be ended by the system when this process is killed, where `setpriv` can arrange that.
fn with_death_signal(mut setpriv: Command, program: &Path) -> Command {
    if find_program("setpriv").is_none() {
        return command(program);
    }
    setpriv.args(["--pdeathsig", "INT", "--"]).arg(program);
    setpriv
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("could not find a free port")?;
    Ok(listener.local_addr()?.port())
}

/// A directory of our own, deleted at the end.
struct Directory(PathBuf);

impl Directory {
    /// In the system's directory for temporary files: an account that runs Postgres may not be able to enter the workspace.
    fn make(name: &str) -> anyhow::Result<Self> {
        let path =
            std::env::temp_dir().join(format!("inngest-xtask-{name}-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("could not make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            println!("could not delete {}: {error}", self.0.display());
        }
    }
}

/// A running server. Its fields are dropped in order: first the process ends, then its files go.
struct Server {
    process: Process,
    directory: Directory,
}

struct Process(Child);

impl Server {
    fn start(command: &mut Command, directory: Directory) -> anyhow::Result<Self> {
        let log = fs::File::create(directory.0.join("log")).context("could not write a log")?;
        let errors = log.try_clone().context("could not write a log")?;
        let child = command
            .stdout(log)
            .stderr(errors)
            .stdin(Stdio::null())
            .spawn();
        let process =
            Process(child.with_context(|| format!("could not start {:?}", command.get_program()))?);
        Ok(Self { process, directory })
    }

    fn wait_until(&self, is_ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_ready() {
            let ended = fs::metadata(format!("/proc/{}", self.process.0.id())).is_err()
                && Path::new("/proc/self").exists();
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(self.directory.0.join("log")).unwrap_or_default();
                bail!(
                    "the server did not start: {}",
                    log.lines().last().unwrap_or("it said nothing")
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let id = self.0.id().to_string();
        let asked = output(command("kill").args(["-INT", &id])).is_some();
        let deadline = Instant::now() + Duration::from_secs(10);
        while asked && Instant::now() < deadline {
            if let Ok(Some(_)) = self.0.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let killed = self.0.kill().and_then(|()| self.0.wait());
        if let Err(error) = killed {
            println!("could not stop process {id}: {error}");
        }
    }
}
