//! The bodies of requests: one record, or several.

use std::str::FromStr;

use bytes::Bytes;
use distributary_core::batch::Batch;
use distributary_core::output::{Picks, Refusal};

use crate::formats::{self, Format};
use crate::values::{self, Expected};

/// The way in which records become a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Body {
    /// One record a request.
    #[default]
    One,
    /// Records with a line break after each.
    Lines,
    /// A JSON array.
    Array,
}

const WORDS: &[(&str, Body)] = &[
    ("one", Body::One),
    ("lines", Body::Lines),
    ("array", Body::Array),
];

impl FromStr for Body {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        values::word(text, WORDS)
    }
}

impl<'de> serde::Deserialize<'de> for Body {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        values::text(deserializer)
    }
}

impl Body {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Lines => "lines",
            Self::Array => "array",
        }
    }

    /// True if records in `format` can be told apart in such a body.
    pub(crate) fn takes(self, format: Format) -> bool {
        match (self, format) {
            (Self::One, _) | (_, Format::Json | Format::Base64 | Format::Record) => true,
            (_, Format::Raw | Format::Text) => false,
        }
    }

    pub(crate) fn media_type(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::One, format) => format.media_type(),
            (Self::Lines, Format::Base64) => "text/plain; charset=utf-8",
            (Self::Lines, _) => "application/x-ndjson",
            (Self::Array, _) => "application/json",
        }
    }

    /// Texts before the first record, between two and after the last one.
    fn around(self, format: Format) -> [&'static str; 3] {
        match (self, format) {
            (Self::One, _) => ["", "", ""],
            (Self::Lines, _) => ["", "\n", "\n"],
            (Self::Array, Format::Record) => ["{\"Records\":[", ",", "]}"],
            // Base64 needs no escapes.
            (Self::Array, Format::Base64) => ["[\"", "\",\"", "\"]"],
            (Self::Array, _) => ["[", ",", "]"],
        }
    }
}

/// The encoded records of a chunk.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) body: Bytes,
    /// For each pick the reason why the record is not in the body.
    pub(crate) refused: Vec<Option<Refusal>>,
}

impl Encoded {
    pub(crate) fn new(batch: &Batch, picks: &Picks, format: Format, body: Body) -> Self {
        let [before, between, after] = body.around(format);
        let mut text = before.as_bytes().to_vec();
        let mut refused = Vec::with_capacity(picks.len());
        for i in picks.iter() {
            let start = text.len();
            if refused.contains(&None) {
                text.extend_from_slice(between.as_bytes());
            }
            let added = formats::add(&mut text, batch.origin(), &batch.record(i), format);
            if added.is_err() {
                text.truncate(start);
            }
            refused.push(added.err());
        }

        text.extend_from_slice(after.as_bytes());
        text.shrink_to_fit();
        let body = text.into();
        Self { body, refused }
    }

    /// True if no record is in the body.
    pub(crate) fn is_empty(&self) -> bool {
        self.refused.iter().all(Option::is_some)
    }
}
