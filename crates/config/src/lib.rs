//! The configuration, for every program that runs fan-outs: from a file, flags and environment
//! variables to a [`Process`].
//!
//! A value is taken from the first of these that has it: a flag, the flag's environment variable,
//! the file, the default. Flags, variables and keys have one table ([`keys`]) and one set of names.
//!
//! - [`mod@file`]: TOML with the place of each key. [`input`]: flags and variables. Both give
//!   [`table::Table`]s.
//! - [`check`]: unknown keys and wrong values, all of a file at once.
//! - [`resolve`]: tables to a [`Process`], with every default filled in.
//! - [`build`], [`dead_letter_outputs`], [`discovery`], [`programs`]: from a [`Process`] to
//!   outputs, outputs that are found by name, and compiled pumps.

pub mod build;
pub mod check;
mod cycles;
mod dead_letter;
pub mod dead_letter_outputs;
pub mod discovery;
pub mod file;
mod filter;
pub mod input;
pub mod keys;
pub mod mistake;
mod outputs;
pub mod pattern;
pub mod process;
pub mod programs;
pub mod pumps;
pub mod registry;
pub mod resolve;
mod source;
pub mod table;
pub mod targets;

pub use distributary_adapters::values;
pub use input::Input;
pub use mistake::{Mistake, Mistakes, Place};
pub use pattern::OutputPattern;
pub use process::{FanOutConfig, LogFormat, OutputConfig, Preparation, Process, RefusedRecords};
pub use pumps::{PumpCode, PumpConfig, PumpReference, RowWord, RowsConfig};
pub use registry::Registry;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
