//! The real program, against an embedded Kinesis.

mod demo;
mod local;
mod put;
mod run;
mod served;
mod tail;
mod verify;
