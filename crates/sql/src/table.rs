//! Reference tables: rows that are loaded when the program is compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::Column;
use crate::expr::{Clocks, Expr, Scope};
use crate::value::Value;

/// A table of reference data.
#[derive(Debug)]
pub(crate) struct ReferenceTable {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// Each row begins with an unused NULL in the place of a ROWTIME.
    pub(crate) rows: Vec<Vec<Value>>,
}

/// The values that a subquery over a table gave when compiled.
#[derive(Debug, Clone)]
pub(crate) struct Lookup(Arc<LookupValues>);

#[derive(Debug)]
struct LookupValues {
    /// Sorted, without NULLs.
    values: Vec<Value>,
    has_null: bool,
    has_rows: bool,
}

impl PartialEq for Lookup {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Lookup {
    /// Evaluates the subquery. A row on which that fails takes no part.
    pub(crate) fn new(
        table: &ReferenceTable,
        filter: Option<&Expr>,
        column: Option<&Expr>,
    ) -> Self {
        let clocks = Clocks { started: 0, row: 0 };
        let mut found = LookupValues {
            values: Vec::new(),
            has_null: false,
            has_rows: false,
        };

        for row in &table.rows {
            let scope = Scope {
                row,
                clocks: &clocks,
            };
            let passes = filter.is_none_or(|filter| matches!(filter.truth(scope), Ok(Some(true))));
            if !passes {
                continue;
            }
            found.has_rows = true;
            match column.map(|column| column.eval(scope)) {
                Some(Ok(value)) if value.is_null() => found.has_null = true,
                Some(Ok(value)) => {
                    let value = value.into_owned();
                    found.values.push(value);
                }
                Some(Err(_)) | None => {}
            }
        }
        found.values.sort_by(Value::sort_order);
        Self(Arc::new(found))
    }

    /// Whether the values hold this one; UNKNOWN as for IN with a list.
    pub(crate) fn holds(&self, value: &Value) -> Option<bool> {
        if !self.0.has_rows {
            return Some(false);
        }
        if value.is_null() {
            return None;
        }
        let search = self
            .0
            .values
            .binary_search_by(|known| known.sort_order(value));
        match search {
            Ok(_) => Some(true),
            Err(_) if self.0.has_null => None,
            Err(_) => Some(false),
        }
    }

    pub(crate) fn has_rows(&self) -> bool {
        self.0.has_rows
    }
}

/// The rows of a table by the values of an expression over them.
#[derive(Debug)]
pub(crate) struct TableIndex {
    rows: BTreeMap<Vec<u8>, Vec<usize>>,
}

impl TableIndex {
    /// `key` reads a table's row. Rows whose key is NULL equal nothing and are left out.
    pub(crate) fn new(table: &ReferenceTable, key: &Expr) -> Self {
        let clocks = Clocks { started: 0, row: 0 };
        let mut rows: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();

        for (index, row) in table.rows.iter().enumerate() {
            let scope = Scope {
                row,
                clocks: &clocks,
            };
            let Ok(value) = key.eval(scope) else {
                continue;
            };
            if !value.is_null() {
                rows.entry(key_of(&value)).or_default().push(index);
            }
        }
        Self { rows }
    }

    pub(crate) fn find(&self, value: &Value) -> &[usize] {
        self.rows.get(&key_of(value)).map_or(&[], Vec::as_slice)
    }
}

fn key_of(value: &Value) -> Vec<u8> {
    let mut key = Vec::new();
    value.write_key(&mut key);
    key
}
