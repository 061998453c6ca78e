//! Tree and variables → value.

use std::cmp::Ordering;
use std::rc::Rc;

use chrono::TimeDelta;

use super::number::Number;
use super::parse::{Arithmetic, Compare, Key, Literal, Macro, MacroKind, Node, Path, Root};
use super::value::{Budget, Text, Value, equal, order, type_error};
use super::{ExprError, Vars, call};

/// Where an expression stands decides what a missing value does in one case: see [`super::Program::matches_wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    Trigger,
    Wait,
    /// Any comparison with something missing is false.
    Search,
}

/// One evaluation.
pub(super) struct Evaluator<'v> {
    pub(super) budget: Budget,
    vars: Vars<'v>,
    rules: Rules,
    locals: Vec<Value<'v>>,
}

type Result<T> = std::result::Result<T, ExprError>;

impl<'v> Evaluator<'v> {
    pub(super) fn new(vars: Vars<'v>, rules: Rules) -> Self {
        Self {
            budget: Budget::new(),
            vars,
            rules,
            locals: Vec::new(),
        }
    }

    /// Whether `node` is exactly true.
    pub(super) fn claim(&mut self, node: &'v Node) -> Result<bool> {
        match self.eval(node)? {
            Value::Bool(result) => Ok(result),
            Value::Missing => Ok(false),
            other => Err(ExprError::NotBoolean {
                found: other.kind(),
            }),
        }
    }

    pub(super) fn eval(&mut self, node: &'v Node) -> Result<Value<'v>> {
        self.budget.spend(1)?;
        match node {
            Node::Literal(literal) => Ok(literal_value(literal)),
            Node::Path(path) => self.path(path),
            Node::Has(path) => Ok(Value::Bool(!self.eval(path)?.is_missing())),
            Node::Index(operand, index) => {
                let operand = self.eval(operand)?;
                let index = self.eval(index)?;
                operand.at(&index, &self.budget)
            }
            Node::Not(operand) => match self.eval(operand)? {
                Value::Bool(value) => Ok(Value::Bool(!value)),
                Value::Missing | Value::Null => Ok(Value::Bool(false)),
                other => Err(type_error("`!`", &[&other])),
            },
            Node::Negate(operand) => match self.eval(operand)? {
                Value::Number(number) => Ok(Value::Number(number.negate()?)),
                Value::Missing | Value::Null => Ok(Value::Missing),
                other => Err(type_error("`-`", &[&other])),
            },
            Node::And(left, right) => self.logic(left, right, false),
            Node::Or(left, right) => self.logic(left, right, true),
            Node::Compare(operator, left, right) => self.compare(*operator, left, right),
            Node::Arithmetic(operator, left, right) => {
                let left = self.eval(left)?;
                let right = self.eval(right)?;
                self.arithmetic(*operator, left, right)
            }
            Node::In(item, list) => self.is_in(item, list),
            Node::Choice(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                let holds = self.eval(condition)?.is_truthy();
                self.eval(if holds { then } else { otherwise })
            }
            Node::List(parts) => {
                let parts = parts.iter().map(|part| self.eval(part));
                Ok(Value::List(Rc::new(parts.collect::<Result<_>>()?)))
            }
            Node::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, value)| Ok((self.eval(key)?, self.eval(value)?)));
                Ok(Value::Map(Rc::new(entries.collect::<Result<_>>()?)))
            }
            Node::Call(function, args) => {
                let args = args.iter().map(|arg| self.eval(arg));
                let args = args.collect::<Result<Vec<_>>>()?;
                call::call(*function, &args, self.vars.now, &self.budget)
            }
            Node::Matches(text, pattern) => match self.eval(text)? {
                Value::Text(text) => {
                    self.budget.spend(pattern.cost_on(&text))?;
                    Ok(Value::Bool(pattern.regex.is_match(&text)))
                }
                Value::Missing | Value::Null => Ok(Value::Bool(false)),
                other => Err(type_error("`matches`", &[&other])),
            },
            Node::Macro(found) => self.run_macro(found),
            Node::TypeName(name) => Ok(Value::Type(name)),
        }
    }

    fn path(&mut self, path: &'v Path) -> Result<Value<'v>> {
        let root = match path.root {
            Root::Event => self.vars.event.map(Value::from_json),
            Root::Incoming => self.vars.incoming.map(Value::from_json),
            Root::Vars => None,
            Root::Output => self.vars.output.map(Value::from_json),
            Root::Error => self.vars.error.map(Value::from_json),
            Root::Run => self.vars.run.map(Value::from_json),
            Root::Local(index) => self.locals.get(index).cloned(),
        };
        let mut value = root.unwrap_or(Value::Missing);
        for key in &path.keys {
            if let Value::Map(entries) = &value {
                self.budget.spend(entries.len() / 16)?;
            }
            value = match key {
                Key::Field(name) => value.field(name),
                Key::Element(index) => value.element(*index),
            };
        }
        Ok(value)
    }

    /// `||` where `decisive` is true, `&&` where it is false. Returns the operand that decides. An error on one side gives way to a
    /// decisive boolean on the other.
    fn logic(&mut self, left: &'v Node, right: &'v Node, decisive: bool) -> Result<Value<'v>> {
        match self.eval(left) {
            Ok(value) if value.is_truthy() == decisive => Ok(value),
            Ok(_) => self.eval(right),
            Err(ExprError::TooCostly) => Err(ExprError::TooCostly),
            Err(error) => match self.eval(right) {
                Ok(Value::Bool(value)) if value == decisive => Ok(Value::Bool(value)),
                Err(ExprError::TooCostly) => Err(ExprError::TooCostly),
                Ok(_) | Err(_) => Err(error),
            },
        }
    }

    fn compare(&mut self, operator: Compare, left: &'v Node, right: &'v Node) -> Result<Value<'v>> {
        let left_value = self.eval(left)?;
        let right_value = self.eval(right)?;
        let one_is_missing = left_value.is_missing() || right_value.is_missing();
        if self.rules == Rules::Search && one_is_missing {
            return Ok(Value::Bool(false));
        }
        if self.rules == Rules::Wait
            && one_is_missing
            && operator != Compare::NotEqual
            && relates_events(left, right)
        {
            return Ok(Value::Bool(false));
        }
        let holds = match operator {
            Compare::Equal => equal(&left_value, &right_value, &self.budget)?,
            Compare::NotEqual => !equal(&left_value, &right_value, &self.budget)?,
            Compare::Less | Compare::LessOrEqual | Compare::Greater | Compare::GreaterOrEqual => {
                match order(&left_value, &right_value, &self.budget)? {
                    Some(found) => fits(operator, found),
                    None => false,
                }
            }
        };
        Ok(Value::Bool(holds))
    }

    fn arithmetic(
        &self,
        operator: Arithmetic,
        left: Value<'v>,
        right: Value<'v>,
    ) -> Result<Value<'v>> {
        if let (Value::Number(left), Value::Number(right)) = (&left, &right) {
            let result = match operator {
                Arithmetic::Add => left.add(*right),
                Arithmetic::Subtract => left.subtract(*right),
                Arithmetic::Multiply => left.multiply(*right),
                Arithmetic::Divide => left.divide(*right),
                Arithmetic::Remainder => left.remainder(*right),
            };
            return result.map(Value::Number);
        }
        match operator {
            Arithmetic::Add => self.add(left, right),
            Arithmetic::Subtract => subtract(&left, &right),
            Arithmetic::Multiply => absent_or_error("`*`", &left, &right),
            Arithmetic::Divide => absent_or_error("`/`", &left, &right),
            Arithmetic::Remainder => absent_or_error("`%`", &left, &right),
        }
    }

    /// Numbers are done. Text joins with whatever has a text; missing and null add nothing.
    fn add(&self, left: Value<'v>, right: Value<'v>) -> Result<Value<'v>> {
        if matches!(left, Value::Text(_)) || matches!(right, Value::Text(_)) {
            if let (Some(left), Some(right)) = (left.scalar_text(), right.scalar_text()) {
                self.budget.spend_making(left.len() + right.len())?;
                return Ok(Value::Text([&*left, &*right].concat().into()));
            }
            return Err(type_error("`+`", &[&left, &right]));
        }
        match (&left, &right) {
            (_, right) if right.is_absent() => Ok(left),
            (left, _) if left.is_absent() => Ok(right),
            (Value::Time(time), Value::Span(span)) | (Value::Span(span), Value::Time(time)) => {
                let sum = time.checked_add_signed(TimeDelta::nanoseconds(*span));
                sum.map(Value::Time).ok_or_else(|| out_of_range("`+`"))
            }
            (Value::Span(left), Value::Span(right)) => {
                let sum = left.checked_add(*right);
                sum.map(Value::Span).ok_or_else(|| out_of_range("`+`"))
            }
            (left_list, right_list) => {
                let is_list = |value: &Value<'_>| value.type_name() == "list";
                if !is_list(left_list) || !is_list(right_list) {
                    return Err(type_error("`+`", &[&left, &right]));
                }
                self.budget
                    .spend(left.len().unwrap_or(0) + right.len().unwrap_or(0))?;
                let mut items = left.items().unwrap_or_default();
                items.extend(right.items().unwrap_or_default());
                Ok(Value::List(Rc::new(items)))
            }
        }
    }

    fn is_in(&mut self, item: &'v Node, list: &'v Node) -> Result<Value<'v>> {
        let item = self.eval(item)?;
        let list = self.eval(list)?;
        if item.is_missing() || list.is_absent() {
            return Ok(Value::Bool(false));
        }
        for candidate in self.items("`in`", &list)? {
            if equal(&item, &candidate, &self.budget)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }

    /// The elements of a list or the keys of a map, paid for.
    fn items(&self, operation: &'static str, list: &Value<'v>) -> Result<Vec<Value<'v>>> {
        let Some(len) = list.len() else {
            return Err(type_error(operation, &[list]));
        };
        self.budget.spend(len)?;
        Ok(list.items().unwrap_or_default())
    }

    fn run_macro(&mut self, found: &'v Macro) -> Result<Value<'v>> {
        let list = self.eval(&found.list)?;
        if list.is_absent() {
            return Ok(match found.kind {
                MacroKind::Exists(_) | MacroKind::All(_) | MacroKind::ExistsOne(_) => {
                    Value::Bool(false)
                }
                MacroKind::Collect { .. } => Value::Missing,
            });
        }
        let items = self.items("a macro", &list)?;
        match &found.kind {
            MacroKind::Exists(body) => self.quantify(items, body, true),
            MacroKind::All(body) => self.quantify(items, body, false),
            MacroKind::ExistsOne(body) => {
                let mut count = 0;
                for item in items {
                    count += usize::from(self.with_local(item, body)?.is_truthy());
                }
                Ok(Value::Bool(count == 1))
            }
            MacroKind::Collect { filter, item } => {
                let mut collected = Vec::new();
                for element in items {
                    let is_taken = match filter {
                        Some(filter) => self.with_local(element.clone(), filter)?.is_truthy(),
                        None => true,
                    };
                    if is_taken {
                        collected.push(self.with_local(element, item)?);
                    }
                }
                Ok(Value::List(Rc::new(collected)))
            }
        }
    }

    /// `exists` where `decisive` is true, `all` where it is false. An error counts only when no element decides.
    fn quantify(
        &mut self,
        items: Vec<Value<'v>>,
        body: &'v Node,
        decisive: bool,
    ) -> Result<Value<'v>> {
        let mut first_error = None;
        for item in items {
            match self.with_local(item, body) {
                Ok(value) if value.is_truthy() == decisive => return Ok(Value::Bool(decisive)),
                Ok(_) => {}
                Err(ExprError::TooCostly) => return Err(ExprError::TooCostly),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
            Some(error) => Err(error),
            None => Ok(Value::Bool(!decisive)),
        }
    }

    fn with_local(&mut self, item: Value<'v>, body: &'v Node) -> Result<Value<'v>> {
        self.locals.push(item);
        let value = self.eval(body);
        self.locals.pop();
        value
    }
}

/// Whether one side is about `event` alone and the other about `async`.
pub(super) fn relates_events(left: &Node, right: &Node) -> bool {
    let is_event_only = |node: &Node| node.reads(Root::Event) && !node.reads(Root::Incoming);
    (is_event_only(left) && right.reads(Root::Incoming))
        || (is_event_only(right) && left.reads(Root::Incoming))
}

fn fits(operator: Compare, found: Ordering) -> bool {
    match operator {
        Compare::Equal => found.is_eq(),
        Compare::NotEqual => found.is_ne(),
        Compare::Less => found.is_lt(),
        Compare::LessOrEqual => found.is_le(),
        Compare::Greater => found.is_gt(),
        Compare::GreaterOrEqual => found.is_ge(),
    }
}

fn subtract<'v>(left: &Value<'v>, right: &Value<'v>) -> Result<Value<'v>> {
    let range = || out_of_range("`-`");
    match (left, right) {
        (Value::Time(left), Value::Time(right)) => {
            let nanos = left.signed_duration_since(right).num_nanoseconds();
            nanos.map(Value::Span).ok_or_else(range)
        }
        (Value::Time(time), Value::Span(span)) => {
            let difference = time.checked_sub_signed(TimeDelta::nanoseconds(*span));
            difference.map(Value::Time).ok_or_else(range)
        }
        (Value::Span(left), Value::Span(right)) => {
            left.checked_sub(*right).map(Value::Span).ok_or_else(range)
        }
        _ => absent_or_error("`-`", left, right),
    }
}

/// Arithmetic with a missing value gives a missing value.
fn absent_or_error<'v>(
    operation: &'static str,
    left: &Value<'v>,
    right: &Value<'v>,
) -> Result<Value<'v>> {
    let is_number = |value: &Value<'_>| matches!(value, Value::Number(_)) || value.is_absent();
    if is_number(left) && is_number(right) {
        Ok(Value::Missing)
    } else {
        Err(type_error(operation, &[left, right]))
    }
}

fn out_of_range(operation: &'static str) -> ExprError {
    ExprError::Failed {
        operation,
        message: "the result is outside the calendar".to_owned(),
    }
}

fn literal_value(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Number(Number::Int(*value)),
        Literal::Uint(value) => Value::Number(Number::Uint(*value)),
        Literal::Double(value) => Value::Number(Number::Double(*value)),
        Literal::Text(text) => Value::Text(Text::Borrowed(text)),
        Literal::Bytes(bytes) => Value::Bytes(Rc::from(bytes.as_slice())),
    }
}
