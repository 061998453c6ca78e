//! Keyset pages: which part of a list is wanted, in which order, and where it continues.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ulid::Ulid;

/// Most rows of one page.
pub const MAX_PAGE: u32 = 200;
/// Rows of a page whose caller names no number.
pub const DEFAULT_PAGE: u32 = 50;
/// Where counting the rows of a list stops.
pub const COUNT_CAP: u64 = 10_000;

/// Longest text of a cursor that is looked at.
const MAX_CURSOR: usize = 8_192;
const VERSION: u8 = 2;

/// Which way a list goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Smallest or oldest first.
    Ascending,
    /// Largest or newest first.
    Descending,
}

impl Direction {
    /// The other way.
    pub fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// The order of a list: its name, unique among all orders of all lists, and its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// For example `runs.id`. Part of every cursor, so it never changes its meaning.
    pub name: &'static str,
    /// Which way.
    pub direction: Direction,
}

/// One value by which a list is ordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A time in ms, or any other number.
    Number(i64),
    /// A name.
    Text(String),
    /// An id of 16 bytes.
    Id(u128),
}

/// A position in an ordered list: the keys of the row there, the unique id last. Opaque to clients, and of use only in the order in which it
/// was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The order of the list.
    pub order: Order,
    /// As many as the order has, never none.
    pub keys: Vec<Key>,
}

/// Text that is not a cursor of ours, or not one of this list in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this cursor is not one of this list in this order; start again without it")]
pub struct InvalidCursor;

impl Cursor {
    /// A position in a list that is ordered by nothing but a ULID.
    pub fn at(order: Order, id: Ulid) -> Self {
        Self {
            order,
            keys: vec![Key::Id(id.0)],
        }
    }

    /// The cursor as clients hold it: base64url of version, order, direction and keys.
    pub fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        put_text(&mut bytes, self.order.name);
        bytes.push(match self.order.direction {
            Direction::Ascending => 0,
            Direction::Descending => 1,
        });
        for key in &self.keys {
            match key {
                Key::Number(number) => {
                    bytes.push(b'n');
                    bytes.extend(number.to_be_bytes());
                }
                Key::Text(text) => {
                    bytes.push(b't');
                    put_text(&mut bytes, text);
                }
                Key::Id(id) => {
                    bytes.push(b'i');
                    bytes.extend(id.to_be_bytes());
                }
            }
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor of a list in this order.
    ///
    /// # Errors
    /// [`InvalidCursor`] for anything that [`Cursor::encode`] did not make in this order.
    pub fn decode(text: &str, order: Order) -> Result<Self, InvalidCursor> {
        if text.len() > MAX_CURSOR {
            return Err(InvalidCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let mut rest = bytes.as_slice();
        if take::<1>(&mut rest)? != [VERSION] || take_text(&mut rest)? != order.name {
            return Err(InvalidCursor);
        }
        let is_descending = match take::<1>(&mut rest)? {
            [0] => false,
            [1] => true,
            _ => return Err(InvalidCursor),
        };
        if is_descending != (order.direction == Direction::Descending) {
            return Err(InvalidCursor);
        }
        let mut keys = Vec::new();
        while !rest.is_empty() {
            keys.push(match take::<1>(&mut rest)? {
                [b'n'] => Key::Number(i64::from_be_bytes(take(&mut rest)?)),
                [b't'] => Key::Text(take_text(&mut rest)?.to_owned()),
                [b'i'] => Key::Id(u128::from_be_bytes(take(&mut rest)?)),
                _ => return Err(InvalidCursor),
            });
        }
        if keys.is_empty() {
            return Err(InvalidCursor);
        }
        Ok(Self { order, keys })
    }
}

/// Lists are ordered by names of a few hundred bytes; an index could not hold what does not fit here.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(&text.as_bytes()[..usize::from(length)]);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], InvalidCursor> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(InvalidCursor)?;
    *rest = left;
    Ok(*taken)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, InvalidCursor> {
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    let (taken, left) = rest.split_at_checked(length).ok_or(InvalidCursor)?;
    *rest = left;
    std::str::from_utf8(taken).map_err(|_| InvalidCursor)
}

/// Which part of a list is wanted: the first rows after a position, or the last rows before one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PageRequest {
    /// Rows wanted, 1 to [`MAX_PAGE`].
    pub limit: u32,
    /// Whether the last rows (before `from`) are wanted, not the first (after it). Either way they come in the order of the list.
    pub backward: bool,
    /// The cursor after or before which the page lies, as the client sent it; none for an end of the list.
    pub from: Option<String>,
    /// Whether it has to be known if there are rows on the side where the page was entered; that costs a look.
    pub look_back: bool,
}

/// Arguments that name no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPage {
    /// No such number of rows.
    #[error("`{0}` must be between 1 and {MAX_PAGE}")]
    Size(&'static str),
    /// Two pages at once.
    #[error(
        "ask for `first` entries `after` a cursor or for the `last` entries `before` one, not for both"
    )]
    BothWays,
}

impl PageRequest {
    /// The first `limit` rows (held between 1 and [`MAX_PAGE`]) after `from`.
    pub fn new(limit: u32, from: Option<String>) -> Self {
        Self {
            limit: limit.clamp(1, MAX_PAGE),
            backward: false,
            from,
            look_back: false,
        }
    }

    /// The page that the four arguments of a connection ask for; [`DEFAULT_PAGE`] rows when no number is given.
    ///
    /// # Errors
    /// [`InvalidPage`] for a number outside 1 to [`MAX_PAGE`], and for arguments of both directions.
    pub fn of_arguments(
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Self, InvalidPage> {
        let backward = last.is_some() || before.is_some();
        if backward && (first.is_some() || after.is_some()) {
            return Err(InvalidPage::BothWays);
        }
        let (name, wanted) = if backward {
            ("last", last)
        } else {
            ("first", first)
        };
        let limit = match wanted {
            None => DEFAULT_PAGE,
            Some(wanted) => u32::try_from(wanted)
                .ok()
                .filter(|wanted| (1..=MAX_PAGE).contains(wanted))
                .ok_or(InvalidPage::Size(name))?,
        };
        Ok(Self {
            limit,
            backward,
            from: after.or(before),
            look_back: false,
        })
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows, in the order of the list.
    pub items: Vec<T>,
    /// The cursors of the rows.
    pub cursors: Vec<String>,
    /// Whether a page follows. Going backward it is known only when it was asked for by `look_back`, and false otherwise.
    pub has_next: bool,
    /// Whether a page precedes. Going forward it is known only when it was asked for by `look_back`, and false otherwise.
    pub has_previous: bool,
}

impl<T> Page<T> {
    /// A page of nothing.
    pub fn empty() -> Self {
        Self {
            items: Vec::new(),
            cursors: Vec::new(),
            has_next: false,
            has_previous: false,
        }
    }

    /// The same page of something made of each row.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            cursors: self.cursors,
            has_next: self.has_next,
            has_previous: self.has_previous,
        }
    }

    /// The same page of something made of each row, without those of which nothing is made.
    pub fn filter_map<U>(self, mut change: impl FnMut(T) -> Option<U>) -> Page<U> {
        let rows = self.items.into_iter().zip(self.cursors);
        let (items, cursors) = rows
            .filter_map(|(item, cursor)| Some((change(item)?, cursor)))
            .unzip();
        Page {
            items,
            cursors,
            has_next: self.has_next,
            has_previous: self.has_previous,
        }
    }

    /// The same page of something made of each row.
    ///
    /// # Errors
    /// The first one of `change`.
    pub fn try_map<U, E>(self, change: impl FnMut(T) -> Result<U, E>) -> Result<Page<U>, E> {
        Ok(Page {
            items: self
                .items
                .into_iter()
                .map(change)
                .collect::<Result<_, E>>()?,
            cursors: self.cursors,
            has_next: self.has_next,
            has_previous: self.has_previous,
        })
    }

    /// Cuts a page out of a whole list that is in memory, in its order. `key` is unique.
    ///
    /// # Errors
    /// [`InvalidCursor`] when the cursor is not one of this order, or its entry is not in the list.
    pub fn cut(
        mut items: Vec<T>,
        order: Order,
        request: &PageRequest,
        key: impl Fn(&T) -> Key,
    ) -> Result<Self, InvalidCursor> {
        let cursor = |item: &T| Cursor {
            order,
            keys: vec![key(item)],
        };
        let at = match &request.from {
            None => None,
            Some(text) => {
                let wanted = Cursor::decode(text, order)?;
                let found = items.iter().position(|item| cursor(item) == wanted);
                Some(found.ok_or(InvalidCursor)?)
            }
        };
        let (limit, length) = (request.limit as usize, items.len());
        let (start, end) = if request.backward {
            let end = at.unwrap_or(length);
            (end.saturating_sub(limit), end)
        } else {
            let start = at.map_or(0, |at| at + 1);
            (start, start.saturating_add(limit).min(length))
        };
        items.truncate(end);
        let items = items.split_off(start);
        Ok(Self {
            cursors: items.iter().map(|item| cursor(item).encode()).collect(),
            items,
            has_next: end < length,
            has_previous: start > 0,
        })
    }
}

/// How many rows a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Rows counted.
    pub value: u64,
    /// False when counting stopped at [`COUNT_CAP`], so that there may be more.
    pub is_exact: bool,
}

impl Count {
    /// Of a list that was counted no further than one row beyond [`COUNT_CAP`].
    pub fn capped(rows: u64) -> Self {
        Self {
            value: rows.min(COUNT_CAP),
            is_exact: rows <= COUNT_CAP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Order = Order {
        name: "things.name",
        direction: Direction::Ascending,
    };

    #[test]
    fn cursor_survives_its_text_and_nothing_else_is_one() {
        let cursor = Cursor {
            order: ORDER,
            keys: vec![
                Key::Number(-7),
                Key::Text("näme".into()),
                Key::Id(u128::MAX),
            ],
        };
        let text = cursor.encode();
        assert_eq!(Cursor::decode(&text, ORDER), Ok(cursor));
        let others = [
            Order {
                name: "things.id",
                ..ORDER
            },
            Order {
                direction: Direction::Descending,
                ..ORDER
            },
        ];
        for other in others {
            assert_eq!(Cursor::decode(&text, other), Err(InvalidCursor));
        }
        for bad in [
            "",
            "x",
            "AAAA",
            "!!!!",
            &text[..text.len() - 4],
            &"A".repeat(10_000),
        ] {
            assert_eq!(Cursor::decode(bad, ORDER), Err(InvalidCursor), "{bad}");
        }
        let empty = Cursor {
            order: ORDER,
            keys: Vec::new(),
        };
        assert_eq!(Cursor::decode(&empty.encode(), ORDER), Err(InvalidCursor));
    }

    #[test]
    fn arguments_name_one_page_or_none() {
        let cursor = || Some("c".to_owned());
        let of = PageRequest::of_arguments;
        assert_eq!(of(None, None, None, None).unwrap().limit, DEFAULT_PAGE);
        let backward = of(None, None, Some(3), cursor()).unwrap();
        assert!(backward.backward && backward.limit == 3 && backward.from == cursor());
        assert!(of(None, None, None, cursor()).unwrap().backward);
        for bad in [0, -1, 201] {
            assert_eq!(
                of(Some(bad), None, None, None),
                Err(InvalidPage::Size("first"))
            );
            assert_eq!(
                of(None, None, Some(bad), None),
                Err(InvalidPage::Size("last"))
            );
        }
        for (first, after, last, before) in [
            (Some(1), None, Some(1), None),
            (Some(1), cursor(), Some(1), cursor()),
            (Some(1), None, None, cursor()),
            (None, cursor(), Some(1), None),
            (None, cursor(), None, cursor()),
        ] {
            assert_eq!(of(first, after, last, before), Err(InvalidPage::BothWays));
        }
    }

    #[test]
    fn pages_of_a_list_in_memory_meet_without_gap_or_overlap() {
        let page = |first, after: Option<&str>, last, before: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let request = PageRequest::of_arguments(first, own(after), last, own(before)).unwrap();
            Page::cut((0..5).collect(), ORDER, &request, |n| Key::Number(*n))
        };
        let one = page(Some(3), None, None, None).unwrap();
        assert_eq!(
            (one.items.as_slice(), one.has_next, one.has_previous),
            ([0, 1, 2].as_slice(), true, false)
        );
        let two = page(Some(3), Some(&one.cursors[2]), None, None).unwrap();
        assert_eq!(
            (two.items.as_slice(), two.has_next, two.has_previous),
            ([3, 4].as_slice(), false, true)
        );
        let back = page(None, None, Some(2), Some(&two.cursors[0])).unwrap();
        assert_eq!(
            (back.items.as_slice(), back.has_next, back.has_previous),
            ([1, 2].as_slice(), true, true)
        );
        let last = page(None, None, Some(9), None).unwrap();
        assert_eq!((last.items.len(), last.has_previous), (5, false));
        assert!(page(None, Some("%%"), None, None).is_err());
    }
}
