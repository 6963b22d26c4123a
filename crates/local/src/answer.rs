//! Pages of records as answers and events.

use bytes::Bytes;
use distributary_wire::codec::Format;
use distributary_wire::hot::{self, OutgoingRecord};
use distributary_wire::types::ChildShard;

use crate::log::{Item, Page};
use crate::sequence::{DIGITS, ShardNumbers, as_text};

/// A record that was written while the stream was encrypted.
pub(crate) const ENCRYPTED: u16 = 1;

/// A page with its sequence numbers printed.
pub(crate) struct Encoded<'a> {
    page: Option<&'a Page>,
    digits: Vec<u8>,
}

impl<'a> Encoded<'a> {
    pub(crate) fn new(page: &'a Page, numbers: ShardNumbers) -> Self {
        let mut digits = Vec::with_capacity(page.len() * DIGITS);
        let mut one = [0; DIGITS];
        for item in page.iter() {
            numbers.at(item.offset, item.arrival_ms).write(&mut one);
            digits.extend_from_slice(&one);
        }
        Self {
            page: Some(page),
            digits,
        }
    }

    /// No records.
    pub(crate) const fn none() -> Self {
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
        let items = self.page.map(Page::iter);
        Records {
            items,
            digits: &self.digits,
        }
    }

    /// A `GetRecords` answer.
    pub(crate) fn answer(
        &self,
        format: Format,
        next_iterator: Option<&str>,
        behind_ms: i64,
        children: &[ChildShard],
    ) -> Bytes {
        hot::encode_get_records(format, self.records(), next_iterator, behind_ms, children)
    }

    /// The payload of a `SubscribeToShardEvent`.
    pub(crate) fn event(
        &self,
        format: Format,
        continuation: Option<&str>,
        behind_ms: i64,
        children: &[ChildShard],
    ) -> Bytes {
        hot::encode_subscribe_event(format, self.records(), continuation, behind_ms, children)
    }
}

#[derive(Clone)]
struct Records<'a> {
    items: Option<crate::log::Items<'a>>,
    digits: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = OutgoingRecord<'a>;

    fn next(&mut self) -> Option<OutgoingRecord<'a>> {
        let Item {
            arrival_ms,
            key,
            data,
            flags,
            ..
        } = self.items.as_mut()?.next()?;
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
        self.items
            .as_ref()
            .map_or((0, Some(0)), Iterator::size_hint)
    }
}

impl ExactSizeIterator for Records<'_> {}

/// How far behind the tip a page ends, in milliseconds: 0 only if nothing follows it.
pub(crate) fn millis_behind(page: &Page, now_ms: u64) -> i64 {
    match page.last_arrival_ms {
        Some(last_ms) if page.next < page.bounds.tail => {
            now_ms.saturating_sub(last_ms).max(1).cast_signed()
        }
        Some(_) | None => 0,
    }
}
