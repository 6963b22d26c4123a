//! The embedded Kinesis from outside: through its transport, its server and its store.

mod client;
mod faults;
mod http;
mod push;
mod records;
mod server;
mod soak;
mod store;
mod streams;
