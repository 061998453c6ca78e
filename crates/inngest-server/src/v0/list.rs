//! Lists of events and runs, in pages.

use std::future::Future;

use async_graphql::{Context, Error, Object, SimpleObject, connection::PageInfo};

use inngest_core::page::{Count, Direction, Page, PageRequest};
use inngest_services::{EventFilter, Found, RunFilter, RunTime, Scan};

use crate::{
    graphql::{asking::asking, error::failed},
    v0::{
        event::EventV2,
        filter::{EventsFilter, RunsFilter, RunsOrder},
        rules::{EVENTS, RUNS},
        run::FunctionRunV2,
    },
};

/// A page of events.
pub(crate) struct EventsConnection {
    edges: Vec<EventsEdge>,
    info: PageInfo,
    filter: EventFilter,
    search: Option<String>,
}

/// An event in a list.
#[derive(SimpleObject)]
pub(crate) struct EventsEdge {
    /// Where the next page begins.
    cursor: String,
    /// The event.
    node: EventV2,
}

/// A page of events.
#[Object]
impl EventsConnection {
    /// The events.
    async fn edges(&self) -> &[EventsEdge] {
        &self.edges
    }

    /// How many events the list has, wherever the page begins; counted up to 10,000.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32, Error> {
        let asking = asking(ctx);
        let events = asking.services.events();
        let counted = match &self.search {
            None => events.count(&asking.actor, &self.filter).await,
            Some(text) => events.count_found(&asking.actor, &self.filter, text).await,
        };
        counted.map(number).map_err(|error| failed(ctx, &error))
    }

    /// Which part of the list it is.
    async fn page_info(&self) -> &PageInfo {
        &self.info
    }
}

/// Reads a page of events, newest first.
pub(crate) async fn events(
    ctx: &Context<'_>,
    first: i32,
    after: Option<String>,
    filter: EventsFilter,
) -> Result<EventsConnection, Error> {
    let (filter, search) = filter.into_service(ctx)?;
    let (asking, direction) = (asking(ctx), Direction::Descending);
    let (events, actor) = (&asking.services.events(), &asking.actor);
    let (filter_of, text) = (&filter, search.as_deref());
    let looks_back = looks_back(ctx);
    let whole = read(EVENTS.of(first), after, looks_back, |request| async move {
        let found = events.page(actor, filter_of, text, direction, &request);
        found.await.map_err(|error| failed(ctx, &error))
    });
    let whole = whole.await?;
    Ok(EventsConnection {
        info: info(&whole),
        edges: edges(whole.page, |cursor, event| EventsEdge {
            cursor,
            node: EventV2(event),
        }),
        filter,
        search,
    })
}

/// A page of runs.
pub(crate) struct RunsConnection {
    edges: Vec<FunctionRunV2Edge>,
    info: PageInfo,
    filter: RunFilter,
    search: Option<String>,
    /// Where it was counted when it was read.
    length: Option<Count>,
}

/// A run in a list.
#[derive(SimpleObject)]
pub(crate) struct FunctionRunV2Edge {
    /// Where the next page begins.
    cursor: String,
    /// The run.
    node: FunctionRunV2,
}

/// A page of runs.
#[Object(name = "RunsV2Connection")]
impl RunsConnection {
    /// The runs.
    async fn edges(&self) -> &[FunctionRunV2Edge] {
        &self.edges
    }

    /// Which part of the list it is.
    async fn page_info(&self) -> &PageInfo {
        &self.info
    }

    /// How many runs the list has, wherever the page begins; counted up to 10,000. Both views have the same.
    async fn total_count(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "preview")] _preview: Option<bool>,
    ) -> Result<i32, Error> {
        if let Some(length) = self.length {
            return Ok(number(length));
        }
        let asking = asking(ctx);
        let runs = asking.services.runs();
        let counted = match &self.search {
            None => runs.count(&asking.actor, &self.filter).await,
            Some(text) => runs.count_found(&asking.actor, &self.filter, text).await,
        };
        counted.map(number).map_err(|error| failed(ctx, &error))
    }
}

/// Reads a page of runs.
pub(crate) async fn runs(
    ctx: &Context<'_>,
    first: i32,
    after: Option<String>,
    order: &[RunsOrder],
    filter: RunsFilter,
) -> Result<RunsConnection, Error> {
    let (filter, search, order) = filter.into_service(ctx, order)?;
    let asking = asking(ctx);
    let (runs, actor) = (&asking.services.runs(), &asking.actor);
    let (filter_of, text, size) = (&filter, search.as_deref(), RUNS.of(first));
    let looks_back = looks_back(ctx);
    let is_queued = order.by == RunTime::Queued && order.within == RunTime::Queued;
    let (whole, length) = if is_queued {
        let whole = read(size, after, looks_back, |request| async move {
            let found = runs.page(actor, filter_of, text, order.direction, &request);
            found.await.map_err(|error| failed(ctx, &error))
        });
        (whole.await?, None)
    } else {
        let request = PageRequest {
            limit: size,
            backward: false,
            from: after.filter(|cursor| !cursor.is_empty()),
            look_back: looks_back,
        };
        let sorted = runs.sorted(actor, filter_of, text, order, &request).await;
        let sorted = sorted.map_err(|error| failed(ctx, &error))?;
        let (page, scan) = (sorted.page, Scan::default());
        (Found { page, scan }, Some(sorted.count))
    };
    Ok(RunsConnection {
        info: info(&whole),
        edges: edges(whole.page, |cursor, run| FunctionRunV2Edge {
            cursor,
            node: FunctionRunV2(run),
        }),
        filter,
        search,
        length,
    })
}

fn info<T>(found: &Found<T>) -> PageInfo {
    let page = &found.page;
    let end = found.scan.stopped_at.as_ref().or(page.cursors.last());
    PageInfo {
        has_previous_page: page.has_previous,
        has_next_page: page.has_next,
        start_cursor: page.cursors.first().cloned(),
        end_cursor: end.cloned(),
    }
}

fn edges<T, E>(page: Page<T>, edge: impl Fn(String, T) -> E) -> Vec<E> {
    let rows = page.cursors.into_iter().zip(page.items);
    rows.map(|(cursor, row)| edge(cursor, row)).collect()
}

/// Reads so many rows of a list, in as many pages as its service makes of them.
pub(crate) async fn read<T, F>(
    wanted: u32,
    after: Option<String>,
    look_back: bool,
    read: impl Fn(PageRequest) -> F,
) -> Result<Found<T>, Error>
where
    F: Future<Output = Result<Found<T>, Error>>,
{
    let mut whole = Found {
        page: Page::empty(),
        scan: Scan::default(),
    };
    let mut from = after.filter(|cursor| !cursor.is_empty());
    let mut is_first = true;
    loop {
        let had = u32::try_from(whole.page.items.len()).unwrap_or(u32::MAX);
        let part = read(PageRequest {
            look_back: look_back && is_first,
            ..PageRequest::new(wanted.saturating_sub(had), from)
        })
        .await?;
        if is_first {
            whole.page.has_previous = part.page.has_previous;
        }
        is_first = false;
        whole.page.has_next = part.page.has_next;
        whole.page.items.extend(part.page.items);
        whole.page.cursors.extend(part.page.cursors);
        whole.scan.stopped_at = part.scan.stopped_at;
        from = whole.page.cursors.last().cloned();
        let is_full = whole.page.items.len() >= wanted as usize;
        if is_full || !whole.page.has_next || whole.scan.stopped_at.is_some() {
            return Ok(whole);
        }
    }
}

/// Whether somebody wants to know if something lies before the page, which costs a look.
fn looks_back(ctx: &Context<'_>) -> bool {
    let page = ctx.look_ahead().field("pageInfo");
    page.field("hasPreviousPage").exists()
}

fn number(count: Count) -> i32 {
    i32::try_from(count.value).unwrap_or(i32::MAX)
}
