//! Client CPU-seconds per GB and output of writing by `PutRecords` over TLS 1.3, and per GB of
//! reading by `GetRecords`, beside the same bytes with no work.
//!
//! `cargo run --release -p distributary-kinesis --example cost [outputs] [MB]`. The server is a
//! process of its own (this program again, as `serve`), so that only the client's CPU time is
//! counted. The server discards the records, and answers that all are durable.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use distributary_core::batch::{Batch, Origin, ShardId};
use distributary_core::checkpoint::Position;
use distributary_core::clock::{Clock, Millis};
use distributary_core::output::{Outcome, Output, Picks};
use distributary_core::record::{DataForm, RecordIndex, Span};
use distributary_core::source::{Credit, Source};
use distributary_kinesis::client::Client;
use distributary_kinesis::output::{KinesisOutput, OutputOptions};
use distributary_kinesis::source::KinesisSource;
use distributary_kinesis::transport::{HttpTransport, RequestClass, TransportSettings};
use distributary_wire::codec::{Format, encode};
use distributary_wire::transport::{RequestBody, ResponseBody, Transport};
use distributary_wire::types::{
    GetRecordsResponse, GetShardIteratorResponse, PutRecordsResponse, PutRecordsResultEntry,
    Record, Timestamp,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const RECORDS: usize = 500;
const RECORD: usize = 1024;
/// Records of one answer to a read.
const PAGE: usize = 5000;
/// By ARN, so that the source need not be described.
const SOURCE: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/input";
const DEADLINE: Duration = Duration::from_secs(30);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if args.get(1).is_some_and(|a| a == "serve") {
        runtime.block_on(serve());
        return;
    }
    let outputs = args.get(1).map_or(20, |a| a.parse().unwrap());
    let megabytes = args.get(2).map_or(1000, |a| a.parse().unwrap());
    runtime.block_on(measure(outputs, megabytes));
}

/// Prints port and certificate, then answers until the parent process ends.
async fn serve() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    println!("{}", made.cert.pem().replace('\n', "|"));
    std::io::stdout().flush().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(io) = acceptor.accept(tcp).await {
                    answer(io).await;
                }
            });
        }
    });
    // The parent holds the other end of the pipe.
    let _ = tokio::io::stdin().read(&mut [0]).await;
}

async fn answer(mut io: tokio_rustls::server::TlsStream<tokio::net::TcpStream>) {
    let entry = PutRecordsResultEntry {
        sequence_number: Some("49590338271490256608559692538361571095921575989136588898".into()),
        shard_id: Some("shardId-000000000000".into()),
        ..Default::default()
    };
    let body = PutRecordsResponse {
        failed_record_count: Some(0),
        records: vec![entry; RECORDS],
        ..Default::default()
    };
    let reply = answer_of(&encode(Format::Cbor, &body));
    let page = page();
    let iterator = GetShardIteratorResponse {
        shard_iterator: Some("i".repeat(200)),
    };
    let iterator = answer_of(&encode(Format::Cbor, &iterator));
    let mut buffer = vec![0; 256 * 1024];
    let mut have = 0;
    loop {
        let head = loop {
            if let Some(at) = buffer[..have].windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            match io.read(&mut buffer[have..]).await {
                Ok(n) if n > 0 => have += n,
                _ => return,
            }
        };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length = text
            .lines()
            .find_map(|l| l.strip_prefix("content-length:"))
            .map_or("0", str::trim);
        let length: usize = length.parse().unwrap();
        let mut left = length.saturating_sub(have - head);
        while left > 0 {
            match io.read(&mut buffer).await {
                Ok(n) if n > 0 => left = left.saturating_sub(n),
                _ => return,
            }
        }
        have = 0;
        // Short requests are reads.
        let reply = match length {
            _ if text.contains("getsharditerator") => &iterator,
            0..1000 => &page,
            _ => &reply,
        };
        if io.write_all(reply).await.is_err() || io.flush().await.is_err() {
            return;
        }
    }
}

/// A `GetRecords` answer of about 5 MB.
fn page() -> Vec<u8> {
    let record = Record {
        sequence_number: "49590338271490256608559692538361571095921575989136588898".into(),
        approximate_arrival_timestamp: Some(Timestamp(1_767_323_045_000)),
        data: vec![7; RECORD].into(),
        partition_key: Some("key-123".into()),
        ..Default::default()
    };
    let answer = GetRecordsResponse {
        records: vec![record; PAGE],
        next_shard_iterator: Some("i".repeat(200)),
        millis_behind_latest: Some(0),
        child_shards: None,
    };
    answer_of(&encode(Format::Cbor, &answer))
}

fn answer_of(body: &[u8]) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-cbor-1.1\r\ncontent-length: ";
    let mut answer = format!("{head}{}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// CPU time of this process in seconds, of all its threads, in user and kernel.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn batch() -> Batch {
    let mut buffer = Vec::new();
    let mut put = |bytes: &[u8]| {
        let start = u32::try_from(buffer.len()).unwrap();
        buffer.extend_from_slice(bytes);
        Span {
            start,
            len: u32::try_from(bytes.len()).unwrap(),
        }
    };
    let mut state = 1u64;
    let index = (0..RECORDS)
        .map(|i| {
            let data: Vec<u8> = (0..RECORD)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    state.to_be_bytes()[0]
                })
                .collect();
            RecordIndex {
                sequence: put(format!("{i}").as_bytes()),
                key: Some(put(format!("key-{i}").as_bytes())),
                data: put(&data),
                arrival: Millis(0),
            }
        })
        .collect();
    let origin = Arc::new(Origin {
        source: "input".into(),
        shard: ShardId::new("shardId-000000000000"),
        hash_range: None,
    });
    Batch::new(origin, buffer.into(), DataForm::Raw, index).unwrap()
}

async fn measure(outputs: usize, megabytes: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port: u16 = lines.next().unwrap().unwrap().parse().unwrap();
    let pem = lines.next().unwrap().unwrap().replace('|', "\n");
    let mut ca = tempfile::NamedTempFile::new().unwrap();
    ca.write_all(pem.as_bytes()).unwrap();

    let settings = TransportSettings::default();
    let transport =
        Arc::new(HttpTransport::with_ca_bundle(Clock::real(), settings, ca.path(), None).unwrap());
    let url = format!("https://localhost:{port}/");
    let rounds = megabytes * 1_000_000 / (RECORDS * RECORD) / outputs;
    let gigabytes = (rounds * outputs * RECORDS * RECORD) as f64 / 1e9;
    println!(
        "{outputs} outputs, {rounds} batches of {RECORDS} x {RECORD} B; CPU-seconds per GB and output"
    );

    let start = cpu();
    floor(
        &pem,
        port,
        outputs,
        rounds,
        RECORDS * (RECORD + 40),
        128 * 1024,
    )
    .await;
    println!(
        "floor (TLS writes, answers read)   {:.3}",
        (cpu() - start) / gigabytes
    );

    let body = Bytes::from(vec![7u8; RECORDS * (RECORD + 40)]);
    let start = cpu();
    each(outputs, |_| {
        let (transport, url, body) = (Arc::clone(&transport), url.clone(), body.clone());
        async move {
            for _ in 0..rounds {
                let body = RequestBody {
                    shared: body.clone(),
                    tail: Bytes::from_static(b"tail"),
                };
                let mut request = http::Request::post(&url).body(body).unwrap();
                // On the connections of the outputs.
                request.extensions_mut().insert(RequestClass::Write);
                transport.call(request, DEADLINE).await.unwrap();
            }
        }
    })
    .await;
    println!(
        "transport alone                    {:.3}",
        (cpu() - start) / gigabytes
    );

    for format in [Format::Cbor, Format::Json] {
        let lanes: Vec<Arc<KinesisOutput>> = (0..outputs)
            .map(|i| {
                let builder = Client::builder(transport.clone())
                    .endpoint(url.clone())
                    .format(format);
                let stream = format!("output{i}").parse().unwrap();
                Arc::new(KinesisOutput::new(
                    builder.build().unwrap(),
                    stream,
                    OutputOptions::default(),
                ))
            })
            .collect();
        let source = Arc::new(batch());
        let start = cpu();
        for _ in 0..rounds {
            let chunk = Arc::new(lanes[0].encode(&source, Picks::Run(0..RECORDS)));
            each(outputs, |i| {
                let (lane, chunk) = (Arc::clone(&lanes[i]), Arc::clone(&chunk));
                let source = Arc::clone(&source);
                async move {
                    assert!(matches!(
                        lane.write(&source, &chunk, DEADLINE).await,
                        Outcome::Durable
                    ));
                }
            })
            .await;
        }
        println!(
            "output, {format:?}                       {:.3}",
            (cpu() - start) / gigabytes
        );
    }
    read_cost(&transport, &pem, port, &url, megabytes).await;
    drop(child.stdin.take());
    child.wait().unwrap();
}

async fn read_cost(
    transport: &Arc<HttpTransport>,
    pem: &str,
    port: u16,
    url: &str,
    megabytes: usize,
) {
    let rounds = megabytes * 1_000_000 / (PAGE * RECORD);
    let gigabytes = (rounds * PAGE * RECORD) as f64 / 1e9;
    println!("{rounds} answers of {PAGE} x {RECORD} B; CPU-seconds per GB");
    let start = cpu();
    floor(pem, port, 1, rounds, 100, PAGE * (RECORD + 200)).await;
    println!(
        "floor (one buffer, used again)     {:.3}",
        (cpu() - start) / gigabytes
    );
    let start = cpu();
    let mut kept = None;
    for _ in 0..rounds {
        let mut request = http::Request::post(url)
            .body(RequestBody::whole(vec![7; 100]))
            .unwrap();
        // On the connection of the source.
        request.extensions_mut().insert(RequestClass::Read);
        let ResponseBody::Full(body) = transport.call(request, DEADLINE).await.unwrap().into_body()
        else {
            panic!("a stream")
        };
        // Like a batch, an answer lives until after the next answer.
        kept = Some(body);
    }
    drop(kept);
    println!(
        "transport alone                    {:.3}",
        (cpu() - start) / gigabytes
    );
    let client = Client::builder(transport.clone())
        .endpoint(url)
        .format(Format::Cbor)
        .build()
        .unwrap();
    let source = KinesisSource::new(client, SOURCE.parse().unwrap());
    let start = cpu();
    let mut reader = source.open(&ShardId::new("shardId-0"), Position::TrimHorizon);
    let mut kept = None;
    for _ in 0..rounds {
        kept = Some(reader.next(Credit { records: 10_000 }).await.unwrap());
    }
    drop(kept);
    println!(
        "reader                             {:.3}",
        (cpu() - start) / gigabytes
    );
}

async fn each<F: Future<Output = ()> + Send + 'static>(n: usize, task: impl Fn(usize) -> F) {
    let tasks: Vec<_> = (0..n).map(|i| tokio::spawn(task(i))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// The same number of bytes as the requests have, and answers read into a buffer: TLS and TCP
/// alone.
async fn floor(pem: &str, port: u16, outputs: usize, rounds: usize, length: usize, answer: usize) {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut request =
        format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n")
            .into_bytes();
    request.resize(request.len() + length, 7);
    let request = Bytes::from(request);
    each(outputs, |_| {
        let (connector, request) = (connector.clone(), request.clone());
        async move {
            let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .unwrap();
            tcp.set_nodelay(true).unwrap();
            let mut io = connector
                .connect("localhost".try_into().unwrap(), tcp)
                .await
                .unwrap();
            let mut buffer = vec![0; answer];
            let mut size = 0;
            for _ in 0..rounds {
                io.write_all(&request).await.unwrap();
                io.flush().await.unwrap();
                let mut have = 0;
                loop {
                    have += io.read(&mut buffer[have..]).await.unwrap();
                    if size == 0
                        && let Some(at) = buffer[..have].windows(4).position(|w| w == b"\r\n\r\n")
                    {
                        let text = String::from_utf8_lossy(&buffer[..at]).into_owned();
                        let length = text.rsplit("content-length: ").next().unwrap();
                        size = at + 4 + length.parse::<usize>().unwrap();
                    }
                    if size > 0 && have >= size {
                        break;
                    }
                }
            }
        }
    })
    .await;
}
