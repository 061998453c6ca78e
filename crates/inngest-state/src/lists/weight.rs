//! Rows with documents of any size: how much of them is read at once.

use inngest_core::page::Direction;
use sea_orm::{
    ConnectionTrait, EntityTrait, FromQueryResult, QuerySelect, QueryTrait, Select,
    sea_query::{Asterisk, Expr, ExprTrait, Query},
};

use super::each::order;
use crate::{
    Error,
    entity::{event, run, step},
};

/// Most bytes of documents that one slice of a list reads; the last row may have more.
pub(crate) const SLICE_BYTES: u64 = 16 * 1024 * 1024;

/// Rows that have a document, in the order of their ids.
pub(crate) struct Heavy<E: EntityTrait> {
    table: &'static str,
    /// How long the document of a row is, in SQL. Neither database reads it to say that.
    length: &'static str,
    /// How long it is.
    bytes: fn(&E::Model) -> usize,
}

/// Events and their bodies.
pub(crate) const EVENTS: Heavy<event::Entity> = Heavy {
    table: "events",
    length: "LENGTH(\"events\".\"body\")",
    bytes: |row| row.body.len(),
};

/// Runs and what they ended with.
pub(crate) const RUNS: Heavy<run::Entity> = Heavy {
    table: "runs",
    length: "COALESCE(LENGTH(\"runs\".\"output\"), 0)",
    bytes: |row| row.output.as_ref().map_or(0, Vec::len),
};

impl<E> Heavy<E>
where
    E: EntityTrait,
    E::Model: FromQueryResult + Send + Sync,
{
    /// Reads the first of these rows in the direction of reading, those before which there are less than `most` bytes, in this order. One
    /// statement.
    pub(crate) async fn read(
        &self,
        conn: &impl ConnectionTrait,
        rows: Select<E>,
        way: Direction,
        sorted: Direction,
        most: u64,
    ) -> Result<Vec<E::Model>, Error> {
        let Self { table, length, .. } = self;
        let word = match way {
            Direction::Ascending => "ASC",
            Direction::Descending => "DESC",
        };
        let before = format!("SUM({length}) OVER (ORDER BY \"{table}\".\"id\" {word}) - {length}");
        let mut weighed = rows.into_query();
        weighed.expr_as(Expr::cust(before), "bytes_before");
        let fitting = Query::select()
            .column(Asterisk)
            .from_subquery(weighed, "weighed")
            .and_where(Expr::col("bytes_before").lt(i64::try_from(most).unwrap_or(i64::MAX)))
            .order_by("id", order(sorted))
            .to_owned();
        let statement = conn.get_database_backend().build(&fitting);
        E::Model::find_by_statement(statement)
            .all(conn)
            .await
            .map_err(Error::on(self.table))
    }

    /// Whether rows may have been left out: those that were read have `most` bytes.
    pub(crate) fn is_cut(&self, rows: &[E::Model], most: u64) -> bool {
        let bytes: usize = rows.iter().map(self.bytes).sum();
        bytes as u64 >= most
    }
}

/// Bytes that a step has besides its result, roughly.
const STEP_BYTES: u64 = 512;

/// What chooses the first of these steps: those before which there are less than `most` bytes.
pub(crate) fn steps_within(steps: &Select<step::Entity>, most: u64) -> Expr {
    let weighed = steps
        .clone()
        .select_only()
        .column_as(step::Column::RunId, "run_id")
        .column_as(step::Column::StepId, "step_id")
        .expr_as(
            Expr::cust(format!(
                "COALESCE(LENGTH(\"steps\".\"memo\"), 0) + {STEP_BYTES}"
            )),
            "bytes",
        )
        .into_query();
    let sums = Query::select()
        .column("run_id")
        .column("step_id")
        .expr_as(
            Expr::cust("SUM(bytes) OVER (ORDER BY run_id, step_id) - bytes"),
            "bytes_before",
        )
        .from_subquery(weighed, "weighed")
        .to_owned();
    let fitting = Query::select()
        .column("run_id")
        .column("step_id")
        .from_subquery(sums, "sums")
        .and_where(Expr::col("bytes_before").lt(i64::try_from(most).unwrap_or(i64::MAX)))
        .to_owned();
    let own = [step::Column::RunId, step::Column::StepId];
    let own = own.map(|column| Expr::col((step::Entity, column)));
    Expr::tuple(own).in_subquery(fitting)
}

/// How much of that a step is.
pub(crate) fn of_step(row: &step::Model) -> u64 {
    STEP_BYTES + row.memo.as_ref().map_or(0, |memo| memo.len() as u64)
}
