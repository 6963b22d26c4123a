//! The streams, tables and functions of an application.

use std::sync::Arc;

use crate::expr::Expr;
use crate::table::ReferenceTable;
use crate::types::SqlType;

/// A column of a stream or a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The name as stored: upper case when declared unquoted.
    pub name: String,
    /// The declared type.
    pub sql_type: SqlType,
    /// Whether a row with NULL here is refused.
    pub not_null: bool,
}

/// The part that a stream plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamRole {
    /// Fed by the source: the input schema makes the rows.
    Input,
    /// Created by the application's code.
    InApplication,
    /// Rows that died, with their reasons.
    Error,
}

/// A stream of an application.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The name as stored.
    pub name: String,
    /// The part that the stream plays.
    pub role: StreamRole,
    /// The declared columns, in their order.
    pub columns: Vec<Column>,
    /// Whether the statement had an error: uses of it are then not reported.
    pub(crate) broken: bool,
}

/// The columns of the input stream that the service adds, after the declared ones. ROWTIME comes
/// first in every row.
pub(crate) const METADATA: [(&str, SqlType); 4] = [
    ("APPROXIMATE_ARRIVAL_TIME", SqlType::Timestamp),
    ("SHARD_ID", SqlType::Varchar(64)),
    ("SEQUENCE_NUMBER", SqlType::Varchar(128)),
    ("PARTITION_KEY", SqlType::Varchar(256)),
];

/// The name of the stream that takes rows which died.
pub(crate) const ERROR_STREAM: &str = "error_stream";

/// The name of the time column that every row has.
pub(crate) const ROWTIME: &str = "ROWTIME";

/// A function that the application defines.
#[derive(Debug, Clone)]
pub(crate) struct UserFunction {
    pub(crate) name: String,
    pub(crate) parameters: Vec<SqlType>,
    pub(crate) returns: SqlType,
    pub(crate) null_on_null: bool,
    pub(crate) body: Arc<Expr>,
}

/// Everything that a query may name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) streams: Vec<Stream>,
    pub(crate) tables: Vec<Arc<ReferenceTable>>,
    pub(crate) functions: Vec<UserFunction>,
    /// Functions whose definition had an error.
    pub(crate) broken_functions: Vec<String>,
    /// Further names of the first input stream.
    pub(crate) aliases: Vec<String>,
}

impl Catalog {
    pub(crate) fn stream(&self, name: &str) -> Option<(usize, &Stream)> {
        let mut streams = self.streams.iter().enumerate();
        if self.aliases.iter().any(|alias| alias == name) {
            return streams.next();
        }
        streams.find(|(_, stream)| stream.name == name)
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Arc<ReferenceTable>> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The names that FROM may use.
    pub(crate) fn relation_names(&self) -> impl Iterator<Item = &str> {
        let streams = self.streams.iter();
        let readable = streams.filter(|stream| stream.role != StreamRole::Error);
        readable
            .map(|stream| stream.name.as_str())
            .chain(self.tables.iter().map(|table| table.name.as_str()))
    }
}

/// The columns of `error_stream`.
pub(crate) fn error_stream() -> Stream {
    let columns = [
        ("ERROR_TIME", SqlType::Timestamp),
        ("ERROR_LEVEL", SqlType::Varchar(10)),
        ("ERROR_NAME", SqlType::Varchar(32)),
        ("MESSAGE", SqlType::Varchar(4096)),
        ("DATA_ROWTIME", SqlType::Timestamp),
        ("DATA_ROW", SqlType::Varchar(49_152)),
        ("PUMP_NAME", SqlType::Varchar(128)),
    ];
    Stream {
        name: ERROR_STREAM.to_owned(),
        role: StreamRole::Error,
        columns: columns
            .into_iter()
            .map(|(name, sql_type)| Column {
                name: name.to_owned(),
                sql_type,
                not_null: false,
            })
            .collect(),
        broken: false,
    }
}
