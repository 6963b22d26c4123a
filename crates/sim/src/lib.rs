//! Deterministic, seeded simulation: one seed is one run, bit for bit. The engine runs over simulated seams
//! ([`distributary_core::testing`]) on a paused clock, in one thread; what a seed stands for is a [`scenario`], and every
//! line of the contract that can be judged at the seams is judged by [`truth`] whenever something happens there.

pub mod mutations;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod trace;
pub mod truth;
