//! Figures that many watch: one reads for all, and each is told at its own interval.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Weak},
    time::Duration,
};

use inngest_core::access::Scope;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

use super::{Standing, hub::Counted};
use crate::{Error, engine::Shared};

/// How old an answer may be that was read for somebody else. Bounds what many who watch the same ask of the database.
const FRESH: Duration = Duration::from_millis(500);

/// An answer that is read again when it is asked for and is not fresh any more.
#[derive(Debug)]
pub(crate) struct Fresh<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Fresh<T> {
    /// One reads at a time; who comes meanwhile waits and finds what it wants.
    pub(super) async fn get<F>(&self, read: impl FnOnce() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut last = self.0.lock().await;
        if let Some((read, answer)) = &*last
            && read.elapsed() < FRESH
        {
            return Ok(answer.clone());
        }
        let began = Instant::now();
        let answer = read().await?;
        *last = Some((began, answer.clone()));
        Ok(answer)
    }
}

/// What is shared by all of this process who watch the same, as long as somebody does.
#[derive(Debug)]
pub(crate) struct Watched<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K, V> Default for Watched<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Watched<K, V> {
    pub(super) async fn join(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut all = self.0.lock().await;
        if let Some(shared) = all.get(&key).and_then(Weak::upgrade) {
            return shared;
        }
        all.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(make());
        all.insert(key, Arc::downgrade(&shared));
        shared
    }
}

/// Who is told something again and again.
pub(super) struct Regular {
    pub(super) engine: Shared,
    pub(super) standing: Standing,
    scope: Scope,
    every: Duration,
    /// When it is to be told next; none before the first time.
    due: Option<Instant>,
    _counted: Counted,
}

impl Regular {
    /// # Errors
    /// There is no right to see it.
    pub(super) fn new(
        engine: &Shared,
        mut standing: Standing,
        scope: Scope,
        every: Duration,
    ) -> Result<Self, Error> {
        standing.check(scope, engine.clock.now())?;
        Ok(Self {
            engine: engine.clone(),
            standing,
            scope,
            every,
            due: None,
            _counted: Counted::new(),
        })
    }

    /// Returns at once the first time, and then so often.
    ///
    /// # Errors
    /// The right to see it has ended meanwhile.
    pub(super) async fn next(&mut self) -> Result<(), Error> {
        let due = self.due;
        loop {
            self.standing.check(self.scope, self.engine.clock.now())?;
            let Some(due) = due.filter(|due| *due > Instant::now()) else {
                break;
            };
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.standing.changed(&self.engine.clock) => {}
            }
        }
        self.due = Some(Instant::now() + self.every);
        Ok(())
    }
}
