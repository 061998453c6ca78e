//! The schedule in a real Redis: the behaviour of every backend, and what is Redis's own.

use std::sync::Once;

use inngest_core::time::Clock;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::{Queue, contract::every_rule, model::QueueSettings, redis::RedisSettings};

/// Names a Redis for tests.
const URL: &str = "TEST_REDIS_URL";
/// Names a cluster for tests, as the URI of a schedule does.
const CLUSTER_URL: &str = "TEST_REDIS_CLUSTER_URL";

#[expect(
    clippy::disallowed_methods,
    reason = "only tests read it, and they have no settings"
)]
fn url(variable: &'static str) -> Option<String> {
    static SKIPPED: Once = Once::new();
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        SKIPPED.call_once(|| eprintln!("{variable} is not set: nothing runs on it"));
    }
    url
}

/// A place that no other test uses.
fn place(uri: &str) -> RedisSettings {
    RedisSettings {
        prefix: format!("test:{}", Uuid::new_v4().simple()),
        ..RedisSettings::at(uri)
    }
}

async fn open(clock: Clock, settings: QueueSettings, place: &RedisSettings) -> Queue {
    Queue::redis(clock, settings, place, &TaskTracker::new())
        .expect("the URI of the tests is right")
}

/// An empty schedule that is whole.
async fn whole(clock: Clock, settings: QueueSettings, place: &RedisSettings) -> Queue {
    let queue = open(clock, settings, place).await;
    rebuild(&queue).await;
    queue
}

async fn rebuild(queue: &Queue) {
    let rebuild = queue.begin_rebuild().await.expect("Redis answers");
    let rebuild = rebuild.expect("nobody else rebuilds it");
    assert!(rebuild.open().await.unwrap() && rebuild.finish().await.unwrap());
}

#[tokio::test]
async fn redis_backend_shows_every_rule() {
    let Some(uri) = url(URL) else { return };
    every_rule(async |clock, settings| whole(clock, settings, &place(&uri)).await).await;
}

#[tokio::test]
async fn redis_cluster_shows_every_rule() {
    let Some(uri) = url(CLUSTER_URL) else { return };
    every_rule(async |clock, settings| whole(clock, settings, &place(&uri)).await).await;
}
