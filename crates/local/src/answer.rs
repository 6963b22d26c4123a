//! Encodes pages of records as `GetRecords` answers and as events of a subscription.

use bytes::Bytes;
use distributary_wire::codec::Format;
use distributary_wire::hot::{self, OutgoingRecord};
use distributary_wire::types::ChildShard;

use crate::log::{Page, PageRecord, PageRecords};
use crate::sequence::{DIGITS, ShardNumbers, as_text};

/// Record flag: the record was written while the stream had a KMS key.
pub(crate) const ENCRYPTED: u16 = 1;

/// A page together with the decimal digits of the sequence number of each record.
pub(crate) struct NumberedPage<'a> {
    /// `None` for an answer without records.
    page: Option<&'a Page>,
    /// [`DIGITS`] bytes a record.
    digits: Vec<u8>,
}

impl<'a> NumberedPage<'a> {
    pub(crate) fn new(page: &'a Page, numbers: ShardNumbers) -> Self {
        let mut digits = Vec::with_capacity(page.len() * DIGITS);
        let mut one = [0; DIGITS];
        for record in page.records() {
            numbers
                .of_record(record.offset, record.arrival_ms)
                .write_digits(&mut one);
            digits.extend_from_slice(&one);
        }

        Self {
            page: Some(page),
            digits,
        }
    }

    /// A page without records.
    pub(crate) const fn empty() -> Self {
        Self {
            page: None,
            digits: Vec::new(),
        }
    }

    /// The sequence number of the last record.
    pub(crate) fn last_sequence(&self) -> Option<&str> {
        self.digits
            .last_chunk::<DIGITS>()
            .map(|digits| as_text(digits))
    }

    fn records(&self) -> impl ExactSizeIterator<Item = OutgoingRecord<'_>> + Clone {
        NumberedRecords {
            records: self.page.map(Page::records),
            digits: &self.digits,
        }
    }

    /// The body of a `GetRecords` answer. `behind_ms` is `MillisBehindLatest`.
    pub(crate) fn encode_answer(
        &self,
        format: Format,
        next_iterator: Option<&str>,
        behind_ms: i64,
        children: &[ChildShard],
    ) -> Bytes {
        hot::encode_get_records(format, self.records(), next_iterator, behind_ms, children)
    }

    /// The payload of a `SubscribeToShardEvent`. `behind_ms` is `MillisBehindLatest`.
    pub(crate) fn encode_event(
        &self,
        format: Format,
        continuation: Option<&str>,
        behind_ms: i64,
        children: &[ChildShard],
    ) -> Bytes {
        hot::encode_subscribe_event(format, self.records(), continuation, behind_ms, children)
    }
}

/// Iterates over the records of a [`NumberedPage`] in the form that the encoder takes.
#[derive(Clone)]
struct NumberedRecords<'a> {
    records: Option<PageRecords<'a>>,
    /// Digits of the records that are still to come.
    digits: &'a [u8],
}

impl<'a> Iterator for NumberedRecords<'a> {
    type Item = OutgoingRecord<'a>;

    fn next(&mut self) -> Option<OutgoingRecord<'a>> {
        let PageRecord {
            arrival_ms,
            key,
            data,
            flags,
            ..
        } = self.records.as_mut()?.next()?;

        let (sequence, rest) = self.digits.split_at_checked(DIGITS)?;
        self.digits = rest;

        Some(OutgoingRecord {
            sequence_number: as_text(sequence),
            key,
            data,
            arrival_ms: arrival_ms.cast_signed(),
            encryption_type: (flags & ENCRYPTED != 0).then_some("KMS"),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records
            .as_ref()
            .map_or((0, Some(0)), Iterator::size_hint)
    }
}

impl ExactSizeIterator for NumberedRecords<'_> {}

/// `MillisBehindLatest` of a page: 0 only if no record follows the page.
pub(crate) fn millis_behind(page: &Page, now_ms: u64) -> i64 {
    match page.last_arrival_ms {
        Some(last_ms) if page.next < page.bounds.tail => {
            now_ms.saturating_sub(last_ms).max(1).cast_signed()
        }
        Some(_) | None => 0,
    }
}
