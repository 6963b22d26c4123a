//! Checks of the repository itself; `tests/tidy.rs` runs the checks with `cargo test --workspace`.

pub mod tidy;
