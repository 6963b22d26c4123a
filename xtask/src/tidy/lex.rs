//! Tokens and comments of a file. The lexer drops comments; the gaps between tokens hold them.

use std::ops::{Range, RangeInclusive};

use proc_macro2::{TokenStream, TokenTree};

/// Operators of more than one character, longest first.
const OPERATORS: &[&str] = &[
    "<<=", ">>=", "...", "..=", "::", "->", "=>", "==", "!=", "<=", ">=", "&&", "||", "+=", "-=",
    "*=", "/=", "%=", "^=", "&=", "|=", "<<", ">>", "..",
];

/// A comment's marker decides where a block of comments ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommentKind {
    /// `//` or `/* */`.
    Plain,
    /// `///` or `/** */`.
    Outer,
    /// `//!` or `/*! */`.
    Inner,
}

/// One `//` line or one `/* */` block.
#[derive(Debug)]
pub(super) struct Comment {
    /// First line, counted from 1.
    pub(super) line: usize,
    /// Last line, counted from 1.
    pub(super) last_line: usize,
    /// No code stands before the comment on the first line.
    pub(super) alone: bool,
    pub(super) kind: CommentKind,
    /// The text without the markers.
    pub(super) text: String,
}

impl Comment {
    pub(super) fn lines(&self) -> RangeInclusive<usize> {
        self.line..=self.last_line
    }
}

/// The tokens and comments of one file.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    /// The bytes of each token, in order. A token is an identifier, a lifetime, a literal, an
    /// operator as rustc lexes operators, or one delimiter (opening and closing count one each).
    /// Comments, doc comments among them, are no tokens.
    pub(super) tokens: Vec<Range<usize>>,
    /// In order.
    pub(super) comments: Vec<Comment>,
    /// The first byte of each line.
    line_starts: Vec<usize>,
    /// The lines of string literals, counted from 1.
    pub(super) strings: Vec<RangeInclusive<usize>>,
}

impl Lexed {
    /// The line of a byte, counted from 1.
    pub(super) fn line_at(&self, byte: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= byte)
    }

    /// How many tokens start in a range of bytes.
    pub(super) fn tokens_in(&self, bytes: &Range<usize>) -> usize {
        let before = |byte: usize| self.tokens.partition_point(|token| token.start < byte);
        before(bytes.end) - before(bytes.start)
    }

    /// Whether nothing but a comment stands on a line.
    pub(super) fn only_comment(&self, line: usize) -> bool {
        let mut comments = self.comments.iter();
        comments.any(|comment| comment.alone && comment.lines().contains(&line))
    }

    fn token(&mut self, bytes: Range<usize>) -> usize {
        let end = bytes.end;
        self.tokens.push(bytes);
        end
    }

    fn literal(&mut self, text: &str, bytes: Range<usize>) -> usize {
        if text[bytes.clone()].contains('"') {
            let lines = self.line_at(bytes.start)..=self.line_at(bytes.end - 1);
            self.strings.push(lines);
        }
        self.token(bytes)
    }

    /// Finds the comments between two tokens, where nothing but space and comments can be.
    fn gap(&mut self, text: &str, gap: Range<usize>) {
        let mut at = gap.start;
        while let Some(found) = text[at..gap.end].find('/') {
            let start = at + found;
            let rest = &text[start..gap.end];
            let length = if rest.starts_with("/*") {
                block_length(rest)
            } else {
                rest.find('\n').unwrap_or(rest.len())
            };
            at = self.comment(text, start..start + length);
        }
    }

    fn comment(&mut self, text: &str, bytes: Range<usize>) -> usize {
        let raw = &text[bytes.clone()];
        let (kind, words) = match raw.as_bytes().get(2) {
            Some(b'!') => (CommentKind::Inner, &raw[3..]),
            Some(b'/' | b'*') if raw.len() > 2 => (CommentKind::Outer, &raw[3..]),
            _ => (CommentKind::Plain, &raw[2..]),
        };

        let line = self.line_at(bytes.start);
        let before = &text[self.line_starts[line - 1]..bytes.start];
        self.comments.push(Comment {
            line,
            last_line: self.line_at(bytes.end - 1),
            alone: before.trim().is_empty(),
            kind,
            text: words.trim_end_matches("*/").to_owned(),
        });
        bytes.end
    }
}

/// The length of the `/* */` block, possibly nested, at the start of a text.
fn block_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;

    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let step = if rest.starts_with(b"/*") {
            depth += 1;
            2
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };

        at += step;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Takes a file's tokens and comments apart.
pub(super) fn lex(text: &str, stream: TokenStream) -> Lexed {
    let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
    let mut lexed = Lexed {
        line_starts: std::iter::once(0).chain(newlines).collect(),
        ..Lexed::default()
    };

    let mut pieces = Vec::new();
    flatten(stream, &mut pieces);
    let mut end = 0;

    for (index, (kind, bytes)) in pieces.iter().enumerate() {
        // A character of an operator or lifetime that is taken already.
        if bytes.start < end {
            continue;
        }
        lexed.gap(text, end..bytes.start);
        end = match kind {
            Piece::Doc => lexed.comment(text, bytes.clone()),
            Piece::Punctuation => {
                let end = punctuation_end(text, bytes, pieces.get(index + 1));
                lexed.token(bytes.start..end)
            }
            Piece::Literal => lexed.literal(text, bytes.clone()),
            Piece::Other => lexed.token(bytes.clone()),
        };
    }

    lexed.gap(text, end..text.len());
    lexed
}

/// A leaf of the token tree, before operators are put together.
enum Piece {
    /// A doc comment.
    Doc,
    /// One character.
    Punctuation,
    Literal,
    /// An identifier or a delimiter.
    Other,
}

fn flatten(stream: TokenStream, pieces: &mut Vec<(Piece, Range<usize>)>) {
    let mut trees = stream.into_iter();

    while let Some(tree) = trees.next() {
        let bytes = tree.span().byte_range();
        match tree {
            // A doc comment is lexed as `#[doc = …]`, each part with the comment's place.
            TokenTree::Punct(_) if bytes.len() > 1 => {
                let attribute = trees.find(|tree| matches!(tree, TokenTree::Group(_)));
                pieces.extend(attribute.map(|_| (Piece::Doc, bytes)));
            }
            TokenTree::Punct(_) => pieces.push((Piece::Punctuation, bytes)),
            TokenTree::Literal(_) => pieces.push((Piece::Literal, bytes)),
            TokenTree::Ident(_) => pieces.push((Piece::Other, bytes)),
            TokenTree::Group(group) => {
                pieces.push((Piece::Other, group.span_open().byte_range()));
                flatten(group.stream(), pieces);
                pieces.push((Piece::Other, group.span_close().byte_range()));
            }
        }
    }
}

/// The byte after the operator or lifetime that starts with this character.
fn punctuation_end(
    text: &str,
    first: &Range<usize>,
    next: Option<&(Piece, Range<usize>)>,
) -> usize {
    let rest = &text[first.start..];
    if rest.starts_with('\'') {
        return next.map_or(first.end, |(_, name)| name.end);
    }

    let mut operators = OPERATORS.iter();
    let operator = operators.find(|operator| rest.starts_with(**operator));
    operator.map_or(first.end, |operator| first.start + operator.len())
}
