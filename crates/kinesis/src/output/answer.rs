//! The outcome of a request: a verdict for each record, or one failure for all.

use std::time::Duration;

use distributary_core::clock::Instant;
use distributary_core::output::{Outcome, Refusal, Trouble, TroubleKind, Verdict};
use distributary_wire::codec::{CodecError, Format};
use distributary_wire::hot::{EntryResult, PutRecordsAnswer};
use distributary_wire::op::Operation;

use super::encoding::{Encoding, PutPayload};
use super::load::{Answered, Routed};
use super::{KinesisOutput, PutRequest};
use crate::client::{CallError, kind_of};

/// The HTTP status for the error of a single entry, which has none.
const NO_STATUS: u16 = 0;

impl KinesisOutput {
    /// The outcome of a request that was sent at `sent_at` and answered with status 200.
    pub(super) fn outcome(
        &self,
        request: &PutRequest<'_>,
        answer: PutRecordsAnswer,
        sent_at: Instant,
    ) -> Outcome {
        let sent = request.payload.body.entries;
        if answer.len() != sent {
            let reason = format!("{} results for {sent} records", answer.len());
            let error = CallError::Undecodable(CodecError::Inconsistent { reason });
            return self.failure(request.payload, error);
        }

        let throttled = match &answer {
            PutRecordsAnswer::AllDurable { .. } => Vec::new(),
            PutRecordsAnswer::PerEntry(results) => {
                throttled(request, self.current_encoding(), results)
            }
        };
        let answered = Answered {
            sent_at,
            records: sent as u64,
            bytes: request.payload.body.size as u64,
            refused: &throttled,
        };
        let now = self.now();
        let wait = self.load().note(now, answered);

        match answer {
            PutRecordsAnswer::AllDurable { .. } => request.payload.all_durable(),
            PutRecordsAnswer::PerEntry(results) => {
                let results = results.into_iter();
                let verdicts = results.map(|result| self.verdict(result, wait));
                request.payload.outcome(verdicts.collect())
            }
        }
    }

    /// The verdict on one record. `wait`: the time that the throttled shards need.
    fn verdict(&self, result: EntryResult, wait: Option<Duration>) -> Verdict {
        let (code, message) = match result {
            EntryResult::Durable { .. } => return Verdict::Durable,
            EntryResult::Failed { code, message } => (code, message),
        };

        let kind = kind_of(&code, NO_STATUS);
        match kind {
            TroubleKind::Invalid => {
                Verdict::Refused(Refusal::new(code.as_str(), format!("{code}: {message}")))
            }
            TroubleKind::Throttled
            | TroubleKind::Unavailable
            | TroubleKind::Unauthenticated
            | TroubleKind::Denied
            | TroubleKind::Missing
            | TroubleKind::Unintelligible => {
                let (stream, region) = (&self.stream, self.client.region());
                let text = format!("stream {stream} in {region}: {code}: {message}");
                let mut trouble = Trouble::new(kind, text);
                trouble.retry_after = wait.filter(|_| kind == TroubleKind::Throttled);
                Verdict::Retry(trouble)
            }
        }
    }

    /// The outcome of a request without an answer that could be read.
    pub(super) fn failure(&self, payload: &PutPayload, error: CallError) -> Outcome {
        let client = &self.client;
        let body = &payload.body;
        if body.entries > 1 && client.learn_put_limit(&error, body.size) {
            return Outcome::Stale;
        }
        if body.format == Format::Cbor && client.may_lack_cbor(&error) {
            client.learn_json(&error);
        }

        let without_effect = error.is_without_effect();
        let stream = self.stream.to_string();
        let trouble = client.trouble(error, Operation::PutRecords, Some(&stream));
        if without_effect {
            Outcome::Rejected(trouble)
        } else {
            Outcome::Unknown(trouble)
        }
    }
}

/// The records of the request that were refused for the rate of their shard.
fn throttled(request: &PutRequest<'_>, encoding: Encoding, results: &[EntryResult]) -> Vec<Routed> {
    let is_throttled = |result: &EntryResult| match result {
        EntryResult::Failed { code, .. } => kind_of(code, NO_STATUS) == TroubleKind::Throttled,
        EntryResult::Durable { .. } => false,
    };
    let sent = request.payload.sent(request.picks).zip(results);
    sent.filter(|(_, result)| is_throttled(result))
        .map(|(index, _)| encoding.routed(request.batch, index))
        .collect()
}
