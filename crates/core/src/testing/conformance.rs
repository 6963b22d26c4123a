//! Conformance tests for every implementation of a seam: one body for each seam, over a rig that
//! provides the implementation. The fakes pass them, too.
//!
//! A body returns the first deviation as a sentence.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;

use bytes::Bytes;

use crate::batch::{Batch, Origin, ShardId};
use crate::checkpoint::{Position, Sequence};
use crate::clock::{Clock, Millis};
use crate::output::{Chunk, Outcome, Output, Picks, Verdict};
use crate::record::{DataForm, RecordIndex, Span};
use crate::source::{Credit, Fetched, Shard, ShardReader, Source, StreamIdentity};
use crate::store::{
    CheckpointStore, LaneCheckpoint, LaneId, OutputId, OutputIdentity, Snapshot, State, StoreError,
};

use super::hash;

/// Reads without records after which a body stops waiting for a record.
const PATIENCE: usize = 200;
/// Time between two reads: AWS allows five a second.
const PAUSE: Duration = Duration::from_millis(220);

/// The result of a body; the text names the expectation.
pub type Finding = Result<(), String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Finding {
    if holds { Ok(()) } else { Err(what()) }
}

fn said(error: impl std::fmt::Display) -> String {
    format!("an answer was expected and not: {error}")
}

/// The parts of a record that are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The partition key.
    pub key: Option<String>,
    /// [`hash`] of the data.
    pub digest: u64,
}

/// A stream for [`source()`]: empty at first, with at least one shard.
#[async_trait]
pub trait SourceRig: Send + Sync {
    /// The source.
    fn source(&self) -> Arc<dyn Source>;
    /// The source's clock.
    fn clock(&self) -> Clock;
    /// Writes a record.
    async fn put(&self, key: &str, data: &[u8]) -> Finding;
    /// Splits a shard in two.
    async fn split(&self, shard: &ShardId) -> Finding;
}

/// One record that was read.
struct Got {
    seen: Seen,
    sequence: Sequence,
}

/// Reads until `enough`, or until the end.
async fn read_on(
    rig: &dyn SourceRig,
    reader: &mut dyn ShardReader,
    credit: u32,
    mut enough: impl FnMut(&[Got], Millis) -> bool,
) -> Result<(Vec<Got>, bool), String> {
    let mut got: Vec<Got> = Vec::new();
    for _ in 0..PATIENCE {
        let read = reader.next(Credit { records: credit });
        let read = read.await.map_err(said)?;
        match &read.fetched {
            Fetched::Batch(batch) => take_batch(batch, credit, &mut got)?,
            Fetched::Idle => {}
            Fetched::Closed { .. } => return Ok((got, true)),
            Fetched::Gap { .. } => return Err("a gap where nothing was deleted".to_owned()),
        }
        if enough(&got, read.complete_until) {
            return Ok((got, false));
        }
        rig.clock().sleep(PAUSE).await;
    }
    let records = got.len();
    Err(format!(
        "after {PATIENCE} reads there are only {records} records"
    ))
}

/// Adds the records of an answer, which follow the ones before.
fn take_batch(batch: &Batch, credit: u32, got: &mut Vec<Got>) -> Finding {
    ensure(!batch.is_empty(), || "a batch without records".to_owned())?;
    ensure(batch.len() <= credit as usize, || {
        format!("{} records where {credit} were allowed", batch.len())
    })?;

    for record in batch.iter() {
        let sequence = Sequence::new(record.sequence);
        let last = got.last();
        ensure(last.is_none_or(|last| last.sequence < sequence), || {
            format!("sequence number {sequence} does not follow the one before it")
        })?;
        let data = decoded(record.data, record.form)?;
        let seen = Seen {
            key: record.key.map(str::to_owned),
            digest: hash(&data),
        };
        got.push(Got { seen, sequence });
    }
    Ok(())
}

/// Reads everything in all shards, parents first.
async fn read_all(
    rig: &dyn SourceRig,
    expected: usize,
) -> Result<BTreeMap<ShardId, Vec<Got>>, String> {
    let source = rig.source();
    let mut all = BTreeMap::new();
    let mut left = expected;
    for shard in source.shards().await.map_err(said)? {
        let facts = source.facts().await.map_err(said)?;
        let until = facts.time.latest;
        let mut reader = source.open(&shard.id, Position::TrimHorizon);
        let is_all = |_: &[Got], complete| complete >= until;
        let (got, _) = read_on(rig, &mut *reader, 1000, is_all).await?;
        left = left.saturating_sub(got.len());
        all.insert(shard.id, got);
    }

    ensure(left == 0, || {
        format!("{left} records of {expected} were not read")
    })?;
    Ok(all)
}

/// The records of each key, in order.
fn by_key<'a>(records: impl Iterator<Item = &'a Seen>) -> BTreeMap<Option<String>, Vec<u64>> {
    let mut keys: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for seen in records {
        keys.entry(seen.key.clone()).or_default().push(seen.digest);
    }
    keys
}

fn samples(round: u8) -> Vec<(String, Vec<u8>)> {
    let mut samples = vec![
        ("empty".to_owned(), Vec::new()),
        ("binary".to_owned(), (0..=255).collect()),
        ("schlüssel-鍵-🔑".to_owned(), vec![0, 0xff, round]),
        ("k".repeat(256), b"the longest key".to_vec()),
        ("large".to_owned(), vec![round; 100_000]),
    ];
    let many = (0..40u8).map(|i| (format!("key-{}", i % 5), vec![round, i]));
    samples.extend(many);
    samples
}

/// Tests a source on a stream that the rig can write to.
///
/// # Errors
/// The first deviation from the docs of [`Source`] and [`ShardReader`].
pub async fn source(rig: &dyn SourceRig) -> Finding {
    let source = rig.source();
    let identity = source.facts().await.map_err(said)?.identity;
    ensure(
        source.facts().await.map_err(said)?.identity == identity,
        || "two identities".to_owned(),
    )?;
    let begun = source.facts().await.map_err(said)?.time;
    ensure(begun.earliest <= begun.latest, || {
        format!("{begun:?} is no interval")
    })?;

    let mut put = Vec::new();
    for (key, data) in samples(1) {
        rig.put(&key, &data).await?;
        put.push(Seen {
            key: Some(key),
            digest: hash(&data),
        });
    }
    let all = read_all(rig, put.len()).await?;
    let read = || all.values().flatten().map(|g| &g.seen);
    ensure(by_key(read()) == by_key(put.iter()), || {
        "what was read is not, key by key, in order and byte for byte, what was written".to_owned()
    })?;

    positions(rig, &all).await?;
    moments(rig).await?;
    reshard(rig).await
}

/// A reader opened in the middle continues there, one record at a time, and loses nothing when a
/// call is dropped.
async fn positions(rig: &dyn SourceRig, all: &BTreeMap<ShardId, Vec<Got>>) -> Finding {
    let Some((shard, got)) = all.iter().max_by_key(|(_, got)| got.len()) else {
        return Ok(());
    };
    let middle = got.len() / 2;
    after_a_record(rig, shard, got, middle).await?;
    after_a_part(rig, shard, &got[middle].sequence).await
}

async fn after_a_record(
    rig: &dyn SourceRig,
    shard: &ShardId,
    got: &[Got],
    middle: usize,
) -> Finding {
    let position = Position::after(got[middle].sequence.as_str());
    let mut reader = rig.source().open(shard, position);
    {
        // A call that is started and dropped.
        let call = pin!(reader.next(Credit { records: 1 }));
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(read) = call.poll(&mut context) {
            return ensure(read.is_ok(), || "a read that fails at once".to_owned());
        }
    }
    rig.clock().sleep(PAUSE).await;

    let rest = &got[middle + 1..];
    let is_all = |again: &[Got], _| again.len() >= rest.len();
    let (again, _) = read_on(rig, &mut *reader, 1, is_all).await?;
    let sequences = again.iter().map(|g| &g.sequence);
    ensure(sequences.eq(rest.iter().map(|g| &g.sequence)), || {
        let records = got.len();
        format!("a reader after record {middle} of {records} does not go on just there")
    })
}

async fn after_a_part(rig: &dyn SourceRig, shard: &ShardId, sequence: &Sequence) -> Finding {
    let part = Position::After {
        sequence: sequence.clone(),
        sub: Some(0),
    };
    let mut reader = rig.source().open(shard, part);
    let (got, _) = read_on(rig, &mut *reader, 1, |got, _| !got.is_empty()).await?;
    let first = got.first().map(|g| &g.sequence);
    ensure(first == Some(sequence), || {
        "a reader after a part of a record does not return that record".to_owned()
    })
}

/// A reader opened at a moment returns every record that arrived at or after that moment.
async fn moments(rig: &dyn SourceRig) -> Finding {
    let source = rig.source();
    // The server's time has whole seconds: wait until earlier records are in an earlier second.
    rig.clock().sleep(Duration::from_millis(2100)).await;
    let facts = source.facts().await.map_err(said)?;
    let from = facts.time.earliest;
    let data = b"after the moment";
    rig.put("key-1", data).await?;

    let mut found = 0;
    for shard in source.shards().await.map_err(said)? {
        let facts = source.facts().await.map_err(said)?;
        let until = facts.time.latest;
        let mut reader = source.open(&shard.id, Position::At(from));
        let is_all = |_: &[Got], complete| complete >= until;
        let (got, _) = read_on(rig, &mut *reader, 1000, is_all).await?;
        for record in &got {
            ensure(record.seen.digest == hash(data), || {
                "a reader at a moment brought a record that arrived before it".to_owned()
            })?;
        }
        found += got.len();
    }
    ensure(found == 1, || {
        format!("a reader at a moment brought {found} records where 1 had arrived since")
    })
}

/// A shard that is split ends, and its children hold the later records.
async fn reshard(rig: &dyn SourceRig) -> Finding {
    let source = rig.source();
    let shards = source.shards().await.map_err(said)?;
    let Some(parent) = shards.iter().find(|s| !s.closed) else {
        return Err("no open shard".to_owned());
    };
    rig.split(&parent.id).await?;
    let mut reader = source.open(&parent.id, Position::TrimHorizon);
    let (_, closed) = read_on(rig, &mut *reader, 10_000, |_, _| false).await?;
    ensure(closed, || "a shard that was split does not end".to_owned())?;

    for _ in 0..PATIENCE {
        let shards = source.shards().await.map_err(said)?;
        if has_split(&parent.id, &shards)? {
            return Ok(());
        }
        rig.clock().sleep(PAUSE).await;
    }
    Err("the children of a shard that was split are not listed".to_owned())
}

/// True once the list has the two children of `parent`, which are open, and the parent is closed.
fn has_split(parent: &ShardId, shards: &[Shard]) -> Result<bool, String> {
    let mut children = 0;
    for shard in shards {
        if !shard.parents.contains(parent) {
            continue;
        }
        children += 1;
        ensure(!shard.closed, || {
            "a child that was just made is closed".to_owned()
        })?;
    }
    if children != 2 {
        return Ok(false);
    }

    let listed = shards.iter().find(|s| s.id == *parent);
    ensure(listed.is_none_or(|s| s.closed), || {
        "a shard that was split is open".to_owned()
    })?;
    Ok(true)
}

/// A destination for [`output()`]: empty at first.
#[async_trait]
pub trait OutputRig: Send + Sync {
    /// The output.
    fn output(&self) -> Arc<dyn Output>;
    /// The records that the destination holds, each key's in the order of their writing.
    async fn received(&self) -> Result<Vec<Seen>, String>;
    /// True if the destination takes records without data.
    fn takes_empty(&self) -> bool {
        true
    }
}

/// Tests an output: every written record arrives byte for byte, in order per key within a request.
///
/// # Errors
/// The first deviation from the docs of [`Output`].
pub async fn output(rig: &dyn OutputRig) -> Finding {
    let output = rig.output();
    let mut put = Vec::new();
    for (round, form) in [(1, DataForm::Raw), (2, DataForm::Base64)] {
        let mut records = samples(round);
        records.retain(|(_, data)| rig.takes_empty() || !data.is_empty());
        let batch = batch(&records, form)?;
        for picks in runs(&*output, &batch) {
            write(&*output, &batch, picks).await?;
        }

        // A subset, as in a retry.
        let some: Vec<usize> = (0..batch.len()).filter(|i| i % 3 == 1).collect();
        write(&*output, &batch, Picks::Some(some.clone())).await?;
        let all = (0..batch.len()).chain(some);
        put.extend(all.map(|i| Seen {
            key: Some(records[i].0.clone()),
            digest: hash(&records[i].1),
        }));
    }

    let received = rig.received().await?;
    ensure(by_key(received.iter()) == by_key(put.iter()), || {
        "what arrived is not, key by key, in order and byte for byte, what was written".to_owned()
    })
}

/// The batch in runs that each fit one request.
fn runs(output: &dyn Output, batch: &Batch) -> Vec<Picks> {
    let limits = output.profile().request;
    let mut runs = Vec::new();
    let mut start = 0;
    let (mut entries, mut bytes) = (0, 0);
    for (i, record) in batch.iter().enumerate() {
        let weight = output.weigh(&record);
        let is_full =
            entries + weight.entries > limits.entries || bytes + weight.bytes > limits.bytes;
        if i > start && is_full {
            runs.push(Picks::Run(start..i));
            start = i;
            (entries, bytes) = (0, 0);
        }
        entries += weight.entries;
        bytes += weight.bytes;
    }
    runs.push(Picks::Run(start..batch.len()));
    runs
}

async fn write(output: &dyn Output, batch: &Batch, picks: Picks) -> Finding {
    let chunk = encode(output, batch, &picks)?;
    let sent = chunk.picks.len();
    let limit = Duration::from_secs(30);
    match output.write(batch, &chunk, limit).await {
        Outcome::Durable => Ok(()),
        Outcome::PerRecord(verdicts) => {
            ensure(verdicts.len() == sent, || {
                "an answer of the wrong length".to_owned()
            })?;
            let all = verdicts.iter().all(|v| matches!(v, Verdict::Durable));
            ensure(all, || format!("not every record was taken: {verdicts:?}"))
        }
        Outcome::Rejected(trouble) | Outcome::Unknown(trouble) => Err(said(trouble)),
        Outcome::Accepted => {
            let shard = &batch.origin().shard;
            let flushed = output.flush(shard, limit).await;
            ensure(matches!(flushed, Outcome::Durable), || {
                format!("a flush answered {flushed:?}")
            })
        }
        Outcome::Stale => Err("a chunk of the encoding in force was stale".to_owned()),
    }
}

/// A chunk of exactly `picks`, within the bound.
fn encode(output: &dyn Output, batch: &Batch, picks: &Picks) -> Result<Chunk, String> {
    let bytes = picks.iter().map(|i| batch.footprint(i)).sum();
    let bound = output.encoded_bound(picks.len(), bytes);
    let chunk = output.encode(batch, picks.clone());
    ensure(chunk.picks == *picks, || {
        format!("a chunk of {picks:?} says that it holds {:?}", chunk.picks)
    })?;

    ensure(chunk.allocation <= bound, || {
        let (records, bytes) = (picks.len(), chunk.allocation);
        format!("a chunk of {records} records takes {bytes} bytes, more than the bound {bound}")
    })?;
    Ok(chunk)
}

/// A state for [`store()`]: empty at first.
#[async_trait]
pub trait StoreRig: Send + Sync {
    /// Opens the state. The store opened before is dropped by then.
    async fn open(&self) -> Result<Arc<dyn CheckpointStore>, String>;
}

/// Tests a store: committed rows are there, also after the store was opened again, and the state is
/// bound to one source.
///
/// # Errors
/// The first deviation from the docs of [`CheckpointStore`].
pub async fn store(rig: &dyn StoreRig) -> Finding {
    let mut rows = vec![
        row("a", Position::TrimHorizon),
        row("b", Position::At(Millis(1_767_225_600_123))),
        row("c", Position::after(&"9".repeat(129))),
        row("d", part_of("12", 3)),
        row("e", Position::Closed),
    ];
    fill(rig, &rows).await?;

    let store = reopen(rig, &rows).await?;
    rows[0].position = Position::after("0");
    replace(&*store, &rows).await?;
    forget(&*store, rows).await
}

/// The source of the state.
fn first_source() -> StreamIdentity {
    StreamIdentity {
        arn: "arn:aws:kinesis:eu-west-1:1:stream/one".to_owned(),
        created: Some(Millis(1)),
    }
}

/// The same source, made anew.
fn source_again() -> StreamIdentity {
    StreamIdentity {
        created: Some(Millis(2)),
        ..first_source()
    }
}

fn row(shard: &str, position: Position) -> LaneCheckpoint {
    LaneCheckpoint {
        lane: LaneId {
            shard: ShardId::new(shard),
            output: OutputId::new("output"),
        },
        position,
        arrival: Some(Millis(7)),
    }
}

fn part_of(sequence: &str, sub: u32) -> Position {
    Position::After {
        sequence: Sequence::new(sequence),
        sub: Some(sub),
    }
}

/// A state with `rows`, and with an identity and a snapshot of the output.
fn state(rows: &[LaneCheckpoint]) -> State {
    let output = OutputId::new("output");
    State {
        lanes: rows.to_vec(),
        outputs: vec![OutputIdentity {
            output: output.clone(),
            identity: source_again(),
        }],
        snapshots: vec![Snapshot {
            output,
            bytes: Bytes::from_static(&[0, 255, 7]),
        }],
    }
}

async fn fill(rig: &dyn StoreRig, rows: &[LaneCheckpoint]) -> Finding {
    let store = rig.open().await?;
    store.bind(&first_source()).await.map_err(said)?;
    ensure(load(&*store).await?.is_empty(), || {
        "a new state has rows".to_owned()
    })?;

    store.commit(&state(rows)).await.map_err(said)?;
    ensure(load(&*store).await? == rows, || {
        "what was committed is not what is there".to_owned()
    })
}

/// Opens the state again, which must have everything, and refuse another source.
async fn reopen(
    rig: &dyn StoreRig,
    rows: &[LaneCheckpoint],
) -> Result<Arc<dyn CheckpointStore>, String> {
    let store = rig.open().await?;
    let foreign = store.bind(&source_again()).await;
    ensure(matches!(foreign, Err(StoreError::Foreign { .. })), || {
        "a stream that was deleted and made again was taken for the same one".to_owned()
    })?;

    store.bind(&first_source()).await.map_err(said)?;
    ensure(load(&*store).await? == rows, || {
        "rows were lost between two openings".to_owned()
    })?;
    has_output(
        &*store,
        "identities or snapshots were lost between two openings",
    )
    .await?;
    Ok(store)
}

async fn replace(store: &dyn CheckpointStore, rows: &[LaneCheckpoint]) -> Finding {
    let one = State {
        lanes: rows[..1].to_vec(),
        ..State::default()
    };
    store.commit(&one).await.map_err(said)?;
    store.commit(&State::default()).await.map_err(said)?;
    ensure(load(store).await? == rows, || {
        "a row was not replaced, or another one was".to_owned()
    })
}

async fn forget(store: &dyn CheckpointStore, mut rows: Vec<LaneCheckpoint>) -> Finding {
    let gone = rows.remove(1).lane;
    let unknown = row("none", Position::Closed).lane;
    store.forget(&[gone, unknown]).await.map_err(said)?;
    ensure(load(store).await? == rows, || {
        "not just what should be forgotten is".to_owned()
    })?;
    has_output(
        store,
        "an output that has lanes lost its identity or its snapshot",
    )
    .await?;

    let rest: Vec<LaneId> = rows.into_iter().map(|row| row.lane).collect();
    store.forget(&rest).await.map_err(said)?;
    let left = store.load().await.map_err(said)?;
    ensure(left.is_empty(), || {
        "an output without lanes keeps its identity or its snapshot".to_owned()
    })
}

/// The identity and the snapshot of the output are there, or else `finding`.
async fn has_output(store: &dyn CheckpointStore, finding: &str) -> Finding {
    let wanted = state(&[]);
    let kept = store.load().await.map_err(said)?;
    let same = kept.outputs == wanted.outputs && kept.snapshots == wanted.snapshots;
    ensure(same, || finding.to_owned())
}

async fn load(store: &dyn CheckpointStore) -> Result<Vec<LaneCheckpoint>, String> {
    let mut rows = store.load().await.map_err(said)?.lanes;
    rows.sort_by(|a, b| a.lane.cmp(&b.lane));
    Ok(rows)
}

/// A batch of `records`, their data in `form`.
fn batch(records: &[(String, Vec<u8>)], form: DataForm) -> Result<Batch, String> {
    let mut buffer = Vec::new();
    let mut index = Vec::new();
    for (i, (key, data)) in records.iter().enumerate() {
        let sequence = (i + 1).to_string();
        let sequence = append(&mut buffer, sequence.as_bytes());
        let key = append(&mut buffer, key.as_bytes());
        let data = match form {
            DataForm::Raw => append(&mut buffer, data),
            DataForm::Base64 => append(&mut buffer, &to_base64(data)),
        };
        index.push(RecordIndex {
            sequence,
            key: Some(key),
            data,
            arrival: super::EPOCH,
        });
    }

    let origin = Arc::new(Origin {
        source: "arn:aws:kinesis:eu-west-1:1:stream/one".into(),
        shard: ShardId::new("shardId-000000000000"),
        hash_range: None,
    });
    Batch::new(origin, buffer.into(), form, index).map_err(said)
}

fn append(buffer: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let start = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(bytes);
    Span { start, len }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A plain, slow encoder that shares no code with the fast ones (RFC 4648, section 4).
fn to_base64(data: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(data.len().div_ceil(3) * 4);
    for three in data.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let six = (bits >> (18 - 6 * i) & 63) as usize;
            text.push(if i <= three.len() {
                ALPHABET[six]
            } else {
                b'='
            });
        }
    }
    text
}

fn decoded(data: &[u8], form: DataForm) -> Result<Vec<u8>, String> {
    if form == DataForm::Raw {
        return Ok(data.to_vec());
    }
    let mut out = Vec::with_capacity(data.len() / 4 * 3);
    let (mut bits, mut have) = (0u32, 0);
    for byte in data.iter().filter(|b| **b != b'=') {
        let six = ALPHABET
            .iter()
            .position(|a| a == byte)
            .ok_or("data that is not base64")?;
        bits = bits << 6 | u32::try_from(six).unwrap_or(0);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have & 0xff) as u8);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_there_and_back() {
        for (data, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(to_base64(data.as_bytes()), text.as_bytes());
            assert_eq!(
                decoded(text.as_bytes(), DataForm::Base64).unwrap(),
                data.as_bytes()
            );
        }
        assert!(decoded(b"*", DataForm::Base64).is_err());
    }
}
