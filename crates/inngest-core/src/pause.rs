//! Pauses of functions: what one holds back, and until when.

use crate::{access::Author, time::Timestamp};

/// How a function is paused. It starts no run meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: Author,
    /// What that one has to say about it.
    pub reason: Option<String>,
    /// What becomes of runs that have started.
    pub in_flight: PauseInFlight,
    /// What becomes of new triggers.
    pub new_events: PauseNewEvents,
    /// When it ends by itself; none for never.
    pub resumes_at: Option<Timestamp>,
}

impl Pause {
    /// Whether a run gets no further call until the pause ends: one that was not called yet in any case.
    pub fn holds(&self, has_started: bool) -> bool {
        match self.in_flight {
            PauseInFlight::Continue => !has_started,
            PauseInFlight::Hold | PauseInFlight::Cancel => true,
        }
    }
}

/// What a pause does to runs that have started. The numbers are stored; never reuse one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i16)]
pub enum PauseInFlight {
    /// They go on.
    #[default]
    Continue = 1,
    /// Their next call waits until the function is resumed.
    Hold = 2,
    /// They are cancelled, and so are those that had not started.
    Cancel = 3,
}

impl PauseInFlight {
    /// The stored number.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The variant with this number, if there is one in this version.
    pub fn from_code(code: i16) -> Option<Self> {
        let all = [Self::Continue, Self::Hold, Self::Cancel];
        all.into_iter().find(|variant| variant.code() == code)
    }
}

/// What a pause does to new triggers. The numbers are stored; never reuse one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i16)]
pub enum PauseNewEvents {
    /// They are recorded as skipped runs.
    #[default]
    Skip = 1,
    /// Their runs wait until the function is resumed.
    Hold = 2,
}

impl PauseNewEvents {
    /// The stored number.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The variant with this number, if there is one in this version.
    pub fn from_code(code: i16) -> Option<Self> {
        let all = [Self::Skip, Self::Hold];
        all.into_iter().find(|variant| variant.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for variant in [
            PauseInFlight::Continue,
            PauseInFlight::Hold,
            PauseInFlight::Cancel,
        ] {
            assert_eq!(PauseInFlight::from_code(variant.code()), Some(variant));
        }
        for variant in [PauseNewEvents::Skip, PauseNewEvents::Hold] {
            assert_eq!(PauseNewEvents::from_code(variant.code()), Some(variant));
        }
        assert_eq!(PauseInFlight::from_code(0), None);
        assert_eq!(PauseNewEvents::from_code(9), None);
    }

    #[test]
    fn run_that_was_not_called_yet_is_held_by_every_pause() {
        let pause = |in_flight| Pause {
            at: Timestamp::default(),
            by: Author::system(),
            reason: None,
            in_flight,
            new_events: PauseNewEvents::Skip,
            resumes_at: None,
        };
        for (in_flight, has_started, holds) in [
            (PauseInFlight::Continue, false, true),
            (PauseInFlight::Continue, true, false),
            (PauseInFlight::Hold, false, true),
            (PauseInFlight::Hold, true, true),
        ] {
            assert_eq!(pause(in_flight).holds(has_started), holds, "{in_flight:?}");
        }
    }
}
