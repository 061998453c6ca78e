//! Attempts to register apps, and how apps are found to be.

use inngest_core::{
    app::App,
    ids::{AppId, EnvId, FunctionId, OrgId, SyncId},
    sync::{About, KEPT, Sync, SyncFailure, SyncKind, SyncStatus},
    time::Timestamp,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement,
    TransactionTrait, Value,
};
use uuid::Uuid;

use crate::{
    Error, Store,
    change_log::Changes,
    entity::{app, sync},
    rollup::Figures,
    rows::{bad, ms, time},
    sql::insert_rows,
};

impl Store {
    /// Notes an attempt of an app that changed nothing but how the app is: that it failed, or that it is there again. `false` when its last
    /// sync is no longer `app.last_sync`: look again.
    pub async fn record_sync(
        &self,
        org: OrgId,
        env: EnvId,
        app: &App,
        record: &Sync,
    ) -> Result<bool, Error> {
        let tx = self.writer().begin().await.map_err(Error::on("(begin)"))?;
        let failure = record.failure.as_ref();
        let seen_at = match record.status {
            SyncStatus::Failed => app.seen_at,
            SyncStatus::Succeeded | SyncStatus::Unchanged => record.created_at,
        };
        let sql = "UPDATE apps SET error = $1, error_code = $2, last_sync_id = $3, seen_at = $4 \
                   WHERE id = $5 AND env_id = $6 AND last_sync_id = $7";
        let values: [Value; 7] = [
            failure.map(|failure| failure.message.clone()).into(),
            failure.map(|failure| failure.code.clone()).into(),
            record.id.raw().into(),
            ms(seen_at),
            app.id.raw().into(),
            env.raw().into(),
            app.last_sync.raw().into(),
        ];
        if execute(&tx, "apps", sql, values).await? == 0 {
            tx.rollback().await.map_err(Error::on("(rollback)"))?;
            return Ok(false);
        }
        save_record(&tx, org, env, record, 0).await?;
        let mut changes = Changes::default();
        changes.note_app(env, app.id, false);
        changes.store(&tx, &Figures::default()).await?;
        tx.commit().await.map_err(Error::on("(commit)"))?;
        Ok(true)
    }

    /// Notes an attempt that failed before an app was known.
    pub async fn record_sync_without_app(
        &self,
        org: OrgId,
        env: EnvId,
        record: &Sync,
    ) -> Result<(), Error> {
        let tx = self.writer().begin().await.map_err(Error::on("(begin)"))?;
        save_record(&tx, org, env, record, 0).await?;
        tx.commit().await.map_err(Error::on("(commit)"))
    }

    /// Notes that an attempt failed again, with this message now.
    pub async fn repeat_sync(
        &self,
        env: EnvId,
        id: SyncId,
        message: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let tx = self.writer().begin().await.map_err(Error::on("(begin)"))?;
        // In the order in which syncs lock them.
        let sql = "UPDATE apps SET error = $1 WHERE env_id = $2 AND last_sync_id = $3 AND error IS NOT NULL \
                   AND id = (SELECT app_id FROM syncs WHERE id = $3)";
        let values: [Value; 3] = [message.into(), env.raw().into(), id.raw().into()];
        execute(&tx, "apps", sql, values).await?;
        let sql = "UPDATE syncs SET last_at = $1, error = $2 WHERE id = $3 AND env_id = $4";
        let values: [Value; 4] = [ms(now), message.into(), id.raw().into(), env.raw().into()];
        execute(&tx, "syncs", sql, values).await?;
        tx.commit().await.map_err(Error::on("(commit)"))
    }

    /// Notes when an app registered last, without anything new.
    pub async fn note_seen(&self, env: EnvId, app: AppId, now: Timestamp) -> Result<(), Error> {
        let sql = "UPDATE apps SET seen_at = $1 WHERE id = $2 AND env_id = $3";
        let values: [Value; 3] = [ms(now), app.raw().into(), env.raw().into()];
        execute(self.writer(), "apps", sql, values).await.map(drop)
    }

    /// Syncs by id, in any order; unknown and foreign ids are left out.
    pub async fn find_syncs(&self, env: EnvId, ids: &[SyncId]) -> Result<Vec<Sync>, Error> {
        let rows = sync::Entity::find()
            .filter(sync::Column::EnvId.eq(env.raw()))
            .filter(sync::Column::Id.is_in(ids.iter().map(|id| id.raw())))
            .all(self.reader())
            .await
            .map_err(Error::on("syncs"))?;
        rows.into_iter().map(Sync::try_from).collect()
    }

    /// The last sync at this URL that failed before an app was known; without a URL, the last one that had none.
    pub async fn last_sync_without_app(
        &self,
        env: EnvId,
        url: Option<&str>,
    ) -> Result<Option<Sync>, Error> {
        let query = sync::Entity::find()
            .filter(sync::Column::EnvId.eq(env.raw()))
            .filter(sync::Column::AppId.is_null());
        let query = match url {
            Some(url) => query.filter(sync::Column::Url.eq(url)),
            None => query.filter(sync::Column::Url.is_null()),
        };
        let row = query
            .order_by_desc(sync::Column::CreatedAt)
            .order_by_desc(sync::Column::Id)
            .one(self.reader())
            .await
            .map_err(Error::on("syncs"))?;
        row.map(Sync::try_from).transpose()
    }

    /// When an app of the environment was last in sync; none when there never was one.
    pub async fn last_synced_at(&self, env: EnvId) -> Result<Option<Timestamp>, Error> {
        let rows: Vec<(Option<i64>, i64)> = app::Entity::find()
            .select_only()
            .column(app::Column::SeenAt)
            .column(app::Column::SyncedAt)
            .filter(app::Column::EnvId.eq(env.raw()))
            .into_tuple()
            .all(self.reader())
            .await
            .map_err(Error::on("apps"))?;
        let times = rows
            .into_iter()
            .map(|(seen, synced)| seen.unwrap_or(synced));
        Ok(times.max().map(time))
    }
}

async fn execute(
    conn: &impl ConnectionTrait,
    table: &'static str,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, Error> {
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    let done = conn.execute_raw(statement).await;
    Ok(done.map_err(Error::on(table))?.rows_affected())
}

/// Inserts a sync, and deletes the oldest beside it beyond the number that is kept.
pub(crate) async fn save_record(
    tx: &impl ConnectionTrait,
    org: OrgId,
    env: EnvId,
    record: &Sync,
    function_count: usize,
) -> Result<(), Error> {
    let (about, failure) = (&record.about, record.failure.as_ref());
    let row = vec![
        record.id.raw().into(),
        org.raw().into(),
        env.raw().into(),
        record.app.map(AppId::raw).into(),
        about.url.clone().into(),
        sdk(about).into(),
        i32::try_from(function_count).unwrap_or(i32::MAX).into(),
        ms(record.created_at),
        record.status.code().into(),
        record.kind.code().into(),
        failure.map(|failure| failure.code.clone()).into(),
        failure.map(|failure| failure.message.clone()).into(),
        about.framework.clone().into(),
        about.platform.clone().into(),
        about.app_version.clone().into(),
        ids_value(&record.added),
        ids_value(&record.changed),
        ids_value(&record.removed),
        ms(record.last_at),
    ];
    let head = "syncs (id, org_id, env_id, app_id, url, sdk, function_count, created_at, status, kind, error_code, error, framework, \
                platform, app_version, added, changed, removed, last_at)";
    insert_rows(tx, head, "", vec![row])
        .await
        .map_err(Error::on("syncs"))?;
    let (which, whose): (&str, Uuid) = match record.app {
        Some(app) => ("app_id = $1", app.raw()),
        None => ("env_id = $1 AND app_id IS NULL", env.raw()),
    };
    let sql = format!(
        "DELETE FROM syncs WHERE {which} AND (created_at, id) < \
         (SELECT created_at, id FROM syncs WHERE {which} ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET {})",
        KEPT - 1
    );
    execute(tx, "syncs", &sql, [whose.into()]).await.map(drop)
}

/// Language and version in one text, empty where neither is known.
fn sdk(about: &About) -> String {
    match (&about.sdk_language, &about.sdk_version) {
        (None, None) => String::new(),
        (language, version) => format!(
            "{}:{}",
            language.as_deref().unwrap_or_default(),
            version.as_deref().unwrap_or_default()
        ),
    }
}

fn ids_value(ids: &[FunctionId]) -> Value {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.raw().into_bytes()).collect();
    Value::from((!bytes.is_empty()).then_some(bytes))
}

fn ids_of(bytes: Option<&[u8]>) -> Vec<FunctionId> {
    let chunks = bytes.unwrap_or_default().chunks_exact(16);
    let ids = chunks.filter_map(|raw| Uuid::from_slice(raw).ok());
    ids.map(FunctionId::from_raw).collect()
}

impl TryFrom<sync::Model> for Sync {
    type Error = Error;

    fn try_from(row: sync::Model) -> Result<Self, Error> {
        let (language, version) = row.sdk.split_once(':').unwrap_or((&row.sdk, ""));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let status =
            SyncStatus::from_code(row.status).ok_or_else(|| bad("syncs", row.id, "status"))?;
        let code = row.error_code.as_deref().unwrap_or("sync_failed");
        let message = row.error.as_deref().unwrap_or_default();
        Ok(Self {
            id: SyncId::from_raw(row.id),
            app: row.app_id.map(AppId::from_raw),
            status,
            kind: SyncKind::from_code(row.kind).ok_or_else(|| bad("syncs", row.id, "kind"))?,
            failure: (status == SyncStatus::Failed).then(|| SyncFailure::new(code, message)),
            added: ids_of(row.added.as_deref()),
            changed: ids_of(row.changed.as_deref()),
            removed: ids_of(row.removed.as_deref()),
            created_at: time(row.created_at),
            last_at: time(row.last_at.unwrap_or(row.created_at)),
            about: About {
                app_name: None,
                url: row.url,
                app_version: row.app_version,
                sdk_language: some(language),
                sdk_version: some(version),
                framework: row.framework,
                platform: row.platform,
            },
        })
    }
}
