//! Between rows and domain types.

use inngest_core::{
    access::Author,
    app::{App, Function},
    event::{Door, Event},
    ids::{
        AppId, BulkId, EnvId, EventId, FunctionId, OrgId, RunId, StepId, SyncId, WaitId, WorkId,
    },
    job::{JobKind, Work},
    json::Json,
    run::{
        Ended, RerunFrom, Run, RunStatus, SdkResponse, SkipReason, StepKind, StepRecord,
        StepStatus, StepTold,
    },
    sync::SyncFailure,
    time::Timestamp,
    wait::{Wait, WaitKind},
};
use sea_orm::Value;
use ulid::Ulid;
use uuid::Uuid;

use crate::{
    Error, details,
    entity::{app, event, function, run, step, wait, work},
    pauses,
};

pub(crate) fn uuid_of(ulid: Ulid) -> Uuid {
    Uuid::from_u128(ulid.0)
}

pub(crate) fn ulid_of(uuid: Uuid) -> Ulid {
    Ulid(uuid.as_u128())
}

/// A JSON document as a parameter.
pub(crate) fn bytes(json: &Json) -> Value {
    Value::from(json.as_bytes().to_vec())
}

/// An instant as a parameter.
pub(crate) fn ms(time: Timestamp) -> Value {
    Value::from(time.as_millis())
}

pub(crate) fn optional_ms(time: Option<Timestamp>) -> Value {
    Value::from(time.map(Timestamp::as_millis))
}

pub(crate) fn run_uuid(id: RunId) -> Uuid {
    uuid_of(id.raw())
}

pub(crate) fn event_uuid(id: EventId) -> Uuid {
    uuid_of(id.raw())
}

/// The smallest ULID of this time, as it is stored. Times that no ULID can have become the first or the last that one can.
pub(crate) fn first_id(time: Timestamp) -> Uuid {
    const LAST: i64 = (1 << 48) - 1;
    Uuid::from_u128(u128::from(time.as_millis().clamp(0, LAST).unsigned_abs()) << 80)
}

pub(crate) fn bad(table: &'static str, id: Uuid, column: &'static str) -> Error {
    Error::BadRow {
        table,
        id: id.to_string(),
        column,
    }
}

fn count(table: &'static str, id: Uuid, column: &'static str, value: i32) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| bad(table, id, column))
}

pub(crate) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn json(bytes: Vec<u8>) -> Json {
    Json::from_canonical(bytes.into())
}

impl TryFrom<app::Model> for App {
    type Error = Error;

    fn try_from(row: app::Model) -> Result<Self, Error> {
        // A server of before told no code.
        let code = row.error_code.as_deref().unwrap_or("sync_failed");
        let failure = row.error.as_deref();
        Ok(Self {
            failure: failure.map(|message| SyncFailure::new(code, message)),
            last_sync: SyncId::from_raw(row.last_sync_id),
            seen_at: time(row.seen_at.unwrap_or(row.synced_at)),
            platform: row.platform,
            id: AppId::from_raw(row.id),
            name: row.name,
            url: row.url,
            version: row.version,
            sdk_language: row.sdk_language,
            sdk_version: row.sdk_version,
            framework: row.framework,
            checksum: row.checksum,
            created_at: time(row.created_at),
            synced_at: time(row.synced_at),
            archived_at: row.archived_at.map(time),
        })
    }
}

impl TryFrom<function::Model> for Function {
    type Error = Error;

    fn try_from(row: function::Model) -> Result<Self, Error> {
        let pause = pauses::of_row(&row)?;
        Ok(Self {
            version: count("functions", row.id, "version", row.version)?,
            pause,
            id: FunctionId::from_raw(row.id),
            app: AppId::from_raw(row.app_id),
            slug: row.slug,
            name: row.name,
            config: json(row.config),
            created_at: time(row.created_at),
            updated_at: time(row.updated_at),
            archived_at: row.archived_at.map(time),
        })
    }
}

/// The columns of `events`, so that no statement asks for those that a later version adds: what a prepared statement returns may not change.
pub(crate) const EVENT_COLUMNS: &str =
    "id, org_id, env_id, name, key, internal, late, ts, received_at, body, door, sent_by";

pub(crate) fn event_of(row: event::Model) -> Event {
    let author = row.sent_by.as_deref().and_then(Author::from_text);
    Event {
        door: row.door.and_then(|code| Door::from_code(code, author)),
        id: EventId::from_raw(ulid_of(row.id)),
        key: row.key,
        name: row.name,
        ts: time(row.ts),
        received_at: time(row.received_at),
        body: json(row.body),
    }
}

/// The events of a run: the first, and those of a batch that follow it.
pub(crate) fn events_of(first: Uuid, more: Option<&[u8]>) -> Vec<EventId> {
    let rest = more
        .unwrap_or_default()
        .chunks_exact(16)
        .map(|raw| Uuid::from_slice(raw).unwrap_or_default());
    std::iter::once(first)
        .chain(rest)
        .map(|id| EventId::from_raw(ulid_of(id)))
        .collect()
}

pub(crate) fn more_events(events: &[EventId]) -> Option<Vec<u8>> {
    let rest: Vec<u8> = events
        .iter()
        .skip(1)
        .flat_map(|id| id.raw().0.to_be_bytes())
        .collect();
    (!rest.is_empty()).then_some(rest)
}

impl TryFrom<run::Model> for Run {
    type Error = Error;

    fn try_from(row: run::Model) -> Result<Self, Error> {
        let status =
            RunStatus::from_code(row.status).ok_or_else(|| bad("runs", row.id, "status"))?;
        let skip_reason = row.skip_reason.map(|code| {
            SkipReason::from_code(code).ok_or_else(|| bad("runs", row.id, "skip_reason"))
        });
        let output = row.output.map_or_else(Json::null, json);
        Ok(Self {
            function_version: count("runs", row.id, "function_version", row.function_version)?,
            events: events_of(row.event_id, row.more_events.as_deref()),
            revision: u64::try_from(row.revision).map_err(|_| bad("runs", row.id, "revision"))?,
            id: RunId::from_raw(ulid_of(row.id)),
            app: AppId::from_raw(row.app_id),
            function: FunctionId::from_raw(row.function_id),
            status,
            skip_reason: skip_reason.transpose()?,
            event_name: row.event_name,
            cron: row.cron,
            original: row.original_id.map(|id| RunId::from_raw(ulid_of(id))),
            rerun: rerun_of(row.id, row.rerun_step.as_deref(), row.rerun_input)?,
            replay: row.replay_id.map(|id| BulkId::from_raw(ulid_of(id))),
            started_by: row.started_by.as_deref().and_then(Author::from_text),
            idempotency_key: row.idempotency_key,
            correlation: row.correlation,
            queued_at: time(row.queued_at),
            started_at: row.started_at.map(time),
            ended: row.ended_at.map(|at| Ended {
                at: time(at),
                output,
                cancelled_by: row.cancelled_by.as_deref().and_then(Author::from_text),
            }),
        })
    }
}

/// The step at which a run begins that repeats another one.
pub(crate) fn rerun_of(
    run: Uuid,
    step: Option<&str>,
    input: Option<Vec<u8>>,
) -> Result<Option<RerunFrom>, Error> {
    let Some(step) = step else { return Ok(None) };
    let step = StepId::parse(step).map_err(|_| bad("runs", run, "rerun_step"))?;
    let input = input.map(json);
    Ok(Some(RerunFrom { step, input }))
}

impl TryFrom<step::Model> for StepRecord {
    type Error = Error;

    fn try_from(row: step::Model) -> Result<Self, Error> {
        let id = row.run_id;
        let position = row
            .position
            .map(|position| count("steps", id, "position", position))
            .transpose()?;
        let kind = StepKind::from_code(row.kind).ok_or_else(|| bad("steps", id, "kind"))?;
        let (details, told) = match &row.details {
            Some(bytes) => details::from_bytes(kind, bytes),
            None => (None, StepTold::default()),
        };
        let group = row.step_group.and_then(|group| u32::try_from(group).ok());
        Ok(Self {
            run: RunId::from_raw(ulid_of(id)),
            step: StepId::parse(&row.step_id).map_err(|_| bad("steps", id, "step_id"))?,
            name: row.name,
            kind,
            status: StepStatus::from_code(row.status).ok_or_else(|| bad("steps", id, "status"))?,
            memo: row.memo.map(json),
            position,
            failed_attempts: 0,
            details,
            told,
            group,
            ended_by: row.event_id.map(|id| EventId::from_raw(ulid_of(id))),
            response: response_of(row.response),
            queued_at: time(row.queued_at),
            started_at: row.started_at.map(time),
            ended_at: row.ended_at.map(time),
        })
    }
}

/// The answer of an app. One that cannot be read is none: nothing is decided by it.
pub(crate) fn response_of(stored: Option<Vec<u8>>) -> Option<SdkResponse> {
    SdkResponse::from_bytes(&stored?)
}

/// The answer of an app as a parameter.
pub(crate) fn response_value(response: Option<&SdkResponse>) -> Value {
    Value::from(response.map(SdkResponse::to_bytes))
}

fn step_id(table: &'static str, id: Uuid, text: Option<&str>) -> Result<Option<StepId>, Error> {
    text.map(StepId::parse)
        .transpose()
        .map_err(|_| bad(table, id, "step_id"))
}

impl TryFrom<work::Model> for Work {
    type Error = Error;

    fn try_from(row: work::Model) -> Result<Self, Error> {
        Ok(Self {
            step: step_id("work", row.id, row.step_id.as_deref())?,
            kind: JobKind::from_code(row.kind).ok_or_else(|| bad("work", row.id, "kind"))?,
            attempt: count("work", row.id, "attempt", row.attempt)?,
            id: WorkId::from_raw(row.id),
            org: OrgId::from_raw(row.org_id),
            env: EnvId::from_raw(row.env_id),
            function: FunctionId::from_raw(row.function_id),
            run: row.run_id.map(|id| RunId::from_raw(ulid_of(id))),
            due_at: time(row.due_at),
            rank: row.rank,
            epoch: row.epoch,
            payload: row.payload.into(),
        })
    }
}

impl TryFrom<wait::Model> for Wait {
    type Error = Error;

    fn try_from(row: wait::Model) -> Result<Self, Error> {
        Ok(Self {
            step: step_id("waits", row.id, row.step_id.as_deref())?,
            kind: WaitKind::from_code(row.kind).ok_or_else(|| bad("waits", row.id, "kind"))?,
            id: WaitId::from_raw(row.id),
            org: OrgId::from_raw(row.org_id),
            env: EnvId::from_raw(row.env_id),
            run: RunId::from_raw(ulid_of(row.run_id)),
            function: FunctionId::from_raw(row.function_id),
            rank: row.rank,
            event_name: row.event_name,
            key_path: row.key_path,
            key_hash: row.key_hash,
            expression: row.expression,
            bindings: json(row.bindings),
            trigger: EventId::from_raw(ulid_of(row.trigger_id)),
            signal: row.signal,
            replaces: false,
            since: time(row.since),
            expires_at: time(row.expires_at),
        })
    }
}

/// The columns that a list like [`WORK_COLUMNS`] names. Whoever reads `*` fails in the connections that were open when a column was added.
pub(crate) fn names_in(head: &'static str) -> &'static str {
    let names = head.split_once('(').map_or(head, |(_, names)| names);
    names.trim_end_matches(')')
}

pub(crate) const WORK_COLUMNS: &str = "work (id, org_id, env_id, kind, function_id, run_id, step_id, due_at, rank, attempt, epoch, payload)";

pub(crate) fn work_values(work: &Work) -> Vec<Value> {
    vec![
        work.id.raw().into(),
        work.org.raw().into(),
        work.env.raw().into(),
        work.kind.code().into(),
        work.function.raw().into(),
        work.run.map(run_uuid).into(),
        work.step
            .as_ref()
            .map(|step| step.as_str().to_owned())
            .into(),
        ms(work.due_at),
        work.rank.into(),
        i32::try_from(work.attempt).unwrap_or(i32::MAX).into(),
        work.epoch.into(),
        work.payload.to_vec().into(),
    ]
}

pub(crate) const WAIT_COLUMNS: &str = "waits (id, org_id, env_id, kind, run_id, function_id, step_id, rank, event_name, key_path, \
                                       key_hash, expression, bindings, trigger_id, signal, since, expires_at)";

pub(crate) fn wait_values(wait: &Wait) -> Vec<Value> {
    vec![
        wait.id.raw().into(),
        wait.org.raw().into(),
        wait.env.raw().into(),
        wait.kind.code().into(),
        run_uuid(wait.run).into(),
        wait.function.raw().into(),
        wait.step
            .as_ref()
            .map(|step| step.as_str().to_owned())
            .into(),
        wait.rank.into(),
        wait.event_name.clone().into(),
        wait.key_path.clone().into(),
        wait.key_hash.into(),
        wait.expression.clone().into(),
        bytes(&wait.bindings),
        event_uuid(wait.trigger).into(),
        wait.signal.clone().into(),
        ms(wait.since),
        ms(wait.expires_at),
    ]
}
