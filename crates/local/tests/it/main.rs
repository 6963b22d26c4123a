//! Tests of the embedded Kinesis through the public API: transport, server and store.

// clippy does not count the helpers of tests as tests, but helpers may panic, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod connections;
mod faults;
mod http;
mod push;
mod records;
mod server;
mod soak;
mod store;
mod streams;
