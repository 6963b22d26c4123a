//! Prints one record as a line.

use std::borrow::Cow;
use std::io::{self, Write};

use distributary_core::batch::ShardId;
use distributary_core::record::{DataForm, Record};
use serde::Serialize;

use super::Format;
use crate::show;

/// A record as JSON.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    shard: &'a str,
    sequence: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// Prints `record` of `shard`.
pub(super) fn print(
    out: &mut impl Write,
    format: Format,
    shard: &ShardId,
    record: &Record<'_>,
) -> io::Result<()> {
    let data = data(record)?;
    match format {
        Format::Text => print_text(out, shard, record, &data)?,
        Format::Json => serde_json::to_writer(&mut *out, &Line::new(shard, record, &data))?,
        Format::Raw => out.write_all(&data)?,
    }
    out.write_all(b"\n")
}

fn print_text(
    out: &mut impl Write,
    shard: &ShardId,
    record: &Record<'_>,
    data: &[u8],
) -> io::Result<()> {
    let key = record.key.map(|key| show::escape(key.as_bytes()));
    write!(
        out,
        "{} {} {} {}",
        show::time(record.arrival),
        show::shard_number(shard),
        key.as_deref().unwrap_or("-"),
        show::escape(data),
    )
}

fn data<'a>(record: &Record<'a>) -> io::Result<Cow<'a, [u8]>> {
    match record.form {
        DataForm::Raw => Ok(Cow::Borrowed(record.data)),
        DataForm::Base64 => match base64_simd::STANDARD.decode_to_vec(record.data) {
            Ok(data) => Ok(Cow::Owned(data)),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the server sent data that is not base64",
            )),
        },
    }
}

impl<'a> Line<'a> {
    fn new(shard: &'a ShardId, record: &Record<'a>, data: &'a [u8]) -> Self {
        let text = std::str::from_utf8(data).ok();
        Self {
            time: show::time(record.arrival),
            shard: shard.as_str(),
            sequence: record.sequence,
            key: record.key,
            data: text,
            data_base64: match text {
                Some(_) => None,
                None => Some(base64_simd::STANDARD.encode_to_string(data)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use distributary_core::clock::Millis;

    use super::*;

    const NEW_YEAR: Millis = Millis(1_767_225_600_000);

    fn printed(format: Format, key: Option<&str>, data: &[u8], form: DataForm) -> String {
        let record = Record {
            sequence: "4957",
            key,
            data,
            form,
            arrival: NEW_YEAR,
        };
        let mut out = Vec::new();
        print(
            &mut out,
            format,
            &ShardId::new("shardId-000000000002"),
            &record,
        )
        .unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn text() {
        let text = |key, data| printed(Format::Text, key, data, DataForm::Raw);
        assert_eq!(
            text(Some("user 1"), b"{\"a\": 1}"),
            "2026-01-01T00:00:00.000Z 2 user 1 {\"a\": 1}\n"
        );
        assert_eq!(
            text(None, b"a\n\xff"),
            "2026-01-01T00:00:00.000Z 2 - a\\n\\xff\n"
        );
        assert_eq!(
            printed(Format::Text, Some("k"), b"AP8=", DataForm::Base64),
            text(Some("k"), b"\0\xff")
        );
    }

    #[test]
    fn json() {
        let head = r#"{"time":"2026-01-01T00:00:00.000Z","shard":"shardId-000000000002","sequence":"4957""#;
        let json = |key, data: &[u8]| printed(Format::Json, key, data, DataForm::Raw);
        assert_eq!(
            json(Some("k"), b"\"x\"\n"),
            format!("{head},\"key\":\"k\",\"data\":\"\\\"x\\\"\\n\"}}\n")
        );
        assert_eq!(
            json(None, b"\0\xff"),
            format!("{head},\"data_base64\":\"AP8=\"}}\n")
        );
        assert_eq!(json(None, b""), format!("{head},\"data\":\"\"}}\n"));
    }

    #[test]
    fn raw() {
        assert_eq!(
            printed(Format::Raw, Some("k"), b"a\tb", DataForm::Raw),
            "a\tb\n"
        );
    }

    #[test]
    fn data_that_are_no_base64_are_an_error() {
        let record = Record {
            sequence: "1",
            key: None,
            data: b"?",
            form: DataForm::Base64,
            arrival: NEW_YEAR,
        };
        assert!(print(&mut Vec::new(), Format::Raw, &ShardId::new("s"), &record).is_err());
    }
}
