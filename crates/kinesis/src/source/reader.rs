//! Reads one shard by `GetRecords`, one call at a time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::{Batch, Origin, ShardId};
use distributary_core::checkpoint::Position;
use distributary_core::clock::Millis;
use distributary_core::output::{Trouble, TroubleKind};
use distributary_core::record::{DataForm, RecordIndex, Span};
use distributary_core::source::{Credit, Fetched, Read, ShardReader, SourceError};
use distributary_wire::error::ErrorCode;
use distributary_wire::hot::{self, GetRecordsAnswer};
use distributary_wire::op::Operation;
use distributary_wire::types::{
    GetRecordsRequest, GetShardIteratorRequest, ShardIteratorType, Timestamp,
};

use super::{Shared, is_aggregate, or_wall};
use crate::client::{Answered, CallError};

/// How long one call may take. The engine's own deadline is shorter or equal; this one bounds it where there is none.
const DEADLINE: Duration = Duration::from_secs(30);
/// Empty pages at the tip of a shard that is listed as closed before it counts as read to its end: some servers never end
/// a closed shard's iterators.
const EMPTY_AT_END: u32 = 3;
/// Empty pages in a row, all about as old as the retention allows, after which the position is taken for deleted.
const EMPTY_AT_HORIZON: u32 = 10;
/// How near to the retention counts as that. Longer than an iterator is good for.
pub(super) const HORIZON_SLACK: Duration = Duration::from_secs(10 * 60);
/// Coming nearer by less than this in so many pages is none: the horizon itself moves in steps.
const PROGRESS: Duration = Duration::from_secs(60);

pub(super) struct Reader {
    shared: Arc<Shared>,
    shard: ShardId,
    /// What the next record follows; where an iterator is taken again from.
    position: Position,
    iterator: Option<String>,
    /// The shard's end was reached, together with its last records.
    ended: Option<Ended>,
    /// Empty pages in a row, with the shard known to be closed when they were asked for.
    empty_at_end: u32,
    horizon: Horizon,
    /// The origin of the last batch; empty while there was none.
    last_origin: Option<Arc<Origin>>,
}

/// Where a closed shard goes on.
struct Ended {
    children: Vec<ShardId>,
    complete_until: Millis,
}

/// Empty pages in a row at the age of the retention, and how far behind the first of them was.
#[derive(Default)]
struct Horizon {
    pages: u32,
    first: Duration,
}

/// What a call brought that is not an answer.
enum Stop {
    /// The position is not in the shard any more.
    Gone,
    Failed(SourceError),
}

/// An answer, and how long it was under way.
struct Page {
    answer: GetRecordsAnswer,
    date: Option<Millis>,
    took: Duration,
    /// Records that were asked for at most.
    limit: u32,
    /// The shard was known to be closed before it was asked for.
    closed: bool,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, shard: ShardId, position: Position) -> Self {
        Self {
            shared,
            shard,
            position,
            iterator: None,
            ended: None,
            empty_at_end: 0,
            horizon: Horizon::default(),
            last_origin: None,
        }
    }

    fn failed(&self, error: CallError, operation: Operation) -> SourceError {
        let what = format!("{} (shard {})", self.shared.stream, self.shard);
        self.shared.client.trouble(error, operation, Some(&what))
    }

    async fn take_iterator(&self) -> Result<String, Stop> {
        let mut request = GetShardIteratorRequest {
            shard_id: Some(self.shard.as_str().to_owned()),
            ..Default::default()
        };
        request.shard_iterator_type = Some(match &self.position {
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
            // Never asked for; there is nothing behind a shard's end.
            Position::Closed => ShardIteratorType::Latest,
        });
        let client = &self.shared.client;
        match client
            .once_on(&self.shared.stream, &mut request, DEADLINE)
            .await
        {
            Ok(Answered { answer, .. }) => answer
                .shard_iterator
                .filter(|i| !i.is_empty())
                .ok_or_else(|| {
                    let text = format!(
                        "GetShardIterator on shard {} brought no iterator",
                        self.shard
                    );
                    Stop::Failed(Trouble::new(TroubleKind::Unintelligible, text))
                }),
            // What AWS says to a sequence number that it does not have any more.
            Err(error)
                if matches!(self.position, Position::After { .. })
                    && error.code() == Some(&ErrorCode::InvalidArgument) =>
            {
                tracing::info!(shard = %self.shard, position = ?self.position, error = ?error, "the position is refused");
                Err(Stop::Gone)
            }
            Err(error) => Err(Stop::Failed(
                self.failed(error, Operation::GetShardIterator),
            )),
        }
    }

    /// One `GetRecords`; a second one if the iterator turns out to be expired.
    async fn fetch(&mut self, credit: Credit) -> Result<Page, Stop> {
        let shared = Arc::clone(&self.shared);
        let client = &shared.client;
        let limit = credit.records.clamp(1, 10_000);
        let mut fresh = false;
        loop {
            let iterator = match self.iterator.clone() {
                Some(iterator) => iterator,
                None => {
                    fresh = true;
                    let taken = self.take_iterator().await?;
                    self.iterator.insert(taken).clone()
                }
            };
            let request = GetRecordsRequest {
                shard_iterator: Some(iterator),
                limit: i32::try_from(limit).ok(),
                stream_arn: shared
                    .stream
                    .arn()
                    .filter(|_| !client.by_name())
                    .map(ToString::to_string),
                ..Default::default()
            };
            let closed = shared.is_closed(&self.shard);
            let sent = client.clock().now();
            let read = client
                .read_call(&request, DEADLINE, |raw| {
                    GetRecordsAnswer::parse(raw.format, raw.body)
                })
                .await;
            let took = client.clock().now().since(sent);
            match read {
                Ok(Answered { answer, date }) => {
                    return Ok(Page {
                        answer,
                        date,
                        took,
                        limit,
                        closed,
                    });
                }
                // It is good for five minutes; or another server has taken over, which knows nothing of it.
                Err(error)
                    if !fresh
                        && matches!(
                            error.code(),
                            Some(ErrorCode::ExpiredIterator | ErrorCode::InvalidArgument)
                        ) =>
                {
                    self.iterator = None;
                }
                Err(error) => {
                    if error.code() == Some(&ErrorCode::ExpiredIterator) {
                        self.iterator = None;
                    }
                    return Err(Stop::Failed(self.failed(error, Operation::GetRecords)));
                }
            }
        }
    }

    /// What a page says. Nothing here waits, so a page is taken whole or not at all.
    fn take(&mut self, page: Page) -> Result<Read, SourceError> {
        let Page {
            answer,
            date,
            took,
            limit,
            closed,
        } = page;
        let children: Vec<ShardId> = answer
            .child_shards
            .iter()
            .map(|child| ShardId::new(&child.shard_id))
            .collect();
        let behind = answer
            .millis_behind_latest
            .and_then(|ms| u64::try_from(ms).ok())
            .map(Duration::from_millis);
        let next = answer.next_shard_iterator.clone();
        // The shard was read at some time after the request went out.
        let read_at = or_wall(date, &self.shared.client).minus(took);
        let mut complete_until = read_at.minus(behind.unwrap_or_default());
        let records = answer.records.len();
        let last_arrival = answer.records.last().map(|r| Millis(r.arrival_ms));
        let Some(last_arrival) = last_arrival else {
            let behind = behind.unwrap_or_default();
            return Ok(self.take_empty(next, children, behind, complete_until, closed));
        };
        // Servers that always say 0, or nothing: of a full page only what it holds is sure.
        if behind.is_none() || records >= limit as usize {
            complete_until = complete_until.min(last_arrival);
        }
        if !self.shared.said_aggregates()
            && answer.records.iter().any(|r| is_aggregate(answer.data(r)))
        {
            self.shared.say_aggregates();
        }
        let origin = self.origin();
        let batch = batch_of(origin, answer).map_err(|e| {
            let text = format!(
                "GetRecords on shard {} brought what is no record: {e}",
                self.shard
            );
            Trouble::new(TroubleKind::Unintelligible, text).caused_by(e)
        })?;
        self.position = batch.after(records - 1);
        self.empty_at_end = 0;
        self.horizon = Horizon::default();
        if next.is_none() {
            self.ended = Some(Ended {
                children,
                complete_until,
            });
        }
        let behind = behind.unwrap_or_else(|| read_at.since(last_arrival));
        // An iterator passes over what retention deletes before it is used, without a word; a position is refused then.
        self.iterator = next.filter(|_| !self.shared.is_near_horizon(behind));
        Ok(Read {
            fetched: Fetched::Batch(batch),
            behind,
            complete_until,
        })
    }

    fn take_empty(
        &mut self,
        next: Option<String>,
        children: Vec<ShardId>,
        behind: Duration,
        complete_until: Millis,
        closed: bool,
    ) -> Read {
        if next.is_none() {
            return Read {
                fetched: Fetched::Closed { children },
                behind: Duration::ZERO,
                complete_until,
            };
        }
        self.iterator = next;
        self.empty_at_end = if closed && behind.is_zero() {
            self.empty_at_end + 1
        } else {
            0
        };
        if self.empty_at_end >= EMPTY_AT_END {
            let children = self
                .shared
                .known(&self.shard)
                .map(|known| known.children)
                .unwrap_or_default();
            return Read {
                fetched: Fetched::Closed { children },
                behind: Duration::ZERO,
                complete_until,
            };
        }
        Read {
            fetched: Fetched::Idle,
            behind,
            complete_until,
        }
    }

    /// The origin of this reader's batches, with the shard's hash range as the last listing has it.
    fn origin(&mut self) -> Arc<Origin> {
        let (source, hash_range) = (self.shared.arn(), self.shared.hash_range(&self.shard));
        let same = |last: &&Arc<Origin>| last.source == source && last.hash_range == hash_range;
        if let Some(last) = self.last_origin.as_ref().filter(same) {
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

    /// True if the reader has stood at the age of the retention for so long that what it waits for must be deleted. AWS
    /// answers empty pages for ever then.
    async fn is_stuck(&mut self, behind: Duration) -> Result<bool, SourceError> {
        if !matches!(self.position, Position::After { .. })
            || behind + HORIZON_SLACK < Duration::from_secs(24 * 3600)
        {
            self.horizon = Horizon::default();
            return Ok(false);
        }
        if behind + HORIZON_SLACK < self.shared.retention().await? {
            self.horizon = Horizon::default();
            return Ok(false);
        }
        if self.horizon.pages == 0 {
            self.horizon.first = behind;
        }
        self.horizon.pages += 1;
        // A reader that makes its way through an empty stretch comes nearer with every page.
        if behind + PROGRESS < self.horizon.first {
            self.horizon = Horizon::default();
        }
        Ok(self.horizon.pages >= EMPTY_AT_HORIZON)
    }

    /// Goes on at the oldest record.
    async fn gap(&mut self) -> Read {
        let behind = self.shared.retention().await.unwrap_or_default();
        // From here on nothing waits: a gap that is gone over is reported.
        self.position = Position::TrimHorizon;
        self.iterator = None;
        self.horizon = Horizon::default();
        let now = or_wall(None, &self.shared.client);
        Read {
            fetched: Fetched::Gap,
            behind,
            complete_until: now.minus(behind),
        }
    }
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self, credit: Credit) -> Result<Read, SourceError> {
        if let Some(Ended {
            children,
            complete_until,
        }) = &self.ended
        {
            return Ok(Read {
                fetched: Fetched::Closed {
                    children: children.clone(),
                },
                behind: Duration::ZERO,
                complete_until: *complete_until,
            });
        }
        let page = match self.fetch(credit).await {
            Ok(page) => page,
            Err(Stop::Gone) => return Ok(self.gap().await),
            Err(Stop::Failed(trouble)) => return Err(trouble),
        };
        let read = self.take(page)?;
        if matches!(read.fetched, Fetched::Idle) && self.is_stuck(read.behind).await? {
            return Ok(self.gap().await);
        }
        Ok(read)
    }
}

/// The records of an answer as places in its body.
fn batch_of(
    origin: Arc<Origin>,
    answer: GetRecordsAnswer,
) -> Result<Batch, distributary_core::batch::BadBatch> {
    let form = match answer.form {
        hot::DataForm::Raw => DataForm::Raw,
        hot::DataForm::Base64 => DataForm::Base64,
    };
    let span = |s: hot::Span| Span {
        start: s.start,
        len: s.end.saturating_sub(s.start),
    };
    let records = answer
        .records
        .iter()
        .map(|r| RecordIndex {
            sequence: span(r.sequence),
            key: r.key.map(span),
            data: span(r.data),
            arrival: Millis(r.arrival_ms),
        })
        .collect();
    Batch::new(origin, answer.body, form, records)
}
