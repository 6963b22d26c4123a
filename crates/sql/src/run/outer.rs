//! LEFT, RIGHT and FULL joins.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::expr::Expr;
use crate::plan::{Kept, Leaf, LeafSource, OuterPlan};
use crate::run::join::{conjuncts, equal_sides, moved_left, put};
use crate::run::operator::{
    Context, Emit, Operator, Row, StateError, decode, detached, encode, row_size, time_of,
};
use crate::table::{ReferenceTable, TableIndex};
use crate::value::{Evaluated, Value};

pub(crate) struct Outer {
    sides: [Side; 2],
    condition: Option<Expr>,
    width: usize,
}

struct Side {
    offset: usize,
    width: usize,
    /// Whether rows without a match are emitted with NULLs.
    keeps: bool,
    rows: SideRows,
}

enum SideRows {
    Stream(Kept, Waiting),
    Table(Arc<ReferenceTable>, Option<(TableIndex, Expr)>),
}

/// The rows of a side, oldest first.
#[derive(Default, Serialize, Deserialize)]
struct Waiting {
    rows: VecDeque<WaitingRow>,
    size: usize,
}

#[derive(Serialize, Deserialize)]
struct WaitingRow {
    values: Vec<Value>,
    matched: bool,
}

impl Outer {
    pub(crate) fn new(plan: &OuterPlan) -> Self {
        let side = |leaf: &Leaf, other: &Leaf, keeps| Side {
            offset: leaf.offset,
            width: leaf.width,
            keeps,
            rows: match &leaf.source {
                LeafSource::Stream(_, kept) => {
                    let waiting = Waiting::default();
                    SideRows::Stream(*kept, waiting)
                }
                LeafSource::Table(table) => {
                    let index = table_index(table, leaf, other, plan.condition.as_ref());
                    SideRows::Table(table.clone(), index)
                }
            },
        };
        Self {
            sides: [
                side(&plan.left, &plan.right, plan.keeps_left),
                side(&plan.right, &plan.left, plan.keeps_right),
            ],
            condition: plan.condition.clone(),
            width: plan.width,
        }
    }

    fn joined(&self, time: i64) -> Vec<Value> {
        let mut row = vec![Value::Null; self.width];
        row[0] = Value::Timestamp(time);
        row
    }

    /// The next row whose last chance of a match has passed, with that instant and the side.
    fn next_unmatched(&self) -> Option<(i64, usize)> {
        let ends = self.sides.iter().enumerate().filter_map(|(index, side)| {
            let SideRows::Stream(kept, waiting) = &side.rows else {
                return None;
            };
            let first = waiting.rows.front()?;
            Some((kept.last_chance(time_of(&first.values))?, index))
        });
        ends.min()
    }

    /// Emits a row that matched nothing, with NULLs for the other side.
    fn emit_alone(
        &self,
        side: &Side,
        values: &[Value],
        at: i64,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) {
        let mut row = self.joined(at);
        put(&mut row, side.offset, values);
        emit(context, Row::Made(&mut row));
    }

    /// Looks for matches of a row among the other side's rows. Returns whether there were any.
    fn match_row(
        &mut self,
        own: usize,
        values: &[Value],
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<bool> {
        let mut row = self.joined(time_of(values));
        put(&mut row, self.sides[own].offset, values);
        let other = &mut self.sides[1 - own];
        let condition = self.condition.as_ref();
        let accepts = |row: &[Value], context: &Context<'_>| match condition {
            Some(condition) => {
                let truth = condition.truth(context.scope(row))?;
                Ok(truth == Some(true))
            }
            None => Ok(true),
        };
        let mut matched = false;

        match &mut other.rows {
            SideRows::Stream(_, waiting) => {
                for candidate in &mut waiting.rows {
                    put(&mut row, other.offset, &candidate.values);
                    if accepts(&row, context)? {
                        candidate.matched = true;
                        matched = true;
                        emit(context, Row::Lent(&row));
                    }
                }
            }
            SideRows::Table(table, index) => {
                let all: Vec<usize>;
                let places = match index {
                    Some((index, key)) => {
                        let value = key.eval(context.scope(&row))?.into_owned();
                        index.find(&value)
                    }
                    None => {
                        all = (0..table.rows.len()).collect();
                        &all
                    }
                };
                for place in places {
                    put(&mut row, other.offset, &table.rows[*place]);
                    if accepts(&row, context)? {
                        matched = true;
                        emit(context, Row::Lent(&row));
                    }
                }
            }
        }
        Ok(matched)
    }

    fn takes_table(&self, side: usize) -> bool {
        matches!(self.sides[side].rows, SideRows::Table(..))
    }
}

/// An index of the table when the condition has an equality of its columns with the other side's.
fn table_index(
    table: &ReferenceTable,
    leaf: &Leaf,
    other: &Leaf,
    condition: Option<&Expr>,
) -> Option<(TableIndex, Expr)> {
    conjuncts(condition?).iter().find_map(|conjunct| {
        let (own, value) = equal_sides(conjunct, |side| within(side, leaf))?;
        within(&value, other)
            .then(|| (TableIndex::new(table, &moved_left(own, leaf.offset)), value))
    })
}

/// Whether all columns of an expression are of a leaf.
fn within(expression: &Expr, leaf: &Leaf) -> bool {
    let mut columns = std::collections::BTreeSet::new();
    expression.add_columns(&mut columns);

    let span = leaf.offset..leaf.offset + leaf.width;
    columns.iter().all(|column| span.contains(column))
}

impl Kept {
    /// The last instant at which a row of this time can match. `None` when only newer rows push it
    /// out.
    fn last_chance(self, time: i64) -> Option<i64> {
        match self {
            Self::Instant => Some(time),
            Self::Range(length) => Some(time.saturating_add(length)),
            Self::Rows(_) => None,
        }
    }
}

impl Waiting {
    fn push(&mut self, values: &[Value], matched: bool) {
        self.size += row_size(values);
        self.rows.push_back(WaitingRow {
            values: detached(values),
            matched,
        });
    }

    fn pop(&mut self) -> Option<WaitingRow> {
        let row = self.rows.pop_front()?;
        self.size = self.size.saturating_sub(row_size(&row.values));
        Some(row)
    }
}

impl Operator for Outer {
    fn process(
        &mut self,
        port: usize,
        row: Row<'_>,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        let own = if self.takes_table(0) { 1 } else { port };
        let values = row.values()[..self.sides[own].width].to_vec();
        let matched = self.match_row(own, &values, context, emit)?;
        if self.takes_table(1 - own) {
            let side = &self.sides[own];
            if !matched && side.keeps {
                self.emit_alone(side, &values, time_of(&values), context, emit);
            }
            return Ok(());
        }

        let pushed_out = self.sides[own].keep(&values, matched);
        if self.sides[own].keeps {
            for row in pushed_out {
                let side = &self.sides[own];
                self.emit_alone(side, &row.values, time_of(&values), context, emit);
            }
        }
        Ok(())
    }

    /// A millisecond after the last chance: rows of that instant still match.
    fn deadline(&self) -> Option<i64> {
        self.next_unmatched().map(|(end, _)| end.saturating_add(1))
    }

    fn fire(&mut self, at: i64, context: &mut Context<'_>, emit: &mut Emit<'_>) {
        while let Some((end, index)) = self.next_unmatched() {
            if end >= at {
                return;
            }
            let SideRows::Stream(_, waiting) = &mut self.sides[index].rows else {
                return;
            };
            let Some(row) = waiting.pop() else {
                return;
            };
            let side = &self.sides[index];
            if side.keeps && !row.matched {
                self.emit_alone(side, &row.values, end, context, emit);
            }
        }
    }

    fn save(&self) -> Result<Vec<u8>, StateError> {
        let states: Vec<&Waiting> = self
            .sides
            .iter()
            .filter_map(|side| match &side.rows {
                SideRows::Stream(_, waiting) => Some(waiting),
                SideRows::Table(..) => None,
            })
            .collect();
        encode(&states)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let states: Vec<Waiting> = decode(state)?;
        let sides = self
            .sides
            .iter_mut()
            .filter_map(|side| match &mut side.rows {
                SideRows::Stream(_, waiting) => Some(waiting),
                SideRows::Table(..) => None,
            });
        for (waiting, state) in sides.zip(states) {
            *waiting = state;
        }
        Ok(())
    }

    fn state_size(&self) -> usize {
        self.sides
            .iter()
            .map(|side| match &side.rows {
                SideRows::Stream(_, waiting) => waiting.size,
                SideRows::Table(..) => 0,
            })
            .sum()
    }
}

impl Side {
    /// Keeps a row of a stream; returns the rows that leave for it and never matched.
    fn keep(&mut self, values: &[Value], matched: bool) -> Vec<WaitingRow> {
        let mut pushed_out = Vec::new();
        let SideRows::Stream(kept, waiting) = &mut self.rows else {
            return pushed_out;
        };

        waiting.push(values, matched);
        if let Kept::Rows(most) = *kept {
            while waiting.rows.len() > most.max(1) {
                let oldest = waiting.pop();
                pushed_out.extend(oldest.filter(|row| !row.matched));
            }
        }
        pushed_out
    }
}
