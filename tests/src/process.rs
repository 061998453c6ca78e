//! Processes that end when the tests end, also when the tests are killed.

use std::{
    collections::BTreeMap,
    env, fs,
    fs::File,
    io,
    net::TcpListener,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
        mpsc::{self, Sender},
    },
    thread,
};

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// What to start. The environment is empty but for `PATH`, `HOME` and `env`, so that a developer's settings and
/// proxies change nothing.
#[derive(Debug)]
pub struct Spec<'a> {
    /// Names the log file.
    pub name: &'a str,
    /// Program and arguments.
    pub command: &'a [String],
    /// Working directory.
    pub directory: &'a Path,
    /// Environment.
    pub env: BTreeMap<String, String>,
}

impl Process {
    /// Starts `spec`; its output goes to a log file.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(spec: &Spec<'_>) -> Self {
        let log = log_directory().join(format!("{}.log", spec.name));
        let output = File::create(&log).expect("the log directory is ours");
        let errors = output.try_clone().expect("a file handle can be duplicated");

        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .args(spec.command);
        if !has_setpriv() {
            command = Command::new(&spec.command[0]);
            command.args(&spec.command[1..]);
        }
        command
            .current_dir(spec.directory)
            .env_clear()
            .envs(env::vars().filter(|(name, _)| name == "PATH" || name == "HOME"))
            .envs(&spec.env)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let child = spawn(command).unwrap_or_else(|error| {
            panic!("could not start `{}`: {error}", spec.command.join(" "))
        });
        Self { child, log }
    }

    /// The end of the log, for a failure message.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(30)..];
        format!("{}:\n{}", self.log.display(), tail.join("\n"))
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, for example `STOP`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        // It may have ended already.
        let _ = Command::new("kill")
            .args([&format!("-{signal}"), &id])
            .status();
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) {
        // Then it has ended already.
        let _ = self.child.wait();
    }

    /// Kills the process without a chance to clean up, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A loopback port nobody listens on at this moment.
///
/// # Panics
/// When the system has no free port.
pub fn free_port() -> u16 {
    // Below the ports that the system gives to connections: one of these could be taken while nobody listens on it, as when an app is
    // restarted. Each process begins elsewhere and gives no port twice until it has been round.
    const PORTS: Range<u16> = 10_000..32_000;
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let begin = std::process::id().wrapping_mul(2_654_435_761) % PORTS.len() as u32;
    for _ in PORTS {
        let number = u32::from(GIVEN.fetch_add(1, Ordering::Relaxed));
        let place = (begin + number) % PORTS.len() as u32;
        let port = PORTS.start + u16::try_from(place).expect("a place among the ports");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("the system has no free port");
}

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in the workspace")
}

/// An empty directory for what `name` leaves behind.
///
/// # Panics
/// When it cannot be made.
pub fn own_directory(name: &str) -> PathBuf {
    let directory = log_directory().join(name);
    fs::create_dir_all(&directory).expect("the temporary directory is writable");
    directory
}

fn log_directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = env::temp_dir().join(format!("inngest-tests-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("the temporary directory is writable");
        directory
    })
}

fn has_setpriv() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let probe = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "true"])
            .output();
        probe.is_ok_and(|output| output.status.success())
    })
}

type Request = (Command, Sender<io::Result<Child>>);

/// Spawns from one thread that lives as long as the test process. A parent-death signal fires when the *thread* that
/// spawned ends, and the thread of a single test ends long before the last test.
fn spawn(command: Command) -> io::Result<Child> {
    static KEEPER: OnceLock<Sender<Request>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (mut command, reply) in requests {
                // The one who asked may have panicked meanwhile; then dropping the child is all that is left.
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, answer) = mpsc::channel();
    keeper
        .send((command, reply))
        .expect("the keeper never stops");
    answer.recv().expect("the keeper answers every request")
}
