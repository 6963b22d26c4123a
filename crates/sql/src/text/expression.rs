//! Expressions, from the loosest binding operator (OR) to the tightest (a literal).

use super::ast::{Ast, AstKind, BinaryOperator, LikeAst, Tested};
use super::lexer::TokenKind;
use super::parser::Parser;
use crate::error::{Compiled, Issue};

/// Words that never stand for a column unless quoted: each would hide a missing operand.
const NO_COLUMN: [&str; 39] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "WINDOW",
    "WINDOWED",
    "ORDER",
    "UNION",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "FULL",
    "CROSS",
    "ON",
    "USING",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS",
    "LIKE",
    "SIMILAR",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "BY",
    "INSERT",
    "CREATE",
    "INTO",
    "DISTINCT",
    "OVER",
    "UNIQUE",
    "PRECEDING",
];

impl Parser {
    pub(super) fn expression(&mut self) -> Compiled<Ast> {
        self.nested(Self::disjunction)
    }

    fn disjunction(&mut self) -> Compiled<Ast> {
        self.logical("OR", BinaryOperator::Or, Self::conjunction)
    }

    fn conjunction(&mut self) -> Compiled<Ast> {
        self.logical("AND", BinaryOperator::And, Self::negation)
    }

    /// Operands between the same word, as a balanced tree: long lists of conditions are common.
    fn logical(
        &mut self,
        word: &str,
        operator: BinaryOperator,
        operand: fn(&mut Self) -> Compiled<Ast>,
    ) -> Compiled<Ast> {
        let mut operands = vec![(self.at(), operand(self)?)];
        while self.is_word(word) {
            let at = self.advance().at;
            operands.push((at, operand(self)?));
        }
        Ok(balanced(operator, operands))
    }

    fn negation(&mut self) -> Compiled<Ast> {
        if !self.is_word("NOT") {
            return self.predicate();
        }

        let at = self.advance().at;
        let inner = self.nested(Self::negation)?;
        Ok(node(at, AstKind::Not(Box::new(inner))))
    }

    fn predicate(&mut self) -> Compiled<Ast> {
        let mut left = self.sum()?;
        loop {
            if let Some(operator) = self.comparison_operator() {
                let at = self.advance().at;
                let right = self.sum()?;
                left = self.binary(at, operator, left, right)?;
            } else if self.is_word("IS") {
                self.within(left.height)?;
                left = self.is_predicate(left)?;
            } else if let Some(negated) = self.set_predicate_follows() {
                self.within(left.height)?;
                left = self.set_predicate(left, negated)?;
            } else {
                self.refuse_period_predicate()?;
                return Ok(left);
            }
        }
    }

    fn binary(&self, at: u32, operator: BinaryOperator, left: Ast, right: Ast) -> Compiled<Ast> {
        self.within(left.height)?;
        let kind = AstKind::Binary(operator, Box::new(left), Box::new(right));
        Ok(node(at, kind))
    }

    fn comparison_operator(&self) -> Option<BinaryOperator> {
        let TokenKind::Symbol(symbol) = self.peek().kind else {
            return None;
        };
        match symbol {
            "=" => Some(BinaryOperator::Equal),
            "<>" | "!=" => Some(BinaryOperator::NotEqual),
            "<" => Some(BinaryOperator::Less),
            "<=" => Some(BinaryOperator::LessOrEqual),
            ">" => Some(BinaryOperator::Greater),
            ">=" => Some(BinaryOperator::GreaterOrEqual),
            _ => None,
        }
    }

    fn is_predicate(&mut self, value: Ast) -> Compiled<Ast> {
        let at = self.advance().at;
        let negated = self.eat_word("NOT");
        if self.eat_words(&["DISTINCT", "FROM"]) {
            let right = self.sum()?;
            let kind = AstKind::DistinctFrom(Box::new(value), Box::new(right), negated);
            return Ok(node(at, kind));
        }

        let tested = self.tested()?;
        Ok(node(at, AstKind::Is(Box::new(value), tested, negated)))
    }

    fn tested(&mut self) -> Compiled<Tested> {
        let tested = match self.word() {
            Some("NULL") => Tested::Null,
            Some("TRUE") => Tested::True,
            Some("FALSE") => Tested::False,
            Some("UNKNOWN") => Tested::Unknown,
            _ => return Err(self.expected("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM")),
        };
        self.advance();
        Ok(tested)
    }

    /// Whether BETWEEN, IN, LIKE or SIMILAR TO follows: `Some(negated)`.
    fn set_predicate_follows(&self) -> Option<bool> {
        let negated = self.is_word("NOT");
        match self.word_at(usize::from(negated)) {
            Some("BETWEEN" | "IN" | "LIKE" | "SIMILAR") => Some(negated),
            _ => None,
        }
    }

    fn set_predicate(&mut self, value: Ast, negated: bool) -> Compiled<Ast> {
        if negated {
            self.advance();
        }
        let at = self.at();
        if self.eat_word("BETWEEN") {
            return self.between(at, value, negated);
        }
        if self.eat_word("IN") {
            return self.in_predicate(at, value, negated);
        }

        self.like(at, value, negated)
    }

    fn like(&mut self, at: u32, value: Ast, negated: bool) -> Compiled<Ast> {
        let similar = self.eat_words(&["SIMILAR", "TO"]);
        if !similar {
            self.expect_word("LIKE")?;
        }
        let pattern = self.sum()?;
        let escape = self.escape()?;
        let like = LikeAst {
            value,
            pattern,
            escape,
            similar,
            negated,
        };
        Ok(node(at, AstKind::Like(Box::new(like))))
    }

    pub(super) fn escape(&mut self) -> Compiled<Option<Ast>> {
        if self.eat_word("ESCAPE") {
            self.sum().map(Some)
        } else {
            Ok(None)
        }
    }

    fn between(&mut self, at: u32, value: Ast, negated: bool) -> Compiled<Ast> {
        self.eat_word("ASYMMETRIC");
        let low = self.sum()?;
        self.expect_word("AND")?;
        let high = self.sum()?;

        let kind = AstKind::Between(Box::new(value), Box::new(low), Box::new(high), negated);
        Ok(node(at, kind))
    }

    fn in_predicate(&mut self, at: u32, value: Ast, negated: bool) -> Compiled<Ast> {
        self.expect_symbol("(")?;
        if self.is_word("SELECT") {
            let query = Box::new(self.query()?);
            self.expect_symbol(")")?;
            return Ok(node(at, AstKind::InQuery(Box::new(value), query, negated)));
        }

        let list = self.list(Self::expression)?;
        self.expect_symbol(")")?;
        Ok(node(at, AstKind::InList(Box::new(value), list, negated)))
    }

    fn refuse_period_predicate(&self) -> Compiled<()> {
        const PERIOD: [&str; 9] = [
            "OVERLAPS",
            "CONTAINS",
            "EQUALS",
            "STRICTLY",
            "IMMEDIATELY",
            "PRECEDES",
            "SUCCEEDS",
            "LEADS",
            "LAGS",
        ];
        let Some(word) = self.word().filter(|word| PERIOD.contains(word)) else {
            return Ok(());
        };
        if self.is_symbol_at(1, "(") || self.word_at(1).is_some_and(|next| PERIOD.contains(&next)) {
            let construct = format!("the period predicate {word}");
            return Err(Issue::unsupported(self.at(), &construct));
        }
        Ok(())
    }

    pub(super) fn sum(&mut self) -> Compiled<Ast> {
        let mut left = self.product()?;
        loop {
            let operator = match self.peek().kind {
                TokenKind::Symbol("+") => BinaryOperator::Add,
                TokenKind::Symbol("-") => BinaryOperator::Subtract,
                TokenKind::Symbol("||") => BinaryOperator::Concatenate,
                _ => return Ok(left),
            };
            let at = self.advance().at;
            let right = self.product()?;
            left = self.binary(at, operator, left, right)?;
        }
    }

    fn product(&mut self) -> Compiled<Ast> {
        let mut left = self.signed()?;
        loop {
            let operator = match self.peek().kind {
                TokenKind::Symbol("*") => BinaryOperator::Multiply,
                TokenKind::Symbol("/") => BinaryOperator::Divide,
                _ => return Ok(left),
            };
            let at = self.advance().at;
            let right = self.signed()?;
            left = self.binary(at, operator, left, right)?;
        }
    }

    fn signed(&mut self) -> Compiled<Ast> {
        if self.eat_symbol("+") {
            return self.nested(Self::signed);
        }
        if !self.is_symbol("-") {
            return self.primary();
        }

        let at = self.advance().at;
        if let TokenKind::Number(digits) = &self.peek().kind {
            let digits = format!("-{digits}");
            self.advance();
            return self.number_literal(at, &digits);
        }
        let inner = self.nested(Self::signed)?;
        Ok(node(at, AstKind::Negate(Box::new(inner))))
    }

    fn primary(&mut self) -> Compiled<Ast> {
        let token = self.peek().clone();
        match token.kind {
            TokenKind::Symbol("(") => self.parenthesised(),
            TokenKind::Number(digits) => {
                self.advance();
                self.number_literal(token.at, &digits)
            }
            TokenKind::Text(text) => {
                self.advance();
                Ok(self.text_literal(token.at, text))
            }
            TokenKind::Binary(bytes) => {
                self.advance();
                Ok(super::literal::binary_literal(token.at, bytes))
            }
            TokenKind::Word(word) => self.word_primary(&word),
            TokenKind::Quoted(_) => self.column_name(),
            TokenKind::Bad(_) | TokenKind::End | TokenKind::Symbol(_) => {
                Err(self.expected("an expression"))
            }
        }
    }

    /// `(x)`, `(x - y) SECOND`, or one side of a period predicate.
    fn parenthesised(&mut self) -> Compiled<Ast> {
        let at = self.advance().at;
        if self.is_word("SELECT") {
            return Err(Issue::unsupported(self.at(), "a subquery as a value"));
        }

        let mut items = self.list(Self::expression)?;
        self.expect_symbol(")")?;
        let (Some(inner), true) = (items.pop(), items.is_empty()) else {
            self.refuse_period_predicate()?;
            return Ok(node(at, AstKind::Row));
        };
        if self.unit_follows() {
            let interval = self.interval_type()?;
            return Ok(node(at, AstKind::Interval(Box::new(inner), interval)));
        }
        Ok(inner)
    }

    fn word_primary(&mut self, word: &str) -> Compiled<Ast> {
        let at = self.at();
        match word {
            "NULL" | "TRUE" | "FALSE" | "UNKNOWN" => {
                self.advance();
                Ok(super::literal::keyword_literal(at, word))
            }
            "CASE" => self.nested(Self::case),
            "EXISTS" => self.exists(),
            "CAST" if self.is_symbol_at(1, "(") => self.cast(),
            "DATE" | "TIME" | "TIMESTAMP" if self.text_follows(1) => self.time_literal(word),
            "INTERVAL" if self.interval_follows() => self.interval_literal(),
            _ if self.is_symbol_at(1, "(") => self.nested(Self::call),
            _ if super::function::is_bare_function(word) => self.bare_call(),
            _ if NO_COLUMN.contains(&word) => Err(self.expected("an expression")),
            _ => self.column_name(),
        }
    }

    pub(super) fn text_follows(&self, ahead: usize) -> bool {
        matches!(self.peek_at(ahead).kind, TokenKind::Text(_))
    }

    fn interval_follows(&self) -> bool {
        let signed = self.is_symbol_at(1, "-") || self.is_symbol_at(1, "+");
        self.text_follows(1) || (signed && self.text_follows(2))
    }

    fn column_name(&mut self) -> Compiled<Ast> {
        let first = self.name("a column")?;
        let at = first.at;
        let mut parts = vec![first];
        while self.is_symbol(".") {
            self.advance();
            parts.push(self.name("a column")?);
        }
        Ok(node(at, AstKind::Name(parts)))
    }

    fn exists(&mut self) -> Compiled<Ast> {
        let at = self.advance().at;
        self.expect_symbol("(")?;
        let query = Box::new(self.query()?);
        self.expect_symbol(")")?;
        Ok(node(at, AstKind::Exists(query)))
    }

    fn cast(&mut self) -> Compiled<Ast> {
        let at = self.advance().at;
        self.expect_symbol("(")?;
        let inner = self.expression()?;
        self.expect_word("AS")?;
        let sql_type = self.sql_type()?;
        self.expect_symbol(")")?;
        Ok(node(at, AstKind::Cast(Box::new(inner), sql_type)))
    }

    fn case_arms(&mut self) -> Compiled<Vec<(Ast, Ast)>> {
        let mut arms = Vec::new();
        while self.eat_word("WHEN") {
            let when = self.expression()?;
            self.expect_word("THEN")?;
            arms.push((when, self.expression()?));
        }

        if arms.is_empty() {
            return Err(self.expected("WHEN"));
        }
        Ok(arms)
    }

    fn case(&mut self) -> Compiled<Ast> {
        let at = self.advance().at;
        let mut operand = None;
        if !self.is_word("WHEN") {
            operand = Some(Box::new(self.expression()?));
        }

        let arms = self.case_arms()?;
        let mut otherwise = None;
        if self.eat_word("ELSE") {
            otherwise = Some(Box::new(self.expression()?));
        }
        self.expect_word("END")?;
        let kind = AstKind::Case {
            operand,
            arms,
            otherwise,
        };
        Ok(node(at, kind))
    }
}

pub(super) fn node(at: u32, kind: AstKind) -> Ast {
    Ast::new(at, kind)
}

/// The operands as a tree; each comes with the place of the operator in front of it.
fn balanced(operator: BinaryOperator, mut operands: Vec<(u32, Ast)>) -> Ast {
    let mut right = operands.split_off(operands.len() / 2);
    if operands.is_empty()
        && let Some((_, only)) = right.pop()
    {
        return only;
    }
    let at = right.first().map_or(0, |(at, _)| *at);
    let (left, right) = (balanced(operator, operands), balanced(operator, right));
    node(
        at,
        AstKind::Binary(operator, Box::new(left), Box::new(right)),
    )
}
