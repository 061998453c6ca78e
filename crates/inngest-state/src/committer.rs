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
};

use sea_orm::{DatabaseConnection, DbErr, TransactionTrait};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::{
    Error, Matcher,
    commit::{Commit, Committed, Refused},
    write,
};

/// Commits that may wait; beyond it callers wait their turn.
const QUEUE: usize = 4_096;
/// Most commits in one transaction.
const BATCH: usize = 512;
/// Most rows, roughly, in one transaction.
const BATCH_ROWS: usize = 20_000;

type Answer = Result<Committed, Refused>;

struct Waiting {
    commit: Commit,
    answer: oneshot::Sender<Answer>,
}

/// A handle to the task that writes. The task ends with the last handle.
#[derive(Clone)]
pub(crate) struct Committer {
    queue: mpsc::Sender<Waiting>,
    transactions: Arc<AtomicU64>,
}

impl Committer {
    pub(crate) fn start(conn: DatabaseConnection, matcher: Matcher, tracker: &TaskTracker) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let transactions = Arc::new(AtomicU64::new(0));
        let matcher = fenced(matcher);
        tracker.spawn(run(conn, matcher, waiting, transactions.clone()));
        Self {
            queue,
            transactions,
        }
    }

    pub(crate) fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    pub(crate) async fn commit(&self, commit: Commit) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.queue
            .send(Waiting { commit, answer })
            .await
            .map_err(|_| Refused::Store(Error::Stopped))?;
        answered
            .await
            .unwrap_or(Err(Refused::Store(Error::Stopped)))
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

async fn run(
    conn: DatabaseConnection,
    matcher: Matcher,
    mut queue: mpsc::Receiver<Waiting>,
    transactions: Arc<AtomicU64>,
) {
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
        transactions.fetch_add(1, Ordering::Relaxed);
        write_batch(&conn, &matcher, batch).await;
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

async fn write_batch(conn: &DatabaseConnection, matcher: &Matcher, batch: Vec<Waiting>) {
    let (mut commits, answers): (Vec<Commit>, Vec<_>) = batch
        .into_iter()
        .map(|waiting| (waiting.commit, waiting.answer))
        .unzip();
    match transaction(conn, matcher, &commits).await {
        Ok(outcomes) => {
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // A caller that went away does not want to know.
                let _ = answer.send(outcome);
            }
        }
        Err(error) if commits.len() == 1 || error.is_unavailable() => {
            // Where the database cannot be reached, trying each of them only takes longer.
            for answer in answers {
                let _ = answer.send(Err(Refused::Store(error.again())));
            }
        }
        Err(error) => {
            // One bad commit must not take the others with it: each gets a transaction of its own.
            warn!(error = %error, commits = commits.len(), "a group commit failed, writing its commits one by one");
            for (commit, answer) in commits.drain(..).zip(answers) {
                let outcome = match transaction(conn, matcher, std::slice::from_ref(&commit)).await
                {
                    Ok(mut outcomes) => outcomes
                        .pop()
                        .unwrap_or(Err(Refused::Store(Error::Stopped))),
                    Err(error) => Err(Refused::Store(error)),
                };
                let _ = answer.send(outcome);
            }
        }
    }
}

/// One transaction. A panic in it rolls it back and counts as a failure of the database: one bad commit must not end the task that
/// writes for everybody.
async fn transaction(
    conn: &DatabaseConnection,
    matcher: &Matcher,
    commits: &[Commit],
) -> Result<Vec<Answer>, Error> {
    let mut writing = pin!(write_in_transaction(conn, matcher, commits));
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

async fn write_in_transaction(
    conn: &DatabaseConnection,
    matcher: &Matcher,
    commits: &[Commit],
) -> Result<Vec<Answer>, Error> {
    let tx = conn.begin().await.map_err(Error::on("(begin)"))?;
    let outcomes = write::write(&tx, matcher, commits).await?;
    #[cfg(feature = "failpoints")]
    crate::failpoints::pass_in_transaction(commits);
    tx.commit().await.map_err(Error::on("(commit)"))?;
    Ok(outcomes)
}
