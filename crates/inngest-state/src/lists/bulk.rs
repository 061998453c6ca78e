//! Lists of operations on many runs.

use inngest_core::{
    bulk::{BulkKind, BulkOperation, BulkStatus},
    ids::{EnvId, FunctionId},
    page::{Count, Direction, Key, Order, Page, PageRequest},
    time::Timestamp,
};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, Select,
    sea_query::{Alias, Expr, ExprTrait, Query},
};

use super::keyset::{Keyset, Kind, count};
use crate::{Error, Store, entity::bulk_operation, rows::first_id};

/// Which operations to list. All parts must hold; a part that is none says nothing, and an empty list matches nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BulkFilter {
    /// Of this kind.
    pub kind: BulkKind,
    /// In any of these states.
    pub statuses: Option<Vec<BulkStatus>>,
    /// About any of these functions.
    pub functions: Option<Vec<FunctionId>>,
    /// Asked for at or after.
    pub from: Option<Timestamp>,
    /// Asked for before.
    pub until: Option<Timestamp>,
}

impl BulkFilter {
    /// All of a kind.
    pub fn of(kind: BulkKind) -> Self {
        Self {
            kind,
            statuses: None,
            functions: None,
            from: None,
            until: None,
        }
    }

    /// The longest list of values in the filter.
    pub fn longest_list(&self) -> usize {
        let statuses = self.statuses.as_ref().map_or(0, Vec::len);
        statuses.max(self.functions.as_ref().map_or(0, Vec::len))
    }
}

/// Newest first, served by `bulk_operations_by_env`.
const KEYSET: Keyset<bulk_operation::Entity> = Keyset {
    order: Order {
        name: "bulk_operations.created",
        direction: Direction::Descending,
    },
    columns: &[(bulk_operation::Column::Id, Kind::Id)],
    keys: |row| vec![Key::Id(row.id.as_u128())],
};

impl Store {
    /// One page of operations on many runs, newest first.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn list_bulk(
        &self,
        env: EnvId,
        filter: &BulkFilter,
        request: &PageRequest,
    ) -> Result<Page<BulkOperation>, Error> {
        let page = KEYSET
            .read(
                self.reader(),
                "bulk_operations",
                select(env, filter),
                request,
            )
            .await?;
        page.try_map(BulkOperation::try_from)
    }

    /// How many operations the list has.
    pub async fn count_bulk(&self, env: EnvId, filter: &BulkFilter) -> Result<Count, Error> {
        count(self.reader(), "bulk_operations", select(env, filter)).await
    }
}

fn select(env: EnvId, filter: &BulkFilter) -> Select<bulk_operation::Entity> {
    use bulk_operation::Column;
    let mut all = Condition::all()
        .add(Column::EnvId.eq(env.raw()))
        .add(Column::Kind.eq(filter.kind.code()))
        .add_option(filter.from.map(|from| Column::Id.gte(first_id(from))))
        .add_option(filter.until.map(|until| Column::Id.lt(first_id(until))));
    if let Some(list) = &filter.statuses {
        all = all.add(Column::Status.is_in(list.iter().map(|status| status.code())));
    }
    if let Some(list) = &filter.functions {
        let wanted = list.iter().map(|function| function.raw());
        let about = Query::select()
            .column(Alias::new("operation_id"))
            .from(Alias::new("bulk_functions"))
            .and_where(Expr::col(Alias::new("function_id")).is_in(wanted))
            .to_owned();
        all = all.add(Column::Id.in_subquery(about));
    }
    bulk_operation::Entity::find().filter(all)
}
