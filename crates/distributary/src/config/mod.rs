//! The flags of `run`, made from the configuration's tables of keys, and the pages about them.

mod flags;
#[cfg(test)]
mod reference;

pub(crate) use distributary_config::values::{Span, StartAt};
pub(crate) use flags::KeyFlags;
