//! Constant folding: an operation on literals is done once, when compiling.

use super::{Clocks, Expr, ExprKind, Scope};

impl Expr {
    /// The expression with its constant parts evaluated. Parts whose evaluation fails stay, and
    /// fail row by row as written.
    #[must_use]
    pub(crate) fn folded(self) -> Self {
        if matches!(self.kind, ExprKind::Literal(_)) || !self.is_constant() {
            return self;
        }

        let clocks = Clocks { started: 0, row: 0 };
        let scope = Scope {
            row: &[],
            clocks: &clocks,
        };
        let value = match self.eval(scope) {
            Ok(value) if !self.reads_clock() => value.into_owned(),
            _ => return self,
        };
        Self::literal(value, self.sql_type)
    }

    /// CAST of a TIME to a TIMESTAMP takes its day from the clock, and so may the body of a
    /// function.
    fn reads_clock(&self) -> bool {
        let mut reads = matches!(self.kind, ExprKind::Cast(_) | ExprKind::Function(..));
        self.for_each_child(&mut |child| reads |= child.reads_clock());
        reads
    }
}
