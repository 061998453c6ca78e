//! Rows with documents of any size: how much of them is read at once.

use inngest_core::page::Direction;
use sea_orm::{
    ConnectionTrait, EntityTrait, FromQueryResult,
    sea_query::{Asterisk, Expr, ExprTrait, Query, SelectStatement},
};

use super::each::{order, rows};
use crate::{
    Error,
    entity::{event, run, step},
};

/// Most bytes of documents that one slice of a list reads; the last row may have more.
pub(crate) const SLICE_BYTES: u64 = 16 * 1024 * 1024;

/// Rows that have a document, and the order in which they are read.
pub(crate) struct Heavy<E: EntityTrait> {
    table: &'static str,
    /// The columns of their order.
    keys: &'static [&'static str],
    /// How much a row weighs, in SQL. Neither database reads a document to say how long it is.
    weight: &'static str,
    /// How much it weighs.
    of: fn(&E::Model) -> u64,
}

/// Events and their bodies.
pub(crate) const EVENTS: Heavy<event::Entity> = Heavy {
    table: "events",
    keys: &["id"],
    weight: "LENGTH(body)",
    of: |row| row.body.len() as u64,
};

/// Runs and what they ended with.
pub(crate) const RUNS: Heavy<run::Entity> = Heavy {
    table: "runs",
    keys: &["id"],
    weight: "COALESCE(LENGTH(output), 0)",
    of: |row| row.output.as_ref().map_or(0, |output| output.len() as u64),
};

/// Steps, of which there can be very many, and their results.
pub(crate) const STEPS: Heavy<step::Entity> = Heavy {
    table: "steps",
    keys: &["run_id", "step_id"],
    weight: "COALESCE(LENGTH(memo), 0) + 512",
    of: |row| 512 + row.memo.as_ref().map_or(0, |memo| memo.len() as u64),
};

impl<E> Heavy<E>
where
    E: EntityTrait,
    E::Model: FromQueryResult,
{
    /// Reads the first of the rows that a statement chooses, those before which there is less than `most`: first in the order `way`. They
    /// come in the order `sorted`. One statement; none reads nothing.
    pub(crate) async fn read(
        &self,
        conn: &impl ConnectionTrait,
        chosen: Option<SelectStatement>,
        way: Direction,
        sorted: Direction,
        most: u64,
    ) -> Result<Vec<E::Model>, Error> {
        let first = chosen.map(|chosen| self.first(chosen, way, sorted, most));
        rows(conn, self.table, first).await
    }

    /// Whether rows may have been left out: those that were read weigh `most`.
    pub(crate) fn is_cut(&self, rows: &[E::Model], most: u64) -> bool {
        rows.iter().map(self.of).sum::<u64>() >= most
    }

    fn first(
        &self,
        chosen: SelectStatement,
        way: Direction,
        sorted: Direction,
        most: u64,
    ) -> SelectStatement {
        let weight = self.weight;
        let word = match way {
            Direction::Ascending => "ASC",
            Direction::Descending => "DESC",
        };
        let keys: Vec<String> = self
            .keys
            .iter()
            .map(|key| format!("{key} {word}"))
            .collect();
        let before = format!(
            "SUM({weight}) OVER (ORDER BY {}) - ({weight})",
            keys.join(", ")
        );
        let weighed = Query::select()
            .column(Asterisk)
            .expr_as(Expr::cust(before), "weight_before")
            .from_subquery(chosen, "chosen")
            .to_owned();
        let mut first = Query::select();
        first
            .column(Asterisk)
            .from_subquery(weighed, "weighed")
            .and_where(Expr::col("weight_before").lt(i64::try_from(most).unwrap_or(i64::MAX)));
        for key in self.keys {
            first.order_by(*key, order(sorted));
        }
        first
    }
}
