# `just` lists these. Each is one command that you can also type.

default:
    @just --list

# Build and run the demo: an embedded Kinesis, a producer, the fan-out and the comparison.
demo:
    cargo run --release -- demo

# All tests that need nothing but crates.io.
test:
    cargo test --workspace

# What a change must pass, without the slow parts: format, lints, docs, repository checks.
check:
    cargo fmt --all --check
    rustfmt --edition 2024 --check crates/adapters/src/outputs/*.rs crates/adapters/src/sources/*.rs
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    cargo run -p xtask -- tidy

# Everything, as CI runs it.
ci:
    bash .ci/run

# Against other people's software: `just interop`, or `just interop -k story`.
interop *ARGS:
    tests/interop/run {{ARGS}}

# Play this many seeds of the simulation.
sim SEEDS="1000":
    cargo run --release -p distributary-sim -- --seeds {{SEEDS}}

# Run one fuzz target of a crate, such as `just fuzz wire requests 60`.
fuzz CRATE TARGET SECONDS="60":
    cd crates/{{CRATE}} && mkdir -p fuzz/corpus/{{TARGET}} && \
        cargo +nightly fuzz run {{TARGET}} fuzz/corpus/{{TARGET}} fuzz/seeds/{{TARGET}} -- -max_total_time={{SECONDS}}

# Write docs/LOCAL-INTEROP.md anew from a run.
interop-table:
    INTEROP_WRITE_TABLE=1 tests/interop/run -k smoke
