//! Tables of keys with the place of each key, wherever they were written.

use std::collections::BTreeMap;
use std::path::Path;

use distributary_adapters::keys::{Form, Key};

use crate::mistake::Place;

/// Keys with their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The place of the table's beginning.
    pub place: Place,
    /// The values by key.
    pub entries: BTreeMap<String, Entry>,
}

/// One key's value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The place of the key.
    pub key_place: Place,
    /// The place of the value.
    pub place: Place,
    /// The value.
    pub value: Value,
}

/// A value: plain, or made of further keys.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text, a number, a boolean, a moment, a list.
    Plain(toml::Value),
    /// A table.
    Table(Table),
    /// A list of tables.
    Tables(Vec<Table>),
}

impl Table {
    fn value(&self, key: &str) -> Option<&Value> {
        let entry = self.entries.get(key)?;
        Some(&entry.value)
    }

    /// The tables of the list `key`; none if the key is missing.
    pub fn tables(&self, key: &str) -> &[Table] {
        match self.value(key) {
            Some(Value::Tables(tables)) => tables,
            _ => &[],
        }
    }

    /// The table `key`.
    pub fn table(&self, key: &str) -> Option<&Table> {
        match self.value(key) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// The text `key`, with its place.
    pub fn text(&self, key: &str) -> Option<(&str, &Place)> {
        let entry = self.entries.get(key)?;
        match &entry.value {
            Value::Plain(toml::Value::String(text)) => Some((text, &entry.place)),
            _ => None,
        }
    }

    /// Sets a plain value.
    pub fn set(&mut self, key: &str, value: toml::Value, place: &Place) {
        let entry = Entry {
            key_place: place.clone(),
            place: place.clone(),
            value: Value::Plain(value),
        };
        self.entries.insert(key.to_owned(), entry);
    }
}

/// Tables in their order of precedence: the first one that has a key decides.
#[derive(Clone, Debug)]
pub struct Layers<'a>(pub Vec<&'a Table>);

impl<'a> Layers<'a> {
    /// The entry that decides about `key`.
    pub fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.0.iter().find_map(|table| table.entries.get(key))
    }

    /// The value of `key`; a path that was written in a file is relative to that file. None for
    /// tables whose keys depend on a kind.
    pub fn plain(&self, key: &Key) -> Option<toml::Value> {
        let entry = self.entry(key.name)?;
        match (&entry.value, key.form) {
            (Value::Plain(toml::Value::String(path)), Form::Path) => {
                let path = beside_file(path, &entry.place);
                Some(path)
            }
            (Value::Plain(value), _) => Some(value.clone()),
            (Value::Table(table), Form::Table(keys)) => Some(nested(table, keys)),
            (Value::Tables(tables), Form::Tables(keys)) => Some(all_nested(tables, keys)),
            (Value::Table(_) | Value::Tables(_), _) => None,
        }
    }

    /// The plain values of `keys`, for serde.
    pub fn collect<'k>(&self, keys: impl IntoIterator<Item = &'k Key>) -> toml::Table {
        let mut table = toml::Table::new();
        for key in keys {
            if let Some(value) = self.plain(key) {
                table.insert(key.name.to_owned(), value);
            }
        }
        table
    }
}

/// A list of tables with a fixed set of keys.
fn all_nested(tables: &[Table], keys: &[Key]) -> toml::Value {
    let mut values = Vec::with_capacity(tables.len());
    for table in tables {
        let value = nested(table, keys);
        values.push(value);
    }
    toml::Value::Array(values)
}

/// A table with a fixed set of keys.
fn nested(table: &Table, keys: &[Key]) -> toml::Value {
    let layer = Layers(vec![table]);
    let values = layer.collect(keys);
    values.into()
}

/// A path, relative to the file that the path was written in.
fn beside_file(path: &str, place: &Place) -> toml::Value {
    let file = place.file();
    let Some(folder) = file.and_then(Path::parent) else {
        return path.into();
    };

    let path = folder.join(path);
    let text = path.to_string_lossy();
    text.into_owned().into()
}
