//! Trying out expressions before they are used.

use inngest_core::{
    access::{Actor, Scope},
    expr::{ExprError, Program, SearchOver, Vars},
    json::Json,
};
use serde_json::Value;

use crate::{Error, Services, search::is_indexed};

/// Where an expression is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpressionUse {
    /// Condition of a trigger, over `event`.
    Trigger,
    /// Condition of a wait, over `event` and `async`.
    Wait,
    /// Condition of a cancel rule, over `event` and `async`.
    Cancel,
    /// Key of a limit, over `event`.
    Key,
    /// Search of runs, over `event`, `output`, `error` and `run`.
    RunSearch,
    /// Search of events, over `event`.
    EventSearch,
}

/// What came of trying an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Whether it can be used there.
    pub is_valid: bool,
    /// What is wrong with it, or with evaluating it on the sample.
    pub errors: Vec<ExprError>,
    /// Its value for the sample.
    pub result: Option<Json>,
    /// Whether the database can be asked for everything that a search with it says.
    pub is_indexed: bool,
}

impl Services {
    /// Compiles an expression and evaluates it on `sample`, an object with the names that it can look at.
    ///
    /// # Errors
    /// `Denied` for an actor who may not read runs.
    pub fn check_expression(
        &self,
        actor: &Actor,
        text: &str,
        place: ExpressionUse,
        sample: Option<&Json>,
    ) -> Result<Checked, Error> {
        actor.require(Scope::RunsRead)?;
        let over = match place {
            ExpressionUse::RunSearch => Some(SearchOver::Runs),
            ExpressionUse::EventSearch => Some(SearchOver::Events),
            ExpressionUse::Trigger
            | ExpressionUse::Wait
            | ExpressionUse::Cancel
            | ExpressionUse::Key => None,
        };
        let parsed = match over {
            Some(over) => Program::parse_search(text, over),
            None => Program::parse(text),
        };
        let parsed = parsed.and_then(|program| {
            if place == ExpressionUse::Cancel {
                program.check_restrictive()?;
            }
            Ok(program)
        });
        let program = match parsed {
            Ok(program) => program,
            Err(error) => {
                return Ok(Checked {
                    is_valid: false,
                    errors: vec![error],
                    result: None,
                    is_indexed: false,
                });
            }
        };
        let evaluated = sample.map(|sample| {
            let sample = sample.to_value();
            let vars = Vars {
                event: sample.get("event"),
                incoming: sample.get("async"),
                output: sample.get("output"),
                error: sample.get("error"),
                run: sample.get("run"),
                now: Some(self.clock().now().as_millis()),
            };
            match over {
                Some(_) => Ok(Value::Bool(program.finds(&vars))),
                None => program.evaluate(&vars),
            }
        });
        let (result, errors) = match evaluated {
            None => (None, Vec::new()),
            Some(Ok(value)) => (Some(Json::from_value(&value)), Vec::new()),
            Some(Err(error)) => (None, vec![error]),
        };
        Ok(Checked {
            is_valid: true,
            errors,
            result,
            is_indexed: over.is_some() && is_indexed(&program),
        })
    }
}
