//! The log of a shard: records in the order of their arrival, appended at the end and dropped at
//! the beginning.
//!
//! A record's offset is counted from 0 at the shard's creation. Offsets are assigned and records
//! are inserted under one lock, so a reader at record *n* has been shown every record before *n*.
//!
//! Terms, from small to large:
//! - an [`Entry`] is the index of one record (8 bytes);
//! - a [`Piece`] is the bytes of the records of one append, each as key followed by data;
//! - a [`Segment`] is the pieces that share one buffer ("chunk") of up to 1 MiB. Retention frees
//!   whole segments.
//!
//! Readers share the buffers; reading copies index entries and no data.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of a shard's first buffer. Each following buffer is four times as large, up to
/// [`CHUNK_MAX`], so that a stream with many idle shards stays small.
const CHUNK_FIRST: usize = 64 * 1024;
/// Bytes of the largest buffer. Retention frees whole buffers, so a shard may hold this many bytes
/// above the byte budget.
const CHUNK_MAX: usize = 1024 * 1024;
/// Pieces in one segment. Bounds the search in a segment when records are small.
const SEGMENT_PIECES: usize = 16 * 1024;
/// Key length of a record without a partition key. A key has at most 256 characters.
const NO_KEY: u16 = u16::MAX;

/// Index of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// First byte of the record in the bytes of the piece.
    pub(crate) start: u32,
    /// Bytes of the partition key, or [`NO_KEY`].
    pub(crate) key_length: u16,
    pub(crate) flags: u16,
}

/// Consecutive records that arrived together.
#[derive(Debug)]
struct Piece {
    /// Offset of the first record.
    first: u64,
    arrival_ms: u64,
    bytes: Bytes,
    /// Index of the first record in the segment's entries.
    first_entry: u32,
}

/// The records of one buffer.
#[derive(Debug, Default)]
struct Segment {
    /// Offset of the first record.
    first: u64,
    /// Bytes of data and keys.
    bytes: usize,
    entries: Vec<Entry>,
    pieces: Vec<Piece>,
}

impl Segment {
    /// The offset after the last record.
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The stored form of a piece that has the segment's last entries.
    fn last_piece_to_store(&self, piece: &Piece) -> StoredPiece {
        let entries = self.entries.get(piece.first_entry as usize..);
        StoredPiece {
            first: piece.first,
            arrival_ms: piece.arrival_ms,
            bytes: piece.bytes.clone(),
            entries: entries.unwrap_or_default().to_vec(),
        }
    }

    /// Adds a piece from the store.
    fn push_piece(&mut self, piece: StoredPiece) {
        self.bytes += piece.bytes.len();
        self.pieces.push(Piece {
            first: piece.first,
            arrival_ms: piece.arrival_ms,
            bytes: piece.bytes,
            first_entry: self.entries.len() as u32,
        });
        self.entries.extend_from_slice(&piece.entries);
    }

    /// The entries of the piece at an index.
    fn entries_of(&self, piece: usize) -> Range<usize> {
        let first_entry = |piece: usize| {
            self.pieces
                .get(piece)
                .map_or(self.entries.len(), |p| p.first_entry as usize)
        };

        first_entry(piece)..first_entry(piece + 1)
    }

    /// When the record at `offset` arrived, if the segment holds that record.
    fn arrival_ms(&self, offset: u64) -> Option<u64> {
        let after = self.pieces.partition_point(|p| p.first <= offset);
        let piece = self.pieces.get(after.checked_sub(1)?)?;

        Some(piece.arrival_ms)
    }
}

/// A record to append.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRecord<'a> {
    pub(crate) key: Option<&'a str>,
    pub(crate) data: &'a [u8],
    /// Stored with the record and returned to readers. The log does not interpret the bits.
    pub(crate) flags: u16,
}

impl NewRecord<'_> {
    fn size(&self) -> usize {
        self.key.map_or(0, str::len) + self.data.len()
    }
}

/// A piece on the way to the store or back.
#[derive(Clone, Debug)]
pub(crate) struct StoredPiece {
    /// Offset of the first record.
    pub(crate) first: u64,
    pub(crate) arrival_ms: u64,
    pub(crate) bytes: Bytes,
    pub(crate) entries: Vec<Entry>,
}

/// The result of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Offset of the first record; the other records follow without a gap.
    pub(crate) first: u64,
    pub(crate) arrival_ms: u64,
    /// Bytes of data and keys.
    pub(crate) bytes: usize,
}

/// The error of an append to a closed shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// The result of dropping old records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DroppedRecords {
    /// Records that can no longer be read.
    pub(crate) records: u64,
    /// Bytes of data and keys freed. Smaller than the records where a segment is still in use.
    pub(crate) freed_bytes: usize,
}

/// The first and the last readable offset of a log, and whether more records can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The first readable offset.
    pub(crate) head: u64,
    /// The offset after the last readable record.
    pub(crate) tail: u64,
    /// Records before this offset were dropped for a reason other than age, by the byte budget or
    /// before the process started. A reader cannot expect such a gap, as retention does not
    /// announce the gap by `MillisBehindLatest`.
    pub(crate) lost_before: u64,
    /// When the shard was closed.
    pub(crate) closed_ms: Option<u64>,
    /// True if no record can ever arrive at `tail`.
    pub(crate) ended: bool,
}

/// Records read from a log. The bytes are shared with the log.
#[derive(Debug)]
pub(crate) struct Page {
    slices: Vec<PieceSlice>,
    entries: Vec<Entry>,
    /// Bytes of data and keys.
    pub(crate) bytes: usize,
    /// The offset after the page's last record; of an empty page, the first readable offset.
    pub(crate) next: u64,
    /// The log's bounds at the time of reading.
    pub(crate) bounds: Bounds,
    /// When the page's last record arrived.
    pub(crate) last_arrival_ms: Option<u64>,
}

/// The records of one piece that belong to a page.
#[derive(Debug)]
struct PieceSlice {
    /// The bytes of the whole piece.
    bytes: Bytes,
    /// Offset of the first record of the slice.
    first: u64,
    arrival_ms: u64,
    /// Places of the slice's records in the page's entries.
    entries: Range<usize>,
    /// The byte after the slice's last record.
    end: u32,
}

/// A record of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageRecord<'a> {
    pub(crate) offset: u64,
    pub(crate) arrival_ms: u64,
    pub(crate) key: Option<&'a str>,
    pub(crate) data: &'a [u8],
    pub(crate) flags: u16,
}

impl Page {
    /// The number of records.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The byte after the record at an index of `entries`, in the bytes of the record's slice.
    fn end_of(&self, slice: &PieceSlice, at: usize) -> Option<u32> {
        if at + 1 < slice.entries.end {
            return Some(self.entries.get(at + 1)?.start);
        }
        Some(slice.end)
    }

    /// The records in order.
    pub(crate) fn records(&self) -> PageRecords<'_> {
        PageRecords {
            page: self,
            slice: 0,
            entry: 0,
        }
    }
}

/// Iterates over the records of a [`Page`].
#[derive(Clone, Debug)]
pub(crate) struct PageRecords<'a> {
    page: &'a Page,
    /// Index of the slice that holds the next record, or of the slice before.
    slice: usize,
    /// Index of the next record in the page's entries.
    entry: usize,
}

impl<'a> Iterator for PageRecords<'a> {
    type Item = PageRecord<'a>;

    fn next(&mut self) -> Option<PageRecord<'a>> {
        let mut slice = self.page.slices.get(self.slice)?;
        if self.entry >= slice.entries.end {
            self.slice += 1;
            slice = self.page.slices.get(self.slice)?;
        }

        let at = self.entry;
        let entry = self.page.entries.get(at)?;
        let end = self.page.end_of(slice, at)?;
        self.entry += 1;

        let bytes = slice.bytes.get(entry.start as usize..end as usize)?;
        let (key, data) = split_key(bytes, entry.key_length)?;

        Some(PageRecord {
            offset: slice.first + (at - slice.entries.start) as u64,
            arrival_ms: slice.arrival_ms,
            key,
            data,
            flags: entry.flags,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.page.entries.len() - self.entry;
        (left, Some(left))
    }
}

impl ExactSizeIterator for PageRecords<'_> {}

/// The partition key and the data of a stored record.
fn split_key(bytes: &[u8], key_length: u16) -> Option<(Option<&str>, &[u8])> {
    if key_length == NO_KEY {
        return Some((None, bytes));
    }

    let (key, data) = bytes.split_at_checked(usize::from(key_length))?;
    Some((std::str::from_utf8(key).ok(), data))
}

#[derive(Debug)]
struct State {
    /// The first readable offset.
    head: u64,
    /// See [`Bounds::lost_before`].
    lost_before: u64,
    /// Records before this offset may be read; with a store, only after the store has them.
    visible: u64,
    /// Full segments, oldest first.
    sealed: VecDeque<Segment>,
    /// The segment that is appended to.
    active: Segment,
    /// Free space for the active segment, after the bytes of records that are in no piece yet.
    buffer: BytesMut,
    /// Index in `active.entries` of the first record that is in no piece yet.
    first_uncut: usize,
    /// Bytes of the next buffer.
    next_chunk: usize,
    last_arrival_ms: u64,
    closed_ms: Option<u64>,
    /// Bytes of data and keys in memory.
    held_bytes: usize,
    /// Readers to be woken at the next append, by their number.
    waiters: BTreeMap<u64, Waker>,
}

/// The log of one shard.
#[derive(Debug)]
pub(crate) struct Log {
    state: Mutex<State>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                head: 0,
                lost_before: 0,
                visible: 0,
                sealed: VecDeque::new(),
                active: Segment::default(),
                buffer: BytesMut::new(),
                first_uncut: 0,
                next_chunk: CHUNK_FIRST,
                last_arrival_ms: 0,
                closed_ms: None,
                held_bytes: 0,
                waiters: BTreeMap::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is usable: offsets are counted from the index, so a panic between two
        // steps leaves no half-inserted record.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends records that arrive together. With a `store`, each new piece is passed to the store
    /// in order under the lock, and readers see the records after [`publish`](Self::publish).
    ///
    /// # Errors
    /// [`Closed`] if the shard is closed.
    pub(crate) fn append<'a>(
        &self,
        now_ms: u64,
        records: impl Iterator<Item = NewRecord<'a>>,
        store: Option<&mut dyn FnMut(StoredPiece)>,
    ) -> Result<Appended, Closed> {
        let (appended, wakers) = {
            let mut state = self.lock();
            if state.closed_ms.is_some() {
                return Err(Closed);
            }

            let appended = state.append(now_ms, records, store);
            (appended, std::mem::take(&mut state.waiters))
        };

        wake(wakers);
        Ok(appended)
    }

    /// Makes the records before `end` readable.
    pub(crate) fn publish(&self, end: u64) {
        let wakers = {
            let mut state = self.lock();
            state.visible = state.visible.max(end.min(state.active.end()));
            std::mem::take(&mut state.waiters)
        };

        wake(wakers);
    }

    /// Closes the shard: later appends fail. Returns the time of closing, which is never before the
    /// last record's arrival.
    pub(crate) fn close(&self, now_ms: u64) -> u64 {
        let (closed_ms, wakers) = {
            let mut state = self.lock();
            let at = now_ms.max(state.last_arrival_ms);
            let closed_ms = *state.closed_ms.get_or_insert(at);
            (closed_ms, std::mem::take(&mut state.waiters))
        };

        wake(wakers);
        closed_ms
    }

    /// Reads the records from offset `from` on, or from the head if `from` has been dropped: at
    /// most `max_records` records and `max_bytes` of data and keys. The first record always fits.
    pub(crate) fn read(&self, from: u64, max_records: usize, max_bytes: usize) -> Page {
        let state = self.lock();
        let from = from.max(state.head);
        let mut page = Page {
            slices: Vec::new(),
            entries: Vec::new(),
            bytes: 0,
            next: from,
            bounds: state.bounds(),
            last_arrival_ms: None,
        };

        let mut at = state.segment_index(from);
        while let Some(segment) = state.segment(at) {
            if !page.add_segment(segment, state.visible, max_records, max_bytes) {
                break;
            }
            at += 1;
        }

        page
    }

    /// The offset of the first record that arrived at `time_ms` or later, or the tail.
    pub(crate) fn offset_at_time(&self, time_ms: u64) -> u64 {
        let state = self.lock();
        let is_before = |p: &Piece| p.arrival_ms < time_ms;
        let at = state
            .sealed
            .partition_point(|s| s.pieces.last().is_none_or(is_before));
        let found = state.segment(at).and_then(|segment| {
            let piece = segment.pieces.partition_point(is_before);
            segment.pieces.get(piece).map(|p| p.first)
        });

        found
            .unwrap_or(state.visible)
            .clamp(state.head, state.visible.max(state.head))
    }

    /// When the record at `offset` arrived, if the record is readable.
    pub(crate) fn arrival_ms(&self, offset: u64) -> Option<u64> {
        self.lock().arrival_ms(offset)
    }

    pub(crate) fn bounds(&self) -> Bounds {
        self.lock().bounds()
    }

    /// Ready if a record at `from` can be read or can never arrive; otherwise `waiter` is woken at
    /// the next change of the log.
    pub(crate) fn poll_readable(&self, waiter: u64, from: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.visible > from || state.bounds().ended {
            state.waiters.remove(&waiter);
            return Poll::Ready(());
        }

        match state.waiters.get_mut(&waiter) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                state.waiters.insert(waiter, cx.waker().clone());
            }
        }

        Poll::Pending
    }

    /// Removes a waiter, which is no longer woken.
    pub(crate) fn remove_waiter(&self, waiter: u64) {
        self.lock().waiters.remove(&waiter);
    }

    /// Wakes every waiter without a new record, because the stream's state has changed.
    pub(crate) fn wake_all(&self) {
        let wakers = std::mem::take(&mut self.lock().waiters);
        wake(wakers);
    }

    /// Bytes of data and keys in memory.
    pub(crate) fn held_bytes(&self) -> usize {
        self.lock().held_bytes
    }

    /// When the oldest readable record arrived.
    pub(crate) fn oldest_arrival_ms(&self) -> Option<u64> {
        let state = self.lock();
        state.arrival_ms(state.head)
    }

    /// Drops the records that arrived before `horizon_ms`.
    pub(crate) fn drop_before(&self, horizon_ms: u64) -> DroppedRecords {
        let end = self.offset_at_time(horizon_ms);
        self.lock().drop_to(end)
    }

    /// Drops the oldest segment to free memory. The dropped records count as lost
    /// ([`Bounds::lost_before`]).
    pub(crate) fn drop_oldest_segment(&self) -> DroppedRecords {
        let mut state = self.lock();
        if state.sealed.is_empty() {
            state.seal();
        }

        let end = state.sealed.front().map_or(state.head, Segment::end);
        let dropped = state.drop_to(end);
        state.lost_before = state.head;
        dropped
    }

    /// Adds a piece from the store. Pieces must come in order; the first piece sets the head.
    ///
    /// # Errors
    /// The expected offset, if the piece does not follow the piece before.
    pub(crate) fn restore(&self, piece: StoredPiece) -> Result<(), u64> {
        let mut state = self.lock();
        if state.active.end() == 0 && state.sealed.is_empty() && state.head == 0 {
            state.head = piece.first;
            state.lost_before = piece.first;
            state.active.first = piece.first;
        }
        if piece.first != state.active.end() {
            return Err(state.active.end());
        }

        state.append_stored(piece);
        Ok(())
    }

    /// Restores the time of closing, `None` for an open shard.
    pub(crate) fn restore_closed(&self, closed_ms: Option<u64>) {
        self.lock().closed_ms = closed_ms;
    }
}

fn wake(wakers: BTreeMap<u64, Waker>) {
    for waker in wakers.into_values() {
        waker.wake();
    }
}

impl State {
    fn bounds(&self) -> Bounds {
        let tail = self.visible.max(self.head);
        let ended = self.closed_ms.is_some() && tail >= self.active.end();

        Bounds {
            head: self.head,
            tail,
            lost_before: self.lost_before,
            closed_ms: self.closed_ms,
            ended,
        }
    }

    /// The index, for [`segment`](Self::segment), of the segment that holds `offset`.
    fn segment_index(&self, offset: u64) -> usize {
        self.sealed.partition_point(|s| s.end() <= offset)
    }

    /// The segment at an index: the sealed segments, then the active segment.
    fn segment(&self, index: usize) -> Option<&Segment> {
        match index.checked_sub(self.sealed.len()) {
            None => self.sealed.get(index),
            Some(0) => Some(&self.active),
            Some(_) => None,
        }
    }

    fn arrival_ms(&self, offset: u64) -> Option<u64> {
        if offset < self.head || offset >= self.visible {
            return None;
        }

        self.segment(self.segment_index(offset))?.arrival_ms(offset)
    }

    fn append<'a>(
        &mut self,
        now_ms: u64,
        records: impl Iterator<Item = NewRecord<'a>>,
        mut store: Option<&mut dyn FnMut(StoredPiece)>,
    ) -> Appended {
        let arrival_ms = now_ms.max(self.last_arrival_ms);
        self.last_arrival_ms = arrival_ms;
        let first = self.active.end();
        let held_before = self.held_bytes;

        for record in records {
            let size = record.size();
            if self.buffer.capacity() - self.buffer.len() < size
                || self.active.pieces.len() >= SEGMENT_PIECES
            {
                self.cut_piece(arrival_ms, &mut store);
                self.seal();
                self.buffer = BytesMut::with_capacity(self.next_chunk.max(size));
                self.next_chunk = (self.next_chunk * 4).min(CHUNK_MAX);
            }
            self.push_record(&record, size);
        }

        self.cut_piece(arrival_ms, &mut store);
        if store.is_none() {
            self.visible = self.active.end();
        }

        Appended {
            first,
            arrival_ms,
            bytes: self.held_bytes - held_before,
        }
    }

    /// Copies a record into the buffer, which has room, and indexes the record.
    fn push_record(&mut self, record: &NewRecord<'_>, size: usize) {
        self.active.entries.push(Entry {
            start: self.buffer.len() as u32,
            key_length: record.key.map_or(NO_KEY, |key| key.len() as u16),
            flags: record.flags,
        });

        self.buffer
            .extend_from_slice(record.key.unwrap_or_default().as_bytes());
        self.buffer.extend_from_slice(record.data);
        self.held_bytes += size;
        self.active.bytes += size;
    }

    /// Adds a piece from the store to the active segment.
    fn append_stored(&mut self, piece: StoredPiece) {
        let size = piece.bytes.len();
        if self.active.bytes + size > CHUNK_MAX && !self.active.pieces.is_empty() {
            self.seal();
        }

        self.held_bytes += size;
        self.last_arrival_ms = self.last_arrival_ms.max(piece.arrival_ms);
        self.active.push_piece(piece);
        self.first_uncut = self.active.entries.len();
        self.visible = self.active.end();
    }

    /// Makes a piece of the buffered records and passes a copy of the index to the store, if any.
    fn cut_piece(&mut self, arrival_ms: u64, store: &mut Option<&mut dyn FnMut(StoredPiece)>) {
        let first_entry = self.first_uncut;
        if first_entry == self.active.entries.len() {
            return;
        }

        self.first_uncut = self.active.entries.len();
        let piece = Piece {
            first: self.active.first + first_entry as u64,
            arrival_ms,
            bytes: self.buffer.split().freeze(),
            first_entry: first_entry as u32,
        };

        if let Some(store) = store {
            store(self.active.last_piece_to_store(&piece));
        }
        self.active.pieces.push(piece);
    }

    /// Moves the active segment to the sealed segments and starts an empty segment.
    fn seal(&mut self) {
        self.buffer = BytesMut::new();
        self.first_uncut = 0;
        if self.active.entries.is_empty() {
            return;
        }

        let next = Segment {
            first: self.active.end(),
            ..Segment::default()
        };
        let mut full = std::mem::replace(&mut self.active, next);
        full.entries.shrink_to_fit();
        full.pieces.shrink_to_fit();
        self.sealed.push_back(full);
    }

    /// Drops the records before `offset`, and frees the segments without a readable record.
    fn drop_to(&mut self, offset: u64) -> DroppedRecords {
        let offset = offset.min(self.visible);
        let mut dropped = DroppedRecords::default();
        if offset > self.head {
            dropped.records = offset - self.head;
            self.head = offset;
        }

        dropped.freed_bytes = self.free_segments();
        dropped
    }

    /// Frees the segments without a readable record; returns their bytes of data and keys.
    fn free_segments(&mut self) -> usize {
        let active_is_dropped = !self.active.entries.is_empty() && self.active.end() <= self.head;
        if self.sealed.is_empty() && active_is_dropped {
            self.seal();
        }

        let mut freed_bytes = 0;
        while let Some(segment) = self.sealed.pop_front_if(|s| s.end() <= self.head) {
            freed_bytes += segment.bytes;
        }
        self.held_bytes -= freed_bytes;
        freed_bytes
    }
}

impl Page {
    /// Adds records of a segment from `self.next` on. False if the page is full or the segment has
    /// records that are not readable yet.
    fn add_segment(
        &mut self,
        segment: &Segment,
        visible: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> bool {
        let first_piece = segment
            .pieces
            .partition_point(|p| p.first <= self.next)
            .saturating_sub(1);

        for index in first_piece..segment.pieces.len() {
            let Some(piece) = segment.pieces.get(index) else {
                break;
            };
            let entries = segment
                .entries
                .get(segment.entries_of(index))
                .unwrap_or_default();

            if !self.add_piece(piece, entries, visible, max_records, max_bytes) {
                return false;
            }
        }

        true
    }

    /// Adds records of a piece, as [`add_segment`](Self::add_segment).
    fn add_piece(
        &mut self,
        piece: &Piece,
        entries: &[Entry],
        visible: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> bool {
        let from = self.next.saturating_sub(piece.first) as usize;
        let readable = visible
            .saturating_sub(piece.first)
            .min(entries.len() as u64) as usize;
        let start_of = |i: usize| {
            entries
                .get(i)
                .map_or(piece.bytes.len(), |e| e.start as usize)
        };
        let first_entry = self.entries.len();

        let mut at = from;
        while at < readable {
            let size = start_of(at + 1) - start_of(at);
            let is_full = self.entries.len() >= max_records
                || (!self.entries.is_empty() && self.bytes + size > max_bytes);
            if is_full {
                break;
            }
            self.entries.extend(entries.get(at).copied());
            self.bytes += size;
            at += 1;
        }

        if at > from {
            self.next = piece.first + at as u64;
            self.last_arrival_ms = Some(piece.arrival_ms);
            self.slices.push(PieceSlice {
                bytes: piece.bytes.clone(),
                first: piece.first + from as u64,
                arrival_ms: piece.arrival_ms,
                entries: first_entry..self.entries.len(),
                end: start_of(at) as u32,
            });
        }

        at >= entries.len()
    }
}
