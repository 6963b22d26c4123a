//! WHERE and the select list: no state.

use crate::expr::Expr;
use crate::run::operator::{Context, Emit, Operator, Row};
use crate::value::{Evaluated, Value};

/// Rows on which a condition is TRUE.
pub(crate) struct Filter(pub(crate) Expr);

impl Operator for Filter {
    fn process(
        &mut self,
        _port: usize,
        row: Row<'_>,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        if self.0.truth(context.scope(row.values()))? == Some(true) {
            emit(context, row);
        }
        Ok(())
    }
}

/// New columns, computed from a row.
pub(crate) struct Project {
    columns: Vec<Expr>,
    made: Vec<Value>,
}

impl Project {
    pub(crate) fn new(columns: Vec<Expr>) -> Self {
        Self {
            columns,
            made: Vec::new(),
        }
    }
}

impl Operator for Project {
    fn process(
        &mut self,
        _port: usize,
        row: Row<'_>,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        self.made.clear();
        for column in &self.columns {
            let value = column.eval(context.scope(row.values()))?.into_owned();
            self.made.push(value);
        }
        emit(context, Row::Made(&mut self.made));
        Ok(())
    }
}

/// UNION ALL: rows of both sides as they come.
pub(crate) struct Merge;

impl Operator for Merge {
    fn process(
        &mut self,
        _port: usize,
        row: Row<'_>,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        emit(context, row);
        Ok(())
    }
}
