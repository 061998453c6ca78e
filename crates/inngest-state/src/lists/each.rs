//! One list for each of several parents: a page of it, or how long it is, in one statement.
//!
//! The statement goes from parent to parent and reads from the place of each in the index of the list. So it reads a page of each, however
//! many rows they have; numbering the rows of each (`ROW_NUMBER`) would read all of them first.

use std::collections::{HashMap, HashSet};

use inngest_core::{
    limits,
    page::{COUNT_CAP, Count, Direction, Page, PageRequest},
};
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter, QuerySelect, QueryTrait,
    Select, Value,
    sea_query::{
        Asterisk, Condition, Expr, ExprTrait, JoinType, Query, SelectStatement, ValueTuple,
    },
};
use uuid::Uuid;

use super::{keyset::Keyset, weight::Heavy};
use crate::{Error, write::get};

/// What the parents are called in the statement.
const EACH: &str = "each_parent";
/// What the rows of one of them are called there.
pub(super) const FOUND: &str = "found";

/// Whose lists are wanted.
pub(crate) struct Parents<E: EntityTrait> {
    /// The columns that tell whose a row is: the first of the index that serves the list. The first of them holds the id of the parent.
    columns: &'static [E::Column],
    /// Their values. A parent may stand here several times, with other values in its further columns: all these rows are in its list.
    values: Vec<Vec<Value>>,
    /// The parent of a row.
    of: fn(&E::Model) -> Uuid,
    /// What its rows weigh, where they have documents.
    heavy: Option<&'static Heavy<E>>,
}

impl<E: EntityTrait> Parents<E> {
    /// Parents that are told by one column.
    pub(crate) fn new(
        column: &'static [E::Column; 1],
        ids: impl IntoIterator<Item = Uuid>,
        of: fn(&E::Model) -> Uuid,
    ) -> Self {
        let values = ids.into_iter().map(|id| vec![id.into()]).collect();
        Self::of_values(column, values, of)
    }

    /// Parents that are told by several columns.
    pub(crate) fn of_values(
        columns: &'static [E::Column],
        values: Vec<Vec<Value>>,
        of: fn(&E::Model) -> Uuid,
    ) -> Self {
        Self {
            columns,
            values,
            of,
            heavy: None,
        }
    }

    /// Parents whose rows have documents. No more of them than [`limits::TOGETHER_BYTES`] is read.
    pub(crate) fn heavy(self, heavy: &'static Heavy<E>) -> Self {
        Self {
            heavy: Some(heavy),
            ..self
        }
    }

    /// The values for a list of parameters. They are padded with null, which is equal to nothing, so that few distinct statements exist.
    fn padded(&self) -> Vec<ValueTuple> {
        let mut values = self.values.clone();
        if let Some(last) = values.last() {
            let none: Vec<Value> = last.iter().map(Value::as_null).collect();
            values.resize(values.len().next_power_of_two(), none);
        }
        values.into_iter().map(ValueTuple::Many).collect()
    }

    /// The rows that `select` chooses of the parent at which the statement is.
    fn of_this(&self, mut select: Select<E>) -> Select<E> {
        for (index, column) in self.columns.iter().enumerate() {
            let own = Expr::col((E::default(), *column)).equals((EACH, place(index)));
            select = select.filter(own);
        }
        select
    }
}

/// The name that both databases give to a column of `VALUES`.
fn place(index: usize) -> String {
    format!("column{}", index + 1)
}

impl<E> Keyset<E>
where
    E: EntityTrait,
    E::Model: FromQueryResult + Sized + Send + Sync,
{
    /// Reads the same page of the list of each parent: one statement, and one more when it is to look back from a cursor. Parents that have
    /// nothing there are left out.
    ///
    /// # Errors
    /// As [`Keyset::read`]; [`Error::TooLarge`] when the rows have more documents than are read together.
    pub(crate) async fn read_each(
        &self,
        conn: &impl ConnectionTrait,
        table: &'static str,
        select: Select<E>,
        parents: &Parents<E>,
        request: &PageRequest,
    ) -> Result<HashMap<Uuid, Page<E::Model>>, Error> {
        let cursor = self.entry(request)?;
        let direction = self.way(request);
        let mut query = select.clone();
        if let Some(cursor) = &cursor {
            query = query.filter(self.beyond(cursor, direction));
        }
        let limit = u64::from(request.limit) + 1;
        let statement = self.each(conn, query, parents, direction, limit);
        let mut by_parent: HashMap<Uuid, Vec<E::Model>> = HashMap::new();
        let found = match parents.heavy {
            Some(heavy) => {
                let most = limits::TOGETHER_BYTES;
                let found = heavy.read(conn, statement, direction, direction, most);
                let found = found.await?;
                if heavy.is_cut(&found, most) {
                    return Err(Error::TooLarge { table });
                }
                found
            }
            None => rows(conn, table, statement).await?,
        };
        for row in found {
            by_parent.entry((parents.of)(&row)).or_default().push(row);
        }
        let mut behind: HashSet<Uuid> = HashSet::new();
        if let Some(cursor) = cursor.filter(|_| request.look_back) {
            let query = select.filter(self.beyond(&cursor, direction).not());
            let statement = self.each(conn, query, parents, direction.reversed(), 1);
            let found: Vec<E::Model> = rows(conn, table, statement).await?;
            behind.extend(found.iter().map(parents.of));
            for parent in &behind {
                by_parent.entry(*parent).or_default();
            }
        }
        let page = |(parent, rows)| {
            let page = self.page(rows, request, behind.contains(&parent));
            (parent, page)
        };
        Ok(by_parent.into_iter().map(page).collect())
    }

    /// The first `limit` rows of each parent, all of them together in the order of the list.
    pub(super) fn each(
        &self,
        conn: &impl ConnectionTrait,
        select: Select<E>,
        parents: &Parents<E>,
        direction: Direction,
        limit: u64,
    ) -> Option<SelectStatement> {
        if parents.values.is_empty() {
            return None;
        }
        let own = self.sorted(parents.of_this(select), direction);
        let mut own = own.limit(limit).into_query();
        let mut statement = Query::select();
        statement
            .column((FOUND, Asterisk))
            .from_values(parents.padded(), EACH);
        match conn.get_database_backend() {
            DbBackend::Postgres => {
                let always = Condition::all().add(Expr::cust("TRUE"));
                statement.join_lateral(JoinType::InnerJoin, own, FOUND, always);
            }
            _ => {
                // Without `LATERAL`: the rows by their place in the table. A cross join is not turned round.
                own.clear_selects().column((E::default(), "rowid"));
                let is_own = Expr::col((FOUND, "rowid")).in_subquery(own);
                // The query builder leaves out conditions of cross joins.
                let (join, always) = (JoinType::CrossJoin, Condition::all());
                statement
                    .join_as(join, E::default(), FOUND, always)
                    .and_where(is_own);
            }
        }
        for (column, _) in self.columns {
            statement.order_by((FOUND, *column), order(direction));
        }
        Some(statement)
    }
}

pub(super) fn order(direction: Direction) -> sea_orm::Order {
    match direction {
        Direction::Ascending => sea_orm::Order::Asc,
        Direction::Descending => sea_orm::Order::Desc,
    }
}

/// The rows that a statement of [`Keyset::each`] finds; none without a statement.
pub(super) async fn rows<M: FromQueryResult>(
    conn: &impl ConnectionTrait,
    table: &'static str,
    statement: Option<SelectStatement>,
) -> Result<Vec<M>, Error> {
    let Some(statement) = statement else {
        return Ok(Vec::new());
    };
    let statement = conn.get_database_backend().build(&statement);
    let found = conn
        .query_all_raw(statement)
        .await
        .map_err(Error::on(table))?;
    let read = found.iter().map(|row| M::from_query_result(row, ""));
    read.collect::<Result<_, _>>().map_err(Error::on(table))
}

/// How many rows `select` chooses of each parent, counted no further than it has to be: one statement. Every parent has an entry.
pub(crate) async fn count_each<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    table: &'static str,
    select: Select<E>,
    parents: Parents<E>,
) -> Result<HashMap<Uuid, Count>, Error> {
    if parents.values.is_empty() {
        return Ok(HashMap::new());
    }
    let own = parents.of_this(select).select_only().expr(Expr::val(1));
    let own = own.limit(COUNT_CAP + 1).into_query();
    let mut counted = Query::select();
    counted
        .expr(Expr::cust("COUNT(*)"))
        .from_subquery(own, FOUND);
    let mut statement = Query::select();
    statement
        .expr_as(Expr::col((EACH, place(0))), "parent")
        .expr_as(counted, "n")
        .from_values(parents.padded(), EACH);
    let statement = conn.get_database_backend().build(&statement);
    let found = conn
        .query_all_raw(statement)
        .await
        .map_err(Error::on(table))?;
    let mut counts: HashMap<Uuid, u64> = HashMap::new();
    for row in &found {
        let parent: Option<Uuid> = get(row, table, "parent")?;
        let n: i64 = get(row, table, "n")?;
        if let Some(parent) = parent {
            *counts.entry(parent).or_default() += n.unsigned_abs();
        }
    }
    let capped = |(parent, n)| (parent, Count::capped(n));
    Ok(counts.into_iter().map(capped).collect())
}
