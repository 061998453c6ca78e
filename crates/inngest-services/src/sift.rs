//! Pages of what no index can find: rows are read in slices in the order of the list and judged one by one.

use inngest_core::page::{COUNT_CAP, Count, Page, PageRequest};

use crate::{
    Error,
    search::{Found, Scan},
};

/// Rows read at once.
pub(crate) const SLICE: u32 = 500;

/// A list that can be read in slices. A trait and not a closure, so that the future of a page can go to another thread.
pub(crate) trait Rows: Sync {
    /// What is in the list.
    type Row: Send;

    /// One page of it.
    fn read(
        &self,
        request: &PageRequest,
    ) -> impl Future<Output = Result<Page<Self::Row>, Error>> + Send;
}

/// Reads slices until the page is full of rows that `keep` lets through, the list ends, or `most` rows were read. Where it stopped is told
/// only in the last case.
pub(crate) async fn page<R: Rows>(
    rows: &R,
    request: &PageRequest,
    keep: impl Fn(&R::Row) -> bool + Send,
    most: u64,
) -> Result<Found<R::Row>, Error> {
    let limit = request.limit as usize;
    let mut slice = PageRequest {
        limit: SLICE,
        ..request.clone()
    };
    let mut kept: Vec<(R::Row, String)> = Vec::new();
    let mut entered_inside = None;
    let mut scan = Scan::default();
    loop {
        let found = rows.read(&slice).await?;
        scan.scanned += found.items.len() as u64;
        let (goes_on, behind) = sides(request, &found);
        entered_inside.get_or_insert(behind);
        slice.from = end(request, &found.cursors);
        slice.look_back = false;
        let read = found.items.into_iter().zip(found.cursors);
        if request.backward {
            kept.extend(read.rev().filter(|(row, _)| keep(row)));
        } else {
            kept.extend(read.filter(|(row, _)| keep(row)));
        }
        if kept.len() > limit || !goes_on {
            break;
        }
        if scan.scanned >= most {
            scan.stopped_at = slice.from;
            break;
        }
    }
    let goes_on = kept.len() > limit || scan.stopped_at.is_some();
    kept.truncate(limit);
    if request.backward {
        kept.reverse();
    }
    let (items, cursors) = kept.into_iter().unzip();
    let entered_inside = entered_inside.unwrap_or(false);
    let (has_next, has_previous) = match request.backward {
        false => (goes_on, entered_inside),
        true => (entered_inside, goes_on),
    };
    let page = Page {
        items,
        cursors,
        has_next,
        has_previous,
    };
    Ok(Found { page, scan })
}

/// How many rows `keep` lets through; not exact when there are more than `most` rows to look at.
pub(crate) async fn count<R: Rows>(
    rows: &R,
    keep: impl Fn(&R::Row) -> bool + Send,
    most: u64,
) -> Result<Count, Error> {
    let mut slice = PageRequest {
        limit: SLICE,
        backward: false,
        from: None,
        look_back: false,
    };
    let (mut counted, mut scanned) = (0, 0);
    loop {
        let found = rows.read(&slice).await?;
        scanned += found.items.len() as u64;
        counted += found.items.iter().filter(|row| keep(row)).count() as u64;
        if counted > COUNT_CAP || !found.has_next {
            return Ok(Count::capped(counted));
        }
        if scanned >= most {
            return Ok(Count {
                is_exact: false,
                ..Count::capped(counted)
            });
        }
        slice.from = found.cursors.last().cloned();
    }
}

/// Whether rows follow in the direction of reading, and whether there are some behind.
fn sides<T>(request: &PageRequest, found: &Page<T>) -> (bool, bool) {
    match request.backward {
        false => (found.has_next, found.has_previous),
        true => (found.has_previous, found.has_next),
    }
}

/// The last cursor in the direction of reading.
fn end(request: &PageRequest, cursors: &[String]) -> Option<String> {
    match request.backward {
        false => cursors.last().cloned(),
        true => cursors.first().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use inngest_core::page::{Direction, Key, Order};

    use super::*;

    const ORDER: Order = Order {
        name: "numbers",
        direction: Direction::Ascending,
    };

    struct Numbers;

    impl Rows for Numbers {
        type Row = i64;

        async fn read(&self, request: &PageRequest) -> Result<Page<i64>, Error> {
            let key = |n: &i64| Key::Number(*n);
            Ok(Page::cut((0..1_300).collect(), ORDER, request, key)?)
        }
    }

    #[tokio::test]
    async fn rare_rows_fill_pages_in_both_directions() {
        let rare = |n: &i64| n % 100 == 7;
        let mut request = PageRequest::new(5, None);
        let mut seen = Vec::new();
        loop {
            let found = page(&Numbers, &request, rare, 2_000).await.unwrap();
            assert_eq!(found.scan.stopped_at, None);
            seen.extend(found.page.items);
            if !found.page.has_next {
                break;
            }
            request.from = found.page.cursors.last().cloned();
        }
        let expected: Vec<i64> = (0..1_300).filter(rare).collect();
        assert_eq!(seen, expected);

        let request = PageRequest::of_arguments(None, None, Some(4), None).unwrap();
        let last = page(&Numbers, &request, rare, 2_000).await.unwrap().page;
        assert_eq!(last.items, expected[expected.len() - 4..]);
        assert!(last.has_previous && !last.has_next);
        assert_eq!(count(&Numbers, rare, 2_000).await.unwrap().value, 13);
    }

    #[tokio::test]
    async fn look_ends_with_its_budget_and_goes_on_from_there() {
        let last = |n: &i64| *n >= 1_200;
        let mut request = PageRequest::new(50, None);
        let mut pages = Vec::new();
        loop {
            let found = page(&Numbers, &request, last, 1_000).await.unwrap();
            pages.push(found.page.items.len());
            if !found.page.has_next {
                break;
            }
            let stopped_at = found.scan.stopped_at;
            request.from = stopped_at.or_else(|| found.page.cursors.last().cloned());
        }
        assert_eq!(pages, [0, 50, 50]);
        let counted = count(&Numbers, last, 1_000).await.unwrap();
        assert_eq!((counted.value, counted.is_exact), (0, false));
    }
}
