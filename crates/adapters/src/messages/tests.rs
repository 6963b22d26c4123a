use bytes::Bytes;
use distributary_core::batch::{Origin, ShardId};
use distributary_core::clock::Millis;
use distributary_core::output::RequestLimits;
use distributary_core::record::{DataForm, RecordIndex, Span};

use super::attributes::Attributes;
use super::collapse::Collapse;
use super::composer::{Composer, Form, Message};
use super::text::Binary;
use super::*;
use crate::formats::Format;

/// Records with these keys and data.
fn batch(form: DataForm, records: &[(&str, &[u8])]) -> Batch {
    let mut buffer = Vec::new();
    let mut add = |bytes: &[u8]| {
        let start = u32::try_from(buffer.len()).unwrap();
        buffer.extend_from_slice(bytes);
        let len = u32::try_from(bytes.len()).unwrap();
        Span { start, len }
    };
    let records = records.iter().enumerate().map(|(i, (key, data))| {
        let data = match form {
            DataForm::Raw => data.to_vec(),
            DataForm::Base64 => base64_simd::STANDARD.encode_to_string(data).into_bytes(),
        };
        RecordIndex {
            sequence: add(format!("{}", 100 + i).as_bytes()),
            key: Some(add(key.as_bytes())),
            data: add(&data),
            arrival: Millis(1_769_817_600_123),
        }
    });
    let records = records.collect();
    let origin = Origin {
        source: "arn:aws:kinesis:eu-west-1:123456789012:stream/input".into(),
        shard: ShardId::new("shardId-000000000002"),
        hash_range: None,
    };
    Batch::new(origin.into(), Bytes::from(buffer), form, records).unwrap()
}

/// A service that answers by a script.
struct Scripted<A> {
    answer: A,
    collapses: bool,
}

#[async_trait]
impl<A: Fn(&[String]) -> Option<Answer> + Send + Sync + 'static> Service for Scripted<A> {
    type Message = String;
    const KIND: &'static str = "scripted";

    fn profile(&self) -> Profile {
        Profile::new(RequestLimits {
            entries: 10,
            bytes: 1_000,
        })
    }

    fn form(&self) -> String {
        String::new()
    }

    fn weigh(&self, record: &Record<'_>) -> usize {
        record.data_len()
    }

    fn encode(&self, batch: &Batch, picks: &Picks) -> Encoded<String> {
        let text = |i| String::from_utf8_lossy(batch.record(i).data).into_owned();
        if self.collapses {
            let texts: Vec<String> = picks.iter().map(text).collect();
            return Encoded::together(Ok(texts.concat()), vec![Ok(()); picks.len()]);
        }
        Encoded::one_each(picks, |i| Ok(text(i)))
    }

    fn allocation(message: &String) -> usize {
        message.len()
    }

    async fn send(&self, messages: &[String]) -> Answer {
        match (self.answer)(messages) {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

fn output<A>(collapses: bool, answer: A) -> Messages<Scripted<A>>
where
    A: Fn(&[String]) -> Option<Answer> + Send + Sync + 'static,
{
    let service = Scripted { answer, collapses };
    Messages::new(service, Clock::real())
}

async fn write(output: &dyn Output, batch: &Batch, picks: Picks) -> Outcome {
    let chunk = output.encode(batch, picks);
    output.write(batch, &chunk, Duration::from_millis(50)).await
}

fn refuses_bad(messages: &[String]) -> Option<Answer> {
    let is_bad = messages.iter().any(|message| message.contains("bad"));
    Some(match is_bad {
        true => Answer::Refused(Refusal::new("No", "no")),
        false => Answer::Durable,
    })
}

#[tokio::test]
async fn a_request_that_is_refused_is_sent_record_by_record() {
    let records: [(&str, &[u8]); 3] = [("a", b"1"), ("b", b"bad"), ("c", b"3")];
    let batch = batch(DataForm::Raw, &records);
    for collapses in [false, true] {
        let output = output(collapses, refuses_bad);
        let full = output.encoding();
        let outcome = write(&output, &batch, Picks::Run(0..3)).await;
        assert!(matches!(outcome, Outcome::Stale), "{outcome:?}");
        assert_eq!(output.profile().request.entries, 1);
        assert_ne!(output.encoding(), full);

        for (i, is_bad) in [false, true, false].into_iter().enumerate() {
            match write(&output, &batch, Picks::Run(i..i + 1)).await {
                Outcome::Durable => assert!(!is_bad),
                Outcome::PerRecord(verdicts) => {
                    assert!(is_bad && matches!(verdicts[..], [Verdict::Refused(_)]));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(output.encoding(), full);
    }
}

#[tokio::test]
async fn an_answer_for_other_messages_or_none_is_unknown() {
    let batch = batch(DataForm::Raw, &[("a", b"1"), ("b", b"2")]);
    let short = output(false, |_| Some(Answer::Each(vec![Verdict::Durable])));
    let outcome = write(&short, &batch, Picks::Run(0..2)).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");

    let silent = output(false, |_| None);
    let outcome = write(&silent, &batch, Picks::Run(0..2)).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
}

fn form(is_fifo: bool, collapse: Option<Collapse>, attributes: &str) -> Form {
    let attributes = toml::Value::String(attributes.to_owned());
    Form {
        format: Format::Text,
        binary: Binary::Base64,
        attributes: match attributes.as_str() {
            Some("") | None => Attributes::default(),
            Some(_) => attributes.try_into().unwrap(),
        },
        collapse,
        is_fifo,
    }
}

fn composed(composer: &Composer, batch: &Batch) -> Result<Vec<Message>, Verdict> {
    let encoded = composer.encode(batch, &Picks::Run(0..batch.len()));
    for place in encoded.places {
        place?;
    }
    Ok(encoded.messages)
}

#[test]
fn a_message_of_the_limit_is_taken_and_one_more_byte_is_refused() {
    let key_counts = "partitionKey".len() + "String".len() + 1;
    let encoding_counts = "content-encoding".len() + "String".len() + "base64".len();
    for form_of_data in [DataForm::Raw, DataForm::Base64] {
        // 99 bytes without UTF-8 are 132 bytes of base64.
        let binary = vec![0xff; 99];
        for (attributes, data, counted) in [
            ("", &b"0123456789"[..], 10),
            ("partitionKey", b"0123456789", 10 + key_counts),
            ("", &binary, 132 + encoding_counts),
        ] {
            let batch = batch(form_of_data, &[("k", data)]);
            let composer = |bytes| Composer::new(form(false, None, attributes), bytes, bytes);
            assert_eq!(composer(counted).weigh(&batch.record(0)), counted);
            assert_eq!(composed(&composer(counted), &batch).unwrap().len(), 1);
            match composed(&composer(counted - 1), &batch) {
                Err(Verdict::Refused(refusal)) => assert_eq!(refusal.code, "MessageTooLong"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn data_that_are_no_text_are_never_altered() {
    let batch = batch(DataForm::Raw, &[("k", b"a\x01"), ("k", b"ok"), ("k", b"")]);
    let of = |binary, i| {
        let form = Form {
            binary,
            ..form(false, None, "")
        };
        let composer = Composer::new(form, 1_000, 1_000);
        let encoded = composer.encode(&batch, &Picks::Run(i..i + 1));
        encoded.places[0]
            .clone()
            .map(|_| encoded.messages[0].body.clone())
    };
    assert_eq!(of(Binary::Base64, 0).unwrap(), "YQE=");
    assert_eq!(of(Binary::DeadLetter, 1).unwrap(), "ok");
    assert!(matches!(
        of(Binary::DeadLetter, 0),
        Err(Verdict::Refused(_))
    ));
    assert!(matches!(of(Binary::Refuse, 0), Err(Verdict::Retry(_))));
    assert!(matches!(of(Binary::Base64, 2), Err(Verdict::Refused(_))));
}

#[test]
fn a_fifo_message_has_its_key_as_group_and_its_place_as_id() {
    let batch = batch(DataForm::Raw, &[("key", b"1"), ("with blank", b"2")]);
    let composer = Composer::new(form(true, None, ""), 1_000, 1_000);
    let messages = composed(&composer, &batch).unwrap();
    let fifo = |i: usize| messages[i].fifo.as_ref().unwrap();
    assert_eq!(fifo(0).group, "key");
    assert_eq!(fifo(0).deduplication, "shardId-000000000002:100");
    assert!(fifo(1).group.starts_with("h-") && fifo(1).group.len() == 66);
}

#[test]
fn collapsed_records_are_one_message_that_fits_exactly() {
    let records: [(&str, &[u8]); 3] = [("a", b"{\"n\":1}"), ("b", b"text"), ("c", b"[2]")];
    let batch = batch(DataForm::Raw, &records);
    for (collapse, body, refused) in [
        (Collapse::Json, "{\"Records\":[{\"n\":1},[2]]}", 1),
        (Collapse::Concat, "{\"n\":1}text[2]", 0),
        (Collapse::ConcatBase64, "eyJuIjoxfXRleHRbMl0=", 0),
    ] {
        let composer = Composer::new(form(false, Some(collapse), ""), 1_000, 1_000);
        let encoded = composer.encode(&batch, &Picks::Run(0..3));
        assert_eq!(encoded.messages[0].body, body);
        let count = encoded.places.iter().filter(|place| place.is_err()).count();
        assert_eq!(count, refused, "{collapse}");

        // The records that the limits admit fill a message, and no more.
        let limit = collapse.limits(body.len()).bytes;
        let taken = (0..3).filter(|i| encoded.places[*i].is_ok());
        let weight: usize = taken.map(|i| collapse.weigh(&batch.record(i))).sum();
        let slack = limit.abs_diff(weight);
        assert!(
            weight <= limit && slack <= 1,
            "{collapse}: {weight} of {limit}"
        );
    }
}
