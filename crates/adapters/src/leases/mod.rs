//! Where a fan-out's progress is kept.

mod format;
pub mod sqlite;
