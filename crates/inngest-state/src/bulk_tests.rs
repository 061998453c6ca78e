//! Operations on many runs: stored, found, counted up, and refused when they have ended.

use inngest_core::{
    access::Author,
    bulk::{BulkKind, BulkOperation, BulkProgress, BulkStatus, Selection},
    ids::{BulkId, DEFAULT_ENV, DEFAULT_ORG, EnvId, FunctionId},
    limits,
    page::PageRequest,
    run::RunStatus,
};
use ulid::Ulid;
use uuid::Uuid;

use crate::{
    BulkChange, BulkFilter, BulkPlace, BulkStep, Commit, NewBulk, Store, samples::*,
    testing::on_each,
};

const KIND: BulkKind = BulkKind::Cancellation;

fn id(number: u64) -> BulkId {
    let time = u64::try_from(NOW.as_millis()).unwrap() + number;
    BulkId::from_raw(Ulid::from_parts(time, 1))
}

pub(crate) fn operation(number: u64) -> BulkOperation {
    BulkOperation {
        id: id(number),
        kind: KIND,
        name: Some("all".to_owned()),
        by: Author::system(),
        created_at: at(i64::try_from(number).unwrap()),
        selection: Selection {
            functions: vec![function_id(), FunctionId::from_raw(Uuid::from_u128(7))],
            from: at(0),
            until: at(99),
            statuses: vec![RunStatus::Queued, RunStatus::Running],
            search: Some("run.attempt > 1".to_owned()),
        },
        rate: Some(7),
        status: BulkStatus::Pending,
        progress: BulkProgress::default(),
        position: None,
        ended_at: None,
    }
}

fn begin(operation: BulkOperation) -> Commit {
    Commit {
        bulk: Some(BulkChange::Begin(Box::new(NewBulk {
            org: DEFAULT_ORG,
            env: DEFAULT_ENV,
            operation,
        }))),
        ..Commit::default()
    }
}

fn go_on(step: BulkStep) -> Commit {
    Commit {
        bulk: Some(BulkChange::Step(step)),
        ..Commit::default()
    }
}

fn step(number: u64) -> BulkStep {
    BulkStep::new(DEFAULT_ENV, id(number))
}

async fn found(store: &Store, number: u64) -> Option<BulkOperation> {
    let found = store.find_bulk(DEFAULT_ENV, KIND, id(number)).await;
    found.unwrap()
}

#[tokio::test]
async fn operation_is_read_as_it_was_written_and_by_no_other_tenant() {
    on_each(async |store| {
        store.must(begin(operation(1))).await;
        assert_eq!(found(&store, 1).await, Some(operation(1)));
        assert_eq!(found(&store, 2).await, None);
        let foreign = EnvId::from_raw(Uuid::from_u128(7));
        assert_eq!(store.find_bulk(foreign, KIND, id(1)).await.unwrap(), None);
        store.stop_bulk(foreign, KIND, id(1), at(5)).await.unwrap();
        assert_eq!(store.count_unended_bulk(DEFAULT_ENV).await.unwrap(), 1);
        assert_eq!(store.count_unended_bulk(foreign).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn steps_add_up_also_within_one_transaction() {
    on_each(async |store| {
        store.must(begin(operation(1))).await;
        let one = BulkStep {
            succeeded: 1,
            ..step(1)
        };
        let all = (0..20).map(|_| store.commit(go_on(one)));
        for done in futures_util::future::join_all(all).await {
            done.unwrap();
        }
        let last = BulkStep {
            skipped: 2,
            failed: 3,
            total: Some(25),
            position: Some(run_id(9)),
            ..step(1)
        };
        store.must(go_on(last)).await;
        let now = found(&store, 1).await.unwrap();
        assert_eq!(now.status, BulkStatus::Running);
        assert_eq!(now.position, Some(run_id(9)));
        let expected = BulkProgress {
            total: Some(25),
            succeeded: 20,
            skipped: 2,
            failed: 3,
        };
        assert_eq!(now.progress, expected);
        // What says nothing of it leaves it.
        store.must(go_on(one)).await;
        let now = found(&store, 1).await.unwrap();
        assert_eq!(
            (now.position, now.progress.total),
            (Some(run_id(9)), Some(25))
        );
    })
    .await;
}

#[tokio::test]
async fn nothing_is_done_any_more_for_an_operation_that_has_ended() {
    on_each(async |store| {
        for number in [1, 2] {
            store.must(begin(operation(number))).await;
        }
        store
            .stop_bulk(DEFAULT_ENV, KIND, id(1), at(5))
            .await
            .unwrap();
        let ended = BulkStep {
            ends: Some((BulkStatus::Completed, at(6))),
            ..step(2)
        };
        store.must(go_on(ended)).await;
        store.must(start(1)).await;
        for number in [1, 2] {
            let late = Commit {
                run: Some(end(1, 1)),
                ..go_on(step(number))
            };
            assert_eq!(verdict(&store.commit(late).await), "FenceLost");
        }
        assert_eq!(
            store
                .work_of_run(DEFAULT_ENV, run_id(1))
                .await
                .unwrap()
                .len(),
            1
        );
        // Who ends what has ended changes nothing.
        store
            .stop_bulk(DEFAULT_ENV, KIND, id(2), at(7))
            .await
            .unwrap();
        let ends = async |number| {
            let now = found(&store, number).await.unwrap();
            (now.status, now.ended_at)
        };
        assert_eq!(ends(1).await, (BulkStatus::Stopped, Some(at(5))));
        assert_eq!(ends(2).await, (BulkStatus::Completed, Some(at(6))));
    })
    .await;
}

#[tokio::test]
async fn two_who_go_on_from_the_same_place_do_it_once() {
    on_each(async |store| {
        store.must(begin(operation(1))).await;
        let from = |from: Option<u64>, to: u64| BulkStep {
            succeeded: 1,
            position: Some(run_id(to)),
            from: BulkPlace::At(from.map(run_id)),
            ..step(1)
        };
        let both = [from(None, 5), from(None, 5)].map(|step| store.commit(go_on(step)));
        let done = futures_util::future::join_all(both).await;
        let done: Vec<&str> = done.iter().map(verdict).collect();
        assert_eq!(done, ["ok", "FenceLost"]);
        assert_eq!(
            verdict(&store.commit(go_on(from(None, 6))).await),
            "FenceLost"
        );
        store.must(go_on(from(Some(5), 9))).await;
        let now = found(&store, 1).await.unwrap();
        assert_eq!((now.position, now.progress.succeeded), (Some(run_id(9)), 2));
    })
    .await;
}

#[tokio::test]
async fn operations_are_listed_newest_first_and_filtered() {
    on_each(async |store| {
        for number in 1..=3 {
            store.must(begin(operation(number))).await;
        }
        let mut other = operation(4);
        other.selection.functions.truncate(1);
        store.must(begin(other)).await;
        store
            .stop_bulk(DEFAULT_ENV, KIND, id(2), at(5))
            .await
            .unwrap();
        let list = async |filter: BulkFilter| -> Vec<BulkId> {
            let request = PageRequest::new(9, None);
            let page = store.list_bulk(DEFAULT_ENV, &filter, &request).await;
            let ids: Vec<BulkId> = page.unwrap().items.iter().map(|it| it.id).collect();
            let count = store.count_bulk(DEFAULT_ENV, &filter).await.unwrap();
            assert_eq!(count.value, ids.len() as u64);
            ids
        };
        let all = BulkFilter::of(KIND);
        let ids = |numbers: &[u64]| -> Vec<BulkId> { numbers.iter().copied().map(id).collect() };
        assert_eq!(list(all.clone()).await, ids(&[4, 3, 2, 1]));
        let stopped = BulkFilter {
            statuses: Some(vec![BulkStatus::Stopped]),
            ..all.clone()
        };
        assert_eq!(list(stopped).await, ids(&[2]));
        let of_seven = BulkFilter {
            functions: Some(vec![FunctionId::from_raw(Uuid::from_u128(7))]),
            ..all.clone()
        };
        assert_eq!(list(of_seven).await, ids(&[3, 2, 1]));
        let of_none = BulkFilter {
            functions: Some(Vec::new()),
            ..all.clone()
        };
        assert_eq!(list(of_none).await, ids(&[]));
        let window = BulkFilter {
            from: Some(at(2)),
            until: Some(at(4)),
            ..all
        };
        assert_eq!(list(window).await, ids(&[3, 2]));
    })
    .await;
}

#[tokio::test]
async fn oldest_ended_operations_go_when_there_are_too_many() {
    on_each(async |store| {
        store.must(begin(operation(1))).await;
        for number in 2..=limits::BULK_KEPT + 3 {
            store.must(begin(operation(number))).await;
        }
        let ending = format!(
            "UPDATE bulk_operations SET ended_at = 1, status = 3 WHERE created_at > {}",
            at(1).as_millis()
        );
        sea_orm::ConnectionTrait::execute_unprepared(store.writer(), &ending)
            .await
            .unwrap();
        store.must(begin(operation(5_000))).await;
        assert_eq!(found(&store, 2).await, None);
        assert_eq!(found(&store, 3).await, None);
        assert!(found(&store, 4).await.is_some());
        assert!(found(&store, 1).await.is_some(), "it has not ended");
        let kept = i64::try_from(limits::BULK_KEPT).unwrap() + 2;
        assert_eq!(store.rows_of("bulk_operations").await, kept);
        assert_eq!(store.rows_of("bulk_functions").await, 2 * kept);
    })
    .await;
}
