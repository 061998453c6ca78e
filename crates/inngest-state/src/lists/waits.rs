//! Lists of open waits.

use inngest_core::{
    ids::{EnvId, FunctionId},
    page::{Count, Direction, Key, Order, Page, PageRequest},
    wait::{Wait, WaitKind},
};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, Select};

use super::keyset::{Keyset, Kind, count};
use crate::{Error, Store, entity::wait};

/// Which open waits to list; rules that would cancel a run are none. All parts must hold; a part that is none says nothing, and an empty
/// list matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WaitFilter {
    /// Of any of these kinds.
    pub kinds: Option<Vec<WaitKind>>,
    /// For events of this name.
    pub event_name: Option<String>,
    /// For this signal.
    pub signal: Option<String>,
    /// Of runs of any of these functions.
    pub functions: Option<Vec<FunctionId>>,
}

impl WaitFilter {
    /// The longest list of values in the filter.
    pub fn longest_list(&self) -> usize {
        let kinds = self.kinds.as_ref().map_or(0, Vec::len);
        kinds.max(self.functions.as_ref().map_or(0, Vec::len))
    }
}

/// Oldest first, served by `waits_open`.
const KEYSET: Keyset<wait::Entity> = Keyset {
    order: Order {
        name: "waits.since",
        direction: Direction::Ascending,
    },
    columns: &[
        (wait::Column::Since, Kind::Number),
        (wait::Column::Id, Kind::Id),
    ],
    keys: |row| vec![Key::Number(row.since), Key::Id(row.id.as_u128())],
};

impl Store {
    /// One page of open waits, oldest first.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn list_waits(
        &self,
        env: EnvId,
        filter: &WaitFilter,
        request: &PageRequest,
    ) -> Result<Page<Wait>, Error> {
        let page = KEYSET
            .read(self.reader(), "waits", select(env, filter), request)
            .await?;
        page.try_map(Wait::try_from)
    }

    /// How many waits the list has.
    pub async fn count_waits(&self, env: EnvId, filter: &WaitFilter) -> Result<Count, Error> {
        count(self.reader(), "waits", select(env, filter)).await
    }
}

fn select(env: EnvId, filter: &WaitFilter) -> Select<wait::Entity> {
    use wait::Column;
    let mut all = Condition::all()
        .add(Column::EnvId.eq(env.raw()))
        .add(Column::StepId.is_not_null());
    if let Some(list) = &filter.kinds {
        all = all.add(Column::Kind.is_in(list.iter().map(|kind| kind.code())));
    }
    if let Some(name) = &filter.event_name {
        // An invoke waits for an event of the server's, which is nobody's concern.
        all = all
            .add(Column::EventName.eq(name.as_str()))
            .add(Column::Kind.eq(WaitKind::Event.code()));
    }
    if let Some(signal) = &filter.signal {
        all = all.add(Column::Signal.eq(signal.as_str()));
    }
    if let Some(list) = &filter.functions {
        all = all.add(Column::FunctionId.is_in(list.iter().map(|id| id.raw())));
    }
    wait::Entity::find().filter(all)
}
