//! Tests over scripted transports and small servers of their own; joint tests with the embedded Kinesis live elsewhere.

mod client;
mod http;
mod output;
mod script;
mod source;
