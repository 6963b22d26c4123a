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
    fn count(&mut self, word: &str) {
        let word = word.to_lowercase();
        self.total += 1;

        if VAGUE.contains(&word.as_str()) {
            self.vague += 1;
        }
        if BACKWARD.contains(&word.as_str()) {
            self.backward += 1;
        }
    }

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
    /// No code stands before the block, so that the next line can continue the text.
    open: bool,
}

/// Joins comments on consecutive lines. A comment behind code is a block of its own.
pub(super) fn blocks<'a>(comments: impl Iterator<Item = &'a Comment>) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();

    for comment in comments {
        let last = blocks.last_mut();
        match last.filter(|block| block.continues_with(comment)) {
            Some(block) => block.add(comment),
            None => blocks.push(Block::of(comment)),
        }
    }
    blocks
}

impl Block {
    fn of(comment: &Comment) -> Self {
        let mut block = Self {
            lines: Vec::new(),
            kind: comment.kind,
            open: comment.alone,
        };

        block.add(comment);
        block
    }

    fn add(&mut self, comment: &Comment) {
        let first_line = *comment.lines.start();
        let texts = comment.text.split('\n').map(str::to_owned);
        self.lines.extend((first_line..).zip(texts));
    }

    fn continues_with(&self, comment: &Comment) -> bool {
        let next_line = self.lines.last().map(|(line, _)| line + 1);
        let follows = next_line == Some(*comment.lines.start());
        follows && self.open && comment.alone && self.kind == comment.kind
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
        let mut words = Words::default();

        for (_, line) in self.prose() {
            for word in words_of(&line) {
                words.count(word);
            }
        }
        words
    }

    /// The lines and first words of sentences that start with a pronoun.
    pub(super) fn pronouns_first(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut start = Some(Start::Paragraph);

        for (number, line) in self.prose() {
            if starts_paragraph(&line) {
                start = Some(Start::Paragraph);
            }

            for part in line.split_whitespace() {
                let word = words_of(part).next().unwrap_or_default();
                if start.is_some_and(|start| start.forbids(word)) {
                    found.push((number, word.to_owned()));
                }
                start = start_after(part, start);
            }
        }
        found
    }
}

/// An empty line or an item of a list.
fn starts_paragraph(line: &str) -> bool {
    let text = line.trim_start();
    text.is_empty() || text.starts_with(['-', '*'])
}

/// Whether a sentence starts after a part of a line.
fn start_after(part: &str, before: Option<Start>) -> Option<Start> {
    let closing = [')', '"', '*', '_'];
    if part.trim_end_matches(closing).ends_with('.') {
        return Some(Start::Sentence);
    }

    // The dash of a list comes before the first word.
    let is_word = part.contains(CODE) || words_of(part).next().is_some();
    before.filter(|_| !is_word)
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
        let counts = match self {
            Start::Paragraph => true,
            Start::Sentence => word.starts_with(char::is_uppercase),
        };
        let small = word.to_lowercase();
        counts && FIRST.contains(&small.as_str())
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
