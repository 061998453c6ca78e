//! Random functions, carried out while jobs are lost, delivered twice, finished too late or forgotten: the end is always the same.

use std::{collections::BTreeSet, time::Duration};

use inngest_core::run::{RunStatus, StepKind, StepStatus};
use inngest_queue::model::Lease;
use inngest_services::testing::{Fixture, Flow, Script};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::{end_of, on, on_with};

/// Longer than a lease.
const LEASE: Duration = Duration::from_secs(31);

/// A piece of a function. Its place in the function gives it its id.
#[derive(Clone, Debug)]
enum Node {
    /// Fails this often before it succeeds.
    Run { fails: u64 },
    /// Sleeps this many hours.
    Sleep { hours: u8 },
    /// Waits for an event of its own, which is sent or not.
    Wait { arrives: bool },
    /// Starts another function.
    Invoke,
    /// All branches at once.
    Together(Vec<Vec<Node>>),
}

/// What happens to one delivery of a job.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Fine,
    /// The holder vanishes before it has begun.
    Lost,
    /// The holder vanishes after its commit.
    Unsettled,
    /// Two holders, one after the other.
    Twice,
    /// The holder carries it out long after somebody else took over.
    Late,
    /// The process restarts afterwards.
    Forgotten,
    /// The process restarts before the job has begun.
    ForgottenFirst,
}

fn program() -> impl Strategy<Value = Vec<Node>> {
    let leaf = prop_oneof![
        3 => (0_u64..3).prop_map(|fails| Node::Run { fails }),
        1 => (0_u8..4).prop_map(|hours| Node::Sleep { hours }),
        1 => any::<bool>().prop_map(|arrives| Node::Wait { arrives }),
        1 => Just(Node::Invoke),
    ];
    let node = leaf.prop_recursive(2, 10, 3, |node| {
        vec(vec(node, 1..3), 2..4).prop_map(Node::Together)
    });
    vec(node, 1..4)
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        6 => Just(Fate::Fine),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Unsettled),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Late),
        1 => Just(Fate::Forgotten),
        1 => Just(Fate::ForgottenFirst),
    ];
    vec(fate, 0..40)
}

fn carry_out(script: &mut Script<'_>, nodes: &[Node], path: &str) -> Result<Value, Flow> {
    let mut results = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let path = format!("{path}.{number}");
        let result = match node {
            Node::Run { fails } => {
                let (fails, text) = (*fails, path.clone());
                script.step(&path, move |attempt| {
                    if attempt < fails {
                        Err(Flow::error("not yet"))
                    } else {
                        Ok(json!(text))
                    }
                })?
            }
            Node::Sleep { hours } => {
                script.sleep(&path, &format!("{hours}h"))?;
                Value::Null
            }
            Node::Wait { .. } => {
                script.wait(&path, &format!("arrive/{path}"), "1d", "")?["data"].clone()
            }
            Node::Invoke => script.invoke(&path, "shop-child", json!({"path": path}), "9d")?,
            Node::Together(branches) => {
                let ends: Vec<_> = branches
                    .iter()
                    .enumerate()
                    .map(|(branch, nodes)| carry_out(script, nodes, &format!("{path}_{branch}")))
                    .collect();
                ends.into_iter().collect::<Result<Vec<_>, _>>()?.into()
            }
        };
        results.push(result);
    }
    Ok(results.into())
}

fn expected(nodes: &[Node], path: &str) -> Value {
    let result = |(number, node): (usize, &Node)| {
        let path = format!("{path}.{number}");
        match node {
            Node::Run { .. } => json!(path),
            Node::Sleep { .. } | Node::Wait { arrives: false } => Value::Null,
            Node::Wait { arrives: true } => json!({"for": path}),
            Node::Invoke => json!({"child of": path}),
            Node::Together(branches) => branches
                .iter()
                .enumerate()
                .map(|(branch, nodes)| expected(nodes, &format!("{path}_{branch}")))
                .collect(),
        }
    };
    nodes.iter().enumerate().map(result).collect()
}

fn arrivals(nodes: &[Node], path: &str, names: &mut BTreeSet<String>) {
    for (number, node) in nodes.iter().enumerate() {
        let path = format!("{path}.{number}");
        match node {
            Node::Wait { arrives: true } => drop(names.insert(path)),
            Node::Together(branches) => {
                for (branch, nodes) in branches.iter().enumerate() {
                    arrivals(nodes, &format!("{path}_{branch}"), names);
                }
            }
            Node::Run { .. } | Node::Sleep { .. } | Node::Wait { .. } | Node::Invoke => {}
        }
    }
}

async fn deliver(fixture: &Fixture, lease: Lease, fate: Fate, late: &mut Vec<Lease>) {
    match fate {
        Fate::Lost => {}
        Fate::Late => late.push(lease),
        Fate::Unsettled => drop(fixture.handle(lease).await),
        Fate::ForgottenFirst => fixture.forget().await,
        Fate::Fine | Fate::Twice | Fate::Forgotten => {
            let verdict = fixture.handle(lease.clone()).await;
            if matches!(fate, Fate::Twice) {
                drop(fixture.handle(lease.clone()).await);
            }
            fixture.settle_lease(lease, verdict).await;
            if matches!(fate, Fate::Forgotten) {
                fixture.forget().await;
            }
        }
    }
}

async fn check(program: Vec<Node>, fates: Vec<Fate>) {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    let code = program.clone();
    app.function(
        "main",
        on_with("go", json!({"timeouts": {"finish": "300d"}})),
        move |script| carry_out(script, &code, "s"),
    )
    .function("child", on("never"), |script| {
        let path = script.event()["data"]["path"].clone();
        script.step("answer", move |_| Ok(json!({"child of": path})))
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    let run = fixture.run_of(event).await.id;
    let mut to_send = BTreeSet::new();
    arrivals(&program, "s", &mut to_send);
    let mut fates = fates.into_iter();
    let mut late = Vec::new();
    for turn in 0.. {
        assert!(turn < 2_000, "the run does not come to an end");
        if let Some(lease) = fixture.lease(1).await.pop() {
            let fate = fates.next().unwrap_or(Fate::Fine);
            deliver(&fixture, lease, fate, &mut late).await;
            continue;
        }
        if fixture.services().queue().stats().await.unwrap().leased > 0 {
            fixture.advance(LEASE).await;
            continue;
        }
        if let Some(lease) = late.pop() {
            drop(fixture.handle(lease).await);
            // A worker whose outcome was not wanted leaves what it started to the schedule, which finds it in the table.
            fixture.advance(Duration::ZERO).await;
            continue;
        }
        let steps = fixture.steps(run).await;
        let awaited = steps.iter().find(|step| {
            step.kind == StepKind::WaitForEvent
                && step.status == StepStatus::Open
                && to_send.contains(&step.name)
        });
        if let Some(step) = awaited {
            to_send.remove(&step.name);
            fixture
                .send(&format!("arrive/{}", step.name), json!({"for": step.name}))
                .await;
            continue;
        }
        let next = fixture.store().next_due(fixture.now()).await.unwrap();
        match next {
            Some(at) => fixture.advance(at.since(fixture.now())).await,
            None => break,
        }
    }
    assert_eq!(
        end_of(&fixture.run(run).await),
        (RunStatus::Completed, expected(&program, "s"))
    );
}

/// A sixteenth of what `PROPTEST_CASES` says (256 when it says nothing), because each case is a whole server.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases.div_ceil(16),
        failure_persistence: None,
        ..config
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_program_ends_the_same_whatever_happens_to_its_jobs(program in program(), fates in fates()) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(check(program, fates));
    }
}
