//! Records of a batch as the processor takes them.

use base64_simd::{STANDARD, forgiving_decode_to_vec};
use bytes::Bytes;
use distributary_core::batch::{Batch, ShardId};
use distributary_core::record::{DataForm, Record};

use crate::run::processor;

/// The data of all records of a batch, decoded.
pub(crate) fn data_of(batch: &Batch) -> Vec<Bytes> {
    let mut ends = Vec::with_capacity(batch.len());
    let mut decoded = Vec::with_capacity(batch.allocation());
    for record in batch.iter() {
        append(&record, &mut decoded);
        ends.push(decoded.len());
    }

    let all = Bytes::from(decoded);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let places = starts.zip(&ends);
    places.map(|(start, end)| all.slice(start..*end)).collect()
}

/// The data of one record, decoded.
pub(crate) fn data(record: &Record<'_>) -> Bytes {
    let mut decoded = Vec::with_capacity(record.data_len());
    append(record, &mut decoded);
    decoded.into()
}

/// Data that is no base64 is taken as it is: the program finds that it is no row.
fn append(record: &Record<'_>, decoded: &mut Vec<u8>) {
    match record.form {
        DataForm::Raw => decoded.extend_from_slice(record.data),
        DataForm::Base64 => match STANDARD.decode_to_vec(record.data) {
            Ok(data) => decoded.extend_from_slice(&data),
            Err(_) => {
                let forgiving = forgiving_decode_to_vec(record.data);
                decoded.extend_from_slice(forgiving.as_deref().unwrap_or(record.data));
            }
        },
    }
}

/// A record of `batch` with its decoded data.
pub(crate) fn record<'a>(
    batch: &'a Batch,
    index: usize,
    data: &'a Bytes,
    shard_index: usize,
) -> processor::Record<'a> {
    let record = batch.record(index);
    processor::Record {
        data,
        arrival: record.arrival.0,
        partition_key: record.key.unwrap_or_default(),
        sequence_number: record.sequence,
        shard_id: batch.origin().shard.as_str(),
        shard_index,
    }
}

/// The number of a shard: the digits at the end of the id (`shardId-000000000007` is 7), so that
/// every run gives a shard to the same of several input streams.
pub(crate) fn shard_index(shard: &ShardId) -> usize {
    let id = shard.as_str();
    let prefix = id.trim_end_matches(|c: char| c.is_ascii_digit());
    id[prefix.len()..].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_shard_is_at_the_end_of_the_id() {
        assert_eq!(shard_index(&ShardId::new("shardId-000000000017")), 17);
        assert_eq!(shard_index(&ShardId::new("tail")), 0);
    }
}
