//! Errors with their causes, in one line.

/// The message and the causes that say something new, with colons between. Libraries repeat the message of a cause in their own.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_is_told_once() {
        let error = anyhow::anyhow!("disk is full")
            .context("query failed: disk is full")
            .context("could not migrate");
        assert_eq!(
            chain(&error),
            "could not migrate: query failed: disk is full"
        );
    }
}
