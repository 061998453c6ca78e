//! Attempts to register an app, and what is kept of them.

use std::time::Duration;

use crate::{
    ids::{AppId, FunctionId, SyncId},
    time::Timestamp,
};

/// Syncs of one app that are kept, the newest; and of an environment, those that failed before an app was known.
pub const KEPT: u32 = 200;
/// Functions that a sync names as added, changed or removed, each.
pub const FUNCTIONS_NAMED: usize = 200;
/// How often it is written down that something is still as it was: that an app fails as before, or that it is there.
pub const WRITTEN_EVERY: Duration = Duration::from_secs(60);
/// How long after its last word a failure without an app is still the same one when it comes again.
pub const SAME_WITHIN: Duration = Duration::from_secs(3_600);
/// Characters of a message that are kept.
const MESSAGE_CHARS: usize = 2_048;
/// Characters of a URL that are kept.
const URL_CHARS: usize = 2_048;
/// Characters of anything else that an app says about itself.
const WORD_CHARS: usize = 255;

/// What came of an attempt to register an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncStatus {
    /// The registration changed something.
    Succeeded,
    /// It was identical, after a failure. Identical ones without a failure before them are not kept.
    Unchanged,
    /// It was not applied.
    Failed,
}

impl SyncStatus {
    /// As it is stored.
    pub fn code(self) -> i16 {
        match self {
            Self::Succeeded => 1,
            Self::Unchanged => 2,
            Self::Failed => 3,
        }
    }

    /// From how it is stored.
    pub fn from_code(code: i16) -> Option<Self> {
        [Self::Succeeded, Self::Unchanged, Self::Failed]
            .into_iter()
            .find(|status| status.code() == code)
    }
}

/// How a registration travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncKind {
    /// In the answer to a call by the server. An app that is asked so may still register by itself.
    InBand,
    /// In a call by the app, which every SDK can.
    OutOfBand,
}

impl SyncKind {
    /// As it is stored.
    pub fn code(self) -> i16 {
        match self {
            Self::InBand => 1,
            Self::OutOfBand => 2,
        }
    }

    /// From how it is stored.
    pub fn from_code(code: i16) -> Option<Self> {
        [Self::InBand, Self::OutOfBand]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// Why an app could not be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncFailure {
    /// Stable word, for example `unreachable` or `config_invalid`.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
}

impl SyncFailure {
    /// A failure whose texts have a size that can be kept.
    pub fn new(code: &str, message: &str) -> Self {
        Self {
            code: clip(code, WORD_CHARS),
            message: clip(message, MESSAGE_CHARS),
        }
    }

    /// Whether the app was not reached at all: nothing answered, or something else did.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self.code.as_str(),
            "unreachable"
                | "unsupported_protocol"
                | "url_not_allowed"
                | "url_not_found"
                | "http_not_ok"
                | "not_sdk"
        )
    }

    /// Whether an app says no more than that its registration failed. Why is said by the answer to that registration, if it came here.
    pub fn is_hearsay(&self) -> bool {
        matches!(
            self.code.as_str(),
            "register_failed" | "internal_server_error" | "sync_failed"
        )
    }

    /// Whether a registration was refused here.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self.code.as_str(),
            "invalid_request"
                | "sdk_version_denied"
                | "config_invalid"
                | "too_many_functions"
                | "server_kind_mismatch"
        )
    }

    /// Whether `self`, coming after `before`, is no news.
    pub fn repeats(&self, before: &Self) -> bool {
        self.code == before.code || (self.is_hearsay() && before.is_refusal())
    }
}

/// What an app says about itself when it registers, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The name that the SDK's client was given.
    pub app_name: Option<String>,
    /// Where the app is served.
    pub url: Option<String>,
    /// Version of the user's code.
    pub app_version: Option<String>,
    /// For example `js`.
    pub sdk_language: Option<String>,
    /// For example `4.24.0`.
    pub sdk_version: Option<String>,
    /// For example `express`.
    pub framework: Option<String>,
    /// Where the app is hosted.
    pub platform: Option<String>,
}

impl About {
    /// The same with texts of a size that can be kept, and without empty ones.
    pub fn clipped(&self) -> Self {
        let cut = |text: &Option<String>, chars| {
            let text = text.as_deref().map(|text| clip(text, chars));
            text.filter(|text| !text.is_empty())
        };
        Self {
            app_name: cut(&self.app_name, WORD_CHARS),
            url: cut(&self.url, URL_CHARS),
            app_version: cut(&self.app_version, WORD_CHARS),
            sdk_language: cut(&self.sdk_language, WORD_CHARS),
            sdk_version: cut(&self.sdk_version, WORD_CHARS),
            framework: cut(&self.framework, WORD_CHARS),
            platform: cut(&self.platform, WORD_CHARS),
        }
    }
}

/// One attempt to register an app, or several that failed alike one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Its id.
    pub id: SyncId,
    /// The app; none when the attempt failed before one was known.
    pub app: Option<AppId>,
    /// What came of it.
    pub status: SyncStatus,
    /// How the registration travelled.
    pub kind: SyncKind,
    /// What the app said about itself. The name is not kept.
    pub about: About,
    /// Why it failed, if it did.
    pub failure: Option<SyncFailure>,
    /// Functions that are new or have returned, at most [`FUNCTIONS_NAMED`].
    pub added: Vec<FunctionId>,
    /// Functions whose configuration changed, as many at most.
    pub changed: Vec<FunctionId>,
    /// Functions that are gone, as many at most.
    pub removed: Vec<FunctionId>,
    /// When it happened, for the first time if it was repeated.
    pub created_at: Timestamp,
    /// When it was last repeated, to [`WRITTEN_EVERY`].
    pub last_at: Timestamp,
}

fn clip(text: &str, chars: usize) -> String {
    // No database can store NUL in a text.
    text.chars().filter(|c| *c != '\0').take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: &str) -> SyncFailure {
        SyncFailure::new(code, "")
    }

    #[test]
    fn failure_repeats_its_like_and_what_it_only_heard_of() {
        for (before, after, expected) in [
            ("unreachable", "unreachable", true),
            ("unreachable", "not_sdk", false),
            ("config_invalid", "register_failed", true),
            ("config_invalid", "internal_server_error", true),
            ("config_invalid", "unreachable", false),
            ("unreachable", "register_failed", false),
            ("register_failed", "config_invalid", false),
        ] {
            let repeats = failure(after).repeats(&failure(before));
            assert_eq!(repeats, expected, "{after} after {before}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_can_be_stored() {
        let long = "é".repeat(5_000);
        assert_eq!(SyncFailure::new("x", &long).message.chars().count(), 2_048);
        assert_eq!(SyncFailure::new("x", "a\0b").message, "ab");
        let about = About {
            framework: Some(long.clone()),
            url: Some(long),
            platform: Some("\0".to_owned()),
            ..About::default()
        };
        let kept = about.clipped();
        assert_eq!(kept.framework.unwrap().chars().count(), 255);
        assert_eq!(kept.url.unwrap().chars().count(), 2_048);
        assert_eq!(kept.platform, None);
    }

    #[test]
    fn codes_are_read_back() {
        for status in [
            SyncStatus::Succeeded,
            SyncStatus::Unchanged,
            SyncStatus::Failed,
        ] {
            assert_eq!(SyncStatus::from_code(status.code()), Some(status));
        }
        for kind in [SyncKind::InBand, SyncKind::OutOfBand] {
            assert_eq!(SyncKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(SyncStatus::from_code(0), None);
        assert_eq!(SyncKind::from_code(0), None);
    }
}
