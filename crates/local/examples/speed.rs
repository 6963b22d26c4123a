//! Measures the speed of the server: records of 1 KiB in batches of 500 over one connection of
//! plain HTTP, with the server in another process.
//!
//! Usage: `speed [MiB] [shards] [directory]`. Starts the server, then prints MB/s, the server's CPU
//! seconds per GB in and out, the server's memory against the data, and the time from a put until a
//! subscriber has the record. With a directory the server keeps the records on disk, too.

// A measurement reads the real clock and may panic.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use distributary_local::Local;
use distributary_local::server::{ServerOptions, serve};
use distributary_wire::codec::{self, Format};
use distributary_wire::hot::{Data, Entry, GetRecordsAnswer, PutRecordsBuilder, StreamRef, tail};
use distributary_wire::types::*;

/// Bytes of a record.
const RECORD: usize = 1024;
/// Records of a batch.
const BATCH: usize = 500;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|a| a == "--serve") {
        return server(args[2].parse().unwrap(), args.get(3));
    }
    let number = |at: usize, default: usize| args.get(at).map_or(default, |a| a.parse().unwrap());
    measure(number(1, 1024), number(2, 4), args.get(3));
}

fn server(shards: u32, dir: Option<&String>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let local = match dir {
            None => Local::builder().build(),
            Some(dir) => Local::builder().open(dir).unwrap(),
        };
        local.create_stream("s", shards).unwrap();
        let options = ServerOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            ..ServerOptions::default()
        };
        let handle = serve(local, options).await.unwrap();
        println!("{}", handle.local_addr());
        std::future::pending::<()>().await;
    });
}

/// The server process.
struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(shards: usize, dir: Option<String>) -> Self {
        let me = std::env::current_exe().unwrap();
        let mut command = Command::new(me);
        command
            .arg("--serve")
            .arg(shards.to_string())
            .args(dir)
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            child,
            addr: line.trim().parse().unwrap(),
        }
    }

    /// CPU seconds of the process since the start.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        ticks as f64 / 100.0
    }

    /// Resident bytes of the process.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        status
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 4096
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A connection that sends prepared requests and reads whole answers.
struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            socket,
            buffer: vec![0; 16 << 20],
        }
    }

    fn head(target: &str, format: Format, length: usize) -> String {
        format!(
            "POST / HTTP/1.1\r\nhost: l\r\ncontent-type: {}\r\n\
             x-amz-target: Kinesis_20131202.{target}\r\ncontent-length: {length}\r\n\r\n",
            format.content_type()
        )
    }

    /// Sends a request and returns the body of the answer.
    fn call(&mut self, target: &str, format: Format, body: &[u8]) -> &[u8] {
        self.socket
            .write_all(Self::head(target, format, body.len()).as_bytes())
            .unwrap();
        self.socket.write_all(body).unwrap();
        let mut have = 0;
        loop {
            have += self.socket.read(&mut self.buffer[have..]).unwrap();
            let head = self.buffer[..have]
                .windows(4)
                .position(|w| w == b"\r\n\r\n");
            let Some(head) = head else { continue };
            let text = std::str::from_utf8(&self.buffer[..head]).unwrap();
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
            let length = text
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "))
                .unwrap();
            let end = head + 4 + length.parse::<usize>().unwrap();
            while have < end {
                have += self.socket.read(&mut self.buffer[have..]).unwrap();
            }
            return &self.buffer[head + 4..end];
        }
    }
}

fn batch(format: Format, seed: usize) -> Vec<u8> {
    let mut body = PutRecordsBuilder::new(format, BytesMut::new(), BATCH);
    let data: Vec<u8> = (0..RECORD - 16).map(|i| (i * 31 + seed) as u8).collect();
    for i in 0..BATCH {
        let key = format!("{:016x}", (seed * BATCH + i) * 0x9e37_79b9);
        let key = Some(&key[..16]);
        body.push(&Entry {
            key,
            explicit_hash_key: None,
            data: Data::Raw(&data),
        })
        .unwrap();
    }

    let shared = body.finish();
    [&shared.bytes[..], &tail(format, StreamRef::Name("s"))].concat()
}

fn measure(mib: usize, shards: usize, dir: Option<&String>) {
    for format in [Format::Cbor, Format::Json] {
        let server = Server::start(shards, dir.map(|dir| format!("{dir}/{format:?}")));
        let mut connection = Connection::open(server.addr);
        let empty = server.memory();
        let batches: Vec<Vec<u8>> = (0..16).map(|i| batch(format, i)).collect();
        let total = mib << 20;
        let count = total / (RECORD * BATCH);
        let bytes = (count * BATCH * RECORD) as f64;
        for part in 0..2 {
            let (cpu, start) = (server.cpu(), Instant::now());
            for i in part * count / 2..(part + 1) * count / 2 {
                connection.call("PutRecords", format, &batches[i % batches.len()]);
            }
            let (took, cpu) = (start.elapsed().as_secs_f64(), server.cpu() - cpu);
            println!(
                "{format:?} in, half {part}: {:.0} MB/s, {:.2} CPU-s/GB",
                bytes / 2.0 / took / 1e6,
                cpu / (bytes / 2.0 / 1e9)
            );
        }

        let held = server.memory() - empty;
        println!(
            "{format:?} memory: {:.3} x the data ({} records)",
            held as f64 / bytes,
            count * BATCH
        );

        let (cpu, start) = (server.cpu(), Instant::now());
        let read = read_all(&mut connection, format, shards);
        let (took, cpu) = (start.elapsed().as_secs_f64(), server.cpu() - cpu);
        assert_eq!(read, count * BATCH);
        println!(
            "{format:?} out: {:.0} MB/s, {:.2} CPU-s/GB",
            bytes / took / 1e6,
            cpu / (bytes / 1e9)
        );

        push(&server, format);
    }
}

fn iterator(connection: &mut Connection, format: Format, shard: usize) -> String {
    let request = GetShardIteratorRequest {
        stream_name: Some("s".into()),
        shard_id: Some(format!("shardId-{shard:012}")),
        shard_iterator_type: Some(ShardIteratorType::TrimHorizon),
        ..Default::default()
    };

    let answer = connection.call("GetShardIterator", format, &codec::encode(format, &request));
    codec::decode_answer::<GetShardIteratorResponse>(format, answer)
        .unwrap()
        .shard_iterator
        .unwrap()
}

/// Reads all shards to the tip, a full page at a time. Returns the number of records.
fn read_all(connection: &mut Connection, format: Format, shards: usize) -> usize {
    let mut records = 0;
    for shard in 0..shards {
        let mut at = iterator(connection, format, shard);
        loop {
            let request = GetRecordsRequest {
                shard_iterator: Some(at.clone()),
                ..Default::default()
            };
            let body = codec::encode(format, &request);
            let answer = Bytes::copy_from_slice(connection.call("GetRecords", format, &body));
            let answer = GetRecordsAnswer::parse(format, answer).unwrap();
            if answer.records.is_empty() {
                break;
            }
            records += answer.records.len();
            at = answer.next_shard_iterator.unwrap();
        }
    }

    records
}

/// Puts single records and measures the time until a subscriber of shard 0 has each.
fn push(server: &Server, format: Format) {
    let mut connection = Connection::open(server.addr);
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let register = RegisterStreamConsumerRequest {
        stream_arn: Some(arn.into()),
        consumer_name: Some("c".into()),
        ..Default::default()
    };

    let answer = connection.call(
        "RegisterStreamConsumer",
        format,
        &codec::encode(format, &register),
    );

    let consumer: RegisterStreamConsumerResponse = codec::decode_answer(format, answer).unwrap();
    let subscribe = SubscribeToShardRequest {
        consumer_arn: Some(consumer.consumer.consumer_arn),
        shard_id: Some("shardId-000000000000".into()),
        starting_position: Some(StartingPosition {
            kind: Some(ShardIteratorType::Latest),
            ..Default::default()
        }),
        ..Default::default()
    };

    let body = codec::encode(format, &subscribe);
    let mut pushed = TcpStream::connect(server.addr).unwrap();
    pushed.set_nodelay(true).unwrap();
    pushed
        .write_all(Connection::head("SubscribeToShard", format, body.len()).as_bytes())
        .unwrap();
    pushed.write_all(&body).unwrap();
    let mut subscription = Pushed {
        socket: pushed,
        buffer: Vec::new(),
    };
    // Skips the headers, the initial response and the first event, which has no records.
    subscription.wait_for(b"ContinuationSequenceNumber");
    let mut times: Vec<f64> = (0..1000_u32)
        .map(|i| {
            let mut data = vec![7; RECORD];
            let mark = format!("mark {i:010}");
            data[..mark.len()].copy_from_slice(mark.as_bytes());
            // With JSON the data start with the base64 of the mark.
            let sought = match format {
                Format::Cbor => mark.as_bytes().to_vec(),
                Format::Json => {
                    codec::encode(format, &Blob::from(mark.into_bytes()))[1..20].to_vec()
                }
            };
            let put = PutRecordRequest {
                stream_name: Some("s".into()),
                data: Some(data.into()),
                partition_key: Some("k".into()),
                explicit_hash_key: Some("0".into()),
                ..Default::default()
            };
            let body = codec::encode(format, &put);
            let start = Instant::now();
            connection.call("PutRecord", format, &body);
            subscription.wait_for(&sought);
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{format:?} put until pushed: p50 {:.2} ms, p99 {:.2} ms",
        times[500], times[990]
    );
}

/// The connection of a subscription.
struct Pushed {
    socket: TcpStream,
    /// Bytes that were read and not searched yet.
    buffer: Vec<u8>,
}

impl Pushed {
    /// Reads until the bytes `sought` have come, and drops all bytes up to these.
    fn wait_for(&mut self, sought: &[u8]) {
        let mut chunk = [0; 64 * 1024];
        loop {
            if let Some(at) = self.buffer.windows(sought.len()).position(|w| w == sought) {
                self.buffer.drain(..at + sought.len());
                return;
            }
            let read = self.socket.read(&mut chunk).unwrap();
            assert!(read > 0, "the subscription ended");
            self.buffer.extend_from_slice(&chunk[..read]);
        }
    }
}
