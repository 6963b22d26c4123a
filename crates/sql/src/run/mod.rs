//! Running programs: operators with their state, pumps, and the processor that drives them.

mod chain;
mod distinct;
mod forest;
mod group;
mod group_rank;
mod items;
mod join;
mod operator;
mod outer;
pub(crate) mod processor;
mod project;
mod slide;
pub(crate) mod snapshot;
mod sort;
pub(crate) mod stateless;
mod time_step;
