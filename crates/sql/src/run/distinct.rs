//! SELECT DISTINCT: the first row of each combination, until the driving column changes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::run::operator::{Context, Emit, Operator, Row, StateError, decode, encode};
use crate::value::{Evaluated, Value};

pub(crate) struct Distinct {
    driving: usize,
    compared: Vec<usize>,
    state: DistinctState,
}

#[derive(Default, Serialize, Deserialize)]
struct DistinctState {
    driving: Option<Value>,
    seen: BTreeSet<Vec<u8>>,
    size: usize,
}

impl Distinct {
    pub(crate) fn new(driving: usize, compared: Vec<usize>) -> Self {
        Self {
            driving,
            compared,
            state: DistinctState::default(),
        }
    }

    fn forget_when_changed(&mut self, row: &[Value]) {
        let now = row.get(self.driving).unwrap_or(&Value::Null);
        if self
            .state
            .driving
            .as_ref()
            .is_some_and(|before| before.is_same(now))
        {
            return;
        }
        self.state = DistinctState {
            driving: Some(now.detached()),
            ..DistinctState::default()
        };
    }
}

impl Operator for Distinct {
    fn process(
        &mut self,
        _port: usize,
        row: Row<'_>,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        self.forget_when_changed(row.values());
        let mut key = Vec::new();
        for index in &self.compared {
            row.values()
                .get(*index)
                .unwrap_or(&Value::Null)
                .write_key(&mut key);
        }

        let size = key.len() + 64;
        if self.state.seen.insert(key) {
            self.state.size += size;
            emit(context, row);
        }
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, StateError> {
        encode(&self.state)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        self.state = decode(state)?;
        Ok(())
    }

    fn state_size(&self) -> usize {
        self.state.size
    }
}
