//! Searches: expressions over stored events and runs, and what a database can be asked for before one is evaluated.

use serde_json::Value as Json;

use super::eval::Rules;
use super::parse::{Compare, Key, Literal, Names, Node, Path, Root, parse};
use super::{ExprError, Inner, Program, Vars};

/// What a search is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchOver {
    /// Events: `event`.
    Events,
    /// Runs: `event`, `output`, `error` and `run`.
    Runs,
}

/// A root of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchRoot {
    /// `event`: the event, or one of the run's events.
    Event,
    /// `output`: what the run returned.
    Output,
    /// `error`: why the run failed.
    Error,
    /// `run`: the run itself.
    Run,
}

/// Something that holds for every match: the value at a path is one of these.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Below what.
    pub root: SearchRoot,
    /// Names of fields, at least one.
    pub path: Vec<String>,
    /// Null, booleans, texts, and whole numbers that a double holds exactly; never none.
    pub values: Vec<Json>,
}

impl Program {
    /// Parses a search, which may look at what `over` names and at nothing else.
    ///
    /// # Errors
    /// As [`Program::parse`].
    pub fn parse_search(text: &str, over: SearchOver) -> Result<Self, ExprError> {
        let names = match over {
            SearchOver::Events => Names::Event,
            SearchOver::Runs => Names::Run,
        };
        let node = parse(text, names)?;
        let text = text.to_owned();
        Ok(Self(std::sync::Arc::new(Inner { text, node })))
    }

    /// Whether a stored thing is found. Here a comparison with something missing is false, and so is a search that cannot be evaluated on
    /// this thing: there is no author who could be told.
    pub fn finds(&self, vars: &Vars<'_>) -> bool {
        self.evaluator(vars, Rules::Search)
            .claim(&self.0.node)
            .unwrap_or(false)
    }

    /// Whether it looks at something below this root.
    pub fn looks_at(&self, root: SearchRoot) -> bool {
        self.0.node.reads(match root {
            SearchRoot::Event => Root::Event,
            SearchRoot::Output => Root::Output,
            SearchRoot::Error => Root::Error,
            SearchRoot::Run => Root::Run,
        })
    }

    /// What holds for every match, and whether that is all that the search says.
    pub fn demands(&self) -> (Vec<Demand>, bool) {
        let mut conjuncts = Vec::new();
        collect(&self.0.node, &mut conjuncts);
        let demands: Vec<Demand> = conjuncts.iter().filter_map(|node| demand(node)).collect();
        let is_all = demands.len() == conjuncts.len();
        (demands, is_all)
    }
}

fn collect<'n>(node: &'n Node, conjuncts: &mut Vec<&'n Node>) {
    match node {
        Node::And(left, right) => {
            collect(left, conjuncts);
            collect(right, conjuncts);
        }
        other => conjuncts.push(other),
    }
}

fn demand(node: &Node) -> Option<Demand> {
    let (path, values) = match node {
        Node::Compare(Compare::Equal, left, right) => match (left.as_ref(), right.as_ref()) {
            (Node::Path(path), Node::Literal(literal))
            | (Node::Literal(literal), Node::Path(path)) => (path, vec![json(literal)?]),
            _ => return None,
        },
        Node::In(item, list) => match (item.as_ref(), list.as_ref()) {
            (Node::Path(path), Node::List(items)) if !items.is_empty() => {
                let values = items.iter().map(|item| match item {
                    Node::Literal(literal) => json(literal),
                    _ => None,
                });
                (path, values.collect::<Option<Vec<_>>>()?)
            }
            _ => return None,
        },
        _ => return None,
    };
    let (root, path) = fields(path)?;
    Some(Demand { root, path, values })
}

fn fields(path: &Path) -> Option<(SearchRoot, Vec<String>)> {
    let root = match path.root {
        Root::Event => SearchRoot::Event,
        Root::Output => SearchRoot::Output,
        Root::Error => SearchRoot::Error,
        Root::Run => SearchRoot::Run,
        Root::Incoming | Root::Vars | Root::Local(_) => return None,
    };
    let names = path.keys.iter().map(|key| match key {
        Key::Field(name) => Some(name.clone()),
        Key::Element(_) => None,
    });
    let names: Vec<String> = names.collect::<Option<_>>()?;
    (!names.is_empty()).then_some((root, names))
}

/// The JSON that is equal to a literal and to no other JSON.
fn json(literal: &Literal) -> Option<Json> {
    const EXACT: u64 = 1 << 53;
    Some(match literal {
        Literal::Null => Json::Null,
        Literal::Bool(value) => (*value).into(),
        Literal::Text(text) => text.as_str().into(),
        Literal::Int(number) if number.unsigned_abs() < EXACT => (*number).into(),
        Literal::Uint(number) if *number < EXACT => (*number).into(),
        Literal::Int(_) | Literal::Uint(_) | Literal::Double(_) | Literal::Bytes(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn runs(text: &str) -> Program {
        Program::parse_search(text, SearchOver::Runs).unwrap()
    }

    #[test]
    fn search_finds_what_it_says_and_fails_on_nothing() {
        let event = json!({"name": "a", "data": {"n": 5, "none": null, "text": "x"}});
        let (output, run) = (json!({"ok": true}), json!({"status": "COMPLETED"}));
        let vars = Vars {
            event: Some(&event),
            output: Some(&output),
            run: Some(&run),
            ..Vars::default()
        };
        for (text, expected) in [
            ("event.data.n == 5", true),
            ("event.data.n >= 5.0", true),
            ("event.data.n == \"5\"", false),
            ("event.data.missing == 5", false),
            ("event.data.missing != 5", false),
            ("event.data.missing == null", false),
            ("event.data.none == null", true),
            ("has(event.data.missing)", false),
            ("!has(event.data.missing)", true),
            ("event.data.text < 3", false),
            ("event.data.text.startsWith(\"x\")", true),
            ("event.data.n.startsWith(\"x\")", false),
            (
                "event.data.n in [4, 5] && run.status == \"COMPLETED\"",
                true,
            ),
            ("output.ok", true),
            ("error.message == \"x\"", false),
            ("error.message == \"x\" || output.ok == true", true),
            ("5", false),
        ] {
            assert_eq!(runs(text).finds(&vars), expected, "{text}");
        }
    }

    #[test]
    fn names_depend_on_what_is_searched() {
        for text in [
            "output.a == 1",
            "run.status == \"x\"",
            "error.name == \"x\"",
        ] {
            assert!(
                Program::parse_search(text, SearchOver::Events).is_err(),
                "{text}"
            );
            assert!(Program::parse(text).is_err(), "{text}");
            assert!(
                Program::parse_search(text, SearchOver::Runs).is_ok(),
                "{text}"
            );
        }
        for over in [SearchOver::Events, SearchOver::Runs] {
            assert!(Program::parse_search("async.data.a == 1", over).is_err());
        }
    }

    #[test]
    fn demands_are_the_conjuncts_that_a_database_can_be_asked_for() {
        let (demands, is_all) =
            runs("event.data.a == 1 && \"x\" == output.b && run.status in [\"FAILED\"]").demands();
        let found: Vec<_> = demands
            .iter()
            .map(|demand| (demand.root, demand.path.join("."), demand.values.clone()))
            .collect();
        assert_eq!(
            found,
            [
                (SearchRoot::Event, "data.a".to_owned(), vec![json!(1)]),
                (SearchRoot::Output, "b".to_owned(), vec![json!("x")]),
                (SearchRoot::Run, "status".to_owned(), vec![json!("FAILED")]),
            ]
        );
        assert!(is_all);
        for text in [
            "event.data.a == 1 || event.data.b == 1",
            "event.data.a == 1.5",
            "event.data.a == 9007199254740992",
            "event.data.list[0] == 1",
            "event.data.a != 1",
            "event.data.a in event.data.b",
            "event == 1",
            "!(event.data.a == 1)",
        ] {
            let (demands, is_all) = runs(text).demands();
            assert!(demands.is_empty() && !is_all, "{text}: {demands:?}");
        }
        let (demands, is_all) = runs("event.data.a == 1 && event.data.b > 2").demands();
        assert!(demands.len() == 1 && !is_all);
    }

    #[test]
    fn whatever_is_found_has_what_is_demanded() {
        let canonical = |value: &Json| crate::json::Json::from_value(value);
        let documents = [
            json!(null),
            json!(true),
            json!(0),
            json!(-0.0),
            json!(5),
            json!(5.0),
            json!(5.5),
            json!("5"),
            json!("null"),
            json!([5]),
            json!({"b": 5}),
            json!(9_007_199_254_740_991_u64),
            json!(9_007_199_254_740_993_u64),
        ];
        let literals = [
            "null",
            "true",
            "0",
            "0u",
            "-0.0",
            "5",
            "5u",
            "5.0",
            "'5'",
            "b'5'",
            "'null'",
            "[5]",
            "9007199254740991",
            "9007199254740993",
            "-5",
        ];
        let mut found = 0;
        for document in &documents {
            let event = json!({"data": {"a": document}});
            let vars = Vars {
                event: Some(&event),
                ..Vars::default()
            };
            for literal in literals {
                for text in [
                    format!("event.data.a == {literal}"),
                    format!("{literal} == event.data.a && true"),
                    format!("event.data.a in [{literal}, 'x']"),
                    format!("event.data['a'] in ['x', {literal}] && event.data.a == {literal}"),
                ] {
                    let search = runs(&text);
                    if !search.finds(&vars) {
                        continue;
                    }
                    found += 1;
                    for demand in search.demands().0 {
                        assert_eq!(demand.path, ["data", "a"]);
                        let has = demand
                            .values
                            .iter()
                            .any(|value| canonical(value) == canonical(document));
                        assert!(
                            has,
                            "{text} finds {document} and demands {:?}",
                            demand.values
                        );
                    }
                }
            }
        }
        assert!(found > 40, "only {found}");
    }
}
