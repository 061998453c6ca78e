//! Senders that keep to a timetable, whether or not they are answered: what has to wait counts as late.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::load::{self, Accepted, KINDS};

/// Senders at work.
pub(crate) struct Driver {
    stop: Arc<AtomicBool>,
    sending: Vec<JoinHandle<Vec<Sent>>>,
}

/// An event that was accepted.
pub(crate) struct Sent {
    pub(crate) accepted: Accepted,
    /// When it should have been sent.
    pub(crate) due: Instant,
    /// From then to the answer that accepted it.
    pub(crate) latency: Duration,
    /// How often it had to be sent.
    pub(crate) tries: u64,
}

impl Driver {
    /// Begins to send `per_second` events, at most `senders` of them at once.
    pub(crate) fn start(server: &str, per_second: u64, senders: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicU64::new(0));
        let begin = Instant::now();
        let sending = (0..senders)
            .map(|_| {
                let (stop, next, url) = (stop.clone(), next.clone(), format!("{server}/e/test"));
                thread::spawn(move || {
                    let mut sent = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let due = begin + Duration::from_micros(number * 1_000_000 / per_second);
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        if stop.load(Ordering::Relaxed) {
                            return sent;
                        }
                        sent.push(send(&url, number, due));
                    }
                })
            })
            .collect();
        Self { stop, sending }
    }

    /// Stops them, and returns what was accepted.
    pub(crate) fn stop(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sending.into_iter();
        sent.flat_map(|sender| sender.join().expect("a sender does not panic"))
            .collect()
    }
}

fn send(url: &str, number: u64, due: Instant) -> Sent {
    let kind = KINDS[usize::try_from(number).expect("small") % KINDS.len()];
    let name = format!("fault/{kind}");
    let (event, tries) = load::send(url, &name, number, &format!("{kind}-{number}"));
    Sent {
        accepted: Accepted {
            event,
            kind,
            number,
        },
        due,
        latency: due.elapsed(),
        tries,
    }
}
