//! Environments, apps, functions and their syncs.

use inngest_core::{
    app::{App, Function},
    ids::{AppId, EnvId, FunctionId, OrgId},
    job::Work,
    json::Json,
    limits,
    sync::Sync,
    time::Timestamp,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement,
    TransactionTrait, Value,
};

use crate::{
    Error, Store,
    change_log::Changes,
    entity::{app, environment, function},
    rollup::Figures,
    rows::{WORK_COLUMNS, bytes, json, ms, optional_ms, work_values},
    sql::{execute_in, insert_rows},
    syncs::save_record,
    write::get,
};

/// What one sync changes. All of it is written, or nothing.
#[derive(Clone, Debug)]
pub struct AppSync {
    /// The tenant.
    pub org: OrgId,
    /// The environment.
    pub env: EnvId,
    /// The version of the environment's functions that this was computed from.
    pub expected_version: i64,
    /// What is kept of this sync; none when an app is removed or brought back.
    pub record: Option<Sync>,
    /// The app as it is now. Versions of functions say that its last sync made them.
    pub app: App,
    /// New, changed and returned functions.
    pub functions: Vec<FunctionChange>,
    /// Functions that are no more.
    pub archives: Vec<FunctionId>,
    /// Number of functions that the app has.
    pub function_count: usize,
    /// First ticks of cron schedules.
    pub work: Vec<Work>,
    /// When.
    pub now: Timestamp,
}

/// A function as a sync gives it.
#[derive(Clone, Debug)]
pub struct FunctionChange {
    /// The function.
    pub id: FunctionId,
    /// Its composite id.
    pub slug: String,
    /// Its display name.
    pub name: String,
    /// Its new version.
    pub version: u32,
    /// Its configuration as sent.
    pub config: Json,
}

impl Store {
    /// Makes sure that an organization and its environment exist. A second call changes nothing.
    pub async fn ensure_environment(
        &self,
        org: OrgId,
        env: EnvId,
        slug: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let tx = self.writer().begin().await.map_err(Error::on("(begin)"))?;
        let rows = vec![vec![org.raw().into(), slug.to_owned().into(), ms(now)]];
        insert_rows(
            &tx,
            "organizations (id, name, created_at)",
            "ON CONFLICT DO NOTHING",
            rows,
        )
        .await
        .map_err(Error::on("organizations"))?;
        let rows = vec![vec![
            env.raw().into(),
            org.raw().into(),
            slug.to_owned().into(),
            ms(now),
        ]];
        insert_rows(
            &tx,
            "environments (id, org_id, slug, created_at)",
            "ON CONFLICT DO NOTHING",
            rows,
        )
        .await
        .map_err(Error::on("environments"))?;
        tx.commit().await.map_err(Error::on("(commit)"))
    }

    /// All environments with their organizations.
    pub async fn list_environments(&self) -> Result<Vec<(OrgId, EnvId)>, Error> {
        let rows = environment::Entity::find()
            .order_by_asc(environment::Column::Id)
            .all(self.reader())
            .await
            .map_err(Error::on("environments"))?;
        Ok(rows
            .into_iter()
            .map(|row| (OrgId::from_raw(row.org_id), EnvId::from_raw(row.id)))
            .collect())
    }

    /// The version of an environment's functions, and all that are not archived. Bounded by the limits on apps and functions.
    pub async fn load_functions(&self, env: EnvId) -> Result<(i64, Vec<Function>), Error> {
        let version = self.functions_version(env).await?;
        let rows = function::Entity::find()
            .filter(function::Column::EnvId.eq(env.raw()))
            .filter(function::Column::ArchivedAt.is_null())
            .order_by_asc(function::Column::Slug)
            .all(self.reader())
            .await
            .map_err(Error::on("functions"))?;
        Ok((
            version,
            rows.into_iter()
                .map(Function::try_from)
                .collect::<Result<_, _>>()?,
        ))
    }

    /// The version of an environment's functions; rises with every sync.
    pub async fn functions_version(&self, env: EnvId) -> Result<i64, Error> {
        let row = environment::Entity::find_by_id(env.raw())
            .one(self.reader())
            .await
            .map_err(Error::on("environments"))?;
        Ok(row.map_or(0, |row| row.functions_version))
    }

    /// Functions of one app, archived ones included.
    pub async fn functions_of_app(&self, env: EnvId, app: AppId) -> Result<Vec<Function>, Error> {
        let rows = function::Entity::find()
            .filter(function::Column::EnvId.eq(env.raw()))
            .filter(function::Column::AppId.eq(app.raw()))
            .order_by_asc(function::Column::Slug)
            .all(self.reader())
            .await
            .map_err(Error::on("functions"))?;
        rows.into_iter().map(Function::try_from).collect()
    }

    /// Functions of an environment in order of slug; archived ones only if asked for.
    pub async fn list_functions(
        &self,
        env: EnvId,
        app: Option<AppId>,
        with_archived: bool,
    ) -> Result<Vec<Function>, Error> {
        let mut query = function::Entity::find().filter(function::Column::EnvId.eq(env.raw()));
        if let Some(app) = app {
            query = query.filter(function::Column::AppId.eq(app.raw()));
        }
        if !with_archived {
            query = query.filter(function::Column::ArchivedAt.is_null());
        }
        let rows = query
            .order_by_asc(function::Column::Slug)
            .all(self.reader())
            .await
            .map_err(Error::on("functions"))?;
        rows.into_iter().map(Function::try_from).collect()
    }

    /// Functions by id, in any order; unknown and foreign ids are left out.
    pub async fn find_functions(
        &self,
        env: EnvId,
        ids: &[FunctionId],
    ) -> Result<Vec<Function>, Error> {
        let rows = function::Entity::find()
            .filter(function::Column::EnvId.eq(env.raw()))
            .filter(function::Column::Id.is_in(ids.iter().map(|id| id.raw())))
            .all(self.reader())
            .await
            .map_err(Error::on("functions"))?;
        rows.into_iter().map(Function::try_from).collect()
    }

    /// The configuration that a version of a function was registered with.
    pub async fn find_function_config(
        &self,
        env: EnvId,
        id: FunctionId,
        version: u32,
    ) -> Result<Option<Json>, Error> {
        let sql = "SELECT config FROM function_versions WHERE function_id = $1 AND version = $2 AND env_id = $3";
        let values: [Value; 3] = [
            id.raw().into(),
            i32::try_from(version).unwrap_or(i32::MAX).into(),
            env.raw().into(),
        ];
        let conn = self.reader();
        let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
        let row = conn.query_one_raw(statement).await;
        row.map_err(Error::on("function_versions"))?
            .map(|row| get(&row, "function_versions", "config").map(json))
            .transpose()
    }

    /// The functions that have any of these slugs, archived ones too.
    pub async fn functions_of_slugs(
        &self,
        env: EnvId,
        slugs: &[String],
    ) -> Result<Vec<FunctionId>, Error> {
        let rows = function::Entity::find()
            .select_only()
            .column(function::Column::Id)
            .filter(function::Column::EnvId.eq(env.raw()))
            .filter(function::Column::Slug.is_in(slugs.iter().map(String::as_str)))
            .into_tuple::<uuid::Uuid>()
            .all(self.reader())
            .await
            .map_err(Error::on("functions"))?;
        Ok(rows.into_iter().map(FunctionId::from_raw).collect())
    }

    /// Apps of an environment that are not archived, in order of name.
    pub async fn list_apps(&self, env: EnvId) -> Result<Vec<App>, Error> {
        let rows = app::Entity::find()
            .filter(app::Column::EnvId.eq(env.raw()))
            .filter(app::Column::ArchivedAt.is_null())
            .order_by_asc(app::Column::Name)
            .all(self.reader())
            .await
            .map_err(Error::on("apps"))?;
        rows.into_iter().map(App::try_from).collect()
    }

    /// Apps by id, in any order; unknown and foreign ids are left out.
    pub async fn find_apps(&self, env: EnvId, ids: &[AppId]) -> Result<Vec<App>, Error> {
        let rows = app::Entity::find()
            .filter(app::Column::EnvId.eq(env.raw()))
            .filter(app::Column::Id.is_in(ids.iter().map(|id| id.raw())))
            .all(self.reader())
            .await
            .map_err(Error::on("apps"))?;
        rows.into_iter().map(App::try_from).collect()
    }

    /// The app at a URL, unless it is archived.
    pub async fn find_app_by_url(&self, env: EnvId, url: &str) -> Result<Option<App>, Error> {
        self.find_app_by_urls(env, &[url]).await
    }

    /// The app at any of these URLs, unless it is archived; the one that changed last if there are several.
    pub async fn find_app_by_urls(&self, env: EnvId, urls: &[&str]) -> Result<Option<App>, Error> {
        let row = app::Entity::find()
            .filter(app::Column::EnvId.eq(env.raw()))
            .filter(app::Column::Url.is_in(urls.iter().copied()))
            .filter(app::Column::ArchivedAt.is_null())
            .order_by_desc(app::Column::SyncedAt)
            .one(self.reader())
            .await
            .map_err(Error::on("apps"))?;
        row.map(App::try_from).transpose()
    }

    /// Writes a sync. `false` when the functions have changed since `expected_version`: compute it again.
    pub async fn save_sync(&self, change: &AppSync) -> Result<bool, Error> {
        let tx = self.writer().begin().await.map_err(Error::on("(begin)"))?;
        let sql = "UPDATE environments SET functions_version = functions_version + 1 WHERE id = $1 AND functions_version = $2";
        let values: [Value; 2] = [change.env.raw().into(), change.expected_version.into()];
        let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
        if tx
            .execute_raw(statement)
            .await
            .map_err(Error::on("environments"))?
            .rows_affected()
            == 0
        {
            tx.rollback().await.map_err(Error::on("(rollback)"))?;
            return Ok(false);
        }
        save_app(&tx, change).await?;
        save_functions(&tx, change).await?;
        let rows = change.work.iter().map(work_values).collect();
        insert_rows(&tx, WORK_COLUMNS, "ON CONFLICT DO NOTHING", rows)
            .await
            .map_err(Error::on("work"))?;
        note(change).store(&tx, &Figures::default()).await?;
        crate::fail_point!("sync::in_tx");
        tx.commit().await.map_err(Error::on("(commit)"))?;
        Ok(true)
    }
}

/// What live views are told of a sync.
fn note(change: &AppSync) -> Changes {
    let mut changes = Changes::default();
    let is_new = change.app.created_at == change.now;
    changes.note_app(change.env, change.app.id, is_new);
    for function in &change.functions {
        changes.note_function(change.env, function.id, function.version == 1);
    }
    for id in &change.archives {
        changes.note_function(change.env, *id, false);
    }
    changes
}

async fn save_app(tx: &impl ConnectionTrait, change: &AppSync) -> Result<(), Error> {
    let app = &change.app;
    let failure = app.failure.as_ref();
    let row = vec![
        app.id.raw().into(),
        change.org.raw().into(),
        change.env.raw().into(),
        app.name.clone().into(),
        app.url.clone().into(),
        app.version.clone().into(),
        app.sdk_language.clone().into(),
        app.sdk_version.clone().into(),
        app.framework.clone().into(),
        app.checksum.clone().into(),
        app.last_sync.raw().into(),
        failure.map(|failure| failure.message.clone()).into(),
        ms(app.created_at),
        ms(app.synced_at),
        optional_ms(app.archived_at),
        app.platform.clone().into(),
        failure.map(|failure| failure.code.clone()).into(),
        ms(app.seen_at),
    ];
    let head = "apps (id, org_id, env_id, name, url, version, sdk_language, sdk_version, framework, checksum, last_sync_id, error, \
                created_at, synced_at, archived_at, platform, error_code, seen_at)";
    let tail = "ON CONFLICT (id) DO UPDATE SET url = excluded.url, version = excluded.version, sdk_language = excluded.sdk_language, \
                sdk_version = excluded.sdk_version, framework = excluded.framework, checksum = excluded.checksum, \
                last_sync_id = excluded.last_sync_id, error = excluded.error, synced_at = excluded.synced_at, \
                archived_at = excluded.archived_at, platform = excluded.platform, error_code = excluded.error_code, \
                seen_at = excluded.seen_at";
    insert_rows(tx, head, tail, vec![row])
        .await
        .map_err(Error::on("apps"))?;
    match &change.record {
        Some(record) => {
            let count = change.function_count;
            save_record(tx, change.org, change.env, record, count).await
        }
        None => Ok(()),
    }
}

async fn save_functions(tx: &impl ConnectionTrait, change: &AppSync) -> Result<(), Error> {
    let version = |function: &FunctionChange| i32::try_from(function.version).unwrap_or(i32::MAX);
    let rows = change
        .functions
        .iter()
        .map(|function| {
            vec![
                function.id.raw().into(),
                change.org.raw().into(),
                change.env.raw().into(),
                change.app.id.raw().into(),
                function.slug.clone().into(),
                function.name.clone().into(),
                version(function).into(),
                bytes(&function.config),
                ms(change.now),
                ms(change.now),
            ]
        })
        .collect();
    let head = "functions (id, org_id, env_id, app_id, slug, name, version, config, created_at, updated_at)";
    let tail = "ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, config = excluded.config, \
                updated_at = excluded.updated_at, archived_at = NULL";
    insert_rows(tx, head, tail, rows)
        .await
        .map_err(Error::on("functions"))?;
    let rows = change
        .functions
        .iter()
        .map(|function| {
            vec![
                function.id.raw().into(),
                version(function).into(),
                change.org.raw().into(),
                change.env.raw().into(),
                change.app.last_sync.raw().into(),
                bytes(&function.config),
                ms(change.now),
            ]
        })
        .collect();
    let head =
        "function_versions (function_id, version, org_id, env_id, sync_id, config, created_at)";
    insert_rows(tx, head, "ON CONFLICT DO NOTHING", rows)
        .await
        .map_err(Error::on("function_versions"))?;
    let changed: Vec<Value> = change
        .functions
        .iter()
        .map(|function| function.id.raw().into())
        .collect();
    let oldest = format!(
        "AND version <= (SELECT f.version FROM functions f WHERE f.id = function_versions.function_id) - {}",
        limits::VERSIONS_PER_FUNCTION
    );
    execute_in(
        tx,
        "DELETE FROM function_versions WHERE function_id IN",
        changed,
        &oldest,
    )
    .await
    .map_err(Error::on("function_versions"))?;
    let archives = change.archives.iter().map(|id| id.raw().into()).collect();
    let before = format!(
        "UPDATE functions SET archived_at = {}, updated_at = {} WHERE id IN",
        change.now.as_millis(),
        change.now.as_millis()
    );
    execute_in(tx, &before, archives, "AND archived_at IS NULL")
        .await
        .map_err(Error::on("functions"))
        .map(drop)
}
