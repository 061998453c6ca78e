//! Trace context as `traceparent` headers carry it (W3C Trace Context, version 00).

use std::{fmt, str::FromStr};

/// Which span of which trace something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never 0.
    pub trace: u128,
    /// The span in it; never 0.
    pub span: u64,
    /// Whether whoever began the trace records it.
    pub is_sampled: bool,
}

/// Not a `traceparent` that can be continued; it counts as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTraceParent;

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    /// Reads version 00 and, as far as they agree with it, later ones.
    fn from_str(text: &str) -> Result<Self, NoTraceParent> {
        let mut parts = text.split('-');
        let mut hex = |digits: usize| {
            let is_lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            let part = parts.next().filter(|part| part.len() == digits)?;
            part.bytes()
                .all(is_lower)
                .then(|| u128::from_str_radix(part, 16).ok())?
        };
        let version = hex(2).ok_or(NoTraceParent)?;
        let trace = hex(32).ok_or(NoTraceParent)?;
        let span = hex(16).ok_or(NoTraceParent)?;
        let flags = hex(2).ok_or(NoTraceParent)?;
        let has_more = parts.next().is_some();
        let span = u64::try_from(span).map_err(|_| NoTraceParent)?;
        if trace == 0 || span == 0 || version == 0xff || (version == 0 && has_more) {
            return Err(NoTraceParent);
        }
        Ok(Self {
            trace,
            span,
            is_sampled: flags & 1 == 1,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.is_sampled);
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_is_written_and_nothing_else_is_read() {
        let sampled = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00";
        for text in [sampled, unsampled] {
            assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), text);
        }
        // Later versions may add to it, and flags may mean more.
        let later = "cc-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-ff-what";
        assert_eq!(later.parse::<TraceParent>().unwrap().to_string(), sampled);
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-+af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319-00f067aa0ba902b7-01",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(NoTraceParent), "{text}");
        }
    }
}
