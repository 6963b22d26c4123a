//! Row-valued log parsers: a line in, the fields of a row value out.

use std::sync::Arc;

use regex::Regex;

use crate::convert;
use crate::functions::java_format::Format;
use crate::functions::regex::java_regex_whole;
use crate::text::parse_type;
use crate::types::{RowField, SqlType};
use crate::value::Value;

/// The type of a field that has none of its own.
const FIELD: SqlType = SqlType::Varchar(1024);

/// Whether a function of this name parses a log line into a row value.
pub(crate) fn is_log_parser(name: &str) -> bool {
    matches!(
        name,
        "VARIABLE_COLUMN_LOG_PARSE"
            | "FIXED_COLUMN_LOG_PARSE"
            | "REGEX_LOG_PARSE"
            | "W3C_LOG_PARSE"
            | "SYS_LOG_PARSE"
    )
}

/// A parser with its fields.
#[derive(Debug, Clone)]
pub(crate) struct LogParser {
    /// The function and its constant arguments: parsers with the same ones are equal.
    identity: (String, Vec<String>),
    kind: Kind,
    fields: Vec<Field>,
}

impl PartialEq for LogParser {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Variable {
        delimiter: String,
        escape: Option<char>,
        quotes: Option<(char, char)>,
    },
    Fixed,
    /// A field for each group.
    Regex(Regex),
    Syslog(Format),
}

#[derive(Debug, Clone)]
struct Field {
    name: String,
    sql_type: SqlType,
    /// The format of a TIMESTAMP, when one was given.
    format: Option<Format>,
    /// The first character, from 0, and the length: FIXED_COLUMN_LOG_PARSE only.
    span: Option<(usize, usize)>,
}

impl LogParser {
    /// A parser by its name and the constant arguments after the line. Fails with the sentence for
    /// the user.
    pub(crate) fn new(name: &str, arguments: &[String]) -> Result<Self, String> {
        let counts = match name {
            "VARIABLE_COLUMN_LOG_PARSE" => 2..=4,
            "SYS_LOG_PARSE" => 0..=0,
            _ => 1..=1,
        };
        if !counts.contains(&arguments.len()) {
            let (low, high) = (counts.start() + 1, counts.end() + 1);
            return Err(format!("{name} wants {low} to {high} arguments"));
        }

        let argument = |index: usize| arguments.get(index).map(String::as_str);
        let first = argument(0).unwrap_or_default();
        let (kind, fields) = match name {
            "VARIABLE_COLUMN_LOG_PARSE" => {
                let kind = Kind::Variable {
                    delimiter: delimiter(argument(1))?,
                    escape: argument(2).and_then(|escape| escape.chars().next()),
                    quotes: quotes(argument(3)),
                };
                (kind, variable_fields(first)?)
            }
            "FIXED_COLUMN_LOG_PARSE" => (Kind::Fixed, fixed_fields(first)?),
            "REGEX_LOG_PARSE" => {
                let regex = java_regex_whole(first)?;
                let fields = numbered(regex.captures_len() - 1);
                (Kind::Regex(regex), fields)
            }
            "W3C_LOG_PARSE" => {
                let (regex, count) = w3c_regex(first)?;
                (Kind::Regex(regex), numbered(count))
            }
            _ => (
                Kind::Syslog(Format::new("MMM d HH:mm:ss")?),
                syslog_fields(),
            ),
        };
        Ok(Self {
            identity: (name.to_owned(), arguments.to_vec()),
            kind,
            fields,
        })
    }

    pub(crate) fn row_type(&self) -> SqlType {
        let fields = self.fields.iter().map(|field| RowField {
            name: field.name.clone(),
            sql_type: field.sql_type.clone(),
        });
        SqlType::Row(fields.collect())
    }

    /// The row value of a line; NULL when the line does not match.
    pub(crate) fn parse(&self, line: &str) -> Value {
        let pieces = match &self.kind {
            Kind::Variable {
                delimiter,
                escape,
                quotes,
            } => variable_pieces(line, delimiter, *escape, *quotes),
            Kind::Fixed => self.fixed_pieces(line),
            Kind::Regex(regex) => match regex.captures(line) {
                Some(captures) => captures
                    .iter()
                    .skip(1)
                    .map(|group| group.map(|group| group.as_str().to_owned()))
                    .collect(),
                None => return Value::Null,
            },
            Kind::Syslog(format) => return syslog(line, format),
        };

        let fields: Arc<[Value]> = self
            .fields
            .iter()
            .enumerate()
            .map(|(index, field)| {
                let piece = pieces.get(index).cloned().flatten();
                piece.map_or(Value::Null, |piece| field.value(piece))
            })
            .collect();
        Value::Row(fields)
    }

    fn fixed_pieces(&self, line: &str) -> Vec<Option<String>> {
        self.fields
            .iter()
            .map(|field| {
                let (start, length) = field.span?;
                let piece: String = line.chars().skip(start).take(length).collect();
                (!piece.is_empty()).then_some(piece)
            })
            .collect()
    }
}

impl Field {
    fn text(name: String) -> Self {
        Self {
            name,
            sql_type: FIELD,
            format: None,
            span: None,
        }
    }

    /// A piece of the line in the field's type; NULL when it does not fit.
    fn value(&self, piece: String) -> Value {
        if let Some(format) = &self.format {
            let parsed = format.parse(piece.trim());
            return parsed.map_or(Value::Null, Value::Timestamp);
        }
        let value = std::borrow::Cow::Owned(Value::from(piece));
        convert::cast(value, &SqlType::Varchar(u32::MAX), &self.sql_type, 0)
            .map_or(Value::Null, std::borrow::Cow::into_owned)
    }
}

/// So many text fields called COLUMN1 and so on.
fn numbered(count: usize) -> Vec<Field> {
    (1..=count)
        .map(|number| Field::text(format!("COLUMN{number}")))
        .collect()
}

fn delimiter(given: Option<&str>) -> Result<String, String> {
    match given {
        Some(delimiter) if !delimiter.is_empty() => Ok(delimiter.to_owned()),
        _ => Err("the delimiter must not be empty".to_owned()),
    }
}

/// One quote for both ends, or one for each.
fn quotes(given: Option<&str>) -> Option<(char, char)> {
    let mut characters = given?.chars();
    let open = characters.next()?;
    Some((open, characters.next().unwrap_or(open)))
}

/// A number of columns, or `A TYPE VARCHAR(8), B TYPE TIMESTAMP 'format'`.
fn variable_fields(columns: &str) -> Result<Vec<Field>, String> {
    if let Ok(count) = columns.trim().parse::<usize>() {
        return if (1..=1000).contains(&count) {
            Ok(numbered(count))
        } else {
            Err(format!("{count} columns; expected 1 to 1000"))
        };
    }
    split_columns(columns)
        .iter()
        .map(|column| named_field(column).map(|(field, _)| field))
        .collect()
}

fn fixed_fields(columns: &str) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    for column in split_columns(columns) {
        let (mut field, rest) = named_field(&column)?;
        field.span = span(&rest);
        if field.span.is_none() {
            return Err(format!("the column '{column}' wants START n FOR n"));
        }
        fields.push(field);
    }
    Ok(fields)
}

/// The start and the length of `START n FOR n`.
fn span(text: &str) -> Option<(usize, usize)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [start_word, start, for_word, length] = words.as_slice() else {
        return None;
    };
    if !start_word.eq_ignore_ascii_case("START") || !for_word.eq_ignore_ascii_case("FOR") {
        return None;
    }

    let start = start.parse().ok()?;
    let length = length.parse().ok()?;
    Some((start, length))
}

/// The columns between commas that stand outside of parentheses and quotes.
fn split_columns(columns: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let (mut depth, mut quoted) = (0_u32, false);
    for character in columns.chars() {
        match character {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = found.last_mut() {
            last.push(character);
        }
    }
    found
}

/// `NAME TYPE type ['format']`, and the text after it.
fn named_field(column: &str) -> Result<(Field, String), String> {
    let column = column.trim();
    let Some((name, rest)) = name_of_field(column) else {
        return Err(format!(
            "the column '{column}' wants the form NAME TYPE type"
        ));
    };

    let (sql_type, rest) = rest.split_at(type_length(rest));
    let sql_type = parse_type(sql_type).map_err(|issue| issue.message)?;
    let mut field = Field {
        name: name.trim_matches('"').to_uppercase(),
        sql_type,
        format: None,
        span: None,
    };

    let rest = rest.trim_start();
    let Some(inner) = rest.strip_prefix('\'') else {
        return Ok((field, rest.to_owned()));
    };
    let Some((format, rest)) = inner.split_once('\'') else {
        return Err(format!("the format of the column '{column}' has no end"));
    };
    field.format = Some(Format::new(format)?);
    Ok((field, rest.to_owned()))
}

/// The name in front of TYPE, and the text behind.
fn name_of_field(column: &str) -> Option<(&str, &str)> {
    let (name, rest) = column.split_once(char::is_whitespace)?;
    let (word, rest) = rest.trim_start().split_at_checked(4)?;
    let is_type = word.eq_ignore_ascii_case("TYPE");
    is_type.then_some((name, rest.trim_start()))
}

/// The length of the type at the front, with the numbers in parentheses.
fn type_length(text: &str) -> usize {
    let end = text
        .find(|c: char| c == '\'' || c.is_whitespace())
        .unwrap_or(text.len());
    let word = &text[..end];
    if !word.contains('(') || word.contains(')') {
        return end;
    }

    match text.find(')') {
        Some(close) => close + 1,
        None => text.len(),
    }
}

/// The pieces between delimiters that stand outside of quotes.
fn variable_pieces(
    line: &str,
    delimiter: &str,
    escape: Option<char>,
    quotes: Option<(char, char)>,
) -> Vec<Option<String>> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut rest = line;
    let mut quoted = false;

    while let Some(next) = rest.chars().next() {
        let after = &rest[next.len_utf8()..];
        if !quoted && rest.starts_with(delimiter) {
            pieces.push(Some(std::mem::take(&mut piece)));
            rest = &rest[delimiter.len()..];
            continue;
        }
        match (quotes, after.chars().next()) {
            (_, Some(escaped)) if Some(next) == escape => {
                piece.push(escaped);
                rest = &after[escaped.len_utf8()..];
                continue;
            }
            (Some((_, close)), _) if quoted && next == close => quoted = false,
            (Some((open, _)), _) if !quoted && next == open => quoted = true,
            _ => piece.push(next),
        }
        rest = after;
    }
    pieces.push(Some(piece));
    pieces
}

fn syslog_fields() -> Vec<Field> {
    let mut fields = numbered(2);
    if let Some(first) = fields.first_mut() {
        first.sql_type = SqlType::Timestamp;
    }
    fields
}

/// `Mon DD HH:MM:SS rest`; a log has no year.
fn syslog(line: &str, format: &Format) -> Value {
    let Some((front, rest)) = line.char_indices().nth(15).map(|(at, _)| line.split_at(at)) else {
        return Value::Null;
    };
    match format.parse(front) {
        Some(time) => {
            let fields = [Value::Timestamp(time), rest.trim_start().into()];
            Value::Row(Arc::from(fields))
        }
        None => Value::Null,
    }
}

/// The regular expression of a named or an Apache format, and its number of fields.
fn w3c_regex(format: &str) -> Result<(Regex, usize), String> {
    let mut rest = w3c_format(format)?;
    let mut pattern = String::from(r"\A");
    let mut count = 0;

    while let Some(at) = rest.find('%') {
        let (before, directive) = rest.split_at(at);
        let Some(end) = directive_end(directive) else {
            return Err("the format ends within a directive".to_owned());
        };
        let (directive, after) = directive.split_at(end);
        rest = after;
        count += 1;

        pattern.push_str(&regex::escape(before));
        pattern.push_str(if directive.ends_with('t') {
            r"(\[[^\]]*\])"
        } else if before.ends_with('"') {
            r#"((?:[^"\\]|\\.)*)"#
        } else if rest.is_empty() {
            "(.*)"
        } else {
            r"(\S*)"
        });
    }

    pattern.push_str(&regex::escape(rest));
    pattern.push_str(r"\z");
    let regex = Regex::new(&pattern).map_err(|error| error.to_string())?;
    Ok((regex, count))
}

/// The Apache format of a name, or the format itself.
fn w3c_format(format: &str) -> Result<&str, String> {
    match format.trim().to_uppercase().as_str() {
        "COMMON" => Ok("%h %l %u %t \"%r\" %>s %b"),
        "COMMON WITH VHOST" => Ok("%v %h %l %u %t \"%r\" %>s %b"),
        "NCSA EXTENDED" => Ok("%h %l %u %t \"%r\" %>s %b \"%[Referer]i\" \"%[User-agent]i\""),
        "REFERER" => Ok("%[Referer]i ---> %U"),
        "AGENT" => Ok("%[User-agent]i"),
        "IIS" => Err("the IIS format of W3C_LOG_PARSE is not built here".to_owned()),
        _ if format.contains('%') => Ok(format),
        _ => Err(format!("'{format}' is no format of W3C_LOG_PARSE")),
    }
}

/// The bytes of a directive such as `%h`, `%>s`, `%{Referer}i` or `%[Referer]i`.
fn directive_end(text: &str) -> Option<usize> {
    let mut inside = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '{' | '[' => inside = true,
            '}' | ']' => inside = false,
            _ if !inside && character.is_ascii_alphabetic() => return Some(at + 1),
            _ => {}
        }
    }
    None
}
