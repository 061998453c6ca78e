//! Positions of feeds as clients hold them.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use inngest_core::page::InvalidCursor;
use inngest_state::{LogPlace, LogPosition};
use uuid::Uuid;

const VERSION: u8 = 1;

/// A position in the changes of an environment. Opaque text to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedCursor(pub(super) LogPlace);

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogPlace { epoch, position } = self.0;
        let mut bytes = [0; 33];
        bytes[0] = VERSION;
        bytes[1..17].copy_from_slice(epoch.as_bytes());
        bytes[17..25].copy_from_slice(&position.txid.to_be_bytes());
        bytes[25..].copy_from_slice(&position.seq.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for FeedCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let bytes: [u8; 33] = bytes.try_into().map_err(|_| InvalidCursor)?;
        let number = |from: usize| {
            let mut part = [0; 8];
            part.copy_from_slice(&bytes[from..from + 8]);
            i64::from_be_bytes(part)
        };
        if bytes[0] != VERSION {
            return Err(InvalidCursor);
        }
        let mut epoch = [0; 16];
        epoch.copy_from_slice(&bytes[1..17]);
        Ok(Self(LogPlace {
            epoch: Uuid::from_bytes(epoch),
            position: LogPosition {
                txid: number(17),
                seq: number(25),
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_survives_its_text_and_nothing_else_is_one() {
        let cursor = FeedCursor(LogPlace {
            epoch: Uuid::from_u128(7),
            position: LogPosition {
                txid: i64::MAX,
                seq: -3,
            },
        });
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in ["", "x", "AAAA", "!!!!", &URL_SAFE_NO_PAD.encode([9; 33])] {
            assert_eq!(bad.parse::<FeedCursor>(), Err(InvalidCursor), "{bad}");
        }
    }
}
