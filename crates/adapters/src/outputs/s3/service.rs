//! The client of an S3 bucket. API reference: Amazon S3, `PutObject`, `HeadBucket`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, RequestChecksumCalculation};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use distributary_core::batch::{Batch, ShardId};
use distributary_core::clock::{Clock, Millis};
use distributary_core::output::{
    Chunk, EncodingKey, Gathers, Outcome, Output, Picks, Profile, Refusal, RequestLimits, Trouble,
    TroubleKind, Verdict, Weight,
};
use distributary_core::record::Record;

use super::template::Facts;
use super::{Compression, Framing, Settings};
use crate::formats;
use crate::kind::{BuildContext, BuildError, Finding};
use crate::messages::Answer;
use crate::messages::aws::{Errors, Meaning, sdk};
use crate::outputs::{BuiltOutput, OutputKind};

/// Bytes of an object without the key `object-size`.
const OBJECT_BYTES: usize = 16 << 20;
/// Age of an object without the key `object-age`.
const OBJECT_AGE: Duration = Duration::from_secs(60);
/// Records of an object.
const OBJECT_RECORDS: usize = 1_000_000;
/// A chunk: what is encoded at once.
const CHUNK: RequestLimits = RequestLimits {
    entries: 10_000,
    bytes: 4 << 20,
};
/// Bytes that mark a record at most.
const FRAME: usize = 4;

const ERRORS: Errors = Errors {
    kind: "s3",
    codes: &[
        ("SlowDown", Meaning::Trouble(TroubleKind::Throttled)),
        (
            "ServiceUnavailable",
            Meaning::Trouble(TroubleKind::Throttled),
        ),
        ("NoSuchBucket", Meaning::Trouble(TroubleKind::Missing)),
        (
            "OperationAborted",
            Meaning::Trouble(TroubleKind::Unavailable),
        ),
        ("RequestTimeout", Meaning::Trouble(TroubleKind::Unavailable)),
    ],
};

/// A bucket.
struct Bucket {
    client: Client,
    clock: Clock,
    settings: Settings,
    /// The objects that are not written yet, by the source's shard.
    open: Mutex<BTreeMap<ShardId, Object>>,
}

/// The records of a chunk, or of an object that is not written yet.
#[derive(Clone, Debug)]
struct Object {
    body: Vec<u8>,
    first: String,
    last: String,
    arrival: Millis,
}

/// A chunk.
#[derive(Debug)]
struct Part {
    /// The records that were not refused; `None` if there is none.
    object: Option<Object>,
    refused: Vec<Option<Refusal>>,
}

impl Part {
    fn new(settings: &Settings, batch: &Batch, picks: &Picks) -> Self {
        let mut part = Self {
            object: None,
            refused: Vec::with_capacity(picks.len()),
        };
        for i in picks.iter() {
            let added = part.add(settings, batch, i);
            part.refused.push(added.err());
        }
        part
    }

    fn add(&mut self, settings: &Settings, batch: &Batch, i: usize) -> Result<(), Refusal> {
        let record = batch.record(i);
        let mut data = Vec::new();
        formats::add(&mut data, batch.origin(), &record, settings.format)?;

        let object = self.object.get_or_insert_with(|| Object {
            body: Vec::new(),
            first: record.sequence.to_owned(),
            last: String::new(),
            arrival: record.arrival,
        });
        record.sequence.clone_into(&mut object.last);

        match settings.framing {
            Framing::Lines => data.push(b'\n'),
            Framing::None => {}
            Framing::Length => {
                let length = u32::try_from(data.len());
                let length = length.unwrap_or(u32::MAX);
                let length = length.to_be_bytes();
                object.body.extend_from_slice(&length);
            }
        }
        object.body.append(&mut data);
        Ok(())
    }

    fn outcome(&self) -> Outcome {
        if self.refused.iter().all(Option::is_none) {
            return Outcome::Accepted;
        }
        let verdict = |refused: &Option<Refusal>| match refused {
            None => Verdict::Accepted,
            Some(refusal) => Verdict::Refused(refusal.clone()),
        };
        let verdicts = self.refused.iter().map(verdict);
        Outcome::PerRecord(verdicts.collect())
    }
}

impl Bucket {
    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<ShardId, Object>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, shard: &ShardId, object: Object) -> Outcome {
        let settings = &self.settings;
        let extension = settings.format.extension();
        let compression = settings.compression;
        let facts = Facts {
            arrival: object.arrival,
            shard: shard.to_string(),
            first: object.first,
            last: object.last,
            extension: format!("{extension}{}", compression.extension()),
        };
        let key = settings.template().name(&facts);

        let body = match compressed(compression, object.body).await {
            Ok(body) => body,
            Err(error) => {
                let message = format!("the object cannot be compressed: {error}");
                let trouble = Trouble::new(TroubleKind::Unavailable, message);
                return Outcome::Rejected(trouble);
            }
        };
        self.send(&key, body).await
    }

    async fn send(&self, key: &str, body: Bytes) -> Outcome {
        let request = self.client.put_object().bucket(&self.settings.bucket);
        let request = request.key(key).body(ByteStream::from(body));
        let Err(error) = request.send().await else {
            return Outcome::Durable;
        };
        match ERRORS.answer(error) {
            Answer::Unknown(trouble) => Outcome::Unknown(trouble),
            answer => Outcome::Rejected(answer.trouble()),
        }
    }
}

/// Compresses in a thread of its own.
async fn compressed(compression: Compression, body: Vec<u8>) -> std::io::Result<Bytes> {
    if compression == Compression::None {
        return Ok(body.into());
    }
    let work = tokio::task::spawn_blocking(move || match compression {
        Compression::None => Ok(body),
        Compression::Gzip => {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(&body)?;
            encoder.finish()
        }
        Compression::Zstd => zstd::encode_all(&body[..], zstd::DEFAULT_COMPRESSION_LEVEL),
    });
    let body = work.await.map_err(std::io::Error::other)??;
    Ok(body.into())
}

#[async_trait]
impl Output for Bucket {
    fn profile(&self) -> Profile {
        let Settings {
            object_size,
            object_age,
            ..
        } = &self.settings;
        Profile {
            gathers: Some(Gathers {
                records: OBJECT_RECORDS,
                bytes: object_size.map_or(OBJECT_BYTES, |size| size.0),
                age: object_age.map_or(OBJECT_AGE, |age| age.0),
            }),
            ..Profile::new(CHUNK)
        }
    }

    fn encoding(&self) -> EncodingKey {
        let (format, framing) = (self.settings.format, self.settings.framing);
        EncodingKey::new(Settings::NAME, format!("{format:?} {framing:?}"))
    }

    fn weigh(&self, record: &Record<'_>) -> Weight {
        Weight {
            entries: 1,
            bytes: formats::len(record, self.settings.format) + FRAME,
        }
    }

    fn encoded_bound(&self, records: usize, bytes: usize) -> usize {
        formats::bound(records, bytes)
    }

    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk {
        let part = Part::new(&self.settings, batch, &picks);
        let allocation = part.object.as_ref().map_or(0, |object| object.body.len());
        Chunk {
            picks,
            payload: Box::new(part),
            allocation,
        }
    }

    async fn write(&self, batch: &Batch, chunk: &Chunk, _deadline: Duration) -> Outcome {
        let Some(part) = chunk.payload.as_any().downcast_ref::<Part>() else {
            return Outcome::Stale;
        };
        if let Some(added) = &part.object {
            let mut open = self.open();
            match open.get_mut(&batch.origin().shard) {
                Some(object) => {
                    object.body.extend_from_slice(&added.body);
                    object.last.clone_from(&added.last);
                }
                None => {
                    open.insert(batch.origin().shard.clone(), added.clone());
                }
            }
        }
        part.outcome()
    }

    async fn flush(&self, shard: &ShardId, deadline: Duration) -> Outcome {
        let Some(object) = self.open().remove(shard) else {
            return Outcome::Durable;
        };
        let put = self.put(shard, object);
        match self.clock.timeout(deadline, put).await {
            Some(outcome) => outcome,
            None => {
                let message = format!("s3 did not answer within {deadline:?}");
                let trouble = Trouble::new(TroubleKind::Unavailable, message);
                Outcome::Unknown(trouble)
            }
        }
    }

    fn discard(&self, shard: &ShardId) {
        self.open().remove(shard);
    }
}

async fn client(settings: &Settings, context: &BuildContext) -> Result<Client, BuildError> {
    let sdk = sdk(context, &settings.connection()).await?;
    // A server that is named by its address has no names for buckets.
    let by_path = settings.endpoint_url.is_some() || sdk.endpoint_url().is_some();
    let config = Builder::from(&sdk)
        .force_path_style(by_path)
        // TLS and the signature cover the body.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    Ok(Client::from_conf(config.build()))
}

async fn ask(client: &Client, bucket: &str) -> Result<(), Answer> {
    let answer = client.head_bucket().bucket(bucket).send().await;
    answer.map(drop).map_err(|error| ERRORS.answer(error))
}

pub(super) async fn build(
    settings: &Settings,
    context: &BuildContext,
) -> Result<BuiltOutput, BuildError> {
    let client = client(settings, context).await?;
    match ask(&client, &settings.bucket).await {
        // A role that may only write.
        Err(answer) if !answer.is_open() => return Err(answer.cannot_write(&settings.bucket)),
        Ok(()) | Err(_) => {}
    }

    let bucket = Bucket {
        client,
        clock: context.clock.clone(),
        settings: settings.clone(),
        open: Mutex::default(),
    };
    let key = settings.template();
    Ok(BuiltOutput {
        output: Arc::new(bucket),
        pump: None,
        identity: format!("s3 {}/{key} {:?}", settings.bucket, settings.endpoint_url),
    })
}

pub(super) async fn check(settings: &Settings, context: &BuildContext) -> Vec<Finding> {
    let subject = &settings.bucket;
    let client = match client(settings, context).await {
        Ok(client) => client,
        Err(error) => return vec![Finding::failure(subject, error.to_string())],
    };
    vec![match ask(&client, subject).await {
        Ok(()) => Finding::fine(subject, "is there".to_owned()),
        Err(answer) => Finding::failure(subject, answer.reason()),
    }]
}
