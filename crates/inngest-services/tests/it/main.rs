//! The product without its doors: the whole of `inngest-services` on a real database with a real app beside it.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod answers;
mod bulk;
mod cancels;
mod changes;
mod checkpoints;
mod costs;
mod cron;
mod dispatches;
mod doing;
mod facts;
mod figures;
mod hostile;
mod large;
mod live;
mod pauses;
mod processes;
mod programs;
mod races;
mod replays;
mod requests;
mod reruns;
mod retention;
mod retries;
mod stale;
mod starts;
mod steps;
mod suites;
mod traces;
mod unkind;
mod waits;

use std::time::Duration;

use inngest_core::{
    access::Actor,
    ids::FunctionId,
    run::{Run, RunStatus},
};
use inngest_services::Services;
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Triggers by one event.
fn on(event: &str) -> Value {
    json!({"triggers": [{"event": event}]})
}

/// [`on`] with more of the configuration.
fn on_with(event: &str, more: Value) -> Value {
    let mut config = on(event);
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

/// The function of a slug, which is there.
async fn id_of(services: &Services, slug: &str) -> FunctionId {
    let slugs = [slug.to_owned()];
    let functions = services.functions();
    let found = functions.find_by_slugs(&Actor::dev(), &slugs).await;
    found.unwrap().remove(slug).unwrap().id
}

/// Status and output of a run.
fn end_of(run: &Run) -> (RunStatus, Value) {
    let output = run
        .ended
        .as_ref()
        .map_or(Value::Null, |ended| ended.output.to_value());
    (run.status, output)
}

fn assert_completed(run: &Run, output: Value) {
    assert_eq!(end_of(run), (RunStatus::Completed, output), "{run:?}");
}
