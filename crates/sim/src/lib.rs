//! Deterministic, seeded simulation: the same seed always plays the same run, on a paused clock and
//! in one thread.
//!
//! There are two [levels](scenario::Level): the engine over the fakes of its seams
//! ([`distributary_core::testing`]), and the whole path, where the real client calls an embedded
//! Kinesis over a faulty network. A seed draws a [`scenario`], [`run`] plays the scenario, and
//! [`truth`] checks each line of the contract that can be checked at the seams, at every event.
//!
//! Apart are runs with several workers ([`play_workers`]), with streams that are created again
//! ([`play_recreation`]), and with KPL aggregates ([`play_aggregates`]).

mod counter;
mod environment;
mod fakes;
pub mod mutations;
mod recreation;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod trace;
pub mod truth;
mod whole;
mod workers;

pub use recreation::play_recreation;
pub use whole::play_aggregates;
pub use workers::play_workers;
