//! Filters: event patterns exactly as Amazon EventBridge, EventBridge Pipes and the event source
//! mappings of AWS Lambda have them, and globs over partition keys.
//!
//! A pattern is compiled once ([`Filter::compile`]). Matching reads a record's data in one pass and
//! skips every member that no pattern names. The reference is AWS's own matcher, Event Ruler.

mod address;
mod alternative;
mod compile;
mod event;
mod glob;
mod join;
mod json;
mod number;
mod pump;
mod tree;

pub use compile::{BadPattern, PATTERN_CHARS_MAX, PATTERNS_MAX};
pub use event::{Decision, Filter};
pub use glob::Glob;
pub use pump::{FilterPump, OnNotJson};
