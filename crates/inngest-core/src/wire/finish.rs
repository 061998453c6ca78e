//! Events that the server itself makes (sdk-protocol 5.1, 6.1, 6.2, 7.4). Ids of events about a run's end and of cron ticks follow
//! from what they tell, so making one twice makes the same event.

use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::{
    event::{
        DEFERRED_SCHEDULE, Event, FUNCTION_CANCELLED, FUNCTION_FAILED, FUNCTION_FINISHED,
        FUNCTION_INVOKED, SCHEDULED_TIMER,
    },
    ids::{AppId, EventId, FunctionId, RunId, StepId},
    json::Json,
    op::StepError,
    time::Timestamp,
    wire::{
        event::{Draft, with_internal},
        memo,
    },
};

/// The end of a run, as others learn of it.
#[derive(Clone, Copy, Debug)]
pub struct RunEnd<'a> {
    /// The run.
    pub run: RunId,
    /// The composite id of its function.
    pub function_slug: &'a str,
    /// Its trigger events, not empty; each as in `Event::body`.
    pub events: &'a [Json],
    /// Who waits for the result, if it was invoked: `<run id>.<step id>`.
    pub correlation: Option<&'a str>,
    /// How it ended.
    pub outcome: Outcome<'a>,
    /// When.
    pub at: Timestamp,
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// The function returned this.
    Completed {
        /// The return value.
        result: &'a Json,
    },
    /// It failed for good.
    Failed {
        /// What user code says.
        error: &'a StepError,
        /// What the server saw, for example `invalid status code: 500`.
        reason: &'a str,
    },
    /// Somebody or something ended it.
    Cancelled,
}

impl Outcome<'_> {
    fn status(&self) -> &'static str {
        match self {
            Self::Completed { .. } => "Completed",
            Self::Failed { .. } => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }
}

/// `inngest/function.finished`, sent for every run whose own trigger was not such an event. A batch whose events were invoked sends
/// one for each correlation; their ids differ.
pub fn finished(end: &RunEnd<'_>) -> Event {
    let label = end.correlation.map_or_else(
        || end.run.to_string(),
        |correlation| format!("{}:{correlation}", end.run),
    );
    about_end(
        end,
        FUNCTION_FINISHED,
        derived_id("finished", &label, end.at),
        None,
    )
}

/// `inngest/function.failed`, sent besides [`finished`] for a run that failed. Its sender's id is the run's.
pub fn failed(end: &RunEnd<'_>) -> Event {
    about_end(
        end,
        FUNCTION_FAILED,
        derived_id("failed", &end.run.to_string(), end.at),
        Some(end.run.to_string()),
    )
}

/// `inngest/function.cancelled`, sent besides [`finished`] for a run that was cancelled. Its sender's id is the run's.
pub fn cancelled(end: &RunEnd<'_>) -> Event {
    about_end(
        end,
        FUNCTION_CANCELLED,
        derived_id("cancelled", &end.run.to_string(), end.at),
        Some(end.run.to_string()),
    )
}

fn about_end(end: &RunEnd<'_>, name: &str, id: EventId, key: Option<String>) -> Event {
    let (slug, run) = (
        Json::string(end.function_slug),
        Json::string(&end.run.to_string()),
    );
    let internal = Json::object([("status", &Json::string(end.outcome.status()))]);
    let correlation = end.correlation.map(Json::string);
    let (first, all) = (
        end.events.first().cloned().unwrap_or_default(),
        Json::array(end.events),
    );
    let outcome = match end.outcome {
        Outcome::Completed { result } => Some(("result", result.clone())),
        Outcome::Failed { error, reason } => Some(("error", memo::run_error_object(error, reason))),
        Outcome::Cancelled => None,
    };
    let mut members = vec![
        ("_inngest", &internal),
        ("event", &first),
        ("events", &all),
        ("function_id", &slug),
        ("run_id", &run),
    ];
    members.extend(
        correlation
            .as_ref()
            .map(|correlation| ("correlation_id", correlation)),
    );
    members.extend(outcome.as_ref().map(|(key, value)| (*key, value)));
    let mut draft = Draft::new(name, Json::object(members), end.at);
    draft.id = key;
    draft.meta = first.member("meta");
    draft.into_event(id, end.at)
}

/// What `step.invoke` hands to the function that it starts.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// Id of the new event; follows from run and step, see [`invocation_id`].
    pub id: EventId,
    /// The composite id of the function to start.
    pub function_slug: &'a str,
    /// The op's payload: an object with `data`, `user`, `v`, `meta`, or null.
    pub payload: &'a Json,
    /// The run that waits.
    pub run: RunId,
    /// Its step.
    pub step: &'a StepId,
    /// What people call the step.
    pub step_name: &'a str,
    /// The app of the run that waits.
    pub source_app: AppId,
    /// The function of the run that waits.
    pub source_function: FunctionId,
    /// Its version.
    pub source_version: u32,
    /// When the caller gives up.
    pub expires_at: Timestamp,
    /// Now.
    pub at: Timestamp,
}

/// Who waits for the result of an invoke.
pub fn correlation(run: RunId, step: &StepId) -> String {
    format!("{run}.{step}")
}

/// The id of the event of an invoke, the same however often the step is reported.
pub fn invocation_id(run: RunId, step: &StepId) -> EventId {
    derived_id("invoked", &correlation(run, step), run.scheduled_at())
}

/// `inngest/function.invoked`, delivered to that function only.
pub fn invoked(invocation: &Invocation<'_>) -> Event {
    let correlation = correlation(invocation.run, invocation.step);
    let internal = [
        ("fn_id", Json::string(invocation.function_slug)),
        ("correlation_id", Json::string(&correlation)),
        (
            "source_app_id",
            Json::string(&invocation.source_app.to_string()),
        ),
        (
            "source_fn_id",
            Json::string(&invocation.source_function.to_string()),
        ),
        (
            "source_fn_v",
            Json::integer(invocation.source_version.into()),
        ),
        ("expire", Json::integer(invocation.expires_at.as_millis())),
        ("name", Json::string(invocation.step_name)),
    ];
    let internal = Json::object(internal.iter().map(|(key, value)| (*key, value)));
    let data = invocation
        .payload
        .member("data")
        .filter(Json::is_object)
        .unwrap_or_else(Json::empty_object);
    let mut draft = Draft::new(
        FUNCTION_INVOKED,
        with_internal(&data, &internal),
        invocation.at,
    );
    if let Some(user) = invocation.payload.member("user").filter(Json::is_object) {
        draft.user = user;
    }
    draft.version = invocation
        .payload
        .member("v")
        .filter(|version| version.to_text().is_some_and(|text| !text.is_empty()));
    draft.meta = invocation
        .payload
        .member("meta")
        .filter(|meta| meta.member("sessions").is_some());
    draft.into_event(invocation.id, invocation.at)
}

/// `inngest/scheduled.timer`: one tick of a cron schedule of one function. `tick` is what the schedule says, `fire_at` the tick and
/// its jitter.
pub fn timer(function: FunctionId, cron: &str, tick: Timestamp, fire_at: Timestamp) -> Event {
    let seconds = |at: Timestamp| at.to_rfc3339().replace(".000Z", "Z");
    let (cron_text, scheduled, fires) = (
        Json::string(cron),
        Json::string(&seconds(tick)),
        Json::string(&seconds(fire_at)),
    );
    let data = Json::object([
        ("cron", &cron_text),
        ("scheduledAt", &scheduled),
        ("fireAt", &fires),
    ]);
    let mut draft = Draft::new(SCHEDULED_TIMER, data, fire_at);
    draft.id = Some(seconds(tick));
    draft.into_event(
        derived_id(
            "timer",
            &format!("{function}:{cron}:{}", tick.as_millis()),
            fire_at,
        ),
        fire_at,
    )
}

/// A deferred call whose run has ended.
#[derive(Clone, Copy, Debug)]
pub struct Deferred<'a> {
    /// The composite id of the function to start.
    pub function_slug: &'a str,
    /// What it gets as data.
    pub input: &'a Json,
    /// The run that asked for it.
    pub run: RunId,
    /// The op that asked for it.
    pub step: &'a StepId,
    /// The app of that run.
    pub app: AppId,
    /// The function of that run.
    pub function: FunctionId,
    /// Its composite id.
    pub parent_slug: &'a str,
    /// Now.
    pub at: Timestamp,
}

/// `inngest/deferred.schedule`.
pub fn deferred(deferred: &Deferred<'_>) -> Event {
    let internal = [
        ("fn_slug", Json::string(deferred.function_slug)),
        ("parent_app_id", Json::string(&deferred.app.to_string())),
        ("parent_fn_id", Json::string(&deferred.function.to_string())),
        ("parent_fn_slug", Json::string(deferred.parent_slug)),
        ("parent_run_id", Json::string(&deferred.run.to_string())),
    ];
    let internal = Json::object(internal.iter().map(|(key, value)| (*key, value)));
    let draft = Draft::new(
        DEFERRED_SCHEDULE,
        with_internal(deferred.input, &internal),
        deferred.at,
    );
    draft.into_event(
        derived_id(
            "deferred",
            &correlation(deferred.run, deferred.step),
            deferred.at,
        ),
        deferred.at,
    )
}

fn derived_id(kind: &str, label: &str, at: Timestamp) -> EventId {
    let hash = Sha256::digest(format!("{kind}:{label}"));
    let mut entropy = [0; 16];
    entropy[6..].copy_from_slice(&hash[..10]);
    EventId::from_raw(Ulid::from_parts(
        u64::try_from(at.as_millis()).unwrap_or(0),
        u128::from_be_bytes(entropy),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DEFAULT_ENV;

    const RUN: &str = "01K3ZC6WQ5M3J6V9Y1Z8T3B2XA";

    fn check(event: &Event, expected: &str) {
        let expected = expected.replace("ID", &event.key).replace("RUN", RUN);
        assert_eq!(event.body.as_str(), expected);
        assert_eq!(
            Json::parse(event.body.as_bytes()).unwrap(),
            event.body,
            "canonical"
        );
    }

    #[test]
    fn events_about_an_end_tell_what_sdks_expect() {
        let events = [Json::parse(
            br#"{"data":{},"id":"e","meta":{"sessions":{"a":"b"}},"name":"n","ts":1,"user":{}}"#,
        )
        .unwrap()];
        let (result, error) = (Json::integer(1), StepError::new("TypeError", "boom"));
        let mut end = RunEnd {
            run: RUN.parse().unwrap(),
            function_slug: "shop-f",
            events: &events,
            correlation: None,
            outcome: Outcome::Completed { result: &result },
            at: Timestamp::from_millis(1_785_570_000_123),
        };
        let event = events[0].as_str();
        let tail = r#""meta":{"sessions":{"a":"b"}},"name":"NAME","ts":1785570000123,"user":{}}"#;
        let data = |status: &str, extra: &str, outcome: &str, name: &str, id: &str| {
            let data = format!(
                r#"{{"data":{{"_inngest":{{"status":"{status}"}},{extra}"event":{event},"events":[{event}],"function_id":"shop-f"{outcome},"run_id":"RUN"}},"id":"{id}",{tail}"#
            );
            data.replace("NAME", name)
        };
        check(
            &finished(&end),
            &data("Completed", "", r#","result":1"#, FUNCTION_FINISHED, "ID"),
        );
        assert_eq!(finished(&end), finished(&end));
        let plain = finished(&end).id;
        end.correlation = Some("r.s");
        assert_ne!(finished(&end).id, plain);
        check(
            &finished(&end),
            &data(
                "Completed",
                r#""correlation_id":"r.s","#,
                r#","result":1"#,
                FUNCTION_FINISHED,
                "ID",
            ),
        );
        end.correlation = None;
        end.outcome = Outcome::Failed {
            error: &error,
            reason: "invalid status code: 500",
        };
        let told =
            r#""error":{"error":"invalid status code: 500","message":"boom","name":"TypeError"},"#;
        check(
            &failed(&end),
            &data("Failed", told, "", FUNCTION_FAILED, RUN),
        );
        end.outcome = Outcome::Cancelled;
        check(
            &cancelled(&end),
            &data("Cancelled", "", "", FUNCTION_CANCELLED, RUN),
        );
        let ids = [finished(&end).id, failed(&end).id, cancelled(&end).id];
        assert!(
            ids[0] != ids[1] && ids[1] != ids[2] && ids.iter().all(|id| id.accepted_at() == end.at)
        );
    }

    #[test]
    fn invocation_carries_its_payload_and_its_caller() {
        let run: RunId = RUN.parse().unwrap();
        let step = StepId::parse("abc").unwrap();
        let app = AppId::derive(DEFAULT_ENV, "shop");
        let function = FunctionId::derive(app, "shop-f");
        let payload =
            Json::parse(br#"{"data":{"q":1,"_inngest":5},"user":null,"v":"2","meta":null}"#)
                .unwrap();
        let invocation = Invocation {
            id: invocation_id(run, &step),
            function_slug: "shop-g",
            payload: &payload,
            run,
            step: &step,
            step_name: "call",
            source_app: app,
            source_function: function,
            source_version: 3,
            expires_at: Timestamp::from_millis(9),
            at: Timestamp::from_millis(5),
        };
        let expected = format!(
            r#"{{"data":{{"_inngest":{{"correlation_id":"RUN.abc","expire":9,"fn_id":"shop-g","name":"call","source_app_id":"{app}","source_fn_id":"{function}","source_fn_v":3}},"q":1}},"id":"ID","name":"inngest/function.invoked","ts":5,"user":{{}},"v":"2"}}"#
        );
        check(&invoked(&invocation), &expected);
        let null = Json::null();
        assert!(
            invoked(&Invocation {
                payload: &null,
                ..invocation
            })
            .body
            .member("data")
            .unwrap()
            .member("_inngest")
            .is_some()
        );
    }

    #[test]
    fn tick_has_one_id_for_each_function() {
        let app = AppId::derive(DEFAULT_ENV, "shop");
        let tick = Timestamp::from_millis(1_785_574_800_000);
        let event = timer(FunctionId::derive(app, "a"), "0 9 * * *", tick, tick);
        check(
            &event,
            r#"{"data":{"cron":"0 9 * * *","fireAt":"2026-08-01T09:00:00Z","scheduledAt":"2026-08-01T09:00:00Z"},"id":"2026-08-01T09:00:00Z","name":"inngest/scheduled.timer","ts":1785574800000,"user":{}}"#,
        );
        assert_ne!(
            event.id,
            timer(FunctionId::derive(app, "b"), "0 9 * * *", tick, tick).id
        );
        assert_eq!(
            event.id,
            timer(FunctionId::derive(app, "a"), "0 9 * * *", tick, tick).id
        );
    }

    #[test]
    fn deferred_call_names_its_parent() {
        let app = AppId::derive(DEFAULT_ENV, "shop");
        let (input, step) = (
            Json::parse(br#"{"a":1}"#).unwrap(),
            StepId::parse("s").unwrap(),
        );
        let event = deferred(&Deferred {
            function_slug: "shop-after",
            input: &input,
            run: RUN.parse().unwrap(),
            step: &step,
            app,
            function: FunctionId::derive(app, "f"),
            parent_slug: "shop-f",
            at: Timestamp::from_millis(5),
        });
        let internal = event
            .body
            .member("data")
            .unwrap()
            .member("_inngest")
            .unwrap();
        assert_eq!(
            internal
                .member("parent_fn_slug")
                .unwrap()
                .to_text()
                .as_deref(),
            Some("shop-f")
        );
        assert_eq!(
            internal
                .member("parent_run_id")
                .unwrap()
                .to_text()
                .as_deref(),
            Some(RUN)
        );
    }
}
