//! Source text → our own tree. The crate `cel` reads the grammar; names, functions, patterns and sizes are checked while its tree is
//! turned into ours, so that nothing else here knows that crate.

use std::panic::catch_unwind;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};
use cel::parser::PrattParser;
use cel::{IdedExpr, ParseErrors};
use regex::{Regex, RegexBuilder};

use super::check::{self, Function};
use super::{
    ExprError, MAX_DEPTH, MAX_NESTED_MACROS, MAX_NODES, MAX_PATTERN_BYTES, MAX_SOURCE_BYTES,
};

#[derive(Debug)]
pub(super) enum Node {
    Literal(Literal),
    Path(Path),
    /// `has(path)`.
    Has(Box<Node>),
    /// `value[index]`, also `value.field` where `value` is no path.
    Index(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Compare(Compare, Box<Node>, Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    In(Box<Node>, Box<Node>),
    /// Condition, then, otherwise.
    Choice(Box<[Node; 3]>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, Box<Pattern>),
    Macro(Box<Macro>),
    TypeName(&'static str),
}

#[derive(Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    /// Of searching 16 bytes with it: matching takes time in proportion to text and compiled size.
    weight: usize,
}

impl Pattern {
    pub(super) fn cost_on(&self, text: &str) -> usize {
        (text.len() / 16).saturating_mul(self.weight)
    }
}

/// A name and the constant fields and indexes behind it.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) root: Root,
    pub(super) keys: Vec<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    Event,
    Incoming,
    Vars,
    Output,
    Error,
    Run,
    /// The variable of the macro at this nesting, counted from the outermost.
    Local(usize),
}

/// Which names an expression may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Names {
    /// `event`, `async` and `vars`.
    #[default]
    Async,
    /// `event`.
    Event,
    /// `event`, `output`, `error` and `run`.
    Run,
}

impl Names {
    fn root(self, name: &str) -> Option<Root> {
        Some(match (name, self) {
            ("event", _) => Root::Event,
            ("async", Self::Async) => Root::Incoming,
            ("vars", Self::Async) => Root::Vars,
            ("output", Self::Run) => Root::Output,
            ("error", Self::Run) => Root::Error,
            ("run", Self::Run) => Root::Run,
            _ => return None,
        })
    }

    fn listed(self) -> &'static str {
        match self {
            Self::Async => "`event`, `async` and `vars`",
            Self::Event => "`event`",
            Self::Run => "`event`, `output`, `error` and `run`",
        }
    }
}

#[derive(Debug)]
pub(super) enum Key {
    Field(String),
    Element(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// `list.exists(variable, body)` and its kin.
#[derive(Debug)]
pub(super) struct Macro {
    pub(super) list: Node,
    pub(super) kind: MacroKind,
}

#[derive(Debug)]
pub(super) enum MacroKind {
    Exists(Node),
    All(Node),
    ExistsOne(Node),
    /// `map` and `filter`: the elements to take, and what becomes of each.
    Collect {
        filter: Option<Node>,
        item: Node,
    },
}

impl Node {
    /// Calls `visit` for each direct part.
    pub(super) fn for_each_part<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        match self {
            Self::Literal(_) | Self::Path(_) | Self::TypeName(_) => {}
            Self::Has(part) | Self::Not(part) | Self::Negate(part) | Self::Matches(part, _) => {
                visit(part)
            }
            Self::Index(left, right)
            | Self::And(left, right)
            | Self::Or(left, right)
            | Self::Compare(_, left, right)
            | Self::Arithmetic(_, left, right)
            | Self::In(left, right) => {
                visit(left);
                visit(right);
            }
            Self::Choice(parts) => parts.iter().for_each(visit),
            Self::List(parts) | Self::Call(_, parts) => parts.iter().for_each(visit),
            Self::Map(entries) => entries.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            Self::Macro(found) => {
                visit(&found.list);
                match &found.kind {
                    MacroKind::Exists(body) | MacroKind::All(body) | MacroKind::ExistsOne(body) => {
                        visit(body)
                    }
                    MacroKind::Collect { filter, item } => {
                        filter.iter().chain([item]).for_each(visit)
                    }
                }
            }
        }
    }

    /// Whether it, or any part of it, is a path below `root`.
    pub(super) fn reads(&self, root: Root) -> bool {
        let mut found = matches!(self, Self::Path(path) if path.root == root);
        self.for_each_part(&mut |part| found = found || part.reads(root));
        found
    }
}

pub(super) fn parse(text: &str, names: Names) -> Result<Node, ExprError> {
    if text.len() > MAX_SOURCE_BYTES {
        return Err(ExprError::TooLong);
    }
    let parsed = catch_unwind(|| {
        let depth = u16::try_from(MAX_DEPTH).unwrap_or(u16::MAX);
        PrattParser::new()
            .max_recursion_depth(depth)
            .max_expression_node_count(MAX_NODES)
            .error_recovery_limit(1)
            .parse(text)
    });
    match parsed {
        Ok(Ok(tree)) => Reader {
            names,
            ..Reader::default()
        }
        .read(tree),
        Ok(Err(errors)) => Err(syntax_error(&errors)),
        Err(_) => Err(malformed("this cannot be parsed")),
    }
}

fn syntax_error(errors: &ParseErrors) -> ExprError {
    let Some(first) = errors.errors.iter().find(|error| error.pos.0 > 0) else {
        return malformed("this cannot be parsed");
    };
    let is_limit = errors
        .errors
        .iter()
        .any(|error| error.msg.contains("limit") && !error.msg.contains("recovery"));
    if is_limit {
        return ExprError::TooComplex;
    }
    let message = first.msg.trim_start_matches("Syntax error: ").to_owned();
    ExprError::Syntax {
        line: usize::try_from(first.pos.0).unwrap_or(1),
        column: usize::try_from(first.pos.1).unwrap_or(1),
        message,
    }
}

fn malformed(message: &str) -> ExprError {
    ExprError::Syntax {
        line: 1,
        column: 1,
        message: message.to_owned(),
    }
}

/// Turns the parser's tree into ours.
#[derive(Default)]
struct Reader {
    names: Names,
    nodes: usize,
    depth: usize,
    /// Variables of the macros around, outermost first.
    variables: Vec<String>,
}

impl Reader {
    fn read(&mut self, expr: IdedExpr) -> Result<Node, ExprError> {
        self.nodes += 1;
        self.depth += 1;
        if self.nodes > MAX_NODES || self.depth > MAX_DEPTH {
            return Err(ExprError::TooComplex);
        }
        let node = self.read_node(expr.expr);
        self.depth -= 1;
        node
    }

    fn read_boxed(&mut self, expr: IdedExpr) -> Result<Box<Node>, ExprError> {
        self.read(expr).map(Box::new)
    }

    fn read_node(&mut self, expr: Expr) -> Result<Node, ExprError> {
        match expr {
            Expr::Literal(literal) => Ok(Node::Literal(read_literal(literal))),
            Expr::Ident(name) => self.read_name(&name),
            Expr::Select(select) => {
                let operand = self.read(*select.operand)?;
                let is_test = select.test;
                let node = self.below(operand, Key::Field(select.field));
                Ok(if is_test {
                    Node::Has(Box::new(node))
                } else {
                    node
                })
            }
            Expr::Call(call) => self.read_call(call),
            Expr::List(list) => {
                let parts = list.elements.into_iter().map(|part| self.read(part));
                Ok(Node::List(parts.collect::<Result<_, _>>()?))
            }
            Expr::Map(map) => self.read_map(map.entries.into_iter().map(|entry| entry.expr)),
            Expr::Comprehension(found) => self.read_macro(*found),
            Expr::Struct(_) => Err(ExprError::NotAllowed {
                what: "constructing a message",
            }),
            Expr::Unspecified => Err(malformed("a part is missing")),
        }
    }

    fn read_name(&self, name: &str) -> Result<Node, ExprError> {
        let local = self.variables.iter().rposition(|variable| variable == name);
        let root = match local {
            Some(index) => Some(Root::Local(index)),
            None => self.names.root(name),
        };
        let Some(root) = root else {
            return match check::type_name(name) {
                Some(name) => Ok(Node::TypeName(name)),
                None => Err(ExprError::UnknownRoot {
                    name: name.to_owned(),
                    known: self.names.listed(),
                }),
            };
        };
        let keys = Vec::new();
        Ok(Node::Path(Path { root, keys }))
    }

    /// `operand.key`, joined to the operand's path where it is one.
    fn below(&self, operand: Node, key: Key) -> Node {
        match operand {
            Node::Path(mut path) => {
                path.keys.push(key);
                Node::Path(path)
            }
            other => {
                let index = match key {
                    Key::Field(name) => Literal::Text(name),
                    Key::Element(index) => Literal::Int(i64::try_from(index).unwrap_or(i64::MAX)),
                };
                Node::Index(Box::new(other), Box::new(Node::Literal(index)))
            }
        }
    }

    fn read_map(&mut self, entries: impl Iterator<Item = EntryExpr>) -> Result<Node, ExprError> {
        let mut read = Vec::new();
        for entry in entries {
            let EntryExpr::MapEntry(entry) = entry else {
                return Err(malformed("a map holds a field without key"));
            };
            read.push((self.read(entry.key)?, self.read(entry.value)?));
        }
        Ok(Node::Map(read))
    }

    fn read_call(&mut self, call: CallExpr) -> Result<Node, ExprError> {
        let CallExpr {
            func_name: name,
            target,
            args,
        } = call;
        if let Some(target) = target {
            let target = self.read(*target)?;
            return self.read_function(&name, Some(target), args);
        }
        let args = match <[IdedExpr; 1]>::try_from(args) {
            Ok([only]) => match name.as_str() {
                operators::LOGICAL_NOT => return Ok(Node::Not(self.read_boxed(only)?)),
                operators::NEGATE => return Ok(Node::Negate(self.read_boxed(only)?)),
                _ => return self.read_function(&name, None, vec![only]),
            },
            Err(args) => args,
        };
        let args = match <[IdedExpr; 2]>::try_from(args) {
            Ok([left, right]) => return self.read_binary(&name, left, right),
            Err(args) => args,
        };
        match <[IdedExpr; 3]>::try_from(args) {
            Ok([condition, then, otherwise]) if name == operators::CONDITIONAL => {
                let parts = [
                    self.read(condition)?,
                    self.read(then)?,
                    self.read(otherwise)?,
                ];
                Ok(Node::Choice(Box::new(parts)))
            }
            Ok(args) => self.read_function(&name, None, args.into()),
            Err(args) => self.read_function(&name, None, args),
        }
    }

    fn read_binary(
        &mut self,
        name: &str,
        left: IdedExpr,
        right: IdedExpr,
    ) -> Result<Node, ExprError> {
        let compare = match name {
            operators::EQUALS => Some(Compare::Equal),
            operators::NOT_EQUALS => Some(Compare::NotEqual),
            operators::LESS => Some(Compare::Less),
            operators::LESS_EQUALS => Some(Compare::LessOrEqual),
            operators::GREATER => Some(Compare::Greater),
            operators::GREATER_EQUALS => Some(Compare::GreaterOrEqual),
            _ => None,
        };
        if let Some(compare) = compare {
            return Ok(Node::Compare(
                compare,
                self.read_boxed(left)?,
                self.read_boxed(right)?,
            ));
        }
        let arithmetic = match name {
            operators::ADD => Some(Arithmetic::Add),
            operators::SUBSTRACT => Some(Arithmetic::Subtract),
            operators::MULTIPLY => Some(Arithmetic::Multiply),
            operators::DIVIDE => Some(Arithmetic::Divide),
            operators::MODULO => Some(Arithmetic::Remainder),
            _ => None,
        };
        if let Some(arithmetic) = arithmetic {
            return Ok(Node::Arithmetic(
                arithmetic,
                self.read_boxed(left)?,
                self.read_boxed(right)?,
            ));
        }
        match name {
            operators::LOGICAL_AND => {
                Ok(Node::And(self.read_boxed(left)?, self.read_boxed(right)?))
            }
            operators::LOGICAL_OR => {
                let (left, right) = (self.read_boxed(left)?, self.read_boxed(right)?);
                let is_claim = |node: &Node| !matches!(node, Node::Literal(literal) if !matches!(literal, Literal::Bool(_)));
                if is_claim(&left) && is_claim(&right) {
                    Ok(Node::Or(left, right))
                } else {
                    Err(ExprError::NotAllowed {
                        what: "`||` with a constant other than true and false",
                    })
                }
            }
            operators::IN => Ok(Node::In(self.read_boxed(left)?, self.read_boxed(right)?)),
            operators::INDEX => self.read_index(left, right),
            _ => self.read_function(name, None, vec![left, right]),
        }
    }

    fn read_index(&mut self, operand: IdedExpr, index: IdedExpr) -> Result<Node, ExprError> {
        let operand = self.read(operand)?;
        let index = self.read(index)?;
        let key = match &index {
            Node::Literal(Literal::Text(name)) => Some(Key::Field(name.clone())),
            Node::Literal(Literal::Int(index)) => usize::try_from(*index).ok().map(Key::Element),
            _ => None,
        };
        Ok(match key {
            Some(key) if matches!(operand, Node::Path(_)) => self.below(operand, key),
            _ => Node::Index(Box::new(operand), Box::new(index)),
        })
    }

    fn read_function(
        &mut self,
        name: &str,
        target: Option<Node>,
        args: Vec<IdedExpr>,
    ) -> Result<Node, ExprError> {
        let style = if target.is_some() {
            check::Style::Method
        } else {
            check::Style::Plain
        };
        let mut nodes = Vec::from_iter(target);
        let args = args.into_iter().map(|arg| self.read(arg));
        nodes.extend(args.collect::<Result<Vec<_>, _>>()?);
        if name == "matches" {
            return read_matches(nodes);
        }
        let function = check::function(name, style, nodes.len())?;
        Ok(Node::Call(function, nodes))
    }

    /// The parser has already expanded macros to loops over an accumulator. How it begins tells which macro it was.
    fn read_macro(&mut self, found: ComprehensionExpr) -> Result<Node, ExprError> {
        let list = self.read(found.iter_range)?;
        if self.variables.len() >= MAX_NESTED_MACROS {
            return Err(ExprError::TooComplex);
        }
        self.variables.push(found.iter_var);
        let kind = self.read_macro_kind(found.accu_init.expr, found.loop_step.expr);
        self.variables.pop();
        let kind = kind?;
        Ok(Node::Macro(Box::new(Macro { list, kind })))
    }

    fn read_macro_kind(&mut self, init: Expr, step: Expr) -> Result<MacroKind, ExprError> {
        let unexpected = || malformed("this macro is unknown");
        let Expr::Call(mut step) = step else {
            return Err(unexpected());
        };
        match init {
            Expr::Literal(LiteralValue::Boolean(at_first)) => {
                let body = self.read(step.args.pop().ok_or_else(unexpected)?)?;
                Ok(if at_first.into_inner() {
                    MacroKind::All(body)
                } else {
                    MacroKind::Exists(body)
                })
            }
            Expr::Literal(LiteralValue::Int(_)) => {
                let body = step.args.into_iter().next().ok_or_else(unexpected)?;
                Ok(MacroKind::ExistsOne(self.read(body)?))
            }
            Expr::List(_) => {
                let mut filter = None;
                if step.func_name == operators::CONDITIONAL {
                    let mut parts = step.args.into_iter();
                    filter = Some(self.read(parts.next().ok_or_else(unexpected)?)?);
                    let Some(Expr::Call(append)) = parts.next().map(|part| part.expr) else {
                        return Err(unexpected());
                    };
                    step = append;
                }
                let Some(Expr::List(mut appended)) = step.args.pop().map(|part| part.expr) else {
                    return Err(unexpected());
                };
                let item = self.read(appended.elements.pop().ok_or_else(unexpected)?)?;
                Ok(MacroKind::Collect { filter, item })
            }
            _ => Err(unexpected()),
        }
    }
}

fn read_matches(mut args: Vec<Node>) -> Result<Node, ExprError> {
    let (Some(pattern), Some(text), None) = (args.pop(), args.pop(), args.pop()) else {
        return Err(ExprError::UnknownFunction {
            name: "matches".to_owned(),
        });
    };
    let Node::Literal(Literal::Text(pattern)) = pattern else {
        return Err(ExprError::NotAllowed {
            what: "a regular expression that is not a constant text",
        });
    };
    match compile(&pattern) {
        Ok(compiled) => Ok(Node::Matches(Box::new(text), Box::new(compiled))),
        Err(error) => {
            // The last line says what is wrong, those before it draw where.
            let message = error.to_string();
            let message = message.lines().last().unwrap_or_default();
            let message = message.trim_start_matches("error: ").to_owned();
            Err(ExprError::Pattern { pattern, message })
        }
    }
}

/// Compiles under the smallest of three size limits that is enough, which tells how dear matching is.
fn compile(pattern: &str) -> Result<Pattern, regex::Error> {
    let compile_within = |bytes: usize, weight: usize| {
        let regex = RegexBuilder::new(pattern).size_limit(bytes).build()?;
        Ok(Pattern { regex, weight })
    };
    compile_within(MAX_PATTERN_BYTES / 16, 1)
        .or_else(|_: regex::Error| compile_within(MAX_PATTERN_BYTES / 4, 8))
        .or_else(|_| compile_within(MAX_PATTERN_BYTES, 64))
}

fn read_literal(literal: LiteralValue) -> Literal {
    match literal {
        LiteralValue::Boolean(value) => Literal::Bool(value.into_inner()),
        LiteralValue::Bytes(value) => Literal::Bytes(value.into_inner()),
        LiteralValue::Double(value) => Literal::Double(value.into_inner()),
        LiteralValue::Int(value) => Literal::Int(value.into_inner()),
        LiteralValue::Null => Literal::Null,
        LiteralValue::String(value) => Literal::Text(value.into_inner()),
        LiteralValue::UInt(value) => Literal::Uint(value.into_inner()),
    }
}
