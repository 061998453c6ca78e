//! Levels: the most of each bucket stays, of each function and of all of a tenant's together.

use std::time::Duration;

use inngest_core::{
    ids::{AppId, DEFAULT_ENV},
    rollup::{Counter, Level, Width},
};

use crate::{
    GroupedBy, LevelSample, RollupGroup, RollupQuery, Store,
    rollup_tests::{function, insert_function, query, queue, roll, sum},
    samples::*,
    testing::on_each,
};

fn sample(number: u128, backlog: u64, executing: u64) -> LevelSample {
    LevelSample {
        function: function(number),
        levels: [backlog, executing],
    }
}

/// The level by bucket, as ms since the beginning.
async fn levels(store: &Store, query: &RollupQuery, level: Level) -> Vec<(i64, u64)> {
    let together = RollupGroup::Together;
    let found = store.rolled_levels(query, &together, level).await.unwrap();
    let mut found: Vec<(i64, u64)> = found
        .into_iter()
        .map(|(_, start, level)| (start.as_millis() - NOW.as_millis(), level))
        .collect();
    found.sort_unstable();
    found
}

/// Two functions of one tenant and one of another.
async fn with_functions(store: &Store) {
    store
        .ensure_environment(OTHER_ORG, OTHER_ENV, "other", NOW)
        .await
        .unwrap();
    for (number, env) in [(1, DEFAULT_ENV), (2, DEFAULT_ENV), (3, OTHER_ENV)] {
        let app = AppId::derive(env, "shop");
        insert_function(store, env, function(number), app).await;
    }
}

#[tokio::test]
async fn most_of_each_bucket_stays_of_each_function_and_of_all_together() {
    on_each(async |store| {
        with_functions(&store).await;
        let samples = [
            sample(1, 3, 0),
            sample(2, 4, 1),
            sample(3, 9, 9),
            sample(77, 5, 5),
        ];
        store.store_levels(at(1), &samples).await.unwrap();
        store
            .store_levels(at(9_000), &[sample(1, 1, 2)])
            .await
            .unwrap();
        store
            .store_levels(at(10_000), &[sample(1, 0, 1)])
            .await
            .unwrap();

        let tens = query(DEFAULT_ENV, Width::TenSeconds);
        assert_eq!(
            levels(&store, &tens, Level::Backlog).await,
            [(0, 7), (10_000, 0)]
        );
        assert_eq!(
            levels(&store, &tens, Level::Executing).await,
            [(0, 2), (10_000, 1)]
        );
        let minutes = query(DEFAULT_ENV, Width::Minute);
        assert_eq!(levels(&store, &minutes, Level::Backlog).await, [(0, 7)]);
        let other = query(OTHER_ENV, Width::Minute);
        assert_eq!(levels(&store, &other, Level::Executing).await, [(0, 9)]);
        let one = RollupQuery {
            functions: Some(vec![function(1)]),
            ..minutes.clone()
        };
        assert_eq!(levels(&store, &one, Level::Executing).await, [(0, 2)]);

        let highest =
            async |level, most| store.rolled_highest(&minutes, level, most).await.unwrap();
        let (f1, f2) = (function(1).raw(), function(2).raw());
        assert_eq!(highest(Level::Backlog, 9).await, [f2, f1]);
        assert_eq!(highest(Level::Executing, 1).await, [f1]);
        let each = RollupGroup::Each(GroupedBy::Function, vec![f1, f2]);
        let found = store.rolled_levels(&minutes, &each, Level::Backlog).await;
        let mut found: Vec<_> = found
            .unwrap()
            .into_iter()
            .map(|(id, _, level)| (id, level))
            .collect();
        found.sort_unstable();
        assert_eq!(found, [(f1, 3), (f2, 4)]);
    })
    .await;
}

#[tokio::test]
async fn levels_and_figures_of_a_bucket_leave_each_other_alone() {
    on_each(async |store| {
        with_functions(&store).await;
        let day = query(DEFAULT_ENV, Width::Day);
        queue(&store, DEFAULT_ENV, function(1), 1..4).await;
        roll(&store).await;
        store.store_levels(NOW, &[sample(1, 3, 1)]).await.unwrap();
        queue(&store, DEFAULT_ENV, function(1), 4..6).await;
        roll(&store).await;
        store.store_levels(NOW, &[sample(1, 2, 2)]).await.unwrap();
        assert_eq!(sum(&store, &day, Counter::RunsQueued).await, 5);
        let start = Width::Day.floor(NOW).as_millis() - NOW.as_millis();
        assert_eq!(levels(&store, &day, Level::Backlog).await, [(start, 3)]);
        assert_eq!(levels(&store, &day, Level::Executing).await, [(start, 2)]);
        // Where nobody looked there is no value, not even 0.
        let later = at(1_000).plus(Duration::from_secs(60));
        queue(&store, DEFAULT_ENV, function(1), 61_000..61_001).await;
        roll(&store).await;
        let minutes = query(DEFAULT_ENV, Width::Minute);
        assert_eq!(Width::Minute.floor(later), at(60_000));
        assert_eq!(levels(&store, &minutes, Level::Backlog).await, [(0, 3)]);
    })
    .await;
}
