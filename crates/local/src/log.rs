//! The core of a shard: an append-only log of records. Place and insertion are given out under one lock, so a reader that
//! has seen record *n* never misses one before it.
//!
//! Records lie one after the other (key, then data) in chunks of about a megabyte; readers share the chunks and copy
//! nothing. The index has 8 bytes a record and one [`Piece`] for each append.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of the first chunk of a shard; each next one is four times as large …
const CHUNK_FIRST: usize = 64 * 1024;
/// … up to this. Retention frees whole chunks, so it is also how much more than its budget a shard may hold.
const CHUNK_MAX: usize = 1024 * 1024;
/// Pieces of one segment: it bounds what is searched and copied when records are small.
const SEGMENT_PIECES: usize = 16 * 1024;
/// The key length that stands for "no key".
const NO_KEY: u16 = u16::MAX;

/// One record of the index: where in its piece it starts and how long its key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) start: u32,
    pub(crate) key: u16,
    pub(crate) flags: u16,
}

/// Consecutive records that arrived together.
#[derive(Debug)]
struct Piece {
    first: u64,
    arrival_ms: u64,
    bytes: Bytes,
    /// The index of its first record in the segment's entries.
    entry: u32,
}

/// The records of one chunk.
#[derive(Debug, Default)]
struct Segment {
    first: u64,
    size: usize,
    entries: Vec<Entry>,
    pieces: Vec<Piece>,
}

impl Segment {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn entries_of(&self, piece: usize) -> Range<usize> {
        let start = self
            .pieces
            .get(piece)
            .map_or(self.entries.len(), |p| p.entry as usize);
        let end = self
            .pieces
            .get(piece + 1)
            .map_or(self.entries.len(), |p| p.entry as usize);
        start..end
    }
}

/// A record to append.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRecord<'a> {
    pub(crate) key: Option<&'a str>,
    pub(crate) data: &'a [u8],
    /// Kept with the record and given back.
    pub(crate) flags: u16,
}

impl NewRecord<'_> {
    fn size(&self) -> usize {
        self.key.map_or(0, str::len) + self.data.len()
    }
}

/// A piece as it goes to and comes from a store.
#[derive(Clone, Debug)]
pub(crate) struct StoredPiece {
    pub(crate) first: u64,
    pub(crate) arrival_ms: u64,
    pub(crate) bytes: Bytes,
    pub(crate) entries: Vec<Entry>,
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// The offset of the first record; the others follow it.
    pub(crate) first: u64,
    pub(crate) arrival_ms: u64,
    pub(crate) bytes: usize,
}

/// The shard is closed and takes no more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// What a trim took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trimmed {
    /// Records that can no longer be read.
    pub(crate) records: u64,
    /// Bytes given back.
    pub(crate) freed: usize,
}

/// Where a log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The first offset that can be read.
    pub(crate) head: u64,
    /// The offset after the last that can be read.
    pub(crate) tail: u64,
    /// When it was closed, if it is.
    pub(crate) closed_ms: Option<u64>,
    /// True if nothing will ever be at `tail`.
    pub(crate) ended: bool,
}

/// Records of a log, shared with it.
#[derive(Debug)]
pub(crate) struct Page {
    runs: Vec<Run>,
    entries: Vec<Entry>,
    /// Bytes of data and keys.
    pub(crate) bytes: usize,
    /// The offset after the last record of the page, or the first that can be read if there is none.
    pub(crate) next: u64,
    pub(crate) bounds: Bounds,
    /// When the last record of the page arrived.
    pub(crate) last_arrival_ms: Option<u64>,
}

#[derive(Debug)]
struct Run {
    bytes: Bytes,
    first: u64,
    arrival_ms: u64,
    entries: Range<usize>,
    end: u32,
}

/// A record of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    pub(crate) offset: u64,
    pub(crate) arrival_ms: u64,
    pub(crate) key: Option<&'a str>,
    pub(crate) data: &'a [u8],
    pub(crate) flags: u16,
}

impl Page {
    /// How many records.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The records in order.
    pub(crate) fn iter(&self) -> Items<'_> {
        Items {
            page: self,
            run: 0,
            entry: 0,
        }
    }
}

/// The records of a [`Page`].
#[derive(Clone, Debug)]
pub(crate) struct Items<'a> {
    page: &'a Page,
    run: usize,
    entry: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let mut run = self.page.runs.get(self.run)?;
        if self.entry >= run.entries.end {
            self.run += 1;
            run = self.page.runs.get(self.run)?;
        }
        let at = self.entry;
        let Entry { start, key, flags } = *self.page.entries.get(at)?;
        self.entry += 1;
        let end = if at + 1 < run.entries.end {
            self.page.entries.get(at + 1)?.start
        } else {
            run.end
        };
        let record = run.bytes.get(start as usize..end as usize)?;
        let (key, data) = match key {
            NO_KEY => (None, record),
            len => {
                let (key, data) = record.split_at_checked(usize::from(len))?;
                (std::str::from_utf8(key).ok(), data)
            }
        };
        let offset = run.first + (at - run.entries.start) as u64;
        Some(Item {
            offset,
            arrival_ms: run.arrival_ms,
            key,
            data,
            flags,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.page.entries.len() - self.entry;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Items<'_> {}

#[derive(Debug)]
struct State {
    head: u64,
    visible: u64,
    sealed: VecDeque<Segment>,
    active: Segment,
    buffer: BytesMut,
    /// Index in `active.entries` of the first record that is in `buffer` and in no piece yet.
    loose: usize,
    next_chunk: usize,
    last_arrival_ms: u64,
    closed_ms: Option<u64>,
    held: usize,
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
                visible: 0,
                sealed: VecDeque::new(),
                active: Segment::default(),
                buffer: BytesMut::new(),
                loose: 0,
                next_chunk: CHUNK_FIRST,
                last_arrival_ms: 0,
                closed_ms: None,
                held: 0,
                waiters: BTreeMap::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave a record half inserted: places are counted from the index itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends records that arrive together. With a `store`, it is given the new pieces in order while the lock is held,
    /// and readers see them only after [`publish`](Self::publish).
    ///
    /// # Errors
    /// [`Closed`].
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
            let wakers = state.take_woken();
            (appended, wakers)
        };
        wake(wakers);
        Ok(appended)
    }

    /// Lets readers see the records before `end`.
    pub(crate) fn publish(&self, end: u64) {
        let wakers = {
            let mut state = self.lock();
            state.visible = state.visible.max(end.min(state.active.end()));
            state.take_woken()
        };
        wake(wakers);
    }

    /// Takes no more records. Gives the time it was closed at: not before its last record.
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

    /// The records from `from` on (or from the head, if `from` has been trimmed): at most `max_records` and, but for the
    /// first of them, `max_bytes` of data and keys.
    pub(crate) fn read(&self, from: u64, max_records: usize, max_bytes: usize) -> Page {
        let state = self.lock();
        let from = from.max(state.head);
        let mut page = Page {
            runs: Vec::new(),
            entries: Vec::new(),
            bytes: 0,
            next: from,
            bounds: state.bounds(),
            last_arrival_ms: None,
        };
        let mut at = state.sealed.partition_point(|s| s.end() <= from);
        while let Some(segment) = state.segment(at) {
            if !page.take(segment, state.visible, max_records, max_bytes) {
                break;
            }
            at += 1;
        }
        page
    }

    /// The offset of the first record that arrived at `time_ms` or later; the tail if there is none.
    pub(crate) fn at_time(&self, time_ms: u64) -> u64 {
        let state = self.lock();
        let at = state
            .sealed
            .partition_point(|s| s.pieces.last().is_none_or(|p| p.arrival_ms < time_ms));
        let found = state.segment(at).and_then(|segment| {
            let piece = segment.pieces.partition_point(|p| p.arrival_ms < time_ms);
            segment.pieces.get(piece).map(|p| p.first)
        });
        found
            .unwrap_or(state.visible)
            .clamp(state.head, state.visible.max(state.head))
    }

    /// When the record at `offset` arrived, if it is held.
    pub(crate) fn arrival_ms(&self, offset: u64) -> Option<u64> {
        let state = self.lock();
        if offset < state.head || offset >= state.visible {
            return None;
        }
        let segment = state.segment(state.sealed.partition_point(|s| s.end() <= offset))?;
        let piece = segment
            .pieces
            .partition_point(|p| p.first <= offset)
            .checked_sub(1)?;
        segment.pieces.get(piece).map(|p| p.arrival_ms)
    }

    pub(crate) fn bounds(&self) -> Bounds {
        self.lock().bounds()
    }

    /// Ready when there is something to read at `from`, or never will be; otherwise `waiter` is woken then.
    pub(crate) fn poll_past(&self, waiter: u64, from: u64, cx: &mut Context<'_>) -> Poll<()> {
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

    /// Forgets a waiter.
    pub(crate) fn forget(&self, waiter: u64) {
        self.lock().waiters.remove(&waiter);
    }

    /// Wakes every waiter, though nothing is there to read.
    pub(crate) fn wake_all(&self) {
        let wakers = std::mem::take(&mut self.lock().waiters);
        wake(wakers);
    }

    /// Bytes of data and keys in memory.
    pub(crate) fn held(&self) -> usize {
        self.lock().held
    }

    /// When the oldest record that can be read arrived.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        let state = self.lock();
        if state.head >= state.visible {
            return None;
        }
        let head = state.head;
        let segment = state.segment(state.sealed.partition_point(|s| s.end() <= head))?;
        let piece = segment
            .pieces
            .partition_point(|p| p.first <= head)
            .checked_sub(1)?;
        segment.pieces.get(piece).map(|p| p.arrival_ms)
    }

    /// Drops the records that arrived before `horizon_ms`.
    pub(crate) fn trim_before(&self, horizon_ms: u64) -> Trimmed {
        let end = self.at_time(horizon_ms);
        self.lock().trim_to(end)
    }

    /// Drops the oldest chunk.
    pub(crate) fn trim_chunk(&self) -> Trimmed {
        let mut state = self.lock();
        if state.sealed.is_empty() {
            state.seal();
        }
        let end = state.sealed.front().map_or(state.head, Segment::end);
        state.trim_to(end)
    }

    /// Puts back a piece that a store kept. Pieces must come in order; the first one sets where the log begins.
    ///
    /// # Errors
    /// The offset that was expected, if the piece does not follow the one before.
    pub(crate) fn restore(&self, piece: StoredPiece) -> Result<(), u64> {
        let mut state = self.lock();
        if state.active.end() == 0 && state.sealed.is_empty() && state.head == 0 {
            state.head = piece.first;
            state.active.first = piece.first;
        }
        if piece.first != state.active.end() {
            return Err(state.active.end());
        }
        let StoredPiece {
            first,
            arrival_ms,
            bytes,
            entries,
        } = piece;
        if state.active.size + bytes.len() > CHUNK_MAX && !state.active.pieces.is_empty() {
            state.seal();
        }
        let entry = state.active.entries.len() as u32;
        state.held += bytes.len();
        state.active.size += bytes.len();
        state.active.entries.extend_from_slice(&entries);
        state.active.pieces.push(Piece {
            first,
            arrival_ms,
            bytes,
            entry,
        });
        state.loose = state.active.entries.len();
        state.last_arrival_ms = state.last_arrival_ms.max(arrival_ms);
        state.visible = state.active.end();
        Ok(())
    }

    /// Closes a log that a store says was closed.
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
            closed_ms: self.closed_ms,
            ended,
        }
    }

    fn segment(&self, index: usize) -> Option<&Segment> {
        match index.checked_sub(self.sealed.len()) {
            None => self.sealed.get(index),
            Some(0) => Some(&self.active),
            Some(_) => None,
        }
    }

    fn take_woken(&mut self) -> BTreeMap<u64, Waker> {
        std::mem::take(&mut self.waiters)
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
        let held_before = self.held;
        for record in records {
            let size = record.size();
            if self.buffer.capacity() - self.buffer.len() < size
                || self.active.pieces.len() >= SEGMENT_PIECES
            {
                self.cut(arrival_ms, &mut store);
                self.seal();
                self.buffer = BytesMut::with_capacity(self.next_chunk.max(size));
                self.next_chunk = (self.next_chunk * 4).min(CHUNK_MAX);
            }
            let key = record.key.map_or(NO_KEY, |key| key.len() as u16);
            self.active.entries.push(Entry {
                start: self.buffer.len() as u32,
                key,
                flags: record.flags,
            });
            self.buffer
                .extend_from_slice(record.key.unwrap_or_default().as_bytes());
            self.buffer.extend_from_slice(record.data);
            self.held += size;
            self.active.size += size;
        }
        self.cut(arrival_ms, &mut store);
        if store.is_none() {
            self.visible = self.active.end();
        }
        Appended {
            first,
            arrival_ms,
            bytes: self.held - held_before,
        }
    }

    /// Makes a piece of what is in the buffer.
    fn cut(&mut self, arrival_ms: u64, store: &mut Option<&mut dyn FnMut(StoredPiece)>) {
        let loose = self.loose;
        if loose == self.active.entries.len() {
            return;
        }
        self.loose = self.active.entries.len();
        let first = self.active.first + loose as u64;
        let bytes = self.buffer.split().freeze();
        if let Some(store) = store {
            let entries = self
                .active
                .entries
                .get(loose..)
                .unwrap_or_default()
                .to_vec();
            store(StoredPiece {
                first,
                arrival_ms,
                bytes: bytes.clone(),
                entries,
            });
        }
        self.active.pieces.push(Piece {
            first,
            arrival_ms,
            bytes,
            entry: loose as u32,
        });
    }

    /// Ends the active segment.
    fn seal(&mut self) {
        self.buffer = BytesMut::new();
        self.loose = 0;
        if self.active.entries.is_empty() {
            return;
        }
        let next = Segment {
            first: self.active.end(),
            ..Segment::default()
        };
        let mut done = std::mem::replace(&mut self.active, next);
        done.entries.shrink_to_fit();
        done.pieces.shrink_to_fit();
        self.sealed.push_back(done);
    }

    fn trim_to(&mut self, offset: u64) -> Trimmed {
        let offset = offset.min(self.visible);
        let mut trimmed = Trimmed::default();
        if offset > self.head {
            trimmed.records = offset - self.head;
            self.head = offset;
        }
        if self.sealed.is_empty()
            && !self.active.entries.is_empty()
            && self.active.end() <= self.head
        {
            self.seal();
        }
        while self.sealed.front().is_some_and(|s| s.end() <= self.head) {
            if let Some(segment) = self.sealed.pop_front() {
                trimmed.freed += segment.size;
                self.held -= segment.size;
            }
        }
        trimmed
    }
}

impl Page {
    /// Takes what may be taken of a segment; false when there is no room for more.
    fn take(
        &mut self,
        segment: &Segment,
        visible: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> bool {
        let mut piece_at = segment
            .pieces
            .partition_point(|p| p.first <= self.next)
            .saturating_sub(1);
        while let Some(piece) = segment.pieces.get(piece_at) {
            let range = segment.entries_of(piece_at);
            let skip = self.next.saturating_sub(piece.first) as usize;
            let seen = visible.saturating_sub(piece.first).min(range.len() as u64) as usize;
            let mine = segment.entries.get(range).unwrap_or_default();
            let start_at = |i: usize| mine.get(i).map_or(piece.bytes.len(), |e| e.start as usize);
            let run_first = self.entries.len();
            let mut i = skip;
            while i < seen {
                let size = start_at(i + 1) - start_at(i);
                let full = self.entries.len() >= max_records
                    || (!self.entries.is_empty() && self.bytes + size > max_bytes);
                if full {
                    break;
                }
                self.entries.extend(mine.get(i).copied());
                self.bytes += size;
                i += 1;
            }
            if i > skip {
                self.next = piece.first + i as u64;
                self.last_arrival_ms = Some(piece.arrival_ms);
                self.runs.push(Run {
                    bytes: piece.bytes.clone(),
                    first: piece.first + skip as u64,
                    arrival_ms: piece.arrival_ms,
                    entries: run_first..self.entries.len(),
                    end: start_at(i) as u32,
                });
            }
            if i < mine.len() {
                return false;
            }
            piece_at += 1;
        }
        true
    }
}
