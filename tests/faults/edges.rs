//! What happens at the edges of a server: cut between a commit and its answer, without connections, behind a lock.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use inngest_tests::{http::SIGNING_KEY, proxy::Proxy, wait::wait_until};
use serde_json::{Value, json};

use crate::{chaos::take_connections, check::Kill, field::Field, number};

/// A pause between two events.
const PACE: Duration = Duration::from_millis(15);
/// How long a fault that is asked for may take to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lets a thing happen to a network again and again while there is load, and returns when each happened.
fn again_and_again(network: &Proxy, happen: impl Fn(&Proxy)) -> Vec<Kill> {
    let times = number("FAULT_CUTS", 25);
    let mut faults = Vec::new();
    for _ in 0..times {
        let (at, before) = (Instant::now(), network.done());
        happen(network);
        wait_until("a connection to be cut", PATIENCE, || {
            (network.done() > before).then_some(())
        });
        faults.push(Kill {
            at,
            until: Instant::now(),
        });
        thread::sleep(Duration::from_millis(120));
    }
    faults
}

#[test]
fn commits_whose_outcome_nobody_learns_lose_nothing_and_double_nothing() {
    let Some(field) = Field::start("edge-unknown", 1, &[]) else {
        return;
    };
    let load = field.load(PACE);
    let faults = again_and_again(&field.to_postgres[0], |to| to.lose_commit_replies(1));
    field.check(load, &faults);
}

#[test]
fn commits_that_never_reach_the_database_lose_nothing_and_double_nothing() {
    let Some(field) = Field::start("edge-unsent", 1, &[]) else {
        return;
    };
    let load = field.load(PACE);
    let faults = again_and_again(&field.to_postgres[0], |to| to.cut_before_commits(1));
    field.check(load, &faults);
}

#[test]
fn redis_that_is_cut_off_in_the_middle_of_a_word_makes_nobody_work_twice() {
    let Some(field) = Field::start("edge-redis", 1, &[]) else {
        return;
    };
    let load = field.load(PACE);
    again_and_again(&field.to_redis[0], |to| to.lose_replies(1));
    again_and_again(&field.to_redis[0], |to| to.halve_requests(1));
    field.check(load, &[]);
}

#[test]
fn server_cut_off_from_both_databases_is_replaced_and_comes_back() {
    let Some(field) = Field::start("edge-cut-off", 2, &[]) else {
        return;
    };
    let load = field.load(PACE);
    thread::sleep(Duration::from_secs(1));
    let at = Instant::now();
    let ends = [&field.to_postgres[1], &field.to_redis[1]];
    ends.iter().for_each(|end| end.set_silent(true));
    // Longer than the other waits for a word of it.
    thread::sleep(Duration::from_secs(number("FAULT_STILL_SECONDS", 18)));
    ends.iter().for_each(|end| end.set_silent(false));
    let until = Instant::now() + Duration::from_secs(5);
    wait_until("the server to be ready", PATIENCE, || {
        (field.servers[1].get("/ready").status == 200).then_some(())
    });
    field.check(load, &[Kill { at, until }]);
}

#[test]
fn lock_on_the_runs_delays_writers_and_not_readers() {
    let Some(field) = Field::start("edge-lock", 1, &[]) else {
        return;
    };
    let event = json!({"name": "fault/plain", "id": "before", "data": {"n": 0}});
    let event = field.servers[0].send(&event).remove(0);
    wait_until("a run", PATIENCE, || {
        (!field.servers[0].runs_of(&event).is_empty()).then_some(())
    });
    let load = field.load(PACE);
    let is_locked = AtomicBool::new(true);
    let slowest = thread::scope(|scope| {
        scope.spawn(|| {
            let lock =
                "BEGIN; LOCK TABLE runs IN SHARE ROW EXCLUSIVE MODE; SELECT pg_sleep(4); COMMIT";
            let locked = field.postgres.sql(lock);
            is_locked.store(false, Ordering::Relaxed);
            locked.expect("the lock is had");
        });
        let (mut reads, mut slowest) = (0, Duration::ZERO);
        while is_locked.load(Ordering::Relaxed) {
            let begun = Instant::now();
            assert_eq!(field.servers[0].runs_of(&event).len(), 1);
            slowest = slowest.max(begun.elapsed());
            reads += 1;
        }
        eprintln!("{reads} reads during the lock, the slowest took {slowest:?}");
        slowest
    });
    // The lock lasted 4 s; nobody waited for it in order to read.
    assert!(slowest < Duration::from_secs(3), "a read took {slowest:?}");
    field.check(load, &[]);
}

#[test]
fn postgres_without_free_connections_is_said_so_and_forgotten_afterwards() {
    let Some(field) = Field::start("edge-taken", 1, &[]) else {
        return;
    };
    let load = field.load(PACE);
    thread::sleep(Duration::from_secs(1));
    let at = Instant::now();
    let mut taken = Vec::new();
    let begun = Instant::now();
    let refused = wait_until("an event to be refused", PATIENCE, || {
        // Whoever is cut off does not get a new connection, unless it is quicker; then once more.
        field.to_postgres[0].cut_all();
        taken.extend(take_connections(field.postgres.port(), 400));
        let answer = post(
            field.servers[0].base(),
            &json!({"name": "fault/unheard", "data": {}}),
        )?;
        (answer.status != 200).then_some(answer)
    });
    eprintln!(
        "{} connections taken; {} after {:?}: {}",
        taken.len(),
        refused.status,
        begun.elapsed(),
        refused.body
    );
    refused.check_is_asked_to_come_back();
    drop(taken);
    let freed = Instant::now();
    wait_until("an event to be accepted again", PATIENCE, || {
        let answer = post(
            field.servers[0].base(),
            &json!({"name": "fault/unheard", "data": {}}),
        )?;
        (answer.status == 200).then_some(())
    });
    eprintln!(
        "accepted {:?} after there were connections",
        freed.elapsed()
    );
    let until = Instant::now();
    field.check(load, &[Kill { at, until }]);
}

#[test]
fn senders_that_hang_up_leave_nothing_undone() {
    /// Sooner than the table is read again by itself, which would find what nobody was told of.
    const SOON: Duration = Duration::from_secs(60);
    let Some(field) = Field::start("edge-hang-up", 1, &[]) else {
        return;
    };
    for number in 0..number("FAULT_HANG_UPS", 400) {
        let event = json!({"name": "fault/plain", "data": {"n": number}});
        // The time that storing takes, more or less: some hang up before, some while and some after it is done.
        let stream = say(field.servers[0].base(), &event).expect("the server listens");
        thread::sleep(Duration::from_micros(number % 40 * 250));
        drop(stream);
    }
    let open = "SELECT count(*), count(ended_at) FROM runs WHERE event_name = 'fault/plain'";
    let runs = wait_until("all runs to end", SOON, || {
        let counted = field.postgres.sql(open).expect("the database answers");
        let (runs, ended) = counted.split_once('|')?;
        (runs != "0" && runs == ended).then(|| runs.to_owned())
    });
    eprintln!("{runs} runs of senders that hung up");
    field.check_sent(&[], &[]);
}

/// An answer with its headers.
pub(crate) struct Heard {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Value,
}

impl Heard {
    /// Reads an answer; `None` when it is not whole.
    pub(crate) fn read(answer: &str) -> Option<Self> {
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some(Self {
            status: head.split(' ').nth(1)?.parse().ok()?,
            head: head.to_owned(),
            body: serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())),
        })
    }

    /// A header, its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let has_name = |line: &&str| {
            line.split_once(':')
                .is_some_and(|(own, _)| own.eq_ignore_ascii_case(name))
        };
        let line = self.head.lines().find(has_name)?;
        Some(line[name.len() + 1..].trim())
    }

    /// Whoever is put off is told when to come back, soon, and by a code why.
    pub(crate) fn check_is_asked_to_come_back(&self) {
        assert!(
            matches!(self.status, 429 | 503),
            "{} {}",
            self.status,
            self.body
        );
        let seconds = self
            .header("retry-after")
            .and_then(|text| text.parse().ok());
        assert!(
            seconds.is_some_and(|seconds: u64| (1..=2).contains(&seconds)),
            "{}",
            self.head
        );
    }
}

/// Posts events over a connection of its own; `None` when there is no answer.
pub(crate) fn post(base: &str, events: &Value) -> Option<Heard> {
    let mut stream = say(base, events)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Heard::read(&answer)
}

/// Asks for events to be taken in; the answer is still to come.
fn say(base: &str, events: &Value) -> Option<TcpStream> {
    let address = base.strip_prefix("http://")?;
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(request_of(events).as_bytes()).ok()?;
    Some(stream)
}

/// A request that sends events and ends its connection.
pub(crate) fn request_of(events: &Value) -> String {
    let body = events.to_string();
    head_of(body.len()) + &body
}

/// The head of such a request, whose body has so many bytes.
pub(crate) fn head_of(length: usize) -> String {
    format!(
        "POST /e/test HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {SIGNING_KEY}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n"
    )
}
