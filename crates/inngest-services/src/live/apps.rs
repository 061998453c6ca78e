//! Apps and functions as they are synced, paused and removed.

use inngest_core::{
    access::Scope,
    app::{App, Function},
    ids::{AppId, FunctionId},
};
use inngest_state::LogPosition;

use super::{
    FeedCursor, Standing, Update,
    dirty::{Due, Mark, Thing},
    hub::Interest,
    stream::{Opening, Telling, Watcher, stream},
};
use crate::{Error, engine::Shared};

/// Functions, and apps, that are read together.
const AHEAD: usize = 64;

/// What is told of apps and functions.
#[derive(Clone, Debug, PartialEq)]
pub enum AppNews {
    /// The stream is live and there was nothing to catch up with.
    Ready,
    /// An app as it is now, and whether it is new.
    App(Box<App>, bool),
    /// A function as it is now, and whether it is new.
    Function(Box<Function>, bool),
    /// An app was removed.
    AppRemoved(AppId),
    /// A function is no more.
    FunctionRemoved(FunctionId),
    /// Changes were dropped: read the list again.
    Reset,
}

struct Feed {
    watcher: Watcher,
    opening: Option<Opening>,
}

pub(super) async fn watch(
    engine: &Shared,
    standing: Standing,
    after: Option<FeedCursor>,
) -> Result<impl super::Stream<AppNews> + use<>, Error> {
    let (watcher, opening) =
        Watcher::resume(engine, standing, Scope::AppsRead, Interest::Apps, after).await?;
    Ok(stream(Feed {
        watcher,
        opening: Some(opening),
    }))
}

impl Telling for Feed {
    type News = AppNews;

    async fn step(&mut self) -> Result<Option<Update<AppNews>>, Error> {
        match self.opening.take() {
            Some(Opening::Ready) => return Ok(Some(self.watcher.update(AppNews::Ready, None))),
            Some(Opening::Reset) => return Ok(Some(self.watcher.update(AppNews::Reset, None))),
            Some(Opening::Behind) | None => {}
        }
        loop {
            let (news, mark) = match self.watcher.next().await? {
                Due::Reset => return Ok(Some(self.watcher.update(AppNews::Reset, None))),
                Due::One(Thing::App(id), mark) => (self.read_app(id, &mark).await?, mark),
                Due::One(Thing::Function(id), mark) => (self.read_function(id, &mark).await?, mark),
                Due::One(..) => continue,
            };
            if let Some(news) = news {
                return Ok(Some(self.watcher.update(news, Some(mark.at))));
            }
        }
    }
}

impl Feed {
    async fn read_app(&self, id: AppId, mark: &Mark) -> Result<Option<AppNews>, Error> {
        let watcher = &self.watcher;
        let wanted = self.wanted(id, mark, |thing| match thing {
            Thing::App(id) => Some(id),
            _ => None,
        });
        let (engine, env) = (&watcher.engine, watcher.actor().env);
        let load = |ids: Vec<AppId>| async move {
            let apps = engine.store.find_apps(env, &ids).await?;
            Ok(apps.into_iter().map(|app| (app.id, app)).collect())
        };
        let position = || watcher.hub.position();
        let apps = &watcher.hub.apps;
        let found = apps.first(&wanted, 0, position, load, |_| 0).await?;
        Ok(found.map(|app| match app.archived_at {
            Some(_) => AppNews::AppRemoved(id),
            None => AppNews::App(Box::new(app), mark.is_new),
        }))
    }

    async fn read_function(&self, id: FunctionId, mark: &Mark) -> Result<Option<AppNews>, Error> {
        let watcher = &self.watcher;
        let wanted = self.wanted(id, mark, |thing| match thing {
            Thing::Function(id) => Some(id),
            _ => None,
        });
        let (engine, env) = (&watcher.engine, watcher.actor().env);
        let load = |ids: Vec<FunctionId>| async move {
            let functions = engine.store.find_functions(env, &ids).await?;
            Ok(functions.into_iter().map(|one| (one.id, one)).collect())
        };
        let position = || watcher.hub.position();
        let size = |function: &Function| function.config.as_bytes().len();
        let functions = &watcher.hub.functions;
        let found = functions.first(&wanted, 0, position, load, size).await?;
        Ok(found.map(|function| match function.archived_at {
            Some(_) => AppNews::FunctionRemoved(id),
            None => AppNews::Function(Box::new(function), mark.is_new),
        }))
    }

    /// What is read now, and what is read with it because it comes next.
    fn wanted<K>(
        &self,
        id: K,
        mark: &Mark,
        of: impl Fn(Thing) -> Option<K>,
    ) -> Vec<(K, LogPosition)> {
        let ahead = self.watcher.ahead(AHEAD).into_iter();
        let ahead = ahead.filter_map(|(thing, latest)| Some((of(thing)?, latest)));
        std::iter::once((id, mark.latest)).chain(ahead).collect()
    }
}
