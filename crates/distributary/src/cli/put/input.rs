//! Records from arguments and lines.

use std::io::{self, BufRead, Read};

use distributary_core::clock::Clock;
use distributary_wire::limits::{PARTITION_KEY_CHARS, RECORD_BYTES_MAX};
use distributary_wire::types::PutRecordsRequestEntry;

/// The origin of a record's partition key.
#[derive(Clone, Debug)]
pub(super) enum Keys {
    /// The same key for all records.
    Fixed(String),
    /// A random key for each record, which spreads the records over the shards.
    Random(Clock),
    /// The text before the first of these delimiters in each record.
    Before(String),
}

/// The form of a record in text.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) keys: Keys,
    /// Decimal, below 2^128.
    pub(super) explicit_hash_key: Option<String>,
    /// True if the data is base64.
    pub(super) base64: bool,
    /// Bytes of data and key that the stream takes.
    pub(super) record_bytes: usize,
}

/// The reason why a text is not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRecord {
    #[error("the delimiter {0:?} of --key-delimiter is missing between key and data")]
    NoDelimiter(String),
    #[error("the partition key is not UTF-8 text")]
    KeyText,
    #[error("the partition key has {0} characters; Kinesis takes 1 to {PARTITION_KEY_CHARS}")]
    KeyLength(usize),
    #[error("the data is not base64, which --base64 asks for")]
    Base64,
    #[error(
        "data and key have {size} bytes, and the stream takes {limit} a record \
         (UpdateMaxRecordSize raises that, up to 10 MiB)"
    )]
    TooLarge { size: usize, limit: usize },
    #[error("a line of more than {LINE_MAX} bytes is no record of Kinesis")]
    TooLong,
}

fn check_key(key: &str) -> Result<(), BadRecord> {
    let chars = key.chars().count();
    if (1..=PARTITION_KEY_CHARS).contains(&chars) {
        Ok(())
    } else {
        Err(BadRecord::KeyLength(chars))
    }
}

impl Form {
    /// The record that `text` stands for.
    pub(super) fn record(&self, text: &[u8]) -> Result<PutRecordsRequestEntry, BadRecord> {
        let (key, text) = self.split(text)?;
        check_key(&key)?;
        let data = self.data(text)?;
        let size = data.len() + key.len();
        let limit = self.record_bytes;
        if size > limit {
            return Err(BadRecord::TooLarge { size, limit });
        }
        Ok(PutRecordsRequestEntry {
            data: Some(data.into()),
            partition_key: Some(key),
            explicit_hash_key: self.explicit_hash_key.clone(),
        })
    }

    /// The partition key, and the text of the data.
    fn split<'a>(&self, text: &'a [u8]) -> Result<(String, &'a [u8]), BadRecord> {
        match &self.keys {
            Keys::Fixed(key) => Ok((key.clone(), text)),
            Keys::Random(clock) => Ok((format!("{:016x}", clock.random()), text)),
            Keys::Before(delimiter) => split_at(text, delimiter),
        }
    }

    fn data(&self, text: &[u8]) -> Result<Vec<u8>, BadRecord> {
        if self.base64 {
            base64_simd::STANDARD
                .decode_to_vec(text.trim_ascii())
                .map_err(|_| BadRecord::Base64)
        } else {
            Ok(text.to_vec())
        }
    }
}

/// The key before `delimiter`, and the text after.
fn split_at<'a>(text: &'a [u8], delimiter: &str) -> Result<(String, &'a [u8]), BadRecord> {
    let Some(at) = memchr::memmem::find(text, delimiter.as_bytes()) else {
        return Err(BadRecord::NoDelimiter(delimiter.to_owned()));
    };

    let key = std::str::from_utf8(&text[..at])
        .map_err(|_| BadRecord::KeyText)?
        .to_owned();
    Ok((key, &text[at + delimiter.len()..]))
}

/// Bytes of a line that are read: a record of the largest size as base64, the longest key and a
/// delimiter.
const LINE_MAX: u64 = RECORD_BYTES_MAX as u64 / 3 * 4 + 64 * 1024;

/// The next line without the newline, or `None` after the last line. The bytes after the last
/// newline are a line unless there are none. All other bytes are data, carriage returns included.
pub(super) fn line(from: &mut impl BufRead) -> io::Result<Option<Result<Vec<u8>, BadRecord>>> {
    let mut line = Vec::new();
    from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(Ok(line)));
    }
    if line.len() as u64 >= LINE_MAX {
        return Ok(Some(Err(BadRecord::TooLong)));
    }
    Ok(if line.is_empty() {
        None
    } else {
        Some(Ok(line))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(keys: Keys, base64: bool) -> Form {
        Form {
            keys,
            explicit_hash_key: None,
            base64,
            record_bytes: RECORD_BYTES_MAX,
        }
    }

    fn lines(text: &[u8]) -> Vec<Vec<u8>> {
        let mut from = io::BufReader::with_capacity(3, text);
        std::iter::from_fn(|| line(&mut from).unwrap())
            .map(Result::unwrap)
            .collect()
    }

    proptest! {
        #[test]
        fn lines_are_cut_at_newlines_and_nowhere_else(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>().prop_filter("", |b| *b != b'\n'), 0..8), 0..8),
        ) {
            let mut text = parts.join(&b'\n');
            // With a newline at the end, each part is a line; without one, the last is none if it is empty.
            text.extend_from_slice(if parts.is_empty() { b"" } else { b"\n" });
            prop_assert_eq!(lines(&text), parts);
        }
    }

    #[test]
    fn lines_at_the_end() {
        assert_eq!(lines(b""), Vec::<Vec<u8>>::new());
        assert_eq!(lines(b"\n"), [b""]);
        assert_eq!(lines(b"a\r\n\nb"), [&b"a\r"[..], b"", b"b"]);
        let mut endless = io::BufReader::new(io::repeat(b'x'));
        assert_eq!(line(&mut endless).unwrap(), Some(Err(BadRecord::TooLong)));
    }

    #[test]
    fn keys() {
        let record = |keys, text: &[u8]| form(keys, false).record(text);
        let fixed = record(Keys::Fixed("k".into()), b"\xff\0").unwrap();
        assert_eq!(
            (fixed.partition_key.as_deref(), &fixed.data.unwrap().0[..]),
            (Some("k"), &b"\xff\0"[..])
        );
        let before = record(Keys::Before("::".into()), b"user:1::a::b").unwrap();
        assert_eq!(
            (before.partition_key.as_deref(), &before.data.unwrap().0[..]),
            (Some("user:1"), &b"a::b"[..])
        );
        let random = Keys::Random(Clock::real());
        let two = [random.clone(), random].map(|k| record(k, b"").unwrap());
        assert_ne!(two[0].partition_key, two[1].partition_key);
        assert!(two[0].data.as_ref().unwrap().0.is_empty());

        assert_eq!(
            record(Keys::Before("\t".into()), b"no tab"),
            Err(BadRecord::NoDelimiter("\t".into()))
        );
        assert_eq!(
            record(Keys::Before("\t".into()), b"\xff\tx"),
            Err(BadRecord::KeyText)
        );
        assert_eq!(
            record(Keys::Before("\t".into()), b"\tx"),
            Err(BadRecord::KeyLength(0))
        );
        assert_eq!(
            record(Keys::Fixed("ü".repeat(257)), b""),
            Err(BadRecord::KeyLength(257))
        );
        assert!(record(Keys::Fixed("ü".repeat(256)), b"").is_ok());
        assert_eq!(
            record(Keys::Fixed("k".into()), &vec![0; RECORD_BYTES_MAX]),
            Err(BadRecord::TooLarge {
                size: RECORD_BYTES_MAX + 1,
                limit: RECORD_BYTES_MAX
            })
        );
    }

    #[test]
    fn base64() {
        let form = form(Keys::Before(",".into()), true);
        assert_eq!(
            form.record(b"k,/wA=\r").unwrap().data.unwrap().0[..],
            b"\xff\0"[..]
        );
        assert!(form.record(b"k,").unwrap().data.unwrap().0.is_empty());
        assert_eq!(form.record(b"k,?"), Err(BadRecord::Base64));
    }
}
