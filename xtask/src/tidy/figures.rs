//! The figures of the table of measures, and the limits.

use super::measures::Measures;

/// A bound of a figure.
#[derive(Clone, Copy)]
enum Limit {
    Most(f64),
    Least(f64),
}

/// One column of the table.
struct Figure {
    /// The head of the column.
    head: &'static str,
    /// Names the figure in a finding, behind the value.
    unit: &'static str,
    decimals: usize,
    limit: Limit,
    /// None for a crate with nothing to measure.
    of: fn(&Measures) -> Option<f64>,
}

const FIGURES: &[Figure] = &[
    Figure {
        head: "p90 tokens",
        unit: "tokens, the 90th percentile of functions",
        decimals: 0,
        limit: Limit::Most(160.0),
        of: Measures::tokens_90th,
    },
    Figure {
        head: "tokens/line",
        unit: "tokens a line of code in functions",
        decimals: 2,
        limit: Limit::Most(7.0),
        of: |measures| {
            rate(
                measures.sum(|f| f.body_tokens),
                measures.sum(|f| f.code_lines),
                1.0,
            )
        },
    },
    Figure {
        head: "blank %",
        unit: "% blank lines in functions",
        decimals: 2,
        limit: Limit::Least(1.5),
        of: |measures| {
            rate(
                measures.sum(|f| f.blank_lines),
                measures.sum(|f| f.body_lines),
                1e2,
            )
        },
    },
    Figure {
        head: "who/what ‰",
        unit: "who/what in 1,000 words of comments",
        decimals: 1,
        limit: Limit::Most(4.0),
        of: |measures| rate(measures.words.vague, measures.words.total, 1e3),
    },
    Figure {
        head: "it/its ‰",
        unit: "it/its in 1,000 words of comments",
        decimals: 1,
        limit: Limit::Most(14.0),
        of: |measures| rate(measures.words.backward, measures.words.total, 1e3),
    },
];

fn rate(part: usize, whole: usize, per: f64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * per)
}

impl Limit {
    /// The limit in words, if the value breaches the limit.
    fn breached(self, value: f64) -> Option<String> {
        match self {
            Limit::Most(limit) if value > limit => Some(format!("at most {limit}")),
            Limit::Least(limit) if value < limit => Some(format!("at least {limit}")),
            Limit::Most(_) | Limit::Least(_) => None,
        }
    }
}

impl Figure {
    fn finding(&self, measures: &Measures) -> Option<String> {
        let value = (self.of)(measures)?;
        let limit = self.limit.breached(value)?;
        let (unit, decimals) = (self.unit, self.decimals);
        Some(format!("{value:.decimals$} {unit} ({limit})"))
    }

    fn cell(&self, measures: &Measures) -> String {
        let width = self.head.chars().count();
        let decimals = self.decimals;

        match (self.of)(measures) {
            Some(value) => format!("  {value:>width$.decimals$}"),
            None => format!("  {:>width$}", "–"),
        }
    }
}

/// The first line of the table.
pub(super) fn head() -> String {
    let mut line = row_start("crate", "functions");
    for figure in FIGURES {
        line.push_str("  ");
        line.push_str(figure.head);
    }
    line
}

/// The line of a crate.
pub(super) fn row(name: &str, measures: &Measures) -> String {
    let functions = measures.functions.len().to_string();
    let mut line = row_start(name, &functions);
    for figure in FIGURES {
        line.push_str(&figure.cell(measures));
    }
    line
}

fn row_start(name: &str, functions: &str) -> String {
    format!("{name:<12}  {functions:>9}")
}

/// The limits that a crate breaches.
pub(super) fn findings(name: &str, measures: &Measures) -> Vec<String> {
    FIGURES
        .iter()
        .filter_map(|figure| figure.finding(measures))
        .map(|finding| format!("{name}: {finding}"))
        .collect()
}
