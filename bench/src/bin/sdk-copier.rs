//! The peer: the usual copier with `aws-sdk-kinesis`. One loop of `GetRecords` a shard; each answer
//! goes in chunks of 500 to all outputs side by side, and failed entries are sent again. Ends after
//! `--records` records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Record, ShardIteratorType};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use clap::Parser;

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
    let entries = records.iter().map(entry);
    let mut entries = entries.collect::<Result<Vec<_>>>()?;

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
        entries = entries
            .into_iter()
            .zip(answer.records())
            .filter(|(_, result)| result.error_code().is_some())
            .map(|(entry, _)| entry)
            .collect();
    }
    Ok(())
}

fn entry(record: &Record) -> Result<PutRecordsRequestEntry> {
    let key = record.partition_key().map(str::to_owned);
    let entry = PutRecordsRequestEntry::builder()
        .data(record.data().clone())
        .set_partition_key(key)
        .build()?;
    Ok(entry)
}

async fn copy_shard(
    client: Client,
    args: Arc<Args>,
    shard: String,
    moved: Arc<AtomicUsize>,
) -> Result<()> {
    let mut iterator = client
        .get_shard_iterator()
        .stream_name(&args.from)
        .shard_id(&shard)
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await?
        .shard_iterator;

    while moved.load(Ordering::Relaxed) < args.records {
        let answer = client
            .get_records()
            .shard_iterator(iterator.context("shard closed")?)
            .send()
            .await?;

        for chunk in answer.records().chunks(500) {
            let puts = args.to.iter().map(|to| put(&client, to, chunk));
            futures::future::try_join_all(puts).await?;
        }

        moved.fetch_add(answer.records().len(), Ordering::Relaxed);
        iterator = answer.next_shard_iterator;
        if answer.records.is_empty() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

fn client(args: &Args) -> Result<Client> {
    let certificate = std::fs::read(&args.ca)?;
    let trust = TrustStore::empty().with_pem_certificate(certificate);
    let tls = TlsContext::builder().with_trust_store(trust).build()?;
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https();

    let credentials = Credentials::new("AKID", "SECRET", None, None, "bench");
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(&args.endpoint_url)
        .credentials_provider(credentials)
        .http_client(http)
        .build();
    Ok(Client::from_conf(config))
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Arc::new(Args::parse());
    let client = client(&args)?;
    let shards = client.list_shards().stream_name(&args.from).send().await?;

    let moved = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for shard in shards.shards() {
        let shard = shard.shard_id().to_owned();
        let copy = copy_shard(client.clone(), args.clone(), shard, moved.clone());
        tasks.push(tokio::spawn(copy));
    }
    for task in tasks {
        task.await??;
    }

    let moved = moved.load(Ordering::Relaxed);
    let outputs = args.to.len();
    println!("{moved} records copied to {outputs} outputs");
    Ok(())
}
