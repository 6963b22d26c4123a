//! The interface of operators, and the context in which a row is processed.

use minicbor_serde::error::DecodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::expr::{Clocks, Scope};
use crate::value::{Evaluated, RowError, Value};

/// A row on the way: lent, or made by the operator below and free to be taken.
pub(crate) enum Row<'a> {
    Lent(&'a [Value]),
    Made(&'a mut Vec<Value>),
}

impl Row<'_> {
    pub(crate) fn values(&self) -> &[Value] {
        match self {
            Row::Lent(values) => values,
            Row::Made(values) => values,
        }
    }

    /// The row's time; 0 for a row without one, which no plan makes.
    pub(crate) fn time(&self) -> i64 {
        time_of(self.values())
    }
}

/// The ROWTIME of a row.
pub(crate) fn time_of(row: &[Value]) -> i64 {
    row.first().map_or(0, Value::integer)
}

/// A result of a pump.
#[derive(Debug)]
pub(crate) enum Made {
    Row(Vec<Value>),
    /// A row that died, with the text that stands when the pump's input row does not.
    Failure(RowError, Option<String>),
}

/// The state that all operators of a pump share while one row or one deadline is processed.
pub(crate) struct Context<'a> {
    pub(crate) clocks: Clocks,
    pub(crate) made: &'a mut Vec<Made>,
    /// Emptied rows, to be filled again.
    pub(crate) spare: &'a mut Vec<Vec<Value>>,
}

impl Context<'_> {
    pub(crate) fn scope<'b>(&'b self, row: &'b [Value]) -> Scope<'b> {
        Scope {
            row,
            clocks: &self.clocks,
        }
    }

    /// Takes a row as a result of the pump.
    pub(crate) fn insert(&mut self, row: Row<'_>) {
        let mut taken = self.spare.pop().unwrap_or_default();
        match row {
            Row::Lent(values) => taken.extend_from_slice(values),
            Row::Made(values) => std::mem::swap(values, &mut taken),
        }
        self.made.push(Made::Row(taken));
    }

    pub(crate) fn fail(&mut self, error: RowError) {
        self.made.push(Made::Failure(error, None));
    }
}

/// Takes the rows that an operator makes.
pub(crate) type Emit<'a> = dyn FnMut(&mut Context<'_>, Row<'_>) + 'a;

/// A snapshot that can't be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("an operator's state can't be written")]
    Write(#[source] minicbor_serde::error::EncodeError<std::convert::Infallible>),
    #[error("an operator's state can't be read")]
    Read(#[source] DecodeError),
}

/// One operator with state.
pub(crate) trait Operator: Send {
    /// Processes a row that comes in at a port (a join has several).
    fn process(
        &mut self,
        port: usize,
        row: Row<'_>,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<()>;

    /// The next instant at which the operator makes rows by itself.
    fn deadline(&self) -> Option<i64> {
        None
    }

    /// Makes the rows of a deadline.
    fn fire(&mut self, at: i64, context: &mut Context<'_>, emit: &mut Emit<'_>) {
        let _ = (at, context, emit);
    }

    /// The state as bytes; empty when there is none.
    fn save(&self) -> Result<Vec<u8>, StateError> {
        Ok(Vec::new())
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let _ = state;
        Ok(())
    }

    /// The bytes of memory that the state takes, about.
    fn state_size(&self) -> usize {
        0
    }
}

pub(crate) fn encode<T: Serialize>(state: &T) -> Result<Vec<u8>, StateError> {
    minicbor_serde::to_vec(state).map_err(StateError::Write)
}

pub(crate) fn decode<T: DeserializeOwned>(state: &[u8]) -> Result<T, StateError> {
    minicbor_serde::from_slice(state).map_err(StateError::Read)
}

/// The memory of a row that an operator keeps, about.
pub(crate) fn row_size(row: &[Value]) -> usize {
    let texts: usize = row
        .iter()
        .map(|value| match value {
            Value::Text(text) => text.len(),
            Value::Binary(bytes) => bytes.len(),
            _ => 0,
        })
        .sum();
    size_of_val(row) + texts + 32
}

/// A row that keeps no record alive.
pub(crate) fn detached(row: &[Value]) -> Vec<Value> {
    row.iter().map(Value::detached).collect()
}
