//! From rows to records: JSON and CSV.

use crate::catalog::Column;
use crate::types::{SqlType, datetime};
use crate::value::{Value, write_text};

/// The form of output records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowFormat {
    /// One JSON object, keys in the order of the columns, without blanks and without a newline at
    /// the end.
    #[default]
    Json,
    /// Values in the order of the columns between commas, with a newline at the end.
    Csv,
}

impl RowFormat {
    /// Appends one row as a record's data.
    pub fn write(self, columns: &[Column], values: &[Value], data: &mut Vec<u8>) {
        match self {
            Self::Json => write_json_row(columns, values, data),
            Self::Csv => write_csv_row(columns, values, data),
        }
    }
}

/// Appends a row as a JSON object. NULL is `null`; no key is ever left out.
pub fn write_json_row(columns: &[Column], values: &[Value], data: &mut Vec<u8>) {
    let mut text = String::with_capacity(columns.len() * 24);
    text.push('{');
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_json_text(&column.name, &mut text);
        text.push(':');
        write_json_value(
            values.get(index).unwrap_or(&Value::Null),
            &column.sql_type,
            &mut text,
        );
    }
    text.push('}');
    data.extend_from_slice(text.as_bytes());
}

fn write_csv_row(columns: &[Column], values: &[Value], data: &mut Vec<u8>) {
    let mut text = String::with_capacity(columns.len() * 16);
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let start = text.len();
        let value = values.get(index).unwrap_or(&Value::Null);
        write_plain(value, &column.sql_type, &mut text);
        if text[start..].contains([',', '"', '\n', '\r']) {
            let quoted = text[start..].replace('"', "\"\"");
            text.truncate(start);
            text.push('"');
            text.push_str(&quoted);
            text.push('"');
        }
    }
    text.push('\n');
    data.extend_from_slice(text.as_bytes());
}

/// Appends a value as JSON: numbers and truth values bare, everything else as a string.
pub(crate) fn write_json_value(value: &Value, sql_type: &SqlType, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Boolean(_)
        | Value::Integer(_)
        | Value::Decimal(_)
        | Value::Real(_)
        | Value::Double(_) => write_plain(value, sql_type, text),
        Value::Text(found) => write_json_text(found, text),
        _ => {
            text.push('"');
            write_plain(value, sql_type, text);
            text.push('"');
        }
    }
}

/// Appends a value's text as records have it: like CAST to VARCHAR, but for timestamps, truth
/// values and binary.
pub(crate) fn write_plain(value: &Value, sql_type: &SqlType, text: &mut String) {
    match value {
        Value::Boolean(truth) => {
            let word = if *truth { "true" } else { "false" };
            text.push_str(word);
        }
        Value::Timestamp(at) => datetime::write_timestamp_millis(*at, text),
        Value::Binary(bytes) => {
            text.push_str(&base64_simd::STANDARD.encode_to_string(bytes));
        }
        _ => write_text(value, sql_type, text),
    }
}

/// Appends a JSON string. Only what JSON demands is escaped; UTF-8 stays as it is.
pub(crate) fn write_json_text(found: &str, text: &mut String) {
    text.push('"');
    let mut rest = found;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        text.push_str(&rest[..at]);
        let byte = rest.as_bytes()[at];
        write_escape(byte, text);
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
    text.push('"');
}

fn write_escape(byte: u8, text: &mut String) {
    let escape = match byte {
        b'"' => "\\\"",
        b'\\' => "\\\\",
        b'\n' => "\\n",
        b'\r' => "\\r",
        b'\t' => "\\t",
        0x08 => "\\b",
        0x0c => "\\f",
        _ => &format!("\\u{byte:04x}"),
    };
    text.push_str(escape);
}
