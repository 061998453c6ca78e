//! Table `work`.

use sea_orm::entity::prelude::*;

/// A row of `work`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "work")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub org_id: Uuid,
    pub env_id: Uuid,
    pub kind: i16,
    pub function_id: Uuid,
    pub run_id: Option<Uuid>,
    pub step_id: Option<String>,
    pub due_at: i64,
    pub rank: i64,
    pub attempt: i32,
    pub epoch: i64,
    pub payload: Vec<u8>,
}

/// No relations: rows are joined by the services that need them.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
