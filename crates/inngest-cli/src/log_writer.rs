//! Writes log lines to standard output, on a thread of its own: nobody waits for whoever reads them.
//!
//! Lines that nobody takes are kept up to a bound; beyond it they are dropped, and a line says how many.

use std::{
    io::{Write, stdout},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::Duration,
};

/// Bytes that may wait.
const WAITING: usize = 4 * 1024 * 1024;
/// Most bytes written at once, roughly.
const PORTION: usize = 64 * 1024;
/// How long lines gather after others were written. One system call writes many then, and whoever logs need not wake the thread.
const GATHER: Duration = Duration::from_millis(2);
/// Longest wait for the last lines.
const FLUSH: Duration = Duration::from_secs(1);

/// A handle to the thread, which ends with the process.
#[derive(Clone)]
pub(crate) struct LogWriter {
    queue: Sender<Message>,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

impl LogWriter {
    /// Starts the thread. `tell_dropped` makes the line that says how many were dropped.
    pub(crate) fn to_stdout(tell_dropped: fn(u64) -> String) -> std::io::Result<Self> {
        Self::to(stdout(), tell_dropped)
    }

    fn to(
        sink: impl Write + Send + 'static,
        tell_dropped: fn(u64) -> String,
    ) -> std::io::Result<Self> {
        let (queue, lines) = channel();
        let writer = Self {
            queue,
            waiting: Arc::default(),
            dropped: Arc::default(),
        };
        let (waiting, dropped) = (writer.waiting.clone(), writer.dropped.clone());
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(sink, &lines, &waiting, &dropped, tell_dropped))?;
        Ok(writer)
    }

    /// Has the line written, or drops it. Never waits.
    pub(crate) fn write(&self, line: String) {
        let length = line.len();
        let before = self.waiting.fetch_add(length, Ordering::Relaxed);
        if before + length > WAITING || self.queue.send(Message::Line(line)).is_err() {
            self.waiting.fetch_sub(length, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits, but not for long, until what was logged so far is written.
    pub(crate) fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(FLUSH);
        }
    }
}

fn write_all(
    mut sink: impl Write,
    queue: &Receiver<Message>,
    waiting: &AtomicUsize,
    dropped: &AtomicU64,
    tell_dropped: fn(u64) -> String,
) {
    let mut portion = String::new();
    let mut told = 0;
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        let mut flushed = None;
        while let Some(message) = next {
            match message {
                Message::Line(line) => portion.push_str(&line),
                Message::Flush(done) => flushed = Some(done),
            }
            let is_full = portion.len() >= PORTION || flushed.is_some();
            next = if is_full { None } else { queue.try_recv().ok() };
        }
        let taken = portion.len();
        // Nobody is left to be told that the log cannot be written.
        let _ = sink.write_all(portion.as_bytes());
        portion.clear();
        waiting.fetch_sub(taken, Ordering::Relaxed);
        let count = dropped.load(Ordering::Relaxed);
        if count > told {
            let _ = sink.write_all(tell_dropped(count - told).as_bytes());
            told = count;
        }
        let _ = sink.flush();
        match flushed {
            Some(done) => drop(done.send(())),
            None => thread::sleep(GATHER),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes nothing before it is told to, like a pipe that nobody reads.
    struct Stuck(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn reader_that_stands_still_holds_up_nobody_and_learns_how_much_it_missed() {
        let (release, released) = mpsc::channel();
        let (written, seen) = mpsc::channel();
        let writer = LogWriter::to(Stuck(released, written), |count| {
            format!("dropped {count}\n")
        })
        .unwrap();
        let line = "x".repeat(1_023) + "\n";
        let sent = 2 * WAITING / line.len();
        for _ in 0..sent {
            writer.write(line.clone());
        }
        // As many as fit; the rest is gone, and this thread was never held up.
        drop(release);
        writer.flush();
        let all = String::from_utf8(seen.try_iter().flatten().collect()).unwrap();
        let kept = all.lines().filter(|line| line.starts_with('x')).count();
        let told: usize = all
            .lines()
            .filter_map(|line| line.strip_prefix("dropped "))
            .map(|count| count.parse::<usize>().unwrap())
            .sum();
        assert_eq!(kept + told, sent);
        assert!(kept >= WAITING / line.len() && told > 0, "{kept} {told}");
    }
}
