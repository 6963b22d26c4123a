//! The engine over fakes, on a paused clock.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests; clippy's own exception does not see helpers"
)]

mod bench;
mod deliver;
mod engine;
mod gathering;
mod isolation;
mod leases;
mod pumps;
mod push;
mod reading;
mod recognised;
mod stateful;
mod stress;
