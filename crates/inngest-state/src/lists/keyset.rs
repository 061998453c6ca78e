//! Pages by key: every list is ordered by the columns of an index, the unique id last, and continues after the keys of a row.

use inngest_core::page::{
    COUNT_CAP, Count, Cursor, Direction, InvalidCursor, Key, Order, Page, PageRequest,
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, Select, Value,
    sea_query::{Expr, ExprTrait},
};
use uuid::Uuid;

use super::search::Slice;
use crate::{Error, rows::time};

/// What kind of values a column holds by which a list is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Text,
    Id,
}

/// The order of a list over the rows of `E`.
pub(crate) struct Keyset<E: EntityTrait> {
    /// Its name and direction.
    pub(crate) order: Order,
    /// The columns of an index that serves it, the unique id last.
    pub(crate) columns: &'static [(E::Column, Kind)],
    /// Their values in a row.
    pub(crate) keys: fn(&E::Model) -> Vec<Key>,
}

impl<E> Keyset<E>
where
    E: EntityTrait,
    E::Model: FromQueryResult + Sized + Send + Sync,
{
    /// Reads one page of the rows that `select` chooses: one statement, and one more when it is to look back from a cursor.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] for a cursor of another list or order.
    pub(crate) async fn read(
        &self,
        conn: &impl ConnectionTrait,
        table: &'static str,
        select: Select<E>,
        request: &PageRequest,
    ) -> Result<Page<E::Model>, Error> {
        let cursor = request
            .from
            .as_deref()
            .map(|text| self.cursor(text))
            .transpose()?;
        let direction = match request.backward {
            false => self.order.direction,
            true => self.order.direction.reversed(),
        };
        let mut query = select.clone();
        if let Some(cursor) = &cursor {
            query = query.filter(self.beyond(cursor, direction));
        }
        let limit = request.limit as usize;
        let mut rows = self
            .sorted(query, direction)
            .limit(u64::from(request.limit) + 1)
            .all(conn)
            .await
            .map_err(Error::on(table))?;
        let goes_on = rows.len() > limit;
        rows.truncate(limit);
        let is_entered_inside = match &cursor {
            Some(cursor) if request.look_back => {
                let behind = select.filter(self.beyond(cursor, direction).not());
                self.sorted(behind, direction.reversed())
                    .limit(1)
                    .one(conn)
                    .await
                    .map_err(Error::on(table))?
                    .is_some()
            }
            _ => false,
        };
        let (has_next, has_previous) = match request.backward {
            false => (goes_on, is_entered_inside),
            true => (is_entered_inside, goes_on),
        };
        if request.backward {
            rows.reverse();
        }
        Ok(Page {
            cursors: rows.iter().map(|row| self.cursor_of(row)).collect(),
            items: rows,
            has_next,
            has_previous,
        })
    }

    /// Reads the next `request.limit` rows of a list that is ordered by its id alone, and of them only those for which `wanted` holds: two
    /// statements, the first of which reads no more than ids.
    ///
    /// # Errors
    /// As [`Keyset::read`].
    pub(crate) async fn slice(
        &self,
        conn: &impl ConnectionTrait,
        table: &'static str,
        select: Select<E>,
        wanted: Condition,
        request: &PageRequest,
    ) -> Result<Slice<E::Model>, Error> {
        let cursor = request
            .from
            .as_deref()
            .map(|text| self.cursor(text))
            .transpose()?;
        let direction = match request.backward {
            false => self.order.direction,
            true => self.order.direction.reversed(),
        };
        let (id, _) = self.columns[0];
        let mut query = select;
        if let Some(cursor) = &cursor {
            query = query.filter(self.beyond(cursor, direction));
        }
        let ids: Vec<Uuid> = self
            .sorted(query, direction)
            .limit(u64::from(request.limit))
            .select_only()
            .column(id)
            .into_tuple()
            .all(conn)
            .await
            .map_err(Error::on(table))?;
        let last = ids.last().map(|id| id.as_u128());
        let (candidates, goes_on) = (ids.len(), ids.len() >= request.limit as usize);
        let rows = match ids.is_empty() {
            true => Vec::new(),
            false => {
                let found = E::find().filter(id.is_in(ids)).filter(wanted);
                self.sorted(found, self.order.direction)
                    .all(conn)
                    .await
                    .map_err(Error::on(table))?
            }
        };
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

    /// The position of a row.
    pub(crate) fn cursor_of(&self, row: &E::Model) -> String {
        Cursor {
            order: self.order,
            keys: (self.keys)(row),
        }
        .encode()
    }

    fn sorted(&self, query: Select<E>, direction: Direction) -> Select<E> {
        let order = match direction {
            Direction::Ascending => sea_orm::Order::Asc,
            Direction::Descending => sea_orm::Order::Desc,
        };
        self.columns.iter().fold(query, |query, (column, _)| {
            query.order_by(*column, order.clone())
        })
    }

    fn cursor(&self, text: &str) -> Result<Vec<Key>, Error> {
        let keys = Cursor::decode(text, self.order)?.keys;
        let fits = keys.len() == self.columns.len()
            && keys.iter().zip(self.columns).all(|(key, (_, kind))| {
                matches!(
                    (key, kind),
                    (Key::Number(_), Kind::Number)
                        | (Key::Text(_), Kind::Text)
                        | (Key::Id(_), Kind::Id)
                )
            });
        if fits {
            Ok(keys)
        } else {
            Err(InvalidCursor.into())
        }
    }

    /// The rows after a position in this direction.
    fn beyond(&self, keys: &[Key], direction: Direction) -> Expr {
        let column = |(column, _): &(E::Column, Kind)| Expr::col((E::default(), *column));
        let value = |key: &Key| {
            Expr::val(match key {
                Key::Number(number) => Value::from(*number),
                Key::Text(text) => Value::from(text.clone()),
                Key::Id(id) => Value::from(Uuid::from_u128(*id)),
            })
        };
        let (left, right) = match (self.columns, keys) {
            ([only], [key]) => (column(only), value(key)),
            _ => (
                Expr::tuple(self.columns.iter().map(column)),
                Expr::tuple(keys.iter().map(value)),
            ),
        };
        match direction {
            Direction::Ascending => left.gt(right),
            Direction::Descending => left.lt(right),
        }
    }
}

/// How many rows `select` chooses, counted no further than it has to be.
pub(crate) async fn count<E>(
    conn: &impl ConnectionTrait,
    table: &'static str,
    select: Select<E>,
) -> Result<Count, Error>
where
    E: EntityTrait,
    E::Model: FromQueryResult + Sized + Send + Sync,
{
    let rows = select
        .limit(COUNT_CAP + 1)
        .count(conn)
        .await
        .map_err(Error::on(table))?;
    Ok(Count::capped(rows))
}
