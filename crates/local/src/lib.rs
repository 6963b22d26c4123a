//! The embedded Kinesis: Amazon Kinesis Data Streams in one process, exact, fast, and able to misbehave on command.
//!
//! ```
//! use distributary_local::Local;
//!
//! let local = Local::builder().seed(1).build();
//! local.create_stream("input", 4).unwrap();
//! let transport = local.transport(); // what a client calls, without a socket
//! # let _ = transport;
//! ```
//!
//! - [`Local`] holds streams. It answers encoded requests, through [`LocalTransport`] in process and through [`server`]
//!   over HTTP; both take the same way, so what is true of one is true of the other.
//! - [`Env`] is where time, randomness and waiting come from. Nothing runs in the background: states and retention are
//!   worked out when somebody looks, and a subscription is a stream that is polled.
//! - [`faults`] is misbehaviour on command.

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
mod names;
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
mod token;
mod transport;

pub use env::{Env, RealEnv, Sleep};
pub use faults::Faults;
pub use local::{Builder, CreateError, Dropped, Local};
pub use settings::{Delays, Settings, TrimmedPosition};
pub use store::StoreError;
pub use transport::LocalTransport;
