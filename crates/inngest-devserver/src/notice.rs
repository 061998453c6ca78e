//! What is said about apps: once per change, not once per round.

use std::collections::{BTreeMap, BTreeSet};

/// What one attempt to sync an app came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It holds these functions (by name).
    Synced(BTreeSet<String>),
    /// It could not be synced; a stable code, and a message for people.
    Failed { code: &'static str, message: String },
}

/// One line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The app is known and works.
    Synced { functions: usize },
    /// It works, and holds other functions than before.
    Changed {
        added: Vec<String>,
        removed: Vec<String>,
    },
    /// It does not work.
    Failed { code: &'static str, message: String },
}

/// The last known state of each app, by URL.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    last: BTreeMap<String, Seen>,
}

impl Notices {
    /// Takes note of what was seen; a line when it differs from what was seen before.
    pub(crate) fn observe(&mut self, url: &str, seen: Seen) -> Option<Notice> {
        let before = self.last.insert(url.to_owned(), seen.clone());
        match (before, seen) {
            (Some(Seen::Synced(old)), Seen::Synced(new)) => changed(&old, &new),
            (_, Seen::Synced(functions)) => Some(Notice::Synced {
                functions: functions.len(),
            }),
            // A message may hold something that differs each time, so the code alone says whether this is news.
            (Some(Seen::Failed { code: old, .. }), Seen::Failed { code, .. }) if old == code => {
                None
            }
            (_, Seen::Failed { code, message }) => Some(Notice::Failed { code, message }),
        }
    }

    /// Whether any app works.
    pub(crate) fn any_synced(&self) -> bool {
        self.last
            .values()
            .any(|seen| matches!(seen, Seen::Synced(_)))
    }

    /// Whether this app worked when it was last asked.
    pub(crate) fn is_synced(&self, url: &str) -> bool {
        matches!(self.last.get(url), Some(Seen::Synced(_)))
    }

    /// The functions last seen at this URL.
    pub(crate) fn functions(&self, url: &str) -> Option<&BTreeSet<String>> {
        match self.last.get(url) {
            Some(Seen::Synced(functions)) => Some(functions),
            Some(Seen::Failed { .. }) | None => None,
        }
    }
}

fn changed(old: &BTreeSet<String>, new: &BTreeSet<String>) -> Option<Notice> {
    let added: Vec<String> = new.difference(old).cloned().collect();
    let removed: Vec<String> = old.difference(new).cloned().collect();
    (!added.is_empty() || !removed.is_empty()).then_some(Notice::Changed { added, removed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synced(names: &[&str]) -> Seen {
        Seen::Synced(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn failed(code: &'static str, message: &str) -> Seen {
        Seen::Failed {
            code,
            message: message.to_owned(),
        }
    }

    #[test]
    fn each_change_of_state_is_told_once() {
        let mut notices = Notices::default();
        let mut told = |seen| match notices.observe("http://a", seen) {
            None => String::new(),
            Some(Notice::Synced { functions }) => format!("synced {functions}"),
            Some(Notice::Changed { added, removed }) => format!("+{added:?} -{removed:?}"),
            Some(Notice::Failed { code, .. }) => code.to_owned(),
        };
        for (seen, expected) in [
            (failed("unreachable", "1"), "unreachable"),
            (failed("unreachable", "2"), ""),
            (failed("not_sdk", ""), "not_sdk"),
            (synced(&["a", "b"]), "synced 2"),
            (synced(&["a", "b"]), ""),
            (synced(&["b", "c"]), "+[\"c\"] -[\"a\"]"),
            (failed("unreachable", "3"), "unreachable"),
            (synced(&["b", "c"]), "synced 2"),
        ] {
            assert_eq!(told(seen), expected);
        }
    }

    #[test]
    fn apps_are_told_apart() {
        let mut notices = Notices::default();
        assert!(notices.observe("http://a", synced(&["f"])).is_some());
        assert!(notices.observe("http://b", synced(&["f"])).is_some());
        assert!(
            notices.any_synced() && notices.is_synced("http://a") && !notices.is_synced("http://c")
        );
    }
}
