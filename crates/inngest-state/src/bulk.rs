//! Operations on many runs, and how far they are.

use std::collections::{BTreeMap, HashMap, HashSet};

use inngest_core::{
    access::Author,
    bulk::{BulkKind, BulkOperation, BulkProgress, BulkStatus, Selection},
    ids::{BulkId, EnvId, FunctionId, OrgId, RunId},
    limits,
    run::RunStatus,
    time::Timestamp,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, PaginatorTrait,
    QueryFilter, Statement, Value,
};
use uuid::Uuid;

use crate::{
    Error, Store,
    commit::{Commit, Refused},
    entity::bulk_operation,
    rows::{bad, ms, optional_ms, run_uuid, time, ulid_of, uuid_of},
    sql::{insert_rows, select_in},
    write::get,
};

/// What a commit does to an operation on many runs.
#[derive(Clone, Debug)]
pub enum BulkChange {
    /// It begins.
    Begin(Box<NewBulk>),
    /// It goes on; refused when it has ended.
    Step(BulkStep),
}

/// An operation to store.
#[derive(Clone, Debug)]
pub struct NewBulk {
    /// The tenant.
    pub org: OrgId,
    /// The environment.
    pub env: EnvId,
    /// The operation.
    pub operation: BulkOperation,
}

/// How an operation goes on. Numbers are added to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkStep {
    /// The operation.
    pub id: BulkId,
    /// The tenant.
    pub env: EnvId,
    /// See `BulkProgress`.
    pub succeeded: u64,
    /// See `BulkProgress`.
    pub skipped: u64,
    /// See `BulkProgress`.
    pub failed: u64,
    /// How many runs there are to look at, when they were counted.
    pub total: Option<u64>,
    /// The last run that was looked at; none leaves it.
    pub position: Option<RunId>,
    /// From where it must go on; refused when somebody else has gone on from there.
    pub from: BulkPlace,
    /// How it ends, and when.
    pub ends: Option<(BulkStatus, Timestamp)>,
}

/// Up to where an operation has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkPlace {
    /// Wherever it is: what is done can be done twice.
    Any,
    /// Up to this run; none at the beginning.
    At(Option<RunId>),
}

impl BulkStep {
    /// That nothing has happened but that it is at work.
    pub fn new(env: EnvId, id: BulkId) -> Self {
        Self {
            id,
            env,
            succeeded: 0,
            skipped: 0,
            failed: 0,
            total: None,
            position: None,
            from: BulkPlace::Any,
            ends: None,
        }
    }
}

/// Refuses the commits whose operation has ended or is elsewhere, and locks the operations of the others.
pub(crate) async fn judge_steps(
    tx: &DatabaseTransaction,
    commits: &[Commit],
    verdicts: &mut [Option<Refused>],
) -> Result<(), Error> {
    let ids: HashSet<Uuid> = commits
        .iter()
        .filter_map(step_of)
        .map(|step| uuid_of(step.id.raw()))
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    let after = match tx.get_database_backend() {
        DbBackend::Postgres => "AND ended_at IS NULL ORDER BY id FOR UPDATE",
        _ => "AND ended_at IS NULL",
    };
    let ids = ids.into_iter().map(Value::from).collect();
    let before = "SELECT id, position FROM bulk_operations WHERE id IN";
    let rows = select_in(tx, before, ids, after).await;
    let mut places: HashMap<BulkId, Option<RunId>> = HashMap::new();
    for row in rows.map_err(Error::on("bulk_operations"))? {
        let id: Uuid = get(&row, "bulk_operations", "id")?;
        let position: Option<Uuid> = get(&row, "bulk_operations", "position")?;
        let position = position.map(|run| RunId::from_raw(ulid_of(run)));
        places.insert(BulkId::from_raw(ulid_of(id)), position);
    }
    for (commit, verdict) in commits.iter().zip(verdicts.iter_mut()) {
        let Some(step) = step_of(commit) else {
            continue;
        };
        let goes_on = match (places.get_mut(&step.id), step.from) {
            (None, _) => false,
            (Some(_), BulkPlace::Any) => true,
            (Some(place), BulkPlace::At(from)) => {
                let is_there = *place == from;
                if is_there && verdict.is_none() {
                    // Whoever comes second in this transaction finds it gone on.
                    *place = step.position.or(*place);
                }
                is_there
            }
        };
        if !goes_on && verdict.is_none() {
            *verdict = Some(Refused::FenceLost);
        }
    }
    Ok(())
}

fn step_of(commit: &Commit) -> Option<&BulkStep> {
    match &commit.bulk {
        Some(BulkChange::Step(step)) => Some(step),
        Some(BulkChange::Begin(_)) | None => None,
    }
}

/// Writes what becomes of operations.
pub(crate) async fn store_bulk(
    tx: &DatabaseTransaction,
    good: &[(usize, &Commit)],
) -> Result<(), Error> {
    let mut steps: BTreeMap<BulkId, BulkStep> = BTreeMap::new();
    for (_, commit) in good {
        match &commit.bulk {
            None => {}
            Some(BulkChange::Begin(new)) => begin(tx, new).await?,
            Some(BulkChange::Step(step)) => {
                let sum = steps
                    .entry(step.id)
                    .or_insert(BulkStep::new(step.env, step.id));
                sum.succeeded += step.succeeded;
                sum.skipped += step.skipped;
                sum.failed += step.failed;
                sum.total = step.total.or(sum.total);
                sum.position = step.position.max(sum.position);
                sum.ends = step.ends.or(sum.ends);
            }
        }
    }
    for step in steps.into_values() {
        let status = step.ends.map_or(BulkStatus::Running, |(status, _)| status);
        let sql = "UPDATE bulk_operations SET status = $1, succeeded = succeeded + $2, skipped = skipped + $3, failed = failed + $4, \
                   total = COALESCE($5, total), position = COALESCE($6, position), ended_at = $7 WHERE id = $8 AND env_id = $9";
        let values = vec![
            status.code().into(),
            number(step.succeeded),
            number(step.skipped),
            number(step.failed),
            step.total
                .map(|total| i64::try_from(total).unwrap_or(i64::MAX))
                .into(),
            step.position.map(run_uuid).into(),
            optional_ms(step.ends.map(|(_, at)| at)),
            uuid_of(step.id.raw()).into(),
            step.env.raw().into(),
        ];
        execute(tx, sql, values).await?;
    }
    Ok(())
}

/// Stores a new operation, and lets go of ended ones that are too many.
pub(crate) async fn begin(tx: &DatabaseTransaction, new: &NewBulk) -> Result<(), Error> {
    let operation = &new.operation;
    let (id, selection) = (uuid_of(operation.id.raw()), &operation.selection);
    let functions: Vec<u8> = selection
        .functions
        .iter()
        .flat_map(|function| *function.raw().as_bytes())
        .collect();
    let statuses: Vec<u8> = selection
        .statuses
        .iter()
        .filter_map(|status| u8::try_from(status.code()).ok())
        .collect();
    let row = vec![
        id.into(),
        new.org.raw().into(),
        new.env.raw().into(),
        operation.kind.code().into(),
        operation.name.clone().into(),
        operation.by.to_text().into(),
        ms(operation.created_at),
        functions.into(),
        ms(selection.from),
        ms(selection.until),
        statuses.into(),
        selection.search.clone().into(),
        operation.status.code().into(),
        number(0),
        number(0),
        number(0),
        operation
            .rate
            .map(|rate| i32::try_from(rate).unwrap_or(i32::MAX))
            .into(),
    ];
    let head = "bulk_operations (id, org_id, env_id, kind, name, created_by, created_at, functions, queued_from, queued_until, statuses, \
                search, status, succeeded, skipped, failed, rate_per_second)";
    insert_rows(tx, head, "", vec![row])
        .await
        .map_err(Error::on("bulk_operations"))?;
    let mut functions: Vec<Uuid> = selection.functions.iter().map(|it| it.raw()).collect();
    functions.sort_unstable();
    functions.dedup();
    let rows = functions
        .into_iter()
        .map(|function| vec![function.into(), id.into()])
        .collect();
    insert_rows(tx, "bulk_functions (function_id, operation_id)", "", rows)
        .await
        .map_err(Error::on("bulk_functions"))?;
    let old = "SELECT id FROM bulk_operations WHERE env_id = $1 AND ended_at IS NOT NULL AND id NOT IN \
               (SELECT id FROM bulk_operations WHERE env_id = $1 AND ended_at IS NOT NULL ORDER BY id DESC LIMIT $2)";
    let values = || vec![new.env.raw().into(), number(limits::BULK_KEPT)];
    let functions = format!("DELETE FROM bulk_functions WHERE operation_id IN ({old})");
    execute(tx, &functions, values()).await?;
    let operations = format!("DELETE FROM bulk_operations WHERE id IN ({old})");
    execute(tx, &operations, values()).await
}

fn number(count: u64) -> Value {
    i64::try_from(count).unwrap_or(i64::MAX).into()
}

async fn execute(conn: &impl ConnectionTrait, sql: &str, values: Vec<Value>) -> Result<(), Error> {
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    let done = conn.execute_raw(statement).await;
    done.map(drop).map_err(Error::on("bulk_operations"))
}

impl Store {
    /// An operation.
    pub async fn find_bulk(
        &self,
        env: EnvId,
        kind: BulkKind,
        id: BulkId,
    ) -> Result<Option<BulkOperation>, Error> {
        bulk_operation::Entity::find_by_id(uuid_of(id.raw()))
            .filter(bulk_operation::Column::EnvId.eq(env.raw()))
            .filter(bulk_operation::Column::Kind.eq(kind.code()))
            .one(self.reader())
            .await
            .map_err(Error::on("bulk_operations"))?
            .map(BulkOperation::try_from)
            .transpose()
    }

    /// Operations by id, in any order; unknown and foreign ids are left out.
    pub async fn find_bulks(
        &self,
        env: EnvId,
        kind: BulkKind,
        ids: &[BulkId],
    ) -> Result<Vec<BulkOperation>, Error> {
        let ids = ids.iter().map(|id| uuid_of(id.raw()));
        let rows = bulk_operation::Entity::find()
            .filter(bulk_operation::Column::Id.is_in(ids))
            .filter(bulk_operation::Column::EnvId.eq(env.raw()))
            .filter(bulk_operation::Column::Kind.eq(kind.code()))
            .all(self.reader())
            .await
            .map_err(Error::on("bulk_operations"))?;
        rows.into_iter().map(BulkOperation::try_from).collect()
    }

    /// The operation whose work is carried out, of whatever kind.
    pub async fn find_any_bulk(
        &self,
        env: EnvId,
        id: BulkId,
    ) -> Result<Option<BulkOperation>, Error> {
        bulk_operation::Entity::find_by_id(uuid_of(id.raw()))
            .filter(bulk_operation::Column::EnvId.eq(env.raw()))
            .one(self.reader())
            .await
            .map_err(Error::on("bulk_operations"))?
            .map(BulkOperation::try_from)
            .transpose()
    }

    /// How many operations of an environment have not ended.
    pub async fn count_unended_bulk(&self, env: EnvId) -> Result<u64, Error> {
        bulk_operation::Entity::find()
            .filter(bulk_operation::Column::EnvId.eq(env.raw()))
            .filter(bulk_operation::Column::EndedAt.is_null())
            .count(self.reader())
            .await
            .map_err(Error::on("bulk_operations"))
    }

    /// Ends an operation that has not ended. What it has not done yet is not done any more.
    pub async fn stop_bulk(
        &self,
        env: EnvId,
        kind: BulkKind,
        id: BulkId,
        now: Timestamp,
    ) -> Result<(), Error> {
        let sql = "UPDATE bulk_operations SET status = $1, ended_at = $2 WHERE id = $3 AND env_id = $4 AND kind = $5 AND ended_at IS NULL";
        let values = vec![
            BulkStatus::Stopped.code().into(),
            ms(now),
            uuid_of(id.raw()).into(),
            env.raw().into(),
            kind.code().into(),
        ];
        execute(self.writer(), sql, values).await
    }
}

impl TryFrom<bulk_operation::Model> for BulkOperation {
    type Error = Error;

    fn try_from(row: bulk_operation::Model) -> Result<Self, Error> {
        let unreadable = |column| bad("bulk_operations", row.id, column);
        let kind = BulkKind::from_code(row.kind).ok_or_else(|| unreadable("kind"))?;
        let status = BulkStatus::from_code(row.status).ok_or_else(|| unreadable("status"))?;
        let by = Author::from_text(&row.created_by).ok_or_else(|| unreadable("created_by"))?;
        let functions = row.functions.chunks_exact(16).map(|raw| {
            let id = Uuid::from_slice(raw).unwrap_or_default();
            FunctionId::from_raw(id)
        });
        let statuses: Option<Vec<RunStatus>> = row
            .statuses
            .iter()
            .map(|code| RunStatus::from_code(i16::from(*code)))
            .collect();
        Ok(Self {
            id: BulkId::from_raw(ulid_of(row.id)),
            kind,
            name: row.name.clone(),
            by,
            created_at: time(row.created_at),
            selection: Selection {
                functions: functions.collect(),
                from: time(row.queued_from),
                until: time(row.queued_until),
                statuses: statuses.ok_or_else(|| unreadable("statuses"))?,
                search: row.search.clone(),
            },
            rate: row.rate_per_second.map(i32::unsigned_abs),
            status,
            progress: BulkProgress {
                total: row.total.map(i64::unsigned_abs),
                succeeded: row.succeeded.unsigned_abs(),
                skipped: row.skipped.unsigned_abs(),
                failed: row.failed.unsigned_abs(),
            },
            position: row.position.map(|id| RunId::from_raw(ulid_of(id))),
            ended_at: row.ended_at.map(time),
        })
    }
}
