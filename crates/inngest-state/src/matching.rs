//! Which waits new events satisfy, and which stored events satisfy new waits.
//!
//! Both happen in the transaction that stores the events or the waits. Where there is one writer, of an event and a wait that arrive
//! together the later one always sees the other. Where there are several, two transactions that are under way at the same time see nothing
//! of each other: a wait that was just stored looks back once more when every transaction has ended that could have missed it
//! (`Committed::fresh_waits`, [`look_again`]). One that was begun after the wait was stored sees the wait.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use inngest_core::{
    event::Event,
    expr::key_hash_at,
    ids::{EventId, WaitId, WorkId},
    job::{Arrival, JobKind, Work},
    limits,
    time::Timestamp,
    wait::{Wait, WaitKind},
};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, FromQueryResult, Statement, Value,
};
use serde_json::Value as JsonValue;
use tracing::warn;
use uuid::Uuid;

use crate::{
    Error,
    commit::{Commit, NewEvent},
    entity::{event, wait},
    rows::{EVENT_COLUMNS, WAIT_COLUMNS, event_of, first_id, names_in},
    sql::{select_in, select_tuples},
    write::get,
};

/// Judges whether an event satisfies a wait. The judgement is `core::wait::is_satisfied`; whoever opens the store adds a cache of
/// compiled expressions.
pub type Matcher = Arc<dyn Fn(&Wait, &Event, &JsonValue) -> bool + Send + Sync>;

/// Finds the waits that these events satisfy, uses them up, and returns the work that follows, each with the number of its commit. The first
/// `new` events are stored by this transaction: a wait that is there was stored before them, whatever the clocks of two processes say.
pub(crate) async fn match_events(
    tx: &DatabaseTransaction,
    matcher: &Matcher,
    fresh: &[(usize, &NewEvent)],
    new: usize,
) -> Result<Vec<(usize, Work)>, Error> {
    if fresh.is_empty() {
        return Ok(Vec::new());
    }
    let paths = paths_in_use(tx, fresh).await?;
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let mut bodies: HashMap<EventId, JsonValue> = HashMap::new();
    // Each key with the events that have it, in the order in which they were accepted.
    let mut keys: Vec<(Uuid, &str, &str, i64)> = Vec::new();
    let mut askers: HashMap<(Uuid, &str, &str, i64), Vec<usize>> = HashMap::new();
    for (position, (_, new)) in fresh.iter().enumerate() {
        let Some(paths) = paths.get(&(new.env.raw(), new.event.name.as_str())) else {
            continue;
        };
        let body = bodies
            .entry(new.event.id)
            .or_insert_with(|| new.event.body.to_value());
        for path in paths {
            let hash = if path.is_empty() {
                Some(0)
            } else {
                key_hash_at(body, path)
            };
            let Some(hash) = hash else { continue };
            let key = (new.env.raw(), new.event.name.as_str(), path.as_str(), hash);
            let events = askers.entry(key).or_default();
            if events.is_empty() {
                keys.push(key);
            }
            events.push(position);
        }
    }
    let mut used: HashSet<WaitId> = HashSet::new();
    let mut resumed = Vec::new();
    let waits = find_waits(tx, &keys).await?;
    for wait in &waits {
        let Some(name) = wait.event_name.as_deref() else {
            continue;
        };
        let key = (wait.env.raw(), name, wait.key_path.as_str(), wait.key_hash);
        let Some(positions) = askers.get(&key) else {
            continue;
        };
        let satisfied = positions.iter().find(|position| {
            let event = &fresh[**position].1.event;
            let Some(body) = bodies.get(&event.id) else {
                return false;
            };
            if **position < new && event.received_at < wait.since {
                let since = event.received_at;
                matcher(
                    &Wait {
                        since,
                        ..wait.clone()
                    },
                    event,
                    body,
                )
            } else {
                matcher(wait, event, body)
            }
        });
        if let Some(position) = satisfied
            && used.insert(wait.id)
        {
            let (commit, new) = fresh[*position];
            resumed.push((wait.id, commit, resume(wait, &new.event)));
        }
    }
    use_up(tx, resumed).await
}

/// Deletes the waits and returns the work of those that were still there: another transaction may have used one up meanwhile, or may
/// have ended its run.
async fn use_up(
    tx: &DatabaseTransaction,
    mut resumed: Vec<(WaitId, usize, Work)>,
) -> Result<Vec<(usize, Work)>, Error> {
    let ids = resumed
        .iter()
        .map(|(wait, _, _)| wait.raw().into())
        .collect();
    let (before, after) = match tx.get_database_backend() {
        // In order, in which every transaction locks.
        DbBackend::Postgres => (
            "DELETE FROM waits WHERE id IN (SELECT id FROM waits WHERE id IN",
            "ORDER BY id FOR UPDATE) RETURNING id",
        ),
        _ => ("DELETE FROM waits WHERE id IN", "RETURNING id"),
    };
    let mut ours: HashSet<WaitId> = HashSet::new();
    for row in select_in(tx, before, ids, after)
        .await
        .map_err(Error::on("waits"))?
    {
        ours.insert(WaitId::from_raw(get(&row, "waits", "id")?));
    }
    resumed.retain(|(wait, _, _)| ours.contains(wait));
    Ok(resumed
        .into_iter()
        .map(|(_, commit, work)| (commit, work))
        .collect())
}

/// By which paths the waits for these events' names are found.
async fn paths_in_use<'a>(
    tx: &DatabaseTransaction,
    fresh: &[(usize, &'a NewEvent)],
) -> Result<HashMap<(Uuid, &'a str), Vec<String>>, Error> {
    let mut names: HashMap<Uuid, HashSet<&'a str>> = HashMap::new();
    for (_, new) in fresh {
        let of_env = names.entry(new.env.raw()).or_default();
        of_env.insert(new.event.name.as_str());
    }
    let mut paths: HashMap<(Uuid, &str), Vec<String>> = HashMap::new();
    let tuples: Vec<Vec<Value>> = names
        .iter()
        .flat_map(|(env, names)| names.iter().map(|name| (*env, *name)))
        .map(|(env, name)| vec![env.into(), name.to_owned().into()])
        .collect();
    let before =
        "SELECT env_id, event_name, key_path FROM wait_paths WHERE (env_id, event_name) IN";
    let rows = select_tuples(tx, before, &tuples, "")
        .await
        .map_err(Error::on("wait_paths"))?;
    for row in rows {
        let env: Uuid = row.try_get("", "env_id").map_err(Error::on("wait_paths"))?;
        let name: String = row
            .try_get("", "event_name")
            .map_err(Error::on("wait_paths"))?;
        let path: String = row
            .try_get("", "key_path")
            .map_err(Error::on("wait_paths"))?;
        // The text that lives as long as the events do.
        if let Some(known) = names.get(&env).and_then(|names| names.get(name.as_str())) {
            paths.entry((env, *known)).or_default().push(path);
        }
    }
    Ok(paths)
}

async fn find_waits(
    tx: &DatabaseTransaction,
    keys: &[(Uuid, &str, &str, i64)],
) -> Result<Vec<Wait>, Error> {
    let tuples: Vec<Vec<Value>> = keys
        .iter()
        .map(|(env, name, path, hash)| {
            vec![
                (*env).into(),
                (*name).to_owned().into(),
                (*path).to_owned().into(),
                (*hash).into(),
            ]
        })
        .collect();
    let before = format!(
        "SELECT {} FROM waits WHERE (env_id, event_name, key_path, key_hash) IN",
        names_in(WAIT_COLUMNS)
    );
    let rows = select_tuples(tx, &before, &tuples, "ORDER BY run_id, id")
        .await
        .map_err(Error::on("waits"))?;
    rows.iter()
        .map(|row| {
            wait::Model::from_query_result(row, "")
                .map_err(Error::on("waits"))
                .and_then(Wait::try_from)
        })
        .collect()
}

/// How far the time in an event's id may be from the time of its acceptance before the event counts as late.
pub(crate) const LATE: Duration = Duration::from_secs(60);

/// Whether the id of an event does not tell when it was accepted.
pub(crate) fn is_late(event: &Event) -> bool {
    let told = event.id.accepted_at();
    event.received_at.since(told) >= LATE
}

/// Finds stored events that satisfy new waits: those accepted since the call was sent that reported the wait. Uses such waits up.
pub(crate) async fn look_back(
    tx: &DatabaseTransaction,
    matcher: &Matcher,
    waits: &[(usize, &Wait)],
) -> Result<Vec<(usize, Work)>, Error> {
    let mut by_name: HashMap<(Uuid, &str), Vec<(usize, &Wait)>> = HashMap::new();
    for (commit, wait) in waits {
        if let Some(name) = wait.event_name.as_deref() {
            by_name
                .entry((wait.env.raw(), name))
                .or_default()
                .push((*commit, wait));
        }
    }
    let mut resumed = Vec::new();
    for ((env, name), waits) in by_name {
        let since = waits
            .iter()
            .map(|(_, wait)| wait.since)
            .min()
            .unwrap_or(Timestamp::MAX);
        // Ids begin with the time of acceptance; events for which that does not hold have an index of their own.
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM (SELECT * FROM events WHERE env_id = $1 AND name = $2 AND id >= $3 AND NOT late \
             UNION ALL SELECT * FROM events WHERE env_id = $1 AND name = $2 AND received_at >= $4 AND late) AS found \
             WHERE received_at >= $4 ORDER BY received_at, id LIMIT $5"
        );
        let floor = first_id(since.minus(LATE));
        let values = [
            env.into(),
            name.to_owned().into(),
            floor.into(),
            since.as_millis().into(),
            limits::LOOK_BACK_EVENTS.cast_signed().into(),
        ];
        let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
        let rows = event::Entity::find()
            .from_raw_sql(statement)
            .all(tx)
            .await
            .map_err(Error::on("events"))?;
        if rows.len() as u64 == limits::LOOK_BACK_EVENTS {
            warn!(
                event.name = name,
                limit = limits::LOOK_BACK_EVENTS,
                "a wait looked back over the limit; later events were not looked at"
            );
        }
        let events: Vec<(Event, JsonValue)> = rows
            .into_iter()
            .map(event_of)
            .map(|event| {
                let body = event.body.to_value();
                (event, body)
            })
            .collect();
        for (commit, wait) in waits {
            if let Some((event, _)) = events
                .iter()
                .find(|(event, body)| matcher(wait, event, body))
            {
                resumed.push((wait.id, commit, resume(wait, event)));
            }
        }
    }
    use_up(tx, resumed).await
}

/// Looks back for waits that earlier commits have stored, if they are still there.
pub(crate) async fn look_again(
    tx: &DatabaseTransaction,
    matcher: &Matcher,
    good: &[(usize, &Commit)],
) -> Result<Vec<(usize, Work)>, Error> {
    let waits: Vec<(usize, &Wait)> = good
        .iter()
        .flat_map(|(index, commit)| commit.look_again.iter().map(|wait| (*index, wait)))
        .collect();
    let ids: Vec<Value> = waits.iter().map(|(_, wait)| wait.id.raw().into()).collect();
    let rows = select_in(tx, "SELECT id FROM waits WHERE id IN", ids, "")
        .await
        .map_err(Error::on("waits"))?;
    let mut left: HashSet<WaitId> = HashSet::new();
    for row in rows {
        left.insert(WaitId::from_raw(get(&row, "waits", "id")?));
    }
    let waits: Vec<(usize, &Wait)> = waits
        .into_iter()
        .filter(|(_, wait)| left.contains(&wait.id))
        .collect();
    look_back(tx, matcher, &waits).await
}

/// The work that follows when `event` satisfies `wait`.
fn resume(wait: &Wait, event: &Event) -> Work {
    let (kind, label) = match (&wait.kind, &wait.step) {
        (WaitKind::Cancel, _) | (_, None) => (JobKind::Cancel, "cancel".to_owned()),
        (WaitKind::Event | WaitKind::Invoke | WaitKind::Signal, Some(step)) => {
            (JobKind::Resume, format!("resume:{step}"))
        }
    };
    Work {
        id: WorkId::derive(wait.run, &label),
        org: wait.org,
        env: wait.env,
        kind,
        function: wait.function,
        run: Some(wait.run),
        step: wait.step.clone(),
        due_at: event.received_at,
        rank: wait.rank,
        attempt: 0,
        epoch: 1,
        payload: Arrival::Event(event.id).to_payload(),
    }
}
