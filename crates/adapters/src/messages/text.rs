//! Records as text, for services that take text only. Data that are no text are never altered.

use distributary_core::batch::Batch;
use distributary_core::output::{Refusal, Trouble, TroubleKind, Verdict};
use distributary_core::record::Record;

use crate::formats::{self, Format};
use crate::keys::{Absent, Form, Key};
use crate::values::{Expected, word};

/// The treatment of data that a service does not take as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Binary {
    /// Sent in base64, and marked as such where the service has attributes.
    #[default]
    Base64,
    /// The record is a dead letter.
    DeadLetter,
    /// The output waits at the record until the settings are changed, dead letters or not.
    Refuse,
}

impl std::str::FromStr for Binary {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let words = [
            ("base64", Self::Base64),
            ("dead-letter", Self::DeadLetter),
            ("refuse", Self::Refuse),
        ];
        word(text, &words)
    }
}

impl<'de> serde::Deserialize<'de> for Binary {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::values::text(deserializer)
    }
}

/// The key `binary`.
pub(crate) const BINARY: Key = Key {
    name: "binary",
    form: Form::Choice(&["base64", "dead-letter", "refuse"]),
    absent: Absent::Default("base64"),
    help: "Data that are no text of the service, with format = \"text\": base64 (sent so, with the \
           attribute content-encoding: base64 where there are attributes), dead-letter (refused by \
           record) or refuse (the output waits at the record until the settings are changed)",
    example: "dead-letter",
};

/// The words of the key `format` at a service that takes text.
pub(crate) const FORMATS: &[&str] = &["text", "base64", "json", "record"];

/// The key `format` at a service that takes text.
pub(crate) const FORMAT: Key = Key {
    name: "format",
    form: Form::Choice(FORMATS),
    absent: Absent::Default("text"),
    help: "Form of a message: text (the data as they are), base64, json (a JSON value) or record (as \
           in a Lambda function's Kinesis event); data without that form are refused",
    example: "json",
};

/// A record as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// True if data that are no text were put into base64.
    pub(crate) is_base64: bool,
}

/// The way from records to text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Texts {
    pub(crate) format: Format,
    pub(crate) binary: Binary,
    /// True for texts that the service takes.
    pub(crate) is_allowed: fn(&str) -> bool,
}

impl Texts {
    /// The text of record `i`.
    pub(crate) fn of(&self, batch: &Batch, i: usize) -> Result<Text, Verdict> {
        let record = batch.record(i);
        let mut bytes = Vec::new();
        let format = match self.format {
            Format::Text => Format::Raw,
            other => other,
        };
        formats::add(&mut bytes, batch.origin(), &record, format).map_err(Verdict::Refused)?;

        match String::from_utf8(bytes) {
            Ok(text) if (self.is_allowed)(&text) => Ok(Text {
                text,
                is_base64: false,
            }),
            Ok(_) | Err(_) => self.no_text(&record),
        }
    }

    /// A record whose form is no text that the service takes.
    fn no_text(&self, record: &Record<'_>) -> Result<Text, Verdict> {
        const NO_TEXT: &str = "the data are no text that the service takes";

        match (self.format, self.binary) {
            (Format::Text, Binary::Base64) => {
                let base64 = formats::base64(record).map_err(Verdict::Refused)?;
                Ok(Text {
                    text: base64.into(),
                    is_base64: true,
                })
            }
            (Format::Text, Binary::Refuse) => Err(Verdict::Retry(Trouble::new(
                TroubleKind::Invalid,
                format!(
                    "{NO_TEXT} (record {}), and binary = \"refuse\"; use another format, or binary = \
                     \"base64\" or \"dead-letter\"",
                    record.sequence
                ),
            ))),
            (_, Binary::Base64 | Binary::DeadLetter | Binary::Refuse) => Err(refused(NO_TEXT)),
        }
    }

    /// Bytes of the text of `record`: exact, but for records of Lambda events an upper bound.
    pub(crate) fn len(&self, record: &Record<'_>) -> usize {
        match self.format {
            Format::Text if !self.is_text(record) => formats::len(record, Format::Base64),
            format => formats::len(record, format),
        }
    }

    /// True if the data of `record` are text that the service takes.
    pub(crate) fn is_text(&self, record: &Record<'_>) -> bool {
        let Ok(data) = formats::data(record) else {
            return false;
        };
        std::str::from_utf8(&data).is_ok_and(self.is_allowed)
    }
}

fn refused(message: &str) -> Verdict {
    let message = format!("{message}; use format = \"base64\" for such data");
    let refusal = Refusal::new("NotText", message);
    Verdict::Refused(refusal)
}

/// True if SQS and SNS take `text` but for the length: no control characters besides tab and line
/// breaks, and neither U+FFFE nor U+FFFF (Amazon SQS API reference, `SendMessage`).
pub(crate) fn is_sqs_text(text: &str) -> bool {
    let is_taken = |c: char| match c {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        c => c >= ' ',
    };
    text.chars().all(is_taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_the_api_reference_are_text() {
        assert!(is_sqs_text(
            "a\t\n\r \u{7f}\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{10ffff}"
        ));
        for bad in ["\u{0}", "\u{8}", "\u{b}", "\u{1f}", "\u{fffe}", "\u{ffff}"] {
            assert!(!is_sqs_text(bad), "{bad:?}");
        }
    }
}
