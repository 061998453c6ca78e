//! Table `functions`.

use sea_orm::entity::prelude::*;

/// A row of `functions`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "functions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub org_id: Uuid,
    pub env_id: Uuid,
    pub app_id: Uuid,
    pub slug: String,
    pub name: String,
    pub version: i32,
    pub config: Vec<u8>,
    pub created_at: i64,
    pub updated_at: i64,
    pub archived_at: Option<i64>,
    pub paused_at: Option<i64>,
    pub paused_by: Option<String>,
    pub pause_reason: Option<String>,
    pub pause_in_flight: Option<i16>,
    pub pause_new_events: Option<i16>,
    pub resumes_at: Option<i64>,
}

/// No relations: rows are joined by the services that need them.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
