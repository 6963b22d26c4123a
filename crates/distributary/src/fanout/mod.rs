//! From a configuration to a running fan-out, and what happens to it until it ends.

mod build;
mod edits;
mod signals;
mod supervise;

pub(crate) use edits::Edits;
pub(crate) use supervise::supervise_all;
