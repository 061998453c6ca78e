//! Lists in slices: candidates come from an index in the order of the list, so many at a time, and what no index knows is asked of these
//! alone. A statement costs what its slice costs, however few of its rows match.

use inngest_core::page::{COUNT_CAP, Count, Cursor, Direction, Key, Page, PageRequest};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect,
    QueryTrait, Select,
    sea_query::{ColumnRef, Condition, Expr, ExprTrait, Query, SelectStatement},
};
use uuid::Uuid;

use super::{
    each::{FOUND, Parents, order},
    keyset::Keyset,
    search::Slice,
    weight::{Heavy, SLICE_BYTES},
};
use crate::{Error, rows::time, write::get};

/// Most candidates that are looked at to say how long a list is.
const COUNTED: u64 = 20_000;

/// Where the candidates of a list are found in its order, with nothing else between them.
pub(crate) enum Source<E: EntityTrait> {
    /// In one place of an index.
    One(Select<E>),
    /// In several places of one.
    Several(Select<E>, Parents<E>),
    /// Where another table names their ids: what chooses them there, and the column that has them.
    Ids(SelectStatement, ColumnRef),
}

/// How a list is read.
pub(crate) struct Plan<E: EntityTrait> {
    /// Where its candidates are.
    pub(crate) source: Source<E>,
    /// What else has to hold; none when all candidates are in the list.
    pub(crate) rest: Option<Condition>,
}

impl<E: EntityTrait> Plan<E> {
    pub(crate) fn new(source: Source<E>, rest: Condition) -> Self {
        let rest = (!rest.is_empty()).then_some(rest);
        Self { source, rest }
    }
}

impl<E> Keyset<E>
where
    E: EntityTrait,
    E::Model: FromQueryResult + Sized + Send + Sync,
{
    /// Reads the next `request.limit` candidates of a list that is ordered by its id alone, and of them only those for which `wanted` holds:
    /// two statements, the first of which reads no more than ids. A slice whose rows are large has fewer candidates.
    ///
    /// # Errors
    /// As [`Keyset::read`].
    pub(crate) async fn slice(
        &self,
        conn: &impl ConnectionTrait,
        table: &'static str,
        (source, heavy): (Source<E>, &Heavy<E>),
        wanted: Condition,
        request: &PageRequest,
    ) -> Result<Slice<E::Model>, Error> {
        let mut ids = self.candidates(conn, table, source, request).await?;
        let (id, _) = self.columns[0];
        let mut goes_on = ids.len() >= request.limit as usize;
        let rows = match ids.is_empty() {
            true => Vec::new(),
            false => {
                let candidates = E::find().filter(id.is_in(ids.iter().copied()));
                let (way, sorted) = (self.way(request), self.order.direction);
                let matching = candidates.filter(wanted).into_query();
                heavy
                    .read(conn, Some(matching), way, sorted, SLICE_BYTES)
                    .await?
            }
        };
        if heavy.is_cut(&rows, SLICE_BYTES) {
            let last = match request.backward {
                false => rows.last(),
                true => rows.first(),
            };
            let last = last.map(|row| (self.keys)(row));
            let is_last = |id: &Uuid| last.as_deref() == Some(&[Key::Id(id.as_u128())]);
            if let Some(place) = ids.iter().position(is_last) {
                goes_on |= place + 1 < ids.len();
                ids.truncate(place + 1);
            }
        }
        let (candidates, last) = (ids.len(), ids.last().map(|id| id.as_u128()));
        Ok(Slice {
            page: Page {
                cursors: rows.iter().map(|row| self.cursor_of(row)).collect(),
                items: rows,
                has_next: false,
                has_previous: false,
            },
            candidates: candidates as u64,
            end: last.map(|id| {
                Cursor {
                    order: self.order,
                    keys: vec![Key::Id(id)],
                }
                .encode()
            }),
            reached: last.map(|id| time(i64::try_from(id >> 80).unwrap_or(i64::MAX))),
            goes_on,
        })
    }

    /// The ids of the next candidates, in the direction of reading.
    async fn candidates(
        &self,
        conn: &impl ConnectionTrait,
        table: &'static str,
        source: Source<E>,
        request: &PageRequest,
    ) -> Result<Vec<Uuid>, Error> {
        let cursor = self.entry(request)?;
        let (way, limit) = (self.way(request), u64::from(request.limit));
        let Some(statement) = self.ids(conn, source, cursor.as_deref(), way, limit) else {
            return Ok(Vec::new());
        };
        let statement = conn.get_database_backend().build(&statement);
        let rows = conn
            .query_all_raw(statement)
            .await
            .map_err(Error::on(table))?;
        rows.iter().map(|row| get(row, table, "id")).collect()
    }

    /// What chooses the ids of the first `limit` candidates after a position. None where there can be no candidate.
    fn ids(
        &self,
        conn: &impl ConnectionTrait,
        source: Source<E>,
        after: Option<&[Key]>,
        way: Direction,
        limit: u64,
    ) -> Option<SelectStatement> {
        let (id, _) = self.columns[0];
        let beyond = |select: Select<E>| match after {
            Some(keys) => select.filter(self.beyond(keys, way)),
            None => select,
        };
        Some(match source {
            Source::One(select) => {
                let select = self.sorted(beyond(select), way).select_only();
                select.column_as(id, "id").limit(limit).into_query()
            }
            Source::Several(select, parents) => {
                let mut each = self.each(conn, beyond(select), &parents, way, limit)?;
                each.clear_selects()
                    .expr_as(Expr::col((FOUND, id)), "id")
                    .limit(limit);
                each
            }
            Source::Ids(mut select, column) => {
                if let Some([Key::Id(from)]) = after {
                    let (own, from) = (Expr::col(column.clone()), Uuid::from_u128(*from));
                    select.and_where(match way {
                        Direction::Ascending => own.gt(from),
                        Direction::Descending => own.lt(from),
                    });
                }
                select
                    .distinct()
                    .expr_as(Expr::col(column.clone()), "id")
                    .order_by(column, order(way))
                    .limit(limit);
                select
            }
        })
    }

    /// How many rows a list has, as far as can be told from a bounded number of candidates: one statement.
    pub(crate) async fn count(
        &self,
        conn: &impl ConnectionTrait,
        table: &'static str,
        plan: Plan<E>,
    ) -> Result<Count, Error> {
        // Without a condition more of them would not be counted anyway.
        let most = match &plan.rest {
            Some(_) => COUNTED,
            None => COUNT_CAP + 1,
        };
        let hit = Expr::from(
            plan.rest
                .unwrap_or_else(|| Condition::all().add(Expr::cust("TRUE"))),
        );
        let looked_at = match plan.source {
            Source::One(select) => {
                let select = select.select_only().expr_as(hit, "hit").limit(most);
                select.into_query()
            }
            source => {
                let Some(ids) = self.ids(conn, source, None, self.order.direction, most) else {
                    return Ok(Count::capped(0));
                };
                let of_candidates = Query::select()
                    .column("id")
                    .from_subquery(ids, "candidates")
                    .to_owned();
                let (id, _) = self.columns[0];
                let select = E::find().filter(id.in_subquery(of_candidates));
                select.select_only().expr_as(hit, "hit").into_query()
            }
        };
        let mut counted = Query::select();
        counted
            .expr_as(Expr::cust("COUNT(*)"), "looked_at")
            .expr_as(Expr::cust("COUNT(CASE WHEN hit THEN 1 END)"), "hits")
            .from_subquery(looked_at, "looked");
        let statement = conn.get_database_backend().build(&counted);
        let row = conn
            .query_one_raw(statement)
            .await
            .map_err(Error::on(table))?;
        let Some(row) = row else {
            return Ok(Count::capped(0));
        };
        let looked_at: i64 = get(&row, table, "looked_at")?;
        let hits: i64 = get(&row, table, "hits")?;
        let count = Count::capped(hits.unsigned_abs());
        Ok(Count {
            is_exact: count.is_exact && looked_at.unsigned_abs() < most,
            ..count
        })
    }
}
