//! What comes of trying an expression.

use async_graphql::{Enum, SimpleObject};

use inngest_services::{Checked, ExpressionUse};

use crate::graphql::scalars::JsonScalar;

/// Where an expression will be used; decides which variables exist.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "ExpressionKind", remote = "ExpressionUse")]
pub(crate) enum ExpressionKind {
    /// Trigger condition: event.
    Trigger,
    /// Wait condition: event, async.
    Wait,
    /// Cancel condition: event, async.
    Cancel,
    /// Flow control key: event.
    Key,
    /// Run search: event, output, error, run.
    RunSearch,
    /// Event search: event.
    EventSearch,
}

/// Result of checking an expression.
#[derive(SimpleObject)]
pub(crate) struct ExpressionCheck {
    /// Whether it compiles.
    is_valid: bool,
    /// What is wrong.
    errors: Vec<ExpressionIssue>,
    /// Value for the sample.
    result: Option<JsonScalar>,
    /// Whether a search with it can be pushed down to the database as a whole.
    is_indexed: bool,
}

/// One problem in an expression.
#[derive(SimpleObject)]
pub(crate) struct ExpressionIssue {
    /// Sentence for a human.
    message: String,
    /// Line from 1.
    line: i32,
    /// Column from 1.
    column: i32,
}

impl From<Checked> for ExpressionCheck {
    fn from(checked: Checked) -> Self {
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let errors = checked.errors.iter().map(|error| {
            let (line, column) = error.position();
            ExpressionIssue {
                message: error.to_string(),
                line: number(line),
                column: number(column),
            }
        });
        Self {
            is_valid: checked.is_valid,
            errors: errors.collect(),
            result: checked.result.map(JsonScalar),
            is_indexed: checked.is_indexed,
        }
    }
}
