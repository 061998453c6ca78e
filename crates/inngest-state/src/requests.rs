//! What makes a second request the same request: a key that its caller chose, remembered for a day with what the first one has led to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use inngest_core::{ids::EnvId, json::Json, time::Timestamp};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};
use uuid::Uuid;

use crate::{
    Error, Store,
    commit::{Commit, Refused},
    rows::{bytes, json, ms},
    sql::{insert_returning, insert_rows, select_tuples},
    write::get,
};

/// A request with a key, to be remembered with its effect.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRequest {
    /// The environment.
    pub env: EnvId,
    /// Who asks; keys of different actors have nothing to do with each other.
    pub actor: String,
    /// Hash of the key.
    pub key: Uuid,
    /// Hash of what is asked for.
    pub input: Uuid,
    /// What it leads to.
    pub result: Json,
    /// When.
    pub at: Timestamp,
    /// Until when it is remembered.
    pub until: Timestamp,
}

type Key = (Uuid, String, Uuid);

impl NewRequest {
    fn key(&self) -> Key {
        (self.env.raw(), self.actor.clone(), self.key)
    }

    /// What is said to a later request with the same key.
    fn answer(&self, input: Uuid, result: &Json) -> Refused {
        Refused::Requested((self.input == input).then(|| result.clone()))
    }
}

/// Refuses the commits whose request was made before, and remembers the requests of the others.
pub(crate) async fn take_requests(
    tx: &DatabaseTransaction,
    commits: &[Commit],
    verdicts: &mut [Option<Refused>],
) -> Result<(), Error> {
    // In order, so that transactions lock alike.
    let keys: BTreeSet<Key> = commits
        .iter()
        .filter_map(|commit| commit.request.as_ref())
        .map(NewRequest::key)
        .collect();
    if keys.is_empty() {
        return Ok(());
    }
    let present = find_present(tx, keys).await?;
    let mut taken: BTreeMap<Key, &NewRequest> = BTreeMap::new();
    for (commit, verdict) in commits.iter().zip(verdicts.iter_mut()) {
        let Some(request) = &commit.request else {
            continue;
        };
        let key = request.key();
        let stored = present
            .get(&key)
            .filter(|stored| stored.expires_at > request.at.as_millis());
        if let Some(stored) = stored {
            *verdict = Some(request.answer(stored.input, &stored.result));
        } else if let Some(first) = taken.get(&key) {
            *verdict = Some(request.answer(first.input, &first.result));
        } else if verdict.is_none() {
            taken.insert(key, request);
        }
    }
    store(tx, taken.into_values(), &present).await
}

struct Stored {
    input: Uuid,
    result: Json,
    expires_at: i64,
}

async fn find_present(
    tx: &DatabaseTransaction,
    keys: BTreeSet<Key>,
) -> Result<HashMap<Key, Stored>, Error> {
    let tuples: Vec<Vec<Value>> = keys
        .into_iter()
        .map(|(env, actor, key)| vec![env.into(), actor.into(), key.into()])
        .collect();
    let before = "SELECT env_id, actor, key_hash, input_hash, result, expires_at FROM request_keys \
                  WHERE (env_id, actor, key_hash) IN";
    let after = match tx.get_database_backend() {
        DbBackend::Postgres => "ORDER BY env_id, actor, key_hash FOR UPDATE",
        _ => "",
    };
    let rows = select_tuples(tx, before, &tuples, after).await;
    let mut present = HashMap::new();
    for row in rows.map_err(Error::on("request_keys"))? {
        let stored = Stored {
            input: get(&row, "request_keys", "input_hash")?,
            result: json(get(&row, "request_keys", "result")?),
            expires_at: get(&row, "request_keys", "expires_at")?,
        };
        present.insert(key_of(&row)?, stored);
    }
    Ok(present)
}

fn key_of(row: &sea_orm::QueryResult) -> Result<Key, Error> {
    Ok((
        get(row, "request_keys", "env_id")?,
        get(row, "request_keys", "actor")?,
        get(row, "request_keys", "key_hash")?,
    ))
}

async fn store<'a>(
    tx: &DatabaseTransaction,
    taken: impl Iterator<Item = &'a NewRequest>,
    present: &HashMap<Key, Stored>,
) -> Result<(), Error> {
    let rows = taken
        .map(|request| {
            vec![
                request.env.raw().into(),
                request.actor.clone().into(),
                request.key.into(),
                request.input.into(),
                bytes(&request.result),
                ms(request.until),
            ]
        })
        .collect();
    let on = || Error::on("request_keys");
    let head = "request_keys (env_id, actor, key_hash, input_hash, result, expires_at)";
    let tail = "ON CONFLICT (env_id, actor, key_hash) DO UPDATE SET input_hash = excluded.input_hash, result = excluded.result, \
                expires_at = excluded.expires_at";
    if tx.get_database_backend() != DbBackend::Postgres {
        return insert_rows(tx, head, tail, rows).await.map_err(on());
    }
    // A row that was there when we looked is locked by us. One that was written over although it was not there is another process's.
    let tail = format!("{tail} RETURNING env_id, actor, key_hash, xmax <> 0 AS was_there");
    for row in insert_returning(tx, head, &tail, rows)
        .await
        .map_err(on())?
    {
        if get(&row, "request_keys", "was_there")? && !present.contains_key(&key_of(&row)?) {
            return Err(Error::Raced {
                table: "request_keys",
            });
        }
    }
    Ok(())
}

impl Store {
    /// The request of this actor with this key that is remembered at `now`: the hash of what it asked for, and what it has led to.
    pub async fn find_request(
        &self,
        env: EnvId,
        actor: &str,
        key: Uuid,
        now: Timestamp,
    ) -> Result<Option<(Uuid, Json)>, Error> {
        let sql = "SELECT input_hash, result FROM request_keys WHERE env_id = $1 AND actor = $2 AND key_hash = $3 AND expires_at > $4";
        let values: [Value; 4] = [
            env.raw().into(),
            actor.to_owned().into(),
            key.into(),
            ms(now),
        ];
        let conn = self.reader();
        let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
        let row = conn.query_one_raw(statement).await;
        let Some(row) = row.map_err(Error::on("request_keys"))? else {
            return Ok(None);
        };
        let input = get(&row, "request_keys", "input_hash")?;
        Ok(Some((input, json(get(&row, "request_keys", "result")?))))
    }

    /// Forgets requests whose day is over, at most `limit`; returns how many. Uses `request_keys_by_expiry`.
    pub async fn delete_expired_requests(&self, now: Timestamp, limit: u32) -> Result<u64, Error> {
        let sql = "DELETE FROM request_keys WHERE (env_id, actor, key_hash) IN \
                   (SELECT env_id, actor, key_hash FROM request_keys WHERE expires_at <= $1 LIMIT $2)";
        let values: [Value; 2] = [ms(now), i64::from(limit).into()];
        let conn = self.writer();
        let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
        let done = conn.execute_raw(statement).await;
        Ok(done.map_err(Error::on("request_keys"))?.rows_affected())
    }
}
