//! Events as they come.

use inngest_core::{
    access::Scope,
    event::Event,
    expr::{Program, SearchOver, Vars},
    ids::EventId,
};

use super::{
    FeedCursor, Standing, Update,
    dirty::{Due, Mark, Thing},
    hub::Interest,
    stream::{Opening, Telling, Watcher, stream},
};
use crate::{Error, engine::Shared};

/// Events that are read together.
const AHEAD: usize = 32;

/// Which events a feed tells of.
#[derive(Clone, Debug, Default)]
pub struct EventFeedFilter {
    /// Any of these names; one that ends in `*` stands for all that begin like it. None means all, an empty list nothing.
    pub names: Option<Vec<String>>,
    /// Also events that the server made.
    pub with_internal: bool,
    /// Those for which an expression holds, as in searches of the list.
    pub search: Option<String>,
}

impl EventFeedFilter {
    fn matches(&self, event: &Event) -> bool {
        let is_named = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => event.name.starts_with(beginning),
            None => event.name == *pattern,
        };
        let names = self.names.as_ref();
        names.is_none_or(|names| names.iter().any(is_named))
            && (self.with_internal || !event.is_internal())
    }
}

/// What is told of events.
#[derive(Clone, Debug, PartialEq)]
pub enum EventNews {
    /// The stream is live and there was nothing to catch up with.
    Ready,
    /// A new event.
    Created(Event),
    /// Changes were dropped: read the list again.
    Reset,
}

struct Feed {
    watcher: Watcher,
    filter: EventFeedFilter,
    /// The search of the filter.
    program: Option<Program>,
    opening: Option<Opening>,
}

pub(super) async fn watch(
    engine: &Shared,
    standing: Standing,
    filter: EventFeedFilter,
    after: Option<FeedCursor>,
) -> Result<impl super::Stream<EventNews> + use<>, Error> {
    let parse = |text: &str| Program::parse_search(text, SearchOver::Events);
    let program = filter.search.as_deref().map(parse).transpose()?;
    let interest = Interest::Events {
        with_internal: filter.with_internal,
    };
    let (watcher, opening) =
        Watcher::resume(engine, standing, Scope::EventsRead, interest, after).await?;
    Ok(stream(Feed {
        watcher,
        filter,
        program,
        opening: Some(opening),
    }))
}

impl Telling for Feed {
    type News = EventNews;

    async fn step(&mut self) -> Result<Option<Update<EventNews>>, Error> {
        match self.opening.take() {
            Some(Opening::Ready) => return Ok(Some(self.watcher.update(EventNews::Ready, None))),
            Some(Opening::Reset) => return Ok(Some(self.watcher.update(EventNews::Reset, None))),
            Some(Opening::Behind) | None => {}
        }
        loop {
            let (id, mark) = match self.watcher.next().await? {
                Due::Reset => return Ok(Some(self.watcher.update(EventNews::Reset, None))),
                Due::One(Thing::Event(id), mark) => (id, mark),
                Due::One(..) => continue,
            };
            if let Some(event) = self.read(id, &mark).await?
                && self.filter.matches(&event)
                && self.is_found(&event)
            {
                let news = EventNews::Created(event);
                return Ok(Some(self.watcher.update(news, Some(mark.at))));
            }
        }
    }
}

impl Feed {
    fn is_found(&self, event: &Event) -> bool {
        let Some(program) = &self.program else {
            return true;
        };
        let body = event.body.to_value();
        program.finds(&Vars {
            event: Some(&body),
            now: Some(self.watcher.engine.clock.now().as_millis()),
            ..Vars::default()
        })
    }

    async fn read(&self, id: EventId, mark: &Mark) -> Result<Option<Event>, Error> {
        let watcher = &self.watcher;
        let mut wanted = vec![(id, mark.latest)];
        wanted.extend(
            watcher
                .ahead(AHEAD)
                .into_iter()
                .filter_map(|(thing, latest)| match thing {
                    Thing::Event(id) => Some((id, latest)),
                    _ => None,
                }),
        );
        let (engine, env) = (&watcher.engine, watcher.actor().env);
        let load = |ids: Vec<EventId>| async move {
            let events = engine.store.find_events(env, &ids).await?;
            Ok(events.into_iter().map(|event| (event.id, event)).collect())
        };
        let position = || watcher.hub.position();
        let size = |event: &Event| event.body.as_bytes().len();
        watcher
            .hub
            .events
            .first(&wanted, 0, position, load, size)
            .await
    }
}

#[cfg(test)]
mod tests {
    use inngest_core::{json::Json, time::Timestamp};

    use super::*;

    #[test]
    fn names_match_whole_or_by_their_beginning() {
        let event = |name: &str| Event {
            id: EventId::from_raw(ulid::Ulid(1)),
            key: "k".to_owned(),
            name: name.to_owned(),
            ts: Timestamp::default(),
            received_at: Timestamp::default(),
            body: Json::parse(b"{}").unwrap(),
            door: None,
        };
        for (names, with_internal, name, expected) in [
            (None, false, "shop/paid", true),
            (Some(vec![]), false, "shop/paid", false),
            (Some(vec!["shop/paid"]), false, "shop/paid", true),
            (Some(vec!["shop/pai"]), false, "shop/paid", false),
            (Some(vec!["x", "shop/*"]), false, "shop/paid", true),
            (Some(vec!["*"]), false, "inngest/function.finished", false),
            (None, true, "inngest/function.finished", true),
        ] {
            let filter = EventFeedFilter {
                names: names
                    .clone()
                    .map(|names| names.into_iter().map(str::to_owned).collect()),
                with_internal,
                search: None,
            };
            assert_eq!(filter.matches(&event(name)), expected, "{names:?} {name}");
        }
    }
}
