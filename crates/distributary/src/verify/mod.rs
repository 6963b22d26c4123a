//! The comparison of a stream with its copies: records that are missing, extra, repeated or out of
//! order.
//!
//! **Scope**: the contents of the streams at the start of the comparison, as multisets of
//! (partition key, data). Equal records are legitimate: if the source has a record three times,
//! the copy must have three of them.
//! - *missing*: the copy has fewer of a record than the source;
//! - *extra*: the copy has a record that the source has not;
//! - *repeated*: the copy has more of a record than the source.
//!
//! **Order** is judged per partition key, by the last occurrence of each record, since a copy that
//! sends again after a failure repeats records without disorder (docs/SEMANTICS.md, line 3). A
//! record is *out of order* if a later record of the copy comes before the record in the source.
//! In detail:
//! - The records of a key are read from the end, in the source and in the copy alike; a shard's
//!   parents come before the shard.
//! - The last of equal records in the copy stands for the last of them in the source. Each other
//!   one stands for the next record of the source that is not found yet, if both are equal;
//!   otherwise the record is a repeat, which has no effect.
//! - The key is in order if all records of the source are found one after the other.
//! - Missing records, their equals, and extra records are left out.
//! - Records without a key have no order. A copy to a stream that demands a key has the source's
//!   sequence number as key, so a key that is a sequence number counts as none.
//!
//! A key can lie in several shards side by side (explicit hash keys), between which there is no
//! order. Such a key is judged for each pair of a shard of the source and a shard of the copy, by
//! records that have no equals.
//!
//! **Memory** is bounded. Of each record only a row of 32 to 41 bytes is kept, with fingerprints
//! of 128 bits made by SipHash with a random key. Rows beyond `Limits::memory` go to temporary
//! files: up to 32 bytes for each record of each stream, 74 more for each record of the source and
//! of the copy being compared, and half as much again during merges. The chance that two different
//! records are taken for equal is below n² / 2^128 for n records.

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
