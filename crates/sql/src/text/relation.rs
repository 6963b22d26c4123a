//! FROM: streams, subqueries, table functions and joins.

use super::ast::{
    Join, JoinCondition, JoinKind, Operand, OperandSource, Relation, RelationKind, TableFunction,
};
use super::parser::Parser;
use crate::error::{Compiled, Issue};

impl Parser {
    /// All of FROM. Commas join like CROSS JOIN, after the joins on each of their sides.
    pub(super) fn relations(&mut self) -> Compiled<Relation> {
        let mut left = self.joined()?;
        while self.eat_symbol(",") {
            let right = self.joined()?;
            left = join(JoinKind::Inner, left, right, JoinCondition::None);
        }
        Ok(left)
    }

    fn joined(&mut self) -> Compiled<Relation> {
        let mut left = self.operand()?;
        let mut operands = 1;
        while let Some((kind, conditional)) = self.join_words()? {
            operands += 1;
            self.within(operands)?;
            let right = self.operand()?;
            let condition = if conditional {
                self.join_condition()?
            } else {
                JoinCondition::None
            };
            left = join(kind, left, right, condition);
        }
        Ok(left)
    }

    /// The words of a join, and whether a condition must follow.
    fn join_words(&mut self) -> Compiled<Option<(JoinKind, bool)>> {
        if self.eat_words(&["CROSS", "JOIN"]) {
            return Ok(Some((JoinKind::Inner, false)));
        }
        if self.is_word("NATURAL") {
            return Err(Issue::unsupported(self.at(), "NATURAL JOIN"));
        }

        let Some(kind) = self.join_kind() else {
            return Ok(None);
        };
        if !self.is_word("JOIN") {
            self.advance();
        }
        if kind != JoinKind::Inner {
            self.eat_word("OUTER");
        }
        self.expect_word("JOIN")?;
        Ok(Some((kind, true)))
    }

    fn join_kind(&self) -> Option<JoinKind> {
        match self.word()? {
            "JOIN" | "INNER" => Some(JoinKind::Inner),
            "LEFT" => Some(JoinKind::Left),
            "RIGHT" => Some(JoinKind::Right),
            "FULL" => Some(JoinKind::Full),
            _ => None,
        }
    }

    fn join_condition(&mut self) -> Compiled<JoinCondition> {
        if self.eat_word("ON") {
            return Ok(JoinCondition::On(self.expression()?));
        }
        if !self.eat_word("USING") {
            return Err(self.expected("ON or USING"));
        }

        self.expect_symbol("(")?;
        let names = self.list(|parser| parser.name("a column name"))?;
        self.expect_symbol(")")?;
        Ok(JoinCondition::Using(names))
    }

    fn operand(&mut self) -> Compiled<Relation> {
        let at = self.at();
        if self.is_symbol("(") && !self.query_in_parentheses() {
            return self.nested(Self::parenthesised_relations);
        }

        let source = self.operand_source()?;
        let mut over = self.operand_over()?;
        let alias = self.alias()?;
        if over.is_none() {
            over = self.operand_over()?;
        }
        let columns = self.alias_columns(alias.is_some())?;
        Ok(Relation {
            at,
            kind: RelationKind::Operand(Operand {
                source,
                over,
                alias,
                columns,
            }),
        })
    }

    fn parenthesised_relations(&mut self) -> Compiled<Relation> {
        self.advance();
        let relation = self.relations()?;
        self.expect_symbol(")")?;
        Ok(relation)
    }

    fn query_in_parentheses(&self) -> bool {
        let mut ahead = 0;
        while self.is_symbol_at(ahead, "(") {
            ahead += 1;
        }
        self.word_at(ahead) == Some("SELECT")
    }

    fn operand_over(&mut self) -> Compiled<Option<super::ast::Over>> {
        if self.eat_word("OVER") {
            self.over().map(Some)
        } else {
            Ok(None)
        }
    }

    fn alias_columns(&mut self, aliased: bool) -> Compiled<Vec<super::ast::Name>> {
        if !aliased || !self.eat_symbol("(") {
            return Ok(Vec::new());
        }

        let columns = self.list(|parser| parser.name("a column name"))?;
        self.expect_symbol(")")?;
        Ok(columns)
    }

    fn operand_source(&mut self) -> Compiled<OperandSource> {
        if self.is_symbol("(") {
            self.advance();
            let query = self.query()?;
            self.expect_symbol(")")?;
            return Ok(OperandSource::Query(Box::new(query)));
        }
        if self.is_word("TABLE") && self.is_symbol_at(1, "(") {
            return self.table_function();
        }

        let name = self.name("a stream, a table or a subquery")?;
        Ok(OperandSource::Stream(name))
    }

    fn table_function(&mut self) -> Compiled<OperandSource> {
        self.advance();
        self.expect_symbol("(")?;
        let name = self.name("a table function")?;
        self.expect_symbol("(")?;
        self.expect_word("CURSOR")?;
        self.expect_symbol("(")?;
        let cursor = self.query()?;
        self.expect_symbol(")")?;

        let mut arguments = Vec::new();
        while self.eat_symbol(",") {
            arguments.push(self.expression()?);
        }
        self.expect_symbol(")")?;
        self.expect_symbol(")")?;
        Ok(OperandSource::Function(Box::new(TableFunction {
            name,
            cursor,
            arguments,
        })))
    }
}

fn join(kind: JoinKind, left: Relation, right: Relation, condition: JoinCondition) -> Relation {
    Relation {
        at: left.at,
        kind: RelationKind::Join(Box::new(Join {
            kind,
            left,
            right,
            condition,
        })),
    }
}
