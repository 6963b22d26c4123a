//! Dead letters, read back from the lines of a file.

use std::io::{self, BufRead};
use std::sync::Arc;

use distributary_core::batch::{Batch, Origin, ShardId};
use distributary_core::clock::Millis;
use distributary_core::record::{DataForm, RecordIndex, Span};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A line of a file of dead letters; docs/CONFIG.md has the members.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Letter {
    #[serde(flatten)]
    pub(crate) id: LetterId,
    /// The partition key.
    pub(crate) key: Option<String>,
    /// RFC 3339.
    arrival: String,
    /// Standard base64.
    data: String,
}

impl Letter {
    /// Bytes of the data's text.
    pub(crate) fn size(&self) -> usize {
        self.data.len()
    }
}

/// The members that tell one dead letter from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LetterId {
    /// The output that refused the record.
    pub(crate) output: String,
    /// The source's ARN.
    pub(crate) source: String,
    pub(crate) shard: String,
    pub(crate) sequence: String,
    /// The part of the record.
    pub(crate) sub: Option<u32>,
    /// The moment of the refusal; a record that is refused again has another one.
    pub(crate) time: String,
}

/// Reads the lines of a file. The rest of a line that is still being written is not read.
///
/// # Errors
/// A line that is no dead letter, with its number.
pub(crate) fn read(mut lines: impl BufRead) -> io::Result<Vec<Letter>> {
    let mut letters = Vec::new();
    let mut line = Vec::new();
    let mut number = 0;
    while lines.read_until(b'\n', &mut line)? > 0 {
        number += 1;
        if line.ends_with(b"\n") {
            let letter = serde_json::from_slice(&line);
            let letter = letter.map_err(|error| not_a_letter(number, &error))?;
            letters.push(letter);
        }
        line.clear();
    }
    Ok(letters)
}

fn not_a_letter(number: usize, error: &serde_json::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("line {number} is no dead letter: {error}"),
    )
}

/// A batch of the letters, all of one shard, in their order.
///
/// # Errors
/// A sentence about a letter that cannot be a record.
pub(crate) fn batch(letters: &[Letter]) -> Result<Batch, String> {
    let Some(first) = letters.first() else {
        return Err("there are no letters".to_owned());
    };
    let origin = origin(&first.id);
    let mut buffer = Vec::new();
    let mut records = Vec::with_capacity(letters.len());
    for letter in letters {
        let record = index(&mut buffer, letter)?;
        records.push(record);
    }
    let buffer = buffer.into();
    let batch = Batch::new(origin, buffer, DataForm::Base64, records);
    batch.map_err(|bad| bad.to_string())
}

fn origin(id: &LetterId) -> Arc<Origin> {
    let source = id.source.as_str();
    let shard = ShardId::new(&id.shard);
    Arc::new(Origin {
        source: source.into(),
        shard,
        hash_range: None,
    })
}

fn bad(
    LetterId {
        sequence, shard, ..
    }: &LetterId,
    why: &str,
) -> String {
    format!("the dead letter of record {sequence} in {shard} cannot be sent: {why}")
}

fn index(buffer: &mut Vec<u8>, letter: &Letter) -> Result<RecordIndex, String> {
    let index = parts(buffer, letter);
    index.map_err(|why| bad(&letter.id, &why))
}

fn parts(buffer: &mut Vec<u8>, letter: &Letter) -> Result<RecordIndex, String> {
    let data = letter.data.as_bytes();
    base64_simd::STANDARD
        .check(data)
        .map_err(|_| "data is not base64".to_owned())?;
    let sequence = letter.id.sequence.as_bytes();
    let sequence = append(buffer, sequence)?;
    let key = match &letter.key {
        Some(key) => Some(append(buffer, key.as_bytes())?),
        None => None,
    };

    let data = append(buffer, data)?;
    let arrival = arrival(&letter.arrival)?;
    Ok(RecordIndex {
        sequence,
        key,
        data,
        arrival,
    })
}

fn append(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<Span, String> {
    let too_large = |_| "the letters of one request are larger than 4 GiB".to_owned();
    let span = Span {
        start: u32::try_from(buffer.len()).map_err(too_large)?,
        len: u32::try_from(bytes.len()).map_err(too_large)?,
    };
    buffer.extend_from_slice(bytes);
    Ok(span)
}

fn arrival(text: &str) -> Result<Millis, String> {
    let at = OffsetDateTime::parse(text, &Rfc3339);
    let at = at.map_err(|error| error.to_string())?;
    let nanos = at.unix_timestamp_nanos();
    let millis = nanos.div_euclid(1_000_000);

    let millis = i64::try_from(millis);
    millis.map(Millis).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"output":"orders","source":"arn:aws:kinesis:eu-west-1:1:stream/input","shard":"shardId-000000000000","sequence":"8","sub":null,"key":"k","arrival":"1970-01-01T00:00:01.005Z","time":"2023-11-14T22:13:20.123Z","code":"TooLarge","reason":"larger than 1 MiB","data":"OA=="}"#;

    #[test]
    fn a_letter_is_the_record_that_was_refused() {
        let text = format!("{LINE}\n{}", &LINE[..40]);
        let letters = read(text.as_bytes()).unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].id.output, "orders");

        let batch = batch(&letters).unwrap();
        let record = batch.record(0);
        assert_eq!((record.sequence, record.key), ("8", Some("k")));
        assert_eq!((record.data, record.arrival), (&b"OA=="[..], Millis(1005)));
        assert_eq!(batch.origin().shard.as_str(), "shardId-000000000000");
    }

    #[test]
    fn a_line_that_is_no_letter_is_reported() {
        let told = read(format!("{LINE}\n{{}}\n").as_bytes()).unwrap_err();
        assert!(told.to_string().contains("line 2 is no dead letter"));
        let damaged = LINE.replace("OA==", "*");
        let letters = read(format!("{damaged}\n").as_bytes()).unwrap();
        assert!(batch(&letters).unwrap_err().contains("not base64"));
    }
}
