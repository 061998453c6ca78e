//! What was found, and how it is told.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// As it should be.
    Good,
    /// A server works, but not well or not for long.
    Doubtful,
    /// A server would not start, or not work.
    Bad,
}

impl Level {
    /// The word for programs.
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Doubtful => "warning",
            Self::Bad => "error",
        }
    }

    /// The word that begins a line for people.
    fn mark(self) -> &'static str {
        match self {
            Self::Good => "ok  ",
            Self::Doubtful => "WARN",
            Self::Bad => "FAIL",
        }
    }
}

/// One thing that was looked at. Holds no secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at, in one or two words.
    pub(super) subject: &'static str,
    pub(super) message: String,
    /// What to do; always there when something is wrong.
    advice: Option<&'static str>,
}

pub(super) fn good(subject: &'static str, message: impl Into<String>) -> Finding {
    Finding {
        level: Level::Good,
        subject,
        message: message.into(),
        advice: None,
    }
}

pub(super) fn doubtful(
    subject: &'static str,
    message: impl Into<String>,
    advice: &'static str,
) -> Finding {
    Finding {
        level: Level::Doubtful,
        subject,
        message: message.into(),
        advice: Some(advice),
    }
}

pub(super) fn bad(
    subject: &'static str,
    message: impl Into<String>,
    advice: &'static str,
) -> Finding {
    Finding {
        level: Level::Bad,
        ..doubtful(subject, message, advice)
    }
}

/// Whether a server could start and work.
pub(super) fn is_fit(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.level != Level::Bad)
}

/// For people: a line for each finding, and one for what to do about it.
pub(super) fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let (mark, subject) = (finding.level.mark(), finding.subject);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{mark}  {subject}: {}", finding.message);
        if let Some(advice) = finding.advice {
            let _ = writeln!(text, "      -> {advice}");
        }
    }
    text
}

/// For programs: `{"ok": …, "findings": [{"level", "subject", "message", "advice"}]}`.
pub(super) fn json(findings: &[Finding]) -> Value {
    let of = |finding: &Finding| {
        json!({
            "level": finding.level.word(),
            "subject": finding.subject,
            "message": finding.message,
            "advice": finding.advice,
        })
    };
    let all: Vec<Value> = findings.iter().map(of).collect();
    json!({"ok": is_fit(findings), "findings": all})
}
