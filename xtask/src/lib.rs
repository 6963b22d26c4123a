//! Checks on the repository itself; `tests/tidy.rs` runs them with `cargo test --workspace`.

pub mod tidy;
