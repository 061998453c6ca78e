//! Expressions that people write about events: `event.data.total > 100`, `event.data.id == async.data.id`.
//!
//! The language is CEL as the SDKs document it, with the leniency that functions in use rely on: a missing path is a value of its
//! own, not an error; `&&` and `||` return an operand; text and number join to text. The crate `cel` parses; everything else is
//! here, so that what an expression means does not move with a dependency. An expression never changes anything, never loops for
//! long and never panics: source, tree, work and memory are bounded by the constants below.
//!
//! Deliberately absent: string extensions (`split`, `replace`, …), `math.*` and optional syntax, since an expression that uses them
//! would not run elsewhere.
//!
//! | module | holds |
//! |---|---|
//! | `parse` | text → tree of our own, names and functions checked |
//! | `check` | which functions exist, what the restrictive rules allow |
//! | `eval`, `call` | tree and variables → value |
//! | `value` | values: truth, equality, order, arithmetic, text |
//! | `search` | expressions over stored events and runs |
//! | `interpolate` | what a wait must keep of its event, and the key an index finds it by |

mod call;
mod check;
mod error;
mod eval;
mod interpolate;
mod number;
mod parse;
mod search;
mod value;

use std::sync::Arc;

use self::eval::{Evaluator, Rules};
use self::parse::Node;

pub use self::error::ExprError;
pub use self::interpolate::{KeyValue, SelectiveKey, key_hash_at, prune};
pub use self::search::{Demand, SearchOver, SearchRoot};

/// Longest source text, in bytes.
pub const MAX_SOURCE_BYTES: usize = 4_096;

/// Most parts (names, literals, operators) of one expression.
pub const MAX_NODES: usize = 1_000;

/// Deepest nesting of parts.
pub const MAX_DEPTH: usize = 64;

/// Macros such as `exists` within macros, at most.
pub const MAX_NESTED_MACROS: usize = 2;

/// Most work of one evaluation. A part costs 1 each time it is evaluated, so does an element of a list that is walked over; text
/// costs 1 per 64 bytes made and per 256 bytes read; searching it with a regular expression costs 1 per 16 bytes and more.
pub const MAX_COST: u32 = 100_000;

/// Largest compiled form of one regular expression, in bytes.
pub const MAX_PATTERN_BYTES: usize = 512 << 10;

/// A parsed, checked expression. Cheap to clone: clones share the tree.
#[derive(Clone, Debug)]
pub struct Program(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    node: Node,
}

/// What an expression can look at. A name that is `None` reads as missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vars<'a> {
    /// `event`: the event that triggered the run.
    pub event: Option<&'a serde_json::Value>,
    /// `async`: the event that has just come in, where that is another one.
    pub incoming: Option<&'a serde_json::Value>,
    /// `output`: what a run returned. Searches only.
    pub output: Option<&'a serde_json::Value>,
    /// `error`: why a run failed. Searches only.
    pub error: Option<&'a serde_json::Value>,
    /// `run`: a run itself. Searches only.
    pub run: Option<&'a serde_json::Value>,
    /// `now()`, in ms since the epoch. Calling it without is an error.
    pub now: Option<i64>,
}

impl Program {
    /// Parses `text` and checks names, functions and sizes.
    ///
    /// # Errors
    /// All cases of [`ExprError`] that need no event: too long, too complex, malformed, unknown name or function, bad pattern.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        let node = parse::parse(text, parse::Names::Async)?;
        let text = text.to_owned();
        Ok(Self(Arc::new(Inner { text, node })))
    }

    /// Checks that only what a cancel rule may use is used: logic, comparisons, paths, `in`, `?:`, and conversions to numbers.
    ///
    /// # Errors
    /// `NotAllowed`, naming what it found first.
    pub fn check_restrictive(&self) -> Result<(), ExprError> {
        check::restrictive(&self.0.node)
    }

    /// The source, as it was given.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether the result is true, as triggers and batch rules ask. A missing value counts as false.
    ///
    /// # Errors
    /// `NotBoolean` for any other result, and what evaluation finds. Callers treat both as "no", and show them.
    pub fn matches(&self, vars: &Vars<'_>) -> Result<bool, ExprError> {
        self.evaluator(vars, Rules::Trigger).claim(&self.0.node)
    }

    /// Whether the result is true, as waits and cancel rules ask. Differs from [`Program::matches`] in one rule: a comparison
    /// between `event` and `async` other than `!=` is false when either side is missing, so a wait for the same id does not catch
    /// every event when its own event has no id.
    ///
    /// # Errors
    /// As [`Program::matches`].
    pub fn matches_wait(&self, vars: &Vars<'_>) -> Result<bool, ExprError> {
        self.evaluator(vars, Rules::Wait).claim(&self.0.node)
    }

    /// The result as JSON. A missing value is `false`.
    ///
    /// # Errors
    /// What evaluation finds.
    pub fn evaluate(&self, vars: &Vars<'_>) -> Result<serde_json::Value, ExprError> {
        let mut evaluator = self.evaluator(vars, Rules::Trigger);
        let value = evaluator.eval(&self.0.node)?;
        value.to_json(&evaluator.budget)
    }

    /// The bucket that the event falls into: the result as text, without its type, so `1` and `"1"` share one. `None` for missing,
    /// null and false, where rate limit and singleton do not apply and the others use one common bucket.
    ///
    /// # Errors
    /// What evaluation finds.
    pub fn key(&self, vars: &Vars<'_>) -> Result<Option<String>, ExprError> {
        let mut evaluator = self.evaluator(vars, Rules::Trigger);
        let value = evaluator.eval(&self.0.node)?;
        value.key_text(&evaluator.budget)
    }

    /// The result as a number, for priorities. Missing, null and false are 0. Always finite.
    ///
    /// # Errors
    /// `NotNumber` for any other result, and what evaluation finds.
    pub fn number(&self, vars: &Vars<'_>) -> Result<f64, ExprError> {
        let mut evaluator = self.evaluator(vars, Rules::Trigger);
        evaluator.eval(&self.0.node)?.into_number()
    }

    fn evaluator<'v>(&'v self, vars: &Vars<'v>, rules: Rules) -> Evaluator<'v> {
        Evaluator::new(*vars, rules)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod table_tests;

#[cfg(test)]
#[path = "wait_tests.rs"]
mod wait_tests;

#[cfg(test)]
#[path = "limit_tests.rs"]
mod limit_tests;

#[cfg(test)]
#[path = "property_tests.rs"]
mod property_tests;
