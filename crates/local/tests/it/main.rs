//! The embedded Kinesis from outside: through its transport, its server and its store.

// Helpers of tests are not tests by clippy's book, but may panic all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod faults;
mod http;
mod push;
mod records;
mod server;
mod soak;
mod store;
mod streams;
