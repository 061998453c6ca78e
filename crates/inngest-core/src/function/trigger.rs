//! Which triggers an event name sets off.
//!
//! A pattern is never searched as a glob: for a name there is a small set of texts that can match it, and a trigger matches when its
//! text is one of them. So an index over trigger texts finds all functions for an event by a few exact look-ups.

use std::borrow::Cow;

use crate::event::{INTERNAL_PREFIX, is_internal};
use crate::limits::EVENT_NAME_BYTES;

/// Why a sender may not use an event name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEventName {
    #[error("event name is empty")]
    Empty,
    #[error("event name has {bytes} bytes, the limit is {EVENT_NAME_BYTES}")]
    TooLong { bytes: usize },
    #[error(
        "event name `{name}` begins with `{INTERNAL_PREFIX}`, which is reserved for the server"
    )]
    Reserved { name: String },
}

/// Checks the name of an event that somebody outside sends.
///
/// # Errors
/// See [`InvalidEventName`]. The server's own events are not checked with this.
pub fn validate_event_name(name: &str) -> Result<(), InvalidEventName> {
    if name.is_empty() {
        return Err(InvalidEventName::Empty);
    }
    if name.len() > EVENT_NAME_BYTES {
        return Err(InvalidEventName::TooLong { bytes: name.len() });
    }
    if is_internal(name) {
        return Err(InvalidEventName::Reserved {
            name: name.to_owned(),
        });
    }
    Ok(())
}

/// Whether a trigger with the text `pattern` is set off by an event called `name`.
///
/// `*` or `**` alone catches every event that is not internal. `shop/*` and `shop/order.*` catch what continues after that slash or
/// dot, at any depth. Any other star is an ordinary character.
pub fn name_matches(pattern: &str, name: &str) -> bool {
    if pattern == name {
        return true;
    }
    if catches_all(pattern) {
        return !is_internal(name);
    }
    match wildcard_prefix(pattern) {
        Some(prefix) => name.starts_with(prefix),
        None => false,
    }
}

/// Every trigger text that matches `name`: for look-ups in an index. No text appears twice. At most one per byte of the name, plus
/// three.
pub fn patterns_for(name: &str) -> Vec<Cow<'_, str>> {
    let mut patterns = vec![Cow::Borrowed(name)];
    if !is_internal(name) {
        patterns.extend([Cow::Borrowed("*"), Cow::Borrowed("**")]);
    }
    for (at, separator) in name.match_indices(['/', '.']) {
        let end = at + separator.len();
        patterns.push(Cow::Owned(format!("{}*", &name[..end])));
    }
    // A name that itself looks like a pattern would otherwise repeat it.
    let mut index = 1;
    while index < patterns.len() {
        if patterns[index] == name {
            patterns.remove(index);
        } else {
            index += 1;
        }
    }
    patterns
}

/// Whether a pattern can do what its author meant. `false` for a star in a place where it is only a character (`sho*`,
/// `shop/*/paid`), which deserves a warning, since only an event of exactly that name matches.
pub fn is_useful_pattern(pattern: &str) -> bool {
    if pattern.is_empty() {
        return false;
    }
    if !pattern.contains('*') || catches_all(pattern) {
        return true;
    }
    wildcard_prefix(pattern).is_some_and(|prefix| prefix.len() > 1 && !prefix.contains('*'))
}

/// Whether a pattern stands for more than the event of its own name.
pub fn is_wildcard(pattern: &str) -> bool {
    catches_all(pattern) || wildcard_prefix(pattern).is_some()
}

fn catches_all(pattern: &str) -> bool {
    pattern == "*" || pattern == "**"
}

/// The part of `shop/*` before its star, when the star stands at the end behind a separator.
fn wildcard_prefix(pattern: &str) -> Option<&str> {
    let prefix = pattern.strip_suffix('*')?;
    prefix.ends_with(['/', '.']).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_names_as_documented() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(
                name_matches(pattern, name),
                expected,
                "{pattern} against {name}"
            );
            if pattern != name && expected {
                assert!(is_wildcard(pattern), "{pattern}");
            }
            let listed = patterns_for(name).iter().any(|text| text == pattern);
            assert_eq!(listed, expected, "{pattern} in the patterns of {name}");
        };
        let paid = "shop/order.item.paid";
        check(paid, paid, true);
        check("shop/*", paid, true);
        check("shop/order.*", paid, true);
        check("shop/order.item.*", paid, true);
        check("shop/order.*", "shop/order", false);
        check("shop/order.*", "shop/orders.paid", false);
        check("shop/*", "shop", false);
        check("shop/*", "shop/a/b", true);
        check("shop/a/*", "shop/a/b", true);
        check("user.*", "user.created", true);
        check("sho*", paid, false);
        check("shop/ord*", paid, false);
        check("shop/*/paid", "shop/order/paid", false);
        check("*.paid", paid, false);
        check("*", paid, true);
        check("**", "plain", true);
        check("*", "inngest/function.failed", false);
        check("**", "Inngest/function.failed", false);
        check("inngest/*", "inngest/function.failed", true);
        check("inngest/function.*", "inngest/function.failed", true);
        check("inngest/function.failed", "inngest/function.failed", true);
        check("shop/*", "shop/*", true);
        check("", paid, false);
        check("ümlaut/*", "ümlaut/ß", true);
    }

    #[test]
    fn useless_patterns_are_recognised() {
        let check = |pattern: &str, expected: bool| {
            assert_eq!(is_useful_pattern(pattern), expected, "{pattern}");
        };
        check("shop/order.paid", true);
        check("shop/*", true);
        check("shop/order.*", true);
        check("*", true);
        check("**", true);
        check("sho*", false);
        check("shop/*/paid", false);
        check("shop/*/*", false);
        check("*.paid", false);
        check("/*", false);
        check("", false);
    }

    #[test]
    fn names_of_senders_are_checked() {
        assert_eq!(validate_event_name("shop/order.placed"), Ok(()));
        assert_eq!(validate_event_name(""), Err(InvalidEventName::Empty));
        assert_eq!(validate_event_name(&"a".repeat(512)), Ok(()));
        assert_eq!(
            validate_event_name(&"a".repeat(513)),
            Err(InvalidEventName::TooLong { bytes: 513 })
        );
        assert!(matches!(
            validate_event_name("Inngest/x"),
            Err(InvalidEventName::Reserved { .. })
        ));
        assert_eq!(validate_event_name("inngest"), Ok(()));
        assert_eq!(validate_event_name("ééééééé"), Ok(()));
    }

    proptest! {
        #[test]
        fn listed_patterns_are_exactly_those_that_match(name in "[a-b/.*i]{0,8}", pattern in "[a-b/.*i]{0,8}") {
            let patterns = patterns_for(&name);
            prop_assert!(patterns.iter().all(|text| name_matches(text, &name)));
            prop_assert_eq!(patterns.iter().any(|text| *text == pattern), name_matches(&pattern, &name));
            let mut sorted = patterns.clone();
            sorted.sort();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), patterns.len());
        }

        #[test]
        fn any_text_is_survived(name in ".*", pattern in ".*") {
            let _ = (name_matches(&pattern, &name), patterns_for(&name), is_useful_pattern(&pattern), validate_event_name(&name));
        }
    }
}
