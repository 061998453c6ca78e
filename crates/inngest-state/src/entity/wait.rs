//! Table `waits`.

use sea_orm::entity::prelude::*;

/// A row of `waits`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "waits")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub org_id: Uuid,
    pub env_id: Uuid,
    pub kind: i16,
    pub run_id: Uuid,
    pub function_id: Uuid,
    pub step_id: Option<String>,
    pub rank: i64,
    pub event_name: Option<String>,
    pub key_path: String,
    pub key_hash: i64,
    pub expression: Option<String>,
    pub bindings: Vec<u8>,
    pub trigger_id: Uuid,
    pub signal: Option<String>,
    pub since: i64,
    pub expires_at: i64,
}

/// No relations: rows are joined by the services that need them.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
