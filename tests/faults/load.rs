//! A sender that does not give up: it repeats each request with the same id until it is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use inngest_tests::http;
use serde_json::json;

/// The functions of the stub app, in the order in which they get their events.
pub(crate) const KINDS: [&str; 9] = [
    "plain",
    "steps",
    "parallel",
    "sleeper",
    "waiter",
    "parent",
    "reporter",
    "failing",
    "cancelled",
];

/// An event whose sender got an answer.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    /// The id that the server gave it.
    pub(crate) event: String,
    /// Which function it starts.
    pub(crate) kind: &'static str,
    /// Its number.
    pub(crate) number: u64,
}

/// A running sender.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    failures: Arc<AtomicU64>,
    sending: JoinHandle<Vec<Accepted>>,
}

impl Load {
    /// Sends an event every `pause`, `most` in all if that is said.
    pub(crate) fn start(server: &str, pause: Duration, most: Option<u64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, stopped) = (format!("{server}/e/test"), stop.clone());
        let failures = Arc::new(AtomicU64::new(0));
        let failed = failures.clone();
        let sending = thread::spawn(move || {
            let mut accepted = Vec::new();
            for number in 0..most.unwrap_or(u64::MAX) {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let kind = KINDS[usize::try_from(number).expect("small") % KINDS.len()];
                let name = format!("fault/{kind}");
                let (event, tries) = send(&url, &name, number, &format!("{kind}-{number}"));
                failed.fetch_add(tries - 1, Ordering::Relaxed);
                accepted.push(Accepted {
                    event,
                    kind,
                    number,
                });
                thread::sleep(pause);
            }
            accepted
        });
        Self {
            stop,
            failures,
            sending,
        }
    }

    /// Requests so far that were not answered, or with an error.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Stops sending.
    pub(crate) fn stop(self) -> Vec<Accepted> {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until all is sent.
    pub(crate) fn finish(self) -> Vec<Accepted> {
        self.sending.join().expect("the sender does not panic")
    }
}

/// Sends one event until it is accepted; returns its id and how often it was sent. A repeated request is the same event.
pub(crate) fn send(url: &str, name: &str, number: u64, id: &str) -> (String, u64) {
    // Ten bytes in base64 that follow from the id, and a time that stays the same.
    let letters: String = id
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(char::from)
        .collect();
    let tail = &letters[letters.len().saturating_sub(13)..];
    let seed = format!("1790000000000,{tail:A>13}A==");
    let event = json!({"name": name, "id": id, "data": {"n": number}});
    let mut tries = 0;
    loop {
        tries += 1;
        // What is waited for must not look old.
        let headers = [("x-inngest-event-id-seed", seed.as_str())];
        let headers = if matches!(name, "fault/arrived" | "fault/cancel") {
            &[]
        } else {
            &headers[..]
        };
        let answer = http::try_request("POST", url, headers, Some(&event));
        match answer {
            Ok(answer) if answer.status == 200 => {
                let id = answer.body["ids"][0].as_str();
                return (id.expect("an accepted event has an id").to_owned(), tries);
            }
            Ok(answer) if answer.status < 500 && answer.status != 429 => {
                panic!("{name} was refused: {answer:?}")
            }
            Ok(_) | Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
