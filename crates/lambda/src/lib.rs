//! Distributary as an AWS Lambda function: the records of an event are delivered to all outputs,
//! in order and with retries, and the answer names the lowest record that is not durable
//! everywhere.
//!
//! - [`event`]: the forms of events, and records as batches.
//! - [`settings`]: the configuration of a function.
//! - `fleet`: the outputs of one fan-out, built when the first event needs them.
//! - `delivery`: one batch to all outputs until the deadline; `progress`: the records that a retry
//!   leaves out.
//! - [`function`]: from an event to an answer; `answer`: the forms of answers.
//! - [`source`]: the kind of source that a function has.
//!
//! AWS documentation: Lambda developer guide, "Process Amazon Kinesis Data Streams records",
//! "Configuring partial batch response", "Runtime API for custom runtimes".

mod answer;
mod delivery;
pub mod event;
mod fleet;
pub mod function;
mod progress;
pub mod settings;
pub mod source;
