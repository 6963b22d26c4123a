//! The fan-out itself: **source → batch → lanes → outputs → checkpoint**, with no network and no
//! AWS.
//!
//! - [`record`], [`batch`], [`checkpoint`]: the data.
//! - [`source`], [`output`], [`pump`], [`stateful`], [`store`]: the seams. Everything outside comes
//!   in through one of them.
//! - [`clock`]: time, sleeping and randomness, from outside as well.
//! - [`engine`]: shard readers, lanes, retries, progress, supervision, status.
//! - [`text`], [`secrets`], [`sync`]: errors as text, redaction, and locking.
//! - `testing` (a feature): fakes of the seams, and conformance tests for every implementation.

pub mod batch;
pub mod checkpoint;
pub mod clock;
pub mod engine;
mod id;
pub mod leases;
pub mod output;
pub mod ownership;
pub mod pump;
pub mod record;
pub mod secrets;
pub mod source;
pub mod stateful;
pub mod store;
pub mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
