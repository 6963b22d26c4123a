//! Readability of a crate, measured in tokens and words, and the limits.

use std::fmt::{self, Display};

use super::source::Source;
use super::syntax::Function;
use super::words::{self, Words};

/// Tokens of a function: limit of the 90th percentile of a crate.
const TOKENS_90TH: usize = 160;
/// Tokens of any function without a comment that gives the reason.
const TOKENS_MOST: usize = 400;
/// Tokens a line of code inside functions.
const TOKENS_A_LINE: f64 = 7.0;
/// Least share of blank lines inside functions, in percent.
const BLANK_PERCENT: f64 = 1.5;
/// Pronouns such as "what" in 1,000 words of comments.
const VAGUE_PER_1000: f64 = 4.0;
/// The pronouns "it" and "its" in 1,000 words of comments.
const BACKWARD_PER_1000: f64 = 14.0;
/// Columns of a line.
const COLUMNS: usize = 100;
/// Production lines of a file that are noted.
const FILE_LINES_NOTED: usize = 800;
/// Production lines of a file at most.
const FILE_LINES_MOST: usize = 1_000;
/// Functions and files that are listed as the longest.
const WORST_FUNCTIONS: usize = 20;
const LONGEST_FILES: usize = 5;

/// The measures of one crate or of the whole.
#[derive(Debug, Default)]
pub(super) struct Measures {
    /// The places of functions (`file:line name`) with their sizes.
    functions: Vec<(String, Function)>,
    words: Words,
    /// Files with their production lines.
    files: Vec<(String, usize)>,
    /// Findings with a place: width, first words of sentences.
    placed: Vec<String>,
}

impl Measures {
    pub(super) fn of(sources: Vec<Source>) -> Self {
        let mut measures = Self::default();
        for source in sources {
            measures.add(source);
        }
        measures
    }

    fn add(&mut self, source: Source) {
        let name = source.path.display().to_string();
        self.files.push((name.clone(), source.lines().count()));
        self.width(&name, &source);

        for block in words::blocks(source.comments()) {
            self.words.add(block.words());
            for (line, word) in block.pronouns_first() {
                let finding = format!("{name}:{line}: a sentence starts with \"{word}\"");
                self.placed.push(finding);
            }
        }

        for function in source.syntax.functions {
            let place = format!("{name}:{} {}", function.line, function.name);
            self.functions.push((place, function));
        }
    }

    /// Finds lines that are too wide. rustfmt can't break string literals, and nobody should break
    /// a URL.
    fn width(&mut self, name: &str, source: &Source) {
        for (number, line) in source.lines() {
            let columns = line.chars().count();
            if columns <= COLUMNS {
                continue;
            }

            let mut comments = source.lexed.comments.iter();
            let exempt = if comments.any(|comment| comment.lines().contains(&number)) {
                line.contains("://")
            } else {
                let mut strings = source.lexed.strings.iter();
                strings.any(|lines| lines.contains(&number))
            };

            if !exempt {
                let finding = format!("{name}:{number}: {columns} columns (at most {COLUMNS})");
                self.placed.push(finding);
            }
        }
    }

    /// Adds the measures of another crate, except findings.
    pub(super) fn include(&mut self, other: &Measures) {
        self.functions.extend(other.functions.iter().cloned());
        self.files.extend(other.files.iter().cloned());
        self.words.add(other.words);
    }

    /// All breaches of the limits.
    pub(super) fn findings(&self, name: &str) -> Vec<String> {
        let row = self.row(name);
        let mut findings = row.findings();

        for (place, function) in &self.functions {
            if function.tokens > TOKENS_MOST && !function.long_because {
                findings.push(format!(
                    "{place}: {} tokens (at most {TOKENS_MOST}, or \"// tidy: long because …\")",
                    function.tokens
                ));
            }
        }

        let long = self
            .files
            .iter()
            .filter(|(_, lines)| *lines > FILE_LINES_MOST);
        findings.extend(long.map(file_finding));
        findings.extend(self.placed.iter().cloned());
        findings
    }

    /// Files on the way to being too long.
    pub(super) fn notes(&self) -> Vec<String> {
        let noted = FILE_LINES_NOTED + 1..=FILE_LINES_MOST;
        let files = self.files.iter();
        files
            .filter(|(_, lines)| noted.contains(lines))
            .map(file_finding)
            .collect()
    }

    /// The functions with most tokens, one a line.
    pub(super) fn worst_functions(&self) -> Vec<String> {
        let functions = self.functions.iter();
        let sized = functions.map(|(place, function)| (place, function.tokens));
        longest(sized, WORST_FUNCTIONS, "tokens")
    }

    /// The longest files, one a line.
    pub(super) fn longest_files(&self) -> Vec<String> {
        let files = self.files.iter().map(|(name, lines)| (name, *lines));
        longest(files, LONGEST_FILES, "production lines")
    }

    /// The figures of the table.
    pub(super) fn row(&self, name: &str) -> Row {
        let mut tokens: Vec<usize> = self.functions.iter().map(|(_, f)| f.tokens).collect();
        tokens.sort_unstable();
        // The nearest rank: nine of ten functions have no more tokens.
        let rank = (tokens.len() * 9).div_ceil(10);
        let sum = |part: fn(&Function) -> usize| -> usize {
            self.functions
                .iter()
                .map(|(_, function)| part(function))
                .sum()
        };

        let body_lines = sum(|f| f.body_lines);
        Row {
            name: name.to_owned(),
            functions: tokens.len(),
            tokens_90th: rank.checked_sub(1).map_or(0, |index| tokens[index]),
            tokens_a_line: rate(sum(|f| f.body_tokens), sum(|f| f.code_lines), 1.0),
            blank_percent: rate(sum(|f| f.blank_lines), body_lines, 100.0),
            vague: rate(self.words.vague, self.words.total, 1_000.0),
            backward: rate(self.words.backward, self.words.total, 1_000.0),
        }
    }
}

fn file_finding((name, lines): &(String, usize)) -> String {
    format!(
        "{name}: {lines} production lines (aim for {FILE_LINES_NOTED}, at most {FILE_LINES_MOST})"
    )
}

fn longest<'a>(
    sized: impl Iterator<Item = (&'a String, usize)>,
    most: usize,
    unit: &str,
) -> Vec<String> {
    let mut sized: Vec<_> = sized.collect();
    sized.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let first = sized.into_iter().take(most);
    first
        .map(|(name, size)| format!("{size:>6} {unit}  {name}"))
        .collect()
}

fn rate(part: usize, whole: usize, per: f64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64 * per
}

/// One row of the table of measures.
#[derive(Debug)]
pub(super) struct Row {
    name: String,
    functions: usize,
    tokens_90th: usize,
    tokens_a_line: f64,
    blank_percent: f64,
    vague: f64,
    backward: f64,
}

impl Row {
    /// The heads of the columns.
    pub(super) const HEAD: &str =
        "crate         functions  p90 tokens  tokens/line  blank %  who/what ‰  it/its ‰";

    pub(super) fn findings(&self) -> Vec<String> {
        let Row {
            name,
            tokens_90th,
            tokens_a_line,
            blank_percent,
            vague,
            backward,
            ..
        } = self;
        let has_code = *tokens_a_line > 0.0;
        let breaches = [
            (
                *tokens_90th > TOKENS_90TH,
                format!(
                    "functions' 90th percentile is {tokens_90th} tokens (at most {TOKENS_90TH})"
                ),
            ),
            (
                *tokens_a_line > TOKENS_A_LINE,
                format!("{tokens_a_line:.2} tokens a line of code (at most {TOKENS_A_LINE})"),
            ),
            (
                has_code && *blank_percent < BLANK_PERCENT,
                format!("{blank_percent:.2} % blank lines in functions (at least {BLANK_PERCENT})"),
            ),
            (
                *vague > VAGUE_PER_1000,
                format!(
                    "{vague:.1} who/what in 1,000 words of comments (at most {VAGUE_PER_1000})"
                ),
            ),
            (
                *backward > BACKWARD_PER_1000,
                format!(
                    "{backward:.1} it/its in 1,000 words of comments (at most {BACKWARD_PER_1000})"
                ),
            ),
        ];

        let breached = breaches.into_iter().filter(|(breach, _)| *breach);
        breached
            .map(|(_, text)| format!("{name}: {text}"))
            .collect()
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<12}  {:>9}  {:>10}  {:>11.2}  {:>7.2}  {:>10.1}  {:>8.1}",
            self.name,
            self.functions,
            self.tokens_90th,
            self.tokens_a_line,
            self.blank_percent,
            self.vague,
            self.backward
        )
    }
}
