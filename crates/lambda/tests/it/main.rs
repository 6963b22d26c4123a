//! The program `bootstrap` against a Runtime API and an embedded Kinesis, both in the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod events;
mod function;
mod start;
mod streams;
#[cfg(feature = "dynamodb")]
mod targets;
