//! Keyset pages: how far a list goes and where it continues.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ulid::Ulid;

/// Most rows of one page.
pub const MAX_PAGE: u32 = 200;
/// Rows of a page whose caller names no number.
pub const DEFAULT_PAGE: u32 = 50;

/// A position in a list ordered by a ULID, newest first. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub Ulid);

/// Text that is not a cursor of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this cursor is not one of ours; start again without it")]
pub struct InvalidCursor;

const VERSION: u8 = 1;

impl Cursor {
    /// The cursor as clients hold it.
    pub fn encode(self) -> String {
        let mut bytes = [0u8; 17];
        bytes[0] = VERSION;
        bytes[1..].copy_from_slice(&self.0.0.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// # Errors
    /// [`InvalidCursor`] for anything that [`Cursor::encode`] did not make.
    pub fn decode(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        match bytes.split_first() {
            Some((&VERSION, rest)) => {
                let raw: [u8; 16] = rest.try_into().map_err(|_| InvalidCursor)?;
                Ok(Self(Ulid(u128::from_be_bytes(raw))))
            }
            _ => Err(InvalidCursor),
        }
    }
}

/// Which part of a list is wanted: newest first, starting after `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Rows wanted, 1 to [`MAX_PAGE`].
    pub limit: u32,
    /// Where to go on.
    pub after: Option<Cursor>,
}

impl PageRequest {
    /// A request for `limit` rows, held between 1 and [`MAX_PAGE`].
    pub fn new(limit: u32, after: Option<Cursor>) -> Self {
        Self {
            limit: limit.clamp(1, MAX_PAGE),
            after,
        }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows, in the order of the list.
    pub items: Vec<T>,
    /// Whether more rows follow.
    pub has_more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_survives_its_text_and_nothing_else_is_one() {
        let cursor = Cursor(Ulid(42));
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        for bad in ["", "x", "AAAA", "!!!!", &URL_SAFE_NO_PAD.encode([9u8; 17])] {
            assert_eq!(Cursor::decode(bad), Err(InvalidCursor), "{bad}");
        }
    }
}
