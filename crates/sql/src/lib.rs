//! Kinesis Data Analytics SQL, in process: a compiler, a row interpreter and streaming operators,
//! without I/O and without a clock.
//!
//! [`Application`] → [`Program::compile`] → [`Processor`]: records in, rows out. [`harness`] runs
//! an application on a file of records, as `distributary sql test` does.

mod aggregate;
mod application;
mod bind;
mod catalog;
mod convert;
mod error;
mod expr;
mod forest;
mod functions;
pub mod harness;
mod infer;
mod input;
mod logs;
mod output;
mod plan;
mod program;
pub mod pump;
mod query;
mod reference;
mod run;
mod table;
mod text;
mod types;
mod value;

pub use application::{Application, OutputSpec};
pub use catalog::{Column, Stream, StreamRole};
pub use error::{CompileError, CompileErrors, ErrorClass};
pub use infer::infer_schema;
pub use input::schema::InputSchema;
pub use output::{RowFormat, write_json_row};
pub use program::Program;
pub use query::application_of_query;
pub use reference::ReferenceSpec;
pub use run::processor::{Emitted, Processor, ProcessorSettings, Record, Sink, StateLimitExceeded};
pub use run::snapshot::RestoreError;
pub use run::stateless::{Applied, Selection, StatelessProcessor};
pub use types::{IntervalType, RowField, SqlType, Unit};
pub use value::{ErrorName, Value};
