//! What starts a run, and what starts only one.

use std::time::Duration;

use inngest_tests::{
    app::Sdk,
    scenario::Scenario,
    wait::{holds_for, wait_until},
};
use serde_json::{Value, json};

scenarios! {
    all:
        an_event_id_starts_one_run
        an_idempotency_key_starts_one_run
        a_seed_makes_the_same_ids_again
        events_of_one_request_each_start_a_run
        a_wildcard_trigger_matches_its_prefix
        a_trigger_condition_decides
        each_of_several_triggers_starts_a_run
        an_event_nobody_listens_to_starts_nothing
        an_invalid_event_is_refused;
    js: an_event_that_matches_two_triggers_starts_one_run;
}

/// Long enough for a second run to show itself.
const QUIET: Duration = Duration::from_millis(600);

fn an_event_id_starts_one_run(s: &Scenario) {
    let event = json!({ "name": s.event("echo"), "id": s.marker, "data": {} });
    let first = s.send_event(event.clone());
    first.completed();
    let second = s.send_event(event);
    assert_ne!(first.event_id, second.event_id);
    holds_for("there is one run", QUIET, || s.count("called") == 1);
}

fn an_idempotency_key_starts_one_run(s: &Scenario) {
    s.send("idempotent", json!({ "key": s.marker })).completed();
    s.send("idempotent", json!({ "key": s.marker }));
    s.send("idempotent", json!({ "key": format!("{}-2", s.marker) }))
        .completed();
    holds_for("there are two runs", QUIET, || s.count("called") == 2);
}

fn a_seed_makes_the_same_ids_again(s: &Scenario) {
    let event = |n: u32| json!({ "name": s.event("echo"), "data": { "marker": s.marker, "n": n } });
    let events = json!([event(1), event(2)]);
    // Ten bytes of entropy that no other scenario uses.
    let entropy: Vec<u8> = s
        .marker
        .bytes()
        .rev()
        .chain(s.sdk.id().bytes())
        .take(10)
        .collect();
    let seed = format!("1700000000000,{}", base64(&entropy));
    let headers = [("x-inngest-event-id-seed", seed.as_str())];
    let ids = s.server().send_with(&events, &headers);
    assert_eq!(s.server().send_with(&events, &headers), ids);
    assert_ne!(ids[0], ids[1]);
    s.noted_times("called", 2);
    holds_for("each event started one run", QUIET, || {
        s.count("called") == 2
    });
}

fn events_of_one_request_each_start_a_run(s: &Scenario) {
    let events: Vec<_> = (0..20)
        .map(|n| json!({ "name": s.event("receiver"), "data": { "marker": s.marker, "n": n } }))
        .collect();
    let ids = s.server().send(&json!(events));
    assert_eq!(ids.len(), 20);
    let received = s.noted_times("received", 20);
    let mut numbers: Vec<_> = received
        .iter()
        .filter_map(|entry| entry["data"]["n"].as_i64())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    let run = wait_until("the last run", QUIET * 20, || {
        s.server().runs_of(&ids[19]).pop()
    });
    assert_eq!(
        s.server().ended(&run.id).output,
        json!(19),
        "ids follow the order of the request"
    );
}

fn a_wildcard_trigger_matches_its_prefix(s: &Scenario) {
    assert_eq!(
        s.send("wild.one", json!({})).completed(),
        json!(s.event("wild.one"))
    );
    assert_eq!(
        s.send("wild.two.three", json!({})).completed(),
        json!(s.event("wild.two.three"))
    );
    let other = s.send("wildest", json!({}));
    holds_for("another name starts nothing", QUIET, || {
        other.runs().is_empty()
    });
}

fn a_trigger_condition_decides(s: &Scenario) {
    let small = s.send("filtered", json!({ "total": 10 }));
    s.send("filtered", json!({ "total": 11 })).completed();
    holds_for("the small one starts nothing", QUIET, || {
        small.runs().is_empty()
    });
}

fn each_of_several_triggers_starts_a_run(s: &Scenario) {
    assert_eq!(
        s.send("first", json!({})).completed(),
        json!(s.event("first"))
    );
    assert_eq!(
        s.send("second", json!({})).completed(),
        json!(s.event("second"))
    );
}

fn an_event_that_matches_two_triggers_starts_one_run(s: &Scenario) {
    let started = s.send("twice", json!({ "total": 11 }));
    started.completed();
    holds_for("there is one run", QUIET, || {
        started.runs().len() == 1 && s.count("called") == 1
    });
}

fn an_event_nobody_listens_to_starts_nothing(s: &Scenario) {
    let started = s.send("nobody", json!({}));
    holds_for("there is no run", QUIET, || started.runs().is_empty());
}

fn an_invalid_event_is_refused(s: &Scenario) {
    let cases: [(&str, Value); 5] = [
        ("no name", json!({ "data": {} })),
        (
            "a reserved name",
            json!({ "name": "inngest/function.finished", "data": {} }),
        ),
        (
            "data that is no object",
            json!({ "name": s.event("echo"), "data": [1] }),
        ),
        (
            "a time before 1980",
            json!({ "name": s.event("echo"), "ts": 1, "data": {} }),
        ),
        ("no event at all", json!("text")),
    ];
    for (case, event) in cases {
        let answer = s.server().post("/e/test", &event);
        assert_eq!(answer.status, 400, "{case}: {answer:?}");
        assert!(answer.body["error"].is_string(), "{case}: {answer:?}");
    }
}

#[test]
#[ignore = "waits up to a minute"]
fn a_schedule_starts_a_run_every_minute() {
    let s = Scenario::new(Sdk::Ts4, "minutely");
    let tick = wait_until("the first minute", Duration::from_secs(75), || {
        s.app().journal("cron").into_iter().next()
    });
    assert_eq!(tick["data"]["cron"], "* * * * *");
}

/// Standard base64 of ten bytes.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let symbol = char::from(ALPHABET[(word >> (18 - 6 * position) & 63) as usize]);
            text.push(if position <= chunk.len() { symbol } else { '=' });
        }
    }
    text
}
