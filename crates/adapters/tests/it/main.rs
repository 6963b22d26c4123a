//! Tests over the crate's public interface.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod file;
mod http;
mod kinds;
mod state;
