//! Ten times as much at once as a server has room for: it is taken in or put off, and the server stays within its memory.

use std::{
    collections::BTreeMap,
    fmt::Write,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use inngest_tests::{process::free_port, wait::wait_until};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{interval, timeout},
};

use crate::{
    chaos::resident_kb,
    edges::{Heard, head_of, request_of},
    field::{DRAIN, Field, figure},
    load::{Accepted, KINDS},
    number,
};

/// Memory for bodies of requests, in MiB: the least that can be set.
const BUDGET_MIB: u64 = 64;
/// Bytes of a large event.
const LARGE: usize = 2_000_000;
/// How many times what there is room for is sent at once.
const TIMES: u64 = 10;
/// A pause between two waves, whether the one before has been answered or not.
const WAVE: Duration = Duration::from_millis(500);
/// How long a request may take to be answered.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a server may take of memory for each byte of a body that it has accepted: the body, the events made of it, their rows, the
/// statement, and what the allocator keeps of all that.
const COPIES: u64 = 8;

/// The figure that counts who was put off.
const PUT_OFF: &str = "inngest_requests_refused_total";

/// What was heard, and what was accepted by it.
#[derive(Default)]
struct Outcome {
    statuses: BTreeMap<u16, u64>,
    /// Events that start a run.
    accepted: Vec<Accepted>,
    /// All that was acknowledged.
    ids: Vec<String>,
    /// Senders whose connection was reset while they still sent: the answer was there before they had said all.
    cut: u64,
}

/// Says that it is over when it goes, also by a panic.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Outcome {
    /// Notes the answer to a request whose first event starts a run and has this number.
    fn note(&mut self, heard: io::Result<Heard>, number: u64) {
        let heard = match heard {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
                ) =>
            {
                self.cut += 1;
                return;
            }
            heard => heard.expect("every request is answered"),
        };
        *self.statuses.entry(heard.status).or_insert(0) += 1;
        if heard.status != 200 {
            heard.check_is_asked_to_come_back();
            assert_eq!(heard.body["code"].as_str().map(str::is_empty), Some(false));
            return;
        }
        let ids = heard.body["ids"].as_array().cloned().unwrap_or_default();
        let ids = ids.iter().filter_map(Value::as_str).map(str::to_owned);
        let before = self.ids.len();
        self.ids.extend(ids);
        self.accepted.push(Accepted {
            event: self.ids[before].clone(),
            kind: KINDS[0],
            number,
        });
    }
}

#[test]
fn flood_of_large_events_is_taken_in_or_put_off_within_the_memory_set_for_it() {
    let listen = format!("127.0.0.1:{}", free_port());
    let budget = BUDGET_MIB.to_string();
    let more = ["--request-memory", &budget, "--metrics-listen", &listen];
    let Some(field) = Field::start("flood-large", 1, &more) else {
        return;
    };
    let process = field.servers[0].id().expect("it is ours");
    let before = resident_kb(process);
    // What does not fit is refused by the system, and a server that asks for it all the same is gone.
    let limit = number("FAULT_FLOOD_LIMIT_MIB", 1_536) * 1024 * 1024;
    let limited = std::process::Command::new("prlimit")
        .args(["--pid", &process.to_string(), &format!("--as={limit}")])
        .status();
    assert!(limited.is_ok_and(|status| status.success()), "no limit");
    let room = BUDGET_MIB * 1024 * 1024 / LARGE as u64;
    let is_over = AtomicBool::new(false);
    let (outcome, most) = thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            let mut most = before;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(resident_kb(process));
                thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let ending = Ending(&is_over);
        let outcome = in_waves(
            field.servers[0].base(),
            number("FAULT_FLOOD_WAVES", 3),
            room * TIMES,
        );
        drop(ending);
        (outcome, measuring.join().expect("measuring does not panic"))
    });
    let Outcome {
        statuses,
        accepted,
        ids,
        cut,
    } = outcome;
    eprintln!(
        "answers {statuses:?}; resident {before} KiB before, {most} KiB at most, {:.1} times the budget more",
        most.saturating_sub(before) as f64 / (BUDGET_MIB * 1024) as f64
    );
    let put_off = statuses.get(&429).copied().unwrap_or_default();
    assert!(
        put_off > 0 && !accepted.is_empty(),
        "a flood is taken in in part: {statuses:?}"
    );
    assert!(
        most < before + BUDGET_MIB * 1024 * COPIES,
        "resident memory grew from {before} to {most} KiB"
    );
    // Whoever was put off is counted, once.
    let counted = figure(&listen, PUT_OFF);
    assert!(
        counted >= put_off as f64 && counted <= (put_off + cut) as f64,
        "{counted} requests are counted as put off, {put_off} were told so and {cut} were cut"
    );
    assert!(cut < put_off, "{cut} of {put_off} never heard why");
    assert_eq!(figure(&listen, "inngest_request_body_bytes"), 0.0);
    // Afterwards it works as before.
    assert_eq!(field.servers[0].get("/ready").status, 200);
    field.check_stored(&ids);
    field.check_sent(&accepted, &[]);
}

#[test]
fn flood_that_the_database_cannot_follow_is_put_off_and_runs_are_not() {
    /// More than wait for the database at once.
    const REQUESTS: u64 = 2_600;
    /// Holds a lock without which nothing can be stored, until it is told that it was long enough.
    const LOCK: &str = "
        BEGIN; LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE;
        DO $$ BEGIN FOR i IN 1..1200 LOOP
            EXIT WHEN EXISTS (SELECT FROM pg_class WHERE relname = 'long_enough'); PERFORM pg_sleep(0.05);
        END LOOP; END $$; COMMIT;";
    let listen = format!("127.0.0.1:{}", free_port());
    let Some(field) = Field::start("flood-slow", 1, &["--metrics-listen", &listen]) else {
        return;
    };
    let event = json!({"name": "fault/sleeper", "data": {"n": 7}});
    let event = field.servers[0].send(&event).remove(0);
    let mut outcome = thread::scope(|scope| {
        scope.spawn(|| field.postgres.sql(LOCK).expect("the lock is had"));
        let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'events'::regclass AND mode = 'ShareRowExclusiveLock' AND granted";
        wait_until("the lock to be had", PATIENCE, || {
            (field.postgres.sql(locks).as_deref() == Ok("1")).then_some(())
        });
        scope.spawn(|| {
            wait_until("somebody to be put off", PATIENCE, || {
                (figure(&listen, PUT_OFF) > 0.0).then_some(())
            });
            field
                .postgres
                .sql("CREATE TABLE long_enough ()")
                .expect("a table is made");
        });
        runtime().block_on(async {
            let mut sending = JoinSet::new();
            for number in 0..REQUESTS {
                let event = json!([{"name": "fault/plain", "data": {"n": number}}]);
                let request = Request::plain(request_of(&event));
                let address = address(field.servers[0].base());
                sending.spawn(async move { (request.send(address).await, number) });
            }
            heard(sending).await
        })
    });
    eprintln!("answers {:?}", outcome.statuses);
    let put_off = outcome.statuses.get(&429).copied().unwrap_or_default();
    assert!(
        put_off > 0 && !outcome.accepted.is_empty(),
        "{:?}",
        outcome.statuses
    );
    let counted = figure(&listen, PUT_OFF);
    assert!(counted >= put_off as f64 && counted <= (put_off + outcome.cut) as f64);
    field.check_stored(&outcome.ids);
    outcome.accepted.push(Accepted {
        event,
        kind: "sleeper",
        number: 7,
    });
    field.check_sent(&outcome.accepted, &[]);
}

/// Sends waves of so many requests with one large event and one that starts a run, and hears all answers.
fn in_waves(base: &str, waves: u64, requests: u64) -> Outcome {
    let ballast: Arc<str> = "x".repeat(LARGE - 200).into();
    runtime().block_on(async {
        let mut sending = JoinSet::new();
        let mut ticks = interval(WAVE);
        for wave in 0..waves {
            ticks.tick().await;
            for request in 0..requests {
                let number = wave * requests + request;
                let request = Request::with_ballast(number, &ballast);
                let address = address(base);
                sending.spawn(async move { (request.send(address).await, number) });
            }
        }
        heard(sending).await
    })
}

/// A request on a connection of its own. Many share their ballast.
struct Request {
    head: String,
    ballast: Arc<str>,
    tail: &'static str,
}

impl Request {
    fn plain(head: String) -> Self {
        Self {
            head,
            ballast: "".into(),
            tail: "",
        }
    }

    fn with_ballast(number: u64, ballast: &Arc<str>) -> Self {
        const TAIL: &str = "\"}}]";
        let events = format!(
            "[{{\"name\":\"fault/plain\",\"data\":{{\"n\":{number}}}}},{{\"name\":\"fault/unheard\",\"data\":{{\"ballast\":\""
        );
        let length = events.len() + ballast.len() + TAIL.len();
        Self {
            head: head_of(length) + &events,
            ballast: ballast.clone(),
            tail: TAIL,
        }
    }

    /// All of it is sent, also when the answer comes before.
    async fn send(&self, address: String) -> io::Result<Heard> {
        let asking = async {
            let mut stream = TcpStream::connect(address).await?;
            for part in [self.head.as_str(), &self.ballast, self.tail] {
                stream.write_all(part.as_bytes()).await?;
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Heard::read(&answer).ok_or_else(|| io::Error::other("no whole answer"))
        };
        let answered = timeout(PATIENCE, asking).await;
        answered.unwrap_or_else(|_| Err(io::Error::other("no answer in time")))
    }
}

async fn heard(mut sending: JoinSet<(io::Result<Heard>, u64)>) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some(answered) = sending.join_next().await {
        let (heard, number) = answered.expect("a sender does not panic");
        outcome.note(heard, number);
    }
    outcome
}

fn address(base: &str) -> String {
    base.trim_start_matches("http://").to_owned()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
}

impl Field {
    /// Each of these events is in the database.
    fn check_stored(&self, ids: &[String]) {
        let begun = Instant::now();
        for some in ids.chunks(2_000) {
            let mut listed = String::new();
            for id in some {
                let number = ulid(id);
                let _ = write!(
                    listed,
                    "{}'{number:032x}'",
                    if listed.is_empty() { "" } else { "," }
                );
            }
            let sql =
                format!("SELECT count(*) FROM events WHERE id = ANY(ARRAY[{listed}]::uuid[])");
            let stored = self.postgres.sql(&sql);
            assert_eq!(
                stored,
                Ok(some.len().to_string()),
                "events of {} are there",
                some.len()
            );
            assert!(begun.elapsed() < DRAIN);
        }
    }
}

/// The number that a ULID stands for.
fn ulid(text: &str) -> u128 {
    const DIGITS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digit = |c| DIGITS.find(c).expect("an id holds only such letters") as u128;
    text.chars().fold(0, |number, c| number << 5 | digit(c))
}
