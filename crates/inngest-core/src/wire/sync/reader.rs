//! Reads one configuration, taking note of everything that is wrong instead of stopping at the first thing.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::Value;

use super::Cause;
use crate::{
    duration,
    expr::{ExprError, Program},
};

/// What is known about a configuration besides its content.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) causes: Vec<Cause>,
    pub(super) warnings: Vec<String>,
    pub(super) function: String,
}

/// A value and where it is.
#[derive(Clone)]
pub(super) struct Node<'v> {
    pub(super) value: &'v Value,
    pointer: String,
}

impl Notes {
    pub(super) fn fail(&mut self, node: &Node<'_>, code: &'static str, message: impl Into<String>) {
        let cause = Cause {
            function: self.function.clone(),
            pointer: node.pointer.clone(),
            code,
            message: message.into(),
        };
        self.causes.push(cause);
    }

    /// Text that is there, not null and not empty.
    pub(super) fn text(&mut self, parent: &Node<'_>, key: &str) -> Option<String> {
        let node = parent.member(key)?;
        match node.value {
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            _ => {
                self.fail(&node, "config_invalid", format!("`{key}` must be a string"));
                None
            }
        }
    }

    /// A whole number that is there.
    pub(super) fn number(
        &mut self,
        parent: &Node<'_>,
        key: &str,
        code: &'static str,
    ) -> Option<u32> {
        let node = parent.member(key)?;
        let number = node.whole();
        if number.is_none() {
            self.fail(
                &node,
                code,
                format!("`{key}` must be a whole number from 0 to {}", u32::MAX),
            );
        }
        number
    }

    /// An expression that compiles; empty counts as absent.
    pub(super) fn expression(
        &mut self,
        parent: &Node<'_>,
        key: &str,
        code: &'static str,
    ) -> Option<String> {
        self.expression_with(parent, key, code, |_| Ok(()))
    }

    /// The same under the rules for cancel rules.
    pub(super) fn restrictive_expression(
        &mut self,
        parent: &Node<'_>,
        key: &str,
    ) -> Option<String> {
        self.expression_with(parent, key, "config_invalid", Program::check_restrictive)
    }

    fn expression_with(
        &mut self,
        parent: &Node<'_>,
        key: &str,
        code: &'static str,
        check: impl Fn(&Program) -> Result<(), ExprError>,
    ) -> Option<String> {
        let text = self.text(parent, key)?;
        match Program::parse(&text).and_then(|program| check(&program)) {
            Ok(()) => Some(text),
            Err(error) => {
                let node = parent.member(key)?;
                self.fail(
                    &node,
                    code,
                    format!("`{key}` is not a valid expression: {error}"),
                );
                None
            }
        }
    }

    /// A duration in these bounds.
    pub(super) fn duration(
        &mut self,
        parent: &Node<'_>,
        key: &str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let text = self.text(parent, key)?;
        self.check_duration(
            parent,
            key,
            "config_invalid",
            duration::parse(&text),
            bounds,
        )
    }

    /// A duration in the form of Go, in these bounds.
    pub(super) fn go_duration(
        &mut self,
        parent: &Node<'_>,
        key: &str,
        code: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let text = self.text(parent, key)?;
        self.check_duration(parent, key, code, duration::parse_go(&text), bounds)
    }

    fn check_duration(
        &mut self,
        parent: &Node<'_>,
        key: &str,
        code: &'static str,
        read: Result<Duration, duration::InvalidDuration>,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let node = parent.member(key)?;
        match read {
            Ok(duration) if bounds.contains(&duration) => Some(duration),
            Ok(_) => {
                let (from, to) = (
                    format_duration(*bounds.start()),
                    format_duration(*bounds.end()),
                );
                self.fail(&node, code, format!("`{key}` must be from {from} to {to}"));
                None
            }
            Err(error) => {
                self.fail(&node, code, format!("`{key}` is not valid: {error}"));
                None
            }
        }
    }
}

fn format_duration(duration: Duration) -> String {
    duration::format(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

impl<'v> Node<'v> {
    pub(super) fn root(value: &'v Value) -> Self {
        Self {
            value,
            pointer: String::new(),
        }
    }

    /// A member by its key in any case (SDKs are not of one mind); null counts as absent.
    pub(super) fn member(&self, key: &str) -> Option<Node<'v>> {
        let object = self.value.as_object()?;
        let exact = object.get_key_value(key);
        let (name, value) = exact.or_else(|| {
            object
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key))
        })?;
        (!value.is_null()).then(|| self.child(name, value))
    }

    /// All members that are not null.
    pub(super) fn members(&self) -> Vec<Node<'v>> {
        let members = self
            .value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null());
        members
            .map(|(name, value)| self.child(name, value))
            .collect()
    }

    /// The items of an array, or the value itself where a list of one was meant.
    pub(super) fn items(&self) -> Vec<Node<'v>> {
        match self.value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.child(&index.to_string(), item))
                .collect(),
            _ => vec![self.clone()],
        }
    }

    pub(super) fn whole(&self) -> Option<u32> {
        self.value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
    }

    fn child(&self, name: &str, value: &'v Value) -> Node<'v> {
        Node {
            value,
            pointer: format!(
                "{}/{}",
                self.pointer,
                name.replace('~', "~0").replace('/', "~1")
            ),
        }
    }
}
