//! The Amazon Kinesis Data Streams protocol (`Kinesis_20131202`), and nothing else: operations as types, JSON 1.1 and
//! CBOR 1.1, event-stream frames, SigV4. No I/O, no clock, no threads.

pub mod transport;
