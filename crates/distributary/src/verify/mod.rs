//! The comparison of a stream with its copies: nothing missing, nothing extra, nothing repeated, nothing out of order.
//!
//! **What is compared**: what the streams held when the comparison began, as multisets of (partition key, data). Equal
//! records are legitimate; a source that has one three times has to have three in the copy.
//! - *missing*: the copy has fewer of them than the source;
//! - *extra*: the copy has a record that the source has not;
//! - *repeated*: the copy has more of them than the source.
//!
//! **Order** is judged per partition key, by each record's last occurrence, since a copy that sends again after a failure
//! repeats records without disorder (docs/SEMANTICS.md, line 3). A record is *out of order* if, in the copy, a record
//! comes after it that comes before it in the source. Exactly: read a key's records from the end, in the source and in the
//! copy alike (a shard's parents come before it). The last of a record's equals in the copy stands for the last of its
//! equals in the source. Each other one stands for the next record of the source that is not found yet, if it is equal to
//! that; if not, it is a repeat and says nothing. The key is in order if that finds all records of the source one after
//! the other. Records that are missing, and their equals, are left out, as are extra ones. Records without a key have no
//! order. (A copy to a stream that demands a key has the source's sequence number for it; a key that is a sequence number
//! counts as none.)
//!
//! A key may lie in several shards side by side (explicit hash keys). There is no order between those; it is then judged
//! for each pair of a shard of the source and a shard of the copy by itself, for records that have no equals.
//!
//! **Memory** is bounded: of each record only a row of 32 to 41 bytes is kept, fingerprints of 128 bits made by SipHash with
//! a random key; what exceeds `Limits::memory` goes to temporary files: in all up to 32 bytes for each record of each
//! stream, 74 more for each record of the source and of the copy that is being compared, and half as much again while runs
//! are merged. The chance that two differing records are taken for equal is below n² / 2^128 for n records.

mod ancestry;
mod compare;
mod examples;
mod order;
mod read;
mod report;
mod rows;
mod run;
mod sort;

pub(crate) use read::ReadError;
pub(crate) use report::{Report, Tolerance};
pub(crate) use run::{Options, Progress, Subject, verify};
