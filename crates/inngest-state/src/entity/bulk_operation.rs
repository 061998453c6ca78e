//! Table `bulk_operations`.

use sea_orm::entity::prelude::*;

/// A row of `bulk_operations`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "bulk_operations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub org_id: Uuid,
    pub env_id: Uuid,
    pub kind: i16,
    pub name: Option<String>,
    pub created_by: String,
    pub created_at: i64,
    pub functions: Vec<u8>,
    pub queued_from: i64,
    pub queued_until: i64,
    pub statuses: Vec<u8>,
    pub search: Option<String>,
    pub status: i16,
    pub total: Option<i64>,
    pub succeeded: i64,
    pub skipped: i64,
    pub failed: i64,
    pub position: Option<Uuid>,
    pub ended_at: Option<i64>,
    pub rate_per_second: Option<i32>,
}

/// No relations: rows are joined by the services that need them.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
