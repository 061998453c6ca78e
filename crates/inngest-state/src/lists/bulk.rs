//! Lists of operations on many runs.

use std::collections::{HashMap, HashSet};

use inngest_core::{
    bulk::{BulkKind, BulkOperation, BulkStatus},
    ids::{BulkId, EnvId, FunctionId},
    page::{Count, Direction, Key, Order, Page, PageRequest},
    time::Timestamp,
};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, Select,
    sea_query::{Alias, Expr, ExprTrait, Query},
};

use super::{
    each::{Parents, count_each},
    keyset::{Keyset, Kind, count},
};
use crate::{
    Error, Store,
    entity::{bulk_function, bulk_operation},
    rows::{first_id, ulid_of},
};

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

/// Those of one function, newest first, served by the primary key.
const OF_FUNCTION: Keyset<bulk_function::Entity> = Keyset {
    order: KEYSET.order,
    columns: &[(bulk_function::Column::OperationId, Kind::Id)],
    keys: |row| vec![Key::Id(row.operation_id.as_u128())],
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

impl Store {
    /// The same page of the operations of this kind about each of these functions, newest first: two statements, and one more to look
    /// back. A function without any is left out.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list.
    pub async fn list_bulk_of_functions(
        &self,
        env: EnvId,
        kind: BulkKind,
        functions: &[FunctionId],
        request: &PageRequest,
    ) -> Result<HashMap<FunctionId, Page<BulkOperation>>, Error> {
        let (conn, parents) = (self.reader(), of_functions(functions));
        let pages =
            OF_FUNCTION.read_each(conn, "bulk_functions", about(env, kind), &parents, request);
        let pages = pages.await?;
        let id = |row: &bulk_function::Model| BulkId::from_raw(ulid_of(row.operation_id));
        let wanted: HashSet<BulkId> = pages
            .values()
            .flat_map(|page| page.items.iter().map(id))
            .collect();
        let wanted: Vec<BulkId> = wanted.into_iter().collect();
        let mut known: HashMap<BulkId, BulkOperation> = HashMap::new();
        if !wanted.is_empty() {
            let found = self.find_bulks(env, kind, &wanted).await?;
            known.extend(found.into_iter().map(|operation| (operation.id, operation)));
        }
        let shown = |page: Page<bulk_function::Model>| {
            let rows = page.items.iter().zip(page.cursors);
            // One that was let go of between the statements is gone.
            let (items, cursors) = rows
                .filter_map(|(row, cursor)| Some((known.get(&id(row))?.clone(), cursor)))
                .unzip();
            Page {
                items,
                cursors,
                has_next: page.has_next,
                has_previous: page.has_previous,
            }
        };
        let pages = pages.into_iter();
        Ok(pages
            .map(|(function, page)| (FunctionId::from_raw(function), shown(page)))
            .collect())
    }

    /// How many operations of this kind are about each of these functions.
    pub async fn count_bulk_of_functions(
        &self,
        env: EnvId,
        kind: BulkKind,
        functions: &[FunctionId],
    ) -> Result<HashMap<FunctionId, Count>, Error> {
        let (conn, parents) = (self.reader(), of_functions(functions));
        let counts = count_each(conn, "bulk_functions", about(env, kind), parents);
        let counts = counts.await?.into_iter();
        Ok(counts
            .map(|(function, count)| (FunctionId::from_raw(function), count))
            .collect())
    }
}

fn of_functions(functions: &[FunctionId]) -> Parents<bulk_function::Entity> {
    let ids = functions.iter().map(|id| id.raw());
    let column = &[bulk_function::Column::FunctionId];
    Parents::new(column, ids, |row: &bulk_function::Model| row.function_id)
}

/// Which operations of an environment are about which functions.
fn about(env: EnvId, kind: BulkKind) -> Select<bulk_function::Entity> {
    use bulk_operation::Column;
    let operation = Query::select()
        .expr(Expr::val(1))
        .from(bulk_operation::Entity)
        .and_where(
            Expr::col((bulk_operation::Entity, Column::Id))
                .equals((bulk_function::Entity, bulk_function::Column::OperationId)),
        )
        .and_where(Column::EnvId.eq(env.raw()))
        .and_where(Column::Kind.eq(kind.code()))
        .to_owned();
    bulk_function::Entity::find().filter(Expr::exists(operation))
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
