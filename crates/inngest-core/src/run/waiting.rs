//! Waits as people see them: what a step waits for or has waited for, and how that ended. All of it follows from the step, so it stays when
//! the schedule has forgotten the wait.

use super::{StepDetails, StepKind, StepRecord, StepStatus};
use crate::{
    ids::{EventId, RunId, StepId},
    time::Timestamp,
};

/// Where a wait is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitStatus {
    /// The step still waits.
    Open,
    /// Ended by what it waited for, or by an error in its place.
    Resolved,
    /// Ended by its timeout.
    TimedOut,
    /// The run ended first.
    Cancelled,
}

impl WaitStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Open, Self::Resolved, Self::TimedOut, Self::Cancelled];

    fn of(kind: StepKind, status: StepStatus) -> Self {
        match status {
            StepStatus::Open => Self::Open,
            StepStatus::Completed | StepStatus::Failed => Self::Resolved,
            // The end of its time is what a sleep waits for.
            StepStatus::TimedOut if kind == StepKind::Sleep => Self::Resolved,
            StepStatus::TimedOut => Self::TimedOut,
            StepStatus::Cancelled => Self::Cancelled,
        }
    }

    /// Whether it ended by its timeout; none while it is open, and when the run ended first.
    pub fn timed_out(self) -> Option<bool> {
        match self {
            Self::Open | Self::Cancelled => None,
            Self::Resolved => Some(false),
            Self::TimedOut => Some(true),
        }
    }
}

/// What a step waits for or has waited for. A step has no other.
#[derive(Clone, Debug, PartialEq)]
pub struct StepWait {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// What sort of step; one that only waits.
    pub kind: StepKind,
    /// What it asked for.
    pub asked: StepDetails,
    /// Where it is in its life.
    pub status: WaitStatus,
    /// When the step was reported.
    pub since: Timestamp,
    /// When it gives up; of a sleep, when it ends.
    pub until: Timestamp,
    /// When the step ended.
    pub ended_at: Option<Timestamp>,
    /// The event that ended it: what it waited for, or the end of the run that it invoked. None for everything else that ends waits.
    pub ended_by: Option<EventId>,
}

impl StepWait {
    /// The name of the event that it waits for. What an invocation waits for is an event of the server's, which is nobody's concern.
    pub fn event_name(&self) -> Option<&str> {
        match &self.asked {
            StepDetails::Event { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The signal that it waits for.
    pub fn signal(&self) -> Option<&str> {
        match &self.asked {
            StepDetails::Signal { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl StepRecord {
    /// What it waits for or has waited for. None for a step that does more than wait, and for one that was stored before it was kept what
    /// steps ask for.
    pub fn wait(&self) -> Option<StepWait> {
        let asked = self
            .details
            .as_ref()
            .filter(|_| self.kind.only_waits())?
            .clone();
        let status = WaitStatus::of(self.kind, self.status);
        Some(StepWait {
            run: self.run,
            step: self.step.clone(),
            kind: self.kind,
            until: asked.until()?,
            asked,
            status,
            since: self.queued_at,
            ended_at: self.ended_at.filter(|_| status != WaitStatus::Open),
            ended_by: self.ended_by.filter(|_| status == WaitStatus::Resolved),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::StepTold;

    fn step(kind: StepKind, status: StepStatus, details: Option<StepDetails>) -> StepRecord {
        StepRecord {
            response: None,
            run: RunId::from_raw(ulid::Ulid(1)),
            step: StepId::parse("a").unwrap(),
            name: "a".into(),
            kind,
            status,
            memo: None,
            position: None,
            failed_attempts: 0,
            details,
            told: StepTold::default(),
            group: None,
            ended_by: Some(EventId::from_raw(ulid::Ulid(2))),
            queued_at: Timestamp::from_millis(3),
            started_at: None,
            ended_at: Some(Timestamp::from_millis(5)),
        }
    }

    #[test]
    fn state_of_a_wait_follows_from_that_of_its_step() {
        let until = Timestamp::from_millis(4);
        let sleep = || StepDetails::Sleep { until };
        let event = || StepDetails::Event {
            name: "paid".into(),
            expression: None,
            until,
        };
        let (nap, wait) = (StepKind::Sleep, StepKind::WaitForEvent);
        for (kind, asked, status, expected, timed_out) in [
            (nap, sleep(), StepStatus::Open, WaitStatus::Open, None),
            (
                nap,
                sleep(),
                StepStatus::Completed,
                WaitStatus::Resolved,
                Some(false),
            ),
            (
                nap,
                sleep(),
                StepStatus::TimedOut,
                WaitStatus::Resolved,
                Some(false),
            ),
            (wait, event(), StepStatus::Open, WaitStatus::Open, None),
            (
                wait,
                event(),
                StepStatus::Completed,
                WaitStatus::Resolved,
                Some(false),
            ),
            (
                wait,
                event(),
                StepStatus::Failed,
                WaitStatus::Resolved,
                Some(false),
            ),
            (
                wait,
                event(),
                StepStatus::TimedOut,
                WaitStatus::TimedOut,
                Some(true),
            ),
            (
                wait,
                event(),
                StepStatus::Cancelled,
                WaitStatus::Cancelled,
                None,
            ),
        ] {
            let found = step(kind, status, Some(asked.clone())).wait().unwrap();
            assert_eq!(
                (found.status, found.status.timed_out()),
                (expected, timed_out)
            );
            assert_eq!((found.until, found.asked), (until, asked));
            let is_open = expected == WaitStatus::Open;
            assert_eq!(found.ended_at.is_none(), is_open, "{status:?}");
            let is_resolved = expected == WaitStatus::Resolved;
            assert_eq!(found.ended_by.is_some(), is_resolved, "{status:?}");
        }
    }

    #[test]
    fn steps_that_do_more_than_wait_have_no_wait_and_neither_have_those_that_tell_nothing() {
        let sort = "step.sendEvent".to_owned();
        let code = StepDetails::Code { sort };
        for (kind, details) in [
            (StepKind::Run, Some(code)),
            (StepKind::Run, None),
            (StepKind::Invoke, None),
        ] {
            assert_eq!(step(kind, StepStatus::Open, details).wait(), None);
        }
    }
}
