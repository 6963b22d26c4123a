//! Programs in the engine: a stateless one is a [`Pump`](distributary_core::pump::Pump), one with
//! windows or joins a [`StatefulPump`](distributary_core::stateful::StatefulPump).

mod errors;
mod merge;
mod records;
mod rows;
mod stateful;
mod stateless;
mod tips;

pub use errors::{ErrorCounts, ErrorKind};
pub use rows::Route;
pub use stateful::{StatefulSettings, StatefulSqlPump};
pub use stateless::SqlPump;
pub use tips::{Tips, WatchedSource};
