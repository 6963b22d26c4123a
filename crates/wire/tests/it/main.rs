//! What the codecs promise each other and the world.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy does not take for tests"
)]

mod hot;
mod sigv4;
mod vary;
