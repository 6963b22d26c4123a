//! CSV records: one or several rows, columns by position.

use bytestring::ByteString;

use super::Decoder;
use super::coerce::from_text;
use crate::types::SqlType;
use crate::value::{RowError, Value};

/// The delimiters of a schema.
#[derive(Debug)]
pub(crate) struct CsvFormat {
    column: String,
    row: String,
}

impl CsvFormat {
    pub(super) fn new(column: &str, row: &str) -> Result<Self, String> {
        let (column, row) = (unescaped_delimiter(column), unescaped_delimiter(row));
        if column.is_empty() || row.is_empty() || column == row {
            return Err("the delimiters of CSV must differ and must not be empty".to_owned());
        }
        Ok(Self { column, row })
    }
}

/// A delimiter as configured: `\n` and `\t` may be written with a backslash.
fn unescaped_delimiter(text: &str) -> String {
    text.replace("\\n", "\n")
        .replace("\\r", "\r")
        .replace("\\t", "\t")
}

/// The rows of one record.
pub(crate) struct CsvRows<'a> {
    format: &'a CsvFormat,
    text: ByteString,
    at: usize,
}

impl<'a> CsvRows<'a> {
    pub(super) fn new(format: &'a CsvFormat, text: ByteString) -> Self {
        Self {
            format,
            text,
            at: 0,
        }
    }

    pub(super) fn next_row(
        &mut self,
        decoder: &Decoder,
        row: &mut Vec<Value>,
    ) -> Option<Result<(), RowError>> {
        if self.at >= self.text.len() {
            return None;
        }

        decoder.clear(row);
        let mut result = Ok(());
        for column in 0.. {
            let (field, ended) = self.field();
            if let Some(target) = decoder.columns.get(column) {
                match field_value(field, &target.sql_type) {
                    Ok(value) if target.needed => row[column + 1] = value,
                    Ok(_) => {}
                    Err(error) => result = result.and(Err(error)),
                }
            }
            if ended {
                break;
            }
        }
        Some(result)
    }

    /// The next field, and whether the row ends after it.
    fn field(&mut self) -> (ByteString, bool) {
        let text = self.text.clone();
        let rest = &text[self.at..];
        if let Some(inner) = rest.strip_prefix('"')
            && let Some((field, length)) = quoted(inner)
        {
            self.at += 1 + length;
            return (field.into(), self.end_of_field());
        }

        let field = self.plain(rest);
        self.at += field.len();
        (text.slice_ref(field), self.end_of_field())
    }

    /// The text up to the next delimiter of a column or row.
    fn plain<'t>(&self, rest: &'t str) -> &'t str {
        let row = before(rest, &self.format.row);
        before(row, &self.format.column)
    }

    /// Steps over the delimiter at this place, and whatever stands after a closing quote.
    fn end_of_field(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let column = rest.find(&self.format.column);
        let row = rest.find(&self.format.row);
        match (column, row) {
            (Some(column), row) if row.is_none_or(|row| column < row) => {
                self.at += column + self.format.column.len();
                // A row that ends in a delimiter has one more, empty field.
                false
            }
            (_, Some(row)) => {
                self.at += row + self.format.row.len();
                true
            }
            _ => {
                self.at = self.text.len();
                true
            }
        }
    }
}

fn before<'t>(text: &'t str, delimiter: &str) -> &'t str {
    match text.split_once(delimiter) {
        Some((before, _)) => before,
        None => text,
    }
}

/// The value of a field: an empty one is NULL, but for text.
fn field_value(field: ByteString, sql_type: &SqlType) -> Result<Value, RowError> {
    if field.is_empty() && !sql_type.is_text() {
        return Ok(Value::Null);
    }
    from_text(field, sql_type)
}

/// The text up to the closing quote, with `""` as one quote, and its length with that quote. `None`
/// without a closing quote.
fn quoted(inner: &str) -> Option<(String, usize)> {
    let mut field = String::new();
    let mut at = 0;
    loop {
        let end = at + inner[at..].find('"')?;
        field.push_str(&inner[at..end]);
        at = end + 1;
        if !inner[at..].starts_with('"') {
            return Some((field, at));
        }
        field.push('"');
        at += 1;
    }
}
