//! One check for every operation by the AWS SDK for Rust: the same checks as `boto3_smoke.py`.
//!
//! `rust-smoke ENDPOINT [CA.pem]` prints one JSON object, `{operation: null | why not}`.

use std::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_kinesis::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    ConsumerStatus, EncryptionType, MetricsName, PutRecordsRequestEntry, Record, ScalingType,
    Shard, ShardFilter, ShardFilterType, ShardIteratorType, StartingPosition,
    StreamDescriptionSummary, StreamMode, StreamModeDetails, StreamStatus,
    SubscribeToShardEventStream,
};
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode};

type Check = Result<(), Box<dyn Error>>;

const MAX_HASH: &str = "340282366920938463463374607431768211455";
const HALF_HASH: &str = "170141183460469231731687303715884105728";
const SHARD0: &str = "shardId-000000000000";
const SHARD1: &str = "shardId-000000000001";
const KEY: &str = "ключ-鍵-🔑";
const WAIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

fn binary() -> [&'static [u8]; 3] {
    [b"\x00\xff\xfe binary", b"", "Ünïcode 鍵".as_bytes()]
}

fn expect(condition: bool, what: impl Display) -> Check {
    if condition {
        Ok(())
    } else {
        Err(what.to_string().into())
    }
}

/// The call must be refused with one of these error codes.
fn refused<T, E: ProvideErrorMetadata>(answer: Result<T, E>, kinds: &[&str]) -> Check {
    match answer {
        Ok(_) => Err(format!("not refused ({})", kinds.join(" or ")).into()),
        Err(e) => expect(
            e.code().is_some_and(|c| kinds.contains(&c)),
            format!("refused with {:?}, not {}", e.code(), kinds.join(" or ")),
        ),
    }
}

struct Smoke {
    k: Client,
    made: std::cell::Cell<u32>,
}

struct Stream {
    name: String,
    arn: String,
}

impl Smoke {
    async fn wait<F: Future<Output = Result<bool, Box<dyn Error>>>>(
        &self,
        what: &str,
        condition: impl Fn() -> F,
    ) -> Check {
        let end = Instant::now() + WAIT;
        while Instant::now() < end {
            if condition().await? {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(format!("waited {WAIT:?} for: {what}").into())
    }

    fn new_name(&self) -> String {
        self.made.set(self.made.get() + 1);
        let micros = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_micros());
        format!("smoke-{micros}-{}", self.made.get())
    }

    async fn summary(&self, name: &str) -> Result<StreamDescriptionSummary, Box<dyn Error>> {
        let answer = self
            .k
            .describe_stream_summary()
            .stream_name(name)
            .send()
            .await?;
        Ok(answer.stream_description_summary.ok_or("no summary")?)
    }

    async fn active(&self, name: &str) -> Check {
        self.wait("stream ACTIVE", || async {
            Ok(self.summary(name).await?.stream_status == StreamStatus::Active)
        })
        .await
    }

    async fn stream(&self, shards: i32) -> Result<Stream, Box<dyn Error>> {
        let name = self.new_name();
        self.k
            .create_stream()
            .stream_name(&name)
            .shard_count(shards)
            .send()
            .await?;
        self.active(&name).await?;
        let arn = self.summary(&name).await?.stream_arn;
        Ok(Stream { name, arn })
    }

    async fn put(&self, s: &Stream, data: &[u8]) -> Result<String, Box<dyn Error>> {
        let answer = self
            .k
            .put_record()
            .stream_name(&s.name)
            .partition_key("k")
            .data(Blob::new(data))
            .send()
            .await?;
        Ok(answer.sequence_number)
    }

    async fn iterator(&self, s: &Stream, shard: &str) -> Result<String, Box<dyn Error>> {
        let kind = ShardIteratorType::TrimHorizon;
        let answer = self
            .k
            .get_shard_iterator()
            .stream_name(&s.name)
            .shard_id(shard)
            .shard_iterator_type(kind)
            .send()
            .await?;
        Ok(answer.shard_iterator.ok_or("no iterator")?)
    }

    /// Reads on until `wanted` records came or the shard ended.
    async fn read(
        &self,
        mut token: String,
        wanted: usize,
        tries: usize,
    ) -> Result<(Vec<Record>, GetRecordsOutput), Box<dyn Error>> {
        let mut records = Vec::new();
        for left in (0..tries).rev() {
            let answer = self.k.get_records().shard_iterator(&token).send().await?;
            records.extend(answer.records.iter().cloned());
            match answer.next_shard_iterator.clone() {
                Some(next) if records.len() < wanted && left > 0 => token = next,
                _ => return Ok((records, answer)),
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err("no try allowed".into())
    }

    async fn drained(&self, s: &Stream, shard: &str) -> Result<GetRecordsOutput, Box<dyn Error>> {
        let (_, last) = self
            .read(self.iterator(s, shard).await?, usize::MAX, 40)
            .await?;
        expect(
            last.next_shard_iterator.is_none(),
            "a closed shard's iterator never ends",
        )?;
        Ok(last)
    }

    async fn open_shards(&self, s: &Stream) -> Result<Vec<Shard>, Box<dyn Error>> {
        let shards = self
            .k
            .list_shards()
            .stream_name(&s.name)
            .send()
            .await?
            .shards
            .unwrap_or_default();
        let open = |x: &Shard| {
            x.sequence_number_range
                .as_ref()
                .is_some_and(|r| r.ending_sequence_number.is_none())
        };
        Ok(shards.into_iter().filter(open).collect())
    }

    async fn consumer(&self, s: &Stream) -> Result<String, Box<dyn Error>> {
        let made = self
            .k
            .register_stream_consumer()
            .stream_arn(&s.arn)
            .consumer_name("smoke")
            .send()
            .await?;
        let arn = made.consumer.ok_or("no consumer")?.consumer_arn;
        self.wait("consumer ACTIVE", || async {
            let d = self
                .k
                .describe_stream_consumer()
                .consumer_arn(&arn)
                .send()
                .await?
                .consumer_description;
            Ok(d.is_some_and(|d| d.consumer_status == ConsumerStatus::Active))
        })
        .await?;
        Ok(arn)
    }

    async fn stream_tags(&self, s: &Stream) -> Result<Vec<String>, Box<dyn Error>> {
        let tags = self
            .k
            .list_tags_for_stream()
            .stream_name(&s.name)
            .send()
            .await?
            .tags;
        Ok(tags
            .iter()
            .map(|t| format!("{}={}", t.key, t.value.as_deref().unwrap_or("")))
            .collect())
    }

    async fn resource_tags(&self, s: &Stream) -> Result<Vec<String>, Box<dyn Error>> {
        let tags = self
            .k
            .list_tags_for_resource()
            .resource_arn(&s.arn)
            .send()
            .await?
            .tags
            .unwrap_or_default();
        Ok(tags
            .iter()
            .map(|t| format!("{}={}", t.key, t.value.as_deref().unwrap_or("")))
            .collect())
    }

    fn policy(s: &Stream) -> serde_json::Value {
        serde_json::json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kinesis:GetRecords",
            "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Resource": s.arn}]})
    }

    async fn metrics_shown(&self, s: &Stream) -> Result<Vec<MetricsName>, Box<dyn Error>> {
        let all = self.summary(&s.name).await?.enhanced_monitoring;
        Ok(all
            .into_iter()
            .flat_map(|m| m.shard_level_metrics.unwrap_or_default())
            .collect())
    }

    async fn create_stream(&self) -> Check {
        let s = self.stream(2).await?;
        expect(s.arn.ends_with(&format!(":stream/{}", s.name)), &s.arn)?;
        refused(
            self.k
                .create_stream()
                .stream_name(&s.name)
                .shard_count(2)
                .send()
                .await,
            &["ResourceInUseException"],
        )?;
        let name = self.new_name();
        let mode = StreamModeDetails::builder()
            .stream_mode(StreamMode::OnDemand)
            .build()?;
        self.k
            .create_stream()
            .stream_name(&name)
            .stream_mode_details(mode)
            .send()
            .await?;
        self.active(&name).await?;
        let shown = self
            .summary(&name)
            .await?
            .stream_mode_details
            .map(|d| d.stream_mode);
        expect(shown == Some(StreamMode::OnDemand), "not ON_DEMAND")
    }

    async fn delete_stream(&self) -> Check {
        let s = self.stream(1).await?;
        self.k.delete_stream().stream_arn(&s.arn).send().await?;
        self.wait("gone", || async {
            Ok(!self
                .k
                .list_streams()
                .limit(1000)
                .send()
                .await?
                .stream_names
                .contains(&s.name))
        })
        .await?;
        refused(
            self.k
                .describe_stream_summary()
                .stream_name(&s.name)
                .send()
                .await,
            &["ResourceNotFoundException"],
        )
    }

    async fn describe_stream(&self) -> Check {
        let s = self.stream(2).await?;
        let by = [
            (Some(&s.name), None),
            (None, Some(&s.arn)),
            (Some(&s.name), Some(&s.arn)),
        ];
        for (name, arn) in by {
            let call = self
                .k
                .describe_stream()
                .set_stream_name(name.cloned())
                .set_stream_arn(arn.cloned());
            let shards = call
                .send()
                .await?
                .stream_description
                .ok_or("no description")?
                .shards;
            let ranges: Vec<_> = shards
                .iter()
                .filter_map(|x| x.hash_key_range.as_ref())
                .collect();
            let [low, high] = ranges[..] else {
                return Err(format!("{} shards", ranges.len()).into());
            };
            expect(
                low.starting_hash_key == "0" && high.ending_hash_key == MAX_HASH,
                "hash ranges",
            )?;
            let (end, start): (u128, u128) = (
                low.ending_hash_key.parse()?,
                high.starting_hash_key.parse()?,
            );
            expect(end + 1 == start, "a hole between the ranges")?;
        }
        let page = self
            .k
            .describe_stream()
            .stream_name(&s.name)
            .limit(1)
            .send()
            .await?
            .stream_description
            .ok_or("none")?;
        expect(
            page.has_more_shards && page.shards.len() == 1,
            "Limit=1 is not one shard with more to come",
        )?;
        refused(
            self.k
                .describe_stream()
                .stream_name("smoke-none")
                .send()
                .await,
            &["ResourceNotFoundException"],
        )
    }

    async fn describe_stream_summary(&self) -> Check {
        let s = self.stream(2).await?;
        let by = [
            (Some(&s.name), None),
            (None, Some(&s.arn)),
            (Some(&s.name), Some(&s.arn)),
        ];
        for (name, arn) in by {
            let call = self
                .k
                .describe_stream_summary()
                .set_stream_name(name.cloned())
                .set_stream_arn(arn.cloned());
            let d = call
                .send()
                .await?
                .stream_description_summary
                .ok_or("no summary")?;
            expect(
                (&d.stream_name, d.open_shard_count, d.retention_period_hours) == (&s.name, 2, 24),
                format!("{d:?}"),
            )?;
        }
        Ok(())
    }

    async fn list_streams(&self) -> Check {
        let names = [self.stream(1).await?.name, self.stream(1).await?.name];
        let (mut seen, mut token, mut start) = (Vec::<String>::new(), None, None);
        for _ in 0..2000 {
            let call = self
                .k
                .list_streams()
                .limit(1)
                .set_next_token(token.take())
                .set_exclusive_start_stream_name(start.take());
            let page = call.send().await?;
            expect(
                page.stream_summaries().len() == page.stream_names.len(),
                "no summary for each name",
            )?;
            seen.extend(page.stream_names);
            if !page.has_more_streams {
                break;
            }
            token = page.next_token;
            start = if token.is_none() {
                seen.last().cloned()
            } else {
                None
            };
        }
        expect(
            seen.is_sorted_by(|a, b| a < b) && names.iter().all(|n| seen.contains(n)),
            "paging misses, repeats or mixes names",
        )
    }

    async fn list_shards(&self) -> Check {
        let s = self.stream(3).await?;
        let ids = |shards: Vec<Shard>| -> Vec<String> {
            shards.into_iter().map(|x| x.shard_id).collect()
        };
        let first = self
            .k
            .list_shards()
            .stream_arn(&s.arn)
            .max_results(2)
            .send()
            .await?;
        let token = first.next_token.ok_or("MaxResults=2 gives no token")?;
        let mut all = ids(first.shards.unwrap_or_default());
        expect(all.len() == 2, "MaxResults=2")?;
        all.extend(ids(self
            .k
            .list_shards()
            .next_token(token)
            .send()
            .await?
            .shards
            .unwrap_or_default()));
        expect(
            all == [SHARD0, SHARD1, "shardId-000000000002"],
            format!("pages show {all:?}"),
        )?;
        let by = |kind: ShardFilterType, after: Option<&str>| {
            ShardFilter::builder()
                .r#type(kind)
                .set_shard_id(after.map(str::to_owned))
                .build()
        };
        let filter = by(ShardFilterType::AfterShardId, Some(SHARD1))?;
        let after = ids(self
            .k
            .list_shards()
            .stream_name(&s.name)
            .shard_filter(filter)
            .send()
            .await?
            .shards
            .unwrap_or_default());
        expect(after == ["shardId-000000000002"], "AFTER_SHARD_ID")?;
        self.k
            .split_shard()
            .stream_name(&s.name)
            .shard_to_split(SHARD0)
            .new_starting_hash_key("1000")
            .send()
            .await?;
        self.active(&s.name).await?;
        for (kind, wanted) in [
            (ShardFilterType::AtLatest, 4),
            (ShardFilterType::FromTrimHorizon, 5),
        ] {
            let filter = by(kind.clone(), None)?;
            let n = self
                .k
                .list_shards()
                .stream_name(&s.name)
                .shard_filter(filter)
                .send()
                .await?
                .shards
                .unwrap_or_default()
                .len();
            expect(n == wanted, format!("{kind} shows {n} of {wanted}"))?;
        }
        Ok(())
    }

    async fn put_record(&self) -> Check {
        let s = self.stream(2).await?;
        let data = Blob::new(binary()[0]);
        let one = self
            .k
            .put_record()
            .stream_name(&s.name)
            .partition_key("key")
            .data(data.clone())
            .send()
            .await?;
        let two = self
            .k
            .put_record()
            .stream_arn(&s.arn)
            .partition_key("key")
            .data(data.clone())
            .send()
            .await?;
        let (a, b) = (
            one.sequence_number.trim_start_matches('0'),
            two.sequence_number.trim_start_matches('0'),
        );
        expect(
            one.shard_id == two.shard_id && (a.len(), a) < (b.len(), b),
            "not in sequence",
        )?;
        for (hash, shard) in [(MAX_HASH, SHARD1), ("0", SHARD0)] {
            let call = self
                .k
                .put_record()
                .stream_name(&s.name)
                .partition_key("key")
                .data(data.clone())
                .explicit_hash_key(hash);
            expect(
                call.send().await?.shard_id == shard,
                format!("explicit hash key {hash}"),
            )?;
        }
        refused(
            self.k
                .put_record()
                .stream_name("smoke-none")
                .partition_key("k")
                .data(data)
                .send()
                .await,
            &["ResourceNotFoundException"],
        )
    }

    async fn put_records(&self) -> Check {
        let s = self.stream(1).await?;
        let entry = |data: &[u8]| {
            PutRecordsRequestEntry::builder()
                .partition_key(KEY)
                .data(Blob::new(data))
                .build()
        };
        let entries = binary()
            .into_iter()
            .map(entry)
            .collect::<Result<Vec<_>, _>>()?;
        for (name, arn) in [(Some(&s.name), None), (None, Some(&s.arn))] {
            let call = self
                .k
                .put_records()
                .set_stream_name(name.cloned())
                .set_stream_arn(arn.cloned());
            let answer = call.set_records(Some(entries.clone())).send().await?;
            expect(
                answer.failed_record_count == Some(0) && answer.records.len() == 3,
                "not all taken",
            )?;
        }
        let (records, _) = self.read(self.iterator(&s, SHARD0).await?, 6, 40).await?;
        let same = records
            .iter()
            .zip(binary().into_iter().cycle())
            .all(|(r, d)| r.data.as_ref() == d);
        expect(same && records.len() == 6, "the data came back different")?;
        expect(
            records
                .iter()
                .all(|r| r.partition_key.as_deref() == Some(KEY)),
            "the partition key came back different",
        )?;
        let megabyte: Vec<u8> = (0..1_000_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let big = vec![entry(&megabyte)?; 9];
        let answer = self
            .k
            .put_records()
            .stream_name(&s.name)
            .set_records(Some(big))
            .send()
            .await?;
        expect(answer.failed_record_count == Some(0), "9 MB in one request")?;
        let many = vec![entry(b"x")?; 501];
        refused(
            self.k
                .put_records()
                .stream_name(&s.name)
                .set_records(Some(many))
                .send()
                .await,
            &["InvalidArgumentException", "ValidationException"],
        )
    }

    async fn get_shard_iterator(&self) -> Check {
        let s = self.stream(1).await?;
        let before = DateTime::from(SystemTime::now() - Duration::from_secs(10));
        let mut numbers = Vec::new();
        for data in [b"0", b"1", b"2"] {
            numbers.push(self.put(&s, data).await?);
        }
        let cases = [
            (ShardIteratorType::TrimHorizon, None, None, "012"),
            (
                ShardIteratorType::AtSequenceNumber,
                Some(&numbers[1]),
                None,
                "12",
            ),
            (
                ShardIteratorType::AfterSequenceNumber,
                Some(&numbers[1]),
                None,
                "2",
            ),
            (ShardIteratorType::AtTimestamp, None, Some(before), "012"),
            (ShardIteratorType::Latest, None, None, ""),
        ];
        for (kind, number, time, wanted) in cases {
            let call = self
                .k
                .get_shard_iterator()
                .stream_arn(&s.arn)
                .shard_id(SHARD0)
                .shard_iterator_type(kind.clone());
            let answer = call
                .set_starting_sequence_number(number.cloned())
                .set_timestamp(time)
                .send()
                .await?;
            let (records, _) = self
                .read(
                    answer.shard_iterator.ok_or("no iterator")?,
                    wanted.len().max(1),
                    3,
                )
                .await?;
            let got: Vec<u8> = records
                .iter()
                .flat_map(|r| r.data.as_ref().to_vec())
                .collect();
            expect(
                got == wanted.as_bytes(),
                format!("{kind} gives {}", String::from_utf8_lossy(&got)),
            )?;
        }
        let kind = ShardIteratorType::Latest;
        let call = self
            .k
            .get_shard_iterator()
            .stream_name(&s.name)
            .shard_id("shardId-000000000099")
            .shard_iterator_type(kind);
        refused(call.send().await, &["ResourceNotFoundException"])
    }

    async fn get_records(&self) -> Check {
        let s = self.stream(1).await?;
        let entry = |i: u8| {
            PutRecordsRequestEntry::builder()
                .partition_key("k")
                .data(Blob::new([b'0' + i]))
                .build()
        };
        let entries = (0..10).map(entry).collect::<Result<Vec<_>, _>>()?;
        self.k
            .put_records()
            .stream_name(&s.name)
            .set_records(Some(entries))
            .send()
            .await?;
        let token = self.iterator(&s, SHARD0).await?;
        let one = self
            .k
            .get_records()
            .shard_iterator(token)
            .limit(4)
            .stream_arn(&s.arn)
            .send()
            .await?;
        expect(one.records.len() == 4, "Limit=4")?;
        let (records, last) = self
            .read(one.next_shard_iterator.ok_or("no next iterator")?, 6, 40)
            .await?;
        let got: Vec<u8> = records
            .iter()
            .flat_map(|r| r.data.as_ref().to_vec())
            .collect();
        expect(got == b"456789", "the next page doesn't go on")?;
        expect(
            last.millis_behind_latest == Some(0),
            format!("{:?} ms behind at the tip", last.millis_behind_latest),
        )?;
        let now = DateTime::from(SystemTime::now()).secs();
        let arrived = records[0]
            .approximate_arrival_timestamp
            .ok_or("no arrival time")?
            .secs();
        expect(
            (arrived - now).abs() < 60,
            format!("arrival time {arrived}"),
        )?;
        refused(
            self.k
                .get_records()
                .shard_iterator("not-an-iterator")
                .send()
                .await,
            &["InvalidArgumentException", "ExpiredIteratorException"],
        )
    }

    async fn register_stream_consumer(&self) -> Check {
        let s = self.stream(1).await?;
        let call = || {
            self.k
                .register_stream_consumer()
                .stream_arn(&s.arn)
                .consumer_name("smoke")
                .send()
        };
        let arn = call().await?.consumer.ok_or("no consumer")?.consumer_arn;
        expect(arn.starts_with(&format!("{}/consumer/smoke:", s.arn)), &arn)?;
        refused(call().await, &["ResourceInUseException"])
    }

    async fn describe_stream_consumer(&self) -> Check {
        let s = self.stream(1).await?;
        let arn = self.consumer(&s).await?;
        let by_arn = self
            .k
            .describe_stream_consumer()
            .consumer_arn(&arn)
            .send()
            .await?;
        let by_name = self
            .k
            .describe_stream_consumer()
            .stream_arn(&s.arn)
            .consumer_name("smoke")
            .send()
            .await?;
        for answer in [by_arn, by_name] {
            let d = answer.consumer_description.ok_or("no description")?;
            expect(
                (&d.consumer_arn, &d.stream_arn) == (&arn, &s.arn),
                "another consumer",
            )?;
        }
        Ok(())
    }

    async fn list_stream_consumers(&self) -> Check {
        let s = self.stream(1).await?;
        for name in ["one", "two"] {
            self.k
                .register_stream_consumer()
                .stream_arn(&s.arn)
                .consumer_name(name)
                .send()
                .await?;
        }
        let page = self
            .k
            .list_stream_consumers()
            .stream_arn(&s.arn)
            .max_results(1)
            .send()
            .await?;
        expect(page.consumers().len() == 1, "MaxResults=1")?;
        let token = page.next_token.clone().ok_or("no token")?;
        let rest = self
            .k
            .list_stream_consumers()
            .stream_arn(&s.arn)
            .next_token(token)
            .send()
            .await?;
        let mut names: Vec<_> = page
            .consumers()
            .iter()
            .chain(rest.consumers())
            .map(|c| c.consumer_name.as_str())
            .collect();
        names.sort_unstable();
        expect(names == ["one", "two"], format!("pages show {names:?}"))
    }

    async fn deregister_stream_consumer(&self) -> Check {
        let s = self.stream(1).await?;
        let arn = self.consumer(&s).await?;
        self.k
            .deregister_stream_consumer()
            .consumer_arn(arn)
            .send()
            .await?;
        self.wait("gone", || async {
            Ok(self
                .k
                .list_stream_consumers()
                .stream_arn(&s.arn)
                .send()
                .await?
                .consumers()
                .is_empty())
        })
        .await
    }

    async fn subscribe_to_shard(&self) -> Check {
        let s = self.stream(1).await?;
        self.put(&s, binary()[0]).await?;
        let arn = self.consumer(&s).await?;
        let from = StartingPosition::builder()
            .r#type(ShardIteratorType::TrimHorizon)
            .build()?;
        let call = self
            .k
            .subscribe_to_shard()
            .consumer_arn(arn)
            .shard_id(SHARD0)
            .starting_position(from);
        let mut events = call.send().await?.event_stream;
        let (mut seen, mut later) = (Vec::new(), false);
        while let Some(event) = tokio::time::timeout(WAIT, events.recv()).await?? {
            let SubscribeToShardEventStream::SubscribeToShardEvent(event) = event else {
                continue;
            };
            expect(
                !event.continuation_sequence_number.is_empty(),
                "an event without its position",
            )?;
            seen.extend(event.records.into_iter().map(|r| r.data.into_inner()));
            if !seen.is_empty() && !later {
                later = true;
                self.put(&s, binary()[2]).await?;
            }
            if seen.len() == 2 {
                break;
            }
        }
        expect(
            seen == [binary()[0], binary()[2]],
            format!("pushed {} records", seen.len()),
        )
    }

    async fn split_shard(&self) -> Check {
        let s = self.stream(1).await?;
        self.put(&s, b"before").await?;
        self.k
            .split_shard()
            .stream_name(&s.name)
            .shard_to_split(SHARD0)
            .new_starting_hash_key(HALF_HASH)
            .send()
            .await?;
        self.active(&s.name).await?;
        let children = self.open_shards(&s).await?;
        let right = children.len() == 2
            && children
                .iter()
                .all(|c| c.parent_shard_id.as_deref() == Some(SHARD0));
        expect(right, "no two children with that parent")?;
        let last = self.drained(&s, SHARD0).await?;
        let mut named: Vec<_> = last
            .child_shards()
            .iter()
            .map(|c| c.shard_id.as_str())
            .collect();
        named.sort_unstable();
        let mut real: Vec<_> = children.iter().map(|c| c.shard_id.as_str()).collect();
        real.sort_unstable();
        expect(
            named == real,
            format!("GetRecords names the children {named:?}"),
        )
    }

    async fn merge_shards(&self) -> Check {
        let s = self.stream(2).await?;
        self.k
            .merge_shards()
            .stream_name(&s.name)
            .shard_to_merge(SHARD0)
            .adjacent_shard_to_merge(SHARD1)
            .send()
            .await?;
        self.active(&s.name).await?;
        let open = self.open_shards(&s).await?;
        let [child] = &open[..] else {
            return Err(format!("{} open shards", open.len()).into());
        };
        let mut parents = [
            child.parent_shard_id.as_deref(),
            child.adjacent_parent_shard_id.as_deref(),
        ];
        parents.sort_unstable();
        expect(
            parents == [Some(SHARD0), Some(SHARD1)],
            format!("parents {parents:?}"),
        )?;
        let range = child.hash_key_range.as_ref().ok_or("no range")?;
        expect(
            (
                range.starting_hash_key.as_str(),
                range.ending_hash_key.as_str(),
            ) == ("0", MAX_HASH),
            "its range",
        )
    }

    async fn update_shard_count(&self) -> Check {
        let s = self.stream(1).await?;
        self.put(&s, b"before").await?;
        let call = self
            .k
            .update_shard_count()
            .stream_name(&s.name)
            .target_shard_count(2);
        let answer = call
            .scaling_type(ScalingType::UniformScaling)
            .send()
            .await?;
        expect(
            (answer.current_shard_count, answer.target_shard_count) == (Some(1), Some(2)),
            "the counts it answers",
        )?;
        self.active(&s.name).await?;
        expect(
            self.open_shards(&s).await?.len() == 2,
            "not two open shards",
        )?;
        let (records, _) = self.read(self.iterator(&s, SHARD0).await?, 1, 40).await?;
        expect(records.len() == 1, "what the closed shard held is gone")
    }

    async fn update_stream_mode(&self) -> Check {
        let s = self.stream(1).await?;
        let mode = StreamModeDetails::builder()
            .stream_mode(StreamMode::OnDemand)
            .build()?;
        self.k
            .update_stream_mode()
            .stream_arn(&s.arn)
            .stream_mode_details(mode)
            .send()
            .await?;
        self.active(&s.name).await?;
        let shown = self
            .summary(&s.name)
            .await?
            .stream_mode_details
            .map(|d| d.stream_mode);
        expect(shown == Some(StreamMode::OnDemand), "still PROVISIONED")
    }

    async fn increase_stream_retention_period(&self) -> Check {
        let s = self.stream(1).await?;
        self.k
            .increase_stream_retention_period()
            .stream_arn(&s.arn)
            .retention_period_hours(48)
            .send()
            .await?;
        self.active(&s.name).await?;
        expect(
            self.summary(&s.name).await?.retention_period_hours == 48,
            "not 48 hours",
        )
    }

    async fn decrease_stream_retention_period(&self) -> Check {
        let s = self.stream(1).await?;
        self.k
            .increase_stream_retention_period()
            .stream_name(&s.name)
            .retention_period_hours(48)
            .send()
            .await?;
        self.active(&s.name).await?;
        self.k
            .decrease_stream_retention_period()
            .stream_name(&s.name)
            .retention_period_hours(24)
            .send()
            .await?;
        self.active(&s.name).await?;
        expect(
            self.summary(&s.name).await?.retention_period_hours == 24,
            "not 24 hours",
        )?;
        let less = self
            .k
            .decrease_stream_retention_period()
            .stream_name(&s.name)
            .retention_period_hours(23);
        refused(
            less.send().await,
            &["InvalidArgumentException", "ValidationException"],
        )
    }

    async fn update_max_record_size(&self) -> Check {
        let s = self.stream(1).await?;
        let big = vec![0xA5_u8; 1_500_000];
        let put = || {
            self.k
                .put_record()
                .stream_name(&s.name)
                .partition_key("k")
                .data(Blob::new(big.clone()))
                .send()
        };
        refused(
            put().await,
            &["InvalidArgumentException", "ValidationException"],
        )?;
        self.k
            .update_max_record_size()
            .stream_arn(&s.arn)
            .max_record_size_in_kib(2048)
            .send()
            .await?;
        self.active(&s.name).await?;
        expect(
            self.summary(&s.name).await?.max_record_size_in_kib == Some(2048),
            "not shown",
        )?;
        put().await?;
        let (records, _) = self.read(self.iterator(&s, SHARD0).await?, 1, 40).await?;
        expect(
            records.len() == 1 && records[0].data.as_ref() == big,
            "the record came back different",
        )
    }

    async fn add_tags_to_stream(&self) -> Check {
        let s = self.stream(1).await?;
        self.k
            .add_tags_to_stream()
            .stream_name(&s.name)
            .tags("team", "a")
            .tags("env", "test")
            .send()
            .await?;
        let shown = self.stream_tags(&s).await?;
        expect(shown.len() == 2, format!("shows {shown:?}"))
    }

    async fn list_tags_for_stream(&self) -> Check {
        let s = self.stream(1).await?;
        self.k
            .add_tags_to_stream()
            .stream_arn(&s.arn)
            .tags("a", "1")
            .tags("b", "2")
            .tags("c", "3")
            .send()
            .await?;
        let page = self
            .k
            .list_tags_for_stream()
            .stream_name(&s.name)
            .limit(2)
            .send()
            .await?;
        let keys: Vec<_> = page.tags.iter().map(|t| t.key.as_str()).collect();
        expect(keys == ["a", "b"] && page.has_more_tags, "Limit=2")?;
        let rest = self
            .k
            .list_tags_for_stream()
            .stream_name(&s.name)
            .exclusive_start_tag_key("b")
            .send()
            .await?;
        expect(
            rest.tags.len() == 1 && rest.tags[0].key == "c" && !rest.has_more_tags,
            "the second page",
        )
    }

    async fn remove_tags_from_stream(&self) -> Check {
        let s = self.stream(1).await?;
        self.k
            .add_tags_to_stream()
            .stream_name(&s.name)
            .tags("team", "a")
            .tags("env", "test")
            .send()
            .await?;
        self.k
            .remove_tags_from_stream()
            .stream_name(&s.name)
            .tag_keys("env")
            .send()
            .await?;
        expect(self.stream_tags(&s).await? == ["team=a"], "still there")
    }

    async fn tag_resource(&self) -> Check {
        let s = self.stream(1).await?;
        self.k
            .tag_resource()
            .resource_arn(&s.arn)
            .tags("team", "a")
            .send()
            .await?;
        expect(self.resource_tags(&s).await? == ["team=a"], "not shown")
    }

    async fn list_tags_for_resource(&self) -> Check {
        let s = self.stream(1).await?;
        self.k
            .add_tags_to_stream()
            .stream_name(&s.name)
            .tags("team", "b")
            .send()
            .await?;
        expect(self.resource_tags(&s).await? == ["team=b"], "not shown")
    }

    async fn untag_resource(&self) -> Check {
        let s = self.stream(1).await?;
        self.k
            .tag_resource()
            .resource_arn(&s.arn)
            .tags("team", "a")
            .tags("env", "test")
            .send()
            .await?;
        self.k
            .untag_resource()
            .resource_arn(&s.arn)
            .tag_keys("team")
            .send()
            .await?;
        expect(self.resource_tags(&s).await? == ["env=test"], "still there")
    }

    async fn encrypt(&self, s: &Stream) -> Check {
        let call = self
            .k
            .start_stream_encryption()
            .stream_name(&s.name)
            .key_id("alias/aws/kinesis");
        call.encryption_type(EncryptionType::Kms).send().await?;
        self.active(&s.name).await
    }

    async fn start_stream_encryption(&self) -> Check {
        let s = self.stream(1).await?;
        self.encrypt(&s).await?;
        let d = self.summary(&s.name).await?;
        let right = d.encryption_type == Some(EncryptionType::Kms)
            && d.key_id.as_deref() == Some("alias/aws/kinesis");
        expect(right, format!("shown as {:?}", d.encryption_type))
    }

    async fn stop_stream_encryption(&self) -> Check {
        let s = self.stream(1).await?;
        self.encrypt(&s).await?;
        let call = self
            .k
            .stop_stream_encryption()
            .stream_name(&s.name)
            .key_id("alias/aws/kinesis");
        call.encryption_type(EncryptionType::Kms).send().await?;
        self.active(&s.name).await?;
        expect(
            self.summary(&s.name).await?.encryption_type == Some(EncryptionType::None),
            "still encrypted",
        )
    }

    async fn policy_of(&self, s: &Stream) -> Result<serde_json::Value, Box<dyn Error>> {
        let answer = self
            .k
            .get_resource_policy()
            .resource_arn(&s.arn)
            .send()
            .await?;
        Ok(serde_json::from_str(&answer.policy)?)
    }

    async fn put_policy(&self) -> Result<Stream, Box<dyn Error>> {
        let s = self.stream(1).await?;
        self.k
            .put_resource_policy()
            .resource_arn(&s.arn)
            .policy(Self::policy(&s).to_string())
            .send()
            .await?;
        Ok(s)
    }

    async fn put_resource_policy(&self) -> Check {
        let s = self.put_policy().await?;
        expect(self.policy_of(&s).await? == Self::policy(&s), "not kept")
    }

    async fn get_resource_policy(&self) -> Check {
        let s = self.put_policy().await?;
        expect(
            self.policy_of(&s).await?["Version"] == "2012-10-17",
            "not shown",
        )
    }

    async fn delete_resource_policy(&self) -> Check {
        let s = self.put_policy().await?;
        self.k
            .delete_resource_policy()
            .resource_arn(&s.arn)
            .send()
            .await?;
        match self
            .k
            .get_resource_policy()
            .resource_arn(&s.arn)
            .send()
            .await
        {
            Ok(answer) => expect(!answer.policy.contains("Statement"), "still there"),
            Err(e) => expect(
                e.code() == Some("ResourceNotFoundException"),
                format!("{:?}", e.code()),
            ),
        }
    }

    async fn monitor(&self, s: &Stream) -> Check {
        let call = self
            .k
            .enable_enhanced_monitoring()
            .stream_name(&s.name)
            .shard_level_metrics(MetricsName::IncomingBytes);
        let answer = call
            .shard_level_metrics(MetricsName::OutgoingBytes)
            .send()
            .await?;
        expect(
            answer.desired_shard_level_metrics().len() == 2,
            "what is wanted",
        )?;
        self.active(&s.name).await
    }

    async fn enable_enhanced_monitoring(&self) -> Check {
        let s = self.stream(1).await?;
        self.monitor(&s).await?;
        let shown = self.metrics_shown(&s).await?;
        expect(
            shown.len() == 2 && shown.contains(&MetricsName::OutgoingBytes),
            format!("shows {shown:?}"),
        )
    }

    async fn disable_enhanced_monitoring(&self) -> Check {
        let s = self.stream(1).await?;
        self.monitor(&s).await?;
        let call = self
            .k
            .disable_enhanced_monitoring()
            .stream_arn(&s.arn)
            .shard_level_metrics(MetricsName::IncomingBytes);
        expect(
            call.send().await?.current_shard_level_metrics().len() == 2,
            "what it was",
        )?;
        self.active(&s.name).await?;
        let shown = self.metrics_shown(&s).await?;
        expect(
            shown == [MetricsName::OutgoingBytes],
            format!("shows {shown:?}"),
        )
    }

    async fn describe_limits(&self) -> Check {
        self.stream(1).await?;
        let limits = self.k.describe_limits().send().await?;
        expect(
            limits.shard_limit > 0 && limits.open_shard_count > 0,
            format!("counts {} open shards", limits.open_shard_count),
        )
    }

    async fn describe_account_settings(&self) -> Check {
        let answer = self.k.describe_account_settings().send().await?;
        expect(
            answer.minimum_throughput_billing_commitment.is_some(),
            "says nothing",
        )
    }
}

/// Only what the SDK's own error says, in one short line.
fn reason(e: &(dyn Error + 'static)) -> String {
    let text = if e.source().is_some() {
        DisplayErrorContext(e).to_string()
    } else {
        e.to_string()
    };
    text.lines()
        .next()
        .unwrap_or("")
        .chars()
        .take(160)
        .collect()
}

fn client(endpoint: &str, authority: Option<Vec<u8>>) -> Result<Client, Box<dyn Error>> {
    let mut config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(
            "AKIDEXAMPLE",
            "secret",
            None,
            None,
            "smoke",
        ))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(endpoint);
    let builder = aws_smithy_http_client::Builder::new();
    config = match authority {
        Some(pem) => {
            let context = TlsContext::builder()
                .with_trust_store(TrustStore::empty().with_pem_certificate(pem))
                .build()?;
            let builder = builder
                .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
                .tls_context(context);
            config.http_client(builder.build_https())
        }
        None => config.http_client(builder.build_http()),
    };
    Ok(Client::from_conf(config.build()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let endpoint = args.next().ok_or("usage: rust-smoke ENDPOINT [CA.pem]")?;
    let authority = args.next().map(std::fs::read).transpose()?;
    let s = Smoke {
        k: client(&endpoint, authority)?,
        made: std::cell::Cell::new(0),
    };
    let mut results = serde_json::Map::new();
    macro_rules! check {
        ($($operation:literal $method:ident)*) => {$(
            let why = s.$method().await.err().map(|e| reason(e.as_ref()));
            results.insert($operation.to_owned(), why.into());
        )*};
    }
    check! {
        "CreateStream" create_stream
        "DeleteStream" delete_stream
        "DescribeStream" describe_stream
        "DescribeStreamSummary" describe_stream_summary
        "ListStreams" list_streams
        "ListShards" list_shards
        "PutRecord" put_record
        "PutRecords" put_records
        "GetShardIterator" get_shard_iterator
        "GetRecords" get_records
        "RegisterStreamConsumer" register_stream_consumer
        "DescribeStreamConsumer" describe_stream_consumer
        "ListStreamConsumers" list_stream_consumers
        "DeregisterStreamConsumer" deregister_stream_consumer
        "SubscribeToShard" subscribe_to_shard
        "SplitShard" split_shard
        "MergeShards" merge_shards
        "UpdateShardCount" update_shard_count
        "UpdateStreamMode" update_stream_mode
        "IncreaseStreamRetentionPeriod" increase_stream_retention_period
        "DecreaseStreamRetentionPeriod" decrease_stream_retention_period
        "UpdateMaxRecordSize" update_max_record_size
        "AddTagsToStream" add_tags_to_stream
        "ListTagsForStream" list_tags_for_stream
        "RemoveTagsFromStream" remove_tags_from_stream
        "TagResource" tag_resource
        "ListTagsForResource" list_tags_for_resource
        "UntagResource" untag_resource
        "StartStreamEncryption" start_stream_encryption
        "StopStreamEncryption" stop_stream_encryption
        "PutResourcePolicy" put_resource_policy
        "GetResourcePolicy" get_resource_policy
        "DeleteResourcePolicy" delete_resource_policy
        "EnableEnhancedMonitoring" enable_enhanced_monitoring
        "DisableEnhancedMonitoring" disable_enhanced_monitoring
        "DescribeLimits" describe_limits
        "DescribeAccountSettings" describe_account_settings
    }
    println!("{}", serde_json::Value::Object(results));
    Ok(())
}
