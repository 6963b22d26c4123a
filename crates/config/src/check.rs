//! Unknown keys and wrong values of a file: all of them, not only the first.

use distributary_adapters::keys::{Absent, Form, Key};
use distributary_adapters::kind::{self, Kind};
use distributary_adapters::values::{Expected, nearest};

use crate::keys::{
    self, EVERY_OUTPUT, EVERY_SOURCE, FAN_OUT_LIST, NESTED_OUTPUT, OUTPUT, SOURCE, STREAMS, TAG,
    TYPE,
};
use crate::mistake::Mistakes;
use crate::pumps::{PUMP, PUMP_KEYS};
use crate::registry::Registry;
use crate::table::{Entry, Table, Value};

/// The place to move a key to that stands in the wrong table.
const TOP: &str = "the top of the file, before the first [[output]]";

/// Checks the tables of the file `root`.
pub fn check(root: &Table, registry: &Registry) -> Mistakes {
    let mut checker = Checker {
        registry,
        top: registry.top_keys(),
        mistakes: Mistakes::default(),
    };
    checker.root(root);
    checker.mistakes
}

struct Checker<'a> {
    registry: &'a Registry,
    top: Vec<&'static Key>,
    mistakes: Mistakes,
}

/// A table to check, and the keys that belong there.
struct Level<'a> {
    /// The table's name in messages, with a space behind it; empty at the top.
    prefix: String,
    known: Vec<&'static Key>,
    /// Keys with tables for values.
    nested: &'a [&'a str],
}

impl Checker<'_> {
    fn root(&mut self, root: &Table) {
        let level = Level {
            prefix: String::new(),
            known: self.top.clone(),
            nested: &[OUTPUT, SOURCE, FAN_OUT_LIST, PUMP],
        };
        self.keys(root, &level);
        self.nested(root, "");
        self.pumps(root);

        self.list(root, FAN_OUT_LIST, "from = \"NAME\"");
        let fan_outs = root.tables(FAN_OUT_LIST);
        for (i, fan_out) in fan_outs.iter().enumerate() {
            let number = i + 1;
            let prefix = format!("fan-out {number} ");
            self.fan_out(fan_out, prefix);
        }
    }

    fn pumps(&mut self, root: &Table) {
        self.list(root, PUMP, "name = \"NAME\"");
        let pumps = root.tables(PUMP);
        self.each(pumps, PUMP, PUMP_KEYS);
    }

    fn fan_out(&mut self, fan_out: &Table, prefix: String) {
        self.nested(fan_out, &prefix);
        let level = Level {
            prefix,
            known: self.registry.fan_out_keys(),
            nested: &[OUTPUT, SOURCE],
        };
        self.keys(fan_out, &level);
    }

    /// The source and the outputs in the top of the file or in a fan-out.
    fn nested(&mut self, table: &Table, prefix: &str) {
        self.is_table(table);
        if let Some(source) = table.table(SOURCE) {
            let kinds = self.registry.sources.clone();
            let prefix = format!("{prefix}source ");
            self.of_kind(source, prefix, &kinds, EVERY_SOURCE);
        }

        self.list(table, OUTPUT, "stream = \"NAME\"");
        let outputs = table.tables(OUTPUT);
        for (i, output) in outputs.iter().enumerate() {
            let kinds = self.registry.outputs.clone();
            let number = i + 1;
            let prefix = format!("{prefix}output {number} ");
            self.of_kind(output, prefix, &kinds, EVERY_OUTPUT);
        }
    }

    /// Reports a source that is no table.
    fn is_table(&mut self, table: &Table) {
        let Some(entry) = table.entries.get(SOURCE) else {
            return;
        };
        if !matches!(entry.value, Value::Table(_)) {
            let message = "key source: expected a table: [source] on a line, then stream = \
                           \"NAME\"; or write from = \"NAME\"";
            self.mistakes.add(&entry.place, message);
        }
    }

    /// Reports a key that should be a list of tables and is something else.
    fn list(&mut self, table: &Table, key: &str, example: &str) {
        if let Some(entry) = table.entries.get(key)
            && !matches!(entry.value, Value::Tables(_))
        {
            let message = format!(
                "key {key}: expected a table for each {key}: [[{key}]] on a line, then {example}"
            );
            self.mistakes.add(&entry.place, message);
        }
    }

    /// A table with keys that depend on the kind.
    fn of_kind<S>(
        &mut self,
        table: &Table,
        prefix: String,
        kinds: &[Kind<S>],
        every: &'static [Key],
    ) {
        // The other keys mean nothing without the kind.
        let Some(kind) = self.kind(table, &prefix, kinds) else {
            return;
        };

        let known: Vec<&'static Key> = every.iter().chain(kind.keys).collect();
        let mut found_by = [STREAMS, TAG].into_iter();
        let is_found = found_by.any(|key| table.entries.contains_key(key));
        let named_by = kind.listed_by.filter(|_| is_found);
        let mut expected = known.clone();
        expected.retain(|key| Some(key.name) != named_by);
        self.missing(table, &expected, &prefix);
        let level = Level {
            prefix,
            known,
            nested: &[],
        };
        self.keys(table, &level);
    }

    /// The kind that a table names, or the default one.
    fn kind<'k, S>(
        &mut self,
        table: &Table,
        prefix: &str,
        kinds: &'k [Kind<S>],
    ) -> Option<&'k Kind<S>> {
        let Some((name, place)) = table.text(TYPE) else {
            return kinds.first();
        };
        let found = kind::find(kinds, name);
        let found = found.map_err(|expected: Expected| {
            let message = format!("key {prefix}{TYPE}: {expected}");
            Mistakes::one(place, message)
        });
        self.mistakes.take(found)
    }

    /// Required keys that `table` has not.
    fn missing(&mut self, table: &Table, known: &[&'static Key], prefix: &str) {
        for key in known {
            let is_required = key.absent == Absent::Required;
            if is_required && !table.entries.contains_key(key.name) {
                let message = format!("{prefix}missing key {:?}: {}", key.name, key.help);
                self.mistakes.add(&table.place, message);
            }
        }
    }

    /// Each key of `table`: known, and with a value of the key's form.
    fn keys(&mut self, table: &Table, level: &Level<'_>) {
        for (name, entry) in &table.entries {
            if level.nested.contains(&name.as_str()) {
                continue;
            }
            match keys::find(&level.known, name) {
                Some(key) => self.value(key, entry, &level.prefix),
                None => {
                    let hint = self.hint(name, level);
                    let message = format!("{}key {name:?} is not known; {hint}", level.prefix);
                    self.mistakes.add(&entry.key_place, message);
                }
            }
        }
    }

    fn value(&mut self, key: &'static Key, entry: &Entry, prefix: &str) {
        let name = key.name;
        let name = format!("{prefix}{name}");
        match (&entry.value, key.form) {
            (Value::Plain(value), form) => {
                if let Err(expected) = form.check(value) {
                    self.unexpected(&name, entry, &expected.0);
                }
            }
            (Value::Table(table), form) if form.takes_table() => {
                let prefix = format!("{name} ");
                self.nested_table(key, table, prefix);
            }
            (Value::Tables(tables), Form::Tables(keys)) => {
                self.each(tables, &name, keys);
            }
            (Value::Table(_) | Value::Tables(_), form) => {
                let expected = form.placeholder();
                let expected = format!("a table: expected {expected}");
                self.unexpected(&name, entry, &expected);
            }
        }
    }

    /// Reports a value of another form.
    fn unexpected(&mut self, name: &str, entry: &Entry, expected: &str) {
        let message = format!("key {name}: {expected}");
        self.mistakes.add(&entry.place, message);
    }

    /// The value of a key that takes a table.
    fn nested_table(&mut self, key: &Key, table: &Table, prefix: String) {
        let Form::Table(keys) = key.form else {
            let kinds = self.registry.outputs.clone();
            self.of_kind(table, prefix, &kinds, NESTED_OUTPUT);
            return;
        };
        self.of_keys(table, prefix, keys);
    }

    /// Tables of a list, each with a fixed set of keys.
    fn each(&mut self, tables: &[Table], name: &str, keys: &'static [Key]) {
        for (i, table) in tables.iter().enumerate() {
            let number = i + 1;
            let prefix = format!("{name} {number} ");
            self.of_keys(table, prefix, keys);
        }
    }

    /// A table with a fixed set of keys.
    fn of_keys(&mut self, table: &Table, prefix: String, keys: &'static [Key]) {
        let known: Vec<&'static Key> = keys.iter().collect();
        self.missing(table, &known, &prefix);
        let level = Level {
            prefix,
            known,
            nested: &[],
        };
        self.keys(table, &level);
    }

    /// The remedy for an unknown key.
    fn hint(&self, name: &str, level: &Level<'_>) -> String {
        let at_top = level.prefix.is_empty();
        if name == "to" {
            return "an output is written [[output]] on a line, then stream = \"NAME\"".to_owned();
        }
        if at_top && self.is_key_of_outputs(name) {
            return "it belongs in [[output]]".to_owned();
        }
        if !at_top && keys::find(&self.top, name).is_some() {
            return format!("it belongs in {TOP}");
        }

        likely(name, level)
    }

    fn is_key_of_outputs(&self, name: &str) -> bool {
        let of_kinds = self.registry.outputs.iter().flat_map(|kind| kind.keys);
        EVERY_OUTPUT
            .iter()
            .chain(of_kinds)
            .any(|key| key.name == name)
    }
}

/// The known key that was probably meant, or all of them.
fn likely(name: &str, level: &Level<'_>) -> String {
    let mut names = keys::names(level.known.iter().copied());
    let all = names.join(", ");
    names.extend(level.nested);
    match nearest(name, names.into_iter()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("expected one of {all}"),
    }
}
