//! Sizes and words of one crate, with the findings that have a place in a file.

use std::cmp::Reverse;

use super::figures;
use super::source::Source;
use super::syntax::Function;
use super::words::{self, Words};

/// Tokens of any function without a comment that gives the reason.
const TOKENS_MOST: usize = 400;
/// Columns of a line.
const COLUMNS: usize = 100;
/// Production lines of a file that are noted.
const FILE_LINES_NOTED: usize = 800;
/// Production lines of a file at most.
const FILE_LINES_MOST: usize = 1_000;
/// How many of the longest functions and files are listed.
const WORST_FUNCTIONS: usize = 20;
const LONGEST_FILES: usize = 5;

/// The measures of one crate or of the whole.
#[derive(Debug, Default)]
pub(super) struct Measures {
    /// Functions with their places: `file:line name`.
    pub(super) functions: Vec<(String, Function)>,
    pub(super) words: Words,
    /// Files with their production lines.
    files: Vec<(String, usize)>,
    /// Findings of width and of first words of sentences.
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
        self.add_words(&name, &source);
        self.add_wide_lines(&name, &source);
        self.files.push((name.clone(), source.lines().count()));

        for function in source.syntax.functions {
            let place = function.place(&name);
            self.functions.push((place, function));
        }
    }

    fn add_words(&mut self, name: &str, source: &Source) {
        for block in words::blocks(source.comments()) {
            self.words.add(block.words());

            for (line, word) in block.pronouns_first() {
                self.placed
                    .push(format!("{name}:{line}: a sentence starts with \"{word}\""));
            }
        }
    }

    fn add_wide_lines(&mut self, name: &str, source: &Source) {
        for (number, line) in source.lines() {
            let columns = line.chars().count();

            if columns > COLUMNS && !may_be_wide(source, number, line) {
                self.placed.push(format!(
                    "{name}:{number}: {columns} columns (at most {COLUMNS})"
                ));
            }
        }
    }

    /// Adds the measures of another crate, except findings.
    pub(super) fn include(&mut self, other: &Measures) {
        self.functions.extend_from_slice(&other.functions);
        self.files.extend_from_slice(&other.files);
        self.words.add(other.words);
    }

    /// A sum over all functions.
    pub(super) fn sum(&self, part: fn(&Function) -> usize) -> usize {
        self.functions
            .iter()
            .map(|(_, function)| part(function))
            .sum()
    }

    /// Nine of ten functions have at most so many tokens (nearest rank).
    pub(super) fn tokens_90th(&self) -> Option<f64> {
        let mut tokens: Vec<usize> = self
            .functions
            .iter()
            .map(|(_, function)| function.tokens)
            .collect();
        tokens.sort_unstable();

        let rank = (tokens.len() * 9).div_ceil(10);
        let index = rank.checked_sub(1)?;
        Some(tokens[index] as f64)
    }

    /// All breaches of the limits.
    pub(super) fn findings(&self, name: &str) -> Vec<String> {
        let functions = self.functions.iter().filter_map(function_finding);
        let files = self
            .files
            .iter()
            .filter(|(_, lines)| *lines > FILE_LINES_MOST)
            .map(long_file);

        figures::findings(name, self)
            .into_iter()
            .chain(functions)
            .chain(files)
            .chain(self.placed.iter().cloned())
            .collect()
    }

    /// Files on the way to being too long.
    pub(super) fn notes(&self) -> Vec<String> {
        let noted = FILE_LINES_NOTED + 1..=FILE_LINES_MOST;
        self.files
            .iter()
            .filter(|(_, lines)| noted.contains(lines))
            .map(long_file)
            .collect()
    }

    /// The functions with most tokens, one a line.
    pub(super) fn worst_functions(&self) -> Vec<String> {
        let mut functions: Vec<_> = self.functions.iter().collect();
        functions.sort_by_key(|(_, function)| Reverse(function.tokens));
        functions.truncate(WORST_FUNCTIONS);

        let mut lines = Vec::new();
        for (place, function) in functions {
            let tokens = function.tokens;
            let density = function.density();
            lines.push(format!(
                "{tokens:>6} tokens, {density:>5.2} a line  {place}"
            ));
        }
        lines
    }

    /// The longest files, one a line.
    pub(super) fn longest_files(&self) -> Vec<String> {
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|(_, lines)| Reverse(*lines));
        files.truncate(LONGEST_FILES);

        files
            .into_iter()
            .map(|(name, lines)| format!("{lines:>6} production lines  {name}"))
            .collect()
    }
}

/// Whether nobody can break a line: URLs in comments, and string literals, which rustfmt leaves.
fn may_be_wide(source: &Source, number: usize, line: &str) -> bool {
    let lexed = &source.lexed;
    let in_comment = lexed
        .comments
        .iter()
        .any(|comment| comment.lines.contains(&number));
    if in_comment {
        return line.contains("://");
    }

    lexed.strings.iter().any(|lines| lines.contains(&number))
}

fn function_finding((place, function): &(String, Function)) -> Option<String> {
    let tokens = function.tokens;
    if tokens <= TOKENS_MOST || function.long_because {
        return None;
    }

    Some(format!(
        "{place}: {tokens} tokens (at most {TOKENS_MOST}, or \"// tidy: long because …\")"
    ))
}

fn long_file((name, lines): &(String, usize)) -> String {
    format!(
        "{name}: {lines} production lines (aim for {FILE_LINES_NOTED}, at most {FILE_LINES_MOST})"
    )
}
