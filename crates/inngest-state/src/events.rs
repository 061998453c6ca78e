//! Reads of events.

use inngest_core::{
    event::Event,
    ids::{EnvId, EventId},
    page::{Page, PageRequest},
    time::Timestamp,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::{
    Error, Store,
    entity::event,
    rows::{event_of, event_uuid, uuid_of},
};

/// Which events to list, newest first.
#[derive(Clone, Debug)]
pub struct ListEvents {
    /// Exact names; empty means all.
    pub names: Vec<String>,
    /// Whether events that the server made itself are listed too.
    pub with_internal: bool,
    /// Accepted at or after.
    pub from: Option<Timestamp>,
    /// Accepted before.
    pub until: Option<Timestamp>,
    /// Which part.
    pub page: PageRequest,
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

    /// One page of events, newest first. Uses `events_by_env` or, with names, `events_by_name`.
    pub async fn list_events(
        &self,
        env: EnvId,
        request: &ListEvents,
    ) -> Result<Page<Event>, Error> {
        let mut query = event::Entity::find().filter(event::Column::EnvId.eq(env.raw()));
        if !request.names.is_empty() {
            query =
                query.filter(event::Column::Name.is_in(request.names.iter().map(String::as_str)));
        }
        if !request.with_internal {
            query = query.filter(event::Column::Internal.eq(false));
        }
        if let Some(from) = request.from {
            query = query.filter(event::Column::ReceivedAt.gte(from.as_millis()));
        }
        if let Some(until) = request.until {
            query = query.filter(event::Column::ReceivedAt.lt(until.as_millis()));
        }
        if let Some(after) = request.page.after {
            query = query.filter(event::Column::Id.lt(uuid_of(after.0)));
        }
        let limit = request.page.limit;
        let mut rows = query
            .order_by_desc(event::Column::Id)
            .limit(u64::from(limit) + 1)
            .all(self.reader())
            .await
            .map_err(Error::on("events"))?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        Ok(Page {
            items: rows.into_iter().map(event_of).collect(),
            has_more,
        })
    }
}
