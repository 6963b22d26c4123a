//! Writing a `PutRecords` request, once for many outputs.

use bytes::{Bytes, BytesMut};
use ring::digest;

use super::write::{ARRAY, MAP, cbor_data, cbor_text, head, json_data, json_text};
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
pub struct PutRecordsBuilder {
    format: Format,
    out: BytesMut,
    hash: digest::Context,
    /// How much of `out` is in `hash`.
    hashed: usize,
    announced: usize,
    entries: usize,
    size: usize,
}

/// Bytes that are hashed at a time: few enough to be in the CPU's cache still.
const HASH_STEP: usize = 32 * 1024;

impl PutRecordsBuilder {
    /// Starts a body of exactly `entries` records in `buffer`, which is cleared first. Hand back the buffer of a finished
    /// request (`Bytes::try_into_mut`) and its memory is used again.
    pub fn new(format: Format, mut buffer: BytesMut, entries: usize) -> Self {
        buffer.clear();
        start(format, &mut buffer, entries);
        Self {
            format,
            out: buffer,
            hash: digest::Context::new(&digest::SHA256),
            hashed: 0,
            announced: entries,
            entries: 0,
            size: 0,
        }
    }

    /// Appends a record; data are converted if the format has them in another form. The limits of a request are the
    /// caller's to keep ([`size`](Self::size), [`limits`](crate::limits)).
    ///
    /// # Errors
    /// [`NotBase64`], if data have to be converted and are not base64; the body is as before then.
    pub fn push(&mut self, entry: &Entry<'_>) -> Result<(), NotBase64> {
        match self.format {
            Format::Json => json_entry(&mut self.out, entry, self.entries > 0),
            Format::Cbor => cbor_entry(&mut self.out, entry)?,
        }
        self.entries += 1;
        self.size += entry_size(entry.data, entry.key);
        if self.out.len() - self.hashed >= HASH_STEP {
            self.hash.update(&self.out[self.hashed..]);
            self.hashed = self.out.len();
        }
        Ok(())
    }

    /// How many records have been pushed.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// True if no record has been pushed.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// What has been pushed counts so much against the limit of a request: see [`entry_size`].
    pub fn size(&self) -> usize {
        self.size
    }

    /// Ends the shared part. If fewer or more records were pushed than announced, CBOR is made right at the cost of a copy.
    pub fn finish(mut self) -> SharedBody {
        if self.format == Format::Cbor && self.entries != self.announced {
            let mut wrong = BytesMut::new();
            start(self.format, &mut wrong, self.announced);
            let mut right = BytesMut::with_capacity(self.out.len() + 9);
            start(self.format, &mut right, self.entries);
            right.extend_from_slice(&self.out[wrong.len()..]);
            self.out = right;
            self.hash = digest::Context::new(&digest::SHA256);
            self.hashed = 0;
        }
        if self.format == Format::Json {
            self.out.extend_from_slice(b"]");
        }
        self.hash.update(&self.out[self.hashed..]);
        SharedBody {
            format: self.format,
            bytes: self.out.freeze(),
            hash: self.hash,
            entries: self.entries,
            size: self.size,
        }
    }
}

/// Everything before the first record.
fn start(format: Format, out: &mut BytesMut, entries: usize) {
    match format {
        Format::Json => out.extend_from_slice(b"{\"Records\":["),
        Format::Cbor => {
            head(out, MAP, 2);
            cbor_text(out, "Records");
            head(out, ARRAY, entries as u64);
        }
    }
}

fn json_entry(out: &mut BytesMut, entry: &Entry<'_>, comma: bool) {
    out.extend_from_slice(if comma { b",{\"Data\":" } else { b"{\"Data\":" });
    json_data(out, entry.data);
    if let Some(key) = entry.key {
        out.extend_from_slice(b",\"PartitionKey\":");
        json_text(out, key);
    }
    if let Some(key) = entry.explicit_hash_key {
        out.extend_from_slice(b",\"ExplicitHashKey\":");
        json_text(out, key);
    }
    out.extend_from_slice(b"}");
}

fn cbor_entry(out: &mut BytesMut, entry: &Entry<'_>) -> Result<(), NotBase64> {
    let start = out.len();
    let members = 1 + u64::from(entry.key.is_some()) + u64::from(entry.explicit_hash_key.is_some());
    head(out, MAP, members);
    cbor_text(out, "Data");
    if let Err(error) = cbor_data(out, entry.data) {
        out.truncate(start);
        return Err(error);
    }
    if let Some(key) = entry.key {
        cbor_text(out, "PartitionKey");
        cbor_text(out, key);
    }
    if let Some(key) = entry.explicit_hash_key {
        cbor_text(out, "ExplicitHashKey");
        cbor_text(out, key);
    }
    Ok(())
}

/// What follows a [`SharedBody`] to make it a whole request.
pub fn tail(format: Format, stream: StreamRef<'_>) -> Bytes {
    let (name, value) = match stream {
        StreamRef::Name(value) => ("StreamName", value),
        StreamRef::Arn(value) => ("StreamARN", value),
    };
    let mut out = BytesMut::with_capacity(name.len() + value.len() + 16);
    match format {
        Format::Json => {
            out.extend_from_slice(b",");
            json_text(&mut out, name);
            out.extend_from_slice(b":");
            json_text(&mut out, value);
            out.extend_from_slice(b"}");
        }
        Format::Cbor => {
            cbor_text(&mut out, name);
            cbor_text(&mut out, value);
        }
    }
    out.freeze()
}
