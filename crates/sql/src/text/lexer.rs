//! Tokens of the dialect: comments of three kinds, folded words, quoted names, literals.

use crate::error::{ErrorClass, Issue};

/// One token and the byte offset of its first character.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) at: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    /// An unquoted word, folded to upper case.
    Word(String),
    /// A name in double quotes, as written.
    Quoted(String),
    /// A string literal, decoded.
    Text(String),
    Number(String),
    Binary(Vec<u8>),
    Symbol(&'static str),
    /// Characters that form no token; the issue is reported once a parser reaches them.
    Bad(Issue),
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 24] = [
    "||", "<>", "!=", "<=", ">=", "(", ")", ",", ";", ".", "+", "-", "*", "/", "=", "<", ">", "[",
    "]", "{", "}", ":", "?", "%",
];

const LONGEST_NAME: usize = 128;

/// Splits the text into tokens; the last one is `End`.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0 };
    let mut all = Vec::new();

    loop {
        let token = lexer.next_token();
        let done = token.kind == TokenKind::End;
        all.push(token);
        if done {
            return all;
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn next_token(&mut self) -> Token {
        if let Err(issue) = self.skip_blanks() {
            return self.bad(issue);
        }

        let start = self.at;
        let kind = self.kind().unwrap_or_else(TokenKind::Bad);
        Token {
            kind,
            at: offset(start),
        }
    }

    fn bad(&self, issue: Issue) -> Token {
        Token {
            at: issue.at,
            kind: TokenKind::Bad(issue),
        }
    }

    fn skip_blanks(&mut self) -> Result<(), Issue> {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            let rest = self.rest();

            if rest.starts_with("--") || rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.skip_block_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    fn skip_block_comment(&mut self) -> Result<(), Issue> {
        let start = self.at;
        let Some(end) = self.rest()[2..].find("*/") else {
            self.at = self.text.len();
            return Err(syntax(start, "the comment has no end; expected */"));
        };

        self.at += end + 4;
        Ok(())
    }

    fn kind(&mut self) -> Result<TokenKind, Issue> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(TokenKind::End);
        };
        let second = rest[first.len_utf8()..].chars().next();

        match first {
            '\'' => {
                let text = self.delimited('\'')?;
                Ok(TokenKind::Text(text))
            }
            '"' => self.quoted_name(),
            'x' | 'X' if second == Some('\'') => self.binary(),
            'u' | 'U' if rest[1..].starts_with("&'") => self.unicode_text(),
            'n' | 'N' if second == Some('\'') => {
                self.at += 1;
                Ok(TokenKind::Text(self.delimited('\'')?))
            }
            '0'..='9' => self.number(),
            '.' if second.is_some_and(|digit| digit.is_ascii_digit()) => self.number(),
            _ if first.is_alphabetic() || first == '_' => self.word(),
            _ => self.symbol(first),
        }
    }

    fn symbol(&mut self, first: char) -> Result<TokenKind, Issue> {
        let rest = self.rest();
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.at += symbol.len();
            return Ok(TokenKind::Symbol(symbol));
        }

        let start = self.at;
        self.at += first.len_utf8();
        Err(syntax(
            start,
            &format!("the character {first:?} is not part of the dialect"),
        ))
    }

    fn word(&mut self) -> Result<TokenKind, Issue> {
        let start = self.at;
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());

        self.at += end;
        let word = rest[..end].to_uppercase();
        within_length(start, &word)?;
        Ok(TokenKind::Word(word))
    }

    fn quoted_name(&mut self) -> Result<TokenKind, Issue> {
        let start = self.at;
        let name = self.delimited('"')?;

        within_length(start, &name)?;
        if name.is_empty() {
            return Err(syntax(start, "a quoted name must not be empty"));
        }
        if name.contains(char::is_control) {
            return Err(syntax(
                start,
                "a quoted name must not hold control characters",
            ));
        }
        Ok(TokenKind::Quoted(name))
    }

    /// The text between two `quote`s, in which a doubled one stands for itself.
    fn delimited(&mut self, quote: char) -> Result<String, Issue> {
        let start = self.at;
        let mut found = String::new();
        self.at += 1;

        loop {
            let rest = self.rest();
            let Some(end) = rest.find(quote) else {
                self.at = self.text.len();
                return Err(syntax(start, &format!("no closing {quote} follows")));
            };
            found.push_str(&rest[..end]);
            self.at += end + 1;
            if !self.rest().starts_with(quote) {
                return Ok(found);
            }
            found.push(quote);
            self.at += 1;
        }
    }

    fn binary(&mut self) -> Result<TokenKind, Issue> {
        let start = self.at;
        self.at += 1;
        let digits = self.delimited('\'')?;

        hex_bytes(&digits)
            .map(TokenKind::Binary)
            .ok_or_else(|| syntax(start, "X'…' holds pairs of hexadecimal digits"))
    }

    fn number(&mut self) -> Result<TokenKind, Issue> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        self.digits();
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits();
        }
        self.exponent();

        if self
            .rest()
            .starts_with(|c: char| c.is_alphanumeric() || c == '_')
        {
            return Err(syntax(start, "a number must not run into a word"));
        }
        Ok(TokenKind::Number(self.text[start..self.at].to_owned()))
    }

    fn digits(&mut self) {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit());
        self.at += end.unwrap_or(rest.len());
    }

    fn exponent(&mut self) {
        let rest = self.rest();
        let Some(after) = rest.strip_prefix(['e', 'E']) else {
            return;
        };
        let unsigned = after.strip_prefix(['+', '-']).unwrap_or(after);

        if unsigned.starts_with(|c: char| c.is_ascii_digit()) {
            self.at += rest.len() - unsigned.len();
            self.digits();
        }
    }

    /// `u&'\0009'`, or with a character of one's own: `u&'!0009' uescape '!'`.
    fn unicode_text(&mut self) -> Result<TokenKind, Issue> {
        let start = self.at;
        self.at += 2;
        let raw = self.delimited('\'')?;
        let escape = self.escape_clause()?.unwrap_or('\\');

        decode_unicode(&raw, escape)
            .map(TokenKind::Text)
            .ok_or_else(|| syntax(start, "an escape has four hexadecimal digits"))
    }

    fn escape_clause(&mut self) -> Result<Option<char>, Issue> {
        let before = self.at;
        self.skip_blanks()?;
        let rest = self.rest();
        let word = rest.get(..7).unwrap_or_default();
        if !word.eq_ignore_ascii_case("uescape") {
            self.at = before;
            return Ok(None);
        }

        self.at += 7;
        self.skip_blanks()?;
        let start = self.at;
        let quoted = if self.rest().starts_with('\'') {
            self.delimited('\'')?
        } else {
            String::new()
        };
        let mut characters = quoted.chars();
        match (characters.next(), characters.next()) {
            (Some(escape), None) => Ok(Some(escape)),
            _ => Err(syntax(start, "UESCAPE wants one character in quotes")),
        }
    }
}

fn decode_unicode(raw: &str, escape: char) -> Option<String> {
    let mut decoded = String::with_capacity(raw.len());
    let mut rest = raw.chars();

    while let Some(next) = rest.next() {
        if next != escape {
            decoded.push(next);
            continue;
        }
        if rest.as_str().starts_with(escape) {
            rest.next();
            decoded.push(escape);
            continue;
        }
        let digits = rest.as_str().get(..4)?;
        decoded.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest.nth(3);
    }
    Some(decoded)
}

/// The bytes that pairs of hexadecimal digits stand for.
pub(crate) fn hex_bytes(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok())
        .collect()
}

fn within_length(start: usize, name: &str) -> Result<(), Issue> {
    if name.chars().count() > LONGEST_NAME {
        return Err(syntax(start, "a name has at most 128 characters"));
    }
    Ok(())
}

fn syntax(at: usize, message: &str) -> Issue {
    Issue::new(ErrorClass::Syntax, offset(at), message)
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
