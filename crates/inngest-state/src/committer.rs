//! Group commit: one task writes whatever is waiting in one transaction and answers each caller on its own.
//!
//! While one transaction is on its way the next batch gathers, so one lonely run sees one commit's latency and a flood sees many runs
//! per sync to disk.

use std::{
    collections::{HashSet, VecDeque},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use inngest_core::wait::Wait;
use metrics::{counter, histogram};
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, debug_span, error, warn};

use crate::{
    Error, Matcher,
    commit::{Commit, Committed, NewRun, Refused},
    open::Writers,
    write,
};

/// Commits that may wait; beyond it callers wait their turn.
const QUEUE: usize = 4_096;
/// Rows, roughly, of all commits together that are offered and not written yet: what is written in a few seconds.
const ROOM: usize = 65_536;
/// What an offered commit takes of it at least. So 2,048 of them wait at most, and the rest of the queue is left to those that are
/// never refused.
const LEAST: usize = 32;
/// How long an offered commit waits for room.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most commits in one transaction.
const BATCH: usize = 512;
/// Most rows, roughly, in one transaction.
const BATCH_ROWS: usize = 20_000;
/// How often a transaction is tried that was chosen to end a deadlock or lost a race with another process. Each of these means that the
/// other one went through, so that several in a row are rare.
const TRIES: u32 = 8;
/// Longest pause before the first of them is tried again; doubles with each further one.
const PAUSE: Duration = Duration::from_millis(2);

type Answer = Result<Committed, Refused>;

struct Waiting {
    commit: Commit,
    caller: Caller,
}

/// Who waits for the answer to a commit.
struct Caller {
    answer: oneshot::Sender<Answer>,
    /// What the commit takes of the room for offered ones, until it is answered.
    _room: Option<OwnedSemaphorePermit>,
}

impl Caller {
    /// A caller that went away does not want to know.
    fn tell(self, outcome: Answer) {
        let _ = self.answer.send(outcome);
    }
}

/// A handle to the task that writes. The task ends with the last handle.
#[derive(Clone)]
pub(crate) struct Committer {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    counters: Arc<CommitCounters>,
}

/// What the writer has done so far, for metrics and tests.
#[derive(Debug, Default)]
pub struct CommitCounters {
    /// Transactions begun.
    pub transactions: AtomicU64,
    /// Transactions tried again because of a deadlock or a race with another process.
    pub races: AtomicU64,
    /// Transactions whose outcome is not known, because the connection broke.
    pub unknown: AtomicU64,
}

impl Committer {
    pub(crate) fn start(
        conn: DatabaseConnection,
        matcher: Matcher,
        writers: Writers,
        tracker: &TaskTracker,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let counters = Arc::new(CommitCounters::default());
        let writer = Writer {
            conn,
            matcher: fenced(matcher),
            writers,
            counters: counters.clone(),
        };
        tracker.spawn(writer.run(waiting));
        let room = Arc::new(Semaphore::new(ROOM));
        Self {
            queue,
            room,
            counters,
        }
    }

    pub(crate) fn counters(&self) -> &CommitCounters {
        &self.counters
    }

    pub(crate) async fn commit(&self, commit: Commit) -> Answer {
        self.hand_over(commit, None).await
    }

    /// Like [`Committer::commit`], unless too much that was offered waits already: then `None`, and nothing was written.
    pub(crate) async fn offer(&self, commit: Commit) -> Option<Answer> {
        let share = u32::try_from(commit.rows().clamp(LEAST, ROOM)).unwrap_or(u32::MAX);
        let asked = timeout(PATIENCE, self.room.clone().acquire_many_owned(share));
        match asked.await {
            Ok(Ok(room)) => Some(self.hand_over(commit, Some(room)).await),
            Ok(Err(_)) => Some(Err(Refused::Store(Error::Stopped))),
            Err(_) => {
                counter!("inngest_requests_refused_total", "reason" => "commits").increment(1);
                None
            }
        }
    }

    async fn hand_over(&self, commit: Commit, room: Option<OwnedSemaphorePermit>) -> Answer {
        let (answer, answered) = oneshot::channel();
        let caller = Caller {
            answer,
            _room: room,
        };
        let committing = async {
            self.queue
                .send(Waiting { commit, caller })
                .await
                .map_err(|_| Refused::Store(Error::Stopped))?;
            answered
                .await
                .unwrap_or(Err(Refused::Store(Error::Stopped)))
        };
        committing.instrument(debug_span!("commit")).await
    }
}

/// A matcher whose panics count as no match: one expression must not end the task that writes for everybody.
fn fenced(matcher: Matcher) -> Matcher {
    Arc::new(move |wait, event, body| {
        catch_unwind(AssertUnwindSafe(|| matcher(wait, event, body))).unwrap_or_else(|_| {
            error!(run.id = %wait.run, event.id = %event.id, "matching a wait panicked; it counts as no match");
            false
        })
    })
}

/// The task that writes.
struct Writer {
    conn: DatabaseConnection,
    matcher: Matcher,
    writers: Writers,
    counters: Arc<CommitCounters>,
}

impl Writer {
    async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        // Commits that could not share a transaction with an earlier one, in order.
        let mut held: VecDeque<Waiting> = VecDeque::new();
        loop {
            if held.is_empty() {
                match queue.recv().await {
                    Some(waiting) => held.push_back(waiting),
                    None => return,
                }
            }
            while held.len() < BATCH {
                match queue.try_recv() {
                    Ok(waiting) => held.push_back(waiting),
                    Err(_) => break,
                }
            }
            let batch = take_batch(&mut held);
            self.write_batch(batch).await;
        }
    }

    async fn write_batch(&self, batch: Vec<Waiting>) {
        let (mut commits, callers): (Vec<Commit>, Vec<_>) = batch
            .into_iter()
            .map(|waiting| (waiting.commit, waiting.caller))
            .unzip();
        match self.transaction(&commits).await {
            Ok(outcomes) => {
                for (caller, outcome) in callers.into_iter().zip(outcomes) {
                    caller.tell(outcome);
                }
            }
            Err(error) if commits.len() == 1 || error.is_unavailable() => {
                // Where the database cannot be reached, trying each of them only takes longer.
                for caller in callers {
                    caller.tell(Err(Refused::Store(error.again())));
                }
            }
            Err(error) => {
                // One bad commit must not take the others with it: each gets a transaction of its own.
                warn!(error = %error, commits = commits.len(), "a group commit failed, writing its commits one by one");
                for (commit, caller) in commits.drain(..).zip(callers) {
                    let outcome = match self.transaction(std::slice::from_ref(&commit)).await {
                        Ok(mut outcomes) => outcomes
                            .pop()
                            .unwrap_or(Err(Refused::Store(Error::Stopped))),
                        Err(error) => Err(Refused::Store(error)),
                    };
                    caller.tell(outcome);
                }
            }
        }
    }

    /// Writes the commits, and again when another process was in the way.
    async fn transaction(&self, commits: &[Commit]) -> Result<Vec<Answer>, Error> {
        let mut tries = 1;
        loop {
            self.counters.transactions.fetch_add(1, Ordering::Relaxed);
            let begun = Instant::now();
            let written = self.transaction_once(commits).await;
            histogram!("inngest_commit_duration_seconds").record(begun.elapsed());
            match written {
                Ok(mut outcomes) => {
                    // What a sync to disk is shared by.
                    histogram!("inngest_commit_group_size").record(commits.len() as f64);
                    let rows: usize = commits.iter().map(Commit::rows).sum();
                    counter!("inngest_commit_rows_total").increment(rows as u64);
                    if self.writers == Writers::Several {
                        note_fresh_waits(commits, &mut outcomes);
                    }
                    return Ok(outcomes);
                }
                Err(error) if error.is_race() && tries < TRIES => {
                    self.counters.races.fetch_add(1, Ordering::Relaxed);
                    debug!(error = %error, tries, "another process was in the way, writing again");
                    let longest = PAUSE * 2u32.saturating_pow(tries);
                    sleep(longest.mul_f64(rand::random_range(0.0..1.0))).await;
                    tries += 1;
                }
                Err(error) => {
                    if error.is_outcome_unknown() {
                        self.counters.unknown.fetch_add(1, Ordering::Relaxed);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// One transaction. A panic in it rolls it back and counts as a failure of the database: one bad commit must not end the task that
    /// writes for everybody.
    async fn transaction_once(&self, commits: &[Commit]) -> Result<Vec<Answer>, Error> {
        let mut writing = pin!(self.write_in_transaction(commits));
        poll_fn(|context| {
            let polled = catch_unwind(AssertUnwindSafe(|| writing.as_mut().poll(context)));
            polled.unwrap_or_else(|_| {
                error!(commits = commits.len(), "writing commits panicked");
                let cause = DbErr::Custom("writing panicked".to_owned());
                Poll::Ready(Err(Error::on("(transaction)")(cause)))
            })
        })
        .await
    }

    /// Begins a transaction, on another connection where one turns out to be dead: as nothing was written on it, nobody needs to know.
    async fn begin(&self) -> Result<DatabaseTransaction, Error> {
        let mut tries = 1;
        loop {
            match self.conn.begin().await {
                Err(error) if tries < TRIES && Error::is_cut_off(&error) => tries += 1,
                begun => return begun.map_err(Error::on("(begin)")),
            }
        }
    }

    async fn write_in_transaction(&self, commits: &[Commit]) -> Result<Vec<Answer>, Error> {
        let tx = self.begin().await?;
        let outcomes = write::write(&tx, &self.matcher, commits).await?;
        #[cfg(feature = "failpoints")]
        crate::failpoints::pass_in_transaction(commits);
        tx.commit().await.map_err(Error::on_commit)?;
        Ok(outcomes)
    }
}

/// Tells each caller which of its waits events of other transactions may have missed.
fn note_fresh_waits(commits: &[Commit], outcomes: &mut [Answer]) {
    for (commit, outcome) in commits.iter().zip(outcomes) {
        let Ok(outcome) = outcome else { continue };
        let runs = commit
            .events
            .iter()
            .flat_map(|event| &event.runs)
            .chain(&commit.runs);
        let has_started = |run: &&NewRun| outcome.started.contains(&run.id);
        let of_runs = runs.filter(has_started).flat_map(|run| &run.waits);
        let fresh: Vec<Wait> = commit
            .waits
            .iter()
            .chain(of_runs)
            .filter(|wait| wait.event_name.is_some())
            .cloned()
            .collect();
        outcome.fresh_waits = fresh;
    }
}

/// Takes commits from the front; of several that touch the same run or the same work only the first, because each must be judged by
/// the state that the one before it left.
fn take_batch(held: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut batch = Vec::new();
    let mut later = VecDeque::new();
    let mut runs = HashSet::new();
    let mut works = HashSet::new();
    let mut waits = HashSet::new();
    let mut rows = 0;
    while let Some(waiting) = held.pop_front() {
        let commit = &waiting.commit;
        let run = commit.run.as_ref().map(|change| change.id);
        let work = commit.fence.map(|fence| fence.id);
        let is_free = run.is_none_or(|run| !runs.contains(&run))
            && work.is_none_or(|work| !works.contains(&work))
            && !commit.claims.iter().any(|wait| waits.contains(wait));
        // Whatever a held commit touches stays behind it, so that order is kept.
        runs.extend(run);
        works.extend(work);
        waits.extend(commit.claims.iter().copied());
        if is_free && rows < BATCH_ROWS && batch.len() < BATCH {
            rows += commit.rows();
            batch.push(waiting);
        } else {
            later.push_back(waiting);
        }
    }
    *held = later;
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A committer whose queue nobody empties.
    fn stuck() -> (Committer, mpsc::Receiver<Waiting>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let committer = Committer {
            queue,
            room: Arc::new(Semaphore::new(ROOM)),
            counters: Arc::default(),
        };
        (committer, waiting)
    }

    #[tokio::test(start_paused = true)]
    async fn offered_commit_waits_a_moment_and_is_refused_while_outcomes_still_find_room() {
        let (committer, mut waiting) = stuck();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..ROOM / LEAST {
            let committer = committer.clone();
            tasks.spawn(async move { committer.offer(Commit::default()).await });
        }
        while waiting.len() < ROOM / LEAST {
            tokio::task::yield_now().await;
        }
        let begun = Instant::now();
        assert!(committer.offer(Commit::default()).await.is_none());
        assert_eq!(begun.elapsed(), PATIENCE);
        assert_eq!(waiting.len(), ROOM / LEAST);
        // What is never refused finds its place behind them.
        let outcome = committer.clone();
        tasks.spawn(async move { Some(outcome.commit(Commit::default()).await) });
        while waiting.len() == ROOM / LEAST {
            tokio::task::yield_now().await;
        }
        // Each answer makes room for one more.
        let answered = waiting.recv().await.unwrap();
        answered.caller.tell(Ok(Committed::default()));
        tasks.spawn(async move { committer.offer(Commit::default()).await });
        while waiting.len() == ROOM / LEAST {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn commit_of_very_many_rows_is_taken_when_nothing_else_waits() {
        let (committer, mut waiting) = stuck();
        let work = vec![crate::samples::work(1, "large"); ROOM * 2];
        let large = Commit {
            work,
            ..Commit::default()
        };
        let offered = committer.clone();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { offered.offer(large).await });
        let taken = waiting.recv().await.unwrap();
        assert!(committer.offer(Commit::default()).await.is_none());
        taken.caller.tell(Ok(Committed::default()));
        let answer = tasks.join_next().await.unwrap().unwrap();
        assert!(matches!(answer, Some(Ok(_))), "{answer:?}");
    }
}
