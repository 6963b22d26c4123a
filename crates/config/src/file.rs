//! The configuration file: TOML, with the place of each key and value.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use crate::mistake::{Mistakes, Place, Result};
use crate::table::{Entry, Table, Value};

/// The longest configuration, in bytes.
const FILE_MAX: u64 = 4 << 20;

/// Reads the bytes of the file at `path`.
///
/// # Errors
/// [`Mistakes`] if the file can't be read, or is longer than 4 MiB.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| {
        let path = path.display();
        Mistakes::one(
            &Place::Nowhere,
            format!("cannot read the configuration {path}: {error}"),
        )
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > FILE_MAX {
        return Err(Mistakes::one(
            &Place::File(path.into()),
            format!("not a configuration: the file has {length} bytes"),
        ));
    }
    fs::read(path).map_err(failed)
}

/// The keys in `bytes`, the content of the file at `path`.
///
/// # Errors
/// [`Mistakes`] if the bytes are not TOML.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Table> {
    let path: Arc<Path> = path.into();
    let whole = Place::File(Arc::clone(&path));
    let Ok(text) = std::str::from_utf8(bytes) else {
        let message = "not a configuration: the file is not UTF-8 text";
        return Err(Mistakes::one(&whole, message));
    };

    let file = Text { path, text };
    match DeTable::parse(text) {
        Ok(root) => file.table(whole, root.into_inner()),
        Err(error) => Err(file.not_toml(&error, whole)),
    }
}

/// A file's path and text.
struct Text<'a> {
    path: Arc<Path>,
    text: &'a str,
}

impl Text<'_> {
    fn not_toml(&self, error: &toml::de::Error, whole: Place) -> Mistakes {
        let place = match error.span() {
            Some(span) => self.place(&span),
            None => whole,
        };
        Mistakes::one(&place, error.message())
    }

    /// Line and column of the first byte of `span`.
    fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place::Line {
            path: Arc::clone(&self.path),
            line: before.matches('\n').count() + 1,
            column: Some(before[line_start..].chars().count() + 1),
        }
    }

    fn table(&self, place: Place, table: DeTable<'_>) -> Result<Table> {
        let mut entries = std::collections::BTreeMap::new();
        for (key, value) in table {
            let entry = Entry {
                key_place: self.place(&key.span()),
                place: self.place(&value.span()),
                value: self.value(value)?,
            };
            entries.insert(key.into_inner().into_owned(), entry);
        }
        Ok(Table { place, entries })
    }

    fn value(&self, value: Spanned<DeValue<'_>>) -> Result<Value> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => {
                let place = self.place(&span).whole_line();
                let table = self.table(place, table)?;
                Ok(Value::Table(table))
            }
            DeValue::Array(items) if are_tables(&items) => self.tables(items),
            other => self.plain(Spanned::new(span, other)),
        }
    }

    fn tables(&self, items: DeArray<'_>) -> Result<Value> {
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            if let Value::Table(table) = self.value(item)? {
                tables.push(table);
            }
        }
        Ok(Value::Tables(tables))
    }

    fn plain(&self, value: Spanned<DeValue<'_>>) -> Result<Value> {
        let place = self.place(&value.span());
        toml::Value::deserialize(ValueDeserializer::from(value))
            .map(Value::Plain)
            .map_err(|error| Mistakes::one(&place, error.message()))
    }
}

/// True if there are items, and all are tables.
fn are_tables(items: &[Spanned<DeValue<'_>>]) -> bool {
    let mut values = items.iter().map(Spanned::get_ref);
    !items.is_empty() && values.all(|value| matches!(value, DeValue::Table(_)))
}
