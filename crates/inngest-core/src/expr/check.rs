//! Which functions and type names exist, and what the restrictive rules leave.

use super::ExprError;
use super::parse::Node;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Lowercase,
    Uppercase,
    Base64Decode,
    JsonParse,
    Date,
    Now,
    NowPlus,
    NowMinus,
    Int,
    Uint,
    Double,
    String,
    Bool,
    Bytes,
    Timestamp,
    Duration,
    Type,
    Dyn,
    Get(Getter),
}

/// A part of a time or a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Getter {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// How a function is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `size(x)`
    Plain,
    /// `x.size()`
    Method,
}

/// Finds the function called `name`. `count` includes a method's target.
pub(super) fn function(name: &str, style: Style, count: usize) -> Result<Function, ExprError> {
    let by_style = match style {
        Style::Plain => plain(name),
        Style::Method => method(name),
    };
    let Some((function, counts)) = by_style else {
        // Operators of the grammar have names that nobody wrote.
        return Err(ExprError::UnknownFunction {
            name: name.to_owned(),
        });
    };
    if counts.contains(&count) {
        Ok(function)
    } else {
        Err(ExprError::ArgumentCount {
            function: name.to_owned(),
            count: count - usize::from(style == Style::Method),
        })
    }
}

fn plain(name: &str) -> Option<(Function, &'static [usize])> {
    let function = match name {
        "now" => return Some((Function::Now, &[0])),
        "size" => Function::Size,
        "lowercase" => Function::Lowercase,
        "uppercase" => Function::Uppercase,
        "b64decode" => Function::Base64Decode,
        "json_parse" => Function::JsonParse,
        "date" => Function::Date,
        "now_plus" => Function::NowPlus,
        "now_minus" => Function::NowMinus,
        "int" => Function::Int,
        "uint" => Function::Uint,
        "double" => Function::Double,
        "string" => Function::String,
        "bool" => Function::Bool,
        "bytes" => Function::Bytes,
        "timestamp" => Function::Timestamp,
        "duration" => Function::Duration,
        "type" => Function::Type,
        "dyn" => Function::Dyn,
        _ => return None,
    };
    Some((function, &[1]))
}

fn method(name: &str) -> Option<(Function, &'static [usize])> {
    let getter = match name {
        "size" => return Some((Function::Size, &[1])),
        "contains" => return Some((Function::Contains, &[2])),
        "startsWith" => return Some((Function::StartsWith, &[2])),
        "endsWith" => return Some((Function::EndsWith, &[2])),
        "getFullYear" => Getter::FullYear,
        "getMonth" => Getter::Month,
        "getDate" => Getter::Date,
        "getDayOfMonth" => Getter::DayOfMonth,
        "getDayOfWeek" => Getter::DayOfWeek,
        "getDayOfYear" => Getter::DayOfYear,
        "getHours" => Getter::Hours,
        "getMinutes" => Getter::Minutes,
        "getSeconds" => Getter::Seconds,
        "getMilliseconds" => Getter::Milliseconds,
        _ => return None,
    };
    // With or without a time zone.
    Some((Function::Get(getter), &[1, 2]))
}

/// Names of types, as `type(x) == int` uses them.
pub(super) fn type_name(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 10] = [
        "bool",
        "bytes",
        "double",
        "int",
        "list",
        "map",
        "null_type",
        "string",
        "type",
        "uint",
    ];
    NAMES.into_iter().find(|known| *known == name)
}

/// Refuses what a cancel rule may not use.
pub(super) fn restrictive(node: &Node) -> Result<(), ExprError> {
    let refused = match node {
        Node::Literal(_)
        | Node::Path(_)
        | Node::Index(..)
        | Node::Not(_)
        | Node::And(..)
        | Node::Or(..)
        | Node::Compare(..)
        | Node::In(..)
        | Node::Choice(_)
        | Node::List(_)
        | Node::Map(_)
        | Node::Call(Function::Int | Function::Uint | Function::Double, _) => None,
        Node::Has(_) => Some("`has`"),
        Node::Macro(_) => Some("a macro such as `exists`"),
        Node::Negate(_) | Node::Arithmetic(..) => Some("arithmetic"),
        Node::Matches(..) => Some("`matches`"),
        Node::TypeName(_) => Some("a type"),
        Node::Call(..) => Some("a function other than `int`, `uint` and `double`"),
    };
    if let Some(what) = refused {
        return Err(ExprError::NotAllowed { what });
    }
    let mut result = Ok(());
    node.for_each_part(&mut |part| {
        if result.is_ok() {
            result = restrictive(part);
        }
    });
    result
}
