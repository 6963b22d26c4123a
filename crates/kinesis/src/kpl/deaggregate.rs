//! A pump that takes aggregates apart.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use distributary_core::batch::Batch;
use distributary_core::pump::{BadRow, Derived, DerivedBuilder, Pump, PumpId, Row, RowBound};
use distributary_core::record::{DataForm, Record};
use distributary_wire::hot::Data;

use super::{Aggregate, data_of, is_aggregate};

/// Bytes of a batch for each of which one row is expected, until a batch has smaller records.
const BYTES_A_ROW: usize = 128;
/// Bytes of a row's key, on average at most, until a batch has longer keys.
const KEY_BYTES: usize = 64;

/// The pump: a row for each user record of an aggregate, with the key, the explicit hash key and
/// the data of the user record; any other record, a damaged aggregate too, is one row as read.
///
/// Rows are numbered by their index in the aggregate, as the KCL numbers user records.
#[derive(Debug)]
pub struct Deaggregator {
    id: PumpId,
    /// Bytes of a batch that bring a row, at least, in the batches so far.
    bytes_a_row: AtomicUsize,
    /// Bytes of rows for each byte of a batch, rounded up, at most in the batches so far.
    growth: AtomicUsize,
}

impl Default for Deaggregator {
    fn default() -> Self {
        Self {
            id: PumpId::new("kpl-deaggregate"),
            bytes_a_row: BYTES_A_ROW.into(),
            growth: 1.into(),
        }
    }
}

impl Deaggregator {
    /// One pump for all outputs of the process, so that the bound follows the records of each.
    pub fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Arc<Deaggregator>> = LazyLock::new(Arc::default);
        Arc::clone(&SHARED)
    }
}

impl Pump for Deaggregator {
    fn id(&self) -> &PumpId {
        &self.id
    }

    fn streams(&self) -> usize {
        1
    }

    /// Follows the smallest user records that came so far: the first aggregate of user records that
    /// are smaller still takes more memory than reserved.
    fn bound(&self, records: usize, bytes: usize) -> RowBound {
        let rows = records + bytes / self.bytes_a_row.load(Ordering::Relaxed).max(1);
        let growth = self.growth.load(Ordering::Relaxed);
        RowBound {
            rows,
            bytes: bytes * growth + rows * (DerivedBuilder::ROW_OVERHEAD + KEY_BYTES),
        }
    }

    fn apply(&self, batch: &Batch) -> Result<Vec<Derived>, BadRow> {
        let mut rows = DerivedBuilder::new(batch, batch.form());
        for (i, record) in batch.iter().enumerate() {
            match push_user_records(&mut rows, i, &record) {
                Ok(()) => {}
                Err(Apart::NoAggregate) => rows.push(i, record.key, record.data)?,
                Err(Apart::Bad(error)) => return Err(error),
            }
        }

        let derived = rows.finish()?;
        self.learn(batch, &derived);
        Ok(vec![derived])
    }
}

/// The reason why a record was not taken apart.
enum Apart {
    NoAggregate,
    Bad(BadRow),
}

fn push_user_records(
    rows: &mut DerivedBuilder<'_>,
    i: usize,
    record: &Record<'_>,
) -> Result<(), Apart> {
    let data = data_of(record);
    if !is_aggregate(data) {
        return Err(Apart::NoAggregate);
    }
    let decoded = match data {
        Data::Raw(bytes) => Cow::Borrowed(bytes),
        Data::Base64(_) => Cow::Owned(data.decode().map_err(|_| Apart::NoAggregate)?),
    };

    let aggregate = Aggregate::parse(&decoded).map_err(|_| Apart::NoAggregate)?;
    for user in aggregate.records() {
        let row = Row {
            key: Some(user.key),
            explicit_hash_key: user.explicit_hash_key,
            data: &in_form(record.form, user.data),
        };
        rows.push_row(i, &row).map_err(Apart::Bad)?;
    }
    Ok(())
}

fn in_form(form: DataForm, data: &[u8]) -> Cow<'_, [u8]> {
    match form {
        DataForm::Raw => Cow::Borrowed(data),
        DataForm::Base64 => {
            let text = base64_simd::STANDARD.encode_to_string(data);
            Cow::Owned(text.into_bytes())
        }
    }
}

impl Deaggregator {
    /// Takes the density of the rows into account for the next batches.
    fn learn(&self, batch: &Batch, derived: &Derived) {
        let bytes = batch.allocation().max(1);
        let rows = derived.batch().len();
        let more = rows.saturating_sub(batch.len());
        if let Some(bytes_a_row) = bytes.checked_div(more) {
            let least = bytes_a_row.max(1);
            self.bytes_a_row.fetch_min(least, Ordering::Relaxed);
        }

        let overhead = rows * (DerivedBuilder::ROW_OVERHEAD + KEY_BYTES);
        let content = derived.allocation().saturating_sub(overhead);
        let growth = content.div_ceil(bytes);
        self.growth.fetch_max(growth, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use distributary_core::batch::{Origin, ShardId};
    use distributary_core::clock::Millis;
    use distributary_core::record::{RecordIndex, Span};

    use super::super::Packer;
    use super::*;

    fn batch(form: DataForm, records: &[Vec<u8>]) -> Batch {
        let mut buffer = Vec::new();
        let mut put = |bytes: &[u8]| {
            let start = u32::try_from(buffer.len()).unwrap();
            buffer.extend_from_slice(bytes);
            let len = u32::try_from(bytes.len()).unwrap();
            Span { start, len }
        };
        let index = records.iter().enumerate().map(|(i, data)| RecordIndex {
            sequence: put((7 + i).to_string().as_bytes()),
            key: Some(put(b"a")),
            data: match form {
                DataForm::Raw => put(data),
                DataForm::Base64 => put(base64_simd::STANDARD.encode_to_string(data).as_bytes()),
            },
            arrival: Millis(0),
        });
        let index = index.collect();
        let origin = Arc::new(Origin {
            source: "source".into(),
            shard: ShardId::new("shardId-0"),
            hash_range: None,
        });
        Batch::new(origin, buffer.into(), form, index).unwrap()
    }

    #[test]
    fn user_records_become_rows_and_all_else_stays() {
        let mut packer = Packer::default();
        packer.push("k1", None, b"one");
        packer.push("k2", Some(9), b"two");
        let aggregate = packer.finish();
        let mut damaged = aggregate.clone();
        damaged[5] ^= 1;

        for form in [DataForm::Raw, DataForm::Base64] {
            let records = [b"plain".to_vec(), aggregate.clone(), damaged.clone()];
            let pump = Deaggregator::default();
            let derived = pump.apply(&batch(form, &records)).unwrap().remove(0);
            let rows = derived.batch();
            let expected = [
                ("7", "a", &b"plain"[..], None),
                ("8", "k1", b"one", None),
                ("8", "k2", b"two", Some(9)),
                ("9", "a", &damaged, None),
            ];
            assert_eq!(derived.origin(), [0, 1, 1, 2]);
            for (i, (sequence, key, data, hash_key)) in expected.into_iter().enumerate() {
                let row = rows.record(i);
                assert_eq!((row.sequence, row.key), (sequence, Some(key)));
                assert_eq!(data_of(&row).decode().unwrap(), data);
                assert_eq!(rows.explicit_hash_key(i), hash_key);
            }
        }
    }

    #[test]
    fn the_bound_covers_a_batch_like_the_last_one() {
        let mut packer = Packer::default();
        for _ in 0..5000 {
            let key = "a-key-of-sixty-bytes-that-each-of-the-rows-repeats-in-full";
            packer.push(key, None, b"");
        }
        let batch = batch(DataForm::Raw, &[packer.finish()]);
        let pump = Deaggregator::default();
        pump.apply(&batch).unwrap();

        let derived = pump.apply(&batch).unwrap().remove(0);
        let bound = pump.bound(batch.len(), batch.allocation());
        assert!(bound.rows >= derived.batch().len(), "{bound:?}");
        assert!(bound.bytes >= derived.allocation(), "{bound:?}");
    }
}
