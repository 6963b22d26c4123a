//! Adapters behind the seams of `distributary-core`, one file each: kinds of outputs and sources
//! with their settings, and stores for progress.
//!
//! - [`outputs`], [`sources`]: the kinds, each listed by one word in `KINDS`.
//! - [`kind`]: a kind as the configuration sees it, without types; [`keys`] and [`values`]:
//!   keys and their values.
//! - [`leases`]: where progress is kept.
//! - [`targets`]: outputs as the table of aws-lambda-fanout has them.

// Parts of some kinds only: a build without these kinds does not use the parts.
#[cfg_attr(not(feature = "full"), allow(dead_code))]
pub(crate) mod connection;
pub(crate) mod formats;
pub mod keys;
pub mod kind;
pub mod leases;
pub mod line_files;
pub(crate) mod lines;
#[cfg_attr(not(feature = "full"), allow(dead_code))]
pub(crate) mod messages;
pub mod outputs;
pub mod sources;
pub mod targets;
pub mod values;
pub(crate) mod webhook;
