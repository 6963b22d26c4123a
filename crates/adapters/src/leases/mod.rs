//! Where a fan-out's progress is kept.

pub mod format;
pub mod sqlite;
mod watch;
