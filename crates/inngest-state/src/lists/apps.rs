//! Lists of apps and functions. An environment has few of them, so what an index cannot find is looked for by whoever asks.

use inngest_core::{
    app::{App, Function},
    ids::{AppId, EnvId},
    page::{Count, Direction, Key, Order, Page, PageRequest},
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Select};

use super::keyset::{Keyset, Kind, count};
use crate::{
    Error, Store,
    entity::{app, function},
};

/// Which functions to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionFilter {
    /// Of any of these apps; none means all, and an empty list matches nothing.
    pub apps: Option<Vec<AppId>>,
    /// Archived ones too.
    pub with_archived: bool,
    /// Only those that are paused, or only those that are not.
    pub is_paused: Option<bool>,
}

/// Which apps to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppFilter {
    /// Archived ones too.
    pub with_archived: bool,
}

/// Served by the unique index over environment, slug and app: of two functions with one slug, that of the smaller app comes first.
pub(super) const FUNCTIONS: Keyset<function::Entity> = Keyset {
    order: Order {
        name: "functions.slug",
        direction: Direction::Ascending,
    },
    columns: &[
        (function::Column::Slug, Kind::Text),
        (function::Column::AppId, Kind::Id),
    ],
    keys: |row| vec![Key::Text(row.slug.clone()), Key::Id(row.app_id.as_u128())],
};

/// Served by the unique index over environment and name.
const APPS: Keyset<app::Entity> = Keyset {
    order: Order {
        name: "apps.name",
        direction: Direction::Ascending,
    },
    columns: &[(app::Column::Name, Kind::Text)],
    keys: |row| vec![Key::Text(row.name.clone())],
};

impl Store {
    /// One page of functions by slug.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn page_functions(
        &self,
        env: EnvId,
        filter: &FunctionFilter,
        request: &PageRequest,
    ) -> Result<Page<Function>, Error> {
        let page = FUNCTIONS
            .read(self.reader(), "functions", functions(env, filter), request)
            .await?;
        page.try_map(Function::try_from)
    }

    /// One page of apps by name.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn page_apps(
        &self,
        env: EnvId,
        filter: &AppFilter,
        request: &PageRequest,
    ) -> Result<Page<App>, Error> {
        APPS.read(self.reader(), "apps", apps(env, filter), request)
            .await?
            .try_map(App::try_from)
    }

    /// How many functions the list has.
    pub async fn count_functions(
        &self,
        env: EnvId,
        filter: &FunctionFilter,
    ) -> Result<Count, Error> {
        count(self.reader(), "functions", functions(env, filter)).await
    }

    /// How many apps the list has.
    pub async fn count_apps(&self, env: EnvId, filter: &AppFilter) -> Result<Count, Error> {
        count(self.reader(), "apps", apps(env, filter)).await
    }
}

fn apps(env: EnvId, filter: &AppFilter) -> Select<app::Entity> {
    let mut query = app::Entity::find().filter(app::Column::EnvId.eq(env.raw()));
    if !filter.with_archived {
        query = query.filter(app::Column::ArchivedAt.is_null());
    }
    query
}

pub(super) fn functions(env: EnvId, filter: &FunctionFilter) -> Select<function::Entity> {
    let mut query = function::Entity::find().filter(function::Column::EnvId.eq(env.raw()));
    if let Some(apps) = &filter.apps {
        query = query.filter(function::Column::AppId.is_in(apps.iter().map(|id| id.raw())));
    }
    if !filter.with_archived {
        query = query.filter(function::Column::ArchivedAt.is_null());
    }
    match filter.is_paused {
        None => query,
        Some(true) => query.filter(function::Column::PausedAt.is_not_null()),
        Some(false) => query.filter(function::Column::PausedAt.is_null()),
    }
}
