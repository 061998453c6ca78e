//! Work: fenced, handed on, tried again, listed.

use inngest_core::{
    ids::{DEFAULT_ENV, FunctionId, WorkId},
    job::Work,
    time::Timestamp,
};

use crate::{Commit, Fence, samples::*, testing::on_each};

#[tokio::test]
async fn fence_that_does_not_end_keeps_its_work() {
    on_each(async |store| {
        store.must(start(1)).await;
        let keep = Fence {
            ends: false,
            ..fence(1, "discover", 1)
        };
        for expected in [1, 2] {
            let commit = Commit {
                fence: Some(keep),
                run: Some(change(1, expected)),
                ..Commit::default()
            };
            store.must(commit).await;
        }
        assert_eq!(
            store.work_of_run(DEFAULT_ENV, run_id(1)).await.unwrap(),
            vec![work(1, "discover")]
        );
    })
    .await;
}

#[tokio::test]
async fn retry_replaces_work_by_itself_under_a_higher_epoch() {
    on_each(async |store| {
        store.must(start(1)).await;
        let again = Work {
            epoch: 2,
            attempt: 1,
            due_at: at(5_000),
            ..work(1, "discover")
        };
        let commit = || Commit {
            fence: Some(fence(1, "discover", 1)),
            work: vec![again.clone()],
            ..Commit::default()
        };
        assert_eq!(store.must(commit()).await.work, vec![again.clone()]);
        assert_eq!(verdict(&store.commit(commit()).await), "FenceLost");
        assert_eq!(
            store.work_of_run(DEFAULT_ENV, run_id(1)).await.unwrap(),
            vec![again.clone()]
        );
    })
    .await;
}

#[tokio::test]
async fn work_that_exists_is_left_as_it_is() {
    on_each(async |store| {
        store.must(start(1)).await;
        let other = Work {
            due_at: at(77),
            ..work(1, "discover")
        };
        store
            .must(Commit {
                work: vec![other],
                ..Commit::default()
            })
            .await;
        assert_eq!(
            store.work_of_run(DEFAULT_ENV, run_id(1)).await.unwrap(),
            vec![work(1, "discover")]
        );
    })
    .await;
}

#[tokio::test]
async fn work_is_handed_on_once_per_epoch() {
    on_each(async |store| {
        store.must(start(1)).await;
        let id = work(1, "discover").id;
        let (one, two) = tokio::join!(store.raise_epoch(id, 1), store.raise_epoch(id, 1));
        let mut won = [one.unwrap(), two.unwrap()];
        won.sort();
        assert_eq!(won, [None, Some(2)]);
        assert_eq!(
            store
                .raise_epoch(WorkId::derive(run_id(9), "x"), 1)
                .await
                .unwrap(),
            None
        );
        let commit = |epoch| Commit {
            fence: Some(fence(1, "discover", epoch)),
            run: Some(end(1, 1)),
            ..Commit::default()
        };
        assert_eq!(verdict(&store.commit(commit(1)).await), "FenceLost");
        assert_eq!(verdict(&store.commit(commit(2)).await), "ok");
    })
    .await;
}

#[tokio::test]
async fn work_is_handed_on_or_done_but_never_both() {
    on_each(async |store| {
        for number in 1..=20 {
            store.must(start(number)).await;
            let commit = Commit {
                fence: Some(fence(number, "discover", 1)),
                run: Some(end(number, 1)),
                ..Commit::default()
            };
            let id = work(number, "discover").id;
            let (done, raised) = tokio::join!(store.commit(commit), store.raise_epoch(id, 1));
            assert_eq!(done.is_ok(), raised.unwrap().is_none(), "{number}");
        }
    })
    .await;
}

#[tokio::test]
async fn due_work_is_listed_in_order_and_an_unreadable_row_hides_nothing() {
    on_each(async |store| {
        let list: Vec<Work> = (1..=9)
            .map(|number| Work {
                due_at: at(i64::try_from(number / 3).unwrap()),
                ..work(number, "discover")
            })
            .collect();
        let commit = Commit {
            work: list.clone(),
            ..Commit::default()
        };
        store.must(commit).await;
        let mut expected = list;
        expected.sort_by_key(|work| (work.due_at, work.id));
        store
            .behind("UPDATE work SET kind = 999 WHERE due_at = (SELECT min(due_at) FROM work)")
            .await;
        expected.retain(|work| work.due_at > NOW);
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.list_due_work(after, at(3), 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some((last.due_at, last.id));
            let is_last = page.len() < 2;
            seen.extend(page);
            if is_last {
                break;
            }
        }
        expected.retain(|work| work.due_at < at(3));
        assert_eq!(seen, expected);
        assert_eq!(store.next_due(at(3)).await.unwrap(), Some(at(3)));
        assert_eq!(store.next_due(Timestamp::MAX).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn work_of_runs_is_counted_by_function_and_environment() {
    on_each(async |store| {
        store.must(start(1)).await;
        let tick = Work {
            id: WorkId::derive_for_function(function_id(), "cron:1"),
            run: None,
            ..work(1, "tick")
        };
        store
            .must(Commit {
                work: vec![work(1, "more"), tick],
                ..Commit::default()
            })
            .await;
        let count = async |env, function| {
            let counted = store.count_work_of_runs(env, function);
            counted.await.unwrap().value
        };
        let before = count(DEFAULT_ENV, function_id()).await;
        // The run's first call and the one that was added; the tick of a schedule is no run's.
        assert_eq!(before, 2);
        assert_eq!(count(OTHER_ENV, function_id()).await, 0);
        let other = FunctionId::derive(app_id(), "shop-other");
        assert_eq!(count(DEFAULT_ENV, other).await, 0);
    })
    .await;
}
