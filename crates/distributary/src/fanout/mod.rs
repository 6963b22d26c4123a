//! Builds a fan-out from its configuration, and runs it until the end.

mod build;
mod edits;
mod signals;
mod supervise;

pub(crate) use edits::Edits;
pub(crate) use supervise::supervise_all;
