//! Buckets of time: how wide, how long they are kept, and which of them answer a question about a range.

use std::time::Duration;

use crate::time::Timestamp;

/// Most points of one series.
pub const MOST_POINTS: u32 = 1_000;
/// How many points a series has, where the range allows it.
const GOOD_POINTS: (f64, f64) = (60.0, 200.0);
/// By how much a range may begin before what is kept: the clocks of those who ask for "the last hour" are not ours.
const SLACK: Duration = Duration::from_secs(300);

/// Width of a bucket. All begin at multiples of their width since the epoch, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// 10 s, kept for an hour.
    TenSeconds,
    /// A minute, kept for 3 days.
    Minute,
    /// 5 minutes, kept for 14 days.
    FiveMinutes,
    /// An hour, kept for 90 days.
    Hour,
    /// A day, kept for two years.
    Day,
}

impl Width {
    /// Every width, the smallest first.
    pub const ALL: [Self; 5] = [
        Self::TenSeconds,
        Self::Minute,
        Self::FiveMinutes,
        Self::Hour,
        Self::Day,
    ];

    /// In seconds, as it is stored.
    pub fn seconds(self) -> i32 {
        match self {
            Self::TenSeconds => 10,
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    /// In ms.
    pub fn millis(self) -> i64 {
        i64::from(self.seconds()) * 1_000
    }

    /// How long buckets of this width can be asked for.
    pub fn kept(self) -> Duration {
        let days = |count: u64| Duration::from_secs(count * 86_400);
        match self {
            Self::TenSeconds => Duration::from_secs(3_600),
            Self::Minute => days(3),
            Self::FiveMinutes => days(14),
            Self::Hour => days(90),
            Self::Day => days(730),
        }
    }

    /// Buckets that begin before this may go.
    pub fn cutoff(self, now: Timestamp) -> Timestamp {
        let width = Duration::from_millis(self.millis().unsigned_abs());
        now.minus(self.kept()).minus(2 * SLACK).minus(width)
    }

    /// The start of the bucket of this instant.
    #[must_use]
    pub fn floor(self, at: Timestamp) -> Timestamp {
        let millis = at.as_millis();
        Timestamp::from_millis(millis.saturating_sub(millis.rem_euclid(self.millis())))
    }

    fn is_kept(self, from: Timestamp, now: Timestamp) -> bool {
        from >= now.minus(self.kept()).minus(SLACK)
    }
}

/// A row of buckets without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The width of each.
    pub width: Width,
    /// Start of the first.
    pub from: Timestamp,
    /// End of the last.
    pub until: Timestamp,
}

/// Why a range cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSpan {
    /// It ends before it begins, or begins in the future.
    #[error("the range has no time in it that has passed; its end must be after its start")]
    Empty,
    /// The buckets that are asked for are gone.
    #[error("buckets of this width are kept for {} hours; ask for a wider bucket or a later start", .0.kept().as_secs() / 3_600)]
    Gone(Width),
    /// Too many points.
    #[error(
        "the range has {0} points; {MOST_POINTS} are the most, so ask for a wider bucket or a shorter range"
    )]
    Long(u64),
}

impl Span {
    /// The buckets that a range touches, up to the one that is under way. Without a width the one is taken that makes 60 to 200 points or
    /// comes closest to that.
    ///
    /// # Errors
    /// See [`BadSpan`].
    pub fn of(
        from: Timestamp,
        until: Option<Timestamp>,
        width: Option<Width>,
        now: Timestamp,
    ) -> Result<Self, BadSpan> {
        let passed = Timestamp::from_millis(now.as_millis().saturating_add(1));
        let until = until.map_or(passed, |until| until.min(passed));
        if until <= from || from < Timestamp::default() {
            return Err(BadSpan::Empty);
        }
        let span = |width: Width| {
            let last = Timestamp::from_millis(until.as_millis() - 1);
            Self {
                width,
                from: width.floor(from),
                until: Timestamp::from_millis(width.floor(last).as_millis() + width.millis()),
            }
        };
        let Some(width) = width else {
            let kept = Width::ALL
                .into_iter()
                .filter(|width| width.is_kept(from, now));
            let spans = kept
                .map(span)
                .filter(|span| span.count() <= u64::from(MOST_POINTS));
            let best = spans.min_by(|one, other| one.distance().total_cmp(&other.distance()));
            // Of what is older than everything that is kept the days are asked, and say that there is nothing.
            return best.map_or_else(|| span(Width::Day).checked(), Ok);
        };
        if !width.is_kept(from, now) {
            return Err(BadSpan::Gone(width));
        }
        span(width).checked()
    }

    fn checked(self) -> Result<Self, BadSpan> {
        match self.count() {
            count if count > u64::from(MOST_POINTS) => Err(BadSpan::Long(count)),
            _ => Ok(self),
        }
    }

    /// Number of buckets.
    pub fn count(&self) -> u64 {
        let millis = self.until.as_millis() - self.from.as_millis();
        (millis / self.width.millis()).unsigned_abs()
    }

    /// The starts of the buckets.
    pub fn starts(self) -> impl Iterator<Item = Timestamp> {
        (0..)
            .map(move |number| self.from.as_millis() + number * self.width.millis())
            .take_while(move |start| *start < self.until.as_millis())
            .map(Timestamp::from_millis)
    }

    /// Which of the buckets begins at this instant.
    pub fn place(&self, start: Timestamp) -> Option<usize> {
        let millis = start.as_millis() - self.from.as_millis();
        let place = usize::try_from(millis / self.width.millis()).ok()?;
        (millis >= 0 && (place as u64) < self.count()).then_some(place)
    }

    /// By which factor the number of points misses what is good; 1 where it does not.
    fn distance(&self) -> f64 {
        let (count, (least, most)) = (self.count() as f64, GOOD_POINTS);
        (least / count).max(count / most).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_123_456);

    fn back(seconds: u64) -> Timestamp {
        NOW.minus(Duration::from_secs(seconds))
    }

    #[test]
    fn width_is_chosen_that_makes_sixty_to_two_hundred_points_or_nearly() {
        let (minute, hour, day) = (60, 3_600, 86_400);
        for (seconds, width) in [
            (1, Width::TenSeconds),
            (10 * minute, Width::TenSeconds),
            (30 * minute, Width::TenSeconds),
            (hour, Width::Minute),
            (3 * hour, Width::Minute),
            (6 * hour, Width::FiveMinutes),
            (day, Width::FiveMinutes),
            (3 * day, Width::Hour),
            (7 * day, Width::Hour),
            (14 * day, Width::Hour),
            (30 * day, Width::Day),
            (90 * day, Width::Day),
            (700 * day, Width::Day),
        ] {
            let span = Span::of(back(seconds), None, None, NOW).unwrap();
            assert_eq!(span.width, width, "{seconds} s");
        }
        // What is long past is not there in tens of seconds any more, nor in minutes.
        let old = |end: u64| Span::of(back(end + 600), Some(back(end)), None, NOW).unwrap();
        assert_eq!(old(2 * hour).width, Width::Minute);
        assert_eq!(old(10 * day).width, Width::FiveMinutes);
        assert_eq!(old(800 * day).width, Width::Day);
    }

    #[test]
    fn span_has_every_bucket_that_the_range_touches_up_to_the_present_one() {
        let span = Span::of(back(60), None, Some(Width::Minute), NOW).unwrap();
        assert_eq!(span.from, Width::Minute.floor(back(60)));
        assert_eq!(span.count(), 2);
        let starts: Vec<Timestamp> = span.starts().collect();
        assert_eq!(starts, [span.from, Width::Minute.floor(NOW)]);
        assert_eq!(span.place(starts[1]), Some(1));
        assert_eq!(span.place(span.until), None);
        assert_eq!(span.place(back(600)), None);
        let future = NOW.plus(Duration::from_secs(9_999_999));
        let again = Span::of(back(60), Some(future), Some(Width::Minute), NOW).unwrap();
        assert_eq!(again, span);
        // The end is not in the range.
        let (from, until) = (
            Width::Hour.floor(back(7_200)),
            Width::Hour.floor(back(3_600)),
        );
        let hour = Span::of(from, Some(until), Some(Width::Hour), NOW).unwrap();
        assert_eq!((hour.from, hour.until), (from, until));
    }

    #[test]
    fn ranges_that_cannot_be_answered_are_refused_with_the_reason() {
        let of = |from, until, width| Span::of(from, until, width, NOW).unwrap_err();
        assert_eq!(of(NOW, Some(NOW), None), BadSpan::Empty);
        assert_eq!(
            of(NOW.plus(Duration::from_secs(9)), None, None),
            BadSpan::Empty
        );
        let before = Timestamp::from_millis(-1);
        assert_eq!(of(before, None, None), BadSpan::Empty);
        assert_eq!(
            of(back(7_200), None, Some(Width::TenSeconds)),
            BadSpan::Gone(Width::TenSeconds)
        );
        let long = of(back(2 * 86_400), None, Some(Width::Minute));
        assert_eq!(long, BadSpan::Long(2_881));
        let ancient = of(Timestamp::default(), None, None);
        assert!(matches!(ancient, BadSpan::Long(_)));
        // Somebody whose clock is a little behind may ask for the last hour.
        assert!(Span::of(back(3_700), Some(back(60)), Some(Width::TenSeconds), NOW).is_ok());
    }

    #[test]
    fn what_can_be_asked_for_is_not_deleted() {
        for width in Width::ALL {
            let oldest = NOW.minus(width.kept()).minus(SLACK);
            assert!(width.is_kept(oldest, NOW));
            assert!(width.floor(oldest) > width.cutoff(NOW), "{width:?}");
        }
    }
}
