//! SELECT, UNION ALL, ORDER BY, GROUP BY and window specifications.

use super::ast::{
    Frame, Grouping, OrderTerm, Over, Query, QueryBody, Select, SelectItem, WindowSpec,
};
use super::parser::Parser;
use crate::error::{Compiled, Issue};

/// Words that end a select item or a relation, and are therefore no alias without AS.
const NO_ALIAS: [&str; 28] = [
    "FROM",
    "WHERE",
    "GROUP",
    "WINDOWED",
    "HAVING",
    "WINDOW",
    "ORDER",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "FULL",
    "CROSS",
    "NATURAL",
    "ON",
    "USING",
    "OVER",
    "AS",
    "LIMIT",
    "FETCH",
    "AND",
    "OR",
    "WHEN",
    "THEN",
    "END",
];

impl Parser {
    pub(super) fn query(&mut self) -> Compiled<Query> {
        self.nested(|parser| {
            let mut query = parser.query_term()?;
            let mut operands = 1;
            while parser.is_word("UNION") {
                operands += 1;
                parser.within(operands)?;
                query = parser.union_all(query)?;
            }
            parser.refuse_set_operations()?;

            let order_by = parser.order_by()?;
            if !order_by.is_empty() {
                query.order_by = order_by;
            }
            parser.refuse_limits()?;
            Ok(query)
        })
    }

    fn union_all(&mut self, left: Query) -> Compiled<Query> {
        let at = self.at();
        self.expect_word("UNION")?;
        if !self.eat_word("ALL") {
            return Err(Issue::unsupported(at, "UNION without ALL over streams"));
        }

        let right = self.query_term()?;
        Ok(Query {
            at: left.at,
            body: QueryBody::UnionAll(Box::new(left), Box::new(right)),
            order_by: Vec::new(),
        })
    }

    fn refuse_set_operations(&self) -> Compiled<()> {
        for word in ["INTERSECT", "EXCEPT"] {
            if self.is_word(word) {
                let construct = format!("{word} over streams");
                return Err(Issue::unsupported(self.at(), &construct));
            }
        }
        Ok(())
    }

    fn refuse_limits(&self) -> Compiled<()> {
        for word in ["LIMIT", "FETCH", "OFFSET"] {
            if self.is_word(word) {
                return Err(Issue::unsupported(self.at(), word));
            }
        }
        Ok(())
    }

    fn query_term(&mut self) -> Compiled<Query> {
        if self.eat_symbol("(") {
            let query = self.query()?;
            self.expect_symbol(")")?;
            return Ok(query);
        }

        let at = self.at();
        Ok(Query {
            at,
            body: QueryBody::Select(Box::new(self.select()?)),
            order_by: Vec::new(),
        })
    }

    fn order_by(&mut self) -> Compiled<Vec<OrderTerm>> {
        if !self.eat_words(&["ORDER", "BY"]) {
            return Ok(Vec::new());
        }
        self.list(|parser| {
            let expression = parser.expression()?;
            let descending = parser.eat_word("DESC");
            if !descending {
                parser.eat_word("ASC");
            }
            Ok(OrderTerm {
                expression,
                descending,
            })
        })
    }

    fn select(&mut self) -> Compiled<Select> {
        let at = self.at();
        self.expect_word("SELECT")?;
        self.eat_stream();
        let distinct = self.eat_word("DISTINCT");
        if !distinct {
            self.eat_word("ALL");
        }
        let items = self.list(Self::select_item)?;
        self.expect_word("FROM")?;

        Ok(Select {
            at,
            distinct,
            items,
            from: self.relations()?,
            filter: self.optional_clause("WHERE")?,
            grouping: self.grouping()?,
            having: self.optional_clause("HAVING")?,
            windows: self.windows()?,
        })
    }

    /// STREAM after SELECT is the keyword, unless it can only be a column of that name.
    fn eat_stream(&mut self) {
        let column_follows = [",", ".", "=", "+", "/", "||", "<", ">"]
            .iter()
            .any(|symbol| self.is_symbol_at(1, symbol));
        let ends_item = matches!(self.word_at(1), Some("FROM" | "AS"));

        if self.is_word("STREAM") && !column_follows && !ends_item {
            self.advance();
        }
    }

    fn optional_clause(&mut self, word: &str) -> Compiled<Option<super::ast::Ast>> {
        if self.eat_word(word) {
            self.expression().map(Some)
        } else {
            Ok(None)
        }
    }

    fn select_item(&mut self) -> Compiled<SelectItem> {
        let at = self.at();
        if self.eat_symbol("*") {
            return Ok(SelectItem::All(at));
        }
        if self.is_symbol_at(1, ".") && self.is_symbol_at(2, "*") {
            let name = self.name("a relation's name")?;
            self.advance();
            self.advance();
            return Ok(SelectItem::AllOf(name));
        }

        let value = self.expression()?;
        let alias = self.alias()?;
        Ok(SelectItem::Expression { value, alias })
    }

    /// `[AS] name`, when one follows.
    pub(super) fn alias(&mut self) -> Compiled<Option<super::ast::Name>> {
        if self.eat_word("AS") {
            return self.name("an alias").map(Some);
        }

        let follows = match &self.peek().kind {
            super::lexer::TokenKind::Quoted(_) => true,
            super::lexer::TokenKind::Word(word) => {
                let word = word.as_str();
                !NO_ALIAS.contains(&word)
            }
            _ => false,
        };
        if follows {
            self.name("an alias").map(Some)
        } else {
            Ok(None)
        }
    }

    fn grouping(&mut self) -> Compiled<Option<Grouping>> {
        if self.eat_words(&["GROUP", "BY"]) {
            return Ok(Some(Grouping::By(self.list(Self::expression)?)));
        }
        if !self.eat_words(&["WINDOWED", "BY"]) {
            return Ok(None);
        }

        self.expect_word("STAGGER")?;
        self.expect_symbol("(")?;
        self.expect_word("PARTITION")?;
        self.expect_word("BY")?;
        let partition = self.list(Self::expression)?;
        self.expect_word("RANGE")?;
        let range = self.expression()?;
        self.expect_symbol(")")?;
        Ok(Some(Grouping::Stagger { partition, range }))
    }

    fn windows(&mut self) -> Compiled<Vec<(super::ast::Name, WindowSpec)>> {
        if !self.eat_word("WINDOW") {
            return Ok(Vec::new());
        }
        self.list(|parser| {
            let name = parser.name("a window's name")?;
            parser.expect_word("AS")?;
            Ok((name, parser.window_spec()?))
        })
    }

    /// The window after OVER: a name or a specification.
    pub(super) fn over(&mut self) -> Compiled<Over> {
        if self.is_symbol("(") {
            Ok(Over::Spec(self.window_spec()?))
        } else {
            Ok(Over::Named(self.name("a window's name or '('")?))
        }
    }

    fn window_spec(&mut self) -> Compiled<WindowSpec> {
        let at = self.at();
        self.expect_symbol("(")?;
        let mut partition = Vec::new();
        if self.eat_words(&["PARTITION", "BY"]) {
            partition = self.list(Self::expression)?;
        }
        if self.is_word("ORDER") {
            return Err(Issue::unsupported(self.at(), "ORDER BY inside a window"));
        }

        let frame = self.frame()?;
        self.expect_symbol(")")?;
        Ok(WindowSpec {
            at,
            partition,
            frame,
        })
    }

    fn frame(&mut self) -> Compiled<Option<Frame>> {
        let rows = self.is_word("ROWS");
        if !rows && !self.is_word("RANGE") {
            return Ok(None);
        }
        self.advance();
        if self.is_word("CURRENT") && rows {
            return Err(self.expected("a number of rows"));
        }
        if self.eat_words(&["CURRENT", "ROW"]) {
            return Ok(Some(Frame::CurrentRow));
        }

        let bound = self.frame_bound()?;
        Ok(Some(if rows {
            Frame::Rows(bound)
        } else {
            Frame::Range(bound)
        }))
    }

    /// `n PRECEDING`, or `BETWEEN n PRECEDING AND CURRENT ROW`.
    fn frame_bound(&mut self) -> Compiled<super::ast::Ast> {
        let between = self.eat_word("BETWEEN");
        self.refuse_unbounded()?;
        if between && self.is_word("CURRENT") {
            return Err(Issue::unsupported(self.at(), "a window with FOLLOWING"));
        }

        // Above AND in precedence, so that the bound ends there.
        let bound = self.sum()?;
        self.refuse_following()?;
        self.expect_word("PRECEDING")?;
        if between {
            self.expect_word("AND")?;
            self.current_row_end()?;
        }
        Ok(bound)
    }

    fn current_row_end(&mut self) -> Compiled<()> {
        if self.eat_words(&["CURRENT", "ROW"]) {
            return Ok(());
        }
        self.refuse_unbounded()?;
        Err(Issue::unsupported(
            self.at(),
            "a window that does not end at CURRENT ROW",
        ))
    }

    fn refuse_unbounded(&self) -> Compiled<()> {
        if self.is_word("UNBOUNDED") {
            return Err(Issue::unsupported(self.at(), "an UNBOUNDED window"));
        }
        Ok(())
    }

    fn refuse_following(&self) -> Compiled<()> {
        if self.is_word("FOLLOWING") {
            return Err(Issue::unsupported(self.at(), "a window with FOLLOWING"));
        }
        Ok(())
    }
}
