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
    cluster: Result<Database, String>,
}

struct Database {
    variable: &'static str,
    url: String,
    /// None for one that somebody else runs.
    _servers: Vec<Server>,
}

impl Databases {
    /// Starts what is installed. A database whose variable is set already is taken as it is.
    pub(crate) fn start() -> Self {
        Self {
            postgres: database("TEST_POSTGRES_URL", start_postgres),
            redis: database("TEST_REDIS_URL", start_redis),
            cluster: database("TEST_REDIS_CLUSTER_URL", start_cluster),
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

    /// Whether tests can use a Redis cluster.
    pub(crate) fn cluster(&self) -> anyhow::Result<Outcome> {
        outcome(&self.cluster)
    }

    /// What tests find the databases by.
    pub(crate) fn variables(&self) -> Vec<(&'static str, &str)> {
        let all = [&self.postgres, &self.redis, &self.cluster];
        all.into_iter()
            .flatten()
            .map(|database| (database.variable, database.url.as_str()))
            .collect()
    }
}

fn database(
    variable: &'static str,
    start: fn() -> anyhow::Result<(String, Vec<Server>)>,
) -> Result<Database, String> {
    if let Some(url) = std::env::var_os(variable) {
        return Ok(Database {
            variable,
            url: url.to_string_lossy().into_owned(),
            _servers: Vec::new(),
        });
    }
    match start() {
        Ok((url, servers)) => Ok(Database {
            variable,
            url,
            _servers: servers,
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

fn start_postgres() -> anyhow::Result<(String, Vec<Server>)> {
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
        vec![server],
    ))
}

fn start_redis() -> anyhow::Result<(String, Vec<Server>)> {
    let (port, server) = start_node("redis", &[])?;
    Ok((format!("redis://127.0.0.1:{port}"), vec![server]))
}

/// Three masters and a replica of each, which is the least that a cluster is made of.
fn start_cluster() -> anyhow::Result<(String, Vec<Server>)> {
    let redis_cli = find_program("redis-cli").context("Redis is not installed")?;
    let (mut ports, mut servers) = (Vec::new(), Vec::new());
    for number in 0..6 {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let (port, server) = start_node(&format!("cluster-{number}"), &options)?;
        ports.push(port);
        servers.push(server);
    }
    let nodes = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    let nodes: Vec<String> = nodes.collect();
    let mut create = command(redis_cli);
    create.args(["--cluster", "create"]).args(&nodes).args([
        "--cluster-replicas",
        "1",
        "--cluster-yes",
    ]);
    if output(&mut create).is_none() {
        bail!("the nodes did not form a cluster");
    }
    Ok((format!("redis-cluster://{}", nodes[..3].join(",")), servers))
}

/// A Redis that keeps nothing. The bus of a cluster's node is 10,000 above its port, so that only low ports will do.
fn start_node(name: &str, options: &[&str]) -> anyhow::Result<(u16, Server)> {
    let program = find_program("redis-server").context("Redis is not installed")?;
    let directory = Directory::make(name)?;
    let port = (0..100)
        .filter_map(|_| free_port().ok())
        .find(|port| *port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok())
        .context("could not find a free port")?;
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
        ])
        .args(options)
        .arg("--dir")
        .arg(&directory.0);
    let server = Server::start(redis.current_dir(&directory.0), directory)?;
    server.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok((port, server))
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
