//! From the text of a pattern to rules.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::address::{Range, address_of};
use crate::alternative::{Alternative, Bound, Bounds, IgnoringCase, Number, TextTest, Word};
use crate::glob::Step;
use crate::json::Node;
use crate::number::comparable;

/// Patterns that a filter has at most, as an event source mapping of AWS Lambda.
pub const PATTERNS_MAX: usize = 5;
/// Characters of a pattern at most, as an event source mapping of AWS Lambda.
pub const PATTERN_CHARS_MAX: usize = 4_096;
/// Combinations of the branches of `$or` in one pattern at most, as Amazon EventBridge.
const RULES_MAX: usize = 1_000;

/// The member that holds branches.
const OR: &str = "$or";
/// Names that no field has within a branch of `$or`.
const RESERVED: &[&str] = &[
    "exactly",
    "prefix",
    "suffix",
    "equals-ignore-case",
    "wildcard",
    "anything-but",
    "numeric",
    "exists",
    "cidr",
];

/// A defect of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct BadPattern {
    /// The path of the defect within the pattern, such as `data.temperature`, or a line and column.
    pub place: String,
    /// One sentence: the defect, and the expected form.
    pub message: String,
}

/// Alternatives by path: every path has to match.
pub(crate) type Rule = BTreeMap<String, Vec<Alternative>>;

type Result<T> = std::result::Result<T, BadPattern>;

/// The rules of `pattern`: one of them has to match.
pub(crate) fn compile(pattern: &str) -> Result<Vec<Rule>> {
    let whole = Path::default();
    let chars = pattern.chars().count();
    if chars > PATTERN_CHARS_MAX {
        return Err(whole.bad(format!(
            "{chars} characters; at most {PATTERN_CHARS_MAX} are allowed"
        )));
    }

    let raw: &RawValue = serde_json::from_str(pattern).map_err(|error| no_json(&error))?;
    match whole.read(raw)? {
        Node::Object(members) => {
            let mut rules = Vec::new();
            add_object(&mut rules, &whole, &members, Within::Pattern)?;
            Ok(rules)
        }
        other => Err(whole.expected("an object", &other)),
    }
}

/// Where an object stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Pattern,
    /// A branch of `$or`, where names of operators are no names of fields.
    Branch,
}

type Members<'a> = [(String, &'a RawValue)];

fn add_object(
    rules: &mut Vec<Rule>,
    path: &Path,
    members: &Members<'_>,
    within: Within,
) -> Result<()> {
    if members.is_empty() {
        return Err(path.bad("an empty object is not allowed"));
    }
    for (name, value) in members {
        if name == OR {
            add_branches(rules, path, value)?;
            continue;
        }

        let below = path.with(name);
        if within == Within::Branch && RESERVED.contains(&name.as_str()) {
            let message = format!("{name} is an operator, and no field's name within $or");
            return Err(below.bad(message));
        }
        match below.read(value)? {
            Node::Object(members) => add_object(rules, &below, &members, within)?,
            Node::Array(items) => add_leaf(rules, &below, &items)?,
            other => return Err(below.expected("an object or an array", &other)),
        }
    }
    Ok(())
}

/// Replaces `rules` by their combinations with each branch.
fn add_branches(rules: &mut Vec<Rule>, path: &Path, value: &RawValue) -> Result<()> {
    let here = path.with(OR);
    let branches = match here.read(value)? {
        Node::Array(branches) if branches.len() >= 2 => branches,
        Node::Array(_) => return Err(here.bad("at least two objects are needed")),
        other => return Err(here.expected("an array of objects", &other)),
    };

    let before = std::mem::take(rules);
    for (i, branch) in branches.into_iter().enumerate() {
        let Node::Object(members) = here.read(branch)? else {
            return Err(here.at(i).bad("expected an object"));
        };
        let mut combined = before.clone();
        if combined.is_empty() {
            combined.push(Rule::new());
        }
        add_object(&mut combined, path, &members, Within::Branch)?;
        rules.append(&mut combined);
        if rules.len() > RULES_MAX {
            let message = format!("more than {RULES_MAX} combinations of branches");
            return Err(here.bad(message));
        }
    }
    Ok(())
}

/// Adds a leaf to every rule. A path that is written twice has the alternatives of the last one.
fn add_leaf(rules: &mut Vec<Rule>, path: &Path, items: &[&RawValue]) -> Result<()> {
    if items.is_empty() {
        return Err(path.bad("an empty array is not allowed"));
    }
    let mut alternatives = Vec::new();
    for (i, item) in items.iter().enumerate() {
        alternatives.push(alternative(&path.at(i), item)?);
    }

    if rules.is_empty() {
        rules.push(Rule::new());
    }
    for rule in rules {
        rule.insert(path.0.clone(), alternatives.clone());
    }
    Ok(())
}

fn alternative(path: &Path, value: &RawValue) -> Result<Alternative> {
    Ok(match path.read(value)? {
        Node::Object(members) => operator(path, &members)?,
        Node::Text(text) => match address_of(&text) {
            Some(address) => Alternative::Address(address),
            None => Alternative::Text(TextTest::Exactly(text)),
        },
        Node::Number(written) => Alternative::Number(Number::new(written)),
        Node::True => Alternative::Word(Word::True),
        Node::False => Alternative::Word(Word::False),
        Node::Null => Alternative::Word(Word::Null),
        other @ Node::Array(_) => {
            let wanted = "a string, a number, true, false, null or an object with one operator";
            return Err(path.expected(wanted, &other));
        }
    })
}

/// The alternative of an object with one operator.
fn operator(path: &Path, members: &Members<'_>) -> Result<Alternative> {
    let [(name, value)] = members else {
        return Err(path.bad("expected exactly one operator"));
    };
    let here = path.with(name);
    let value = here.read(value)?;
    Ok(match name.as_str() {
        "exactly" => Alternative::Text(TextTest::Exactly(text(&here, value)?)),
        "prefix" | "suffix" => Alternative::Text(end(&here, name, value)?),
        "equals-ignore-case" | "wildcard" => {
            Alternative::Text(text_test(&here, name, text(&here, value)?)?)
        }
        "anything-but" => anything_but(&here, value)?,
        "numeric" => Alternative::Numeric(numeric(&here, value)?),
        "exists" => match value {
            Node::True => Alternative::Exists,
            Node::False => Alternative::Absent,
            other => return Err(here.expected("true or false", &other)),
        },
        "cidr" => Alternative::Cidr(cidr(&here, value)?),
        _ => return Err(here.bad(unknown(name, RESERVED))),
    })
}

fn unknown(name: &str, known: &[&str]) -> String {
    format!(
        "{name} is no operator; expected one of {}",
        known.join(", ")
    )
}

fn text(path: &Path, value: Node<'_>) -> Result<String> {
    match value {
        Node::Text(text) => Ok(text),
        other => Err(path.expected("a string", &other)),
    }
}

/// The test of `prefix` or `suffix`, with or without regard to case.
fn end(path: &Path, name: &str, value: Node<'_>) -> Result<TextTest> {
    let members = match value {
        Node::Text(text) => return text_test(path, name, text),
        Node::Object(members) => members,
        other => return Err(path.expected("a string", &other)),
    };
    let [(inner, value)] = &members[..] else {
        return Err(path.bad("expected exactly one operator"));
    };
    let here = path.with(inner);
    if inner != "equals-ignore-case" {
        return Err(here.bad(unknown(inner, &["equals-ignore-case"])));
    }

    let letters = IgnoringCase::new(&text(&here, here.read(value)?)?);
    Ok(match name {
        "prefix" => TextTest::PrefixIgnoringCase(letters),
        _ => TextTest::SuffixIgnoringCase(letters),
    })
}

/// The test of the operator `name` with a string.
fn text_test(path: &Path, name: &str, text: String) -> Result<TextTest> {
    Ok(match name {
        "prefix" => TextTest::Prefix(text),
        "suffix" => TextTest::Suffix(text),
        "equals-ignore-case" => TextTest::IgnoringCase(IgnoringCase::new(&text)),
        _ => TextTest::Wildcard(wildcard(path, &text)?),
    })
}

/// The steps of a wildcard: `\*` and `\\` stand for the characters themselves.
fn wildcard(path: &Path, text: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        steps.push(match c {
            '*' if steps.last() == Some(&Step::Run) => {
                return Err(path.bad("two asterisks in a row are not allowed"));
            }
            '*' => Step::Run,
            '\\' => match chars.next() {
                Some(escaped @ ('*' | '\\')) => Step::One(escaped),
                _ => return Err(path.bad("a backslash stands before * or another backslash only")),
            },
            other => Step::One(other),
        });
    }
    Ok(steps)
}

fn anything_but(path: &Path, value: Node<'_>) -> Result<Alternative> {
    match value {
        Node::Text(text) => Ok(Alternative::AnythingBut(vec![TextTest::Exactly(text)])),
        Node::Number(written) => {
            let number = double(path, written)?;
            Ok(Alternative::AnythingButNumbers(vec![number]))
        }
        Node::Array(items) => none_of(path, &items),
        Node::Object(members) => match &members[..] {
            [(name, value)] => none_of_tests(&path.with(name), name, value),
            _ => Err(path.bad("expected exactly one operator")),
        },
        other => Err(path.expected("a string, a number, a list or an operator", &other)),
    }
}

/// `anything-but` with a list of strings or of numbers.
fn none_of(path: &Path, items: &[&RawValue]) -> Result<Alternative> {
    let mut texts = Vec::new();
    let mut numbers = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let here = path.at(i);
        match here.read(item)? {
            Node::Text(text) => texts.push(TextTest::Exactly(text)),
            Node::Number(written) => numbers.push(double(&here, written)?),
            other => return Err(here.expected("a string or a number", &other)),
        }
    }

    match (texts.is_empty(), numbers.is_empty()) {
        (false, true) => Ok(Alternative::AnythingBut(texts)),
        (true, false) => Ok(Alternative::AnythingButNumbers(numbers)),
        (true, true) => Err(path.bad("an empty list is not allowed")),
        (false, false) => Err(path.bad("a list holds either strings or numbers, not both")),
    }
}

/// `anything-but` with an operator over a string or a list of strings.
fn none_of_tests(path: &Path, name: &str, value: &RawValue) -> Result<Alternative> {
    const ALLOWED: &[&str] = &["prefix", "suffix", "equals-ignore-case", "wildcard"];
    if !ALLOWED.contains(&name) {
        return Err(path.bad(unknown(name, ALLOWED)));
    }
    let texts = match path.read(value)? {
        Node::Array(items) if items.is_empty() => {
            return Err(path.bad("an empty list is not allowed"));
        }
        Node::Array(items) => items,
        _ => vec![value],
    };

    let mut tests = Vec::new();
    for (i, item) in texts.into_iter().enumerate() {
        let here = path.at(i);
        let text = text(&here, here.read(item)?)?;
        if text.is_empty() && matches!(name, "prefix" | "suffix") {
            return Err(here.bad("an empty string is not allowed"));
        }
        tests.push(text_test(&here, name, text)?);
    }
    Ok(Alternative::AnythingBut(tests))
}

/// The bounds of `numeric`: an operator and a number, or a lower and an upper bound in this order.
fn numeric(path: &Path, value: Node<'_>) -> Result<Bounds> {
    let items = match value {
        Node::Array(items) => items,
        other => return Err(path.expected("an array", &other)),
    };
    let pairs: Vec<(String, f64)> = match &items[..] {
        [a, b] => vec![pair(path, a, b)?],
        [a, b, c, d] => vec![pair(path, a, b)?, pair(path, c, d)?],
        _ => return Err(path.bad("expected [OPERATOR, NUMBER] or [\">\", LOW, \"<\", HIGH]")),
    };

    let all: Vec<(&str, f64)> = pairs.iter().map(|(op, n)| (op.as_str(), *n)).collect();
    let (low, high) = match all[..] {
        [("=", n)] => (Bound::Inclusive(n), Bound::Inclusive(n)),
        [(op @ (">" | ">="), n)] => (bound(op, n), Bound::None),
        [(op @ ("<" | "<="), n)] => (Bound::None, bound(op, n)),
        [(above @ (">" | ">="), low), (below @ ("<" | "<="), high)] if low < high => {
            (bound(above, low), bound(below, high))
        }
        [(">" | ">=", _), ("<" | "<=", _)] => {
            return Err(path.bad("the lower bound is not below the upper one"));
        }
        _ => return Err(path.bad("expected =, >, >=, < or <=, a lower bound before an upper one")),
    };
    Ok(Bounds { low, high })
}

/// An operator and its number.
fn pair(path: &Path, operator: &RawValue, number: &RawValue) -> Result<(String, f64)> {
    let operator = text(path, path.read(operator)?)?;
    match path.read(number)? {
        Node::Number(written) => Ok((operator, double(path, written)?)),
        other => Err(path.expected("a number", &other)),
    }
}

fn bound(operator: &str, number: f64) -> Bound {
    match operator {
        ">=" | "<=" => Bound::Inclusive(number),
        _ => Bound::Exclusive(number),
    }
}

fn cidr(path: &Path, value: Node<'_>) -> Result<Range> {
    let text = text(path, value)?;
    Range::read(&text).map_err(|message| path.bad(message))
}

fn double(path: &Path, written: &str) -> Result<f64> {
    comparable(written).ok_or_else(|| path.bad(format!("{written} is not exact as a double")))
}

/// A path of names with dots between; indices of arrays are for messages only.
#[derive(Clone, Default)]
struct Path(String);

impl Path {
    fn with(&self, name: &str) -> Self {
        if self.0.is_empty() {
            return Self(name.to_owned());
        }
        Self(format!("{}.{name}", self.0))
    }

    fn at(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    fn read<'a>(&self, raw: &'a RawValue) -> Result<Node<'a>> {
        Node::read(raw).map_err(|error| self.bad(error.to_string()))
    }

    fn bad(&self, message: impl Into<String>) -> BadPattern {
        let place = if self.0.is_empty() {
            "the pattern"
        } else {
            &self.0
        };
        BadPattern {
            place: place.to_owned(),
            message: message.into(),
        }
    }

    fn expected(&self, wanted: &str, found: &Node<'_>) -> BadPattern {
        self.bad(format!("expected {wanted}, found {}", found.type_name()))
    }
}

fn no_json(error: &serde_json::Error) -> BadPattern {
    let message = error.to_string();
    let (message, _) = message.split_once(" at line ").unwrap_or((&message, ""));
    BadPattern {
        place: format!("line {}, column {}", error.line(), error.column()),
        message: format!("no JSON: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pattern: &str) -> String {
        compile(pattern).unwrap_err().to_string()
    }

    #[test]
    fn a_defect_is_told_with_its_place() {
        for (pattern, message) in [
            ("[]", "the pattern: expected an object, found an array"),
            ("{}", "the pattern: an empty object is not allowed"),
            (
                r#"{"a": 1}"#,
                "a: expected an object or an array, found a number",
            ),
            (r#"{"a": {"b": []}}"#, "a.b: an empty array is not allowed"),
            (
                r#"{"a": [{"regex": "x"}]}"#,
                "a[0].regex: regex is no operator",
            ),
            (
                r#"{"a": ["x", {"exists": 1}]}"#,
                "a[1].exists: expected true or false",
            ),
            (
                r#"{"a": [{"wildcard": "a**"}]}"#,
                "a[0].wildcard: two asterisks",
            ),
            (
                r#"{"a": [{"wildcard": "\\x"}]}"#,
                "a[0].wildcard: a backslash",
            ),
            (
                r#"{"a": [{"numeric": [">", 2, "<", 1]}]}"#,
                "the lower bound is not below",
            ),
            (
                r#"{"a": [{"numeric": ["<", 2, ">", 1]}]}"#,
                "a lower bound before an upper",
            ),
            (
                r#"{"a": [{"anything-but": []}]}"#,
                "an empty list is not allowed",
            ),
            (
                r#"{"a": [{"anything-but": [1, "x"]}]}"#,
                "either strings or numbers",
            ),
            (
                r#"{"a": [{"anything-but": {"prefix": ""}}]}"#,
                "an empty string",
            ),
            (
                r#"{"a": [{"prefix": "x", "suffix": "y"}]}"#,
                "a[0]: expected exactly one operator",
            ),
            (r#"{"a": [{"cidr": "10.0.0.1"}]}"#, "expected ADDRESS/BITS"),
            (r#"{"$or": [{"a": [1]}]}"#, "$or: at least two objects"),
            (
                r#"{"$or": [{"a": [1]}, {"prefix": [1]}]}"#,
                "prefix is an operator",
            ),
            (
                r#"{"a": [1]} x"#,
                "line 1, column 12: no JSON: trailing characters",
            ),
        ] {
            assert!(
                told(pattern).contains(message),
                "{pattern}: {}",
                told(pattern)
            );
        }
    }

    #[test]
    fn branches_are_combined_and_limited() {
        let rules = compile(r#"{"a": [1], "$or": [{"b": [1]}, {"c": [1]}]}"#).unwrap();
        let paths = |rule: &Rule| rule.keys().cloned().collect::<Vec<_>>().join(" ");
        let all: Vec<String> = rules.iter().map(paths).collect();
        assert_eq!(all, ["a b", "a c"]);

        // Ten fields with two branches each: 1,024 combinations.
        let branches = |i| format!(r#""f{i}": {{"$or": [{{"a": [1]}}, {{"b": [1]}}]}}"#);
        let many: Vec<String> = (0..10).map(branches).collect();
        let pattern = format!("{{{}}}", many.join(", "));
        assert!(told(&pattern).contains("more than 1000 combinations"));
    }
}
