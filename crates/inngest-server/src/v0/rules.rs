//! The rules of the lists of the older GraphQL API: how long a page is, and what its queries say.

use inngest_core::expr::{ExprError, Program, SearchOver};

/// How long the pages of a list can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageSizes {
    most: u32,
    otherwise: u32,
}

/// Pages of events.
pub(crate) const EVENTS: PageSizes = PageSizes {
    most: 51,
    otherwise: 40,
};
/// Pages of runs.
pub(crate) const RUNS: PageSizes = PageSizes {
    most: 399,
    otherwise: 40,
};
/// Most items of a stream.
pub(crate) const STREAM: PageSizes = PageSizes {
    most: 1_000,
    otherwise: 1_000,
};
/// Events in the list that has no pages.
pub(crate) const EVENTS_LISTED: u32 = 200;

impl PageSizes {
    /// How many rows are given to somebody who asks for so many: one size in place of all that are too large, or none at all.
    pub(crate) fn of(self, asked: i32) -> u32 {
        u32::try_from(asked)
            .ok()
            .filter(|size| (1..=self.most).contains(size))
            .unwrap_or(self.otherwise)
    }
}

/// A query, one condition in each line, as one expression; none when it says nothing.
///
/// # Errors
/// That of the first line that is no condition.
pub(crate) fn search_of(query: &str, over: SearchOver) -> Result<Option<String>, ExprError> {
    let lines = query.lines().map(str::trim);
    let conditions: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    for condition in &conditions {
        // Each by itself, so that no line can change what another one means.
        Program::parse_search(condition, over)?;
    }
    Ok(match conditions.as_slice() {
        [] => None,
        [only] => Some((*only).to_owned()),
        // A condition may end in a comment, which the end of its line ends.
        many => Some(format!("({}\n)", many.join("\n) && ("))),
    })
}

#[cfg(test)]
mod tests {
    use inngest_core::expr::Vars;
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_out_of_range_fall_back_and_are_not_cut() {
        for (sizes, asked, expected) in [
            (EVENTS, 1, 1),
            (EVENTS, 51, 51),
            (EVENTS, 52, 40),
            (EVENTS, 0, 40),
            (EVENTS, -1, 40),
            (RUNS, 399, 399),
            (RUNS, 400, 40),
            (RUNS, i32::MIN, 40),
            (STREAM, 999, 999),
            (STREAM, 1_001, 1_000),
        ] {
            assert_eq!(sizes.of(asked), expected, "{sizes:?} {asked}");
        }
    }

    #[test]
    fn lines_of_a_query_are_all_required() {
        let event = json!({"name": "a", "data": {"n": 5, "yes": true, "none": null}});
        let vars = Vars {
            event: Some(&event),
            ..Vars::default()
        };
        for (query, expected) in [
            ("event.name == 'a'", true),
            ("event.name == 'a'\nevent.data.n > 4", true),
            ("event.name == 'a'\r\n\n  event.data.n > 5 \n", false),
            ("event.data.yes == true\nevent.data.none == null", true),
            ("event.name == 'b' || true\nevent.data.n == 4", false),
            ("event.name == 'a' // the name\nevent.data.n == 5", true),
        ] {
            let text = search_of(query, SearchOver::Events).unwrap().unwrap();
            let program = Program::parse_search(&text, SearchOver::Events).unwrap();
            assert_eq!(program.finds(&vars), expected, "{query}: {text}");
        }
        for nothing in ["", " \n\t\n"] {
            assert_eq!(search_of(nothing, SearchOver::Runs), Ok(None));
        }
        for wrong in ["event.name ==", "true) || (false\ntrue", "output.a == 1"] {
            assert!(search_of(wrong, SearchOver::Events).is_err(), "{wrong}");
        }
    }
}
