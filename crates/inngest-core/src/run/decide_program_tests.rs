//! Random functions, run to their end by a made-up SDK, while calls and timers interleave at random and faults happen.

use std::collections::{BTreeMap, HashMap};

use proptest::{collection::vec, prelude::*};

use super::{
    property_tests::{apply, check},
    tests::*,
    *,
};

/// A piece of a function. Names are given when the function is complete.
#[derive(Clone, Debug)]
enum Node {
    /// Fails this often before it succeeds.
    Run { fails: u32 },
    /// A sleep, a wait, an invoke, a signal, a request.
    Wait(StepKind),
    /// Goes on when all branches have, or when the first has.
    Together {
        is_race: bool,
        branches: Vec<Vec<Node>>,
    },
}

/// How a made-up SDK behaves.
#[derive(Clone, Copy, Debug)]
struct Dialect {
    version: i32,
    /// Says which steps race.
    marks_races: bool,
    /// Returns only when the losers of its races have results.
    waits_for_losers: bool,
    /// Runs step after step in one call, and reports the function's end as an op.
    runs_on: bool,
    /// Says itself that a step failed for the last time.
    gives_up: bool,
}

struct Found<'a> {
    id: StepId,
    node: &'a Node,
    is_race: bool,
}

/// What a function that is run again from its top comes upon.
struct Walk<'a> {
    stack: &'a [StepId],
    count: usize,
    found: Vec<Found<'a>>,
}

impl<'a> Walk<'a> {
    /// Where in the stack the result stands that completes this sequence; none while it waits for one.
    fn sequence(&mut self, nodes: &'a [Node], path: &str, is_race: bool) -> Option<usize> {
        let mut at = 0;
        for (index, node) in nodes.iter().enumerate() {
            let path = format!("{path}.{index}");
            at = at.max(self.node(node, &path, is_race)?);
        }
        Some(at)
    }

    fn node(&mut self, node: &'a Node, path: &str, is_race: bool) -> Option<usize> {
        match node {
            Node::Run { .. } | Node::Wait(_) => {
                self.count += 1;
                let id = step(path);
                let at = self.stack.iter().position(|ended| *ended == id);
                if at.is_none() {
                    self.found.push(Found { id, node, is_race });
                }
                at.map(|at| at + 1)
            }
            Node::Together {
                is_race: races,
                branches,
            } => {
                let is_race = is_race || *races;
                let ends: Vec<Option<usize>> = branches
                    .iter()
                    .enumerate()
                    .map(|(index, nodes)| self.sequence(nodes, &format!("{path}_{index}"), is_race))
                    .collect();
                if *races {
                    ends.into_iter().flatten().min()
                } else {
                    ends.into_iter().try_fold(0, |at, end| Some(at.max(end?)))
                }
            }
        }
    }
}

/// One call to the made-up SDK: its reply follows from what it is sent, and nothing else.
fn answer(
    program: &[Node],
    dialect: Dialect,
    sent: &Progress,
    call: &CallInfo,
    executed: &mut Vec<StepId>,
) -> Reply {
    let mut stack = sent.stack.clone();
    let mut ops = Vec::new();
    loop {
        let mut walk = Walk {
            stack: &stack,
            count: 0,
            found: Vec::new(),
        };
        let has_returned = walk.sequence(program, "s", false).is_some();
        let found = walk.found;
        if let Some(target) = &call.target {
            let Some(found) = found.iter().find(|found| found.id == *target) else {
                return Reply::Returned {
                    output: Json::null(),
                };
            };
            ops.push(run(found, dialect, call, executed));
            break;
        }
        if has_returned && (found.is_empty() || !dialect.waits_for_losers) {
            if !dialect.runs_on {
                return Reply::Returned {
                    output: Json::null(),
                };
            }
            ops.push(op(COMPLETE_ID, OpKind::RunComplete { data: Json::null() }));
            break;
        }
        match found.as_slice() {
            [
                only @ Found {
                    node: Node::Run { .. },
                    ..
                },
            ] if !sent.must_plan() => {
                let done = run(only, dialect, call, executed);
                let goes_on = dialect.runs_on && matches!(done.kind, OpKind::StepRun { .. });
                ops.push(done);
                stack.push(only.id.clone());
                if !goes_on {
                    break;
                }
            }
            all => {
                ops.extend(all.iter().map(|found| report(found, dialect)));
                break;
            }
        }
    }
    Reply::Ops {
        ops,
        version: Some(dialect.version),
        retry: RetryHint::default(),
    }
}

fn run(found: &Found<'_>, dialect: Dialect, call: &CallInfo, executed: &mut Vec<StepId>) -> Op {
    let fails = if let Node::Run { fails } = found.node {
        *fails
    } else {
        0
    };
    let error = StepError::new("Error", "boom");
    let kind = if call.attempt >= fails {
        executed.push(found.id.clone());
        OpKind::StepRun { data: Json::null() }
    } else if dialect.gives_up && call.attempt + 1 >= call.policy.max_attempts {
        OpKind::StepFailed { error }
    } else {
        OpKind::StepError { error }
    };
    let is_race = dialect.marks_races && found.is_race;
    Op {
        is_race,
        ..op(found.id.as_str(), kind)
    }
}

fn report(found: &Found<'_>, dialect: Dialect) -> Op {
    let timeout = "1h".to_owned();
    let kind = match found.node {
        Node::Wait(StepKind::Sleep) => OpKind::Sleep { text: timeout },
        Node::Wait(StepKind::WaitForEvent) => OpKind::WaitForEvent {
            event: "e".into(),
            expression: None,
            timeout,
        },
        Node::Wait(StepKind::Invoke) => OpKind::Invoke {
            function: "f".into(),
            payload: Json::null(),
            timeout: None,
        },
        Node::Wait(StepKind::WaitForSignal) => OpKind::WaitForSignal {
            signal: "s".into(),
            timeout: None,
            replace: false,
        },
        Node::Wait(StepKind::Fetch | StepKind::Infer) => OpKind::Fetch(FetchRequest {
            is_inference: false,
            opts: Json::empty_object(),
        }),
        Node::Wait(StepKind::Run) | Node::Run { .. } | Node::Together { .. } => OpKind::StepPlanned,
    };
    let is_race = dialect.marks_races && found.is_race;
    Op {
        is_race,
        ..op(found.id.as_str(), kind)
    }
}

/// A reply that is on its way.
#[derive(Clone)]
struct Flight {
    call: CallInfo,
    reply: Reply,
}

/// An engine without storage: takes one thing at random of those that can happen next.
struct World<'a> {
    program: &'a [Node],
    dialect: Dialect,
    run: Progress,
    attempts: HashMap<WorkId, u32>,
    flights: Vec<Flight>,
    /// Timers that went off, of which a second one may come.
    fired: Vec<(WorkId, StepId)>,
    executed: Vec<StepId>,
    ended: BTreeMap<StepId, u32>,
    /// Faults that may still happen.
    faults: u32,
    seed: u64,
}

const POLICY: RetryPolicy = RetryPolicy {
    max_attempts: 12,
    interval: None,
    jitter: 0.0,
};

enum Act {
    Call(WorkId, Option<StepId>),
    Fire(WorkId, StepId),
    Deliver(usize),
    DeliverTwice(usize),
    Lose(usize),
    Fail(usize),
    FireAgain(usize),
}

impl World<'_> {
    fn roll(&mut self, below: usize) -> usize {
        // SplitMix64
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below as u64).unwrap()
    }

    fn acts(&self) -> Vec<Act> {
        let mut work: Vec<_> = self.run.work.iter().collect();
        work.sort_by_key(|(id, _)| **id);
        let mut acts = Vec::new();
        for (id, (kind, step)) in work {
            let is_called = self.flights.iter().any(|flight| flight.call.work == *id);
            match step {
                _ if kind.calls_app() && (!is_called || self.faults > 0) => {
                    acts.push(Act::Call(*id, step.clone()))
                }
                Some(step) if !kind.calls_app() => acts.push(Act::Fire(*id, step.clone())),
                _ => {}
            }
        }
        for index in 0..self.flights.len() {
            acts.push(Act::Deliver(index));
            if self.faults > 0 {
                acts.extend([Act::DeliverTwice(index), Act::Lose(index), Act::Fail(index)]);
            }
        }
        if self.faults > 0 {
            acts.extend((0..self.fired.len()).map(Act::FireAgain));
        }
        acts
    }

    fn record(&mut self, work: WorkId, decision: &Decision) -> Option<Ending> {
        check(&self.run, work, decision);
        for effect in &decision.effects {
            match effect {
                Effect::EndStep { step, .. } => *self.ended.entry(step.clone()).or_default() += 1,
                Effect::FailedAttempt { code, .. } => {
                    assert!(["step_error", "http_unreachable"].contains(code), "{code}");
                }
                Effect::Finish(ending) => return Some(ending.clone()),
                _ => {}
            }
        }
        let next = apply(&self.run, work, decision).expect("the run goes on");
        self.run = next;
        if let Fate::Retry { attempt, .. } = decision.fate {
            self.attempts.insert(work, attempt);
        }
        None
    }

    fn fire(&mut self, work: WorkId, step: &StepId) -> Option<Ending> {
        let decision = resolve(
            &self.run,
            work,
            step,
            StepStatus::Completed,
            Memo::Null,
            RunLimits::default(),
            NOW,
        );
        self.record(work, &decision)
    }

    fn deliver(&mut self, flight: Flight) -> Option<Ending> {
        let decision = decide(&self.run, &flight.call, flight.reply, NOW);
        self.record(flight.call.work, &decision)
    }

    fn act(&mut self, act: Act) -> Option<Ending> {
        if matches!(
            act,
            Act::DeliverTwice(_) | Act::Lose(_) | Act::Fail(_) | Act::FireAgain(_)
        ) {
            self.faults -= 1;
        }
        match act {
            Act::Call(work, target) => {
                if self.flights.iter().any(|flight| flight.call.work == work) {
                    self.faults -= 1;
                }
                let attempt = self.attempts.get(&work).copied().unwrap_or(0);
                let call = CallInfo {
                    work,
                    target,
                    attempt,
                    sent_len: self.run.stack.len(),
                    stack_len: self.run.stack.len(),
                    policy: POLICY,
                    limits: RunLimits::default(),
                };
                let reply = answer(
                    self.program,
                    self.dialect,
                    &self.run,
                    &call,
                    &mut self.executed,
                );
                self.flights.push(Flight { call, reply });
                self.report_early()
            }
            Act::Fire(work, step) => {
                self.fired.push((work, step.clone()));
                self.fire(work, &step)
            }
            Act::FireAgain(index) => {
                let (work, step) = self.fired[index].clone();
                self.fire(work, &step)
            }
            Act::Deliver(index) => {
                let flight = self.flights.swap_remove(index);
                self.deliver(flight)
            }
            Act::DeliverTwice(index) => {
                let flight = self.flights[index].clone();
                self.deliver(flight)
            }
            // The server that made the call is gone; its lease runs out.
            Act::Lose(index) => {
                self.flights.swap_remove(index);
                None
            }
            Act::Fail(index) => {
                let Flight { call, .. } = self.flights.swap_remove(index);
                if call.attempt + 3 >= POLICY.max_attempts {
                    return None;
                }
                let failure = Failure {
                    class: FailureClass::Network,
                    code: "http_unreachable",
                    reason: String::new(),
                    error: StepError::new("Error", "no"),
                    retry: RetryHint::default(),
                };
                self.deliver(Flight {
                    call,
                    reply: Reply::Failed(failure),
                })
            }
        }
    }

    /// Some apps report steps while their call goes on; the reply then lists only the rest.
    fn report_early(&mut self) -> Option<Ending> {
        if !self.dialect.runs_on || self.roll(2) == 0 {
            return None;
        }
        let flight = self.flights.last_mut()?;
        let Reply::Ops { ops, .. } = &mut flight.reply else {
            return None;
        };
        let early = ops
            .iter()
            .take_while(|op| matches!(op.kind, OpKind::StepRun { .. }))
            .count();
        if flight.call.target.is_some() || early == ops.len() {
            return None;
        }
        let work = flight.call.work;
        let mut effects = Vec::new();
        for op in ops.drain(..early) {
            if !self.run.has_ended(&op.step) {
                flight.call.stack_len += 1;
                let (status, memo) = (StepStatus::Completed, Memo::Data(Json::null()));
                effects.push(Effect::EndStep {
                    step: op.step,
                    name: op.name,
                    kind: StepKind::Run,
                    status,
                    memo,
                    timing: None,
                });
            }
        }
        let attempt = self.attempts.get(&work).copied().unwrap_or(0);
        self.record(
            work,
            &Decision {
                effects,
                fate: Fate::Retry { at: NOW, attempt },
            },
        )
    }

    fn run_out(&mut self) -> Ending {
        for _ in 0..20_000 {
            let mut acts = self.acts();
            assert!(!acts.is_empty(), "stuck: {:?}", self.run);
            let index = self.roll(acts.len());
            if let Some(ending) = self.act(acts.swap_remove(index)) {
                return ending;
            }
        }
        panic!("no end: {:?}", self.run);
    }
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let fails = prop_oneof![6 => Just(0), 2 => 1..3u32, 1 => Just(u32::MAX)];
    let waits = StepKind::ALL
        .iter()
        .copied()
        .filter(|kind| *kind != StepKind::Run);
    let waits = prop::sample::select(waits.collect::<Vec<_>>());
    let leaf = prop_oneof![3 => fails.prop_map(|fails| Node::Run { fails }), 2 => waits.prop_map(Node::Wait)];
    let node = leaf.prop_recursive(3, 12, 3, |inner| {
        (any::<bool>(), vec(vec(inner, 1..3), 1..4))
            .prop_map(|(is_race, branches)| Node::Together { is_race, branches })
    });
    vec(node, 0..4)
}

fn dialects() -> impl Strategy<Value = Dialect> {
    (0..3i32, any::<[bool; 4]>()).prop_map(
        |(version, [marks_races, waits_for_losers, runs_on, gives_up])| Dialect {
            version,
            marks_races,
            waits_for_losers,
            runs_on,
            gives_up,
        },
    )
}

fn world(program: &[Node], dialect: Dialect, faults: u32, seed: u64) -> World<'_> {
    World {
        program,
        dialect,
        run: new_run(-1),
        attempts: HashMap::new(),
        flights: Vec::new(),
        fired: Vec::new(),
        executed: Vec::new(),
        ended: BTreeMap::new(),
        faults,
        seed,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_function_completes_with_each_step_recorded_once(
        program in nodes(),
        dialect in dialects(),
        faults in 0..7u32,
        seed in any::<u64>(),
    ) {
        let mut world = world(&program, dialect, faults, seed);
        prop_assert_eq!(world.run_out(), Ending::Completed(Json::null()));
        for (step, count) in &world.ended {
            prop_assert_eq!(*count, 1, "{} was recorded more than once", step);
        }
        let all: Vec<StepId> = world.ended.keys().cloned().collect();
        let mut walk = Walk { stack: &all, count: 0, found: Vec::new() };
        prop_assert!(walk.sequence(&program, "s", false).is_some(), "a step is missing");
        if dialect.waits_for_losers {
            prop_assert_eq!(walk.count, all.len());
        }
    }

    #[test]
    fn without_faults_no_step_runs_again_after_it_has_succeeded(program in nodes(), dialect in dialects(), seed in any::<u64>()) {
        let mut world = world(&program, dialect, 0, seed);
        world.run_out();
        let mut executed = world.executed.clone();
        executed.sort();
        executed.dedup();
        prop_assert_eq!(executed.len(), world.executed.len(), "{:?}", world.executed);
    }
}
