//! Inner joins of streams with their windows, and with reference tables.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::expr::{Accepts, Expr, ExprKind};
use crate::plan::{JoinPlan, Kept, LeafSource};
use crate::run::operator::{
    Context, Emit, Operator, Row, StateError, decode, detached, encode, row_size, time_of,
};
use crate::table::{ReferenceTable, TableIndex};
use crate::types::SqlType;
use crate::value::{Evaluated, Value};

/// A row of one operand looks for combinations with the kept rows of all others.
pub(crate) struct Join {
    operands: Vec<Operand>,
    /// The operand of each port.
    ports: Vec<usize>,
    predicates: Vec<Predicate>,
    width: usize,
}

struct Operand {
    offset: usize,
    width: usize,
    rows: OperandRows,
}

enum OperandRows {
    Stream(KeptRows),
    Table(Arc<ReferenceTable>, Option<TableKey>),
}

/// A hash index of a table, with the value to look up for a combination.
pub(crate) struct TableKey {
    index: TableIndex,
    value: Expr,
    /// The operands that the value reads.
    reads: BTreeSet<usize>,
}

/// A condition with the operands that are read.
struct Predicate {
    condition: Expr,
    reads: BTreeSet<usize>,
}

/// The rows of a stream that may still match.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeptRows {
    #[serde(skip, default = "instant")]
    kept: Kept,
    pub(crate) rows: VecDeque<Vec<Value>>,
    pub(crate) size: usize,
}

fn instant() -> Kept {
    Kept::Instant
}

impl KeptRows {
    pub(crate) fn new(kept: Kept) -> Self {
        Self {
            kept,
            rows: VecDeque::new(),
            size: 0,
        }
    }

    /// Drops rows that can't match at this instant any more.
    pub(crate) fn expire(&mut self, now: i64) {
        let oldest = match self.kept {
            Kept::Instant => now,
            Kept::Range(length) => now.saturating_sub(length),
            Kept::Rows(_) => return,
        };
        while self.rows.front().is_some_and(|row| time_of(row) < oldest) {
            self.drop_oldest();
        }
    }

    pub(crate) fn push(&mut self, row: &[Value]) {
        if let Kept::Rows(most) = self.kept {
            while self.rows.len() >= most.max(1) {
                self.drop_oldest();
            }
        }
        self.size += row_size(row);
        self.rows.push_back(detached(row));
    }

    fn drop_oldest(&mut self) {
        if let Some(row) = self.rows.pop_front() {
            self.size = self.size.saturating_sub(row_size(&row));
        }
    }

    fn restore(&mut self, other: Self) {
        self.rows = other.rows;
        self.size = other.size;
    }
}

impl Join {
    pub(crate) fn new(plan: &JoinPlan) -> Self {
        let mut spans = Vec::new();
        for leaf in &plan.leaves {
            spans.push(leaf.offset..leaf.offset + leaf.width);
        }
        let reads = |expression: &Expr| -> BTreeSet<usize> {
            let mut columns = BTreeSet::new();
            expression.add_columns(&mut columns);
            columns
                .into_iter()
                .filter_map(|column| spans.iter().position(|span| span.contains(&column)))
                .collect()
        };

        let predicates: Vec<Predicate> = plan
            .predicates
            .iter()
            .flat_map(conjuncts)
            .map(|condition| Predicate {
                reads: reads(&condition),
                condition,
            })
            .collect();
        let operands = plan
            .leaves
            .iter()
            .enumerate()
            .map(|(place, leaf)| Operand {
                offset: leaf.offset,
                width: leaf.width,
                rows: match &leaf.source {
                    LeafSource::Stream(_, kept) => {
                        let rows = KeptRows::new(*kept);
                        OperandRows::Stream(rows)
                    }
                    LeafSource::Table(table) => {
                        let key = table_key(table, place, leaf.offset, &predicates, &reads);
                        OperandRows::Table(table.clone(), key)
                    }
                },
            })
            .collect();
        let ports = (0..plan.leaves.len())
            .filter(|place| plan.leaves[*place].stream().is_some())
            .collect();
        Self {
            operands,
            ports,
            predicates,
            width: plan.width,
        }
    }

    /// Fills the operands from `place` on, and emits every combination that all conditions accept.
    fn combine(
        &self,
        place: usize,
        filled: &mut BTreeSet<usize>,
        row: &mut Vec<Value>,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        if filled.contains(&place) {
            return self.combine(place + 1, filled, row, context, emit);
        }
        let Some(operand) = self.operands.get(place) else {
            emit(context, Row::Lent(row));
            return Ok(());
        };

        filled.insert(place);
        let result = operand.candidates(
            filled,
            place,
            row,
            context,
            &mut |candidate, row, context| {
                put(row, operand.offset, candidate);
                if self.accepts(place, filled, row, context)? {
                    let mut inner = filled.clone();
                    self.combine(place + 1, &mut inner, row, context, emit)?;
                }
                Ok(())
            },
        );
        filled.remove(&place);
        result
    }

    /// Whether the conditions that became complete with this operand are TRUE.
    fn accepts(
        &self,
        place: usize,
        filled: &BTreeSet<usize>,
        row: &[Value],
        context: &Context<'_>,
    ) -> Evaluated<bool> {
        for predicate in &self.predicates {
            let due = predicate.reads.contains(&place) || predicate.reads.is_empty();
            if due && predicate.reads.is_subset(filled) {
                let truth = predicate.condition.truth(context.scope(row))?;
                if truth != Some(true) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Writes an operand's row into the joined row.
pub(crate) fn put(row: &mut [Value], offset: usize, part: &[Value]) {
    for (place, value) in row.iter_mut().skip(offset).zip(part) {
        place.clone_from(value);
    }
}

/// The operands of nested ANDs.
pub(crate) fn conjuncts(condition: &Expr) -> Vec<Expr> {
    match &condition.kind {
        ExprKind::And(left, right) => {
            let mut all = conjuncts(left);
            all.extend(conjuncts(right));
            all
        }
        _ => vec![condition.clone()],
    }
}

/// An index for the first condition of the form `table's expression = others' expression`.
fn table_key(
    table: &ReferenceTable,
    place: usize,
    offset: usize,
    predicates: &[Predicate],
    reads: &dyn Fn(&Expr) -> BTreeSet<usize>,
) -> Option<TableKey> {
    predicates.iter().find_map(|predicate| {
        let (own, other) = equal_sides(&predicate.condition, |side| {
            let found = reads(side);
            found.len() == 1 && found.contains(&place)
        })?;
        let others = reads(&other);
        (!others.contains(&place)).then(|| TableKey {
            index: TableIndex::new(table, &moved_left(own, offset)),
            value: other,
            reads: others,
        })
    })
}

/// The sides of an equality of two values whose keys are alike: the own side first.
pub(crate) fn equal_sides(
    condition: &Expr,
    is_own: impl Fn(&Expr) -> bool,
) -> Option<(Expr, Expr)> {
    let ExprKind::Compare(comparison, left, right) = &condition.kind else {
        return None;
    };
    let alike = are_alike(&left.sql_type, &right.sql_type);
    if comparison.accepts != Accepts::Equal || comparison.trims || !alike {
        return None;
    }
    match (is_own(left), is_own(right)) {
        (true, false) => Some(copied(left, right)),
        (false, true) => Some(copied(right, left)),
        _ => None,
    }
}

fn copied(own: &Expr, other: &Expr) -> (Expr, Expr) {
    (own.clone(), other.clone())
}

fn are_alike(left: &SqlType, right: &SqlType) -> bool {
    let integers = left.is_integer() && right.is_integer();
    let texts = left.is_text() && right.is_text();
    integers || texts || left == right
}

/// The expression over the operand's own row instead of the joined row.
pub(crate) fn moved_left(mut expression: Expr, offset: usize) -> Expr {
    fn shift(expression: &mut Expr, offset: usize) {
        if let ExprKind::Column(index) = &mut expression.kind {
            *index = index.saturating_sub(offset);
        }
        expression.for_each_child_mut(&mut |child| shift(child, offset));
    }
    shift(&mut expression, offset);
    expression
}

/// Visits one candidate row of an operand.
type Visit<'v> = dyn FnMut(&[Value], &mut Vec<Value>, &mut Context<'_>) -> Evaluated<()> + 'v;

impl Operand {
    fn candidates(
        &self,
        filled: &BTreeSet<usize>,
        place: usize,
        row: &mut Vec<Value>,
        context: &mut Context<'_>,
        visit: &mut Visit<'_>,
    ) -> Evaluated<()> {
        match &self.rows {
            OperandRows::Stream(kept) => {
                for candidate in &kept.rows {
                    visit(candidate, row, context)?;
                }
            }
            OperandRows::Table(table, Some(key))
                if key.reads.is_subset(filled) && !key.reads.contains(&place) =>
            {
                let value = key.value.eval(context.scope(row))?.into_owned();
                for index in key.index.find(&value) {
                    visit(&table.rows[*index], row, context)?;
                }
            }
            OperandRows::Table(table, _) => {
                for candidate in &table.rows {
                    visit(candidate, row, context)?;
                }
            }
        }
        Ok(())
    }
}

impl Operator for Join {
    fn process(
        &mut self,
        port: usize,
        row: Row<'_>,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        let now = row.time();
        self.expire(now);

        let place = self.ports.get(port).copied().unwrap_or(0);
        let mut joined = vec![Value::Null; self.width];
        joined[0] = Value::Timestamp(now);
        if let Some(operand) = self.operands.get_mut(place) {
            put(&mut joined, operand.offset, &row.values()[..operand.width]);
            if let OperandRows::Stream(kept) = &mut operand.rows {
                kept.push(row.values());
            }
        }

        let mut filled = BTreeSet::from([place]);
        if !self.accepts(place, &filled, &joined, context)? {
            return Ok(());
        }
        self.combine(0, &mut filled, &mut joined, context, emit)
    }

    fn save(&self) -> Result<Vec<u8>, StateError> {
        let states: Vec<&KeptRows> = self
            .operands
            .iter()
            .filter_map(|operand| match &operand.rows {
                OperandRows::Stream(kept) => Some(kept),
                OperandRows::Table(..) => None,
            })
            .collect();
        encode(&states)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let states: Vec<KeptRows> = decode(state)?;
        let kept = self
            .operands
            .iter_mut()
            .filter_map(|operand| match &mut operand.rows {
                OperandRows::Stream(kept) => Some(kept),
                OperandRows::Table(..) => None,
            });
        for (kept, state) in kept.zip(states) {
            kept.restore(state);
        }
        Ok(())
    }

    fn state_size(&self) -> usize {
        self.operands
            .iter()
            .map(|operand| match &operand.rows {
                OperandRows::Stream(kept) => kept.size,
                OperandRows::Table(..) => 0,
            })
            .sum()
    }
}

impl Join {
    fn expire(&mut self, now: i64) {
        for operand in &mut self.operands {
            if let OperandRows::Stream(kept) = &mut operand.rows {
                kept.expire(now);
            }
        }
    }
}
