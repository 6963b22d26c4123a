//! Names of records that are the same each time that a record is sent.

use std::fmt::Write as _;

use distributary_core::batch::Batch;
use ring::digest;

/// `SHARD:SEQUENCE` of record `i`; a row of a pump, or a part of a record, has a number behind the
/// sequence number, from the second one on.
pub(crate) fn id(batch: &Batch, i: usize) -> String {
    format!("{}:{}", batch.origin().shard, within_shard(batch, i))
}

/// `SEQUENCE`, or `SEQUENCE.NUMBER`, of record `i`.
pub(crate) fn within_shard(batch: &Batch, i: usize) -> String {
    let sequence = batch.record(i).sequence;
    let before = (0..i).rev();
    let rows = before.take_while(|before| batch.record(*before).sequence == sequence);
    match rows.count() {
        0 => sequence.to_owned(),
        rows => format!("{sequence}.{rows}"),
    }
}

/// SHA-256 of `text` as hexadecimal digits.
pub(crate) fn sha256(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut hexadecimal = String::with_capacity(64);
    for byte in digest.as_ref() {
        // A String takes all.
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    hexadecimal
}
