//! Pages in both directions, cursors, and what each part of a filter chooses.

use inngest_core::{
    access::Author,
    event::{Door, SourceKind},
    ids::DEFAULT_ENV,
    page::{Cursor, Direction, Key, Order, PageRequest},
    run::{RunStatus, TriggerKind},
};

use crate::{
    Commit, Error, EventFilter, Hints, NewEvent, NewRun, RunFilter, Traces,
    lists_tests::{NEWEST, all_events, all_runs, fill, rows},
    samples::*,
    testing::on_each,
};

#[tokio::test]
async fn pages_go_backward_over_the_same_rows() {
    on_each(async |store| {
        fill(&store).await;
        for direction in [Direction::Ascending, Direction::Descending] {
            let list = async |request: PageRequest| {
                store
                    .list_runs(DEFAULT_ENV, &all_runs(), direction, &request)
                    .await
                    .unwrap()
            };
            let all: Vec<_> = list(rows(60)).await.items;
            let (mut seen, mut from) = (Vec::new(), None);
            loop {
                let page = list(PageRequest {
                    limit: 13,
                    backward: true,
                    from,
                    look_back: true,
                })
                .await;
                assert_eq!(page.has_next, !seen.is_empty());
                from = page.cursors.first().cloned();
                seen.splice(0..0, page.items);
                if !page.has_previous {
                    break;
                }
            }
            assert_eq!(seen, all);
            let first = list(rows(5)).await;
            assert!(!first.has_previous);
            let second = PageRequest {
                look_back: true,
                ..PageRequest::new(5, first.cursors.last().cloned())
            };
            assert!(list(second).await.has_previous);
        }
    })
    .await;
}

#[tokio::test]
async fn look_back_costs_one_statement_and_only_when_it_is_asked_for() {
    on_each(async |store| {
        fill(&store).await;
        let cursor = store
            .list_runs(DEFAULT_ENV, &all_runs(), NEWEST, &rows(3))
            .await
            .unwrap()
            .cursors
            .pop();
        for (from, look_back, expected) in [
            (None, true, 1),
            (cursor.clone(), false, 1),
            (cursor, true, 2),
        ] {
            let request = PageRequest {
                look_back,
                ..PageRequest::new(3, from)
            };
            let before = store.statements();
            store
                .list_runs(DEFAULT_ENV, &all_runs(), NEWEST, &request)
                .await
                .unwrap();
            assert_eq!(store.statements() - before, expected, "{request:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn cursors_of_other_lists_orders_and_shapes_are_refused() {
    on_each(async |store| {
        fill(&store).await;
        let order = Order {
            name: "runs.queued",
            direction: NEWEST,
        };
        let forged = |order, key| {
            Cursor {
                order,
                keys: vec![key],
            }
            .encode()
        };
        let fits = forged(order, Key::Id(7));
        let list = async |from: &str, direction| {
            let request = PageRequest::new(3, Some(from.to_owned()));
            store
                .list_runs(DEFAULT_ENV, &all_runs(), direction, &request)
                .await
        };
        assert!(list(&fits, NEWEST).await.is_ok());
        let foreign = Order {
            name: "events.received",
            ..order
        };
        for (cursor, direction) in [
            (fits, Direction::Ascending),
            (forged(foreign, Key::Id(7)), NEWEST),
            (forged(order, Key::Text("x".into())), NEWEST),
            ("nonsense".to_owned(), NEWEST),
        ] {
            let refused = list(&cursor, direction).await;
            assert!(
                matches!(refused, Err(Error::InvalidCursor(_))),
                "{refused:?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn each_part_of_a_run_filter_chooses_as_it_says() {
    on_each(async |store| {
        let batch = NewRun {
            events: vec![event_id(2), event_id(9)],
            ..new_run(2)
        };
        let cron = NewRun {
            cron: Some("* * * * *".into()),
            function_version: 3,
            ..new_run(3)
        };
        let invoked = NewRun {
            event_name: inngest_core::event::FUNCTION_INVOKED.to_owned(),
            ..new_run(4)
        };
        let again = NewRun {
            original: Some(run_id(3)),
            cron: Some("* * * * *".into()),
            ..new_run(5)
        };
        store
            .must(Commit {
                runs: vec![new_run(1), batch, cron, invoked, again],
                ..Commit::default()
            })
            .await;
        // The first has ended after 8 ms (it started at the beginning of time and ended nine ms later), the second has started.
        store
            .must(Commit {
                run: Some(end(1, 1)),
                ..Commit::default()
            })
            .await;
        store
            .must(Commit {
                run: Some(change(2, 1)),
                ..Commit::default()
            })
            .await;
        let run = store
            .find_run(DEFAULT_ENV, run_id(1))
            .await
            .unwrap()
            .unwrap();
        let took = run
            .ended
            .as_ref()
            .unwrap()
            .at
            .since(run.started_at.unwrap());
        let base = RunFilter {
            now: at(1_000),
            ..all_runs()
        };
        let duration = |min: Option<u64>, max: Option<u64>| RunFilter {
            min_duration: min.map(std::time::Duration::from_millis),
            max_duration: max.map(std::time::Duration::from_millis),
            ..base.clone()
        };
        let length = u64::try_from(took.as_millis()).unwrap();
        let kinds = |kinds: &[TriggerKind]| RunFilter {
            triggers: Some(kinds.to_vec()),
            ..base.clone()
        };
        let cases: Vec<(RunFilter, &[u64])> = vec![
            (base.clone(), &[1, 2, 3, 4, 5]),
            (kinds(&[TriggerKind::Event]), &[1]),
            (kinds(&[TriggerKind::Batch]), &[2]),
            (kinds(&[TriggerKind::Cron]), &[3]),
            (kinds(&[TriggerKind::Invoke]), &[4]),
            (kinds(&[TriggerKind::Rerun]), &[5]),
            (kinds(&[TriggerKind::Cron, TriggerKind::Batch]), &[2, 3]),
            (kinds(&[]), &[]),
            (
                RunFilter {
                    runs: Some(vec![run_id(2), run_id(77)]),
                    ..base.clone()
                },
                &[2],
            ),
            (
                RunFilter {
                    events: Some(vec![event_id(2), event_id(4)]),
                    ..base.clone()
                },
                &[2, 4],
            ),
            (
                RunFilter {
                    event_names: Some(vec![new_run(1).event_name]),
                    ..base.clone()
                },
                &[1, 2],
            ),
            (
                RunFilter {
                    event_names: Some(Vec::new()),
                    ..base.clone()
                },
                &[],
            ),
            (
                RunFilter {
                    function_version: Some(3),
                    ..base.clone()
                },
                &[3],
            ),
            (
                RunFilter {
                    has_error: Some(true),
                    ..base.clone()
                },
                &[],
            ),
            (
                RunFilter {
                    has_error: Some(false),
                    statuses: Some(vec![RunStatus::Completed]),
                    ..base.clone()
                },
                &[1],
            ),
            (duration(Some(0), None), &[1, 2]),
            (duration(Some(length), Some(length)), &[1]),
            (duration(Some(length + 1), None), &[2]),
            (duration(None, Some(length - 1)), &[]),
            (duration(Some(1_000), Some(1_000)), &[2]),
        ];
        for (filter, expected) in cases {
            let found = store
                .list_runs(DEFAULT_ENV, &filter, Direction::Ascending, &rows(9))
                .await
                .unwrap();
            let ids: Vec<_> = found.items.iter().map(|run| run.id).collect();
            let expected: Vec<_> = expected.iter().copied().map(run_id).collect();
            assert_eq!(ids, expected, "{filter:?}");
            let count = store.count_runs(DEFAULT_ENV, &filter).await.unwrap();
            assert_eq!(count.value, expected.len() as u64, "{filter:?}");
            if let Some(kinds) = &filter.triggers {
                assert!(
                    found
                        .items
                        .iter()
                        .all(|run| kinds.contains(&run.trigger_kind()))
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn each_part_of_an_event_filter_chooses_as_it_says() {
    on_each(async |store| {
        store.must(start(1)).await;
        let names = ["shop/a", "shop/ü", "shop/b_", "other"];
        for (number, name) in (2..).zip(names) {
            store.must(send(vec![new_event(number, name, "{}")])).await;
        }
        let mut others = [
            new_event(6, "inngest/function.finished", "{}"),
            new_event(7, "inngest/function.invoked", "{}"),
            new_event(8, "older", "{}"),
        ];
        others[0].event.door = None;
        others[1].event.door = Some(Door::Api(Author::system()));
        others[2].event.door = None;
        store.must(send(others.to_vec())).await;
        let from = |kinds: &[SourceKind]| EventFilter {
            sources: Some(kinds.to_vec()),
            ..all_events()
        };
        let key = new_event(3, "x", "{}").event.key;
        let named = |names: &[&str]| EventFilter {
            names: Some(names.iter().map(|name| (*name).to_owned()).collect()),
            ..all_events()
        };
        let with_runs = |wanted| EventFilter {
            has_runs: Some(wanted),
            ..all_events()
        };
        let keyed = EventFilter {
            keys: Some(vec![key]),
            ..all_events()
        };
        let cases: Vec<(EventFilter, &[u64])> = vec![
            (named(&["shop/a", "other"]), &[2, 5]),
            (named(&["other", "shop/a", "other"]), &[2, 5]),
            (named(&["shop/*"]), &[1, 2, 3, 4]),
            (named(&["shop/ü*", "other"]), &[3, 5]),
            (named(&["shop/b%*"]), &[]),
            (named(&["*"]), &[1, 2, 3, 4, 5, 6, 7, 8]),
            (named(&[]), &[]),
            (with_runs(true), &[1]),
            (with_runs(false), &[2, 3, 4, 5, 6, 7, 8]),
            (keyed, &[3]),
            (from(&[SourceKind::EventApi]), &[1, 2, 3, 4, 5]),
            (from(&[SourceKind::System]), &[6]),
            (from(&[SourceKind::Api, SourceKind::System]), &[6, 7]),
            (from(&[]), &[]),
        ];
        for (filter, expected) in cases {
            let found = store
                .list_events(DEFAULT_ENV, &filter, Direction::Ascending, &rows(9))
                .await
                .unwrap();
            let ids: Vec<_> = found.items.iter().map(|event| event.id).collect();
            let expected: Vec<_> = expected.iter().copied().map(event_id).collect();
            assert_eq!(ids, expected, "{filter:?}");
            let count = store.count_events(DEFAULT_ENV, &filter).await.unwrap();
            assert_eq!(count.value, expected.len() as u64, "{filter:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn slice_reads_only_what_may_match_and_says_how_far_it_went() {
    on_each(async |store| {
        for (number, body) in [
            (1, r#"{"data":{"id":7,"text":"a\"b"}}"#),
            (2, r#"{"data":{"id":70}}"#),
            (3, r#"{"data":{"id":"7"}}"#),
            (4, r#"{"data":{"other":{"id":7}}}"#),
        ] {
            let event = NewEvent {
                runs: vec![new_run(number)],
                ..new_event(number, "a", body)
            };
            store.must(send(vec![event])).await;
        }
        store
            .must(Commit {
                run: Some(end(1, 1)),
                ..Commit::default()
            })
            .await;
        let traces = |name: &str, value: serde_json::Value| vec![Traces::of(name, &[value])];
        let event = |traces| Hints {
            event: traces,
            ..Hints::default()
        };
        let cases: Vec<(Hints, &[u64])> = vec![
            (Hints::default(), &[1, 2, 3, 4]),
            // What begins with the value is read as well: the search has the last word.
            (event(traces("id", 7.into())), &[1, 2, 4]),
            (event(traces("id", "7".into())), &[3]),
            (event(traces("text", "a\"b".into())), &[1]),
            (event(traces("text", "a".into())), &[]),
        ];
        let all = PageRequest {
            limit: 500,
            ..rows(1)
        };
        for (hints, expected) in cases {
            let runs = store
                .slice_runs(DEFAULT_ENV, &all_runs(), &hints, Direction::Ascending, &all)
                .await
                .unwrap();
            let ids: Vec<_> = runs.page.items.iter().map(|run| run.id).collect();
            let wanted: Vec<_> = expected.iter().copied().map(run_id).collect();
            assert_eq!(ids, wanted, "{hints:?}");
            assert_eq!((runs.candidates, runs.goes_on), (4, false));
            let events = store
                .slice_events(
                    DEFAULT_ENV,
                    &all_events(),
                    &hints,
                    Direction::Ascending,
                    &all,
                )
                .await
                .unwrap();
            let ids: Vec<_> = events.page.items.iter().map(|event| event.id).collect();
            let wanted: Vec<_> = expected.iter().copied().map(event_id).collect();
            assert_eq!(ids, wanted, "{hints:?}");
        }
        let hints = Hints {
            statuses: Some(vec![RunStatus::Completed]),
            output: vec![Traces::of("x", &[1.into()])],
            ..Hints::default()
        };
        let none = store
            .slice_runs(DEFAULT_ENV, &all_runs(), &hints, NEWEST, &rows(3))
            .await
            .unwrap();
        assert!(none.page.items.is_empty() && none.goes_on);
        assert_eq!(none.candidates, 3);
        let rest = PageRequest::new(3, none.end);
        let rest = store
            .slice_runs(DEFAULT_ENV, &all_runs(), &Hints::default(), NEWEST, &rest)
            .await
            .unwrap();
        assert_eq!((rest.candidates, rest.goes_on), (1, false));
        let foreign = store
            .slice_runs(OTHER_ENV, &all_runs(), &Hints::default(), NEWEST, &all)
            .await
            .unwrap();
        assert_eq!(foreign.candidates, 0);
        let foreign = store
            .slice_events(OTHER_ENV, &all_events(), &Hints::default(), NEWEST, &all)
            .await
            .unwrap();
        assert_eq!(foreign.candidates, 0);
    })
    .await;
}
