//! Deterministic, seeded simulation: one seed is one run, bit for bit, on a paused clock and in one thread. There are two
//! [levels](scenario::Level): the engine over simulated seams ([`distributary_core::testing`]), and the whole path, in which
//! the real client talks over a faulty network to an embedded Kinesis. What a seed stands for is a [`scenario`], and every line
//! of the contract that can be judged at the seams is judged by [`truth`] whenever something happens there.

mod fakes;
pub mod mutations;
mod parts;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod trace;
pub mod truth;
mod whole;
