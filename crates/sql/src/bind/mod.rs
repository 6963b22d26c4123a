//! From the syntax tree to plans: names are resolved, types are checked.

mod aggregate;
mod call;
mod expression;
mod forest;
mod group_rank;
mod insert;
mod monotonic;
mod relation;
mod scope;
mod select;
mod statement;
mod table_function;
mod window;

pub(crate) use monotonic::Driver;
pub(crate) use statement::{BoundPump, bind_application, query_columns};
