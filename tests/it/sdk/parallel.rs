//! Several steps at once.

use inngest_tests::{
    scenario::Scenario,
    wait::{DEADLINE, wait_until},
};
use serde_json::json;

use crate::functions::elapsed_ms;

scenarios! {
    all:
        parallel_steps_run_once_each
        one_failing_parallel_step_leaves_the_others_alone
        parallel_chains_each_keep_their_order
        a_sleep_beside_a_step_delays_only_the_end;
    js: the_first_of_racing_steps_wins;
}

fn parallel_steps_run_once_each(s: &Scenario) {
    let output = s.send("parallel", json!({})).completed();
    assert_eq!(output, json!({ "results": [1, 2, 3], "sum": 6 }));
    let mut notes = s.notes();
    notes.sort();
    assert_eq!(notes, ["p1", "p2", "p3", "sum"]);
}

fn one_failing_parallel_step_leaves_the_others_alone(s: &Scenario) {
    assert_eq!(
        s.send("parallel-failing", json!({})).completed(),
        json!([1, "parallel boom"])
    );
    assert_eq!((s.count("good"), s.count("bad")), (1, 2));
}

fn parallel_chains_each_keep_their_order(s: &Scenario) {
    assert_eq!(
        s.send("parallel-chains", json!({})).completed(),
        json!([2, 2])
    );
    let notes = s.notes();
    let position = |what: &str| notes.iter().position(|note| note == what);
    assert_eq!(notes.len(), 4);
    assert!(
        position("a1") < position("a2") && position("b1") < position("b2"),
        "{notes:?}"
    );
}

fn a_sleep_beside_a_step_delays_only_the_end(s: &Scenario) {
    let run = s.send("parallel-sleep", json!({}));
    let work = s.noted("work");
    assert_eq!(run.completed(), json!(7));
    assert_eq!(s.count("work"), 1);
    // The end is told apart by another run, which starts after it.
    s.send("nothing", json!({})).completed();
    let waited = elapsed_ms(&work, &s.noted("called"));
    assert!(waited >= 700, "the sleep took {waited} ms");
}

fn the_first_of_racing_steps_wins(s: &Scenario) {
    let started = s.send("race", json!({}));
    let query = "query ($id: ID!) { run(id: $id) { stepCounts { completed total } } }";
    let id = started.run().id;
    wait_until("the fast step to win", DEADLINE, || {
        let counts = &s.server().graphql(query, &json!({ "id": id }))["run"]["stepCounts"];
        (*counts == json!({ "completed": 1, "total": 2 })).then_some(())
    });
    // The SDK returns only when the slow one has ended too.
    s.server()
        .send(&json!({ "name": s.event("late"), "data": { "marker": s.marker() } }));
    assert_eq!(started.completed(), json!("fast"));
}
