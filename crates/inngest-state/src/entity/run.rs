//! Table `runs`.

use sea_orm::entity::prelude::*;

/// A row of `runs`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "runs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub org_id: Uuid,
    pub env_id: Uuid,
    pub app_id: Uuid,
    pub function_id: Uuid,
    pub function_version: i32,
    pub status: i16,
    pub skip_reason: Option<i16>,
    pub event_id: Uuid,
    pub event_name: String,
    pub more_events: Option<Vec<u8>>,
    pub cron: Option<String>,
    pub original_id: Option<Uuid>,
    pub correlation: Option<String>,
    pub rank: i64,
    pub revision: i64,
    pub request_version: i16,
    pub force_plan: bool,
    pub queued_at: i64,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub output: Option<Vec<u8>>,
    pub rerun_step: Option<String>,
    pub rerun_input: Option<Vec<u8>>,
    pub trace: Option<String>,
    pub replay_id: Option<Uuid>,
    pub started_by: Option<String>,
    pub cancelled_by: Option<String>,
    pub idempotency_key: Option<String>,
}

/// No relations: rows are joined by the services that need them.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
