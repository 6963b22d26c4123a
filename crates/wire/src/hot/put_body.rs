//! Writing a `PutRecords` request, once for many outputs.

use bytes::{Bytes, BytesMut};
use ring::digest;

use super::{Data, NotBase64};
use crate::codec::Format;

/// What a record counts against the limits of a record and of a request: its data and its partition key, in bytes.
///
/// Source: [`PutRecords`](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html).
pub fn entry_size(data: Data<'_>, key: Option<&str>) -> usize {
    data.decoded_len() + key.map_or(0, str::len)
}

/// One record to write.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The partition key; the API lets it be absent.
    pub key: Option<&'a str>,
    /// The hash key to route by in place of the partition key's MD5: a decimal number below 2^128.
    pub explicit_hash_key: Option<&'a str>,
    /// The data, in the form at hand.
    pub data: Data<'a>,
}

/// The part of a `PutRecords` body that is the same for every output: all of it but the stream's name.
#[derive(Clone)]
pub struct SharedBody {
    /// The encoding.
    pub format: Format,
    /// The bytes.
    pub bytes: Bytes,
    /// SHA-256 after these bytes, to be cloned and finished with the [`tail`].
    pub hash: digest::Context,
    /// How many records.
    pub entries: usize,
    /// What they count against the limit of a request: see [`entry_size`].
    pub size: usize,
}

/// The stream that a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamRef<'a> {
    /// By name, in the account and region of the request.
    Name(&'a str),
    /// By ARN.
    Arn(&'a str),
}

/// Builds a [`SharedBody`].
pub struct PutRecordsBody {}

impl PutRecordsBody {
    /// Starts a body of exactly `entries` records in `buffer`, which is cleared first. Hand back the buffer of a finished
    /// request (`Bytes::try_into_mut`) and its memory is used again.
    pub fn new(format: Format, buffer: BytesMut, entries: usize) -> Self {
        todo!()
    }

    /// Appends a record; data are converted if the format has them in another form.
    ///
    /// # Errors
    /// [`NotBase64`], if data have to be converted and are not base64; the body is as before then.
    pub fn push(&mut self, entry: &Entry<'_>) -> Result<(), NotBase64> {
        todo!()
    }

    /// How many records have been pushed.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// True if no record has been pushed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What has been pushed counts so much against the limit of a request: see [`entry_size`].
    pub fn size(&self) -> usize {
        todo!()
    }

    /// Ends the shared part. Fewer or more records than announced are made right at the cost of a copy.
    pub fn finish(self) -> SharedBody {
        todo!()
    }
}

/// What follows a [`SharedBody`] to make it a whole request.
pub fn tail(format: Format, stream: StreamRef<'_>) -> Bytes {
    todo!()
}
