//! Table `failed_attempts`.

use sea_orm::entity::prelude::*;

/// A row of `failed_attempts`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "failed_attempts")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub step_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub attempt: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    pub failed_at: i64,
    pub org_id: Uuid,
    pub env_id: Uuid,
    pub class: String,
    pub code: String,
    pub error: Vec<u8>,
    pub next_at: Option<i64>,
    pub response: Option<Vec<u8>>,
}

/// No relations: rows are joined by the services that need them.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
