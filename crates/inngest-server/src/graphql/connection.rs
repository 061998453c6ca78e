//! Lists as Relay connections, paged in both directions.

use std::borrow::Cow;

use async_graphql::{
    Context, Enum, Error, Object, ObjectType, OutputType, SimpleObject, TypeName,
    connection::{Edge, EmptyFields, PageInfo},
};

use inngest_core::page::{
    self, COUNT_CAP, Count, DEFAULT_PAGE, Direction, Key, MAX_PAGE, Order, PageRequest,
};
use inngest_services::Scan;

use crate::graphql::{
    error::{bad_cursor, bad_input},
    listed::{Listed, Total},
    parents::{
        BulkCountOf, EventRunCountOf, FunctionCountOf, FunctionRunCountOf, RepetitionCountOf,
        ReplayRunCountOf, SyncCountOf, VersionCountOf,
    },
    related::answer,
    scalars::DateTime,
};

/// What a page of `first` or `last` entries costs.
pub(crate) fn cost(first: Option<i32>, last: Option<i32>, children: usize) -> usize {
    let size = first
        .or(last)
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(DEFAULT_PAGE as usize)
        .min(MAX_PAGE as usize);
    5 + size.saturating_mul(children).min(COSTLY)
}

/// Far above the limit of an operation, and small enough that no sum of such costs overflows, which would make it cheap.
const COSTLY: usize = 1 << 40;

/// The page that the arguments of the connection ask for which is being resolved.
///
/// # Errors
/// `BAD_USER_INPUT` for a size that is not between 1 and 200, and for arguments of both directions.
pub(crate) fn request(
    ctx: &Context<'_>,
    first: Option<i32>,
    after: Option<String>,
    last: Option<i32>,
    before: Option<String>,
) -> Result<PageRequest, Error> {
    let request = PageRequest::of_arguments(first, after, last, before)
        .map_err(|error| bad_input(error.to_string()))?;
    // The side where the page was entered costs a statement, so it is looked at only when somebody wants to know.
    let entered = if request.backward {
        "hasNextPage"
    } else {
        "hasPreviousPage"
    };
    let look_back = ctx.look_ahead().field("pageInfo").field(entered).exists();
    Ok(PageRequest {
        look_back,
        ..request
    })
}

/// Sort direction.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "OrderDirection", remote = "Direction")]
pub(crate) enum OrderDirection {
    /// Smallest or oldest first.
    #[graphql(name = "ASC")]
    Ascending,
    /// Largest or newest first.
    #[graphql(name = "DESC")]
    Descending,
}

/// Size of a result set, capped so that it stays cheap.
#[derive(SimpleObject)]
pub(crate) struct TotalCount {
    /// Number of items counted.
    value: i32,
    /// False when counting stopped at the cap, so the real number is value or more.
    is_exact: bool,
}

impl From<Count> for TotalCount {
    fn from(count: Count) -> Self {
        Self {
            value: i32::try_from(count.value).unwrap_or(i32::MAX),
            is_exact: count.is_exact,
        }
    }
}

/// How long a list is, or how to find out.
pub(crate) enum Length {
    /// It is in memory.
    Known(usize),
    /// Of a list of the environment.
    Total(Total),
    /// Of the functions of an app.
    FunctionsOf(FunctionCountOf),
    /// Of the syncs of an app.
    SyncsOf(SyncCountOf),
    /// Of the runs of a function.
    FunctionRuns(Box<FunctionRunCountOf>),
    /// Of the versions of a function.
    VersionsOf(VersionCountOf),
    /// Of the runs of an event.
    EventRuns(EventRunCountOf),
    /// Of the runs that a replay started.
    ReplayRuns(ReplayRunCountOf),
    /// Of the runs that repeat a run.
    Repetitions(RepetitionCountOf),
    /// Of the operations that are about a function.
    BulkOf(BulkCountOf),
}

impl Length {
    async fn count(&self, ctx: &Context<'_>) -> Result<TotalCount, Error> {
        let counted = match self {
            Self::Known(length) => {
                let value = (*length as u64).min(COUNT_CAP);
                let is_exact = value == *length as u64;
                Count { value, is_exact }
            }
            Self::Total(total) => answer(ctx, total.clone()).await?,
            Self::FunctionsOf(key) => answer(ctx, key.clone()).await?,
            Self::SyncsOf(key) => answer(ctx, *key).await?,
            Self::FunctionRuns(key) => answer(ctx, key.as_ref().clone()).await?,
            Self::VersionsOf(key) => answer(ctx, *key).await?,
            Self::EventRuns(key) => answer(ctx, *key).await?,
            Self::ReplayRuns(key) => answer(ctx, *key).await?,
            Self::Repetitions(key) => answer(ctx, *key).await?,
            Self::BulkOf(key) => answer(ctx, *key).await?,
        };
        Ok(counted.into())
    }
}

/// What connections have besides their page.
pub(crate) struct Counted(pub(crate) Length);

#[Object]
impl Counted {
    /// Number of items in the whole list; computed only when selected.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<TotalCount, Error> {
        self.0.count(ctx).await
    }
}

/// How far a list was looked through. What no index knows, like the expression of a search, is looked for in bounded slices.
#[derive(SimpleObject, Clone, Copy)]
pub(crate) struct SearchScan {
    /// True when the scan budget ran out before the page was full; continue from pageInfo.endCursor, or backward from startCursor.
    is_partial: bool,
    /// Number of candidate rows evaluated for this page.
    scanned: i32,
    /// Time position reached.
    scanned_until: Option<DateTime>,
}

impl From<&Scan> for SearchScan {
    fn from(scan: &Scan) -> Self {
        Self {
            is_partial: scan.stopped_at.is_some(),
            scanned: i32::try_from(scan.scanned).unwrap_or(i32::MAX),
            scanned_until: scan.until.map(DateTime),
        }
    }
}

/// What connections of runs have besides their page.
pub(crate) struct RunPage {
    pub(crate) length: Length,
    pub(crate) scan: Option<SearchScan>,
    pub(crate) feed_cursor: Option<String>,
}

impl RunPage {
    /// Of a list that is not searched and has no feed.
    pub(crate) fn nested(length: Length) -> Self {
        Self {
            length,
            scan: None,
            feed_cursor: None,
        }
    }
}

#[Object]
impl RunPage {
    /// Number of items in the whole list; computed only when selected.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<TotalCount, Error> {
        self.length.count(ctx).await
    }

    /// How far a search has looked, or a list for which no index knows the filter when it found no full page; null otherwise.
    async fn scan(&self) -> Option<SearchScan> {
        self.scan
    }

    /// Position for runFeed(after:), taken before the page was read; null on nested lists.
    async fn feed_cursor(&self) -> Option<&str> {
        self.feed_cursor.as_deref()
    }
}

/// What connections of events have besides their page.
pub(crate) struct EventPage {
    pub(crate) length: Length,
    pub(crate) scan: Option<SearchScan>,
    pub(crate) feed_cursor: Option<String>,
}

impl EventPage {
    /// Of a list that is in memory.
    pub(crate) fn known(length: usize) -> Self {
        Self {
            length: Length::Known(length),
            scan: None,
            feed_cursor: None,
        }
    }
}

#[Object]
impl EventPage {
    /// Number of items in the whole list; computed only when selected.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<TotalCount, Error> {
        self.length.count(ctx).await
    }

    /// How far a search has looked, or a list for which no index knows the filter when it found no full page; null otherwise.
    async fn scan(&self) -> Option<SearchScan> {
        self.scan
    }

    /// Position for eventFeed(after:), taken before the page was read; null on nested lists.
    async fn feed_cursor(&self) -> Option<&str> {
        self.feed_cursor.as_deref()
    }
}

/// A connection whose extra fields are `E`.
pub(crate) struct Page<N: OutputType, E: ObjectType = EmptyFields> {
    edges: Vec<Edge<String, N, EmptyFields>>,
    info: PageInfo,
    extra: E,
}

impl<N: OutputType, E: ObjectType> Page<N, E> {
    /// The connection over a page of a list.
    pub(crate) fn of<T>(found: page::Page<T>, extra: E, node: impl Fn(T) -> N) -> Self {
        let info = PageInfo {
            has_previous_page: found.has_previous,
            has_next_page: found.has_next,
            start_cursor: found.cursors.first().cloned(),
            end_cursor: found.cursors.last().cloned(),
        };
        let rows = found.cursors.into_iter().zip(found.items);
        let edges = rows.map(|(cursor, item)| Edge::new(cursor, node(item)));
        Self {
            edges: edges.collect(),
            info,
            extra,
        }
    }
}

impl<N: OutputType, E: ObjectType> Page<N, E> {
    /// The connection over a page of a list that may have been searched. Where its budget ran out, a search goes on from there and not from
    /// the last match.
    pub(crate) fn listed<T>(
        (found, scan): Listed<T>,
        backward: bool,
        extra: E,
        node: impl Fn(T) -> N,
    ) -> Self {
        let mut page = Self::of(found, extra, node);
        if let Some(stopped_at) = scan.and_then(|scan| scan.stopped_at) {
            let end = match backward {
                true => &mut page.info.start_cursor,
                false => &mut page.info.end_cursor,
            };
            *end = Some(stopped_at);
        }
        page
    }
}

impl<N: OutputType, E: ObjectType> TypeName for Page<N, E> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", N::type_name()).into()
    }
}

/// A page of a list.
#[Object(name_type)]
impl<N: OutputType, E: ObjectType> Page<N, E> {
    /// Paging state.
    async fn page_info(&self) -> PageInfo {
        PageInfo {
            has_previous_page: self.info.has_previous_page,
            has_next_page: self.info.has_next_page,
            start_cursor: self.info.start_cursor.clone(),
            end_cursor: self.info.end_cursor.clone(),
        }
    }

    /// The entries with their cursors.
    async fn edges(&self) -> &[Edge<String, N, EmptyFields>] {
        &self.edges
    }

    /// The entries.
    async fn nodes(&self) -> Vec<&N> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    #[graphql(flatten)]
    async fn extra(&self) -> &E {
        &self.extra
    }
}

/// Cuts a page out of a list that is in memory, in its order. `key` must be unique and stable; cursors are made of it and of the list's
/// `name`.
///
/// # Errors
/// `INVALID_CURSOR` when the entry of the cursor is not in the list.
pub(crate) fn cut<T, N: OutputType, E: ObjectType>(
    items: Vec<T>,
    name: &'static str,
    request: &PageRequest,
    key: impl Fn(&T) -> String,
    extra: impl FnOnce(usize) -> E,
    node: impl Fn(T) -> N,
) -> Result<Page<N, E>, Error> {
    let extra = extra(items.len());
    let order = Order {
        name,
        direction: Direction::Ascending,
    };
    let found = page::Page::cut(items, order, request, |item| Key::Text(key(item)));
    let found = found.map_err(|_| bad_cursor())?;
    Ok(Page::of(found, extra, node))
}

/// [`cut`] for lists that only have a length besides.
///
/// # Errors
/// As [`cut`].
pub(crate) fn cut_counted<T, N: OutputType>(
    items: Vec<T>,
    name: &'static str,
    request: &PageRequest,
    key: impl Fn(&T) -> String,
    node: impl Fn(T) -> N,
) -> Result<Page<N, Counted>, Error> {
    let extra = |length| Counted(Length::Known(length));
    cut(items, name, request, key, extra, node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::limits;

    #[test]
    fn page_costs_its_entries() {
        assert_eq!(cost(Some(10), None, 3), 35);
        assert_eq!(cost(None, Some(10), 3), 35);
        assert_eq!(cost(Some(-1), None, 1), 55);
        assert_eq!(cost(Some(i32::MAX), None, 1), 205);
    }

    #[test]
    fn cost_of_lists_within_lists_stays_far_above_the_limit_and_never_overflows() {
        let mut children = 20_000;
        for _ in 0..30 {
            // As many fields side by side as a document has room for.
            children = cost(Some(200), None, children).checked_mul(60_000).unwrap();
            assert!(children > limits::COMPLEXITY);
        }
    }
}
