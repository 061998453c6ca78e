//! Pages that end early.

use inngest_core::{
    ids::DEFAULT_ENV,
    page::{Page, PageRequest},
};

use super::*;
use crate::{Commit, samples::*, testing::on_each};

const PLENTY: u64 = 1_000_000;

/// Reads all pages; what each page has.
async fn walk<T>(
    limit: u32,
    mut read: impl AsyncFnMut(PageRequest) -> Page<T>,
    show: impl Fn(&T) -> String,
) -> Vec<Vec<String>> {
    let (mut pages, mut from) = (Vec::new(), None);
    loop {
        let page = read(PageRequest::new(limit, from)).await;
        pages.push(page.items.iter().map(&show).collect());
        from = page.cursors.last().cloned();
        if !page.has_next {
            return pages;
        }
    }
}

#[test]
fn page_has_as_many_rows_as_fit_and_at_least_one() {
    for (weights, limit, most, expected) in [
        (vec![], 3, 10, 0),
        (vec![1, 1, 1, 1], 3, 10, 3),
        (vec![5, 5, 1], 3, 10, 2),
        (vec![11, 1], 3, 10, 1),
        (vec![1, 11, 1], 3, 10, 1),
        (vec![0, 0], 3, 0, 2),
    ] {
        let count = fitting(weights.iter().copied(), limit, most);
        assert_eq!(count, expected, "{weights:?}");
    }
}

#[tokio::test]
async fn runs_of_an_event_are_paged_and_a_page_of_large_outputs_ends_early() {
    on_each(async |store| {
        let runs = (1..=5).map(|number| {
            let mut run = new_run(number);
            run.events = vec![event_id(1)];
            run
        });
        store
            .must(Commit {
                events: vec![new_event(1, "shop/order", "{}")],
                runs: runs.collect(),
                ..Commit::default()
            })
            .await;
        let mut large = end(2, 1);
        large.ended = Some((at(9), json(&format!("\"{}\"", "x".repeat(998)))));
        store
            .must(Commit {
                run: Some(large),
                ..Commit::default()
            })
            .await;
        let id = |number: u64| run_id(number).to_string();
        let of = |numbers: &[u64]| numbers.iter().map(|it| id(*it)).collect::<Vec<_>>();
        for (env, limit, most, expected) in [
            (DEFAULT_ENV, 9, PLENTY, vec![of(&[1, 2, 3, 4, 5])]),
            (
                DEFAULT_ENV,
                2,
                PLENTY,
                vec![of(&[1, 2]), of(&[3, 4]), of(&[5])],
            ),
            (
                DEFAULT_ENV,
                9,
                999,
                vec![of(&[1]), of(&[2]), of(&[3, 4, 5])],
            ),
            (DEFAULT_ENV, 9, 1_000, vec![of(&[1, 2, 3, 4, 5])]),
            (OTHER_ENV, 9, PLENTY, vec![vec![]]),
        ] {
            let read = async |page: PageRequest| {
                let page = store.page_runs_of_event(env, event_id(1), &page, most);
                page.await.unwrap()
            };
            let pages = walk(limit, read, |run| run.id.to_string()).await;
            assert_eq!(pages, expected, "{limit} {most}");
        }
    })
    .await;
}

#[tokio::test]
async fn steps_of_a_run_are_paged_in_the_order_of_their_ends() {
    on_each(async |store| {
        let large = format!("\"{}\"", "x".repeat(998));
        let commit = Commit {
            steps: vec![
                ended_step(1, "z", 0, "1"),
                ended_step(1, "y", 1, &large),
                ended_step(1, "a", 2, "1"),
                open_step(1, "c"),
                open_step(1, "b"),
            ],
            failed_attempts: vec![
                failed_attempt(1, Some("a"), 0),
                failed_attempt(1, Some("a"), 1),
                failed_attempt(1, None, 0),
            ],
            ..start(1)
        };
        store.must(commit).await;
        let of = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        for (env, limit, most, expected) in [
            (DEFAULT_ENV, 9, PLENTY, vec![of(&["z", "y", "a", "b", "c"])]),
            (
                DEFAULT_ENV,
                2,
                PLENTY,
                vec![of(&["z", "y"]), of(&["a", "b"]), of(&["c"])],
            ),
            (
                DEFAULT_ENV,
                9,
                500,
                vec![of(&["z"]), of(&["y"]), of(&["a", "b", "c"])],
            ),
            (OTHER_ENV, 9, PLENTY, vec![vec![]]),
        ] {
            let read = async |page: PageRequest| {
                let page = store.page_steps_of_run(env, run_id(1), &page, most);
                page.await.unwrap()
            };
            let pages = walk(limit, read, |step| step.step.to_string()).await;
            assert_eq!(pages, expected, "{limit} {most}");
        }
        let steps = [step_id("a"), step_id("b")];
        let failed = store.count_failed_attempts(DEFAULT_ENV, run_id(1), &steps);
        assert_eq!(failed.await.unwrap(), HashMap::from([(step_id("a"), 2)]));
        let failed = store.count_failed_attempts(OTHER_ENV, run_id(1), &steps);
        assert!(failed.await.unwrap().is_empty());
        let foreign = PageRequest::new(9, Some("x".to_owned()));
        let refused = store.page_steps_of_run(DEFAULT_ENV, run_id(1), &foreign, PLENTY);
        assert!(matches!(refused.await, Err(Error::InvalidCursor(_))));
    })
    .await;
}
