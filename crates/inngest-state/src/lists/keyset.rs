//! Pages by key: every list is ordered by the columns of an index, the unique id last, and continues after the keys of a row.

use inngest_core::page::{
    COUNT_CAP, Count, Cursor, Direction, InvalidCursor, Key, Order, Page, PageRequest,
};
use sea_orm::{
    ConnectionTrait, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select, Value,
    sea_query::{Expr, ExprTrait},
};
use uuid::Uuid;

use crate::Error;

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
        let cursor = self.entry(request)?;
        let direction = self.way(request);
        let mut query = select.clone();
        if let Some(cursor) = &cursor {
            query = query.filter(self.beyond(cursor, direction));
        }
        let rows = self
            .sorted(query, direction)
            .limit(u64::from(request.limit) + 1)
            .all(conn)
            .await
            .map_err(Error::on(table))?;
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
        Ok(self.page(rows, request, is_entered_inside))
    }

    /// The page of rows that were read in the direction of reading, one more than the page has when it goes on.
    pub(super) fn page(
        &self,
        mut rows: Vec<E::Model>,
        request: &PageRequest,
        is_entered_inside: bool,
    ) -> Page<E::Model> {
        let limit = request.limit as usize;
        let goes_on = rows.len() > limit;
        rows.truncate(limit);
        let (has_next, has_previous) = match request.backward {
            false => (goes_on, is_entered_inside),
            true => (is_entered_inside, goes_on),
        };
        if request.backward {
            rows.reverse();
        }
        Page {
            cursors: rows.iter().map(|row| self.cursor_of(row)).collect(),
            items: rows,
            has_next,
            has_previous,
        }
    }

    /// Which way the rows are read.
    pub(super) fn way(&self, request: &PageRequest) -> Direction {
        match request.backward {
            false => self.order.direction,
            true => self.order.direction.reversed(),
        }
    }

    /// Where the page begins; none for an end of the list.
    pub(super) fn entry(&self, request: &PageRequest) -> Result<Option<Vec<Key>>, Error> {
        let cursor = request.from.as_deref();
        cursor.map(|text| self.cursor(text)).transpose()
    }

    /// The position of a row.
    pub(crate) fn cursor_of(&self, row: &E::Model) -> String {
        Cursor {
            order: self.order,
            keys: (self.keys)(row),
        }
        .encode()
    }

    pub(super) fn sorted(&self, query: Select<E>, direction: Direction) -> Select<E> {
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
    pub(super) fn beyond(&self, keys: &[Key], direction: Direction) -> Expr {
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
