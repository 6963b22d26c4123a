//! The forms that a record's data take in the messages of outputs.

use std::borrow::Cow;

use distributary_core::batch::Origin;
use distributary_core::output::Refusal;
use distributary_core::record::{DataForm, Record};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::keys::{Absent, Form, Key};
use crate::values::{Expected, word};

/// The form of a record in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// The data as they are.
    #[default]
    Raw,
    /// The data as they are; data that are not UTF-8 are refused.
    Text,
    /// The data in base64.
    Base64,
    /// The data as they are; data that are not one JSON value are refused. Line breaks between the
    /// parts of the value become spaces.
    Json,
    /// A record of a Lambda function's Kinesis event, as JSON; data in base64.
    Record,
}

/// Bytes of a record in a request beside key and data, at most.
const AROUND_RECORD: usize = 2_048;
/// Bytes of a partition key, at most: 256 characters (Kinesis API reference, `PutRecords`).
const KEY_BYTES: usize = 1_024;

/// The words of the key `format`.
pub(crate) const WORDS: &[&str] = &["raw", "text", "base64", "json", "record"];

/// The key `format` at a service that takes bytes.
pub(crate) const FORMAT: Key = Key {
    name: "format",
    form: Form::Choice(WORDS),
    absent: Absent::Default("raw"),
    help: "Form of a record: raw (the bytes), text, base64, json (a JSON value) or record (as in a \
           Lambda function's Kinesis event); data without that form are refused",
    example: "json",
};

impl std::str::FromStr for Format {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let words = [
            ("raw", Self::Raw),
            ("text", Self::Text),
            ("base64", Self::Base64),
            ("json", Self::Json),
            ("record", Self::Record),
        ];
        word(text, &words)
    }
}

impl<'de> serde::Deserialize<'de> for Format {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::values::text(deserializer)
    }
}

impl Format {
    /// The default of services that take text.
    pub(crate) fn text() -> Self {
        Self::Text
    }

    /// The default of objects and files.
    pub(crate) fn record() -> Self {
        Self::Record
    }

    /// The end of a file's name for records in this form.
    #[cfg_attr(not(feature = "s3"), allow(dead_code))]
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Raw => "bin",
            Self::Text | Self::Base64 => "txt",
            Self::Json | Self::Record => "jsonl",
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Text => "text",
            Self::Base64 => "base64",
            Self::Json => "json",
            Self::Record => "record",
        }
    }

    /// The media type of one record in this form.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Raw => "application/octet-stream",
            Self::Text | Self::Base64 => "text/plain; charset=utf-8",
            Self::Json | Self::Record => "application/json",
        }
    }
}

/// An upper bound of the bytes of `records` messages whose keys and data have `bytes` bytes: data
/// as base64, keys with every character escaped in JSON.
pub(crate) fn bound(records: usize, bytes: usize) -> usize {
    let escaped_keys = bytes.min(records * KEY_BYTES) * 6;
    bytes.div_ceil(3) * 4 + escaped_keys + records * AROUND_RECORD
}

/// The bytes of `record` in the form `format`: exact, but for records of Lambda events, where an
/// upper bound.
pub(crate) fn len(record: &Record<'_>, format: Format) -> usize {
    match format {
        Format::Raw | Format::Text | Format::Json => record.data_len(),
        Format::Base64 => record.data_len().div_ceil(3) * 4,
        Format::Record => bound(1, record.size()),
    }
}

/// Appends `record` in the form `format`. Nothing is appended if the record is refused.
///
/// # Errors
/// The reason why the record has no such form.
pub(crate) fn add(
    text: &mut Vec<u8>,
    origin: &Origin,
    record: &Record<'_>,
    format: Format,
) -> Result<(), Refusal> {
    match format {
        Format::Raw => text.extend_from_slice(&data(record)?),
        Format::Text => text.extend_from_slice(utf8(&data(record)?)?.as_bytes()),
        Format::Base64 => text.extend_from_slice(base64(record)?.as_bytes()),
        Format::Json => add_json(text, &data(record)?)?,
        Format::Record => {
            let base64 = base64(record)?;
            let json = serde_json::to_vec(&line(origin, record, &base64));
            let json = json.map_err(|error| Refusal::new("NotWritable", error.to_string()))?;
            text.extend_from_slice(&json);
        }
    }
    Ok(())
}

/// The data themselves.
pub(crate) fn data<'a>(record: &Record<'a>) -> Result<Cow<'a, [u8]>, Refusal> {
    match record.form {
        DataForm::Raw => Ok(record.data.into()),
        DataForm::Base64 => {
            let decoded = base64_simd::STANDARD.decode_to_vec(record.data);
            decoded.map(Cow::Owned).map_err(|_| not_base64())
        }
    }
}

pub(crate) fn base64<'a>(record: &Record<'a>) -> Result<Cow<'a, str>, Refusal> {
    match record.form {
        DataForm::Raw => Ok(base64_simd::STANDARD.encode_to_string(record.data).into()),
        DataForm::Base64 => {
            let checked = base64_simd::STANDARD.check(record.data);
            checked.map_err(|_| not_base64())?;
            utf8(record.data).map(Cow::Borrowed)
        }
    }
}

fn not_base64() -> Refusal {
    Refusal::new("NotBase64", "the source gave data that are not base64")
}

fn utf8(data: &[u8]) -> Result<&str, Refusal> {
    let message = "the data are not UTF-8 text; use format = \"base64\" for such data";
    std::str::from_utf8(data).map_err(|_| Refusal::new("NotText", message))
}

fn add_json(text: &mut Vec<u8>, data: &[u8]) -> Result<(), Refusal> {
    let json: &RawValue = serde_json::from_str(utf8(data)?).map_err(|error| {
        let message = format!("the data are not one JSON value: {error}");
        Refusal::new("NotJson", message)
    })?;

    // No string of JSON holds a line break.
    let on_one_line = json.get().bytes().map(|byte| match byte {
        b'\n' | b'\r' => b' ',
        other => other,
    });
    text.extend(on_one_line);
    Ok(())
}

/// An element of `Records` in a Lambda function's Kinesis event
/// (AWS Lambda Developer Guide, "Using Lambda with Kinesis").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    kinesis: Payload<'a>,
    event_source: &'static str,
    event_version: &'static str,
    #[serde(rename = "eventID")]
    event_id: String,
    event_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_region: Option<&'a str>,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    kinesis_schema_version: &'static str,
    partition_key: Option<&'a str>,
    sequence_number: &'a str,
    data: &'a str,
    /// In seconds.
    approximate_arrival_timestamp: f64,
}

fn line<'a>(origin: &'a Origin, record: &Record<'a>, data: &'a str) -> Line<'a> {
    // Milliseconds of any year that a date is for are exact in a double.
    #[allow(clippy::cast_precision_loss)]
    let seconds = record.arrival.0 as f64 / 1_000.0;
    Line {
        kinesis: Payload {
            kinesis_schema_version: "1.0",
            partition_key: record.key,
            sequence_number: record.sequence,
            data,
            approximate_arrival_timestamp: seconds,
        },
        event_source: "aws:kinesis",
        event_version: "1.0",
        event_id: format!("{}:{}", origin.shard, record.sequence),
        event_name: "aws:kinesis:record",
        aws_region: origin.source.split(':').nth(3),
        event_source_arn: &origin.source,
    }
}

#[cfg(test)]
mod tests {
    use distributary_core::batch::ShardId;
    use distributary_core::clock::Millis;

    use super::*;

    fn formatted(format: Format, form: DataForm, data: &[u8]) -> Result<String, String> {
        let origin = Origin {
            source: "arn:aws:kinesis:eu-west-1:1:stream/input".into(),
            shard: ShardId::new("shardId-000000000000"),
            hash_range: None,
        };
        let record = Record {
            sequence: "7",
            key: Some("k"),
            data,
            form,
            arrival: Millis(1_500),
        };
        let mut text = Vec::new();
        match add(&mut text, &origin, &record, format) {
            Ok(()) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Err(refusal) => Err(refusal.code),
        }
    }

    #[test]
    fn data_take_each_form_from_bytes_and_from_base64() {
        for (form, data) in [
            (DataForm::Raw, &b"[1,\n2]"[..]),
            (DataForm::Base64, b"WzEsCjJd"),
        ] {
            let of = |format| formatted(format, form, data).unwrap();
            assert_eq!(of(Format::Raw), "[1,\n2]");
            assert_eq!(of(Format::Text), "[1,\n2]");
            assert_eq!(of(Format::Base64), "WzEsCjJd");
            assert_eq!(of(Format::Json), "[1, 2]");
            assert!(of(Format::Record).contains("\"data\":\"WzEsCjJd\""));
        }
    }

    #[test]
    fn data_without_a_form_are_refused_and_never_altered() {
        let refused = |format, data| formatted(format, DataForm::Raw, data).unwrap_err();
        assert_eq!(refused(Format::Text, b"\xff"), "NotText");
        assert_eq!(refused(Format::Json, b"{"), "NotJson");
        assert_eq!(refused(Format::Json, b"1 2"), "NotJson");
        assert_eq!(
            formatted(Format::Raw, DataForm::Base64, b"***"),
            Err("NotBase64".to_owned())
        );
    }
}
