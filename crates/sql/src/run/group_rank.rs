//! GROUP_RANK: the rows of one ROWTIME, with the place of each by one column.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::plan::GroupRankPlan;
use crate::run::operator::{
    Context, Emit, Operator, Row, StateError, decode, detached, encode, row_size, time_of,
};
use crate::value::{Evaluated, Value};

pub(crate) struct GroupRank {
    by: usize,
    ranks_descending: bool,
    emits_descending: bool,
    most: usize,
    /// The rows of one ROWTIME.
    state: Group,
    size: usize,
}

#[derive(Default, Serialize, Deserialize)]
struct Group {
    rows: Vec<Vec<Value>>,
}

impl GroupRank {
    pub(crate) fn new(plan: &GroupRankPlan) -> Self {
        Self {
            by: plan.by,
            ranks_descending: plan.ranks_descending,
            emits_descending: plan.emits_descending,
            most: plan.most,
            state: Group::default(),
            size: 0,
        }
    }

    fn order(&self, left: &[Value], right: &[Value]) -> Ordering {
        let order = match (left.get(self.by), right.get(self.by)) {
            (Some(left), Some(right)) => left.sort_order(right),
            _ => Ordering::Equal,
        };

        if self.ranks_descending {
            order.reverse()
        } else {
            order
        }
    }

    /// The rows in the order of their ranks; equal values share a rank, and the next ranks are
    /// skipped.
    fn ranked(&mut self) -> Vec<Vec<Value>> {
        let mut rows = std::mem::take(&mut self.state.rows);
        self.size = 0;
        rows.sort_by(|left, right| self.order(left, right));

        let ranks = self.ranks(&rows);
        for (row, rank) in rows.iter_mut().zip(ranks) {
            let rank = i64::try_from(rank).unwrap_or(i64::MAX);
            row.push(Value::Integer(rank));
        }
        rows
    }

    /// The ranks of sorted rows; equal rows share the rank of the first.
    fn ranks(&self, rows: &[Vec<Value>]) -> Vec<usize> {
        let mut ranks = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let shares = index > 0 && self.order(&rows[index - 1], row).is_eq();
            let rank = match ranks.last() {
                Some(last) if shares => *last,
                _ => index + 1,
            };
            ranks.push(rank);
        }
        ranks
    }
}

impl Operator for GroupRank {
    fn process(
        &mut self,
        _port: usize,
        row: Row<'_>,
        _context: &mut Context<'_>,
        _emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        let row = detached(row.values());
        self.size += row_size(&row);
        self.state.rows.push(row);
        Ok(())
    }

    /// The first instant after the rows' own.
    fn deadline(&self) -> Option<i64> {
        let first = self.state.rows.first()?;
        Some(time_of(first).saturating_add(1))
    }

    fn fire(&mut self, at: i64, context: &mut Context<'_>, emit: &mut Emit<'_>) {
        let mut rows = self.ranked();
        rows.truncate(self.most);
        if self.emits_descending {
            rows.reverse();
        }

        for mut row in rows {
            if let Some(time) = row.first_mut() {
                *time = Value::Timestamp(at);
            }
            emit(context, Row::Made(&mut row));
        }
    }

    fn save(&self) -> Result<Vec<u8>, StateError> {
        encode(&self.state)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        self.state = decode(state)?;
        self.size = self.state.rows.iter().map(|row| row_size(row)).sum();
        Ok(())
    }

    fn state_size(&self) -> usize {
        self.size
    }
}
