impl ExprError {
    /// Line and column of the problem, counted from 1; the beginning where no place is known.
    pub fn position(&self) -> (usize, usize) {
        match self {
            Self::Syntax { line, column, .. } => (*line, *column),
            _ => (1, 1),
        }
    }
}

/// What is wrong with an expression, or with evaluating it on some event. Messages are for the author of the expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    #[error("expression is longer than {} bytes", super::MAX_SOURCE_BYTES)]
    TooLong,
    #[error(
        "expression is too complex: more than {} parts, or nested too deeply",
        super::MAX_NODES
    )]
    TooComplex,
    /// Line and column count from 1.
    #[error("expression is malformed at line {line}, column {column}: {message}")]
    Syntax {
        line: usize,
        column: usize,
        message: String,
    },
    #[error("`{name}` is unknown, this expression can use {known}")]
    UnknownRoot { name: String, known: &'static str },
    #[error("there is no function `{name}`, or it is not called that way")]
    UnknownFunction { name: String },
    #[error("`{function}` does not take {count} arguments")]
    ArgumentCount { function: String, count: usize },
    /// The expression is valid, but not where it stands.
    #[error("{what} cannot be used here")]
    NotAllowed { what: &'static str },
    #[error("`{pattern}` is not a regular expression that can be used: {message}")]
    Pattern { pattern: String, message: String },
    /// Found only with an event at hand, since event data has no declared types.
    #[error("{operation} does not work on {operands}")]
    Type {
        operation: &'static str,
        operands: String,
    },
    #[error("{operation} failed: {message}")]
    Failed {
        operation: &'static str,
        message: String,
    },
    #[error("evaluating the expression takes too long on this event")]
    TooCostly,
    #[error("result is {found} instead of true or false")]
    NotBoolean { found: &'static str },
    #[error("result is {found} instead of a number")]
    NotNumber { found: &'static str },
}
