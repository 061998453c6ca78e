//! Lists as Relay connections, forward only.

use async_graphql::{
    Context, Error, Object, ObjectType, OutputType, SimpleObject,
    connection::{Connection, Edge, EmptyFields},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use inngest_core::page::{Cursor, DEFAULT_PAGE, MAX_PAGE, PageRequest};
use inngest_services::ListRuns;

use crate::graphql::{
    asking::asking,
    error::{bad_cursor, bad_input, failed},
};

/// Counting stops here.
const COUNT_CAP: u64 = 10_000;

/// What a page of `first` entries costs.
pub(crate) fn cost(first: Option<i32>, children: usize) -> usize {
    let size = first
        .and_then(|first| usize::try_from(first).ok())
        .unwrap_or(DEFAULT_PAGE as usize)
        .min(MAX_PAGE as usize);
    5 + size.saturating_mul(children)
}

/// The number of entries wanted.
///
/// # Errors
/// `BAD_USER_INPUT` when it is not between 1 and 200.
pub(crate) fn size(first: Option<i32>) -> Result<u32, Error> {
    match first {
        None => Ok(DEFAULT_PAGE),
        Some(first) => u32::try_from(first)
            .ok()
            .filter(|first| (1..=MAX_PAGE).contains(first))
            .ok_or_else(|| bad_input(format!("`first` must be between 1 and {MAX_PAGE}"))),
    }
}

/// The page of a stored list.
pub(crate) fn page(first: Option<i32>, after: Option<&str>) -> Result<PageRequest, Error> {
    let after = after
        .map(Cursor::decode)
        .transpose()
        .map_err(|_| bad_cursor())?;
    Ok(PageRequest::new(size(first)?, after))
}

/// Size of a result set, capped so that it stays cheap.
#[derive(SimpleObject)]
pub(crate) struct TotalCount {
    /// Number of items counted.
    value: i32,
    /// False when counting stopped at the cap, so the real number is value or more.
    is_exact: bool,
}

impl TotalCount {
    fn of(count: u64) -> Self {
        Self {
            value: i32::try_from(count).unwrap_or(i32::MAX),
            is_exact: count < COUNT_CAP,
        }
    }
}

/// What connections of lists held in memory have besides their page.
pub(crate) struct Counted(usize);

#[Object]
impl Counted {
    /// Number of items in the whole list.
    async fn total_count(&self) -> TotalCount {
        TotalCount {
            value: i32::try_from(self.0).unwrap_or(i32::MAX),
            is_exact: true,
        }
    }
}

/// What connections of runs have besides their page.
pub(crate) enum RunPage {
    /// A list that has to be asked for its length.
    Stored {
        request: ListRuns,
        feed_cursor: Option<String>,
    },
    /// A list of known length, below another object.
    Known(usize),
}

#[Object]
impl RunPage {
    /// Number of items in the whole list; computed only when selected.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<TotalCount, Error> {
        match self {
            Self::Known(length) => Ok(TotalCount {
                value: i32::try_from(*length).unwrap_or(i32::MAX),
                is_exact: true,
            }),
            Self::Stored { request, .. } => {
                let asking = asking(ctx);
                let count = asking
                    .services
                    .runs()
                    .count(&asking.actor, request, COUNT_CAP)
                    .await;
                count
                    .map(TotalCount::of)
                    .map_err(|error| failed(ctx, &error))
            }
        }
    }

    /// Position for runFeed(after:), taken before the page was read; null on nested lists.
    async fn feed_cursor(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Stored { feed_cursor, .. } => feed_cursor.as_deref(),
        }
    }
}

/// What connections of events have besides their page.
pub(crate) struct EventPage {
    pub(crate) feed_cursor: Option<String>,
}

#[Object]
impl EventPage {
    /// Position for eventFeed(after:), taken before the page was read; null on nested lists.
    async fn feed_cursor(&self) -> Option<&str> {
        self.feed_cursor.as_deref()
    }
}

/// A connection whose extra fields are `E`.
pub(crate) type Page<N, E = EmptyFields> = Connection<String, N, E>;

/// Cuts a page out of a list that is in memory. `key` must be unique and stable; cursors are made of it.
///
/// # Errors
/// `BAD_USER_INPUT` for a bad size, `INVALID_CURSOR` when the entry of the cursor is not in the list.
pub(crate) fn cut<T, N: OutputType, E: ObjectType>(
    items: Vec<T>,
    page: (Option<i32>, Option<&str>),
    key: impl Fn(&T) -> String,
    extra: impl FnOnce(usize) -> E,
    node: impl Fn(T) -> N,
) -> Result<Page<N, E>, Error> {
    let limit = size(page.0)? as usize;
    let start = match page.1 {
        None => 0,
        Some(after) => {
            let wanted = URL_SAFE_NO_PAD
                .decode(after)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(bad_cursor)?;
            items
                .iter()
                .position(|item| key(item) == wanted)
                .ok_or_else(bad_cursor)?
                + 1
        }
    };
    let length = items.len();
    let mut connection = Connection::with_additional_fields(
        start > 0,
        start.saturating_add(limit) < length,
        extra(length),
    );
    connection.edges = items
        .into_iter()
        .skip(start)
        .take(limit)
        .map(|item| {
            let cursor = URL_SAFE_NO_PAD.encode(key(&item));
            Edge::new(cursor, node(item))
        })
        .collect();
    Ok(connection)
}

/// [`cut`] for lists that only have a length besides.
pub(crate) fn cut_counted<T, N: OutputType>(
    items: Vec<T>,
    page: (Option<i32>, Option<&str>),
    key: impl Fn(&T) -> String,
    node: impl Fn(T) -> N,
) -> Result<Page<N, Counted>, Error> {
    cut(items, page, key, Counted, node)
}

/// A page that a service returned, newest first, with ULIDs as positions.
pub(crate) fn stored<T, N: OutputType, E: ObjectType>(
    found: inngest_core::page::Page<T>,
    has_previous: bool,
    extra: E,
    position: impl Fn(&T) -> Cursor,
    node: impl Fn(T) -> N,
) -> Page<N, E> {
    let mut connection = Connection::with_additional_fields(has_previous, found.has_more, extra);
    connection.edges = found
        .items
        .into_iter()
        .map(|item| Edge::new(position(&item).encode(), node(item)))
        .collect();
    connection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_list_in_memory_meet_without_gap_or_overlap() {
        let items: Vec<i32> = (0..5).collect();
        let page = |first, after: Option<&str>| {
            cut_counted(
                items.clone(),
                (Some(first), after),
                ToString::to_string,
                |n| n,
            )
            .unwrap()
        };
        let one = page(3, None);
        assert_eq!(
            (one.edges.len(), one.has_next_page, one.has_previous_page),
            (3, true, false)
        );
        let two = page(3, Some(&one.edges[2].cursor));
        assert_eq!(
            two.edges.iter().map(|edge| edge.node).collect::<Vec<_>>(),
            vec![3, 4]
        );
        assert_eq!((two.has_next_page, two.has_previous_page), (false, true));
        assert!(cut_counted(items, (None, Some("%%")), ToString::to_string, |n| n).is_err());
    }

    #[test]
    fn page_size_is_between_one_and_the_maximum() {
        assert_eq!(size(None).unwrap(), 50);
        assert_eq!(size(Some(200)).unwrap(), 200);
        for bad in [0, -1, 201] {
            assert!(size(Some(bad)).is_err(), "{bad}");
        }
        assert_eq!(cost(Some(10), 3), 35);
        assert_eq!(cost(Some(-1), 1), 55);
    }
}
