//! Who waits for a signal: at most one wait at a time.

use std::collections::HashSet;

use inngest_core::{
    ids::{EnvId, WaitId},
    wait::{Wait, WaitKind},
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, Statement};
use uuid::Uuid;

use crate::{
    Error,
    commit::{Commit, Refused},
    rows::{WAIT_COLUMNS, wait_values},
    sql::{insert_returning, select_in},
    write::get,
};

/// A signal has one waiter: a second one is refused, unless it replaces the first, which then only waits for its time to run out.
pub(crate) async fn take_signals(
    tx: &DatabaseTransaction,
    commits: &[Commit],
    verdicts: &mut [Option<Refused>],
) -> Result<(), Error> {
    let mut taken: HashSet<(EnvId, &str)> = HashSet::new();
    for (commit, verdict) in commits.iter().zip(verdicts) {
        let wanted: Vec<(&Wait, &str)> = commit
            .waits
            .iter()
            .filter(|wait| wait.kind == WaitKind::Signal)
            .filter_map(|wait| wait.signal.as_deref().map(|signal| (wait, signal)))
            .collect();
        if wanted.is_empty() || verdict.is_some() {
            continue;
        }
        *verdict = judge_signals(tx, commit, &wanted, &taken).await?;
        if verdict.is_some() {
            continue;
        }
        for (wait, signal) in wanted {
            taken.insert((wait.env, signal));
            if wait.replaces {
                let sql =
                    "UPDATE waits SET signal = NULL WHERE env_id = $1 AND signal = $2 AND id <> $3";
                tx.execute_raw(signal_statement(tx, sql, wait, signal))
                    .await
                    .map_err(Error::on("waits"))?;
            }
        }
    }
    Ok(())
}

/// Stores waits for signals. Somebody else may have begun to wait for one of them since it was judged: `Raced`, then.
pub(crate) async fn store_signal_waits(
    tx: &DatabaseTransaction,
    waits: &[&Wait],
) -> Result<(), Error> {
    if waits.is_empty() {
        return Ok(());
    }
    let rows = waits.iter().map(|wait| wait_values(wait)).collect();
    let tail = "ON CONFLICT DO NOTHING RETURNING id";
    let added = insert_returning(tx, WAIT_COLUMNS, tail, rows)
        .await
        .map_err(Error::on("waits"))?;
    if added.len() == waits.len() {
        return Ok(());
    }
    // A wait that was there already changes nothing.
    let ids = waits.iter().map(|wait| wait.id.raw().into()).collect();
    let present = select_in(tx, "SELECT id FROM waits WHERE id IN", ids, "")
        .await
        .map_err(Error::on("waits"))?;
    let present: HashSet<Uuid> = present
        .iter()
        .map(|row| get(row, "waits", "id"))
        .collect::<Result<_, _>>()?;
    if waits.iter().all(|wait| present.contains(&wait.id.raw())) {
        Ok(())
    } else {
        Err(Error::Raced { table: "waits" })
    }
}

async fn judge_signals(
    tx: &DatabaseTransaction,
    commit: &Commit,
    wanted: &[(&Wait, &str)],
    taken: &HashSet<(EnvId, &str)>,
) -> Result<Option<Refused>, Error> {
    let mut own: HashSet<(EnvId, &str)> = HashSet::new();
    for (wait, signal) in wanted {
        // Within one transaction the first asker wins; the second is told to decide again, and then finds the row.
        if taken.contains(&(wait.env, *signal)) {
            return Ok(Some(Refused::RunChanged));
        }
        // Deciding again would not help a run that is in its own way.
        if !own.insert((wait.env, *signal)) {
            return Ok(Some(Refused::SignalTaken));
        }
        if wait.replaces {
            continue;
        }
        let sql = "SELECT id FROM waits WHERE env_id = $1 AND signal = $2 AND id <> $3";
        let row = tx
            .query_one_raw(signal_statement(tx, sql, wait, signal))
            .await
            .map_err(Error::on("waits"))?;
        if let Some(row) = row {
            let holder = WaitId::from_raw(get(&row, "waits", "id")?);
            if !commit.claims.contains(&holder) && !commit.drop_waits.contains(&holder) {
                return Ok(Some(Refused::SignalTaken));
            }
        }
    }
    Ok(None)
}

fn signal_statement(tx: &DatabaseTransaction, sql: &str, wait: &Wait, signal: &str) -> Statement {
    let params = [
        wait.env.raw().into(),
        signal.to_owned().into(),
        wait.id.raw().into(),
    ];
    Statement::from_sql_and_values(tx.get_database_backend(), sql, params)
}
