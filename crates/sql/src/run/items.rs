//! TOP_K_ITEMS_TUMBLING and COUNT_DISTINCT_ITEMS_TUMBLING, both exact.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::convert::fit_text;
use crate::plan::ItemsPlan;
use crate::run::operator::{Context, Emit, Operator, Row, StateError, decode, encode};
use crate::types::SqlType;
use crate::value::{Evaluated, Value, write_text};

/// The most characters of an item.
const LONGEST_ITEM: SqlType = SqlType::Varchar(1024);

pub(crate) struct Items {
    column: usize,
    sql_type: SqlType,
    most: Option<usize>,
    length: i64,
    state: ItemsState,
}

#[derive(Default, Serialize, Deserialize)]
struct ItemsState {
    counts: BTreeMap<String, i64>,
    /// The end of the open window.
    end: Option<i64>,
    size: usize,
}

impl Items {
    pub(crate) fn new(plan: &ItemsPlan) -> Self {
        Self {
            column: plan.column,
            sql_type: plan.sql_type.clone(),
            most: plan.most,
            length: plan.length,
            state: ItemsState::default(),
        }
    }
}

impl Operator for Items {
    fn process(
        &mut self,
        _port: usize,
        row: Row<'_>,
        _context: &mut Context<'_>,
        _emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        let time = row.time();
        if self.state.end.is_none() {
            self.state.end = Some(time - time.rem_euclid(self.length) + self.length);
        }
        let value = row.values().get(self.column).unwrap_or(&Value::Null);
        if value.is_null() {
            return Ok(());
        }

        let mut item = String::new();
        write_text(value, &self.sql_type, &mut item);
        let size = item.len() + 64;
        let count = self.state.counts.entry(item).or_insert(0);
        if *count == 0 {
            self.state.size += size;
        }
        *count += 1;
        Ok(())
    }

    fn deadline(&self) -> Option<i64> {
        self.state.end
    }

    fn fire(&mut self, at: i64, context: &mut Context<'_>, emit: &mut Emit<'_>) {
        let state = std::mem::take(&mut self.state);
        let Some(most) = self.most else {
            let mut row = counted(at, state.counts.len());
            emit(context, Row::Made(&mut row));
            return;
        };

        let mut items: Vec<(String, i64)> = state.counts.into_iter().collect();
        // The map is sorted by item, and the sort is stable.
        items.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (item, count) in items.into_iter().take(most) {
            let mut row = counted_item(at, item, count);
            emit(context, Row::Made(&mut row));
        }
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

/// The row that holds only the number of items.
fn counted(at: i64, items: usize) -> Vec<Value> {
    let count = i64::try_from(items).unwrap_or(i64::MAX);
    vec![Value::Timestamp(at), Value::Integer(count)]
}

/// The row of one item.
fn counted_item(at: i64, item: String, count: i64) -> Vec<Value> {
    let item = std::borrow::Cow::Owned(item.into());
    let fitted = fit_text(item, &LONGEST_ITEM);
    vec![
        Value::Timestamp(at),
        fitted.into_owned(),
        Value::Integer(count),
    ]
}
