//! Table `apps`.

use sea_orm::entity::prelude::*;

/// A row of `apps`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "apps")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub org_id: Uuid,
    pub env_id: Uuid,
    pub name: String,
    pub url: String,
    pub version: Option<String>,
    pub sdk_language: String,
    pub sdk_version: String,
    pub framework: Option<String>,
    pub checksum: String,
    pub last_sync_id: Uuid,
    pub error: Option<String>,
    pub created_at: i64,
    pub synced_at: i64,
    pub archived_at: Option<i64>,
    pub platform: Option<String>,
    pub error_code: Option<String>,
    pub seen_at: Option<i64>,
}

/// No relations: rows are joined by the services that need them.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
