//! The codecs against each other, and signatures against AWS's signer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy does not count helpers of tests as tests"
)]

mod hot;
mod sigv4;
mod vary;
