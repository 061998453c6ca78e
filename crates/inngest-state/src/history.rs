//! What has been: versions of functions, and the names under which events came.

use inngest_core::{
    app::FunctionVersion,
    ids::{EnvId, FunctionId, SyncId},
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, Statement, Value,
};

use crate::{
    Error, Store,
    entity::function_version,
    rows::{json, time},
    write::get,
};

/// Goes from name to name by the index `events_by_name`, however many events there are of each.
const EVENT_NAMES: &str = "WITH RECURSIVE names (name, place) AS ( \
    SELECT (SELECT e.name FROM events e WHERE e.env_id = $1 ORDER BY e.name LIMIT 1), 1 \
    UNION ALL \
    SELECT (SELECT e.name FROM events e WHERE e.env_id = $1 AND e.name > names.name ORDER BY e.name LIMIT 1), place + 1 \
    FROM names WHERE names.name IS NOT NULL AND place < $2 \
) SELECT name FROM names WHERE name IS NOT NULL";

impl Store {
    /// Versions by function and number, in any order; unknown and foreign ones are left out.
    pub async fn find_function_versions(
        &self,
        env: EnvId,
        ids: &[(FunctionId, u32)],
    ) -> Result<Vec<FunctionVersion>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let any = ids
            .iter()
            .fold(Condition::any(), |any, (function, number)| {
                let number = i32::try_from(*number).unwrap_or(i32::MAX);
                any.add(
                    Condition::all()
                        .add(function_version::Column::FunctionId.eq(function.raw()))
                        .add(function_version::Column::Version.eq(number)),
                )
            });
        let rows = function_version::Entity::find()
            .filter(function_version::Column::EnvId.eq(env.raw()))
            .filter(any)
            .all(self.reader())
            .await
            .map_err(Error::on("function_versions"))?;
        rows.into_iter().map(version_of).collect()
    }

    /// The names of the events of an environment, in the order of the database, at most `limit`. Costs one look into an index for each.
    pub async fn event_names(&self, env: EnvId, limit: u32) -> Result<Vec<String>, Error> {
        let conn = self.reader();
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let values: [Value; 2] = [env.raw().into(), limit.into()];
        let statement =
            Statement::from_sql_and_values(conn.get_database_backend(), EVENT_NAMES, values);
        let rows = conn
            .query_all_raw(statement)
            .await
            .map_err(Error::on("events"))?;
        rows.iter().map(|row| get(row, "events", "name")).collect()
    }
}

pub(crate) fn version_of(row: function_version::Model) -> Result<FunctionVersion, Error> {
    Ok(FunctionVersion {
        function: FunctionId::from_raw(row.function_id),
        number: u32::try_from(row.version).map_err(|_| Error::BadRow {
            table: "function_versions",
            id: row.function_id.to_string(),
            column: "version",
        })?,
        config: json(row.config),
        sync: SyncId::from_raw(row.sync_id),
        created_at: time(row.created_at),
    })
}
