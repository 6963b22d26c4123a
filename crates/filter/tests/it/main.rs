//! Properties of filters over generated texts, and the filter as a pump.

// Helpers of tests may panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use distributary_core::batch::{Batch, Origin, ShardId};
use distributary_core::clock::Millis;
use distributary_core::pump::Pump;
use distributary_core::record::{DataForm, RecordIndex, Span};
use distributary_filter::{Decision, Filter, FilterPump, Glob, OnNotJson};
use proptest::prelude::*;

/// A glob's meaning, tried in all ways.
fn stands_for(glob: &[char], text: &[char]) -> bool {
    match (glob.split_first(), text.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(('*', rest)), None) => stands_for(rest, text),
        (Some(('*', rest)), Some((_, shorter))) => {
            stands_for(rest, text) || stands_for(glob, shorter)
        }
        (Some(_), None) => false,
        (Some((c, rest)), Some((d, shorter))) => (*c == '?' || c == d) && stands_for(rest, shorter),
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        "[a-c\"\\\\é]{0,3}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn a_glob_means_what_trying_all_ways_finds(glob in "[ab*?]{0,8}", text in "[abé]{0,8}") {
        let compiled: Glob = glob.parse().unwrap();
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(compiled.matches(&text), stands_for(&chars(&glob), &chars(&text)));
    }

    #[test]
    fn any_text_is_a_pattern_or_has_a_defect_with_a_place(text in any::<String>()) {
        if let Err(bad) = Filter::compile(&[text]) {
            prop_assert!(!bad.place.is_empty() && !bad.message.is_empty());
        }
    }

    #[test]
    fn the_layout_of_data_does_not_matter(value in json(), name in "[a-c]") {
        let pattern = format!(r#"{{"data": {{"{name}": [null, {{"prefix": "a"}}, {{"numeric": ["<", 0]}}]}}}}"#);
        let filter = Filter::compile(&[pattern]).unwrap();
        let short = filter.decide_data(value.to_string().as_bytes());
        let long = filter.decide_data(serde_json::to_string_pretty(&value).unwrap().as_bytes());
        prop_assert_eq!(short, long);
        prop_assert_eq!(short == Decision::NotJson, !value.is_object());
    }

    #[test]
    fn a_field_is_there_or_absent(value in json(), name in "[a-c]") {
        let decide = |exists: bool| {
            let pattern = format!(r#"{{"data": {{"{name}": [{{"exists": {exists}}}]}}}}"#);
            Filter::compile(&[pattern]).unwrap().decide_data(value.to_string().as_bytes())
        };
        if value.is_object() {
            prop_assert_ne!(decide(true), decide(false));
        }
    }
}

/// A batch of records, each with a key and data.
fn batch(form: DataForm, records: &[(&str, &str)]) -> Batch {
    let mut buffer = Vec::new();
    let mut add = |text: &str| {
        let start = u32::try_from(buffer.len()).unwrap();
        let len = u32::try_from(text.len()).unwrap();
        buffer.extend_from_slice(text.as_bytes());
        Span { start, len }
    };
    let index = records
        .iter()
        .enumerate()
        .map(|(i, (key, data))| RecordIndex {
            sequence: add(&(i + 1).to_string()),
            key: Some(add(key)),
            data: add(data),
            arrival: Millis(1_545_084_650_987),
        });
    let index = index.collect();
    let origin = Origin {
        source: "arn:aws:kinesis:eu-west-1:123456789012:stream/input".into(),
        shard: ShardId::new("shardId-000000000000"),
        hash_range: None,
    };
    Batch::new(Arc::new(origin), buffer.into(), form, index).unwrap()
}

fn passed(pump: &FilterPump, batch: &Batch) -> Vec<u32> {
    let derived = pump.apply(batch).unwrap();
    let [derived] = &derived[..] else {
        panic!("one stream")
    };
    for (row, origin) in derived.batch().iter().zip(derived.origin()) {
        let record = batch.record(*origin as usize);
        assert_eq!(
            (row.sequence, row.key, row.data),
            (record.sequence, record.key, record.data)
        );
    }
    assert!(derived.allocation() <= pump.bound(batch.len(), batch.allocation()).bytes);
    derived.origin().to_vec()
}

fn pump(keys: Option<&str>, patterns: &[&str], on_not_json: OnNotJson) -> FilterPump {
    let keys = keys.map(|glob| glob.parse().unwrap());
    let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
    FilterPump::new(keys, &patterns, on_not_json).unwrap()
}

#[test]
fn the_records_that_match_pass_unchanged() {
    let raw = batch(
        DataForm::Raw,
        &[
            ("eu-1", r#"{"t": 31}"#),
            ("us-1", r#"{"t": 32}"#),
            ("eu-2", r#"{"t": 1}"#),
            ("eu-3", "x"),
        ],
    );
    let hot = r#"{"data": {"t": [{"numeric": [">", 30]}]}}"#;
    assert_eq!(passed(&pump(None, &[hot], OnNotJson::Drop), &raw), [0, 1]);
    assert_eq!(
        passed(&pump(None, &[hot], OnNotJson::Pass), &raw),
        [0, 1, 3]
    );
    assert_eq!(
        passed(&pump(Some("eu-*"), &[hot], OnNotJson::Drop), &raw),
        [0]
    );
    assert_eq!(
        passed(&pump(Some("eu-?"), &[], OnNotJson::Drop), &raw),
        [0, 2, 3]
    );

    // The data of base64 are decoded for the patterns alone.
    let base64 = batch(
        DataForm::Base64,
        &[("a", "eyJ0IjozMX0="), ("b", "eyJ0IjoxfQ==")],
    );
    assert_eq!(passed(&pump(None, &[hot], OnNotJson::Drop), &base64), [0]);
}

#[test]
fn patterns_name_the_members_of_lambdas_record() {
    let one = batch(DataForm::Raw, &[("k", "{}")]);
    for pattern in [
        r#"{"partitionKey": ["k"]}"#,
        r#"{"sequenceNumber": ["1"]}"#,
        r#"{"approximateArrivalTimestamp": [1545084650.987]}"#,
        r#"{"eventSource": ["aws:kinesis"], "eventName": ["aws:kinesis:record"]}"#,
        r#"{"eventID": ["shardId-000000000000:1"], "awsRegion": ["eu-west-1"]}"#,
        r#"{"eventSourceARN": [{"suffix": "stream/input"}], "data": {"a": [{"exists": false}]}}"#,
    ] {
        assert_eq!(
            passed(&pump(None, &[pattern], OnNotJson::Drop), &one),
            [0],
            "{pattern}"
        );
    }
}

#[test]
fn equal_filters_alone_share_their_rows() {
    let id = |keys, pattern, on| pump(keys, &[pattern], on).id().clone();
    let base = id(None, r#"{"data": [1]}"#, OnNotJson::Drop);
    assert_eq!(base, id(None, r#"{"data": [1]}"#, OnNotJson::Drop));
    assert_ne!(base, id(Some("*"), r#"{"data": [1]}"#, OnNotJson::Drop));
    assert_ne!(base, id(None, r#"{"data": [2]}"#, OnNotJson::Drop));
    assert_ne!(base, id(None, r#"{"data": [1]}"#, OnNotJson::Pass));
}
