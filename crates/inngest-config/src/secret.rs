//! Values that must not be printed.

use std::fmt;

/// What is shown in place of a secret.
pub(crate) const MASK: &str = "***";

/// A value that shows itself as `***`, so that settings can be logged and printed whole.
///
/// There is no `Deref` and no `Display`: whoever needs the value says so with [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Never log what comes from here.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// A URL with a mask in place of the user and the password that it may hold; any other text as it is.
pub fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{after}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_of_urls_and_nothing_else() {
        for (url, shown) in [
            ("http://me:hunter2@h:1/a?b#c", "http://***@h:1/a?b#c"),
            ("http://hunt@er2@h", "http://***@h"),
            ("http://h/@me", "http://h/@me"),
            ("h:1/@me", "h:1/@me"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }

    #[test]
    fn secret_is_not_printed() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some(***)");
    }
}
