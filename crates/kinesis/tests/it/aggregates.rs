//! KPL aggregates at an output: divided among the shards, compared with the answer, and packed.

use distributary_core::batch::Batch;
use distributary_core::output::{Outcome, Output, Picks, Verdict};
use distributary_core::record::DataForm;
use distributary_kinesis::kpl::{Aggregate, Packer};
use distributary_kinesis::output::{Aggregates, KinesisOutput, OutputOptions};
use distributary_wire::codec::Format;
use distributary_wire::hashkey::{self, HashRange};
use distributary_wire::op::Operation;
use distributary_wire::types::*;

use crate::output::{answer, batch, durable, entries, failed, output, plain, rec, write};
use crate::script::Script;

fn is_low(key: &str) -> bool {
    hashkey::of_partition_key(key) < 1 << 127
}

/// Three keys whose hashes are in the lower half of the hash keys, or in the upper one.
fn keys(low: bool) -> Vec<String> {
    let all = (0..).map(|i| format!("key-{i}"));
    all.filter(|key| is_low(key) == low).take(3).collect()
}

/// An aggregate with a user record of each key; the data are the keys.
fn aggregate(keys: &[String]) -> Vec<u8> {
    let mut packer = Packer::default();
    keys.iter()
        .for_each(|key| packer.push(key, None, key.as_bytes()));
    packer.finish()
}

/// The partition keys in an aggregate.
fn keys_in(data: &[u8]) -> Vec<String> {
    let aggregate = Aggregate::parse(data).unwrap();
    aggregate
        .records()
        .iter()
        .map(|record| record.key.to_owned())
        .collect()
}

fn mixed() -> Vec<String> {
    let (low, high) = (keys(true), keys(false));
    low.into_iter()
        .zip(high)
        .flat_map(|(low, high)| [low, high])
        .collect()
}

fn shard(id: &str, range: HashRange, is_open: bool) -> Shard {
    Shard {
        shard_id: id.to_owned(),
        hash_key_range: Some(range.to_wire()),
        sequence_number_range: Some(SequenceNumberRange {
            starting_sequence_number: "1".into(),
            ending_sequence_number: (!is_open).then(|| "2".into()),
        }),
        ..Default::default()
    }
}

fn shards(shards: Vec<Shard>) -> ListShardsResponse {
    ListShardsResponse {
        shards: Some(shards),
        ..Default::default()
    }
}

fn one_shard() -> Vec<Shard> {
    vec![shard("one", HashRange::ALL, true)]
}

/// The only shard, closed, and its two halves.
fn halves() -> Vec<Shard> {
    let [low, high] = HashRange::even(2)[..] else {
        unreachable!("two halves")
    };
    vec![
        shard("one", HashRange::ALL, false),
        shard("low", low, true),
        shard("high", high, true),
    ]
}

fn in_shard(id: &str) -> PutRecordsResultEntry {
    PutRecordsResultEntry {
        shard_id: Some(id.to_owned()),
        ..durable()
    }
}

/// Writes an aggregate to an output that has these shards, and met no aggregate before.
async fn first_write(output: &KinesisOutput, script: &Script, batch: &Batch, of: Vec<Shard>) {
    script.ok(shards(of));
    let before = output.encoding();
    assert!(matches!(write(output, batch).await, Outcome::Stale));
    let calls = script.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0].operation,
        Operation::ListShards,
        "the map is known before encoding"
    );
    assert_ne!(output.encoding(), before);
}

fn count(output: &KinesisOutput, name: &str) -> u64 {
    let tallies = output.aggregates();
    tallies
        .iter()
        .find(|tally| tally.name == name)
        .unwrap()
        .count
}

#[tokio::test]
async fn an_aggregate_goes_whole_to_the_shard_of_its_records() {
    for form in [DataForm::Raw, DataForm::Base64] {
        let script = Script::default();
        let output = plain(&script).await;
        let data = aggregate(&mixed());
        let batch = batch(form, &[rec("x", b"plain"), rec("a", &data)]);
        first_write(&output, &script, &batch, one_shard()).await;

        script.ok(answer(vec![in_shard("one"), in_shard("one")]));
        let outcome = write(&output, &batch).await;
        assert!(
            matches!(outcome, Outcome::PerRecord(v) if v.iter().all(|v| matches!(v, Verdict::Durable)))
        );
        let sent = entries(&script.calls()[0]);
        assert_eq!(sent[0], (Some("x".into()), None, b"plain".to_vec()));
        let least = mixed()
            .iter()
            .map(|key| hashkey::of_partition_key(key))
            .min()
            .unwrap();
        assert_eq!(sent[1], (Some("a".into()), Some(least.to_string()), data));
        assert_eq!(count(&output, "passed-whole"), 1);
    }
}

#[tokio::test]
async fn an_aggregate_is_divided_where_the_shards_divide_its_records() {
    for form in [DataForm::Raw, DataForm::Base64] {
        let script = Script::default();
        let output = plain(&script).await;
        let batch = batch(form, &[rec("a", &aggregate(&mixed())), rec("x", b"plain")]);
        first_write(&output, &script, &batch, halves()).await;

        // One piece is durable, the other is not: the record is not.
        let results = vec![in_shard("low"), failed("InternalFailure"), in_shard("low")];
        script.ok(answer(results));
        let outcome = write(&output, &batch).await;
        let Outcome::PerRecord(verdicts) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(
            matches!(verdicts[..], [Verdict::Partly(_), Verdict::Durable]),
            "{verdicts:?}"
        );
        let sent = entries(&script.calls()[0]);
        for (entry, low) in [(&sent[0], true), (&sent[1], false)] {
            assert_eq!(entry.0.as_deref(), Some("a"));
            assert_eq!(keys_in(&entry.2), keys(low), "in order");
            let hash_key: u128 = entry.1.as_ref().unwrap().parse().unwrap();
            assert_eq!(hash_key < 1 << 127, low);
        }
        assert_eq!(count(&output, "divided"), 0);

        script.ok(answer(vec![
            in_shard("low"),
            in_shard("high"),
            in_shard("low"),
        ]));
        write(&output, &batch).await;
        assert_eq!(
            (count(&output, "divided"), count(&output, "pieces")),
            (1, 2)
        );
    }
}

#[tokio::test]
async fn an_aggregate_in_a_wrong_shard_is_divided_and_sent_again() {
    let script = Script::default();
    let output = plain(&script).await;
    let batch = batch(DataForm::Raw, &[rec("a", &aggregate(&mixed()))]);
    first_write(&output, &script, &batch, one_shard()).await;

    // The stream was split between the encoding and the answer.
    let chunk = output.encode(&batch, Picks::Run(0..1));
    script
        .ok(answer(vec![in_shard("low")]))
        .ok(shards(halves()));
    let outcome = output
        .write(&batch, &chunk, std::time::Duration::from_secs(5))
        .await;
    assert!(
        matches!(&outcome, Outcome::PerRecord(v) if matches!(v[..], [Verdict::Partly(_)])),
        "{outcome:?}"
    );
    script.calls();
    assert_eq!(count(&output, "misplaced"), 1);

    let outcome = output
        .write(&batch, &chunk, std::time::Duration::from_secs(5))
        .await;
    assert!(matches!(outcome, Outcome::Stale), "made for the old shards");
    script.ok(answer(vec![in_shard("low"), in_shard("high")]));
    write(&output, &batch).await;
    assert_eq!(entries(&script.calls()[0]).len(), 2);
    assert_eq!(count(&output, "divided"), 1);
}

#[tokio::test]
async fn an_aggregate_in_a_new_shard_that_holds_all_its_records_is_durable() {
    let script = Script::default();
    let output = plain(&script).await;
    let batch = batch(DataForm::Raw, &[rec("a", &aggregate(&keys(true)))]);
    first_write(&output, &script, &batch, one_shard()).await;

    script
        .ok(answer(vec![in_shard("low")]))
        .ok(shards(halves()));
    let outcome = write(&output, &batch).await;
    assert!(
        matches!(&outcome, Outcome::PerRecord(v) if matches!(v[..], [Verdict::Durable])),
        "{outcome:?}"
    );
    assert_eq!(count(&output, "misplaced"), 0);
}

#[tokio::test]
async fn a_damaged_aggregate_is_an_ordinary_record_and_counted() {
    let script = Script::default();
    let output = plain(&script).await;
    let mut data = aggregate(&mixed());
    data[9] ^= 1;
    let batch = batch(DataForm::Raw, &[rec("a", &data)]);
    first_write(&output, &script, &batch, halves()).await;

    script.ok(answer(vec![in_shard("low")]));
    write(&output, &batch).await;
    assert_eq!(
        entries(&script.calls()[0]),
        [(Some("a".into()), None, data)]
    );
    assert_eq!(count(&output, "damaged"), 1);
}

#[tokio::test]
async fn an_aggregate_has_the_keys_of_its_records() {
    let script = Script::default();
    let output = plain(&script).await;
    for form in [DataForm::Raw, DataForm::Base64] {
        let batch = batch(form, &[rec("a", &aggregate(&mixed())), rec("x", b"plain")]);
        let within = |i| -> Vec<String> {
            let keys = output.inner_keys(&batch.record(i));
            keys.into_iter().map(String::from).collect()
        };
        assert_eq!(within(0), mixed());
        assert!(within(1).is_empty());
    }
}

#[tokio::test]
async fn outputs_with_other_shards_share_an_encoding_until_an_aggregate_comes() {
    let (script, other) = (Script::default(), Script::default());
    let (one, two) = (plain(&script).await, plain(&other).await);
    assert_eq!(one.encoding(), two.encoding());
    let ordinary = batch(DataForm::Raw, &[rec("a", b"1")]);
    script.ok(answer(vec![durable()]));
    assert!(matches!(write(&one, &ordinary).await, Outcome::Durable));
    assert_eq!(one.encoding(), two.encoding());
    script.calls();

    let batch = batch(DataForm::Raw, &[rec("a", &aggregate(&mixed()))]);
    first_write(&one, &script, &batch, one_shard()).await;
    first_write(&two, &other, &batch, halves()).await;
    assert_ne!(one.encoding(), two.encoding());
}

#[tokio::test]
async fn records_are_packed_by_shard_in_order_and_settled_together() {
    let script = Script::default();
    let options = OutputOptions {
        aggregates: Aggregates::Pack,
        ..OutputOptions::default()
    };
    let output = output(&script, Format::Cbor, options).await;
    let (low, high) = (keys(true), keys(false));
    let records = [
        rec(&low[0], b"1"),
        rec(&high[0], b"2"),
        rec(&low[0], b"3"),
        rec(&low[1], &[7; 51_130]),
        rec(&low[2], b"5"),
    ];
    let batch = batch(DataForm::Base64, &records);
    assert_eq!(
        output.first_entries(&batch, &[0, 1, 2, 3, 4]),
        None,
        "no shards yet"
    );
    first_write(&output, &script, &batch, halves()).await;
    let first = output.first_entries(&batch, &[0, 1, 2, 3, 4]);
    assert_eq!(
        first,
        Some(vec![0, 1, 2, 3]),
        "the fourth does not fit any more"
    );

    // Per shard in the order of the records: the first aggregate of the lower half is full at once.
    script.ok(answer(vec![
        failed("InternalFailure"),
        in_shard("low"),
        in_shard("high"),
    ]));
    let Outcome::PerRecord(verdicts) = write(&output, &batch).await else {
        panic!("one verdict for each record")
    };
    use Verdict::{Durable, Retry};
    assert!(
        matches!(
            verdicts[..],
            [Retry(_), Durable, Retry(_), Retry(_), Durable]
        ),
        "{verdicts:?}"
    );
    let sent = entries(&script.calls()[0]);
    assert_eq!(
        keys_in(&sent[0].2),
        [&low[0], &low[0], &low[1]].map(String::clone)
    );
    assert_eq!(
        (sent[1].0.as_deref(), &sent[1].2[..]),
        (Some(&*low[2]), &b"5"[..])
    );
    assert_eq!(
        (sent[2].0.as_deref(), &sent[2].2[..]),
        (Some(&*high[0]), &b"2"[..])
    );
}
