//! The runs of a selection, in portions.

use inngest_core::{
    access::Actor,
    bulk::Selection,
    ids::RunId,
    page::{Cursor, Direction, Key, PageRequest},
    run::Run,
    time::Timestamp,
};
use inngest_state::RunFilter;

use crate::{Error, engine::Engine, runs::Runs};

/// Runs of one portion.
pub(super) const PORTION: u32 = 200;

pub(super) fn filter_of(selection: &Selection, now: Timestamp) -> RunFilter {
    RunFilter {
        from: Some(selection.from),
        until: Some(selection.until),
        statuses: Some(selection.statuses.clone()),
        functions: Some(selection.functions.clone()),
        now,
        ..RunFilter::default()
    }
}

/// The runs of a selection, in portions.
pub(super) struct Portion<'a> {
    engine: &'a Engine,
    actor: &'a Actor,
    filter: &'a RunFilter,
    search: Option<&'a str>,
    direction: Direction,
}

pub(super) fn portion<'a>(
    engine: &'a Engine,
    actor: &'a Actor,
    selection: &'a Selection,
    filter: &'a RunFilter,
    direction: Direction,
) -> Portion<'a> {
    Portion {
        engine,
        actor,
        filter,
        search: selection.search.as_deref(),
        direction,
    }
}

impl Portion<'_> {
    /// The next of them that match, and where to go on; none at the end.
    pub(super) async fn read(
        &self,
        request: &PageRequest,
    ) -> Result<(Vec<Run>, Option<String>), Error> {
        let runs = Runs(self.engine);
        let (actor, filter, direction) = (self.actor, self.filter, self.direction);
        let found = runs.page(actor, filter, self.search, direction, request);
        let found = found.await?;
        let (page, stopped_at) = (found.page, found.scan.stopped_at);
        let last = page.cursors.last().cloned().filter(|_| page.has_next);
        Ok((page.items, stopped_at.or(last)))
    }
}

/// The cursor of a list of runs, oldest first, after this one.
pub(super) fn after(run: RunId) -> String {
    Cursor::at(RunFilter::order(Direction::Ascending), run.raw()).encode()
}

/// The run at which a cursor of such a list is.
pub(super) fn place_of(cursor: &str) -> Result<Option<RunId>, Error> {
    let cursor = Cursor::decode(cursor, RunFilter::order(Direction::Ascending))?;
    Ok(match cursor.keys.first() {
        Some(Key::Id(id)) => Some(RunId::from_raw(ulid::Ulid(*id))),
        _ => None,
    })
}
