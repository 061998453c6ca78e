//! Being there: a process says so every few seconds, hears who else is, and is woken by messages.

use std::{
    collections::HashMap,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use futures_util::StreamExt;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};

use crate::{
    error::Error,
    model::ScheduleState,
    redis::{Inner, RedisQueue, lock},
};

/// How often a process says that it is there.
const BEAT: Duration = Duration::from_secs(2);
/// How long its word counts.
pub(super) const COUNTS: Duration = Duration::from_secs(15);

/// What a process remembers of the others.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The generation in which it says what it holds.
    pub(super) announced: String,
    /// The generation that knows what it holds: what is not there is lost.
    pub(super) restored: String,
    /// Other processes, and when they were last known to be there. What Redis forgets is remembered here.
    pub(super) others: HashMap<String, Instant>,
    /// It may hold leases whose answer it never got.
    pub(super) has_unknown_leases: bool,
}

impl RedisQueue {
    /// Spawns the tasks that beat and listen. They end with the last handle.
    pub(super) fn start_presence(&self) {
        let tracker = self.0.connection.tracker();
        tracker.spawn(beat(Arc::downgrade(&self.0)));
        tracker.spawn(listen(Arc::downgrade(&self.0)));
    }

    /// Leaves: what this process holds can be taken at once.
    pub(crate) async fn leave(&self) {
        if let Err(error) = self.say_present(true).await {
            debug!(%error, "could not take leave of the schedule");
        }
    }

    pub(super) async fn say_present(&self, is_farewell: bool) -> Result<(), Error> {
        let args = self
            .args(|scripts| &scripts.presence)
            .time(self.0.clock.now())
            .number(COUNTS.as_millis().cast_signed())
            .text(&self.0.process)
            .text(if is_farewell { "1" } else { "0" });
        let mut answer = self.run(args).await?;
        let dead = answer.size()?;
        let now = Instant::now();
        let mut memory = lock(&self.0.memory);
        memory
            .others
            .retain(|_, seen| now.duration_since(*seen) < COUNTS);
        for _ in 0..dead {
            let process = answer.text()?;
            warn!(process, "a server has died; its work is taken over");
            memory.others.remove(&process);
        }
        while !answer.is_empty() {
            let process = answer.text()?;
            if process != self.0.process {
                memory.others.insert(process, now);
            }
        }
        drop(memory);
        if dead > 0 {
            self.0.deaths.send_modify(|count| *count += dead as u64);
        }
        Ok(())
    }

    /// Gives back leases whose answer this process never got.
    async fn give_back_unknown(&self) -> Result<(), Error> {
        if !lock(&self.0.memory).has_unknown_leases {
            return Ok(());
        }
        // Nothing is leased meanwhile, so that what is known is all that was given.
        let _alone = self.0.leasing.write().await;
        lock(&self.0.memory).has_unknown_leases = false;
        let args = self
            .args(|scripts| &scripts.release)
            .time(self.0.clock.now())
            .number(self.0.settings.horizon.as_millis().cast_signed())
            .text(&self.0.process);
        let known: Vec<_> = lock(&self.0.held)
            .values()
            .map(|(work, _)| work.id)
            .collect();
        let args = known
            .iter()
            .fold(args, |args, id| args.bytes(id.raw().as_bytes()));
        let outcome = self.run(args).await;
        if outcome.is_err() {
            lock(&self.0.memory).has_unknown_leases = true;
        }
        let given_back = outcome?.size()?;
        if given_back > 0 {
            info!(
                jobs = given_back,
                "gave back work whose lease this server was never told of"
            );
        }
        Ok(())
    }

    pub(super) fn note_unreachable(&self) {
        self.note_state(ScheduleState::Unreachable);
    }

    pub(super) fn note_state(&self, state: ScheduleState) {
        self.0.state.send_if_modified(|present| {
            let is_other = *present != state;
            *present = state;
            is_other
        });
    }

    /// Takes note of the generation of an answer, and says in a new one what this process holds.
    pub(super) fn note_generation(&self, generation: &str) {
        self.note_state(match generation.as_bytes().first() {
            Some(b'w') => ScheduleState::Whole,
            Some(b'o') => ScheduleState::Filling,
            _ => ScheduleState::Closed,
        });
        // The name stays from the first state of a generation to the last.
        let name = generation.get(1..).unwrap_or_default();
        let queue = self.clone();
        let tracker = self.0.connection.tracker();
        let is_abandoned = !generation.starts_with('w')
            && name.starts_with(&self.0.process)
            && self.0.builders.load(Ordering::Acquire) == 0;
        if is_abandoned {
            let name = name.to_owned();
            tracker.spawn(async move { queue.give_up_rebuild(&name).await });
            return;
        }
        {
            let mut memory = lock(&self.0.memory);
            if memory.announced == name {
                return;
            }
            let is_first = memory.announced.is_empty() && memory.restored.is_empty();
            name.clone_into(&mut memory.announced);
            if is_first && generation.starts_with('w') {
                // A process that has just begun holds nothing.
                name.clone_into(&mut memory.restored);
                return;
            }
        }
        let name = name.to_owned();
        tracker.spawn(async move { queue.restore_or_forget(name).await });
    }

    async fn restore_or_forget(&self, name: String) {
        let restored = self.restore().await;
        let mut memory = lock(&self.0.memory);
        match restored {
            Ok(()) => {
                // What was settled while it was said to be held is held by nobody.
                memory.has_unknown_leases = true;
                if memory.announced == name {
                    memory.restored = name;
                }
            }
            Err(error) => {
                debug!(%error, "could not say what this server holds; saying it again soon");
                memory.announced.clear();
            }
        }
    }

    /// Forgets what nobody here works on any more: its lease ran out long ago, while Redis could not be told.
    pub(super) fn forget_ended(&self) {
        let now = self.0.clock.now();
        let length = self.0.settings.lease;
        lock(&self.0.held).retain(|_, (_, expires_at)| expires_at.plus(length) > now);
    }
}

/// Beats until the queue is gone.
async fn beat(inner: Weak<Inner>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        let queue = RedisQueue(inner);
        queue.forget_ended();
        let beaten = async {
            queue.say_present(false).await?;
            queue.give_back_unknown().await
        };
        match beaten.await {
            Ok(()) | Err(Error::Lost) => {}
            Err(error) => debug!(%error, "could not tell the schedule that this server is there"),
        }
    }
}

/// Listens to the messages for this process until the queue is gone.
async fn listen(inner: Weak<Inner>) {
    loop {
        let (connection, channel) = {
            let Some(inner) = inner.upgrade() else {
                return;
            };
            (inner.connection.clone(), inner.keys.wake(&inner.process))
        };
        // A queue that nobody holds any more must not be kept waiting for Redis.
        if timeout(BEAT, connection.until_up()).await.is_err() {
            continue;
        }
        let patience = connection.timeouts().connect;
        let subscribed = timeout(patience, async {
            let mut channels = connection.channels().await?;
            channels.subscribe(&channel).await?;
            Ok::<_, redis::RedisError>(channels.into_on_message())
        });
        if let Ok(Ok(mut messages)) = subscribed.await {
            loop {
                // Whatever was said before is looked for.
                if let Some(inner) = inner.upgrade() {
                    inner.woken.notify_one();
                } else {
                    return;
                }
                // The pause only lets a queue that is gone be noticed.
                let next = loop {
                    match timeout(BEAT, messages.next()).await {
                        Ok(next) => break next,
                        Err(_) if inner.strong_count() == 0 => return,
                        Err(_) => {}
                    }
                };
                if next.is_none() {
                    break;
                }
            }
            debug!("the channel of wake-ups broke, opening it again");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
