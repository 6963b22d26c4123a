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

/// The message about operators of `numeric`.
const WRONG_OPERATORS: &str = "expected =, >, >=, < or <=, a lower bound before an upper one";

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
    let raw = parse(&whole, pattern)?;

    match whole.read(raw)? {
        Node::Object(members) => {
            let mut rules = Vec::new();
            add_object(&mut rules, &whole, &members, Within::Pattern)?;
            Ok(rules)
        }
        other => Err(whole.expected("an object", &other)),
    }
}

fn parse<'a>(whole: &Path, pattern: &'a str) -> Result<&'a RawValue> {
    let chars = pattern.chars().count();
    if chars > PATTERN_CHARS_MAX {
        return Err(whole.bad(format!(
            "{chars} characters; at most {PATTERN_CHARS_MAX} are allowed"
        )));
    }

    match serde_json::from_str(pattern) {
        Ok(raw) => Ok(raw),
        Err(error) => Err(no_json(&error)),
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
        add_member(rules, &below, value, within)?;
    }
    Ok(())
}

fn add_member(rules: &mut Vec<Rule>, path: &Path, value: &RawValue, within: Within) -> Result<()> {
    match path.read(value)? {
        Node::Object(members) => add_object(rules, path, &members, within),
        Node::Array(items) => add_leaf(rules, path, &items),
        other => Err(path.expected("an object or an array", &other)),
    }
}

/// Replaces `rules` by their combinations with each branch.
fn add_branches(rules: &mut Vec<Rule>, path: &Path, value: &RawValue) -> Result<()> {
    let here = path.with(OR);
    let branches = match here.read(value)? {
        Node::Array(branches) if branches.len() >= 2 => branches,
        Node::Array(_) => return Err(here.bad("at least two objects are needed")),
        other => return Err(here.expected("an array of objects", &other)),
    };

    let mut before = std::mem::take(rules);
    if before.is_empty() {
        before.push(Rule::new());
    }

    for (index, branch) in branches.into_iter().enumerate() {
        let Node::Object(members) = here.read(branch)? else {
            return Err(here.at(index).bad("expected an object"));
        };

        let mut combined = before.clone();
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
    match path.read(value)? {
        Node::Object(members) => operator(path, &members),
        Node::Text(text) => Ok(exactly_or_address(text)),
        Node::Number(written) => {
            let number = Number::new(written);
            Ok(Alternative::Number(number))
        }
        Node::True => Ok(Alternative::Word(Word::True)),
        Node::False => Ok(Alternative::Word(Word::False)),
        Node::Null => Ok(Alternative::Word(Word::Null)),
        other @ Node::Array(_) => {
            let wanted = "a string, a number, true, false, null or an object with one operator";
            Err(path.expected(wanted, &other))
        }
    }
}

/// A text that is an IP address stands for every spelling of the address.
fn exactly_or_address(text: String) -> Alternative {
    match address_of(&text) {
        Some(address) => Alternative::Address(address),
        None => exactly(text),
    }
}

fn exactly(text: String) -> Alternative {
    let test = TextTest::Exactly(text);
    Alternative::Text(test)
}

/// The alternative of an object with one operator.
fn operator(path: &Path, members: &Members<'_>) -> Result<Alternative> {
    let [(name, value)] = members else {
        return Err(path.bad("expected exactly one operator"));
    };

    let here = path.with(name);
    let value = here.read(value)?;
    match name.as_str() {
        "exactly" => text(&here, value).map(exactly),
        "prefix" | "suffix" => end(&here, name, value).map(Alternative::Text),
        "equals-ignore-case" | "wildcard" => {
            let text = text(&here, value)?;
            text_test(&here, name, text).map(Alternative::Text)
        }
        "anything-but" => anything_but(&here, value),
        "numeric" => numeric(&here, value).map(Alternative::Numeric),
        "exists" => exists(&here, &value),
        "cidr" => cidr(&here, value).map(Alternative::Cidr),
        _ => Err(here.bad(unknown(name, RESERVED))),
    }
}

fn exists(path: &Path, value: &Node<'_>) -> Result<Alternative> {
    match value {
        Node::True => Ok(Alternative::Exists),
        Node::False => Ok(Alternative::Absent),
        other => Err(path.expected("true or false", other)),
    }
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
    match value {
        Node::Text(text) => text_test(path, name, text),
        Node::Object(members) => end_ignoring_case(path, name, &members),
        other => Err(path.expected("a string", &other)),
    }
}

fn end_ignoring_case(path: &Path, name: &str, members: &Members<'_>) -> Result<TextTest> {
    let [(inner, value)] = members else {
        return Err(path.bad("expected exactly one operator"));
    };

    let here = path.with(inner);
    if inner != "equals-ignore-case" {
        return Err(here.bad(unknown(inner, &["equals-ignore-case"])));
    }

    let value = here.read(value)?;
    let letters = IgnoringCase::new(&text(&here, value)?);
    match name {
        "prefix" => Ok(TextTest::PrefixIgnoringCase(letters)),
        _ => Ok(TextTest::SuffixIgnoringCase(letters)),
    }
}

/// The test of the operator `name` with a string.
fn text_test(path: &Path, name: &str, text: String) -> Result<TextTest> {
    match name {
        "prefix" => Ok(TextTest::Prefix(text)),
        "suffix" => Ok(TextTest::Suffix(text)),
        "equals-ignore-case" => {
            let letters = IgnoringCase::new(&text);
            Ok(TextTest::IgnoringCase(letters))
        }
        _ => wildcard(path, &text).map(TextTest::Wildcard),
    }
}

/// The steps of a wildcard: `\*` and `\\` stand for the characters themselves.
fn wildcard(path: &Path, text: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut chars = text.chars();

    while let Some(c) = chars.next() {
        let step = match c {
            '*' => Step::Run,
            '\\' => Step::One(escaped(path, chars.next())?),
            other => Step::One(other),
        };

        if step == Step::Run && steps.last() == Some(&Step::Run) {
            return Err(path.bad("two asterisks in a row are not allowed"));
        }
        steps.push(step);
    }
    Ok(steps)
}

fn escaped(path: &Path, next: Option<char>) -> Result<char> {
    match next {
        Some(escaped @ ('*' | '\\')) => Ok(escaped),
        _ => Err(path.bad("a backslash stands before * or another backslash only")),
    }
}

fn anything_but(path: &Path, value: Node<'_>) -> Result<Alternative> {
    match value {
        Node::Text(text) => {
            let test = TextTest::Exactly(text);
            Ok(Alternative::AnythingBut(vec![test]))
        }
        Node::Number(written) => {
            let number = double(path, written)?;
            Ok(Alternative::AnythingButNumbers(vec![number]))
        }
        Node::Array(items) => none_of(path, &items),
        Node::Object(members) => match members.as_slice() {
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

    for (index, item) in items.iter().enumerate() {
        let here = path.at(index);
        match here.read(item)? {
            Node::Text(text) => texts.push(TextTest::Exactly(text)),
            Node::Number(written) => {
                let number = double(&here, written)?;
                numbers.push(number);
            }
            other => return Err(here.expected("a string or a number", &other)),
        }
    }

    if items.is_empty() {
        return Err(path.bad("an empty list is not allowed"));
    }
    if numbers.is_empty() {
        return Ok(Alternative::AnythingBut(texts));
    }
    if texts.is_empty() {
        return Ok(Alternative::AnythingButNumbers(numbers));
    }
    Err(path.bad("a list holds either strings or numbers, not both"))
}

/// `anything-but` with an operator over a string or a list of strings.
fn none_of_tests(path: &Path, name: &str, value: &RawValue) -> Result<Alternative> {
    const ALLOWED: &[&str] = &["prefix", "suffix", "equals-ignore-case", "wildcard"];

    if !ALLOWED.contains(&name) {
        return Err(path.bad(unknown(name, ALLOWED)));
    }
    let texts = match path.read(value)? {
        Node::Array(items) => items,
        _ => vec![value],
    };
    if texts.is_empty() {
        return Err(path.bad("an empty list is not allowed"));
    }

    let mut tests = Vec::new();
    for (index, item) in texts.into_iter().enumerate() {
        let test = excluded_test(&path.at(index), name, item)?;
        tests.push(test);
    }
    Ok(Alternative::AnythingBut(tests))
}

fn excluded_test(path: &Path, name: &str, item: &RawValue) -> Result<TextTest> {
    let value = path.read(item)?;
    let text = text(path, value)?;

    if text.is_empty() && matches!(name, "prefix" | "suffix") {
        return Err(path.bad("an empty string is not allowed"));
    }
    text_test(path, name, text)
}

/// The bounds of `numeric`: an operator and a number, or a lower and an upper bound in this order.
fn numeric(path: &Path, value: Node<'_>) -> Result<Bounds> {
    let items = match value {
        Node::Array(items) => items,
        other => return Err(path.expected("an array", &other)),
    };

    match items.as_slice() {
        [operator, number] => {
            let only = Limit::read(path, operator, number)?;
            one_limit(path, &only)
        }
        [operator, number, second_operator, second_number] => {
            let low = Limit::read(path, operator, number)?;
            let high = Limit::read(path, second_operator, second_number)?;
            two_limits(path, &low, &high)
        }
        _ => Err(path.bad("expected [OPERATOR, NUMBER] or [\">\", LOW, \"<\", HIGH]")),
    }
}

/// An operator of `numeric` with a number.
struct Limit {
    operator: String,
    number: f64,
}

impl Limit {
    fn read(path: &Path, operator: &RawValue, number: &RawValue) -> Result<Self> {
        let operator = path.read(operator)?;
        let operator = text(path, operator)?;

        match path.read(number)? {
            Node::Number(written) => Ok(Self {
                operator,
                number: double(path, written)?,
            }),
            other => Err(path.expected("a number", &other)),
        }
    }

    fn is_low(&self) -> bool {
        self.operator.starts_with('>')
    }

    fn is_high(&self) -> bool {
        self.operator.starts_with('<')
    }

    fn is_known(&self) -> bool {
        [">", ">=", "<", "<=", "="].contains(&self.operator.as_str())
    }

    fn bound(&self) -> Bound {
        if self.operator.ends_with('=') {
            Bound::Inclusive(self.number)
        } else {
            Bound::Exclusive(self.number)
        }
    }
}

fn one_limit(path: &Path, only: &Limit) -> Result<Bounds> {
    if !only.is_known() {
        return Err(path.bad(WRONG_OPERATORS));
    }

    let mut bounds = Bounds {
        low: only.bound(),
        high: only.bound(),
    };
    if only.is_low() {
        bounds.high = Bound::None;
    }
    if only.is_high() {
        bounds.low = Bound::None;
    }
    Ok(bounds)
}

fn two_limits(path: &Path, low: &Limit, high: &Limit) -> Result<Bounds> {
    let known = low.is_known() && high.is_known();
    if !known || !low.is_low() || !high.is_high() {
        return Err(path.bad(WRONG_OPERATORS));
    }
    if low.number >= high.number {
        return Err(path.bad("the lower bound is not below the upper one"));
    }

    Ok(Bounds {
        low: low.bound(),
        high: high.bound(),
    })
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
