//! Table `syncs`.

use sea_orm::entity::prelude::*;

/// A row of `syncs`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "syncs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub org_id: Uuid,
    pub env_id: Uuid,
    pub app_id: Option<Uuid>,
    pub url: Option<String>,
    pub sdk: String,
    pub function_count: i32,
    pub created_at: i64,
    pub status: i16,
    pub kind: i16,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub framework: Option<String>,
    pub platform: Option<String>,
    pub app_version: Option<String>,
    pub added: Option<Vec<u8>>,
    pub changed: Option<Vec<u8>>,
    pub removed: Option<Vec<u8>>,
    pub last_at: Option<i64>,
}

/// No relations: rows are joined by the services that need them.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
