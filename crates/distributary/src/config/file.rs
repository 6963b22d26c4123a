//! The configuration file: TOML, and for whatever is wrong with it the file, line, key, what was expected, and the nearest
//! key that there is.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::{OutputEntry, Settings};
use super::values::nearest;
use crate::connect::ConnectArgs;

/// The key of the list of outputs.
const OUTPUT: &str = "output";
/// No configuration is longer, in bytes.
const FILE_MAX: u64 = 4 << 20;

/// A file's settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    pub(super) path: PathBuf,
    pub(super) settings: Settings,
    pub(super) connect: ConnectArgs,
    /// With the line that each begins at.
    pub(super) outputs: Vec<(usize, OutputEntry)>,
}

/// What is wrong with a configuration; one paragraph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Problem(pub(crate) String);

/// The bytes of the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let told = |error: std::io::Error| {
        Problem(format!(
            "cannot read the configuration {}: {error}",
            path.display()
        ))
    };
    let length = fs::metadata(path).map_err(told)?.len();
    if length > FILE_MAX {
        return Err(Problem(format!(
            "{} is no configuration: it has {length} bytes",
            path.display()
        )));
    }
    fs::read(path).map_err(told)
}

impl File {
    /// The settings in `bytes`, which `path` holds.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Problem> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(Problem(format!(
                "{} is no configuration: it is not UTF-8 text",
                path.display()
            )));
        };
        let place = Place { path, text };
        let root = DeTable::parse(text)
            .map_err(|e| place.problem(e.span(), e.message()))?
            .into_inner();
        let keys = Keys::new(&place, &root)?;
        let (mut settings, mut connect, mut entries) = (DeTable::new(), DeTable::new(), None);
        for (key, value) in root {
            let name = key.get_ref().as_ref();
            if name == OUTPUT {
                entries = Some(value);
            } else if fields_of::<ConnectArgs>().contains(&name) {
                connect.insert(key, value);
            } else {
                settings.insert(key, value);
            }
        }
        Ok(Self {
            path: path.to_owned(),
            settings: keys.deserialize(settings)?,
            connect: keys.deserialize(connect)?,
            outputs: outputs(&keys, entries)?,
        })
    }
}

fn outputs(
    keys: &Keys<'_>,
    entries: Option<Spanned<DeValue<'_>>>,
) -> Result<Vec<(usize, OutputEntry)>, Problem> {
    let Some(entries) = entries else {
        return Ok(Vec::new());
    };
    let span = entries.span();
    let DeValue::Array(entries) = entries.into_inner() else {
        return Err(keys.place.no_outputs(span));
    };
    let mut outputs = Vec::with_capacity(entries.len());
    for entry in entries {
        let span = entry.span();
        let DeValue::Table(table) = entry.into_inner() else {
            return Err(keys.place.no_outputs(span));
        };
        let line = keys.place.line(span.start).0;
        let table = Spanned::new(span.clone(), table);
        let entry = OutputEntry::deserialize(toml::de::Deserializer::from(table));
        outputs.push((line, entry.map_err(|e| keys.problem(&e, Some(span)))?));
    }
    Ok(outputs)
}

/// A file's path and text, to say where something is.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    /// Line and column of a byte, from 1.
    fn line(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    fn problem(&self, span: Option<Range<usize>>, what: &str) -> Problem {
        let path = self.path.display();
        Problem(match span {
            Some(span) => {
                let (line, column) = self.line(span.start);
                format!("{path}:{line}:{column}: {what}")
            }
            None => format!("{path}: {what}"),
        })
    }

    fn no_outputs(&self, span: Range<usize>) -> Problem {
        self.problem(
            Some(span),
            "key output: expected a table for each output: [[output]] on a line, then stream = \"NAME\"",
        )
    }
}

/// Where each key's value is, and the keys that there are.
struct Keys<'a> {
    place: &'a Place<'a>,
    values: Vec<(String, Range<usize>)>,
}

impl<'a> Keys<'a> {
    /// Looks at each key; the first one that is not known is a problem.
    fn new(place: &'a Place<'a>, root: &DeTable<'_>) -> Result<Self, Problem> {
        let mut keys = Self {
            place,
            values: Vec::new(),
        };
        let top = [
            fields_of::<Settings>(),
            fields_of::<ConnectArgs>(),
            &[OUTPUT],
        ]
        .concat();
        let of_output = fields_of::<OutputEntry>();
        keys.look("", root, &top, "[[output]]", of_output)?;
        let Some(DeValue::Array(entries)) = root.get(OUTPUT).map(Spanned::get_ref) else {
            return Ok(keys);
        };
        for (i, entry) in entries.iter().enumerate() {
            if let DeValue::Table(table) = entry.get_ref() {
                let prefix = format!("output {} ", i + 1);
                keys.look(
                    &prefix,
                    table,
                    of_output,
                    "the top of the file, before the first [[output]]",
                    &top,
                )?;
            }
        }
        Ok(keys)
    }

    fn look(
        &mut self,
        prefix: &str,
        table: &DeTable<'_>,
        known: &[&str],
        elsewhere: &str,
        known_elsewhere: &[&str],
    ) -> Result<(), Problem> {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                self.values.push((format!("{prefix}{name}"), value.span()));
                continue;
            }
            let hint = if name == "to" {
                "an output is written [[output]] on a line, then stream = \"NAME\"".to_owned()
            } else if known_elsewhere.contains(&name) {
                format!("it belongs in {elsewhere}")
            } else if let Some(near) = nearest(name, known.iter().copied()) {
                format!("did you mean {near:?}?")
            } else {
                format!("expected one of {}", known.join(", "))
            };
            let what = format!("{prefix}key {name:?} is not known; {hint}");
            return Err(self.place.problem(Some(key.span()), &what));
        }
        Ok(())
    }

    fn deserialize<T: DeserializeOwned>(&self, table: DeTable<'_>) -> Result<T, Problem> {
        let table = Spanned::new(0..0, table);
        T::deserialize(toml::de::Deserializer::from(table)).map_err(|e| self.problem(&e, None))
    }

    /// Says which key `error` is about: the one whose value it points at.
    fn problem(&self, error: &toml::de::Error, of_table: Option<Range<usize>>) -> Problem {
        let span = error.span();
        let key = span.as_ref().and_then(|span| {
            self.values
                .iter()
                .find(|(_, value)| value.start <= span.start && span.end <= value.end)
        });
        let message = error.message();
        let what = match key {
            Some((key, _)) if !message.starts_with("missing field") => {
                format!("key {key}: {message}")
            }
            Some(_) | None => message
                .replace("missing field", "missing key")
                .replace('`', "\""),
        };
        self.place
            .problem(span.filter(|s| !s.is_empty()).or(of_table), &what)
    }
}

/// The names of a struct's fields, as serde knows them.
pub(super) fn fields_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It always "fails": nothing is deserialized.
    drop(T::deserialize(FieldsOf(&mut fields)));
    fields
}

/// Takes note of what a struct asks for.
struct FieldsOf<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldsOf<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(Self::Error::custom("only the fields are asked for"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("only the fields are asked for"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
