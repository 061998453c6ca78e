//! Which of the runs that are to start do start: those whose keys are free.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use inngest_core::{
    ids::{FunctionId, RunId},
    time::Timestamp,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Value};
use uuid::Uuid;

use crate::{
    Error, Store,
    commit::{Commit, Committed, NewEvent, NewRun},
    rows::{run_uuid, ulid_of},
    sql::{insert_returning, insert_rows, select_tuples},
    write::get,
};

impl Store {
    /// The runs that hold these keys at `now`. A key belongs to a function, and with it to a tenant.
    pub async fn key_holders(
        &self,
        keys: &[(FunctionId, Uuid)],
        now: Timestamp,
    ) -> Result<HashMap<(FunctionId, Uuid), RunId>, Error> {
        let tuples: Vec<Vec<Value>> = keys
            .iter()
            .map(|(function, hash)| vec![function.raw().into(), (*hash).into()])
            .collect();
        let before = "SELECT function_id, key_hash, run_id, expires_at FROM idempotency WHERE (function_id, key_hash) IN";
        let rows = select_tuples(self.reader(), before, &tuples, "").await;
        let mut holders = HashMap::new();
        for row in rows.map_err(Error::on("idempotency"))? {
            let expires_at: i64 = get(&row, "idempotency", "expires_at")?;
            if expires_at > now.as_millis() {
                let run = ulid_of(get(&row, "idempotency", "run_id")?);
                let function: Uuid = get(&row, "idempotency", "function_id")?;
                let key = (
                    FunctionId::from_raw(function),
                    get(&row, "idempotency", "key_hash")?,
                );
                holders.insert(key, RunId::from_raw(run));
            }
        }
        Ok(holders)
    }
}

/// The runs that really start: those of new events, and whose keys are free.
pub(crate) async fn choose_runs<'a>(
    tx: &DatabaseTransaction,
    good: &[(usize, &'a Commit)],
    fresh: &[(usize, &'a NewEvent)],
    outcomes: &mut [Committed],
) -> Result<Vec<(usize, &'a NewRun)>, Error> {
    let wanted: Vec<(usize, &NewRun)> = fresh
        .iter()
        .flat_map(|(index, event)| event.runs.iter().map(|run| (*index, run)))
        .chain(
            good.iter()
                .flat_map(|(index, commit)| commit.runs.iter().map(|run| (*index, run))),
        )
        .collect();
    let keys: BTreeSet<(FunctionId, Uuid)> = wanted
        .iter()
        .flat_map(|(_, run)| run.keys.iter().map(|(hash, _)| (run.function, *hash)))
        .collect();
    if keys.is_empty() {
        return Ok(wanted);
    }
    let mut holders: HashMap<(FunctionId, Uuid), (RunId, i64)> = HashMap::new();
    let tuples: Vec<Vec<Value>> = keys
        .into_iter()
        .map(|(function, hash)| vec![function.raw().into(), hash.into()])
        .collect();
    let before = "SELECT function_id, key_hash, run_id, expires_at FROM idempotency \
                  WHERE (function_id, key_hash) IN";
    let after = match tx.get_database_backend() {
        DbBackend::Postgres => "ORDER BY function_id, key_hash FOR UPDATE",
        _ => "",
    };
    let mut present: HashSet<(FunctionId, Uuid)> = HashSet::new();
    for row in select_tuples(tx, before, &tuples, after)
        .await
        .map_err(Error::on("idempotency"))?
    {
        let function = FunctionId::from_raw(get(&row, "idempotency", "function_id")?);
        let run = RunId::from_raw(ulid_of(get(&row, "idempotency", "run_id")?));
        let expires_at: i64 = get(&row, "idempotency", "expires_at")?;
        let key = (function, get(&row, "idempotency", "key_hash")?);
        present.insert(key);
        holders.insert(key, (run, expires_at));
    }
    let mut started = Vec::new();
    // Each key once, because a statement may not write a row twice; in order, so that transactions lock alike.
    let mut taken: BTreeMap<(FunctionId, Uuid), (RunId, i64)> = BTreeMap::new();
    for (index, run) in wanted {
        let now = run.queued_at.as_millis();
        let holder = run.keys.iter().find_map(|(hash, _)| {
            let holder = holders.get(&(run.function, *hash));
            holder.filter(|(_, expires_at)| *expires_at > now)
        });
        if let Some((holder, _)) = holder {
            outcomes[index].duplicates.push((run.id, *holder));
            outcomes[index].work.extend(run.otherwise.clone());
            continue;
        }
        for (hash, expires_at) in &run.keys {
            let held = (run.id, expires_at.as_millis());
            holders.insert((run.function, *hash), held);
            taken.insert((run.function, *hash), held);
        }
        started.push((index, run));
    }
    let rows = taken
        .into_iter()
        .map(|((function, hash), (run, expires_at))| {
            vec![
                function.raw().into(),
                hash.into(),
                run_uuid(run).into(),
                expires_at.into(),
            ]
        })
        .collect();
    let head = "idempotency (function_id, key_hash, run_id, expires_at)";
    let tail = "ON CONFLICT (function_id, key_hash) DO UPDATE SET run_id = excluded.run_id, expires_at = excluded.expires_at";
    if tx.get_database_backend() != DbBackend::Postgres {
        insert_rows(tx, head, tail, rows)
            .await
            .map_err(Error::on("idempotency"))?;
        return Ok(started);
    }
    // A row that was there when we looked is locked by us. One that was written over although it was not there is another process's,
    // which took the key in this moment.
    let tail = format!("{tail} RETURNING function_id, key_hash, xmax <> 0 AS was_there");
    for row in insert_returning(tx, head, &tail, rows)
        .await
        .map_err(Error::on("idempotency"))?
    {
        let function = FunctionId::from_raw(get(&row, "idempotency", "function_id")?);
        let key = (function, get(&row, "idempotency", "key_hash")?);
        if get(&row, "idempotency", "was_there")? && !present.contains(&key) {
            return Err(Error::Raced {
                table: "idempotency",
            });
        }
    }
    Ok(started)
}
