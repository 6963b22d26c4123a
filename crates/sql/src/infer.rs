//! A schema from records, as the schema discovery of AWS made one: columns, types and paths from a
//! sample.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use crate::types::datetime;

/// Columns of one schema (an AWS limit).
const MOST_COLUMNS: usize = 1000;
/// Levels of objects whose members become columns.
const MOST_LEVELS: usize = 5;
/// The shortest VARCHAR, in characters: a sample does not show the longest text.
const SHORTEST_TEXT: usize = 32;
/// The longest VARCHAR, in characters.
const LONGEST_TEXT: usize = 65_535;
/// Names that the code could not use without quotes; AWS's discovery put this prefix before them.
const RESERVED_PREFIX: &str = "COL_";
const RESERVED: &[&str] = &[
    "CONDITION",
    "COUNT",
    "DATE",
    "DAY",
    "END",
    "HOUR",
    "INTERVAL",
    "LANGUAGE",
    "MATCH",
    "METHOD",
    "MINUTE",
    "MONTH",
    "NODE",
    "OPEN",
    "ORDER",
    "POSITION",
    "RANGE",
    "RESULT",
    "ROWTIME",
    "SECOND",
    "START",
    "STOP",
    "SYSTEM",
    "TIME",
    "TIMESTAMP",
    "USER",
    "VALUE",
    "YEAR",
];

/// The kind of a column's values. The order is that of generality among numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Integer,
    BigInt,
    Double,
    Timestamp,
    Text,
}

/// A column that was found.
#[derive(Debug)]
struct Found {
    name: String,
    path: String,
    /// `None`: only NULLs so far.
    kind: Option<Kind>,
    /// The longest text, in characters.
    longest: usize,
}

/// The columns in order of appearance.
#[derive(Debug, Default)]
struct Columns {
    found: Vec<Found>,
    by_path: BTreeMap<String, usize>,
}

/// The `InputSchema` of AWS, as JSON with line breaks, that reads `records`.
///
/// # Errors
/// A sentence, if the records are neither JSON objects nor lines of values.
pub fn infer_schema(records: &[impl AsRef<[u8]>]) -> Result<String, String> {
    let texts = texts_of(records);
    if texts.is_empty() {
        return Err("no record is text: a schema needs JSON or CSV".to_owned());
    }

    let documents: Vec<Members> = texts.iter().flat_map(|text| objects(text)).collect();
    let schema = if documents.is_empty() {
        of_lines(&texts)
    } else {
        of_documents(&documents)
    };
    schema.map(|schema| format!("{schema:#}"))
}

fn texts_of(records: &[impl AsRef<[u8]>]) -> Vec<&str> {
    records
        .iter()
        .filter_map(|record| std::str::from_utf8(record.as_ref()).ok())
        .filter(|text| !text.trim().is_empty())
        .collect()
}

/// The members of an object in the order of the text.
#[derive(Debug)]
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// The objects in a record: one, several after each other, or those of an array.
fn objects(text: &str) -> Vec<Members> {
    let deserializer = serde_json::Deserializer::from_str(text);
    let stream = deserializer.into_iter::<Box<RawValue>>();
    let mut objects = Vec::new();
    for document in stream.map_while(Result::ok) {
        let items = serde_json::from_str::<Vec<Box<RawValue>>>(document.get());
        let items = items.unwrap_or_else(|_| vec![document]);
        let members = items.iter().map(|item| serde_json::from_str(item.get()));
        objects.extend(members.filter_map(Result::ok));
    }
    objects
}

fn of_documents(documents: &[Members]) -> Result<Json, String> {
    let mut columns = Columns::default();
    for document in documents {
        columns.object(document, "$", "", 0);
    }
    if columns.found.is_empty() {
        return Err("the objects have no members: a schema needs columns".to_owned());
    }

    let parameters = json!({ "JSONMappingParameters": { "RecordRowPath": "$" } });
    Ok(schema(&columns, "JSON", &parameters))
}

fn of_lines(texts: &[&str]) -> Result<Json, String> {
    let columns = columns_of_lines(texts);
    if columns.found.len() < 2 {
        return Err("the records are neither JSON objects nor values between commas".to_owned());
    }

    let delimiters = json!({ "RecordRowDelimiter": "\n", "RecordColumnDelimiter": "," });
    let parameters = json!({ "CSVMappingParameters": delimiters });
    Ok(schema(&columns, "CSV", &parameters))
}

fn columns_of_lines(texts: &[&str]) -> Columns {
    let mut columns = Columns::default();

    for line in texts.iter().flat_map(|text| text.lines()) {
        for (number, field) in line.split(',').enumerate() {
            let name = format!("COL{number}");
            let value = of_text(field);
            columns.value(&name, String::new, &name, &value);
        }
    }
    columns
}

/// A field of a line as the JSON value that it looks like.
fn of_text(field: &str) -> Json {
    let number = field.trim().parse::<serde_json::Number>();
    match number {
        _ if field.is_empty() => Json::Null,
        Ok(number) => Json::Number(number),
        Err(_) => Json::String(field.to_owned()),
    }
}

fn schema(columns: &Columns, format: &str, parameters: &Json) -> Json {
    let columns: Vec<Json> = columns.found.iter().map(Found::json).collect();
    json!({
        "RecordFormat": { "RecordFormatType": format, "MappingParameters": parameters },
        "RecordEncoding": "UTF-8",
        "RecordColumns": columns,
    })
}

impl Columns {
    fn object(&mut self, object: &Members, path: &str, prefix: &str, level: usize) {
        for (key, raw) in &object.0 {
            let path = format!("{path}{}", step(key));
            let name = format!("{prefix}{key}");
            if let Some(inner) = members_below(raw, level) {
                let prefix = format!("{name}_");
                self.object(&inner, &path, &prefix, level + 1);
                continue;
            }

            let value = serde_json::from_str(raw.get()).unwrap_or_default();
            match value {
                Json::Array(_) => self.value(&path, || format!("{path}[0:]"), &name, &value),
                _ => self.value(&path, || path.clone(), &name, &value),
            }
        }
    }

    fn value(&mut self, key: &str, path: impl FnOnce() -> String, name: &str, value: &Json) {
        let place = match self.by_path.get(key) {
            Some(place) => *place,
            None if self.found.len() == MOST_COLUMNS => return,
            None => {
                let name = self.free_name(name);
                self.by_path.insert(key.to_owned(), self.found.len());
                self.found.push(Found {
                    name,
                    path: path(),
                    kind: None,
                    longest: 0,
                });
                self.found.len() - 1
            }
        };
        self.found[place].add(value);
    }

    /// `name`, or a variant that no other column has.
    fn free_name(&self, name: &str) -> String {
        let is_reserved = RESERVED.contains(&name.to_ascii_uppercase().as_str());
        let prefix = if is_reserved { RESERVED_PREFIX } else { "" };
        let name: String = format!("{prefix}{name}").chars().take(120).collect();

        let mut free = name.clone();
        let mut number = 2;
        while self.found.iter().any(|column| column.name == free) {
            free = format!("{name}_{number}");
            number += 1;
        }
        free
    }
}

/// The members of an object that become columns of their own.
fn members_below(raw: &RawValue, level: usize) -> Option<Members> {
    if level >= MOST_LEVELS {
        return None;
    }

    let inner: Members = serde_json::from_str(raw.get()).ok()?;
    (!inner.0.is_empty()).then_some(inner)
}

/// A step of a path: `.key`, or `['the key']` where the key is no plain word.
fn step(key: &str) -> String {
    let is_word = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_');
    if is_word {
        format!(".{key}")
    } else {
        format!("['{key}']")
    }
}

impl Found {
    fn add(&mut self, value: &Json) {
        let Some((kind, length)) = kind_and_length(value) else {
            return;
        };
        self.longest = self.longest.max(length);
        self.kind = Some(self.kind.map_or(kind, |known| known.with(kind)));
    }

    fn sql_type(&self) -> String {
        let fixed = match self.kind {
            Some(Kind::Boolean) => "BOOLEAN",
            Some(Kind::Integer) => "INTEGER",
            Some(Kind::BigInt) => "BIGINT",
            Some(Kind::Double) => "DOUBLE",
            Some(Kind::Timestamp) => "TIMESTAMP",
            Some(Kind::Text) | None => {
                let room = (self.longest * 2).next_power_of_two();
                return format!("VARCHAR({})", room.clamp(SHORTEST_TEXT, LONGEST_TEXT));
            }
        };
        fixed.to_owned()
    }

    fn json(&self) -> Json {
        let mut json = json!({ "Name": self.name, "SqlType": self.sql_type() });
        if !self.path.is_empty() {
            json["Mapping"] = json!(self.path);
        }
        json
    }
}

/// The kind of a value and the number of characters as text; none for NULL.
fn kind_and_length(value: &Json) -> Option<(Kind, usize)> {
    match value {
        Json::Null => None,
        Json::Bool(_) => Some((Kind::Boolean, 5)),
        Json::Number(number) => {
            let text = number.to_string();
            Some((kind_of(number), text.len()))
        }
        Json::String(text) => {
            let length = text.chars().count();
            Some((kind_of_text(text), length))
        }
        Json::Array(_) | Json::Object(_) => {
            let text = value.to_string();
            Some((Kind::Text, text.chars().count()))
        }
    }
}

impl Kind {
    /// The kind that takes the values of both.
    fn with(self, other: Self) -> Self {
        let rank = |kind: Self| match kind {
            Self::Integer => Some(0),
            Self::BigInt => Some(1),
            Self::Double => Some(2),
            Self::Boolean | Self::Timestamp | Self::Text => None,
        };
        match (rank(self), rank(other)) {
            _ if self == other => self,
            (Some(one), Some(two)) if one > two => self,
            (Some(_), Some(_)) => other,
            _ => Self::Text,
        }
    }
}

fn kind_of(number: &serde_json::Number) -> Kind {
    match number.as_i64() {
        Some(whole) if i32::try_from(whole).is_ok() => Kind::Integer,
        Some(_) => Kind::BigInt,
        None => Kind::Double,
    }
}

fn kind_of_text(text: &str) -> Kind {
    // A day alone stays text: the day is probably wanted as written.
    let has_time = text.len() >= "2024-03-05 14:07:09".len();
    if has_time && datetime::parse_record_timestamp(text).is_some() {
        Kind::Timestamp
    } else {
        Kind::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InputSchema;

    fn columns(records: &[&str]) -> Vec<(String, String, String)> {
        let text = infer_schema(records).unwrap();
        InputSchema::from_json(&text).unwrap();
        let json: Json = serde_json::from_str(&text).unwrap();
        let columns = json["RecordColumns"].as_array().unwrap().iter();
        let part = |column: &Json, of: &str| column[of].as_str().unwrap_or("").to_owned();
        columns
            .map(|column| {
                let [name, kind, path] = ["Name", "SqlType", "Mapping"].map(|of| part(column, of));
                (name, kind, path)
            })
            .collect()
    }

    fn column(name: &str, sql_type: &str, path: &str) -> (String, String, String) {
        (name.to_owned(), sql_type.to_owned(), path.to_owned())
    }

    #[test]
    fn members_become_columns_with_paths() {
        let found = columns(&[
            r#"{"log":"Record 0","n":1,"ok":true,"at":"2024-03-05 14:07:09","timestamp":7}"#,
            r#"{"n":3000000000,"more":{"x y":0.5},"list":[1,2]}"#,
        ]);
        assert_eq!(
            found,
            [
                column("log", "VARCHAR(32)", "$.log"),
                column("n", "BIGINT", "$.n"),
                column("ok", "BOOLEAN", "$.ok"),
                column("at", "TIMESTAMP", "$.at"),
                column("COL_timestamp", "INTEGER", "$.timestamp"),
                column("more_x y", "DOUBLE", "$.more['x y']"),
                column("list", "VARCHAR(32)", "$.list[0:]"),
            ]
        );
    }

    #[test]
    fn values_that_differ_become_text() {
        assert_eq!(
            columns(&[r#"{"a":1}"#, r#"{"a":"x"}"#]),
            [column("a", "VARCHAR(32)", "$.a")]
        );
    }

    #[test]
    fn lines_become_csv() {
        assert_eq!(
            columns(&["1,red\n2,blue\n"]),
            [
                column("COL0", "INTEGER", ""),
                column("COL1", "VARCHAR(32)", "")
            ]
        );
    }

    #[test]
    fn records_that_are_no_text_are_refused() {
        assert!(infer_schema(&[[0xff, 0xfe]]).unwrap_err().contains("text"));
        assert!(infer_schema(&["one word"]).unwrap_err().contains("neither"));
    }
}
