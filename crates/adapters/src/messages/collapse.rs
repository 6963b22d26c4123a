//! Several records in one message, in the forms of aws-lambda-fanout.

use std::fmt;

use distributary_core::batch::Batch;
use distributary_core::output::{Picks, Refusal, RequestLimits, Verdict};
use distributary_core::record::Record;

use crate::formats::{self, Format};
use crate::keys::{Absent, Form, Key};
use crate::values::{Expected, word};

/// Records of a message, at most.
const RECORDS: usize = 10_000;
/// The text around the records in a message of the form `json`.
const AROUND: [&str; 2] = ["{\"Records\":[", "]}"];

/// The form of a message with several records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collapse {
    /// `{"Records":[…]}` with the data as they are written; data that are not JSON are refused.
    Json,
    /// The data one behind the other.
    Concat,
    /// The base64 of the data one behind the other.
    ConcatBase64,
}

const WORDS: &[(&str, Collapse)] = &[
    ("json", Collapse::Json),
    ("concat", Collapse::Concat),
    ("concat-b64", Collapse::ConcatBase64),
];

/// The key `collapse`.
pub(crate) const COLLAPSE: Key = Key {
    name: "collapse",
    form: Form::Choice(&["json", "concat", "concat-b64"]),
    absent: Absent::Default("one record a message"),
    help: "Several records in one message, up to the size of a message: json ({\"Records\": […]}, data \
           that are JSON), concat (data one behind the other) or concat-b64 (the base64 of that)",
    example: "json",
};

impl std::str::FromStr for Collapse {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        word(text, WORDS)
    }
}

impl<'de> serde::Deserialize<'de> for Collapse {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::values::text(deserializer)
    }
}

impl fmt::Display for Collapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = WORDS.iter().find(|(_, collapse)| collapse == self);
        f.write_str(found.map_or("", |(word, _)| word))
    }
}

impl Collapse {
    /// The limits of a request with one message of at most `bytes` bytes.
    pub(crate) fn limits(self, bytes: usize) -> RequestLimits {
        let bytes = match self {
            // One comma less than there are records.
            Self::Json => bytes + 1 - AROUND[0].len() - AROUND[1].len(),
            Self::Concat => bytes,
            Self::ConcatBase64 => bytes / 4 * 3,
        };
        RequestLimits {
            entries: RECORDS,
            bytes,
        }
    }

    pub(crate) fn weigh(self, record: &Record<'_>) -> usize {
        match self {
            Self::Json => record.data_len() + 1,
            Self::Concat | Self::ConcatBase64 => record.data_len(),
        }
    }

    /// The message with these records, and for each record the verdict if the record is not in the
    /// message. Data of a service that takes text only are checked by `is_allowed`.
    pub(crate) fn message(
        self,
        batch: &Batch,
        picks: &Picks,
        is_allowed: Option<fn(&str) -> bool>,
    ) -> (Vec<u8>, Vec<Result<(), Verdict>>) {
        let [start, end] = match self {
            Self::Json => AROUND,
            Self::Concat | Self::ConcatBase64 => ["", ""],
        };
        let mut text = start.as_bytes().to_vec();
        let add = |i| self.add(&mut text, batch, i, is_allowed, start.len());
        let verdicts: Vec<_> = picks.iter().map(add).collect();

        if verdicts.iter().all(Result::is_err) {
            return (Vec::new(), verdicts);
        }
        text.extend_from_slice(end.as_bytes());
        if self == Self::ConcatBase64 {
            text = base64_simd::STANDARD.encode_to_string(&text).into_bytes();
        }
        (text, verdicts)
    }

    /// Appends record `i`.
    fn add(
        self,
        text: &mut Vec<u8>,
        batch: &Batch,
        i: usize,
        is_allowed: Option<fn(&str) -> bool>,
        start: usize,
    ) -> Result<(), Verdict> {
        let mut part = Vec::new();
        let format = match self {
            Self::Json => Format::Json,
            Self::Concat | Self::ConcatBase64 => Format::Raw,
        };
        let record = batch.record(i);
        let added = formats::add(&mut part, batch.origin(), &record, format);
        added.map_err(Verdict::Refused)?;

        let is_taken = |is_allowed| std::str::from_utf8(&part).is_ok_and(is_allowed);
        if self != Self::ConcatBase64 && !is_allowed.is_none_or(is_taken) {
            let message = "the data have characters that the service does not take; use collapse = \
                           \"concat-b64\" for such data";
            let refusal = Refusal::new("NotText", message);
            return Err(Verdict::Refused(refusal));
        }
        if self == Self::Json && text.len() > start {
            text.push(b',');
        }
        text.extend_from_slice(&part);
        Ok(())
    }
}
