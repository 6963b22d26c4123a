//! Calls, with the keywords that some functions have between their arguments.

use super::ast::{Ast, AstKind, Call, Form, Name, Over, Side};
use super::expression::node;
use super::parser::Parser;
use crate::error::Compiled;

/// Functions that are written without parentheses.
pub(super) fn is_bare_function(word: &str) -> bool {
    matches!(
        word,
        "CURRENT_DATE"
            | "CURRENT_TIME"
            | "CURRENT_TIMESTAMP"
            | "LOCALTIME"
            | "LOCALTIMESTAMP"
            | "CURRENT_ROW_TIMESTAMP"
    )
}

/// The arguments of a call as they are read.
struct Arguments {
    form: Form,
    list: Vec<Ast>,
    distinct: bool,
    ignore_nulls: bool,
}

impl Arguments {
    fn new(form: Form, list: Vec<Ast>) -> Self {
        Self {
            form,
            list,
            distinct: false,
            ignore_nulls: false,
        }
    }
}

impl Parser {
    pub(super) fn bare_call(&mut self) -> Compiled<Ast> {
        let name = self.name("a function")?;
        if self.eat_symbol("(") {
            self.expect_symbol(")")?;
        }
        Ok(call(
            name,
            Arguments::new(Form::Bare, Vec::new()),
            false,
            None,
        ))
    }

    pub(super) fn call(&mut self) -> Compiled<Ast> {
        let name = self.name("a function")?;
        self.expect_symbol("(")?;
        let mut arguments = self.arguments_of(&name.text)?;
        self.expect_symbol(")")?;

        let from_last = self.nth_direction();
        arguments.ignore_nulls |= self.null_treatment();
        let mut over = None;
        if self.eat_word("OVER") {
            over = Some(self.over()?);
        }
        Ok(call(name, arguments, from_last, over))
    }

    fn arguments_of(&mut self, name: &str) -> Compiled<Arguments> {
        match name {
            "FLOOR" | "CEIL" | "CEILING" => self.rounding_arguments(),
            "EXTRACT" => self.extract_arguments(),
            "STEP" => self.step_arguments(),
            "POSITION" => self.position_arguments(),
            "SUBSTRING" => self.substring_arguments(),
            "OVERLAY" => self.overlay_arguments(),
            "TRIM" => self.trim_arguments(),
            _ => self.plain_arguments(),
        }
    }

    fn nth_direction(&mut self) -> bool {
        if self.eat_words(&["FROM", "LAST"]) {
            return true;
        }
        self.eat_words(&["FROM", "FIRST"]);
        false
    }

    /// Whether IGNORE NULLS follows; RESPECT NULLS is the default.
    fn null_treatment(&mut self) -> bool {
        if self.eat_words(&["IGNORE", "NULLS"]) {
            return true;
        }
        self.eat_words(&["RESPECT", "NULLS"]);
        false
    }

    fn plain_arguments(&mut self) -> Compiled<Arguments> {
        if self.is_symbol(")") {
            return Ok(Arguments::new(Form::Plain, Vec::new()));
        }
        if self.is_symbol("*") && self.is_symbol_at(1, ")") {
            self.advance();
            return Ok(Arguments::new(Form::Star, Vec::new()));
        }

        let distinct = self.eat_word("DISTINCT");
        if !distinct {
            self.eat_word("ALL");
        }
        let mut arguments = Arguments::new(Form::Plain, self.list(Self::expression)?);
        arguments.distinct = distinct;
        arguments.ignore_nulls = self.null_treatment();
        Ok(arguments)
    }

    fn rounding_arguments(&mut self) -> Compiled<Arguments> {
        let value = self.expression()?;
        if !self.eat_word("TO") {
            return Ok(Arguments::new(Form::Plain, vec![value]));
        }

        let unit = self.unit()?;
        Ok(Arguments::new(Form::Unit(unit), vec![value]))
    }

    fn extract_arguments(&mut self) -> Compiled<Arguments> {
        let unit = self.unit()?;
        self.expect_word("FROM")?;
        let value = self.expression()?;
        Ok(Arguments::new(Form::Unit(unit), vec![value]))
    }

    fn step_arguments(&mut self) -> Compiled<Arguments> {
        let value = self.expression()?;
        self.expect_word("BY")?;
        let step = self.expression()?;
        Ok(Arguments::new(Form::By, vec![value, step]))
    }

    fn position_arguments(&mut self) -> Compiled<Arguments> {
        let part = self.sum()?;
        self.expect_word("IN")?;
        let whole = self.expression()?;
        Ok(Arguments::new(Form::In, vec![part, whole]))
    }

    fn substring_arguments(&mut self) -> Compiled<Arguments> {
        let mut list = vec![self.sum()?];
        if self.eat_word("SIMILAR") {
            return self.similar_arguments(list);
        }
        if self.eat_word("FROM") {
            list.push(self.expression()?);
            self.push_length(&mut list)?;
            return Ok(Arguments::new(Form::From, list));
        }

        while self.eat_symbol(",") {
            list.push(self.expression()?);
        }
        Ok(Arguments::new(Form::Plain, list))
    }

    fn similar_arguments(&mut self, mut list: Vec<Ast>) -> Compiled<Arguments> {
        list.push(self.sum()?);
        self.expect_word("ESCAPE")?;
        list.push(self.sum()?);
        Ok(Arguments::new(Form::Similar, list))
    }

    /// `FOR n`, when present.
    fn push_length(&mut self, list: &mut Vec<Ast>) -> Compiled<()> {
        if self.eat_word("FOR") {
            list.push(self.expression()?);
        }
        Ok(())
    }

    fn overlay_arguments(&mut self) -> Compiled<Arguments> {
        let mut list = vec![self.expression()?];
        self.expect_word("PLACING")?;
        list.push(self.expression()?);
        self.expect_word("FROM")?;
        list.push(self.expression()?);

        self.push_length(&mut list)?;
        Ok(Arguments::new(Form::Placing, list))
    }

    fn trim_side(&mut self) -> Option<Side> {
        let side = match self.word()? {
            "LEADING" => Side::Leading,
            "TRAILING" => Side::Trailing,
            "BOTH" => Side::Both,
            _ => return None,
        };
        self.advance();
        Some(side)
    }

    fn trim_arguments(&mut self) -> Compiled<Arguments> {
        let side = self.trim_side();
        let form = Form::Trim(side.unwrap_or(Side::Both));
        if self.eat_word("FROM") {
            return Ok(Arguments::new(form, vec![self.expression()?]));
        }
        let first = self.expression()?;
        if side.is_some() {
            self.expect_word("FROM")?;
        } else if !self.eat_word("FROM") {
            return Ok(Arguments::new(form, vec![first]));
        }
        let value = self.expression()?;
        Ok(Arguments::new(form, vec![value, first]))
    }
}

fn call(name: Name, arguments: Arguments, from_last: bool, over: Option<Over>) -> Ast {
    let at = name.at;
    let call = Call {
        name,
        form: arguments.form,
        arguments: arguments.list,
        distinct: arguments.distinct,
        ignore_nulls: arguments.ignore_nulls,
        from_last,
        over,
    };
    node(at, AstKind::Call(Box::new(call)))
}
