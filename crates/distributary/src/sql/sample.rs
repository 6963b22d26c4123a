//! The first records of a stream, to infer a schema from.

use std::sync::Arc;

use bytes::Bytes;
use distributary_core::batch::Batch;
use distributary_core::checkpoint::Position;
use distributary_core::clock::Clock;
use distributary_core::record::DataForm;
use distributary_core::source::Source;
use distributary_core::text::chain;
use distributary_kinesis::retry::with_retries;
use tokio::sync::{Semaphore, mpsc};

use crate::failure::Failure;
use crate::walk::{Event, Found, RESPONSES, ShardOrder, Walk};

/// Records that a schema is inferred from.
const RECORDS: u32 = 200;

/// A stream whose first records are wanted.
pub(crate) struct Sample {
    /// The name for messages.
    pub(crate) stream: String,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) clock: Clock,
    /// True: wait for the first record of an empty stream.
    pub(crate) waits: bool,
}

impl Sample {
    /// The data of the first records; at least one.
    pub(crate) async fn take(self) -> Result<Vec<Bytes>, Failure> {
        loop {
            let records = self.present().await?;
            if !records.is_empty() {
                return Ok(records);
            }
            if !self.waits {
                return Err(Failure::run(format!(
                    "{} has no records, and a schema is inferred from records: write some first",
                    self.stream
                )));
            }
            self.clock.sleep(std::time::Duration::from_secs(1)).await;
        }
    }

    /// The data of the first records that are in the stream now.
    async fn present(&self) -> Result<Vec<Bytes>, Failure> {
        let walk = self.walk().await?;
        let failed = |error| Failure::from_error(&error);
        let shards = walk.shards().await.map_err(failed)?;

        let (send, receive) = mpsc::channel(1);
        let (walked, records) = tokio::join!(walk.run(shards, send), collect(receive));
        walked.map_err(failed)?;
        Ok(records)
    }

    async fn walk(&self) -> Result<Walk, Failure> {
        let facts = with_retries(&self.clock, || self.source.facts());
        let facts = facts.await.map_err(|trouble| {
            let why = chain(&trouble);
            Failure::run(format!("cannot read {}: {why}", self.stream))
        })?;
        Ok(Walk {
            stream: self.stream.clone(),
            source: Arc::clone(&self.source),
            clock: self.clock.clone(),
            order: ShardOrder::AllAtOnce,
            start: Position::TrimHorizon,
            until: Some(facts.time.latest),
            records_per_read: RECORDS,
            responses: Arc::new(Semaphore::new(RESPONSES)),
        })
    }
}

/// Dropping the receiver ends the walk.
async fn collect(mut events: mpsc::Receiver<Event>) -> Vec<Bytes> {
    let mut records = Vec::new();
    while let Some(event) = events.recv().await {
        if let Found::Records(batch, _permit) = &event.found {
            add(batch, &mut records);
        }
        if records.len() >= RECORDS as usize {
            break;
        }
    }
    records
}

fn add(batch: &Batch, records: &mut Vec<Bytes>) {
    for record in batch.iter() {
        let data = match record.form {
            DataForm::Raw => Some(record.data.to_vec()),
            DataForm::Base64 => base64_simd::STANDARD.decode_to_vec(record.data).ok(),
        };
        records.extend(data.map(Bytes::from));
    }
}
