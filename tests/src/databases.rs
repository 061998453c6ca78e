//! A Postgres and a Redis of one test, to be stopped, killed and wiped by it.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    process::{Process, Spec, free_port, own_directory},
    wait::wait_until,
};

/// How long a database may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Postgres server with a data directory of its own.
#[derive(Debug)]
pub struct PrivatePostgres {
    name: String,
    programs: PathBuf,
    data: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl PrivatePostgres {
    /// Starts one; `None` (with a word on standard error) where Postgres is not installed.
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start(name: &str) -> Option<Self> {
        let Some(programs) = postgres_programs() else {
            eprintln!("Postgres is not installed: {name} is left out");
            return None;
        };
        let directory = own_directory(&format!("{name}-postgres"));
        if is_root() {
            run("chown", &["postgres", &text(&directory)]);
            open_way(&directory);
        }
        let data = directory.join("data");
        let mut initdb = as_postgres(&programs.join("initdb"));
        initdb.extend(
            [
                "-U",
                "postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                "-D",
            ]
            .map(str::to_owned),
        );
        initdb.push(text(&data));
        let rest: Vec<&str> = initdb[1..].iter().map(String::as_str).collect();
        run(&initdb[0], &rest);
        let mut postgres = Self {
            name: format!("{name}-postgres"),
            programs,
            data,
            port: free_port(),
            process: None,
        };
        postgres.start_again();
        Some(postgres)
    }

    /// Its URI.
    pub fn uri(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again after a stop, on the same data, and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_again(&mut self) {
        // A server that was killed leaves this behind, and the number in it may be somebody else's by now.
        let _ = fs::remove_file(self.data.join("postmaster.pid"));
        let mut command = as_postgres(&self.programs.join("postgres"));
        let port = self.port.to_string();
        command.extend(
            [
                "-h",
                "127.0.0.1",
                "-k",
                "",
                "-c",
                "max_connections=200",
                "-p",
                &port,
                "-D",
            ]
            .map(str::to_owned),
        );
        command.push(text(&self.data));
        self.process = Some(Process::start(&Spec {
            name: &self.name,
            command: &command,
            directory: Path::new("/"),
            env: BTreeMap::new(),
        }));
        let is_ready = self.programs.join("pg_isready");
        wait_until("Postgres to answer", PATIENCE, || {
            let asked = Command::new(&is_ready)
                .args(["-q", "-h", "127.0.0.1", "-p", &port])
                .status();
            asked.is_ok_and(|status| status.success()).then_some(())
        });
    }

    /// Runs SQL in a session of its own and returns what it prints: rows, their columns separated by `|`.
    ///
    /// # Errors
    /// What `psql` says.
    pub fn sql(&self, text: &str) -> Result<String, String> {
        let output = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text])
            .arg(self.uri())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Stops it as `pg_ctl -m immediate` does: no checkpoint, and every connection is cut.
    pub fn stop_at_once(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal("QUIT");
            process.wait();
        }
        self.process = None;
    }
}

/// A Redis server that keeps nothing on disk.
#[derive(Debug)]
pub struct PrivateRedis {
    name: String,
    port: u16,
    process: Option<Process>,
}

impl PrivateRedis {
    /// Starts one; `None` (with a word on standard error) where Redis is not installed.
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start(name: &str) -> Option<Self> {
        if !has_redis() {
            eprintln!("Redis is not installed: {name} is left out");
            return None;
        }
        let mut redis = Self {
            name: format!("{name}-redis"),
            port: free_port(),
            process: None,
        };
        redis.start_again();
        Some(redis)
    }

    /// Its URI.
    pub fn uri(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it, empty.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start_again(&mut self) {
        let port = self.port.to_string();
        let command = [
            "redis-server",
            "--bind",
            "127.0.0.1",
            "--port",
            &port,
            "--save",
            "",
            "--appendonly",
            "no",
        ];
        self.process = Some(Process::start(&Spec {
            name: &self.name,
            command: &command.map(str::to_owned),
            directory: &own_directory(&self.name),
            env: BTreeMap::new(),
        }));
        wait_until("Redis to answer", PATIENCE, || {
            self.try_command(&["PING"])
                .filter(|answer| answer.starts_with("+PONG"))
        });
    }

    /// Kills it; what it knew is gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Holds it still, or lets it go on.
    pub fn signal(&self, signal: &str) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Sends a command and returns the beginning of the answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words)
            .unwrap_or_else(|| panic!("Redis does not answer {words:?}"))
    }

    /// [`PrivateRedis::command`] of a server that may be down.
    pub fn try_command(&self, words: &[&str]) -> Option<String> {
        ask_redis(self.port, words)
    }
}

/// Whether Redis is installed.
pub fn has_redis() -> bool {
    let found = Command::new("redis-server").arg("--version").output();
    found.is_ok()
}

/// Sends a command to the Redis, or the sentinel, on this port, and returns the beginning of the answer.
pub fn ask_redis(port: u16, words: &[&str]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// `program` as the user that may run Postgres.
fn as_postgres(program: &Path) -> Vec<String> {
    if is_root() {
        // Who becomes another user loses the signal at the end of its parent, so it is asked for again.
        let setpriv = [
            "setpriv",
            "--pdeathsig=KILL",
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
        ];
        let mut command = setpriv.map(str::to_owned).to_vec();
        command.push(text(program));
        command
    } else {
        vec![text(program)]
    }
}

/// Lets others pass through the directories above, which are the tests' own.
fn open_way(directory: &Path) {
    let own = std::env::temp_dir();
    for above in directory.ancestors().skip(1) {
        if above == own || !above.starts_with(&own) {
            return;
        }
        run("chmod", &["a+x", &text(above)]);
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir("/")
        .output()
        .unwrap_or_else(|error| panic!("could not run {program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn is_root() -> bool {
    let asked = Command::new("id").arg("-u").output();
    asked.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The directory of the newest installed Postgres; Debian keeps most of its programs off the search path.
fn postgres_programs() -> Option<PathBuf> {
    let mut installed: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, programs)| programs.join("initdb").is_file())
        .collect();
    installed.sort();
    installed.pop().map(|(_, programs)| programs)
}
