//! The Amazon Kinesis Data Streams protocol (`Kinesis_20131202`), and nothing else: operations as types, JSON 1.1 and
//! CBOR 1.1, event-stream frames, SigV4. No I/O, no clock, no threads.
//!
//! Both sides of it: a client encodes requests and decodes answers, a server the other way round.
//!
//! - [`op`] names the operations, [`types`] holds their requests and answers, [`codec`] turns those into bytes and back.
//! - [`hot`] does the same for `PutRecords`, `GetRecords` and `SubscribeToShard` events without copying what is only
//!   passed on. What it writes and reads is what [`codec`] would; tests hold the two together.
//! - [`error`] is what a server answers instead, [`eventstream`] how it pushes, [`sigv4`] how a request is signed.
//! - [`arn`], [`hashkey`] and [`limits`] are the protocol's small vocabulary.
//! - [`transport`] is the seam: what moves one signed request and its answer.

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
