//! The budget of a search: what it looks at is bounded, and what it leaves is found by going on.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use inngest_core::page::{Cursor, Key, Order};

use super::*;

const ORDER: Order = Order {
    name: "numbers",
    direction: Direction::Ascending,
};

/// A list of numbers, in which only some are looked for.
struct Numbers {
    length: i64,
    wanted: fn(i64) -> bool,
    clock: Clock,
    /// How long it takes to read a slice.
    slowness: Duration,
}

impl Numbers {
    fn new(length: i64, wanted: fn(i64) -> bool) -> Self {
        Self {
            length,
            wanted,
            clock: Clock::manual(Timestamp::from_millis(1_000)),
            slowness: Duration::ZERO,
        }
    }

    async fn page(&self, request: &PageRequest) -> Found<i64> {
        page(&self.clock, self, request).await.unwrap()
    }
}

impl Searched for Numbers {
    type Row = i64;

    fn is_searched(&self) -> bool {
        true
    }

    fn bytes(_: &i64) -> u64 {
        8
    }

    async fn slice(&self, request: &PageRequest) -> Result<Slice<i64>, Error> {
        self.clock.advance(self.slowness);
        let at = match &request.from {
            None => None,
            Some(text) => match Cursor::decode(text, ORDER)?.keys.first() {
                Some(Key::Number(at)) => Some(*at),
                _ => None,
            },
        };
        let limit = i64::from(request.limit);
        let items: Vec<i64> = if request.backward {
            let end = at.unwrap_or(self.length);
            ((end - limit).max(0)..end).collect()
        } else {
            let start = at.map_or(0, |at| at + 1);
            (start..(start + limit).min(self.length)).collect()
        };
        let cursor = |n: &i64| {
            Cursor {
                order: ORDER,
                keys: vec![Key::Number(*n)],
            }
            .encode()
        };
        let end = match request.backward {
            false => items.last(),
            true => items.first(),
        };
        Ok(Slice {
            candidates: items.len() as u64,
            end: end.map(cursor),
            reached: end.map(|n| Timestamp::from_millis(*n)),
            goes_on: items.len() >= request.limit as usize,
            page: Page {
                cursors: items.iter().map(cursor).collect(),
                items,
                has_next: false,
                has_previous: false,
            },
        })
    }

    async fn judge(&self, rows: &[i64]) -> Result<Vec<bool>, Error> {
        Ok(rows.iter().map(|row| (self.wanted)(*row)).collect())
    }

    fn time(row: &i64) -> Timestamp {
        Timestamp::from_millis(*row)
    }
}

#[tokio::test]
async fn page_that_is_full_stops_looking() {
    let numbers = Numbers::new(5_000, |n| n % 2 == 0);
    let found = numbers.page(&PageRequest::new(10, None)).await;
    assert_eq!(found.page.items, (0..10).map(|n| n * 2).collect::<Vec<_>>());
    assert!(found.page.has_next);
    let expected = Scan {
        scanned: 500,
        stopped_at: None,
        until: Some(Timestamp::from_millis(18)),
    };
    assert_eq!(found.scan, expected);
}

#[tokio::test]
async fn search_for_little_stops_at_its_budget_and_goes_on_from_there() {
    for backward in [false, true] {
        let numbers = Numbers::new(50_000, |n| n % 24_000 == 0);
        let mut request = PageRequest {
            limit: 10,
            backward,
            from: None,
            look_back: false,
        };
        let (mut seen, mut pages) = (Vec::new(), 0);
        loop {
            let found = numbers.page(&request).await;
            assert!(found.scan.scanned <= SEARCH_ROWS);
            pages += 1;
            seen.extend(found.page.items);
            let Some(stopped_at) = found.scan.stopped_at else {
                assert!(!found.page.has_next && !found.page.has_previous);
                break;
            };
            assert_eq!(
                (found.page.has_next, found.page.has_previous),
                (!backward, backward)
            );
            request.from = Some(stopped_at);
        }
        seen.sort_unstable();
        assert_eq!((seen, pages), (vec![0, 24_000, 48_000], 3));
    }
}

#[tokio::test]
async fn slow_search_stops_in_time() {
    let numbers = Numbers {
        slowness: Duration::from_millis(700),
        ..Numbers::new(50_000, |_| false)
    };
    let found = numbers.page(&PageRequest::new(10, None)).await;
    assert_eq!(found.scan.scanned, 3 * 500);
    assert!(found.scan.stopped_at.is_some() && found.page.has_next);
}

#[tokio::test]
async fn count_says_whether_it_looked_at_everything() {
    let count = async |length, wanted| {
        let numbers = Numbers::new(length, wanted);
        count(&numbers.clock, &numbers).await.unwrap()
    };
    for (length, wanted, value, is_exact) in [
        (3_000, (|n| n % 2 == 0) as fn(i64) -> bool, 1_500, true),
        (50_000, |n| n % 20 == 0, 1_000, false),
        (50_000, |_| true, COUNT_CAP, false),
    ] {
        assert_eq!(count(length, wanted).await, Count { value, is_exact });
    }
}
