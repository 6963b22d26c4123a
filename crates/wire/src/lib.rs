//! The Amazon Kinesis Data Streams protocol (`Kinesis_20131202`), and nothing else: operations as
//! types, JSON 1.1 and CBOR 1.1, event-stream frames, SigV4. No I/O, no clock, no threads.
//!
//! Both sides are here: a client encodes requests and decodes answers, a server does the reverse.
//!
//! - [`op`] names the operations.
//! - [`types`] holds the request and the answer of each operation.
//! - [`codec`] turns any request or answer into bytes and back: the generic codec.
//! - [`hot`] does the same for `PutRecords`, `GetRecords` and `SubscribeToShard` events without
//!   copying record data. Tests check that [`hot`] and [`codec`] read and write the same.
//! - [`error`] is the answer of a server that refuses or fails.
//! - [`eventstream`] holds the frames that a server pushes to a subscriber.
//! - [`sigv4`] signs requests.
//! - [`arn`], [`hashkey`] and [`limits`] hold the protocol's names, numbers and limits.
//! - [`transport`] is the seam: a trait that sends one signed request and returns the answer.

pub mod arn;
pub mod codec;
pub mod error;
pub mod eventstream;
pub mod hashkey;
pub mod hot;
pub mod limits;
pub mod op;
pub mod sigv4;
pub mod transport;
pub mod types;
