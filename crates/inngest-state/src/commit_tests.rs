//! One commit at a time: its conditions, what it writes, and that a refused one leaves no trace.

use std::time::Duration;

use inngest_core::{
    ids::{DEFAULT_ENV, DEFAULT_ORG},
    job::{JobKind, Work},
    run::{RunStatus, SdkResponse, StepDetails, StepKind, StepStatus, progress::StepState},
};

use crate::{
    Commit, FailedAttemptRow, NewEvent, RunChange, StepChange, samples::*, testing::on_each,
};

/// Everything that a commit can bring, so that a trace of a refused one would be seen.
fn everything(number: u64) -> Commit {
    Commit {
        steps: vec![ended_step(1, "extra", 9, "1")],
        failed_attempts: vec![failed_attempt(1, None, 7)],
        events: start(number).events,
        runs: vec![new_run(number + 1)],
        waits: vec![event_wait(number, "never", None)],
        work: vec![work(number, "more")],
        drop_waits: vec![event_wait(1, "x", None).id],
        drop_work: vec![work(1, "later").id],
        ..Commit::default()
    }
}

#[tokio::test]
async fn refused_commit_leaves_no_trace() {
    on_each(async |store| {
        store.must(start(1)).await;
        let also = Commit {
            waits: vec![event_wait(1, "shop/paid", None)],
            work: vec![work(1, "later")],
            ..Commit::default()
        };
        store.must(also).await;
        let before = store.census().await;
        let gone = event_wait(99, "x", None).id;
        let cases = [
            (
                "FenceLost",
                Commit {
                    fence: Some(fence(1, "discover", 2)),
                    run: Some(change(1, 1)),
                    ..everything(10)
                },
            ),
            (
                "FenceLost",
                Commit {
                    fence: Some(fence(1, "nothing", 1)),
                    ..everything(20)
                },
            ),
            (
                "RunChanged",
                Commit {
                    fence: Some(fence(1, "discover", 1)),
                    run: Some(change(1, 2)),
                    ..everything(30)
                },
            ),
            (
                "RunChanged",
                Commit {
                    run: Some(end(98, 1)),
                    ..everything(40)
                },
            ),
            (
                "WaitGone",
                Commit {
                    fence: Some(fence(1, "discover", 1)),
                    claims: vec![event_wait(1, "x", None).id, gone],
                    ..everything(50)
                },
            ),
            (
                "FunctionsChanged",
                Commit {
                    fence: Some(fence(1, "discover", 1)),
                    functions_version: Some((DEFAULT_ENV, 5)),
                    ..everything(60)
                },
            ),
            (
                "FunctionsChanged",
                Commit {
                    functions_version: Some((OTHER_ENV, 0)),
                    ..everything(70)
                },
            ),
        ];
        for (expected, commit) in cases {
            assert_eq!(verdict(&store.commit(commit).await), expected);
            assert_eq!(store.census().await, before, "{expected}");
        }
        let run = store
            .load_run(DEFAULT_ENV, run_id(1))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((run.progress.revision, run.work.len()), (1, 2));
    })
    .await;
}

#[tokio::test]
async fn every_condition_that_holds_lets_a_commit_through() {
    on_each(async |store| {
        store.must(start(1)).await;
        store
            .must(wait_for(vec![event_wait(1, "shop/paid", None)]))
            .await;
        let commit = Commit {
            fence: Some(fence(1, "discover", 1)),
            claims: vec![event_wait(1, "x", None).id],
            functions_version: Some((DEFAULT_ENV, 0)),
            run: Some(change(1, 1)),
            steps: vec![ended_step(1, "a", 0, "{\"data\":1}")],
            ..Commit::default()
        };
        store.must(commit).await;
        let counts = (
            store.rows_of("work").await,
            store.rows_of("waits").await,
            store.rows_of("steps").await,
        );
        assert_eq!(counts, (0, 0, 1));
    })
    .await;
}

#[tokio::test]
async fn end_of_a_run_takes_its_work_and_waits_and_nothing_else() {
    on_each(async |store| {
        for number in [1, 2] {
            store.must(start(number)).await;
            let commit = Commit {
                waits: vec![
                    event_wait(number, "shop/paid", None),
                    signal_wait(number, &format!("s{number}"), false),
                ],
                work: vec![work(number, "timeout")],
                ..Commit::default()
            };
            store.must(commit).await;
        }
        let commit = Commit {
            fence: Some(fence(1, "discover", 1)),
            run: Some(end(1, 1)),
            ..Commit::default()
        };
        store.must(commit).await;
        for (number, left) in [(1, 0), (2, 2)] {
            let work = store
                .work_of_run(DEFAULT_ENV, run_id(number))
                .await
                .unwrap();
            let waits = store.stored_waits(DEFAULT_ENV, run_id(number)).await;
            assert_eq!((work.len(), waits.len()), (left, left));
        }
        let run = store
            .find_run(DEFAULT_ENV, run_id(1))
            .await
            .unwrap()
            .unwrap();
        let ended = run.ended.unwrap();
        assert_eq!((run.status, run.revision), (RunStatus::Completed, 2));
        assert_eq!((ended.at, ended.output), (at(9), json("\"done\"")));
        assert!(
            store
                .load_run(DEFAULT_ENV, run_id(1))
                .await
                .unwrap()
                .is_none()
        );
        // A run that has ended does not change any more, whatever revision is stated.
        for expected in [1, 2, 3] {
            let commit = Commit {
                run: Some(change(1, expected)),
                ..Commit::default()
            };
            assert_eq!(verdict(&store.commit(commit).await), "RunChanged");
        }
    })
    .await;
}

#[tokio::test]
async fn start_of_a_run_is_recorded_once() {
    on_each(async |store| {
        store.must(start(1)).await;
        for (expected, started_at) in [(1, Some(at(3))), (2, Some(at(4))), (3, None)] {
            let commit = Commit {
                run: Some(RunChange {
                    started_at,
                    force_plan: expected == 2,
                    ..change(1, expected)
                }),
                ..Commit::default()
            };
            store.must(commit).await;
        }
        let run = store
            .find_run(DEFAULT_ENV, run_id(1))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((run.started_at, run.revision), (Some(at(3)), 4));
    })
    .await;
}

#[tokio::test]
async fn what_a_step_asked_for_stays_when_it_ends_and_so_does_what_ended_it() {
    on_each(async |store| {
        store.must(start(1)).await;
        let asked = StepDetails::Sleep { until: at(7) };
        let nap = StepChange {
            kind: StepKind::Sleep,
            details: Some(asked.clone()),
            ..open_step(1, "nap")
        };
        let woken = StepChange {
            kind: StepKind::Sleep,
            ended_by: Some(event_id(4)),
            ..ended_step(1, "nap", 0, "null")
        };
        for change in [nap, woken] {
            let commit = Commit {
                steps: vec![change],
                ..Commit::default()
            };
            store.must(commit).await;
        }
        let steps = store
            .steps_of_runs(DEFAULT_ENV, &[run_id(1)])
            .await
            .unwrap();
        assert_eq!(
            (&steps[0].details, steps[0].ended_by),
            (&Some(asked), Some(event_id(4)))
        );
    })
    .await;
}

#[tokio::test]
async fn answers_of_an_app_stay_with_the_result_and_the_failures_that_they_brought() {
    on_each(async |store| {
        store.must(start(1)).await;
        let answer = |status| {
            let header = |name: &str| (name == "server").then_some("nginx");
            Some(SdkResponse::new(
                status,
                Duration::from_millis(7),
                3,
                header,
            ))
        };
        let done = StepChange {
            response: answer(206),
            ..ended_step(1, "a", 0, "1")
        };
        let late = StepChange {
            response: answer(200),
            ..ended_step(1, "a", 1, "2")
        };
        let failed = FailedAttemptRow {
            response: answer(502),
            ..failed_attempt(1, Some("a"), 0)
        };
        let unheard = failed_attempt(1, Some("a"), 1);
        for commit in [
            Commit {
                steps: vec![open_step(1, "a")],
                failed_attempts: vec![failed, unheard],
                ..Commit::default()
            },
            Commit {
                steps: vec![done, late],
                ..Commit::default()
            },
        ] {
            store.must(commit).await;
        }
        let runs = [run_id(1)];
        let steps = store.steps_of_runs(DEFAULT_ENV, &runs);
        assert_eq!(steps.await.unwrap()[0].response, answer(206));
        let failed = store.failed_attempts_of_runs(DEFAULT_ENV, &runs);
        let failed = failed.await.unwrap().into_iter();
        let answers = failed.map(|it| it.response);
        assert_eq!(answers.collect::<Vec<_>>(), [answer(502), None]);
    })
    .await;
}

#[tokio::test]
async fn first_result_of_a_step_wins_and_reopening_is_harmless() {
    on_each(async |store| {
        store.must(start(1)).await;
        let mut last = ended_step(1, "a", 7, "\"late\"");
        last.status = StepStatus::Failed;
        let changes = [
            open_step(1, "a"),
            open_step(1, "a"),
            ended_step(1, "b", 0, "\"b\""),
            ended_step(1, "a", 1, "\"first\""),
            last,
            open_step(1, "a"),
        ];
        for change in changes {
            let commit = Commit {
                steps: vec![change],
                ..Commit::default()
            };
            store.must(commit).await;
        }
        let steps = store
            .steps_of_runs(DEFAULT_ENV, &[run_id(1)])
            .await
            .unwrap();
        let order: Vec<_> = steps.iter().map(|step| step.step.as_str()).collect();
        assert_eq!(order, ["b", "a"]);
        assert_eq!(steps[1].memo, Some(json("\"first\"")));
        assert_eq!(
            (steps[1].status, steps[1].position),
            (StepStatus::Completed, Some(1))
        );
        assert_eq!(steps[1].ended_at, Some(at(2)));
    })
    .await;
}

#[tokio::test]
async fn two_reports_of_one_step_in_one_commit_count_as_one_after_the_other() {
    on_each(async |store| {
        store.must(start(1)).await;
        let commit = Commit {
            steps: vec![
                open_step(1, "a"),
                ended_step(1, "a", 0, "\"first\""),
                ended_step(1, "a", 1, "\"second\""),
            ],
            ..Commit::default()
        };
        store.must(commit).await;
        let steps = store
            .steps_of_runs(DEFAULT_ENV, &[run_id(1)])
            .await
            .unwrap();
        assert_eq!(steps.len(), 1);
        assert_eq!(
            (steps[0].position, &steps[0].memo),
            (Some(0), &Some(json("\"first\"")))
        );
    })
    .await;
}

#[tokio::test]
async fn loaded_run_is_what_was_committed() {
    on_each(async |store| {
        let mut run = new_run(1);
        run.events = vec![event_id(1), event_id(2), event_id(3)];
        run.rank = -5;
        run.correlation = Some("caller.step".to_owned());
        run.cron = Some("* * * * *".to_owned());
        run.original = Some(run_id(77));
        run.waits = vec![event_wait(1, "shop/cancelled", None)];
        let commit = Commit {
            events: vec![
                new_event(3, "shop/c", "3"),
                new_event(2, "shop/b", "2"),
                NewEvent {
                    runs: vec![run],
                    ..new_event(1, "shop/a", "{\"ü\":\"\\u0000\"}")
                },
            ],
            ..Commit::default()
        };
        store.must(commit).await;
        let sleep = Work {
            kind: JobKind::Wake,
            step: Some(step_id("nap")),
            due_at: at(500),
            rank: i64::MIN,
            attempt: 3,
            payload: "x\0y".into(),
            ..work(1, "wake:nap")
        };
        let commit = Commit {
            fence: Some(fence(1, "discover", 1)),
            run: Some(RunChange {
                force_plan: true,
                ..change(1, 1)
            }),
            steps: vec![
                ended_step(1, "b", 1, "{\"data\":2}"),
                ended_step(1, "a", 0, "null"),
                open_step(1, "nap"),
            ],
            work: vec![sleep.clone()],
            ..Commit::default()
        };
        store.must(commit).await;

        let loaded = store
            .load_run(DEFAULT_ENV, run_id(1))
            .await
            .unwrap()
            .unwrap();
        let run = loaded.progress;
        assert_eq!(
            (run.org, run.env, run.app, run.function),
            (DEFAULT_ORG, DEFAULT_ENV, app_id(), function_id())
        );
        assert_eq!(
            (run.revision, run.status, run.started_at),
            (2, RunStatus::Running, Some(NOW))
        );
        assert_eq!(
            (run.request_version, run.force_plan, run.rank),
            (2, true, -5)
        );
        assert_eq!(run.correlation.as_deref(), Some("caller.step"));
        assert_eq!(run.stack, [step_id("a"), step_id("b")]);
        let bodies = [
            event(1, "shop/a", "{\"ü\":\"\\u0000\"}"),
            event(2, "shop/b", "2"),
            event(3, "shop/c", "3"),
        ]
        .map(|event| (event.id, event.body));
        assert_eq!(run.events, bodies);
        let nap = StepState {
            name: "nap".to_owned(),
            kind: inngest_core::run::StepKind::Run,
            status: StepStatus::Open,
            memo: None,
            group: Some(1),
        };
        assert_eq!(run.steps.get(&step_id("nap")), Some(&nap));
        assert_eq!(run.steps.len(), 3);
        assert_eq!(
            run.work.get(&sleep.id),
            Some(&(JobKind::Wake, Some(step_id("nap"))))
        );
        assert_eq!(loaded.work, vec![sleep]);
        let waits = store.stored_waits(DEFAULT_ENV, run_id(1)).await;
        assert_eq!(waits, vec![event_wait(1, "shop/cancelled", None)]);
        let shown = store
            .find_run(DEFAULT_ENV, run_id(1))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((shown.original, shown.events.len()), (Some(run_id(77)), 3));
        assert_eq!(shown.cron.as_deref(), Some("* * * * *"));
    })
    .await;
}

#[tokio::test]
async fn failed_attempts_are_kept_once_and_in_order() {
    on_each(async |store| {
        store.must(start(1)).await;
        let commit = || Commit {
            failed_attempts: vec![
                failed_attempt(1, Some("a"), 1),
                failed_attempt(1, None, 2),
                failed_attempt(1, Some("a"), 0),
            ],
            ..Commit::default()
        };
        store.must(commit()).await;
        store.must(commit()).await;
        let rows = store
            .failed_attempts_of_runs(DEFAULT_ENV, &[run_id(1)])
            .await
            .unwrap();
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.step.clone(), row.attempt, row.message()))
            .collect();
        let message = || "no".to_owned();
        assert_eq!(
            seen,
            [
                (Some(step_id("a")), 0, message()),
                (Some(step_id("a")), 1, message()),
                (None, 2, message())
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn event_that_exists_brings_nothing() {
    on_each(async |store| {
        let commit = || {
            let mut commit = start(1);
            commit.events[0].may_exist = true;
            commit
        };
        let first = store.must(commit()).await;
        assert_eq!(
            (first.started, first.known_events.len(), first.work.len()),
            (vec![run_id(1)], 0, 1)
        );
        let before = store.census().await;
        let second = store.must(commit()).await;
        assert_eq!(
            (second.started.len(), second.known_events, second.work.len()),
            (0, vec![event_id(1)], 0)
        );
        assert_eq!(store.census().await, before);
        // Twice within one commit, it is one event as well.
        let mut twice = commit();
        twice.events = vec![start(2).events.remove(0), start(2).events.remove(0)];
        let outcome = store.must(twice).await;
        assert_eq!(
            (outcome.started, outcome.known_events),
            (vec![run_id(2)], vec![event_id(2)])
        );
    })
    .await;
}

#[tokio::test]
async fn commit_may_be_larger_than_any_one_statement() {
    on_each(async |store| {
        let numbers = 1..=3_000u64;
        let commit = Commit {
            events: numbers
                .clone()
                .map(|number| start(number).events.remove(0))
                .collect(),
            waits: numbers
                .clone()
                .map(|number| event_wait(number, &format!("name{number}"), None))
                .collect(),
            steps: numbers
                .clone()
                .map(|number| ended_step(number, "a", 0, "1"))
                .collect(),
            ..Commit::default()
        };
        let outcome = store.must(commit).await;
        assert_eq!((outcome.started.len(), outcome.work.len()), (3_000, 3_000));
        let commit = Commit {
            claims: numbers
                .clone()
                .map(|number| event_wait(number, "x", None).id)
                .collect(),
            drop_work: numbers
                .clone()
                .map(|number| work(number, "discover").id)
                .collect(),
            ..Commit::default()
        };
        store.must(commit).await;
        assert_eq!(
            (store.rows_of("waits").await, store.rows_of("work").await),
            (0, 0)
        );
    })
    .await;
}
