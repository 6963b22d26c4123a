//! Records that the Kinesis Producer Library aggregated: detected, taken apart, and put together.
//!
//! An aggregate is one record of a stream that holds user records, each with a partition key of its
//! own. Consumers (the KCL, `aws-kinesis-agg`) take aggregates apart; the KCL discards a whole
//! aggregate if one of its user records has a hash key outside the shard that was read.
//!
//! - [`is_aggregate`]: looks for the first bytes; nothing is decoded.
//! - [`Aggregate::parse`]: checks and indexes an aggregate.
//! - [`Packer`]: makes an aggregate.
//! - [`Deaggregator`]: a pump that turns aggregates into their user records.
//!
//! Source: [KPL aggregated record format](https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md):
//! four magic bytes, a protocol buffers message, the MD5 of the message.

mod aggregate;
mod deaggregate;
mod pack;
mod protobuf;

use distributary_core::record::{DataForm, Record};
use distributary_wire::hot::{Data, NotBase64};

pub use aggregate::{Aggregate, UserRecord};
pub use deaggregate::Deaggregator;
pub use pack::Packer;

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const MD5_BYTES: usize = 16;
/// The least number of bytes: magic bytes and MD5.
const BYTES_MIN: usize = MAGIC.len() + MD5_BYTES;

// Fields of the message of an aggregate.
const KEY_TABLE: u64 = 1;
const HASH_KEY_TABLE: u64 = 2;
const RECORDS: u64 = 3;

// Fields of the message of a user record.
const KEY_INDEX: u64 = 1;
const HASH_KEY_INDEX: u64 = 2;
const DATA: u64 = 3;

/// The reason why data that start as an aggregate are none. Such a record is an ordinary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The first bytes are those of other data, or there are fewer than 20 bytes.
    #[error("the data do not start as an aggregate")]
    NoMagic,
    /// Data in JSON that are not base64.
    #[error("the data are not base64")]
    NotBase64,
    /// The message differs from its MD5.
    #[error("the MD5 at the end does not fit the data")]
    Checksum,
    /// The message ends within a field.
    #[error("the message ends within a field")]
    Truncated,
    /// The message is another one than an aggregate's.
    #[error("{0}")]
    Malformed(&'static str),
    /// An aggregate of nothing.
    #[error("the aggregate holds no user record")]
    Empty,
}

impl From<NotBase64> for Damage {
    fn from(_: NotBase64) -> Self {
        Self::NotBase64
    }
}

/// True if the record's data start as an aggregate does. Nothing is decoded.
pub fn is_aggregate(data: Data<'_>) -> bool {
    let starts_so = match data {
        Data::Raw(bytes) => bytes.starts_with(&MAGIC),
        // Four bytes are five base64 characters and two bits of the sixth: 84maw, then 'g' to 'v'
        // (the bits 10....).
        Data::Base64(text) => {
            text.starts_with(b"84maw") && matches!(text.get(5), Some(b'g'..=b'v'))
        }
    };
    starts_so && data.decoded_len() >= BYTES_MIN
}

/// The data of a record of a batch.
pub(crate) fn data_of<'a>(record: &Record<'a>) -> Data<'a> {
    match record.form {
        DataForm::Raw => Data::Raw(record.data),
        DataForm::Base64 => Data::Base64(record.data),
    }
}

#[cfg(test)]
mod tests;
