//! The token cursor that all productions share.

use super::ast::{Name, Statement};
use super::lexer::{Token, TokenKind, tokens};
use crate::error::{Compiled, ErrorClass, Issue};
use crate::types::SqlType;

/// Nesting of expressions and queries; deeper text is refused before the stack is at risk.
const DEEPEST: u32 = 50;

/// Operands of one chain, such as `a + b + c`, and levels of an expression.
const LONGEST_CHAIN: u32 = 200;

/// Reads the whole text; statements with errors are left out or marked as broken.
pub(crate) fn parse(text: &str) -> (Vec<Statement>, Vec<Issue>) {
    let mut parser = Parser::new(text);
    let mut statements = Vec::new();
    let mut issues = Vec::new();

    while !parser.at_end() {
        if parser.eat_symbol(";") {
            continue;
        }
        parser.statement_or_issue(&mut statements, &mut issues);
    }
    (statements, issues)
}

/// Reads a type as in a column definition, such as `VARCHAR(16)`.
pub(crate) fn parse_type(text: &str) -> Compiled<SqlType> {
    let mut parser = Parser::new(text);
    let found = parser.sql_type()?;

    if parser.at_end() {
        Ok(found)
    } else {
        Err(parser.expected("the end of the type"))
    }
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: u32,
}

impl Parser {
    fn new(text: &str) -> Self {
        Self {
            tokens: tokens(text),
            next: 0,
            depth: 0,
        }
    }

    pub(super) fn at_end(&self) -> bool {
        matches!(self.peek().kind, TokenKind::End)
    }

    pub(super) fn peek(&self) -> &Token {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &Token {
        let last = self.tokens.len() - 1;
        &self.tokens[(self.next + ahead).min(last)]
    }

    pub(super) fn at(&self) -> u32 {
        self.peek().at
    }

    pub(super) fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
        token
    }

    /// The word at this place, folded; `None` when the token is no unquoted word.
    pub(super) fn word(&self) -> Option<&str> {
        self.word_at(0)
    }

    pub(super) fn word_at(&self, ahead: usize) -> Option<&str> {
        match &self.peek_at(ahead).kind {
            TokenKind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.is_symbol_at(0, symbol)
    }

    pub(super) fn is_symbol_at(&self, ahead: usize, symbol: &str) -> bool {
        matches!(self.peek_at(ahead).kind, TokenKind::Symbol(found) if found == symbol)
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    /// Takes all the words or none of them.
    pub(super) fn eat_words(&mut self, words: &[&str]) -> bool {
        let found = words
            .iter()
            .enumerate()
            .all(|(ahead, word)| self.word_at(ahead) == Some(word));

        if found {
            for _ in words {
                self.advance();
            }
        }
        found
    }

    pub(super) fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Compiled<()> {
        if self.eat_word(word) {
            Ok(())
        } else {
            Err(self.expected(word))
        }
    }

    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Compiled<()> {
        if self.eat_symbol(symbol) {
            Ok(())
        } else {
            Err(self.expected(&format!("'{symbol}'")))
        }
    }

    /// The error about the token at this place.
    pub(super) fn expected(&self, expectation: &str) -> Issue {
        let token = self.peek();
        if let TokenKind::Bad(issue) = &token.kind {
            return issue.clone();
        }
        let found = describe(&token.kind);
        let message = format!("found {found}; expected {expectation}");
        Issue::new(ErrorClass::Syntax, token.at, message)
    }

    /// A name in a place where no keyword can stand.
    pub(super) fn name(&mut self, expectation: &str) -> Compiled<Name> {
        let token = self.peek();
        let at = token.at;
        let text = match &token.kind {
            TokenKind::Word(text) | TokenKind::Quoted(text) => text.clone(),
            _ => return Err(self.expected(expectation)),
        };

        self.advance();
        Ok(Name { text, at })
    }

    /// Items between commas, at least one.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Compiled<T>,
    ) -> Compiled<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat_symbol(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Runs a production one level deeper.
    pub(super) fn nested<T>(
        &mut self,
        production: impl FnOnce(&mut Self) -> Compiled<T>,
    ) -> Compiled<T> {
        if self.depth >= DEEPEST {
            let message = format!("nested deeper than {DEEPEST} levels; expected a simpler text");
            return Err(Issue::new(ErrorClass::Syntax, self.at(), message));
        }

        self.depth += 1;
        let result = production(self);
        self.depth -= 1;
        result
    }

    /// Refuses chains and expressions that would need a deep stack.
    pub(super) fn within(&self, length: u32) -> Compiled<()> {
        if length <= LONGEST_CHAIN {
            return Ok(());
        }
        let message = format!("more than {LONGEST_CHAIN} levels; expected a simpler text");
        Err(Issue::new(ErrorClass::Syntax, self.at(), message))
    }

    pub(super) fn unsigned(&mut self, expectation: &str) -> Compiled<u32> {
        let parsed = match &self.peek().kind {
            TokenKind::Number(digits) => digits.parse().ok(),
            _ => None,
        };
        let number = parsed.ok_or_else(|| self.expected(expectation))?;

        self.advance();
        Ok(number)
    }

    /// Goes to the next statement after an error.
    pub(super) fn skip_statement(&mut self) {
        self.depth = 0;
        while !self.at_end() && !self.eat_symbol(";") {
            self.advance();
        }
    }
}

fn describe(kind: &TokenKind) -> String {
    match kind {
        TokenKind::Word(word) => word.clone(),
        TokenKind::Quoted(name) => format!("\"{name}\""),
        TokenKind::Text(text) => format!("'{text}'"),
        TokenKind::Number(number) => number.clone(),
        TokenKind::Binary(_) => "a binary literal".to_owned(),
        TokenKind::Symbol(symbol) => format!("'{symbol}'"),
        TokenKind::Bad(issue) => issue.message.clone(),
        TokenKind::End => "the end of the text".to_owned(),
    }
}
