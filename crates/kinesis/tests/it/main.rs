//! Tests over scripted transports and small servers of their own; joint tests with the embedded
//! Kinesis live elsewhere.

// The lint knows tests but not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod aggregates;
mod client;
mod config;
mod credentials;
mod environment;
mod http;
mod output;
mod script;
mod source;
