//! CREATE STREAM, CREATE PUMP, CREATE FUNCTION, and types.

use super::ast::{
    ColumnDefinition, Defined, FunctionDefinition, Name, PumpDefinition, Statement, StatementKind,
};
use super::lexer::TokenKind;
use super::parser::Parser;
use crate::error::{Compiled, ErrorClass, Issue};
use crate::types::SqlType;

const LONGEST_TEXT: u32 = 65_535;

impl Parser {
    /// Reads one statement up to the `;`. After an error the rest of the statement is skipped, and
    /// its name is kept, so that other statements which use the name are not reported as well.
    pub(super) fn statement_or_issue(
        &mut self,
        statements: &mut Vec<Statement>,
        issues: &mut Vec<Issue>,
    ) {
        let (replace, defined, name) = match self.statement_head() {
            Ok(head) => head,
            Err(issue) => {
                issues.push(issue);
                self.skip_statement();
                return;
            }
        };

        let kind = self
            .statement_body(defined)
            .and_then(|kind| self.statement_end().map(|()| kind));
        let kind = kind.unwrap_or_else(|issue| {
            issues.push(issue);
            self.skip_statement();
            StatementKind::Broken(defined)
        });
        statements.push(Statement {
            replace,
            name,
            kind,
        });
    }

    fn statement_head(&mut self) -> Compiled<(bool, Defined, Name)> {
        self.expect_word("CREATE")?;
        let replace = self.eat_words(&["OR", "REPLACE"]);
        let defined = self.defined_kind()?;

        Ok((replace, defined, self.name("a name")?))
    }

    fn defined_kind(&mut self) -> Compiled<Defined> {
        if self.eat_word("STREAM") {
            Ok(Defined::Stream)
        } else if self.eat_word("PUMP") {
            Ok(Defined::Pump)
        } else if self.eat_word("FUNCTION") {
            Ok(Defined::Function)
        } else if self.is_word("VIEW") || self.is_word("TABLE") || self.is_word("SCHEMA") {
            let construct = format!("CREATE {}", self.word().unwrap_or_default());
            Err(Issue::unsupported(self.at(), &construct))
        } else {
            Err(self.expected("STREAM, PUMP or FUNCTION"))
        }
    }

    fn statement_body(&mut self, defined: Defined) -> Compiled<StatementKind> {
        match defined {
            Defined::Stream => self.stream_body(),
            Defined::Pump => self.pump_body(),
            Defined::Function => self.function_body(),
        }
    }

    fn statement_end(&mut self) -> Compiled<()> {
        if self.at_end() || self.eat_symbol(";") {
            Ok(())
        } else {
            Err(self.expected("';'"))
        }
    }

    fn stream_body(&mut self) -> Compiled<StatementKind> {
        self.expect_symbol("(")?;
        let columns = self.list(Self::column_definition)?;
        self.expect_symbol(")")?;

        self.description()?;
        Ok(StatementKind::Stream(columns))
    }

    fn column_definition(&mut self) -> Compiled<ColumnDefinition> {
        let name = self.name("a column name")?;
        let at = self.at();
        let sql_type = self.sql_type()?;
        if matches!(sql_type, SqlType::Interval(_)) {
            return Err(Issue::mismatch(at, "a column cannot be an INTERVAL"));
        }

        let not_null = self.eat_words(&["NOT", "NULL"]);
        if !not_null {
            self.eat_word("NULL");
        }
        Ok(ColumnDefinition {
            name,
            sql_type,
            not_null,
        })
    }

    fn description(&mut self) -> Compiled<()> {
        if !self.eat_word("DESCRIPTION") {
            return Ok(());
        }
        if !matches!(self.peek().kind, TokenKind::Text(_)) {
            return Err(self.expected("a string"));
        }
        self.advance();
        Ok(())
    }

    fn pump_body(&mut self) -> Compiled<StatementKind> {
        let stopped = self.eat_word("STOPPED");
        if !stopped {
            self.eat_word("STARTED");
        }
        self.description()?;
        self.expect_word("AS")?;
        self.expect_word("INSERT")?;
        self.eat_word("EXPEDITED");
        self.expect_word("INTO")?;
        let target = self.name("the name of a stream")?;
        let columns = self.insert_columns()?;

        let query = self.query()?;
        Ok(StatementKind::Pump(Box::new(PumpDefinition {
            stopped,
            target,
            columns,
            query,
        })))
    }

    /// `(a, b)` in front of the query, told from a query in parentheses by the first word.
    fn insert_columns(&mut self) -> Compiled<Option<Vec<Name>>> {
        let query_follows = self.word_at(1) == Some("SELECT") || self.is_symbol_at(1, "(");
        if !self.is_symbol("(") || query_follows {
            return Ok(None);
        }

        self.advance();
        let columns = self.list(|parser| parser.name("a column name"))?;
        self.expect_symbol(")")?;
        Ok(Some(columns))
    }

    fn function_body(&mut self) -> Compiled<StatementKind> {
        let parameters = self.parameters()?;
        self.expect_word("RETURNS")?;
        let returns = self.sql_type()?;
        let null_on_null = self.function_options()?;
        self.expect_word("RETURN")?;

        let body = self.expression()?;
        Ok(StatementKind::Function(Box::new(FunctionDefinition {
            parameters,
            returns,
            null_on_null,
            body,
        })))
    }

    fn parameters(&mut self) -> Compiled<Vec<(Name, SqlType)>> {
        self.expect_symbol("(")?;
        if self.eat_symbol(")") {
            return Ok(Vec::new());
        }

        let parameters = self.list(|parser| {
            let name = parser.name("a parameter's name")?;
            Ok((name, parser.sql_type()?))
        })?;
        self.expect_symbol(")")?;
        Ok(parameters)
    }

    /// The words between RETURNS and RETURN. Returns whether a NULL argument gives NULL.
    fn function_options(&mut self) -> Compiled<bool> {
        let mut null_on_null = false;

        loop {
            if self.eat_words(&["RETURNS", "NULL", "ON", "NULL", "INPUT"]) {
                null_on_null = true;
            } else if self.eat_word("SPECIFIC") {
                self.name("a name")?;
            } else if !IGNORED_OPTIONS.iter().any(|words| self.eat_words(words)) {
                return Ok(null_on_null);
            }
        }
    }

    /// A type, with length or precision.
    // tidy: long because it lists every type name once
    pub(super) fn sql_type(&mut self) -> Compiled<SqlType> {
        let at = self.at();
        let Some(word) = self.word().map(ToOwned::to_owned) else {
            return Err(self.expected("a type"));
        };
        if word == "INTERVAL" {
            self.advance();
            return Ok(SqlType::Interval(self.interval_type()?));
        }

        self.advance();
        match word.as_str() {
            "TINYINT" => Ok(SqlType::TinyInt),
            "SMALLINT" => Ok(SqlType::SmallInt),
            "INTEGER" | "INT" => Ok(SqlType::Integer),
            "BIGINT" => Ok(SqlType::BigInt),
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal_type(),
            "REAL" => Ok(SqlType::Real),
            "DOUBLE" => {
                self.eat_word("PRECISION");
                Ok(SqlType::Double)
            }
            "FLOAT" => Ok(SqlType::Double),
            "BOOLEAN" => Ok(SqlType::Boolean),
            "CHAR" | "CHARACTER" => {
                if self.eat_word("VARYING") {
                    return Ok(SqlType::Varchar(self.length()?.unwrap_or(LONGEST_TEXT)));
                }
                Ok(SqlType::Char(self.length()?.unwrap_or(1)))
            }
            "VARCHAR" => {
                let length = self.length()?;
                Ok(SqlType::Varchar(length.unwrap_or(LONGEST_TEXT)))
            }
            "BINARY" => {
                if self.eat_word("VARYING") {
                    return Ok(SqlType::Varbinary(self.length()?.unwrap_or(LONGEST_TEXT)));
                }
                Ok(SqlType::Binary(self.length()?.unwrap_or(1)))
            }
            "VARBINARY" => {
                let length = self.length()?;
                Ok(SqlType::Varbinary(length.unwrap_or(LONGEST_TEXT)))
            }
            "DATE" => Ok(SqlType::Date),
            "TIME" => Ok(SqlType::Time),
            "TIMESTAMP" => {
                self.length()?;
                Ok(SqlType::Timestamp)
            }
            _ => Err(Issue::new(
                ErrorClass::Syntax,
                at,
                format!("{word} is no type; expected one such as INTEGER or VARCHAR(16)"),
            )),
        }
    }

    fn length(&mut self) -> Compiled<Option<u32>> {
        if !self.eat_symbol("(") {
            return Ok(None);
        }

        let at = self.at();
        let length = self.unsigned("a length")?;
        self.expect_symbol(")")?;
        if length > LONGEST_TEXT {
            let message = format!("{length} is too long; expected at most {LONGEST_TEXT}");
            return Err(Issue::new(ErrorClass::TypeMismatch, at, message));
        }
        Ok(Some(length))
    }

    fn decimal_type(&mut self) -> Compiled<SqlType> {
        let at = self.at();
        let (precision, scale) = self.precision_and_scale()?;

        let fits = (1..=19).contains(&precision) && scale <= precision;
        let (Ok(precision), Ok(scale), true) = (u8::try_from(precision), u8::try_from(scale), fits)
        else {
            let message = "DECIMAL(p, s) wants 1 ≤ p ≤ 19 and s ≤ p";
            return Err(Issue::mismatch(at, message));
        };
        Ok(SqlType::Decimal { precision, scale })
    }

    fn precision_and_scale(&mut self) -> Compiled<(u32, u32)> {
        let (mut precision, mut scale) = (18, 0);
        if self.eat_symbol("(") {
            precision = self.unsigned("a precision")?;
            if self.eat_symbol(",") {
                scale = self.unsigned("a scale")?;
            }
            self.expect_symbol(")")?;
        }
        Ok((precision, scale))
    }
}

/// Options of CREATE FUNCTION that change nothing.
const IGNORED_OPTIONS: [&[&str]; 7] = [
    &["LANGUAGE", "SQL"],
    &["NOT", "DETERMINISTIC"],
    &["DETERMINISTIC"],
    &["CONTAINS", "SQL"],
    &["READS", "SQL", "DATA"],
    &["MODIFIES", "SQL", "DATA"],
    &["CALLED", "ON", "NULL", "INPUT"],
];
