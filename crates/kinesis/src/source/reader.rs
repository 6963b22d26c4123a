//! Reads one shard by `GetRecords`, one call at a time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::{BadBatch, Batch, Origin, ShardId};
use distributary_core::checkpoint::{Position, Sequence};
use distributary_core::clock::Millis;
use distributary_core::output::{Trouble, TroubleKind};
use distributary_core::record::{DataForm, RecordIndex, Span};
use distributary_core::source::{Credit, Fetched, OldestRecord, Read, ShardReader, SourceError};
use distributary_wire::error::ErrorCode;
use distributary_wire::hot::{self, GetRecordsAnswer};
use distributary_wire::op::Operation;
use distributary_wire::types::{
    GetRecordsRequest, GetShardIteratorRequest, ShardIteratorType, Timestamp,
};

use super::{Shared, server_time};
use crate::client::{Answered, CallError, RawAnswer};

/// The longest time of one call, where the engine sets no shorter deadline.
const DEADLINE: Duration = Duration::from_secs(30);
/// Empty pages at the tip of a shard that is listed as closed, after which the shard counts as read
/// to its end: some servers never end a closed shard's iterators.
const EMPTY_PAGES_AT_END: u32 = 3;
/// Empty pages in a row without a distance from the tip, after which the server counts as one that
/// never returns a distance.
const PAGES_WITHOUT_DISTANCE: u32 = 3;
/// Empty pages in a row, all about as old as the retention allows, after which the records at the
/// position count as deleted.
const EMPTY_PAGES_AT_HORIZON: u32 = 10;
/// Positions that are this close to the retention count as that old. Longer than the lifetime of an
/// iterator.
pub(super) const HORIZON_SLACK: Duration = Duration::from_secs(10 * 60);
/// The shortest retention of a stream.
const RETENTION_MIN: Duration = Duration::from_secs(24 * 3600);
/// A reader whose distance shrinks by less than this makes no progress: the horizon itself moves in
/// steps.
const PROGRESS_MIN: Duration = Duration::from_secs(60);

pub(super) struct Reader {
    shared: Arc<Shared>,
    shard: ShardId,
    /// The position before the next record: the next iterator starts here.
    position: Position,
    iterator: Option<String>,
    /// Present if the shard's end was reached together with its last records.
    ended: Option<Ended>,
    /// Empty pages in a row that were asked for when the shard was known to be closed.
    empty_pages_at_end: u32,
    /// Set after a page without a next iterator and without children, of a shard that was not known
    /// to be closed: the shard map tells whether the shard has ended.
    asks_for_map: bool,
    /// Empty pages in a row that had no distance from the tip.
    pages_without_distance: u32,
    horizon: Horizon,
    /// The position returned nothing at the age of the retention, and no gap was found.
    was_stuck: bool,
    /// The newest moment up to which the reader has returned everything, if it was at the tip.
    tip: Option<Millis>,
    /// The origin of the last batch.
    last_origin: Option<Arc<Origin>>,
}

/// The end of a closed shard.
struct Ended {
    children: Vec<ShardId>,
    complete_until: Millis,
}

/// Empty pages in a row at the age of the retention.
#[derive(Default)]
struct Horizon {
    pages: u32,
    /// The distance from the tip at the first of these pages.
    first_behind: Duration,
}

/// The reason why a read has no page.
enum Stop {
    /// The position seems to be no longer in the shard.
    Gone(Gone),
    Failed(SourceError),
}

/// The reason why a position seems to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    /// The server refuses the position.
    Refused,
    /// Empty pages at the age of the retention.
    Stuck,
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

/// An answer to `GetRecords`.
struct Page {
    answer: GetRecordsAnswer,
    date: Option<Millis>,
    /// The time between request and answer.
    took: Duration,
    /// Records that were asked for at most.
    limit: u32,
    /// True if the shard was known to be closed before the request.
    closed: bool,
}

impl Page {
    fn behind(&self) -> Option<Duration> {
        let ms = u64::try_from(self.answer.millis_behind_latest?).ok()?;
        Some(Duration::from_millis(ms))
    }

    fn children(&self) -> Vec<ShardId> {
        let children = self.answer.child_shards.iter();
        children
            .map(|child| ShardId::new(&child.shard_id))
            .collect()
    }

    fn last_arrival(&self) -> Option<Millis> {
        let last = self.answer.records.last()?;
        Some(Millis(last.arrival_ms))
    }

    /// The next iterator. An empty one is none.
    fn next_iterator(&self) -> Option<String> {
        let next = self.answer.next_shard_iterator.clone();
        next.filter(|iterator| !iterator.is_empty())
    }

    /// True if this page says that the shard has ended: children, and no next iterator. A page that
    /// only lacks the iterator says nothing.
    fn names_end(&self) -> bool {
        self.next_iterator().is_none() && !self.answer.child_shards.is_empty()
    }

    fn is_full(&self) -> bool {
        self.answer.records.len() >= self.limit as usize
    }
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, shard: ShardId, position: Position) -> Self {
        Self {
            shared,
            shard,
            position,
            iterator: None,
            ended: None,
            empty_pages_at_end: 0,
            asks_for_map: false,
            pages_without_distance: 0,
            horizon: Horizon::default(),
            was_stuck: false,
            tip: None,
            last_origin: None,
        }
    }

    fn failed(&self, error: CallError, operation: Operation) -> SourceError {
        let stream = format!("{} (shard {})", self.shared.stream, self.shard);
        self.shared.client.trouble(error, operation, Some(&stream))
    }

    /// A new iterator at the position.
    async fn take_iterator(&self) -> Result<String, Stop> {
        let mut request = iterator_request(&self.shard, &self.position);
        let client = &self.shared.client;
        let called = client.once_on(&self.shared.stream, &mut request, DEADLINE);
        let error = match called.await {
            Ok(Answered { answer, .. }) => {
                let iterator = answer.shard_iterator.filter(|i| !i.is_empty());
                return iterator.ok_or_else(|| {
                    let text = format!(
                        "GetShardIterator on shard {} returned no iterator",
                        self.shard
                    );
                    Stop::Failed(Trouble::new(TroubleKind::Unintelligible, text))
                });
            }
            Err(error) => error,
        };

        // AWS's answer to a sequence number that is no longer in the shard.
        if matches!(self.position, Position::After { .. })
            && error.code() == Some(&ErrorCode::InvalidArgument)
        {
            tracing::info!(
                shard = %self.shard, position = ?self.position, error = ?error,
                "the position is refused"
            );
            return Err(Stop::Gone(Gone::Refused));
        }
        let trouble = self.failed(error, Operation::GetShardIterator);
        Err(Stop::Failed(trouble))
    }

    /// One `GetRecords`; a second one if the iterator turns out to be expired.
    async fn fetch(&mut self, credit: Credit) -> Result<Page, Stop> {
        let is_new = self.iterator.is_none();
        let mut page = self.request_page(credit).await?;
        // An iterator expires after five minutes, or when a server takes over that does not know
        // the iterator.
        if !is_new && page.as_ref().is_err_and(is_useless_iterator) {
            self.iterator = None;
            self.shared.check_same().await?;
            page = self.request_page(credit).await?;
        }

        page.map_err(|error| {
            let error_code = error.code().cloned();
            let trouble = self.failed(error, Operation::GetRecords);
            let expired = error_code == Some(ErrorCode::ExpiredIterator);
            if expired || refuses_iterator(trouble.kind) {
                self.iterator = None;
            }
            Stop::Failed(trouble)
        })
    }

    /// One `GetRecords`, after a `GetShardIterator` if there is no iterator.
    async fn request_page(&mut self, credit: Credit) -> Result<Result<Page, CallError>, Stop> {
        let iterator = match self.iterator.clone() {
            Some(iterator) => iterator,
            None => {
                let taken = self.take_iterator().await?;
                self.iterator.insert(taken).clone()
            }
        };
        let (shared, client) = (&*self.shared, &self.shared.client);
        let limit = credit.records.clamp(1, shared.limits.answer_records);
        let request = GetRecordsRequest {
            shard_iterator: Some(iterator),
            limit: i32::try_from(limit).ok(),
            stream_arn: client.arn_to_send(&shared.stream),
            ..Default::default()
        };

        let closed = shared.is_closed(&self.shard);
        let sent_at = client.clock().now();
        let parse = |raw: RawAnswer| GetRecordsAnswer::parse(raw.format, raw.body);
        let read = client.read_call(&request, DEADLINE, parse).await;
        let took = client.clock().now().since(sent_at);

        Ok(read.map(|Answered { answer, date }| Page {
            answer,
            date,
            took,
            limit,
            closed,
        }))
    }

    /// The read that a page is. Nothing here waits, so a page is taken whole or not at all.
    fn take(&mut self, page: Page, source: Arc<str>) -> Result<Read, SourceError> {
        // The server read the shard at some time after the request was sent.
        let read_at = server_time(page.date, &self.shared.client).minus(page.took);
        let behind = page.behind();
        let complete_until = read_at.minus(behind.unwrap_or_default());
        let Some(last_arrival) = page.last_arrival() else {
            return self.take_empty(&page, complete_until);
        };

        // Some servers always return 0, or nothing, as the distance from the tip: of a full page
        // only the records that it holds are sure.
        let complete_until = match behind {
            Some(_) if !page.is_full() && page.next_iterator().is_some() => complete_until,
            _ => complete_until.min(last_arrival),
        };
        let behind = behind.unwrap_or_else(|| read_at.since(last_arrival));
        self.take_records(page, source, behind, complete_until)
    }

    fn take_records(
        &mut self,
        page: Page,
        source: Arc<str>,
        behind: Duration,
        complete_until: Millis,
    ) -> Result<Read, SourceError> {
        let children = page.children();
        let next = page.next_iterator();
        let names_end = page.names_end();
        let closed = page.closed;
        let records = page.answer.records.len();
        let batch = batch_of(self.origin(source), page.answer).map_err(|e| {
            let text = format!(
                "GetRecords on shard {} returned a malformed record: {e}",
                self.shard
            );
            Trouble::new(TroubleKind::Unintelligible, text).caused_by(e)
        })?;

        self.position = batch.after(records - 1);
        self.empty_pages_at_end = 0;
        self.horizon = Horizon::default();
        self.was_stuck = false;
        self.asks_for_map = next.is_none() && !names_end && !closed;
        if names_end {
            self.ended = Some(Ended {
                children,
                complete_until,
            });
        }
        // An iterator silently passes over records that retention deletes before its use; a
        // position is refused in that case.
        self.iterator = next.filter(|_| !self.shared.is_near_horizon(behind));
        Ok(Read {
            fetched: Fetched::Batch(batch),
            behind,
            complete_until,
        })
    }

    /// An answer without records. An answer that lacks a member tells nothing of the shard's tip or
    /// end, until several in a row lack the member: some servers never return one.
    fn take_empty(&mut self, page: &Page, complete_until: Millis) -> Result<Read, SourceError> {
        if page.names_end() {
            return Ok(closed(page.children(), complete_until));
        }
        let behind = page.behind();
        self.iterator = page.next_iterator();
        self.asks_for_map = self.iterator.is_none() && !page.closed;
        if behind.is_some() {
            self.pages_without_distance = 0;
        } else {
            self.pages_without_distance += 1;
        }
        let at_tip = behind.unwrap_or_default().is_zero();
        if page.closed && at_tip {
            self.empty_pages_at_end += 1;
        } else {
            self.empty_pages_at_end = 0;
        }

        if self.empty_pages_at_end >= EMPTY_PAGES_AT_END {
            let known = self.shared.known(&self.shard).unwrap_or_default();
            return Ok(closed(known.children, complete_until));
        }
        if self.iterator.is_none() {
            return Err(self.lacks("NextShardIterator"));
        }
        if (1..PAGES_WITHOUT_DISTANCE).contains(&self.pages_without_distance) {
            return Err(self.lacks("MillisBehindLatest"));
        }
        Ok(Read {
            fetched: Fetched::Idle,
            behind: behind.unwrap_or_default(),
            complete_until,
        })
    }

    /// The trouble of an answer that lacks `member`.
    fn lacks(&self, member: &str) -> SourceError {
        let stream = &self.shared.stream;
        let shard = &self.shard;
        let text = format!(
            "an answer to GetRecords on {stream} (shard {shard}) lacks {member}; the shard is asked \
             again"
        );
        Trouble::new(TroubleKind::Unavailable, text)
    }

    /// The origin of this reader's batches, with the shard's hash range as in the last listing.
    fn origin(&mut self, source: Arc<str>) -> Arc<Origin> {
        let hash_range = self.shared.hash_range(&self.shard);
        let is_same = |last: &&Arc<Origin>| last.source == source && last.hash_range == hash_range;
        if let Some(last) = self.last_origin.as_ref().filter(is_same) {
            return Arc::clone(last);
        }

        let origin = Arc::new(Origin {
            source,
            shard: self.shard.clone(),
            hash_range,
        });
        self.last_origin = Some(Arc::clone(&origin));
        origin
    }

    /// True if the reader was at the age of the retention for so many pages that the records at its
    /// position must be deleted. AWS returns empty pages for ever in that case.
    async fn is_stuck(&mut self, behind: Duration) -> Result<bool, SourceError> {
        let may_be_old = matches!(self.position, Position::After { .. })
            && behind + HORIZON_SLACK >= RETENTION_MIN;
        if !may_be_old || behind + HORIZON_SLACK < self.shared.stream().await?.retention {
            self.horizon = Horizon::default();
            return Ok(false);
        }

        if self.horizon.pages == 0 {
            self.horizon.first_behind = behind;
        }
        self.horizon.pages += 1;
        // A reader that makes progress through an empty stretch is closer to the tip with each
        // page.
        if behind + PROGRESS_MIN < self.horizon.first_behind {
            self.horizon = Horizon::default();
        }
        Ok(self.horizon.pages >= EMPTY_PAGES_AT_HORIZON)
    }

    async fn read(&mut self, credit: Credit) -> Result<Read, Stop> {
        let source = self.shared.arn().await?;
        if self.asks_for_map {
            self.shared.list().await?;
            self.asks_for_map = false;
        }
        let page = self.fetch(credit).await?;
        let read = self.take(page, source)?;
        if read.behind.is_zero() {
            self.tip = self.tip.max(Some(read.complete_until));
        }
        if matches!(read.fetched, Fetched::Idle) && self.is_stuck(read.behind).await? {
            return Err(Stop::Gone(Gone::Stuck));
        }
        Ok(read)
    }

    /// The position is refused, or returns nothing at the age of the retention. The oldest record
    /// that the shard has tells whether records were deleted; then the reader continues there.
    async fn gap(&mut self, gone: Gone) -> Result<Read, SourceError> {
        self.shared.check_same().await?;
        let behind = self.shared.stream().await?.retention;
        let oldest = self.oldest_record().await?;
        self.iterator = None;
        self.horizon = Horizon::default();

        let is_gap = self.is_gap(oldest.as_ref(), gone);
        let now = server_time(None, &self.shared.client);
        let complete_until = now.minus(behind);
        self.was_stuck = gone == Gone::Stuck && !is_gap;
        if !is_gap {
            return match gone {
                Gone::Refused => Err(self.refused()),
                Gone::Stuck => Ok(Read {
                    fetched: Fetched::Idle,
                    behind,
                    complete_until,
                }),
            };
        }

        // From here on nothing waits: a gap that is passed over is reported.
        self.position = Position::TrimHorizon;
        Ok(Read {
            fetched: Fetched::Gap { oldest },
            behind,
            complete_until,
        })
    }

    /// The oldest record of the shard; `None` if the server returns none.
    async fn oldest_record(&self) -> Result<Option<OldestRecord>, SourceError> {
        let (shared, client) = (&*self.shared, &self.shared.client);
        let mut request = iterator_request(&self.shard, &Position::TrimHorizon);
        let called = client.once_on(&shared.stream, &mut request, DEADLINE).await;
        let answered = called.map_err(|e| self.failed(e, Operation::GetShardIterator))?;

        let request = GetRecordsRequest {
            shard_iterator: answered.answer.shard_iterator,
            limit: Some(1),
            stream_arn: client.arn_to_send(&shared.stream),
            ..Default::default()
        };
        let parse = |raw: RawAnswer| GetRecordsAnswer::parse(raw.format, raw.body);
        let read = client.read_call(&request, DEADLINE, parse).await;
        let page = read.map_err(|e| self.failed(e, Operation::GetRecords))?;
        let answer = page.answer;

        let Some(record) = answer.records.first() else {
            return Ok(None);
        };
        let number = record.sequence.of(&answer.body);
        let number = std::str::from_utf8(number).ok();
        Ok(number.map(|number| OldestRecord {
            sequence: Sequence::new(number),
            arrival: Millis(record.arrival_ms),
        }))
    }

    /// True if records between the position and `oldest` were deleted unread. A position that
    /// returns nothing again, though records or the shard's end are to be read, is gone whatever
    /// the times say.
    fn is_gap(&self, oldest: Option<&OldestRecord>, gone: Gone) -> bool {
        match (oldest, gone) {
            (Some(oldest), _) if self.is_past(oldest) => false,
            (Some(_), Gone::Stuck) if self.was_stuck => true,
            (None, Gone::Stuck) => self.was_stuck && self.shared.is_closed(&self.shard),
            (Some(oldest), Gone::Stuck | Gone::Refused) => !self.has_read_until(oldest.arrival),
            (None, Gone::Refused) => true,
        }
    }

    /// True if the reader stands at or after `oldest`: nothing was deleted that was not read.
    fn is_past(&self, oldest: &OldestRecord) -> bool {
        match &self.position {
            Position::After { sequence, .. } => {
                Sequence::compare(oldest.sequence.as_str(), sequence.as_str()).is_le()
            }
            Position::TrimHorizon | Position::At(_) | Position::Closed => false,
        }
    }

    /// True if this reader was at the tip at a moment that the retention still covers, before
    /// `arrival`: records that arrived since then are not old enough to be deleted.
    fn has_read_until(&self, arrival: Millis) -> bool {
        let Some(tip) = self.tip else {
            return false;
        };
        if tip > arrival {
            return false;
        }
        let now = server_time(None, &self.shared.client);
        let age = now.since(tip);
        !self.shared.is_near_horizon(age)
    }

    /// The server refuses a position that it has: reading there is tried again.
    fn refused(&self) -> SourceError {
        let text = format!(
            "GetShardIterator on {} (shard {}) refuses the position {}, though the shard has older \
             records",
            self.shared.stream, self.shard, self.position
        );
        Trouble::new(TroubleKind::Invalid, text)
    }
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self, credit: Credit) -> Result<Read, SourceError> {
        if let Some(ended) = &self.ended {
            return Ok(closed(ended.children.clone(), ended.complete_until));
        }

        match self.read(credit).await {
            Ok(read) => Ok(read),
            Err(Stop::Gone(gone)) => self.gap(gone).await,
            Err(Stop::Failed(trouble)) => Err(trouble),
        }
    }
}

fn closed(children: Vec<ShardId>, complete_until: Millis) -> Read {
    Read {
        fetched: Fetched::Closed { children },
        behind: Duration::ZERO,
        complete_until,
    }
}

/// The request for an iterator at `position`.
fn iterator_request(shard: &ShardId, position: &Position) -> GetShardIteratorRequest {
    let mut request = GetShardIteratorRequest {
        shard_id: Some(shard.as_str().to_owned()),
        ..Default::default()
    };
    let kind = match position {
        Position::TrimHorizon => ShardIteratorType::TrimHorizon,
        Position::At(at) => {
            request.timestamp = Some(Timestamp(at.0));
            ShardIteratorType::AtTimestamp
        }
        Position::After { sequence, sub } => {
            request.starting_sequence_number = Some(sequence.as_str().to_owned());
            match sub {
                None => ShardIteratorType::AfterSequenceNumber,
                // The rest of that record is still to be returned.
                Some(_) => ShardIteratorType::AtSequenceNumber,
            }
        }
        // Never asked for: there is no record after a shard's end.
        Position::Closed => ShardIteratorType::Latest,
    };
    request.shard_iterator_type = Some(kind);
    request
}

/// True if another iterator may succeed at once.
fn is_useless_iterator(error: &CallError) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::ExpiredIterator | ErrorCode::InvalidArgument | ErrorCode::Validation)
    )
}

/// True if the failure may be the iterator's fault: the next read takes a new one.
fn refuses_iterator(kind: TroubleKind) -> bool {
    match kind {
        TroubleKind::Missing | TroubleKind::Invalid | TroubleKind::Unintelligible => true,
        TroubleKind::Throttled
        | TroubleKind::Unavailable
        | TroubleKind::Unauthenticated
        | TroubleKind::Denied => false,
    }
}

/// The records of an answer as places in its body.
fn batch_of(origin: Arc<Origin>, answer: GetRecordsAnswer) -> Result<Batch, BadBatch> {
    let form = match answer.form {
        hot::DataForm::Raw => DataForm::Raw,
        hot::DataForm::Base64 => DataForm::Base64,
    };
    let records = answer.records.iter().map(index_of).collect();
    Batch::new(origin, answer.body, form, records)
}

fn index_of(record: &hot::RecordIndex) -> RecordIndex {
    let span = |s: hot::Span| Span {
        start: s.start,
        len: s.end.saturating_sub(s.start),
    };
    RecordIndex {
        sequence: span(record.sequence),
        key: record.key.map(span),
        data: span(record.data),
        arrival: Millis(record.arrival_ms),
    }
}
