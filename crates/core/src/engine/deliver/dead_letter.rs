//! Dead letters: a record that an output will never take goes, whole and with the reason, to
//! another output, and counts as settled only when that one has made the record durable.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::batch::{BadBatch, Batch};
use crate::clock::Millis;
use crate::output::{Order, Output, Refusal, Trouble, TroubleKind};
use crate::record::{DataForm, Record, RecordIndex, Span};

use super::{Context, Delivered, OnRefused, Recipient, deliver};

/// The place for records that an output refuses for good.
#[derive(Clone)]
pub struct DeadLetter {
    /// The name of the output that refuses, for the envelope.
    pub refused_by: String,
    /// The output that takes the dead letters.
    pub output: Arc<dyn Output>,
}

/// The data of a dead letter: one line of JSON.
#[derive(Serialize)]
struct Envelope<'a> {
    output: &'a str,
    source: &'a str,
    shard: &'a str,
    sequence: &'a str,
    /// The part of the record; `null` for a whole record.
    sub: Option<u32>,
    key: Option<&'a str>,
    /// RFC 3339, UTC, milliseconds.
    arrival: String,
    /// RFC 3339, UTC, milliseconds.
    time: String,
    code: &'a str,
    reason: &'a str,
    /// Standard base64.
    data: &'a str,
}

impl DeadLetter {
    /// Makes a record of `batch`, `refused` with its row where it is one, durable at the dead
    /// letter output; the trouble if that did not succeed before the deadline of `context`.
    pub(crate) fn store<'a>(
        &'a self,
        batch: &'a Batch,
        refused: (usize, Option<u32>),
        refusal: &'a Refusal,
        context: &'a Context,
    ) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>> {
        Box::pin(async move {
            let wall = context.clock.wall();
            let letter = self.wrap(batch, refused, refusal, wall);
            let letter = letter.map_err(|error| {
                let text = "the dead letter of a record could not be made";
                Trouble::new(TroubleKind::Invalid, text).caused_by(error)
            })?;
            self.send(&letter, context).await
        })
    }

    async fn send(&self, letter: &Batch, context: &Context) -> Result<(), Trouble> {
        let recipient = Recipient {
            output: Arc::clone(&self.output),
            order: Order::Unordered,
            on_refused: OnRefused::Stop,
        };
        let delivered = deliver(letter, &[recipient], context).await.pop();
        match delivered {
            Some(delivered) if delivered.through < letter.len() => Err(trouble_of(delivered)),
            Some(_) | None => Ok(()),
        }
    }

    /// The dead letter of a record, as a batch of one record with the sequence number, the key and
    /// the arrival time of the refused one.
    fn wrap(
        &self,
        batch: &Batch,
        (record, sub): (usize, Option<u32>),
        refusal: &Refusal,
        now: Millis,
    ) -> Result<Batch, WrapError> {
        let refused = batch.record(record);
        let mut buffer = self.line(batch, (&refused, sub), refusal, now)?;
        let data = span(0, buffer.len())?;
        let sequence = append(&mut buffer, refused.sequence)?;
        let key = match refused.key {
            Some(key) => Some(append(&mut buffer, key)?),
            None => None,
        };

        let index = RecordIndex {
            sequence,
            key,
            data,
            arrival: refused.arrival,
        };
        let origin = Arc::clone(batch.origin());
        let letter = Batch::new(origin, buffer.into(), DataForm::Raw, vec![index]);
        Ok(letter?)
    }

    fn line(
        &self,
        batch: &Batch,
        (refused, sub): (&Record<'_>, Option<u32>),
        refusal: &Refusal,
        now: Millis,
    ) -> Result<Vec<u8>, WrapError> {
        let envelope = Envelope {
            output: &self.refused_by,
            source: &batch.origin().source,
            shard: batch.origin().shard.as_str(),
            sequence: refused.sequence,
            sub,
            key: refused.key,
            arrival: rfc3339(refused.arrival),
            time: rfc3339(now),
            code: &refusal.code,
            reason: &refusal.message,
            data: &base64(refused)?,
        };
        Ok(serde_json::to_vec(&envelope)?)
    }
}

/// The reason why a dead letter is not durable.
fn trouble_of(delivered: Delivered) -> Trouble {
    if let Some(refused) = delivered.refused.first() {
        let text = format!("the dead letter was refused: {}", refused.refusal);
        return Trouble::new(TroubleKind::Invalid, text);
    }

    let unknown = || Trouble::new(TroubleKind::Unavailable, "the dead letter is not durable");
    delivered.trouble.unwrap_or_else(unknown)
}

/// The reason why a record has no dead letter.
#[derive(Debug, thiserror::Error)]
enum WrapError {
    #[error("the record's data are not base64")]
    Data(#[from] std::str::Utf8Error),
    #[error("the envelope is no JSON")]
    Json(#[from] serde_json::Error),
    #[error("the envelope is no batch")]
    Batch(#[from] BadBatch),
    #[error("the envelope is larger than a batch can be")]
    Large(#[from] std::num::TryFromIntError),
}

/// The data of a record as standard base64.
fn base64<'a>(record: &Record<'a>) -> Result<Cow<'a, str>, WrapError> {
    Ok(match record.form {
        DataForm::Raw => base64_simd::STANDARD.encode_to_string(record.data).into(),
        DataForm::Base64 => std::str::from_utf8(record.data)?.into(),
    })
}

fn span(start: usize, len: usize) -> Result<Span, WrapError> {
    Ok(Span {
        start: u32::try_from(start)?,
        len: u32::try_from(len)?,
    })
}

fn append(buffer: &mut Vec<u8>, text: &str) -> Result<Span, WrapError> {
    let span = span(buffer.len(), text.len())?;
    buffer.extend_from_slice(text.as_bytes());
    Ok(span)
}

fn rfc3339(at: Millis) -> String {
    let since = Duration::from_millis(u64::try_from(at.0).unwrap_or(0));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::shared_batch::testing::{Five, batch};

    #[test]
    fn a_dead_letter_is_one_line_with_the_whole_record_and_the_reason() {
        let shared = batch(&["7", "8"]);
        let dead_letter = DeadLetter {
            refused_by: "orders".to_owned(),
            output: Arc::new(Five),
        };

        let refusal = Refusal::new("TooLarge", "larger than 1 MiB");
        let letter = dead_letter
            .wrap(
                &shared.batch,
                (1, None),
                &refusal,
                Millis(1_700_000_000_123),
            )
            .unwrap();

        let record = letter.record(0);
        assert_eq!((letter.len(), record.sequence, record.key), (1, "8", None));
        let expected = r#"{"output":"orders","source":"arn:aws:kinesis:eu-west-1:1:stream/input","shard":"shardId-000000000000","sequence":"8","sub":null,"key":null,"arrival":"1970-01-01T00:00:00.000Z","time":"2023-11-14T22:13:20.123Z","code":"TooLarge","reason":"larger than 1 MiB","data":"OA=="}"#;
        assert_eq!(String::from_utf8_lossy(record.data), expected);
    }
}
