//! The peer: the usual copier with `aws-sdk-kinesis`. One loop of `GetRecords` a shard; each answer
//! goes in chunks of 500 to all outputs side by side, and failed entries are sent again. Ends after
//! `--records` records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region, SharedHttpClient};
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, PutRecordsResultEntry, Record, ShardIteratorType,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use clap::Parser;
use tokio::task::JoinSet;

/// Records in a write.
const PER_WRITE: usize = 500;
/// The wait after an empty answer.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Parser)]
struct Args {
    /// `https://host:port` of the server.
    #[arg(long)]
    endpoint_url: String,
    /// PEM file with the server's certificate.
    #[arg(long)]
    ca: String,
    /// The stream to read.
    #[arg(long)]
    from: String,
    /// The streams to write.
    #[arg(long, num_args = 1..)]
    to: Vec<String>,
    /// How many records to move.
    #[arg(long)]
    records: usize,
}

async fn put(client: &Client, stream: &str, records: &[Record]) -> Result<()> {
    let mut entries = Vec::with_capacity(records.len());
    for record in records {
        let entry = entry(record)?;
        entries.push(entry);
    }

    while !entries.is_empty() {
        let answer = client
            .put_records()
            .stream_name(stream)
            .set_records(Some(entries.clone()))
            .send()
            .await?;

        if answer.failed_record_count().unwrap_or(0) == 0 {
            return Ok(());
        }
        entries = failed(entries, answer.records());
    }
    Ok(())
}

fn failed(
    entries: Vec<PutRecordsRequestEntry>,
    results: &[PutRecordsResultEntry],
) -> Vec<PutRecordsRequestEntry> {
    let mut failed = Vec::new();
    for (entry, result) in entries.into_iter().zip(results) {
        if result.error_code().is_some() {
            failed.push(entry);
        }
    }
    failed
}

fn entry(record: &Record) -> Result<PutRecordsRequestEntry> {
    let key = record.partition_key().map(str::to_owned);
    let entry = PutRecordsRequestEntry::builder()
        .data(record.data().clone())
        .set_partition_key(key)
        .build()?;
    Ok(entry)
}

async fn first_iterator(client: &Client, stream: &str, shard: &str) -> Result<Option<String>> {
    let answer = client
        .get_shard_iterator()
        .stream_name(stream)
        .shard_id(shard)
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await?;
    Ok(answer.shard_iterator)
}

async fn copy_shard(
    client: Client,
    args: Arc<Args>,
    shard: String,
    moved: Arc<AtomicUsize>,
) -> Result<()> {
    let mut iterator = first_iterator(&client, &args.from, &shard).await?;

    while moved.load(Ordering::Relaxed) < args.records {
        let answer = client
            .get_records()
            .shard_iterator(iterator.context("shard closed")?)
            .send()
            .await?;

        let records = answer.records();
        write(&client, &args.to, records).await?;
        moved.fetch_add(records.len(), Ordering::Relaxed);
        if records.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        iterator = answer.next_shard_iterator;
    }
    Ok(())
}

/// Writes the records of one answer to all outputs side by side.
async fn write(client: &Client, outputs: &[String], records: &[Record]) -> Result<()> {
    for chunk in records.chunks(PER_WRITE) {
        let puts = outputs.iter().map(|output| put(client, output, chunk));
        futures::future::try_join_all(puts).await?;
    }
    Ok(())
}

/// HTTPS that trusts `ca` alone, a PEM file.
fn https(ca: &str) -> Result<SharedHttpClient> {
    let certificate = std::fs::read(ca)?;
    let trust = TrustStore::empty().with_pem_certificate(certificate);
    let tls = TlsContext::builder().with_trust_store(trust).build()?;

    let https = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https();
    Ok(https)
}

fn client(args: &Args) -> Result<Client> {
    let credentials = Credentials::new("AKID", "SECRET", None, None, "bench");
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(&args.endpoint_url)
        .credentials_provider(credentials)
        .http_client(https(&args.ca)?)
        .build();
    Ok(Client::from_conf(config))
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Arc::new(Args::parse());
    let client = client(&args)?;
    let moved = copy(&client, &args).await?;

    let outputs = args.to.len();
    println!("{moved} records copied to {outputs} outputs");
    Ok(())
}

/// Copies all shards. Returns the number of records.
async fn copy(client: &Client, args: &Arc<Args>) -> Result<usize> {
    let listing = client.list_shards().stream_name(&args.from);
    let listed = listing.send().await?;

    let moved = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for shard in listed.shards() {
        let shard = shard.shard_id().to_owned();
        let client = client.clone();
        let args = Arc::clone(args);
        let moved = Arc::clone(&moved);
        tasks.spawn(copy_shard(client, args, shard, moved));
    }

    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(moved.load(Ordering::Relaxed))
}
