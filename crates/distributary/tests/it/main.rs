//! The real program, against an embedded Kinesis.

// Helpers of tests are not tests by clippy's book, but may panic all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod check;
mod control;
mod daemon;
mod dead_letters;
mod demo;
mod discovery;
mod edits;
mod faults;
mod filters;
mod iam;
mod kinds;
mod local;
mod pace;
mod pages;
mod proxy;
mod pumps;
mod put;
mod reliability;
mod replay;
mod reshard;
mod run;
mod secrets;
mod seek;
mod served;
mod start;
mod state;
mod streams;
mod surroundings;
mod tail;
mod verify;
