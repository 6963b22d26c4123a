use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::Origin;
use distributary_core::output::{Trouble, TroubleKind};
use distributary_core::record::{RecordIndex, Span};
use distributary_core::source::{
    Credit, Fetched, Read, ServerTime, Shard, ShardReader, SourceError, SourceFacts, StreamIdentity,
};
use distributary_kinesis::source::READ_LIMITS;

use super::super::examples::{Example, look_up};
use super::*;
use crate::patience::jumping;
use crate::walk::shard;

/// A stream of one shard that answers by a script; the same from whatever position it is read.
struct Scripted(Mutex<Box<dyn FnMut() -> Script + Send>>);

type Script = Vec<Result<Read, Trouble>>;

struct ScriptedReader(std::vec::IntoIter<Result<Read, Trouble>>);

#[async_trait]
impl ShardReader for ScriptedReader {
    async fn next(&mut self, _credit: Credit) -> Result<Read, SourceError> {
        self.0
            .next()
            .unwrap_or_else(|| Err(Trouble::new(TroubleKind::Invalid, "the script is over")))
    }
}

#[async_trait]
impl Source for Scripted {
    async fn facts(&self) -> Result<SourceFacts, SourceError> {
        Ok(SourceFacts {
            identity: StreamIdentity {
                arn: "scripted".into(),
                created: None,
            },
            retention: Duration::from_secs(86_400),
            time: ServerTime {
                earliest: Millis(100),
                latest: Millis(100),
            },
            limits: READ_LIMITS,
        })
    }
    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        Ok(vec![shard("s", &[])])
    }
    fn open(&self, _shard: &ShardId, _position: Position) -> Box<dyn ShardReader> {
        let mut script = self.0.lock().unwrap();
        Box::new(ScriptedReader(script().into_iter()))
    }
}

fn scripted(script: impl FnMut() -> Script + Send + 'static) -> Arc<dyn Source> {
    Arc::new(Scripted(Mutex::new(Box::new(script))))
}

/// An answer with records: sequence number, data and arrival of each.
fn batch(
    form: DataForm,
    records: &[(&str, &[u8], i64)],
    complete_until: i64,
) -> Result<Read, Trouble> {
    let mut buffer = b"k".to_vec();
    let mut put = |bytes: &[u8]| {
        buffer.extend_from_slice(bytes);
        Span {
            start: u32::try_from(buffer.len() - bytes.len()).unwrap(),
            len: u32::try_from(bytes.len()).unwrap(),
        }
    };
    let index = records
        .iter()
        .map(|(sequence, data, arrival)| RecordIndex {
            sequence: put(sequence.as_bytes()),
            key: Some(Span { start: 0, len: 1 }),
            data: put(data),
            arrival: Millis(*arrival),
        })
        .collect();
    let origin = Arc::new(Origin {
        source: "scripted".into(),
        shard: ShardId::new("s"),
        hash_range: None,
    });
    let batch = Batch::new(origin, buffer.into(), form, index).unwrap();
    Ok(Read {
        fetched: Fetched::Batch(batch),
        behind: Duration::ZERO,
        complete_until: Millis(complete_until),
    })
}

fn other(fetched: Fetched, complete_until: i64) -> Result<Read, Trouble> {
    Ok(Read {
        fetched,
        behind: Duration::ZERO,
        complete_until: Millis(complete_until),
    })
}

fn trouble(kind: TroubleKind) -> Result<Read, Trouble> {
    Err(Trouble::new(kind, "scripted"))
}

async fn held(source: &Arc<dyn Source>) -> Result<Held, ReadError> {
    let reading = Reading {
        clock: jumping(),
        prints: Prints::new([1, 2, 3, 4]),
        until: Millis(100),
        responses: Arc::new(Semaphore::new(1)),
        memory: 64,
        dir: std::env::temp_dir(),
    };
    read("stream", source, &reading, &Arc::default()).await
}

fn places(held: &Held) -> Vec<u64> {
    let mut rows = held.rows.iter().unwrap();
    let mut all: Vec<u64> = std::iter::from_fn(|| rows.take().unwrap())
        .map(|row: RecordRow| row.place.ordinal())
        .collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn reads_up_to_the_moment_and_no_further() {
    let raw = DataForm::Raw;
    let source = scripted(move || {
        vec![
            batch(raw, &[("1", b"a", 10), ("2", b"b", 20)], 20),
            trouble(TroubleKind::Throttled),
            other(Fetched::Idle, 90),
            // The third arrived too late to be compared; the fourth has an earlier time all the same.
            batch(raw, &[("3", b"c", 100), ("4", b"d", 99)], 99),
            other(Fetched::Idle, 100),
            trouble(TroubleKind::Invalid),
        ]
    });
    let held = held(&source).await.unwrap();
    assert_eq!(places(&held), [0, 1, 3]);

    let clock = jumping();
    let shown = |places: Vec<u64>| {
        let places: Vec<Place> = places.into_iter().map(|n| Place::new(0, n)).collect();
        let (source, held, clock) = (&source, &held, &clock);
        async move { look_up(source, held, clock, places.into_iter()).await }
    };
    let examples = shown(vec![0, 1]).await;
    let found: Vec<&str> = examples
        .iter()
        .map(|e| e.found.as_ref().unwrap().sequence.as_str())
        .collect();
    assert_eq!(found, ["1", "2"]);
}

#[tokio::test]
async fn an_example_that_retention_took_is_not_mistaken() {
    let mut first = true;
    let source = scripted(move || {
        let sequence = if std::mem::take(&mut first) { "1" } else { "7" };
        vec![batch(DataForm::Raw, &[(sequence, b"a", 10)], 100)]
    });
    let held = held(&source).await.unwrap();
    let examples = look_up(&source, &held, &jumping(), [Place::new(0, 0)].into_iter()).await;
    assert_eq!(
        examples,
        [Example {
            shard: ShardId::new("s"),
            found: None
        }]
    );
}

#[tokio::test]
async fn base64_text_is_the_data_it_says() {
    let prints = |form, data: &'static [u8]| async move {
        let source = scripted(move || vec![batch(form, &[("1", data, 10)], 100)]);
        held(&source)
            .await
            .unwrap()
            .rows
            .iter()
            .unwrap()
            .take()
            .unwrap()
            .unwrap()
            .print
    };
    assert_eq!(
        prints(DataForm::Base64, b"/wA=").await,
        prints(DataForm::Raw, b"\xff\x00").await
    );
    assert_ne!(
        prints(DataForm::Base64, b"/wA=").await,
        prints(DataForm::Raw, b"/wA=").await
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error() {
    let source = scripted(|| {
        vec![
            batch(DataForm::Raw, &[("1", b"a", 10)], 10),
            trouble(TroubleKind::Denied),
        ]
    });
    assert!(matches!(held(&source).await, Err(ReadError::Walk(_))));
    let source = scripted(|| (0..100).map(|_| trouble(TroubleKind::Throttled)).collect());
    assert!(matches!(held(&source).await, Err(ReadError::Walk(_))));
    let source = scripted(|| vec![other(Fetched::Gap { oldest: None }, 0)]);
    assert!(matches!(held(&source).await, Err(ReadError::Gap { .. })));
}

#[tokio::test]
async fn a_shard_that_is_closed_is_read_to_its_end() {
    let source = scripted(|| {
        let closed = Fetched::Closed {
            children: Vec::new(),
        };
        vec![
            batch(DataForm::Raw, &[("1", b"a", 10)], 10),
            other(closed, 10),
        ]
    });
    assert_eq!(places(&held(&source).await.unwrap()), [0]);
}

#[test]
fn marks_stay_few() {
    let mut marks = Marks::default();
    for i in 0..100_000 {
        marks.add(i * 10, Position::TrimHorizon);
    }
    assert!(marks.at.len() <= MARKS);
    assert!(marks.at.contains_key(&0), "the first stays");
}
