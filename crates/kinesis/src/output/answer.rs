//! The outcome of a request: a verdict for each record, or one failure for all.

use std::time::Duration;

use distributary_core::clock::Instant;
use distributary_core::output::{Outcome, Refusal, Trouble, TroubleKind, Verdict};
use distributary_wire::codec::{CodecError, Format};
use distributary_wire::error::ErrorCode;
use distributary_wire::hot::{EntryResult, PutRecordsAnswer};
use distributary_wire::op::Operation;

use super::encoding::Encoding;
use super::load::{Answered, Routed};
use super::payload::{Grouped, PutPayload};
use super::{KinesisOutput, PutRequest};
use crate::client::{CallError, kind_of};

/// The HTTP status for the error of a single entry, which has none.
const NO_STATUS: u16 = 0;

impl KinesisOutput {
    /// The outcome of a request that was sent at `sent_at` and answered with status 200. The shards
    /// are listed before `until` if aggregates are in shards that are not known.
    pub(super) async fn outcome(
        &self,
        request: &PutRequest<'_>,
        answer: PutRecordsAnswer,
        (sent_at, until): (Instant, Instant),
    ) -> Outcome {
        let sent = request.payload.body.entries;
        if answer.len() != sent {
            let reason = format!("{} results for {sent} records", answer.len());
            let error = CallError::Undecodable(CodecError::Inconsistent { reason });
            return self.failure(request.payload, error);
        }

        if request.payload.body.format == Format::Cbor {
            self.client.cbor_works();
        }

        let wait = self.note_answer(request, &answer, sent_at);
        let picks = request.picks.len();
        let verdicts = match (request.payload.grouped(), answer) {
            (None, PutRecordsAnswer::AllDurable { .. }) => {
                return request.payload.all_durable(picks);
            }
            (None, PutRecordsAnswer::PerEntry(results)) => self.verdicts(results, wait),
            (Some(grouped), answer) => match answer.results() {
                Ok(results) => {
                    self.verdicts_of_groups(grouped, results, (wait, until))
                        .await
                }
                Err(error) => {
                    let error = CallError::Undecodable(error);
                    return self.failure(request.payload, error);
                }
            },
        };
        request.payload.outcome(verdicts, picks)
    }

    fn verdicts(&self, results: Vec<EntryResult>, wait: Option<Duration>) -> Vec<Verdict> {
        let results = results.into_iter();
        results.map(|result| self.verdict(result, wait)).collect()
    }

    /// Counts the answer against the rates of the shards. Returns the time that throttled shards
    /// need.
    fn note_answer(
        &self,
        request: &PutRequest<'_>,
        answer: &PutRecordsAnswer,
        sent_at: Instant,
    ) -> Option<Duration> {
        let throttled = match answer {
            PutRecordsAnswer::AllDurable { .. } => Vec::new(),
            PutRecordsAnswer::PerEntry(results) => {
                throttled(request, &self.current_encoding(), results)
            }
        };
        let body = &request.payload.body;
        let answered = Answered {
            sent_at,
            records: body.entries as u64,
            bytes: body.size as u64,
            refused: &throttled,
        };
        let now = self.now();
        self.load().note(now, answered)
    }

    /// The verdict on each entry. An aggregate in a shard that is not that of its user records is
    /// written, and has to be written again.
    async fn verdicts_of_groups(
        &self,
        grouped: &Grouped,
        results: Vec<EntryResult>,
        (wait, until): (Option<Duration>, Instant),
    ) -> Vec<Verdict> {
        let strays = self.check_places(grouped, &results, until).await;
        let entries = results.into_iter().zip(strays);
        let verdicts = entries.map(|(result, is_stray)| match is_stray {
            true => self.misplaced(),
            false => self.verdict(result, wait),
        });
        let verdicts: Vec<Verdict> = verdicts.collect();
        self.tally(grouped, &verdicts);
        verdicts
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
                let stream = &self.stream;
                let region = self.client.region();
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
            client.suspect_cbor(&error);
        }

        if error.code() == Some(&ErrorCode::ResourceNotFound) {
            self.forget_shards();
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
fn throttled(
    request: &PutRequest<'_>,
    encoding: &Encoding,
    results: &[EntryResult],
) -> Vec<Routed> {
    let is_throttled = |result: &EntryResult| match result {
        EntryResult::Failed { code, .. } => kind_of(code, NO_STATUS) == TroubleKind::Throttled,
        EntryResult::Durable { .. } => false,
    };
    if !results.iter().any(is_throttled) {
        return Vec::new();
    }
    let entries = request.routed(encoding).into_iter().zip(results);
    let of_throttled = entries.filter(|(_, result)| is_throttled(result));
    of_throttled.map(|(entry, _)| entry).collect()
}
