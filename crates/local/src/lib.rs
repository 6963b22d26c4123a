//! The embedded Kinesis: Amazon Kinesis Data Streams in one process, exact, fast, and with faults
//! on command.
//!
//! ```
//! use distributary_local::Local;
//!
//! let local = Local::builder().seed(1).build();
//! local.create_stream("input", 4).unwrap();
//! let transport = local.transport(); // calls the streams without a socket
//! # let _ = transport;
//! ```
//!
//! - [`Local`] holds streams and answers encoded requests. [`LocalTransport`] passes requests in
//!   process, [`server`] over HTTP; both use the same code, so both give the same answers.
//! - [`Env`] supplies time, randomness and sleep. Nothing runs in the background: states and
//!   retention are computed at the next call, and a subscription is a stream that the caller polls.
//! - [`faults`] makes calls fail on command.
//!
//! A request's way through the modules: `dispatch` → `faults` (effects on the call) → `ops` (one
//! function for each operation) → `stream` (shards and settings) → `log` (records of a shard) →
//! `store` (disk, optional). `push` is the answer of `SubscribeToShard`.

mod answer;
mod check;
mod consumer;
mod dispatch;
mod env;
mod errors;
pub mod faults;
mod local;
mod log;
#[cfg(test)]
mod log_model;
mod ops;
mod push;
mod rates;
mod reshard;
mod sequence;
pub mod server;
mod settings;
mod store;
mod stream;
mod sync;
mod target;
mod token;
mod transport;

pub use env::{Env, RealEnv, Sleep};
pub use faults::Faults;
pub use local::{Builder, CreateError, Dropped, Local};
pub use settings::{Delays, Settings, TrimmedPosition};
pub use store::StoreError;
pub use transport::LocalTransport;
