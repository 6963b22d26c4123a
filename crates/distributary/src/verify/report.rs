//! The result of a comparison, for people and for programs.

use distributary_core::clock::Millis;
use serde::Serialize;

use super::compare::{Comparison, Kind};
use super::examples::Example;
use crate::show;

/// The differences that do not count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tolerance {
    /// Repeated records.
    pub(crate) repeats: bool,
    /// The order of records.
    pub(crate) order: bool,
}

/// The result for one copy.
pub(crate) struct Copy {
    /// The copy's name as the user wrote it.
    pub(crate) name: String,
    pub(crate) comparison: Comparison,
    /// The first records of each kind of difference.
    pub(crate) examples: Vec<(Kind, Vec<Example>)>,
}

/// The result of comparing a source with its copies.
pub(crate) struct Report {
    /// The source's name as the user wrote it.
    pub(crate) source: String,
    /// The moment whose contents were compared.
    pub(crate) at: Millis,
    pub(crate) tolerance: Tolerance,
    pub(crate) copies: Vec<Copy>,
}

/// All kinds, in the order of the report.
pub(crate) const KINDS: [Kind; 4] = [Kind::Missing, Kind::Extra, Kind::Repeated, Kind::OutOfOrder];

impl Kind {
    /// True if the examples are records of the source; false if they are the copy's.
    pub(crate) fn is_of_source(self) -> bool {
        match self {
            Self::Missing => true,
            Self::Extra | Self::Repeated | Self::OutOfOrder => false,
        }
    }

    /// The name for the user.
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

    /// True if no difference counts.
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

    /// The names of the copies that are different from the source.
    pub(crate) fn different(&self) -> impl Iterator<Item = &str> {
        let differs = |copy: &&Copy| !self.tolerance.same(&copy.comparison);
        self.copies
            .iter()
            .filter(differs)
            .map(|copy| copy.name.as_str())
    }

    /// The number of repeated records of all copies.
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
            for (kind, examples) in &copy.examples {
                if !examples.is_empty() {
                    text.push_str(&examples_text(copy, *kind, examples));
                }
            }
        }
        text
    }

    /// The table alone, one line for each copy.
    pub(crate) fn table(&self) -> String {
        let mut head = vec![String::new(), "records".to_owned()];
        for kind in KINDS {
            head.push(kind.name().to_owned());
        }
        head.push(String::new());

        let source = vec![label(&self.source), show::count(self.source_records())];
        let mut rows = vec![head, source];
        for copy in &self.copies {
            rows.push(self.row(copy));
        }
        aligned(&rows)
    }

    /// A copy's line of the table.
    fn row(&self, copy: &Copy) -> Vec<String> {
        let found = &copy.comparison;
        let mut row = vec![label(&copy.name), show::count(found.copy)];
        for kind in KINDS {
            let count = found.of(kind).count;
            row.push(show::count(count));
        }

        let verdict = if self.tolerance.same(found) {
            "same"
        } else {
            "DIFFERENT"
        };
        row.push(verdict.to_owned());
        row
    }

    /// The report as one JSON object.
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

/// Rows as lines: numbers to the right, the first and the last column to the left.
fn aligned(rows: &[Vec<String>]) -> String {
    let widths = widths(rows);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let is_last = column + 1 == widths.len();
            let padded = match column {
                0 => format!("{cell:<width$}"),
                _ if is_last => format!("  {cell}"),
                _ => format!("  {cell:>width$}"),
            };
            line.push_str(&padded);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The width of each column, in characters.
fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    widths
}

/// The examples of one kind of difference, with a heading.
fn examples_text(copy: &Copy, kind: Kind, examples: &[Example]) -> String {
    let count = copy.comparison.of(kind).count;
    let stream = if kind.is_of_source() {
        "of the source"
    } else {
        "of the copy"
    };
    let shown = match u64::try_from(examples.len()) {
        Ok(n) if n < count => format!("the first {n} of {}", show::count(count)),
        _ => show::records(count),
    };

    let (name, kind) = (label(&copy.name), kind.name());
    let mut text = format!("\n{name}: {kind} ({shown} {stream})\n");
    for example in examples {
        text.push_str(&example_text(example));
    }
    text
}

/// A stream's name for a table; of an ARN only region and name.
fn label(name: &str) -> String {
    match name.parse::<distributary_wire::arn::StreamArn>() {
        Ok(arn) => format!("{}/{}", arn.region, arn.name),
        Err(_) => show::escape(name.as_bytes()),
    }
}

fn example_text(example: &Example) -> String {
    let Some(found) = &example.found else {
        return format!(
            "  {}, a record that retention has deleted since\n",
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
            let example = |example| JsonExample::new(*kind, example);
            examples.iter().map(example)
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

impl<'a> JsonExample<'a> {
    fn new(kind: Kind, example: &'a Example) -> Self {
        let found = example.found.as_ref();
        Self {
            kind: kind.name(),
            shard: example.shard.as_str(),
            sequence: found.map(|record| record.sequence.as_str()),
            key: found.and_then(|record| record.key.as_deref()),
            bytes: found.map(|record| record.len),
        }
    }
}
