//! Events: records as patterns see them, read in one pass.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use distributary_core::batch::Origin;
use distributary_core::record::Record;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::alternative::{Value, Word};
use crate::compile::{BadPattern, PATTERNS_MAX, Rule, compile};
use crate::join::{self, Field, Fields, Membership, SlotRule};
use crate::tree::{ROOT, Tree};

/// The member that holds a record's data.
const DATA: &str = "data";

/// Patterns, of which one has to match.
#[derive(Clone, Debug)]
pub struct Filter {
    tree: Tree,
    slots: usize,
    rules: Vec<CompiledRule>,
}

#[derive(Clone, Debug)]
struct CompiledRule {
    paths: SlotRule,
    /// True if the rule names members of the data: data without members match in no case.
    within_data: bool,
}

impl CompiledRule {
    /// `slots` are the paths of all rules, sorted.
    fn new(rule: Rule, slots: &[&str]) -> Self {
        let within_data = rule.keys().any(|path| path.starts_with("data."));

        let mut paths = SlotRule::new();
        for (path, alternatives) in rule {
            if let Ok(slot) = slots.binary_search(&path.as_str()) {
                paths.push((slot, alternatives));
            }
        }
        Self { paths, within_data }
    }
}

/// The result for one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A pattern matches.
    Match,
    /// No pattern matches.
    No,
    /// No pattern matches, and one of them names members of the data, which are not a JSON object.
    NotJson,
}

impl Filter {
    /// Compiles patterns, each the text of one JSON object.
    ///
    /// # Errors
    /// The first defect, with its place.
    pub fn compile<T: AsRef<str>>(patterns: &[T]) -> Result<Self, BadPattern> {
        let count = patterns.len();
        if count == 0 || count > PATTERNS_MAX {
            return Err(BadPattern {
                place: "the list of patterns".to_owned(),
                message: format!("{count} patterns; expected 1 to {PATTERNS_MAX}"),
            });
        }

        let mut rules = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            match compile(pattern.as_ref()) {
                Ok(compiled) => rules.extend(compiled),
                Err(bad) if count == 1 => return Err(bad),
                Err(mut bad) => {
                    bad.place = format!("pattern {}, {}", index + 1, bad.place);
                    return Err(bad);
                }
            }
        }
        Ok(Self::of_rules(rules))
    }

    fn of_rules(rules: Vec<Rule>) -> Self {
        let paths: BTreeSet<String> = rules.iter().flat_map(|rule| rule.keys().cloned()).collect();
        let slots: Vec<&str> = paths.iter().map(String::as_str).collect();

        Self {
            tree: Tree::new(slots.iter().copied()),
            slots: slots.len(),
            rules: rules
                .into_iter()
                .map(|rule| CompiledRule::new(rule, &slots))
                .collect(),
        }
    }

    /// Decides about a record. `data` is the record's data itself.
    pub fn decide(&self, origin: &Origin, record: &Record<'_>, data: &[u8]) -> Decision {
        let arrival = seconds(record.arrival.0);
        let mut event = Event::new(self);
        event.add_envelope(origin, record, &arrival);
        event.decide(data)
    }

    /// Decides about data without an envelope.
    pub fn decide_data(&self, data: &[u8]) -> Decision {
        Event::new(self).decide(data)
    }

    /// Decides about an event as EventBridge does: `event` is the text of a JSON object, and the
    /// patterns name members of this object. `None` if the text is not a JSON object.
    pub fn matches_event(&self, event: &str) -> Option<bool> {
        let mut fields = Event::new(self);
        fields.read(event, ROOT).ok()?;
        Some(fields.matches(|_| true))
    }
}

/// Seconds with milliseconds, as Lambda writes arrival times.
fn seconds(millis: i64) -> String {
    let (whole, rest) = (millis.div_euclid(1_000), millis.rem_euclid(1_000));
    format!("{whole}.{rest:03}")
}

/// The fields of an event that patterns name.
struct Event<'f, 'a> {
    filter: &'f Filter,
    fields: Fields<'a>,
    /// Arrays so far.
    arrays: u32,
    within: Membership,
}

impl<'f, 'a> Event<'f, 'a> {
    fn new(filter: &'f Filter) -> Self {
        let fields = (0..filter.slots).map(|_| Vec::new()).collect();
        Self {
            filter,
            fields,
            arrays: 0,
            within: Membership::new(),
        }
    }

    fn add(&mut self, at: usize, value: Value<'a>) {
        let slot = self.filter.tree.slot(at);
        if let Some(fields) = slot.and_then(|slot| self.fields.get_mut(slot)) {
            let within = self.within.clone();
            fields.push(Field { value, within });
        }
    }

    fn add_text(&mut self, name: &str, text: impl Into<Cow<'a, str>>) {
        if let Some(at) = self.place(name) {
            self.add(at, Value::Text(text.into()));
        }
    }

    /// The members beside the data, as in a Lambda function's Kinesis event.
    fn add_envelope(&mut self, origin: &'a Origin, record: &Record<'a>, arrival: &'a str) {
        if let Some(key) = record.key {
            self.add_text("partitionKey", key);
        }
        self.add_text("sequenceNumber", record.sequence);
        self.add_text("eventSource", "aws:kinesis");
        self.add_text("eventName", "aws:kinesis:record");

        self.add_text("eventSourceARN", &*origin.source);
        if let Some(region) = origin.source.split(':').nth(3) {
            self.add_text("awsRegion", region);
        }

        // Text that is made for the record only where a pattern asks.
        if self.place("eventID").is_some() {
            let event_id = format!("{}:{}", origin.shard, record.sequence);
            self.add_text("eventID", event_id);
        }
        if let Some(at) = self.place("approximateArrivalTimestamp") {
            self.add(at, Value::Number(arrival));
        }
    }

    /// The place of a member of the envelope, if patterns name the member.
    fn place(&self, name: &str) -> Option<usize> {
        self.filter.tree.child(ROOT, name)
    }

    fn decide(mut self, data: &'a [u8]) -> Decision {
        let is_object = self.add_data(data);
        if self.matches(|rule| is_object || !rule.within_data) {
            return Decision::Match;
        }

        let is_named = self.filter.rules.iter().any(|rule| rule.within_data);
        if is_named && !is_object {
            Decision::NotJson
        } else {
            Decision::No
        }
    }

    /// Adds the fields of `data`; true if patterns name members, and `data` is a JSON object.
    fn add_data(&mut self, data: &'a [u8]) -> bool {
        let Some(at) = self.filter.tree.child(ROOT, DATA) else {
            return false;
        };
        let Ok(text) = std::str::from_utf8(data) else {
            return false;
        };

        self.add(at, Value::Text(text.into()));
        self.filter.tree.goes_on(at) && self.read(text, at).is_ok()
    }

    /// Reads the fields of `text`, a JSON object, whose path ends at `at`.
    fn read(&mut self, text: &'a str, at: usize) -> Result<(), serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(text);
        reader.deserialize_map(Members { event: self, at })?;
        reader.end()
    }

    fn matches(&self, may_match: impl Fn(&CompiledRule) -> bool) -> bool {
        let mut rules = self.filter.rules.iter().filter(|rule| may_match(rule));
        rules.any(|rule| join::matches(&rule.paths, &self.fields))
    }

    /// Reads a value that is a leaf of some pattern.
    fn add_leaf(&mut self, at: usize, raw: &'a RawValue) -> Result<(), serde_json::Error> {
        let text = raw.get();
        let value = match text.as_bytes().first() {
            Some(b'{') => return self.read_below(text, at),
            Some(b'[') => {
                let mut reader = serde_json::Deserializer::from_str(text);
                let elements = Elements { event: self, at };
                return reader.deserialize_seq(elements);
            }
            Some(b'"') => Value::Text(unquoted(text)?),
            Some(b't') => Value::Word(Word::True),
            Some(b'f') => Value::Word(Word::False),
            Some(b'n') => Value::Word(Word::Null),
            _ => Value::Number(text),
        };

        self.add(at, value);
        Ok(())
    }

    /// Reads an object within an array, if paths go on there.
    fn read_below(&mut self, text: &'a str, at: usize) -> Result<(), serde_json::Error> {
        if self.filter.tree.goes_on(at) {
            self.read(text, at)
        } else {
            Ok(())
        }
    }
}

/// The text of a JSON string, borrowed where nothing in the string is escaped.
fn unquoted(json: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    match json.get(1..json.len().saturating_sub(1)) {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str::<String>(json).map(Cow::Owned),
    }
}

/// Reads the members of an object.
struct Members<'e, 'f, 'a> {
    event: &'e mut Event<'f, 'a>,
    at: usize,
}

impl<'a> Visitor<'a> for Members<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        let tree = &self.event.filter.tree;
        let key = Key { tree, at: self.at };
        while let Some(at) = members.next_key_seed(key)? {
            match at {
                None => drop(members.next_value::<IgnoredAny>()?),
                Some(at) => members.next_value_seed(Inner {
                    event: self.event,
                    at,
                })?,
            }
        }
        Ok(())
    }
}

/// Reads a member's name: the place of the member in the tree of paths, if patterns name a path
/// there.
#[derive(Clone, Copy)]
struct Key<'f> {
    tree: &'f Tree,
    at: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.tree.child(self.at, name))
    }
}

/// Reads the elements of an array.
struct Elements<'e, 'f, 'a> {
    event: &'e mut Event<'f, 'a>,
    at: usize,
}

impl<'a> Visitor<'a> for Elements<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { event, at } = self;
        let array = event.arrays;
        event.arrays += 1;
        for element in 0.. {
            event.within.push((array, element));
            let read = elements.next_element_seed(Element { event, at })?;
            event.within.pop();
            if read.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// Reads one element. A value that is no container belongs to the array, not to one element.
struct Element<'e, 'f, 'a> {
    event: &'e mut Event<'f, 'a>,
    at: usize,
}

impl<'a> DeserializeSeed<'a> for Element<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<(), D::Error> {
        let raw = <&RawValue as serde::Deserialize>::deserialize(reader)?;
        let is_container = raw.get().starts_with(['{', '[']);
        let element = (!is_container).then(|| self.event.within.pop()).flatten();

        let read = self.event.add_leaf(self.at, raw);
        self.event.within.extend(element);
        read.map_err(D::Error::custom)
    }
}

/// Reads a member's value.
struct Inner<'e, 'f, 'a> {
    event: &'e mut Event<'f, 'a>,
    at: usize,
}

impl<'a> DeserializeSeed<'a> for Inner<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<(), D::Error> {
        let raw = <&RawValue as serde::Deserialize>::deserialize(reader)?;
        self.event.add_leaf(self.at, raw).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn does(pattern: &str, event: &str) -> bool {
        let filter = Filter::compile(&[pattern]).unwrap();
        filter.matches_event(event).unwrap()
    }

    #[test]
    fn all_members_and_one_alternative_match() {
        let pattern = r#"{"a": ["x", {"prefix": "y"}], "b": {"c": [{"numeric": [">", 1]}]}}"#;
        assert!(does(pattern, r#"{"b": {"c": 2, "d": []}, "a": "yes"}"#));
        assert!(!does(pattern, r#"{"b": {"c": 1}, "a": "yes"}"#));
        assert!(!does(pattern, r#"{"a": "x"}"#));
        assert!(does(r#"{"a.b": [1]}"#, r#"{"a": {"b": 1.0}}"#));
        assert!(does(r#"{"a": {"b": [1]}}"#, r#"{"a.b": 10e-1}"#));
    }

    #[test]
    fn fields_of_one_array_come_from_one_element() {
        let pattern = r#"{"a": {"x": [1], "y": [2]}}"#;
        assert!(does(
            pattern,
            r#"{"a": [{"x": 0, "y": 2}, {"x": 1, "y": 2}]}"#
        ));
        assert!(!does(pattern, r#"{"a": [{"x": 1}, {"y": 2}]}"#));
        assert!(does(r#"{"a": ["z"]}"#, r#"{"a": ["x", ["y", "z"]]}"#));
        assert!(does(
            r#"{"a": [{"anything-but": "x"}]}"#,
            r#"{"a": ["x", "y"]}"#
        ));
    }

    #[test]
    fn objects_and_empty_arrays_are_no_leaves() {
        let absent = r#"{"a": [{"exists": false}]}"#;
        assert!(does(absent, r#"{"a": {"b": 1}}"#));
        assert!(does(absent, r#"{"a": []}"#));
        assert!(!does(absent, r#"{"a": null}"#));
        assert!(does(r#"{"a": [{"exists": true}]}"#, r#"{"a": ""}"#));
    }

    #[test]
    fn many_elements_that_do_not_fit_together_take_no_time_squared_and_more() {
        let elements: Vec<String> = (0..300)
            .map(|i| format!(r#"{{"x": 1, "z": {i}}}"#))
            .collect();
        let event = format!(
            r#"{{"a": [{0}], "b": [{0}], "c": [{0}]}}"#,
            elements.join(",")
        );
        let pattern = r#"{"a": {"x": [1]}, "b": {"x": [1]}, "c": {"x": [1], "z": [-1]}}"#;
        assert!(!does(pattern, &event));
    }

    #[test]
    fn data_that_are_no_json_object_match_only_patterns_that_name_none_of_their_members() {
        let decide =
            |patterns: &[&str], data: &[u8]| Filter::compile(patterns).unwrap().decide_data(data);
        let within = r#"{"data": {"a": [{"exists": false}]}}"#;
        for data in [&b"text"[..], b"[1]", b"7", b"\xff", b"{\"a\": 1", b"{} x"] {
            assert_eq!(decide(&[within], data), Decision::NotJson);
        }
        assert_eq!(decide(&[within], b"{}"), Decision::Match);
        assert_eq!(decide(&[within], b"{\"a\": 1}"), Decision::No);

        let plain = r#"{"data": [{"prefix": "te"}]}"#;
        assert_eq!(decide(&[plain], b"text"), Decision::Match);
        assert_eq!(decide(&[within, plain], b"text"), Decision::Match);
        assert_eq!(
            decide(&[r#"{"data.b": [1]}"#, plain], b"no"),
            Decision::NotJson
        );
    }
}
