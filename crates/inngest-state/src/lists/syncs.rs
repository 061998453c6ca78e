//! Lists of attempts to register apps.

use std::collections::HashMap;

use inngest_core::{
    ids::{AppId, EnvId},
    page::{Count, Direction, Key, Order, Page, PageRequest},
    sync::{Sync, SyncStatus},
    time::Timestamp,
};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, Select};

use super::{
    each::{Parents, count_each},
    keyset::{Keyset, Kind, count},
};
use crate::{Error, Store, entity::sync};

/// Which syncs to list. All parts must hold; a part that is none says nothing, and an empty list matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SyncFilter {
    /// In any of these states.
    pub statuses: Option<Vec<SyncStatus>>,
    /// Only those that failed before an app was known.
    pub without_app: bool,
    /// Begun at or after.
    pub from: Option<Timestamp>,
    /// Begun before.
    pub until: Option<Timestamp>,
}

impl SyncFilter {
    /// The longest list of values in the filter.
    pub fn longest_list(&self) -> usize {
        self.statuses.as_ref().map_or(0, Vec::len)
    }
}

/// Newest first, served by `syncs_by_env`, `syncs_by_status`, `syncs_without_app` and `syncs_by_app`.
const KEYSET: Keyset<sync::Entity> = Keyset {
    order: Order {
        name: "syncs.created",
        direction: Direction::Descending,
    },
    columns: &[
        (sync::Column::CreatedAt, Kind::Number),
        (sync::Column::Id, Kind::Id),
    ],
    keys: |row| vec![Key::Number(row.created_at), Key::Id(row.id.as_u128())],
};

impl Store {
    /// One page of syncs, newest first.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn list_syncs(
        &self,
        env: EnvId,
        filter: &SyncFilter,
        request: &PageRequest,
    ) -> Result<Page<Sync>, Error> {
        KEYSET
            .read(self.reader(), "syncs", select(env, filter), request)
            .await?
            .try_map(Sync::try_from)
    }

    /// How many syncs the list has.
    pub async fn count_syncs(&self, env: EnvId, filter: &SyncFilter) -> Result<Count, Error> {
        count(self.reader(), "syncs", select(env, filter)).await
    }

    /// The same page of the syncs of each of these apps, newest first. An app without any is left out.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn list_syncs_of_apps(
        &self,
        env: EnvId,
        apps: &[AppId],
        request: &PageRequest,
    ) -> Result<HashMap<AppId, Page<Sync>>, Error> {
        let all = select(env, &SyncFilter::default());
        let parents = of_apps(apps);
        let pages = KEYSET.read_each(self.reader(), "syncs", all, &parents, request);
        let pages = pages.await?.into_iter();
        pages
            .map(|(raw, page)| Ok((AppId::from_raw(raw), page.try_map(Sync::try_from)?)))
            .collect()
    }

    /// How many syncs of each of these apps are kept.
    pub async fn count_syncs_of_apps(
        &self,
        env: EnvId,
        apps: &[AppId],
    ) -> Result<HashMap<AppId, Count>, Error> {
        let all = select(env, &SyncFilter::default());
        let counts = count_each(self.reader(), "syncs", all, of_apps(apps)).await?;
        let counts = counts.into_iter();
        Ok(counts
            .map(|(raw, count)| (AppId::from_raw(raw), count))
            .collect())
    }
}

fn of_apps(apps: &[AppId]) -> Parents<sync::Entity> {
    let ids = apps.iter().map(|id| id.raw());
    Parents::new(&[sync::Column::AppId], ids, |row: &sync::Model| {
        row.app_id.unwrap_or_default()
    })
}

fn select(env: EnvId, filter: &SyncFilter) -> Select<sync::Entity> {
    use sync::Column;
    let mut all = Condition::all()
        .add(Column::EnvId.eq(env.raw()))
        .add_option(
            filter
                .from
                .map(|from| Column::CreatedAt.gte(from.as_millis())),
        )
        .add_option(
            filter
                .until
                .map(|until| Column::CreatedAt.lt(until.as_millis())),
        );
    if let Some(list) = &filter.statuses {
        // One value as an equality, after which the index is in the order of the list.
        all = match list.as_slice() {
            [only] => all.add(Column::Status.eq(only.code())),
            list => all.add(Column::Status.is_in(list.iter().map(|status| status.code()))),
        };
    }
    if filter.without_app {
        all = all.add(Column::AppId.is_null());
    }
    sync::Entity::find().filter(all)
}
