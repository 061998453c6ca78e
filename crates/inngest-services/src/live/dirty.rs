//! What one subscriber has not been told yet: things, not changes, so somebody slow skips states instead of piling them up.

use std::collections::{BTreeMap, HashMap};

use inngest_core::{
    ids::{AppId, EventId, FunctionId, RunId, StepId},
    time::Timestamp,
};
use inngest_state::{LogPlace, LogPosition};

/// Most things that are remembered; beyond it the subscriber starts over.
pub(super) const MOST: usize = 5_000;

/// Something that can change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Thing {
    Run(RunId),
    /// Of the run that is watched; none for the attempts of the function itself.
    Step(Option<StepId>),
    Event(EventId),
    App(AppId),
    Function(FunctionId),
}

/// What is known of a change that has not been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The first change.
    since: LogPosition,
    /// The last one: a state that was read later holds all of them.
    pub(super) latest: LogPosition,
    /// When the last one was written.
    pub(super) at: Timestamp,
    /// Whether it came into being.
    pub(super) is_new: bool,
    /// Tells marks of one position apart.
    number: u64,
}

/// What is to be told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Something has changed.
    One(Thing, Mark),
    /// Changes were dropped.
    Reset,
}

/// Things by the position of their first change.
#[derive(Debug)]
pub(super) struct Dirty {
    marks: HashMap<Thing, Mark>,
    order: BTreeMap<(LogPosition, u64), Thing>,
    /// Everything up to here has been noted.
    read: LogPlace,
    has_dropped: bool,
    number: u64,
}

impl Dirty {
    /// Nothing has changed since `read`.
    pub(super) fn new(read: LogPlace) -> Self {
        Self {
            marks: HashMap::new(),
            order: BTreeMap::new(),
            read,
            has_dropped: false,
            number: 0,
        }
    }

    /// Notes a change. Changes may be noted in any order, but not after the things before them were told.
    pub(super) fn mark(
        &mut self,
        thing: Thing,
        position: LogPosition,
        at: Timestamp,
        is_new: bool,
    ) {
        if self.has_dropped {
            return;
        }
        if let Some(mark) = self.marks.get_mut(&thing) {
            mark.is_new |= is_new;
            if position > mark.latest {
                (mark.latest, mark.at) = (position, at);
            }
            if position < mark.since {
                self.order.remove(&(mark.since, mark.number));
                mark.since = position;
                self.order.insert((position, mark.number), thing);
            }
            return;
        }
        if self.marks.len() >= MOST {
            self.reset(self.read);
            return;
        }
        self.number += 1;
        let mark = Mark {
            since: position,
            latest: position,
            at,
            is_new,
            number: self.number,
        };
        self.order.insert((position, self.number), thing.clone());
        self.marks.insert(thing, mark);
    }

    /// Everything up to `read` has been noted.
    pub(super) fn advance(&mut self, read: LogPlace) {
        self.read = read;
    }

    /// What was noted is dropped, and everything up to `read` must be looked at again.
    pub(super) fn reset(&mut self, read: LogPlace) {
        self.marks.clear();
        self.order.clear();
        self.has_dropped = true;
        self.read = read;
    }

    /// What was noted is dropped without a word: who asks has said that everything must be looked at again.
    pub(super) fn forget(&mut self) {
        self.marks.clear();
        self.order.clear();
        self.has_dropped = false;
    }

    /// Takes what has waited longest.
    pub(super) fn take(&mut self) -> Option<Due> {
        if std::mem::take(&mut self.has_dropped) {
            return Some(Due::Reset);
        }
        let (_, thing) = self.order.pop_first()?;
        let mark = self.marks.remove(&thing)?;
        Some(Due::One(thing, mark))
    }

    /// What comes next, in order, without taking it.
    pub(super) fn ahead(&self, most: usize) -> Vec<(Thing, LogPosition)> {
        let next = self.order.values().take(most);
        next.filter_map(|thing| Some((thing.clone(), self.marks.get(thing)?.latest)))
            .collect()
    }

    /// The position below which nothing is left to be told.
    pub(super) fn place(&self) -> LogPlace {
        let position = match self.order.first_key_value() {
            Some(((first, _), _)) => first.before().min(self.read.position),
            None => self.read.position,
        };
        LogPlace {
            position,
            ..self.read
        }
    }
}

#[cfg(test)]
mod tests {
    use inngest_core::ids::IdSource;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn position(seq: i64) -> LogPosition {
        LogPosition { txid: 0, seq }
    }

    fn place(seq: i64) -> LogPlace {
        LogPlace {
            epoch: Uuid::nil(),
            position: position(seq),
        }
    }

    fn things(count: usize) -> Vec<Thing> {
        let ids = IdSource::counting();
        let run = |_| Thing::Run(ids.run(Timestamp::default()));
        (0..count).map(run).collect()
    }

    fn note(dirty: &mut Dirty, thing: &Thing, seq: i64) {
        dirty.mark(
            thing.clone(),
            position(seq),
            Timestamp::from_millis(seq),
            false,
        );
    }

    #[test]
    fn thing_that_changes_twice_is_told_once_and_keeps_its_place() {
        let things = things(2);
        let mut dirty = Dirty::new(place(0));
        for (thing, seq) in [(0, 1), (1, 2), (0, 3)] {
            note(&mut dirty, &things[thing], seq);
        }
        dirty.advance(place(3));
        assert_eq!(dirty.place(), place(0));
        let Some(Due::One(first, mark)) = dirty.take() else {
            panic!("two things have changed");
        };
        assert_eq!((first, mark.latest), (things[0].clone(), position(3)));
        assert_eq!(mark.at, Timestamp::from_millis(3));
        assert_eq!(dirty.place(), place(1));
        assert!(matches!(dirty.take(), Some(Due::One(thing, _)) if thing == things[1]));
        assert_eq!(dirty.place(), place(3));
        assert_eq!(dirty.take(), None);
    }

    #[test]
    fn too_many_things_become_one_reset_and_later_ones_follow_it() {
        let things = things(MOST + 2);
        let mut dirty = Dirty::new(place(0));
        for (seq, thing) in (1..).zip(&things[..=MOST]) {
            note(&mut dirty, thing, seq);
        }
        dirty.advance(place(9_000));
        assert_eq!(dirty.take(), Some(Due::Reset));
        assert_eq!(dirty.place(), place(9_000));
        note(&mut dirty, &things[MOST + 1], 9_001);
        assert!(matches!(dirty.take(), Some(Due::One(..))));
        assert_eq!(dirty.take(), None);
    }

    proptest! {
        /// Whatever is taken in between: of all changes above the place, each is still to be told, or lies beyond what was read.
        #[test]
        fn nothing_above_the_place_is_lost(steps in proptest::collection::vec((0usize..6, any::<bool>()), 1..80)) {
            let things = things(6);
            let mut dirty = Dirty::new(place(0));
            let mut last_change = HashMap::new();
            let mut told = HashMap::new();
            for (seq, (thing, takes)) in (1..).zip(steps) {
                note(&mut dirty, &things[thing], seq);
                dirty.advance(place(seq));
                last_change.insert(things[thing].clone(), seq);
                if takes && let Some(Due::One(thing, mark)) = dirty.take() {
                    told.insert(thing, mark.latest.seq);
                }
                let resumed_from = dirty.place().position.seq;
                for (thing, changed) in &last_change {
                    let is_told = told.get(thing).is_some_and(|told| told >= changed);
                    prop_assert!(is_told || *changed > resumed_from);
                }
            }
        }
    }
}
