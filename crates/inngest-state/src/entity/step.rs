//! Table `steps`.

use sea_orm::entity::prelude::*;

/// A row of `steps`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "steps")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub step_id: String,
    pub org_id: Uuid,
    pub env_id: Uuid,
    pub name: String,
    pub kind: i16,
    pub status: i16,
    pub step_group: Option<i64>,
    pub position: Option<i32>,
    pub memo: Option<Vec<u8>>,
    pub queued_at: i64,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub details: Option<Vec<u8>>,
    pub event_id: Option<Uuid>,
    pub response: Option<Vec<u8>>,
}

/// No relations: rows are joined by the services that need them.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
