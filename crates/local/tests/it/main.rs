//! The embedded Kinesis from outside: through its transport, its server and its store.

mod client;
mod records;
mod streams;
