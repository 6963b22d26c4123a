//! Writing a `PutRecords` request once for many outputs.

use bytes::{Bytes, BytesMut};
use ring::digest;

use super::write::{
    ARRAY, MAP, cbor_data, cbor_head, cbor_member, cbor_text, json_data, json_member, json_text,
};
use super::{Data, NotBase64};
use crate::codec::Format;

/// The size of a record in bytes, as the limits of a record and of a request count: data and
/// partition key.
///
/// Source: [`PutRecords`](crate::op::Operation::PutRecords).
pub fn entry_size(data: Data<'_>, key: Option<&str>) -> usize {
    data.decoded_len() + key.map_or(0, str::len)
}

/// One record to write.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The partition key; optional in the API.
    pub key: Option<&'a str>,
    /// The hash key that routes the record in place of the partition key's MD5: a decimal number
    /// below 2^128.
    pub explicit_hash_key: Option<&'a str>,
    /// The data, in either form.
    pub data: Data<'a>,
}

/// The part of a `PutRecords` body that is the same for every output: everything but the stream.
#[derive(Clone)]
pub struct SharedBody {
    /// The encoding.
    pub format: Format,
    /// The encoded records.
    pub bytes: Bytes,
    /// The SHA-256 state after `bytes`. Clone the state and finish the clone with the [`tail`].
    pub hash: digest::Context,
    /// The number of records.
    pub entries: usize,
    /// The sum of [`entry_size`] of the records, in bytes.
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

/// Builds a [`SharedBody`] record by record.
pub struct PutRecordsBuilder {
    format: Format,
    out: BytesMut,
    hash: digest::Context,
    /// The number of bytes of `out` that are in `hash`.
    hashed: usize,
    /// The number of records that the start of the body announces.
    announced: usize,
    entries: usize,
    size: usize,
}

/// Bytes that are hashed at a time: few enough to be still in the CPU's cache.
const HASH_STEP: usize = 32 * 1024;

impl PutRecordsBuilder {
    /// Starts a body of exactly `entries` records in `buffer`, which is cleared first. To reuse
    /// memory, pass the buffer of a finished request (`Bytes::try_into_mut`).
    pub fn new(format: Format, mut buffer: BytesMut, entries: usize) -> Self {
        buffer.clear();
        write_start(format, &mut buffer, entries);
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

    /// Appends a record; data are converted to the form of the format. The caller must keep within
    /// the limits of a request ([`size`](Self::size), [`limits`](crate::limits)).
    ///
    /// # Errors
    /// [`NotBase64`], if data must be converted and are not base64; the body is unchanged.
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

    /// The number of records pushed.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// True if no record has been pushed.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The sum of [`entry_size`] of the records pushed, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Ends the shared part. If the number of records differs from the announced number, a CBOR
    /// body is copied to correct the number.
    pub fn finish(mut self) -> SharedBody {
        match self.format {
            Format::Json => self.out.extend_from_slice(b"]"),
            Format::Cbor if self.entries != self.announced => self.rewrite_start(),
            Format::Cbor => {}
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

    /// Replaces the start of the body by one with the actual number of records.
    fn rewrite_start(&mut self) {
        let mut old_start = BytesMut::new();
        write_start(self.format, &mut old_start, self.announced);

        let mut out = BytesMut::with_capacity(self.out.len() + 9);
        write_start(self.format, &mut out, self.entries);
        out.extend_from_slice(&self.out[old_start.len()..]);

        self.out = out;
        self.hash = digest::Context::new(&digest::SHA256);
        self.hashed = 0;
    }
}

/// Writes everything before the first record.
fn write_start(format: Format, out: &mut BytesMut, entries: usize) {
    match format {
        Format::Json => out.extend_from_slice(b"{\"Records\":["),
        Format::Cbor => {
            cbor_head(out, MAP, 2);
            cbor_text(out, "Records");
            cbor_head(out, ARRAY, entries as u64);
        }
    }
}

fn json_entry(out: &mut BytesMut, entry: &Entry<'_>, comma: bool) {
    out.extend_from_slice(if comma { b",{\"Data\":" } else { b"{\"Data\":" });
    json_data(out, entry.data);
    json_member(out, b",\"PartitionKey\":", entry.key);
    json_member(out, b",\"ExplicitHashKey\":", entry.explicit_hash_key);
    out.extend_from_slice(b"}");
}

fn cbor_entry(out: &mut BytesMut, entry: &Entry<'_>) -> Result<(), NotBase64> {
    let start = out.len();
    let members = 1 + u64::from(entry.key.is_some()) + u64::from(entry.explicit_hash_key.is_some());
    cbor_head(out, MAP, members);
    cbor_text(out, "Data");
    if let Err(error) = cbor_data(out, entry.data) {
        out.truncate(start);
        return Err(error);
    }

    cbor_member(out, "PartitionKey", entry.key);
    cbor_member(out, "ExplicitHashKey", entry.explicit_hash_key);
    Ok(())
}

/// The end of a request: with a [`SharedBody`] in front, the body is complete.
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
