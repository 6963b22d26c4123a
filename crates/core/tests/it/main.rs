//! The engine over fakes, on a paused clock.

mod engine;
mod fakes;
