//! Tokens and comments of a file. The lexer drops comments; the gaps between tokens hold them.

use std::ops::{Range, RangeInclusive};

use proc_macro2::{Group, TokenStream, TokenTree};

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
    /// Counted from 1.
    pub(super) lines: RangeInclusive<usize>,
    /// No code stands before the comment on the first line.
    pub(super) alone: bool,
    pub(super) kind: CommentKind,
    /// The text without the markers.
    pub(super) text: String,
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
        self.comments
            .iter()
            .filter(|comment| comment.alone)
            .any(|comment| comment.lines.contains(&line))
    }

    /// The line before a byte, from the first column on.
    fn line_before<'a>(&self, text: &'a str, byte: usize) -> &'a str {
        let line = self.line_at(byte);
        let start = self.line_starts[line - 1];
        &text[start..byte]
    }
}

/// Takes a file's tokens and comments apart.
pub(super) fn lex(text: &str, stream: TokenStream) -> Lexed {
    let mut pieces = Vec::new();
    flatten(stream, &mut pieces);

    let mut lexer = Lexer::new(text);
    for (kind, bytes) in pieces {
        // Later characters of an operator or lifetime are taken with the first.
        if bytes.start >= lexer.end {
            lexer.gap(bytes.start);
            lexer.piece(kind, bytes);
        }
    }

    lexer.gap(text.len());
    lexer.lexed
}

/// A leaf of the token tree, before operators are put together.
#[derive(Clone, Copy)]
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
        let kind = match tree {
            TokenTree::Group(group) => {
                flatten_group(&group, pieces);
                continue;
            }
            // A doc comment is lexed as `#[doc = …]`, each part with the comment's place.
            TokenTree::Punct(_) if bytes.len() > 1 => {
                trees.find(|tree| matches!(tree, TokenTree::Group(_)));
                Piece::Doc
            }
            TokenTree::Punct(_) => Piece::Punctuation,
            TokenTree::Literal(_) => Piece::Literal,
            TokenTree::Ident(_) => Piece::Other,
        };

        pieces.push((kind, bytes));
    }
}

fn flatten_group(group: &Group, pieces: &mut Vec<(Piece, Range<usize>)>) {
    let open = group.span_open().byte_range();
    let close = group.span_close().byte_range();

    pieces.push((Piece::Other, open));
    flatten(group.stream(), pieces);
    pieces.push((Piece::Other, close));
}

struct Lexer<'a> {
    text: &'a str,
    /// The byte after the last token or comment.
    end: usize,
    lexed: Lexed,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str) -> Self {
        let mut lexed = Lexed::default();
        lexed.line_starts.push(0);

        for (at, _) in text.match_indices('\n') {
            lexed.line_starts.push(at + 1);
        }
        Self {
            text,
            end: 0,
            lexed,
        }
    }

    fn piece(&mut self, kind: Piece, bytes: Range<usize>) {
        match kind {
            Piece::Doc => self.comment(bytes),
            Piece::Literal => self.literal(bytes),
            Piece::Other => self.token(bytes),
            Piece::Punctuation => {
                let length = punctuation_length(&self.text[bytes.start..]);
                self.token(bytes.start..bytes.start + length);
            }
        }
    }

    fn token(&mut self, bytes: Range<usize>) {
        self.end = bytes.end;
        self.lexed.tokens.push(bytes);
    }

    fn literal(&mut self, bytes: Range<usize>) {
        let literal = &self.text[bytes.clone()];
        if literal.contains('"') {
            let lines = self.lines(&bytes);
            self.lexed.strings.push(lines);
        }
        self.token(bytes);
    }

    /// Finds the comments before the next token. Nothing but space and comments can be there.
    fn gap(&mut self, next: usize) {
        while let Some(found) = self.text[self.end..next].find('/') {
            let start = self.end + found;
            let length = comment_length(&self.text[start..next]);
            self.comment(start..start + length);
        }
    }

    fn comment(&mut self, bytes: Range<usize>) {
        let raw = &self.text[bytes.clone()];
        let (kind, marker) = match raw.as_bytes().get(2) {
            Some(b'!') => (CommentKind::Inner, 3),
            Some(b'/' | b'*') => (CommentKind::Outer, 3),
            _ => (CommentKind::Plain, 2),
        };

        let words = raw[marker..].trim_end_matches("*/");
        let before = self.lexed.line_before(self.text, bytes.start);
        self.end = bytes.end;
        self.lexed.comments.push(Comment {
            lines: self.lines(&bytes),
            alone: before.trim().is_empty(),
            kind,
            text: words.to_owned(),
        });
    }

    fn lines(&self, bytes: &Range<usize>) -> RangeInclusive<usize> {
        let first = self.lexed.line_at(bytes.start);
        let last = self.lexed.line_at(bytes.end - 1);
        first..=last
    }
}

/// The length of the operator or lifetime at the start of a text.
fn punctuation_length(text: &str) -> usize {
    if let Some(name) = text.strip_prefix('\'') {
        let after = name.find(|c: char| !c.is_alphanumeric() && c != '_');
        return 1 + after.unwrap_or(name.len());
    }

    OPERATORS
        .iter()
        .find(|operator| text.starts_with(**operator))
        .map_or(1, |operator| operator.len())
}

/// The length of the comment at the start of a text: a line, or a block of possibly nested blocks.
fn comment_length(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }

    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        at += 2;

        if rest.starts_with(b"/*") {
            depth += 1;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
        } else {
            at -= 1;
        }

        if depth == 0 {
            return at;
        }
    }
    text.len()
}
