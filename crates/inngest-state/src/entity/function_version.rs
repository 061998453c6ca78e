//! Table `function_versions`.

use sea_orm::entity::prelude::*;

/// A row of `function_versions`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "function_versions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub function_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i32,
    pub org_id: Uuid,
    pub env_id: Uuid,
    pub sync_id: Uuid,
    pub config: Vec<u8>,
    pub created_at: i64,
}

/// No relations: rows are joined by the services that need them.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
