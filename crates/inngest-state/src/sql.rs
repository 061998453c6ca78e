//! Statements over many rows, alike in both dialects.
//!
//! The number of rows in a statement is a power of two, so that few distinct texts exist and the driver's cache of prepared statements
//! holds all of them.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};

/// Most rows in one statement.
const MAX_ROWS: usize = 64;

/// Most ids in one list; SQLite allows 32,766 parameters.
const MAX_IDS: usize = 1_024;

/// Most tuples in one list.
const MAX_TUPLES: usize = 256;

/// `INSERT INTO head VALUES (…), (…) tail`, in as many statements as the sizes need.
pub(crate) async fn insert_rows(
    conn: &impl ConnectionTrait,
    head: &str,
    tail: &str,
    rows: Vec<Vec<Value>>,
) -> Result<(), DbErr> {
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let statement = insert_chunk(conn.get_database_backend(), head, tail, &mut rows);
        conn.execute_raw(statement).await?;
    }
    Ok(())
}

/// Like [`insert_rows`]; `tail` ends with what is returned of each row that was written.
pub(crate) async fn insert_returning(
    conn: &impl ConnectionTrait,
    head: &str,
    tail: &str,
    rows: Vec<Vec<Value>>,
) -> Result<Vec<QueryResult>, DbErr> {
    let mut found = Vec::new();
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let statement = insert_chunk(conn.get_database_backend(), head, tail, &mut rows);
        found.extend(conn.query_all_raw(statement).await?);
    }
    Ok(found)
}

/// The statement for as many of `rows`, not empty, as go into one.
fn insert_chunk(
    backend: DbBackend,
    head: &str,
    tail: &str,
    rows: &mut std::vec::IntoIter<Vec<Value>>,
) -> Statement {
    let size = chunk(rows.len());
    let chunk: Vec<Vec<Value>> = rows.by_ref().take(size).collect();
    let width = chunk[0].len();
    let sql = format!(
        "INSERT INTO {head} VALUES {} {tail}",
        tuples(backend, size, width)
    );
    Statement::from_sql_and_values(backend, sql, chunk.into_iter().flatten())
}

/// `WITH v (columns) AS (VALUES …) body`, run once per chunk of rows.
pub(crate) async fn with_rows(
    conn: &impl ConnectionTrait,
    columns: &str,
    body: &str,
    rows: Vec<Vec<Value>>,
) -> Result<(), DbErr> {
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let size = chunk(rows.len());
        let chunk: Vec<Vec<Value>> = rows.by_ref().take(size).collect();
        let width = chunk[0].len();
        let sql = format!(
            "WITH v ({columns}) AS (VALUES {}) {body}",
            tuples(conn.get_database_backend(), size, width)
        );
        conn.execute_raw(Statement::from_sql_and_values(
            conn.get_database_backend(),
            sql,
            chunk.into_iter().flatten(),
        ))
        .await?;
    }
    Ok(())
}

/// Runs `before (…ids…) after` for all ids and collects the rows. Lists are padded by repeating an id, which changes nothing.
pub(crate) async fn select_in(
    conn: &impl ConnectionTrait,
    before: &str,
    ids: Vec<Value>,
    after: &str,
) -> Result<Vec<QueryResult>, DbErr> {
    let mut found = Vec::new();
    for chunk in ids.chunks(MAX_IDS) {
        let (list, values) = padded(chunk);
        let sql = format!("{before} ({list}) {after}");
        found.extend(
            conn.query_all_raw(Statement::from_sql_and_values(
                conn.get_database_backend(),
                sql,
                values,
            ))
            .await?,
        );
    }
    Ok(found)
}

/// Runs `before (VALUES (…), (…)) after` for tuples of equal width, at least one, and collects the rows. Padded like [`select_in`].
pub(crate) async fn select_tuples(
    conn: &impl ConnectionTrait,
    before: &str,
    tuples_wanted: &[Vec<Value>],
    after: &str,
) -> Result<Vec<QueryResult>, DbErr> {
    let mut found = Vec::new();
    for chunk in tuples_wanted.chunks(MAX_TUPLES) {
        let size = chunk.len().next_power_of_two();
        let last = &chunk[chunk.len() - 1];
        let sql = format!(
            "{before} (VALUES {}) {after}",
            tuples(conn.get_database_backend(), size, last.len())
        );
        let padded = chunk.iter().chain(std::iter::repeat(last)).take(size);
        let values: Vec<Value> = padded.flatten().cloned().collect();
        found.extend(
            conn.query_all_raw(Statement::from_sql_and_values(
                conn.get_database_backend(),
                sql,
                values,
            ))
            .await?,
        );
    }
    Ok(found)
}

/// Like [`select_in`] for statements without rows; returns how many rows were changed.
pub(crate) async fn execute_in(
    conn: &impl ConnectionTrait,
    before: &str,
    ids: Vec<Value>,
    after: &str,
) -> Result<u64, DbErr> {
    let mut changed = 0;
    for chunk in ids.chunks(MAX_IDS) {
        let (list, values) = padded(chunk);
        let sql = format!("{before} ({list}) {after}");
        let done = conn
            .execute_raw(Statement::from_sql_and_values(
                conn.get_database_backend(),
                sql,
                values,
            ))
            .await?;
        changed += done.rows_affected();
    }
    Ok(changed)
}

/// The largest power of two that is at most `rows`, bounded.
fn chunk(rows: usize) -> usize {
    let mut size = MAX_ROWS;
    while size > rows {
        size /= 2;
    }
    size
}

fn padded(ids: &[Value]) -> (String, Vec<Value>) {
    let size = ids.len().next_power_of_two();
    let list: Vec<String> = (1..=size).map(|n| format!("${n}")).collect();
    let mut values = ids.to_vec();
    if let Some(last) = ids.last() {
        values.resize(size, last.clone());
    }
    (list.join(","), values)
}

/// `($1,$2),($3,$4)` for `rows` rows of `width` values, bound in this order.
///
/// SQLite gets `?` in place of numbers: its driver looks every numbered parameter up by name, one after the other, which took a third
/// of the time of large inserts.
pub(crate) fn tuples(backend: DbBackend, rows: usize, width: usize) -> String {
    let mut text = String::with_capacity(rows * width * 5);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..width {
            if column > 0 {
                text.push(',');
            }
            match backend {
                DbBackend::Sqlite => text.push('?'),
                _ => {
                    text.push('$');
                    text.push_str(&(row * width + column + 1).to_string());
                }
            }
        }
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_powers_of_two() {
        for (rows, size) in [(1, 1), (2, 2), (3, 2), (7, 4), (64, 64), (1_000, 64)] {
            assert_eq!(chunk(rows), size);
        }
    }

    #[test]
    fn placeholders_count_on_over_rows() {
        assert_eq!(tuples(DbBackend::Postgres, 2, 3), "($1,$2,$3),($4,$5,$6)");
        assert_eq!(tuples(DbBackend::Sqlite, 2, 2), "(?,?),(?,?)");
    }
}
