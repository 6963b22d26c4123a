//! Where a fan-out's progress is kept, and how workers share its shards.

#[cfg(feature = "dynamodb")]
pub mod dynamodb;
pub mod format;
pub mod sqlite;
mod thread;
mod watch;

use std::str::FromStr;

use crate::values::{Expected, nearest};

/// The store of leases and progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LeaseStore {
    /// The state file: this worker alone reads every shard.
    #[default]
    Sqlite,
    /// A DynamoDB table, called like the fan-out where no name is given: workers with the same
    /// table share the shards.
    DynamoDb {
        /// The table.
        table: Option<String>,
    },
}

impl FromStr for LeaseStore {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let (store, table) = match text.split_once(':') {
            Some((store, table)) => (store, Some(table.to_owned())),
            None => (text, None),
        };
        match (store, table) {
            ("sqlite", None) => Ok(Self::Sqlite),
            ("dynamodb", _) if !cfg!(feature = "dynamodb") => Err(Expected::new(
                "dynamodb is not in this build: it needs the cargo feature dynamodb; use a released \
                 binary, or build with --features dynamodb",
            )),
            ("dynamodb", Some(table)) if !is_table_name(&table) => Err(Expected(format!(
                "{table:?} is no name of a DynamoDB table: expected 3 to 255 of a-z, A-Z, 0-9, _, - and ."
            ))),
            ("dynamodb", table) => Ok(Self::DynamoDb { table }),
            _ => Err(unknown(text)),
        }
    }
}

fn unknown(text: &str) -> Expected {
    let hint = match nearest(text, ["sqlite", "dynamodb"].into_iter()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => "expected sqlite, dynamodb or dynamodb:TABLE".to_owned(),
    };
    Expected(format!("{text:?} is no store of leases; {hint}"))
}

/// The rule of DynamoDB (API reference, `CreateTable`).
fn is_table_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (3..=255).contains(&name.len()) && name.bytes().all(allowed)
}
