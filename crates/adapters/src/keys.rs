//! Keys of the configuration as data: from these tables flags, environment variables, hints for
//! misspelt keys, the reference and the JSON schema are made.

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use toml::Value;

use crate::values::{Address, Expected, Name, Size, Span, StartAt, not_one_of};

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name, in kebab-case.
    pub name: &'static str,
    /// The form of the value.
    pub form: Form,
    /// Required or optional, and where a missing value comes from.
    pub absent: Absent,
    /// The meaning, for people; no full stop at the end.
    pub help: &'static str,
    /// A valid value, as a flag takes a value.
    pub example: &'static str,
}

/// The meaning of a key that is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// A mistake.
    Required,
    /// Nothing, or a default; the text describes it for people and may be empty.
    Default(&'static str),
    /// The value of the same key of the fan-out, or at the top of the file; else a default.
    Inherited(&'static str),
}

impl Key {
    /// True if the value may be written for all outputs and sources together.
    pub fn is_inherited(&self) -> bool {
        matches!(self.absent, Absent::Inherited(_))
    }

    /// The default, for people; empty if there is none.
    pub fn default_text(&self) -> &'static str {
        match self.absent {
            Absent::Required => "",
            Absent::Default(text) | Absent::Inherited(text) => text,
        }
    }
}

/// The form of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text; holds the placeholder for help texts.
    Text(&'static str),
    /// A text, or a list of texts; holds the placeholder of one.
    Texts(&'static str),
    /// A path; relative to the configuration file if written there.
    Path,
    /// A name of at most 128 characters.
    Name,
    /// A Kinesis stream's name or ARN.
    Stream,
    /// `trim-horizon`, `latest` or a moment.
    Start,
    /// `true` or `false`.
    Boolean,
    /// A whole number above 0.
    Count,
    /// A number of bytes with its unit.
    Size,
    /// A length of time with its unit.
    Span,
    /// An IP address and a port.
    Address,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An output: a shorthand (`file:PATH`), or a table with `type` and the keys of that kind.
    Output,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A list of tables with these keys.
    Tables(&'static [Key]),
}

/// The largest value of a count.
const COUNT_MAX: i64 = 1_000_000;

impl Form {
    /// The placeholder for help texts.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Text(placeholder) | Self::Texts(placeholder) => placeholder,
            Self::Path => "FILE",
            Self::Name => "NAME",
            Self::Stream => "STREAM",
            Self::Start => "START",
            Self::Boolean => "BOOL",
            Self::Count => "NUMBER",
            Self::Size => "SIZE",
            Self::Span => "TIME",
            Self::Address => "ADDRESS",
            Self::Choice(_) => "WORD",
            Self::Output => "[KIND:]TARGET",
            Self::Table(_) => "TABLE",
            Self::Tables(_) => "TABLES",
        }
    }

    /// True if the value may be a table.
    pub fn takes_table(self) -> bool {
        matches!(self, Self::Output | Self::Table(_))
    }

    /// The value that a flag or an environment variable with this text has.
    ///
    /// # Errors
    /// [`Expected`] if the text is not of this form.
    pub fn read(self, text: &str) -> Result<Value, Expected> {
        let value =
            match self {
                Self::Boolean => Value::Boolean(text.parse().map_err(|_| {
                    Expected(format!("{text:?} is no BOOL: expected true or false"))
                })?),
                Self::Count => text
                    .parse()
                    .map_or_else(|_| Value::String(text.to_owned()), Value::Integer),
                _ => Value::String(text.to_owned()),
            };
        self.check(&value)?;
        Ok(value)
    }

    /// Checks a value of a file.
    ///
    /// # Errors
    /// [`Expected`] if the value is not of this form.
    pub fn check(self, value: &Value) -> Result<(), Expected> {
        match (self, value) {
            (Self::Boolean, Value::Boolean(_)) => Ok(()),
            (Self::Count, Value::Integer(1..=COUNT_MAX)) => Ok(()),
            (Self::Boolean | Self::Count | Self::Table(_) | Self::Tables(_), _)
            | (_, Value::Boolean(_) | Value::Integer(_) | Value::Float(_)) => {
                Err(self.unexpected(value))
            }
            (_, Value::String(text)) => self.check_text(text),
            (Self::Texts(_), value) if is_list_of_texts(value) => Ok(()),
            (_, Value::Datetime(_) | Value::Array(_) | Value::Table(_)) => {
                Err(self.unexpected(value))
            }
        }
    }

    fn check_text(self, text: &str) -> Result<(), Expected> {
        match self {
            Self::Text(_) | Self::Texts(_) => Ok(()),
            Self::Boolean | Self::Count | Self::Table(_) | Self::Tables(_) => Ok(()),
            Self::Output if text.is_empty() => Err(Expected::new("\"\" is no output")),
            Self::Output => Ok(()),
            Self::Path if text.is_empty() => Err(Expected::new("\"\" is no path")),
            Self::Path => Ok(()),
            Self::Name => text.parse::<Name>().map(drop),
            Self::Stream => text
                .parse::<distributary_kinesis::names::StreamRef>()
                .map(drop)
                .map_err(|error| Expected(error.to_string())),
            Self::Start => text.parse::<StartAt>().map(drop),
            Self::Size => text.parse::<Size>().map(drop),
            Self::Span => text.parse::<Span>().map(drop),
            Self::Address => text.parse::<Address>().map(drop),
            Self::Choice(words) if words.contains(&text) => Ok(()),
            Self::Choice(words) => Err(not_one_of(text, words)),
        }
    }

    fn expected_text(self) -> &'static str {
        match self {
            Self::Texts(_) => "expected a text in quotes, or a list of texts",
            _ => "expected a text in quotes",
        }
    }

    /// The error for a value of another type, with the value that was probably meant.
    fn unexpected(self, value: &Value) -> Expected {
        let hint = match (self, value) {
            (Self::Boolean, _) => "expected true or false".to_owned(),
            (Self::Count, _) => format!("expected a whole number from 1 to {COUNT_MAX}"),
            (Self::Table(_), _) => "expected a table: { KEY = VALUE, … }".to_owned(),
            (Self::Tables(_), _) => "expected a list of tables: [{ KEY = VALUE, … }]".to_owned(),
            (Self::Output, _) => "expected \"KIND:REST\", or a table with type".to_owned(),
            (Self::Size, Value::Integer(number)) => {
                format!("expected a text with a unit, such as \"{number}MiB\"")
            }
            (Self::Span, Value::Integer(number)) => {
                format!("expected a text with a unit, such as \"{number}s\"")
            }
            (Self::Start, Value::Datetime(moment)) => {
                format!("expected a text; write \"{moment}\"")
            }
            (_, Value::Integer(_) | Value::Float(_)) => {
                format!("expected a text; write \"{value}\"")
            }
            _ => self.expected_text().to_owned(),
        };
        Expected(format!("{value} is {}: {hint}", type_of(value)))
    }
}

fn is_list_of_texts(value: &Value) -> bool {
    let texts = value.as_array();
    texts.is_some_and(|texts| texts.iter().all(Value::is_str))
}

/// The name of a TOML type, with its article.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a moment without quotes",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// The names of a struct's fields, as serde knows them.
pub fn fields_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // Always an error: nothing is deserialized.
    drop(T::deserialize(FieldsOf(&mut fields)));
    fields
}

/// Notes the fields that a struct asks for.
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
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_where_a_unit_is_missing_is_told_the_unit() {
        let told = |form: Form, value: Value| form.check(&value).unwrap_err().0;
        assert!(told(Form::Size, Value::Integer(256)).contains("\"256MiB\""));
        assert!(told(Form::Span, Value::Integer(5)).contains("\"5s\""));
        assert!(told(Form::Boolean, Value::String("yes".into())).contains("true or false"));
        assert!(told(Form::Name, Value::Integer(7)).contains("write \"7\""));
    }

    #[test]
    fn texts_of_flags_become_values() {
        assert_eq!(Form::Boolean.read("true"), Ok(Value::Boolean(true)));
        assert!(Form::Boolean.read("yes").is_err());
        assert_eq!(Form::Size.read("1GB"), Ok(Value::String("1GB".into())));
        assert!(Form::Choice(&["a", "b"]).read("c").is_err());
    }
}
