//! The language of comments: rates of pronouns, and first words of sentences.

use super::lex::{Comment, CommentKind};

/// Pronouns for persons and things without a name.
const VAGUE: &[&str] = &["what", "who", "whoever", "whose", "those", "whatever"];

/// Pronouns that refer back to something named before.
const BACKWARD: &[&str] = &["it", "its"];

/// No sentence starts with one of these.
const FIRST: &[&str] = &[
    "what", "who", "whoever", "whose", "those", "it", "they", "nobody", "somebody",
];

/// Stands for code in a sentence.
const CODE: &str = "·";

/// The words of comments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) total: usize,
    /// Of the list `VAGUE`.
    pub(super) vague: usize,
    /// Of the list `BACKWARD`.
    pub(super) backward: usize,
}

impl Words {
    pub(super) fn add(&mut self, other: Words) {
        self.total += other.total;
        self.vague += other.vague;
        self.backward += other.backward;
    }
}

/// Comments that are read as one text.
#[derive(Debug)]
pub(super) struct Block {
    lines: Vec<(usize, String)>,
    kind: CommentKind,
    open: bool,
}

/// Joins comments on consecutive lines. A comment behind code is a block of its own.
pub(super) fn blocks<'a>(comments: impl Iterator<Item = &'a Comment>) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for comment in comments {
        let lines = comment.text.lines().map(str::to_owned);
        let lines = (comment.line..).zip(lines);

        match blocks.last_mut() {
            Some(block) if block.continues_with(comment) => block.lines.extend(lines),
            _ => blocks.push(Block {
                lines: lines.collect(),
                kind: comment.kind,
                open: comment.alone,
            }),
        }
    }

    blocks
}

impl Block {
    fn continues_with(&self, comment: &Comment) -> bool {
        let next = self.lines.last().map_or(0, |(line, _)| line + 1);
        self.open && comment.alone && self.kind == comment.kind && comment.line == next
    }

    /// The prose with line numbers: code between backticks replaced, fenced code left out.
    fn prose(&self) -> Vec<(usize, String)> {
        let mut fenced = false;
        let mut in_code = false;
        let mut prose = Vec::new();

        for (number, line) in &self.lines {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            } else if !fenced {
                prose.push((*number, without_code(line, &mut in_code)));
            }
        }
        prose
    }

    /// Counts the words of the prose.
    pub(super) fn words(&self) -> Words {
        let prose = self.prose();
        let mut words = Words::default();

        for word in prose.iter().flat_map(|(_, line)| words_of(line)) {
            let word = word.to_lowercase();
            words.total += 1;
            words.vague += usize::from(VAGUE.contains(&word.as_str()));
            words.backward += usize::from(BACKWARD.contains(&word.as_str()));
        }
        words
    }

    /// The lines and first words of sentences that start with a pronoun.
    pub(super) fn pronouns_first(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut first = Some(Start::Paragraph);

        for (number, line) in self.prose() {
            let item = line.trim_start().starts_with(['-', '*']);
            if item || line.trim().is_empty() {
                first = Some(Start::Paragraph);
            }
            for part in line.split_whitespace() {
                let word = words_of(part).next().unwrap_or_default();
                let marker = word.is_empty() && !part.contains(CODE);
                if first.is_some_and(|start| start.forbids(word)) {
                    found.push((number, word.to_owned()));
                }

                let ends = part.trim_end_matches([')', '"', '*', '_']).ends_with('.');
                first = if ends {
                    Some(Start::Sentence)
                } else {
                    // The dash or number of a list comes before the first word.
                    first.filter(|_| marker)
                };
            }
        }
        found
    }
}

/// The place before a word at which a sentence starts.
#[derive(Clone, Copy)]
enum Start {
    /// The start of a block or paragraph: small first letters count, too.
    Paragraph,
    /// After a full stop: only capitals count, as the stop can be an abbreviation's.
    Sentence,
}

impl Start {
    fn forbids(self, word: &str) -> bool {
        let capital = word.starts_with(char::is_uppercase);
        let counts = capital || matches!(self, Start::Paragraph);
        counts && FIRST.contains(&word.to_lowercase().as_str())
    }
}

/// A line with each stretch of code replaced by one sign; `in_code` lives on to the next line.
fn without_code(line: &str, in_code: &mut bool) -> String {
    let mut prose = String::new();
    for (index, part) in line.split('`').enumerate() {
        if index > 0 {
            *in_code = !*in_code;
        }
        prose.push_str(if *in_code { CODE } else { part });
    }
    prose
}

/// The words of a text; "it's" counts as "it".
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’');
    parts
        .map(|part| part.split(['\'', '’']).next().unwrap_or_default())
        .filter(|word| word.contains(char::is_alphabetic))
}
