//! What a comparison found, for people and for programs.

use std::fmt::Write as _;

use distributary_core::clock::Millis;
use serde::Serialize;

use super::compare::{Comparison, Kind};
use super::examples::Example;
use crate::show;

/// Which differences do not count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tolerance {
    /// Repeated records.
    pub(crate) repeats: bool,
    /// The order of records.
    pub(crate) order: bool,
}

/// One copy with what was found.
pub(crate) struct Copy {
    /// Its name, as the user gave it.
    pub(crate) name: String,
    pub(crate) comparison: Comparison,
    /// The first records of each kind of difference.
    pub(crate) examples: Vec<(Kind, Vec<Example>)>,
}

/// A comparison of a source with its copies.
pub(crate) struct Report {
    /// The source's name, as the user gave it.
    pub(crate) source: String,
    /// What the streams held at this moment was compared.
    pub(crate) at: Millis,
    pub(crate) tolerance: Tolerance,
    pub(crate) copies: Vec<Copy>,
}

/// All kinds, in the order in which they are shown.
pub(crate) const KINDS: [Kind; 4] = [Kind::Missing, Kind::Extra, Kind::Repeated, Kind::OutOfOrder];

impl Kind {
    /// True if its examples are records of the source; otherwise they are the copy's.
    pub(crate) fn is_of_source(self) -> bool {
        match self {
            Self::Missing => true,
            Self::Extra | Self::Repeated | Self::OutOfOrder => false,
        }
    }

    /// As the user reads it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Repeated => "repeated",
            Self::OutOfOrder => "out of order",
        }
    }
}

impl Tolerance {
    fn allows(self, kind: Kind) -> bool {
        match kind {
            Kind::Missing | Kind::Extra => false,
            Kind::Repeated => self.repeats,
            Kind::OutOfOrder => self.order,
        }
    }

    /// True if nothing was found that counts.
    pub(crate) fn same(self, found: &Comparison) -> bool {
        KINDS
            .iter()
            .all(|kind| found.of(*kind).count == 0 || self.allows(*kind))
    }
}

impl Report {
    /// True if every copy is the same as the source.
    pub(crate) fn same(&self) -> bool {
        self.copies
            .iter()
            .all(|copy| self.tolerance.same(&copy.comparison))
    }

    /// The names of the copies that differ.
    pub(crate) fn different(&self) -> impl Iterator<Item = &str> {
        let differs = |copy: &&Copy| !self.tolerance.same(&copy.comparison);
        self.copies
            .iter()
            .filter(differs)
            .map(|copy| copy.name.as_str())
    }

    /// Records that copies have more often than the source, in all.
    pub(crate) fn repeats(&self) -> u64 {
        self.copies
            .iter()
            .map(|copy| copy.comparison.of(Kind::Repeated).count)
            .sum()
    }

    /// Records of the source.
    pub(crate) fn source_records(&self) -> u64 {
        self.copies.first().map_or(0, |copy| copy.comparison.source)
    }

    /// The table and the examples.
    pub(crate) fn text(&self) -> String {
        let mut text = self.table();
        for copy in &self.copies {
            for (kind, examples) in copy
                .examples
                .iter()
                .filter(|(_, examples)| !examples.is_empty())
            {
                let count = copy.comparison.of(*kind).count;
                let whose = if kind.is_of_source() {
                    "of the source"
                } else {
                    "of the copy"
                };
                let shown = match u64::try_from(examples.len()) {
                    Ok(n) if n < count => format!("the first {n} of {}", show::count(count)),
                    _ => show::records(count),
                };
                // Writing to a string does not fail.
                let _ = writeln!(
                    text,
                    "\n{}: {} ({shown} {whose})",
                    label(&copy.name),
                    kind.name()
                );
                for example in examples {
                    text.push_str(&example_text(example));
                }
            }
        }
        text
    }

    /// The table alone: a line for each copy.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![["", "records"].map(str::to_owned).to_vec()];
        rows[0].extend(KINDS.iter().map(|kind| kind.name().to_owned()));
        rows[0].push(String::new());
        rows.push(vec![
            label(&self.source),
            show::count(self.source_records()),
        ]);
        for copy in &self.copies {
            let found = &copy.comparison;
            let mut row = vec![label(&copy.name), show::count(found.copy)];
            row.extend(KINDS.iter().map(|kind| show::count(found.of(*kind).count)));
            row.push(
                if self.tolerance.same(found) {
                    "same"
                } else {
                    "DIFFERENT"
                }
                .to_owned(),
            );
            rows.push(row);
        }
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |i: usize| {
            rows.iter()
                .filter_map(|row| row.get(i))
                .map(|cell| cell.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..columns).map(|i| width(i).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in rows {
            let mut line = String::new();
            for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = match i {
                    0 => write!(line, "{cell:<width$}"),
                    i if i + 1 == columns => write!(line, "  {cell}"),
                    _ => write!(line, "  {cell:>width$}"),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The same as one JSON object.
    pub(crate) fn json(&self) -> serde_json::Value {
        let copies: Vec<JsonCopy<'_>> = self
            .copies
            .iter()
            .map(|copy| JsonCopy::new(copy, self.tolerance))
            .collect();
        serde_json::json!({
            "same": self.same(),
            "at": show::time(self.at),
            "from": self.source,
            "records": self.source_records(),
            "to": copies,
        })
    }
}

/// A stream's name for a table: of an ARN only the end, unless it would be taken for something else.
fn label(name: &str) -> String {
    match name.parse::<distributary_wire::arn::StreamArn>() {
        Ok(arn) => format!("{}/{}", arn.region, arn.name),
        Err(_) => show::escape(name.as_bytes()),
    }
}

fn example_text(example: &Example) -> String {
    let Some(found) = &example.found else {
        return format!(
            "  {}, a record that retention has deleted meanwhile\n",
            example.shard
        );
    };
    let key = found.key.as_ref().map_or("no key".to_owned(), |key| {
        format!("key {}", show::escape(key.as_bytes()))
    });
    let more = if found.excerpt.len() < found.len {
        "…"
    } else {
        ""
    };
    format!(
        "  {} {}\n    {key}, {}{}{}{more}\n",
        example.shard,
        found.sequence,
        show::bytes(found.len as u64),
        if found.len == 0 { "" } else { ": " },
        show::escape(&found.excerpt),
    )
}

#[derive(Serialize)]
struct JsonCopy<'a> {
    stream: &'a str,
    same: bool,
    records: u64,
    missing: u64,
    extra: u64,
    repeated: u64,
    out_of_order: u64,
    examples: Vec<JsonExample<'a>>,
}

#[derive(Serialize)]
struct JsonExample<'a> {
    kind: &'static str,
    shard: &'a str,
    sequence: Option<&'a str>,
    key: Option<&'a str>,
    bytes: Option<usize>,
}

impl<'a> JsonCopy<'a> {
    fn new(copy: &'a Copy, tolerance: Tolerance) -> Self {
        let count = |kind| copy.comparison.of(kind).count;
        let examples = copy.examples.iter().flat_map(|(kind, examples)| {
            examples.iter().map(|example| JsonExample {
                kind: kind.name(),
                shard: example.shard.as_str(),
                sequence: example.found.as_ref().map(|f| f.sequence.as_str()),
                key: example.found.as_ref().and_then(|f| f.key.as_deref()),
                bytes: example.found.as_ref().map(|f| f.len),
            })
        });
        Self {
            stream: &copy.name,
            same: tolerance.same(&copy.comparison),
            records: copy.comparison.copy,
            missing: count(Kind::Missing),
            extra: count(Kind::Extra),
            repeated: count(Kind::Repeated),
            out_of_order: count(Kind::OutOfOrder),
            examples: examples.collect(),
        }
    }
}
