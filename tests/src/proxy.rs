//! A stretch of network between two processes that can be made slow, cut, or silent while they talk.
//!
//! It knows just enough of what passes to be cruel at the right moment: where a Postgres client says `COMMIT`, and where a request
//! ends and its reply begins. What it never does is what a network never does either, losing bytes in the middle of a connection that
//! stays open.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// How long the far side may take to accept a connection.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a silent stretch looks whether it may speak again.
const LOOK: Duration = Duration::from_millis(5);
/// The simple query by which a transaction of Postgres is committed.
const COMMIT: &[u8] = b"COMMIT\0";

/// A running proxy; it listens until the process ends.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    network: Arc<Network>,
}

/// What is wrong with it now, and what has been done.
#[derive(Debug, Default)]
struct Network {
    is_silent: AtomicBool,
    /// In µs, for each piece that passes.
    delay: AtomicU64,
    jitter: AtomicU64,
    /// 0 is unlimited.
    bytes_per_second: AtomicU64,
    /// How many of these are still to be done.
    commits_unsent: AtomicU64,
    commit_replies_lost: AtomicU64,
    replies_lost: AtomicU64,
    requests_halved: AtomicU64,
    done: AtomicU64,
    dice: AtomicU64,
    lines: Mutex<Vec<Weak<Line>>>,
}

/// One connection that passes through.
#[derive(Debug)]
struct Line {
    client: TcpStream,
    server: TcpStream,
    /// The next thing that the server says is not passed on, and the line is cut.
    is_doomed: AtomicBool,
}

impl Line {
    fn cut(&self) {
        // Either side may be gone already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

impl Proxy {
    /// Listens on loopback and passes everything on to `port`, where nobody need listen yet.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let own = listener
            .local_addr()
            .expect("a bound socket has an address");
        let network = Arc::new(Network::default());
        network.dice.store(u64::from(own.port()) | 1, Relaxed);
        let far = SocketAddr::from(([127, 0, 0, 1], port));
        let shared = network.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let network = shared.clone();
                thread::spawn(move || network.pass(client, far));
            }
        });
        Self {
            port: own.port(),
            network,
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Holds everything back, also new connections, until it is told otherwise. Nobody is told that anything is wrong.
    pub fn set_silent(&self, is_silent: bool) {
        self.network.is_silent.store(is_silent, Relaxed);
    }

    /// Holds back each piece in each direction for `delay`, give or take `jitter`.
    pub fn set_delay(&self, delay: Duration, jitter: Duration) {
        self.network.delay.store(micros(delay), Relaxed);
        self.network.jitter.store(micros(jitter), Relaxed);
    }

    /// Lets so many bytes of each connection pass in a second, in each direction; 0 is as many as there are.
    pub fn set_bandwidth(&self, bytes_per_second: u64) {
        self.network
            .bytes_per_second
            .store(bytes_per_second, Relaxed);
    }

    /// Cuts the next `count` connections that say `COMMIT`, before Postgres hears of it.
    pub fn cut_before_commits(&self, count: u64) {
        self.network.commits_unsent.fetch_add(count, Relaxed);
    }

    /// Cuts the next `count` connections that say `COMMIT`, when Postgres has answered and before the client hears of it.
    pub fn lose_commit_replies(&self, count: u64) {
        self.network.commit_replies_lost.fetch_add(count, Relaxed);
    }

    /// Cuts the next `count` connections that say anything, when the other side has answered and before the client hears of it.
    pub fn lose_replies(&self, count: u64) {
        self.network.replies_lost.fetch_add(count, Relaxed);
    }

    /// Passes on half of the next `count` pieces that clients say, and cuts their connections.
    pub fn halve_requests(&self, count: u64) {
        self.network.requests_halved.fetch_add(count, Relaxed);
    }

    /// Cuts all connections.
    pub fn cut_all(&self) {
        for line in self.network.lines().iter().filter_map(Weak::upgrade) {
            line.cut();
        }
    }

    /// How many connections it has cut because of something that was said.
    pub fn done(&self) -> u64 {
        self.network.done.load(Relaxed)
    }

    /// Makes it an ordinary network again. Connections that are still open stay so.
    pub fn heal(&self) {
        let network = &self.network;
        network.is_silent.store(false, Relaxed);
        for number in [
            &network.delay,
            &network.jitter,
            &network.bytes_per_second,
            &network.commits_unsent,
            &network.commit_replies_lost,
            &network.replies_lost,
            &network.requests_halved,
        ] {
            number.store(0, Relaxed);
        }
    }
}

impl Network {
    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(self: Arc<Self>, client: TcpStream, far: SocketAddr) {
        self.wait_while_silent();
        // Nobody there: the client's connection is closed.
        let Ok(server) = TcpStream::connect_timeout(&far, PATIENCE) else {
            return;
        };
        let is_fast = client.set_nodelay(true).and(server.set_nodelay(true));
        let line = Arc::new(Line {
            client,
            server,
            is_doomed: AtomicBool::new(false),
        });
        {
            let mut lines = self.lines();
            lines.retain(|line| line.strong_count() > 0);
            lines.push(Arc::downgrade(&line));
        }
        if is_fast.is_ok() {
            let (network, back) = (self.clone(), line.clone());
            let replies = thread::spawn(move || network.pass_replies(&back));
            self.pass_requests(&line);
            line.cut();
            // It ends when its end of the line is cut; it does not panic.
            let _ = replies.join();
        }
    }

    fn pass_requests(&self, line: &Line) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length) = (&line.client).read(&mut buffer) {
            if length == 0 {
                return;
            }
            let piece = &buffer[..length];
            self.hold_back(length);
            let is_commit = piece.windows(COMMIT.len()).any(|part| part == COMMIT);
            if is_commit && self.take(&self.commits_unsent) {
                return;
            }
            if self.take(&self.requests_halved) {
                // It is cut in any case.
                let _ = (&line.server).write_all(&piece[..length / 2]);
                return;
            }
            if is_commit && self.take(&self.commit_replies_lost) || self.take(&self.replies_lost) {
                line.is_doomed.store(true, Relaxed);
            }
            if (&line.server).write_all(piece).is_err() {
                return;
            }
        }
    }

    fn pass_replies(&self, line: &Line) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length) = (&line.server).read(&mut buffer) {
            if length == 0 || line.is_doomed.load(Relaxed) {
                break;
            }
            self.hold_back(length);
            if (&line.client).write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        line.cut();
    }

    /// Takes one of `left`, if there is one.
    fn take(&self, left: &AtomicU64) -> bool {
        let taken = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        if taken.is_ok() {
            self.done.fetch_add(1, Relaxed);
        }
        taken.is_ok()
    }

    fn hold_back(&self, length: usize) {
        let (delay, jitter) = (self.delay.load(Relaxed), self.jitter.load(Relaxed));
        let mut micros = delay;
        if jitter > 0 {
            micros = (delay + self.roll(2 * jitter)).saturating_sub(jitter);
        }
        if let Some(each) = 1_000_000u64.checked_div(self.bytes_per_second.load(Relaxed)) {
            micros += each * length as u64;
        }
        if micros > 0 {
            thread::sleep(Duration::from_micros(micros));
        }
        self.wait_while_silent();
    }

    fn wait_while_silent(&self) {
        while self.is_silent.load(Relaxed) {
            thread::sleep(LOOK);
        }
    }

    fn roll(&self, sides: u64) -> u64 {
        let mut dice = self.dice.load(Relaxed);
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        self.dice.store(dice, Relaxed);
        dice % sides
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
