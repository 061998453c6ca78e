//! Reads of events.

use inngest_core::{
    event::Event,
    ids::{EnvId, EventId, OrgId},
    page::Direction,
    time::Timestamp,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};

use crate::{
    Error, Store,
    entity::event,
    lists::weight,
    matching::LATE,
    rows::{event_of, event_uuid, first_id},
};

/// An event with whose it is.
pub type TenantEvent = (OrgId, EnvId, Event);

fn of_tenant(row: event::Model) -> TenantEvent {
    let (org, env) = (OrgId::from_raw(row.org_id), EnvId::from_raw(row.env_id));
    (org, env, event_of(row))
}

impl Store {
    /// One event.
    pub async fn find_event(&self, env: EnvId, id: EventId) -> Result<Option<Event>, Error> {
        Ok(self.find_events(env, &[id]).await?.pop())
    }

    /// Events by id, in order of acceptance; unknown and foreign ids are left out.
    pub async fn find_events(&self, env: EnvId, ids: &[EventId]) -> Result<Vec<Event>, Error> {
        let rows = event::Entity::find()
            .filter(event::Column::Id.is_in(ids.iter().copied().map(event_uuid)))
            .filter(event::Column::EnvId.eq(env.raw()))
            .order_by_asc(event::Column::Id)
            .all(self.reader())
            .await
            .map_err(Error::on("events"))?;
        Ok(rows.into_iter().map(event_of).collect())
    }

    /// As [`Store::find_events`], but none after those that have `most` bytes together; and whether that are all there are.
    pub async fn find_events_within(
        &self,
        env: EnvId,
        ids: &[EventId],
        most: u64,
    ) -> Result<(Vec<Event>, bool), Error> {
        let wanted = event::Entity::find()
            .filter(event::Column::Id.is_in(ids.iter().copied().map(event_uuid)))
            .filter(event::Column::EnvId.eq(env.raw()))
            .into_query();
        let (up, conn) = (Direction::Ascending, self.reader());
        let rows = weight::EVENTS.read(conn, Some(wanted), up, up, most);
        let rows = rows.await?;
        let is_all = !weight::EVENTS.is_cut(&rows, most);
        Ok((rows.into_iter().map(event_of).collect(), is_all))
    }

    /// One page of the events of all tenants that were accepted since `since`, by id, after `after`. For the second look of waits, which
    /// serves every tenant. Events whose id does not tell when they were accepted are left out; see [`Store::late_events`].
    pub async fn recent_events(
        &self,
        since: Timestamp,
        after: Option<EventId>,
        limit: u64,
    ) -> Result<Vec<TenantEvent>, Error> {
        let after = after.map_or_else(|| first_id(since.minus(LATE)), event_uuid);
        let rows = event::Entity::find()
            .filter(event::Column::Id.gt(after))
            .order_by_asc(event::Column::Id)
            .limit(limit)
            .all(self.reader())
            .await
            .map_err(Error::on("events"))?;
        Ok(rows.into_iter().map(of_tenant).collect())
    }

    /// Events of all tenants that were accepted since `since` and whose id does not tell so, at most `limit`, oldest first. There are few.
    pub async fn late_events(
        &self,
        since: Timestamp,
        limit: u64,
    ) -> Result<Vec<TenantEvent>, Error> {
        let rows = event::Entity::find()
            .filter(event::Column::Late.eq(true))
            .filter(event::Column::ReceivedAt.gte(since.as_millis()))
            .order_by_asc(event::Column::ReceivedAt)
            .limit(limit)
            .all(self.reader())
            .await
            .map_err(Error::on("events"))?;
        Ok(rows.into_iter().map(of_tenant).collect())
    }

    /// When the last event was accepted, as its id tells; none when there is no event.
    pub async fn last_event_at(&self) -> Result<Option<Timestamp>, Error> {
        let row = event::Entity::find()
            .filter(event::Column::Late.eq(false))
            .order_by_desc(event::Column::Id)
            .one(self.reader())
            .await
            .map_err(Error::on("events"))?;
        Ok(row.map(|row| Timestamp::from_millis(row.received_at)))
    }
}
