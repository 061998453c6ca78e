//! Secrets of the installation, sealed by who keeps them here.

use inngest_core::{
    ids::{EnvId, OrgId},
    time::Timestamp,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryResult, Statement, Value,
};
use uuid::Uuid;

use crate::{Error, Store, entity::environment, write::get};

/// A secret that nobody can read without the key it was sealed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecret {
    /// Different for each sealing.
    pub nonce: Vec<u8>,
    /// The secret, encrypted and authenticated.
    pub ciphertext: Vec<u8>,
}

impl Store {
    /// Keeps `sealed` for this purpose unless there is one already, and returns the one that is kept.
    pub async fn keep_secret(
        &self,
        purpose: &str,
        sealed: &SealedSecret,
        now: Timestamp,
    ) -> Result<SealedSecret, Error> {
        let on = || Error::on("installation_secrets");
        let backend = self.writer().get_database_backend();
        let insert = "INSERT INTO installation_secrets (purpose, nonce, ciphertext, created_at) VALUES ($1, $2, $3, $4) \
                      ON CONFLICT (purpose) DO NOTHING";
        let values: [Value; 4] = [
            purpose.to_owned().into(),
            sealed.nonce.clone().into(),
            sealed.ciphertext.clone().into(),
            now.as_millis().into(),
        ];
        let statement = Statement::from_sql_and_values(backend, insert, values);
        self.writer().execute_raw(statement).await.map_err(on())?;
        let select = "SELECT nonce, ciphertext FROM installation_secrets WHERE purpose = $1";
        let statement =
            Statement::from_sql_and_values(backend, select, [purpose.to_owned().into()]);
        let row = self.writer().query_one_raw(statement).await.map_err(on())?;
        row.as_ref().map_or_else(|| Ok(sealed.clone()), read)
    }

    /// Puts the same secret, sealed otherwise, in the place of `before`. Changes nothing when that is not what is kept any more.
    pub async fn replace_secret(
        &self,
        purpose: &str,
        before: &SealedSecret,
        after: &SealedSecret,
    ) -> Result<(), Error> {
        let update = "UPDATE installation_secrets SET nonce = $1, ciphertext = $2 WHERE purpose = $3 AND nonce = $4";
        let values: [Value; 4] = [
            after.nonce.clone().into(),
            after.ciphertext.clone().into(),
            purpose.to_owned().into(),
            before.nonce.clone().into(),
        ];
        let backend = self.writer().get_database_backend();
        let statement = Statement::from_sql_and_values(backend, update, values);
        self.writer()
            .execute_raw(statement)
            .await
            .map(drop)
            .map_err(Error::on("installation_secrets"))
    }

    /// The environment of an organization that has this name or this id, with its name.
    pub async fn find_environment(
        &self,
        org: OrgId,
        name: &str,
    ) -> Result<Option<(EnvId, String)>, Error> {
        let query = environment::Entity::find().filter(environment::Column::OrgId.eq(org.raw()));
        let query = match name.parse::<Uuid>() {
            Ok(id) => query.filter(environment::Column::Id.eq(id)),
            Err(_) => query.filter(environment::Column::Slug.eq(name)),
        };
        let row = query
            .one(self.reader())
            .await
            .map_err(Error::on("environments"))?;
        Ok(row.map(|row| (EnvId::from_raw(row.id), row.slug)))
    }
}

fn read(row: &QueryResult) -> Result<SealedSecret, Error> {
    Ok(SealedSecret {
        nonce: get(row, "installation_secrets", "nonce")?,
        ciphertext: get(row, "installation_secrets", "ciphertext")?,
    })
}
