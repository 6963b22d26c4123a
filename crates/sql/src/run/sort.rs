//! ORDER BY: rows wait until the first term changes.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::bind::Driver;
use crate::run::operator::{
    Context, Emit, Operator, Row, StateError, decode, detached, encode, row_size,
};
use crate::run::time_step::change_after;
use crate::value::{Evaluated, Value};

/// The rows of one value of the first term. The terms are the last columns of each row.
pub(crate) struct Sort {
    width: usize,
    descending: Vec<bool>,
    driver: Driver,
    state: SortState,
    size: usize,
}

#[derive(Default, Serialize, Deserialize)]
struct SortState {
    rows: Vec<Vec<Value>>,
    deadline: Option<i64>,
}

impl Sort {
    pub(crate) fn new(width: usize, descending: Vec<bool>, driver: Driver) -> Self {
        Self {
            width,
            descending,
            driver,
            state: SortState::default(),
            size: 0,
        }
    }

    fn release(&mut self, at: i64, context: &mut Context<'_>, emit: &mut Emit<'_>) {
        let mut rows = std::mem::take(&mut self.state.rows);
        self.state.deadline = None;
        self.size = 0;
        rows.sort_by(|left, right| self.order(left, right));

        for mut row in rows {
            row.truncate(self.width);
            if let Some(time) = row.first_mut() {
                *time = Value::Timestamp(at);
            }
            emit(context, Row::Made(&mut row));
        }
    }

    /// The first term of the rows that wait.
    fn held(&self) -> Option<&Value> {
        self.state.rows.first()?.get(self.width)
    }

    fn order(&self, left: &[Value], right: &[Value]) -> Ordering {
        let terms = left.iter().zip(right).skip(self.width);
        for ((left, right), descending) in terms.zip(&self.descending) {
            let order = left.sort_order(right);
            let order = if *descending { order.reverse() } else { order };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }
    fn deadline_after(&self, first: &Value, time: i64) -> Option<i64> {
        match &self.driver {
            Driver::Time(function) => change_after(function, first, time),
            Driver::Rows => None,
        }
    }
}

impl Operator for Sort {
    fn process(
        &mut self,
        _port: usize,
        row: Row<'_>,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        let time = row.time();
        let first = row.values().get(self.width).cloned();
        let first = first.unwrap_or(Value::Null);
        if self.held().is_some_and(|held| !held.is_same(&first)) {
            self.release(time, context, emit);
        }
        if self.state.rows.is_empty() {
            self.state.deadline = self.deadline_after(&first, time);
        }

        self.size += row_size(row.values());
        self.state.rows.push(detached(row.values()));
        Ok(())
    }

    fn deadline(&self) -> Option<i64> {
        self.state.deadline
    }

    fn fire(&mut self, at: i64, context: &mut Context<'_>, emit: &mut Emit<'_>) {
        self.release(at, context, emit);
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
