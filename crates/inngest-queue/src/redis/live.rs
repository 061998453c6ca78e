//! Hints of all processes. What this process publishes reaches its own subscribers at once and the others in one message with whatever
//! else happens in the same moment.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use futures_util::StreamExt;
use inngest_core::ids::EnvId;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tracing::debug;
use uuid::Uuid;

use crate::{
    live::MemoryLive,
    redis::{RedisQueue, conn::Connection, lock},
};

/// How long hints are gathered.
const GATHER: Duration = Duration::from_millis(20);
/// Most environments of one message; beyond it the others are told to look everywhere.
const MAX_HINTS: usize = 4_096;
/// How often it is looked whether anybody still holds this.
const CHECK: Duration = Duration::from_secs(2);
/// An environment, in bytes.
const HINT: usize = 16;

/// A handle; clones share everything. Its tasks end with the last one.
#[derive(Clone, Debug)]
pub(crate) struct RedisLive(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local: Arc<MemoryLive>,
    connection: Arc<Connection>,
    channel: String,
    /// Begins each message, so that a process knows its own.
    process: Uuid,
    pending: Mutex<Pending>,
    come: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    hints: HashSet<EnvId>,
    has_overflown: bool,
}

impl RedisLive {
    pub(crate) fn start(queue: &RedisQueue) -> Self {
        let inner = Arc::new(Inner {
            local: Arc::default(),
            connection: queue.0.connection.clone(),
            channel: queue.0.keys.live(),
            process: Uuid::new_v4(),
            pending: Mutex::default(),
            come: Notify::new(),
        });
        let tracker = queue.0.connection.tracker();
        tracker.spawn(send(Arc::downgrade(&inner)));
        tracker.spawn(receive(Arc::downgrade(&inner)));
        Self(inner)
    }

    pub(crate) fn local(&self) -> &Arc<MemoryLive> {
        &self.0.local
    }

    pub(crate) fn publish(&self, env: EnvId) {
        self.0.local.publish(env);
        let mut pending = lock(&self.0.pending);
        if pending.hints.len() < MAX_HINTS {
            pending.hints.insert(env);
        } else {
            pending.has_overflown = true;
        }
        drop(pending);
        self.0.come.notify_one();
    }
}

async fn send(inner: Weak<Inner>) {
    loop {
        let Some(this) = inner.upgrade() else {
            return;
        };
        if timeout(CHECK, this.come.notified()).await.is_err() {
            continue;
        }
        sleep(GATHER).await;
        let pending = std::mem::take(&mut *lock(&this.pending));
        // A message without environments says: look everywhere.
        let hints: Vec<EnvId> = if pending.has_overflown {
            Vec::new()
        } else {
            pending.hints.into_iter().collect()
        };
        let mut command = redis::cmd("PUBLISH");
        command.arg(&this.channel).arg(encode(this.process, &hints));
        if let Err(error) = this.connection.query(&command).await {
            // Everybody looks now and then without being told.
            debug!(%error, "hints were not published");
        }
    }
}

async fn receive(inner: Weak<Inner>) {
    loop {
        let Some(this) = inner.upgrade() else {
            return;
        };
        let connection = this.connection.clone();
        let channel = this.channel.clone();
        drop(this);
        if timeout(CHECK, connection.until_up()).await.is_err() {
            continue;
        }
        let subscribed = timeout(connection.timeouts().connect, async {
            let mut channels = connection.channels().await?;
            channels.subscribe(&channel).await?;
            Ok::<_, redis::RedisError>(channels.into_on_message())
        });
        if let Ok(Ok(mut messages)) = subscribed.await {
            // What was said before was not heard.
            match inner.upgrade() {
                Some(this) => this.local.publish_all(),
                None => return,
            }
            loop {
                let message = match timeout(CHECK, messages.next()).await {
                    Ok(Some(message)) => message,
                    Ok(None) => break,
                    Err(_) if inner.strong_count() == 0 => return,
                    Err(_) => continue,
                };
                let Some(this) = inner.upgrade() else {
                    return;
                };
                match decode(message.get_payload_bytes()) {
                    Some((process, _)) if process == this.process => {}
                    Some((_, hints)) if !hints.is_empty() => {
                        hints.into_iter().for_each(|env| this.local.publish(env));
                    }
                    _ => this.local.publish_all(),
                }
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn encode(process: Uuid, envs: &[EnvId]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + envs.len() * HINT);
    bytes.extend_from_slice(process.as_bytes());
    for env in envs {
        bytes.extend_from_slice(env.raw().as_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<(Uuid, Vec<EnvId>)> {
    let (process, rest) = bytes.split_at_checked(16)?;
    if rest.len() % HINT != 0 {
        return None;
    }
    let id = |bytes: &[u8]| Uuid::from_slice(bytes).ok();
    let envs = rest
        .chunks_exact(HINT)
        .map(|env| id(env).map(EnvId::from_raw));
    Some((id(process)?, envs.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_survive_their_bytes() {
        let env = |number| EnvId::from_raw(Uuid::from_u128(number));
        let process = Uuid::from_u128(9);
        for envs in [Vec::new(), vec![env(1)], vec![env(2), env(3)]] {
            let bytes = encode(process, &envs);
            assert_eq!(decode(&bytes), Some((process, envs)));
        }
        assert_eq!(decode(&[0; 15]), None);
        assert_eq!(decode(&[0; 17]), None);
    }
}
