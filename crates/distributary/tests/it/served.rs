//! The real program against an embedded Kinesis that this process serves.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use distributary_kinesis::client::Client;
use distributary_local::Local;
use distributary_local::server::{self, Handle, ServerOptions};
use distributary_wire::types::{
    Blob, GetRecordsRequest, GetShardIteratorRequest, PutRecordsRequest, PutRecordsRequestEntry,
    Record, RecordDistributionStrategy, Shard, ShardIteratorType, StreamMode, StreamModeDetails,
};

/// How long a program may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An embedded Kinesis on a port of its own.
pub(crate) struct Served {
    pub(crate) local: Local,
    pub(crate) client: Client,
    runtime: tokio::runtime::Runtime,
    handle: Option<Handle>,
    endpoint: String,
}

impl Served {
    /// With these streams, by name and number of shards.
    pub(crate) fn new(streams: &[(&str, u32)]) -> Self {
        Self::over(Local::builder().seed(1).build(), streams)
    }

    /// The same, of a server that was set up otherwise.
    pub(crate) fn over(local: Local, streams: &[(&str, u32)]) -> Self {
        for (name, shards) in streams {
            local.create_stream(name, *shards).unwrap();
        }
        let client = Client::builder(Arc::new(local.transport()))
            .build()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let options = ServerOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            ..ServerOptions::default()
        };
        let handle = runtime
            .block_on(server::serve(local.clone(), options))
            .unwrap();
        let endpoint = handle.endpoint();
        Self {
            local,
            client,
            runtime,
            handle: Some(handle),
            endpoint,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.endpoint.trim_start_matches("http://").parse().unwrap()
    }

    /// The program with these arguments, and this server as its endpoint.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = program(args);
        command.env("AWS_ENDPOINT_URL", &self.endpoint);
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        finish(self.command(args), b"")
    }

    /// Runs the program to its end, with this on standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Done {
        finish(self.command(args), input)
    }

    /// Puts records, by key and data, one after the other.
    pub(crate) fn put<D: AsRef<[u8]>>(&self, stream: &str, records: &[(&str, D)]) {
        let entries = records.iter().map(|(key, data)| PutRecordsRequestEntry {
            data: Some(data.as_ref().to_vec().into()),
            partition_key: Some((*key).to_owned()),
            explicit_hash_key: None,
        });
        self.put_entries(stream, &entries.collect::<Vec<_>>());
    }

    /// Puts entries.
    pub(crate) fn put_entries(&self, stream: &str, entries: &[PutRecordsRequestEntry]) {
        for entries in entries.chunks(500) {
            let request = PutRecordsRequest {
                records: Some(entries.to_vec()),
                ..Default::default()
            };
            let answer = self
                .runtime
                .block_on(self.client.on(&stream.parse().unwrap(), request))
                .unwrap()
                .answer;
            assert_eq!(answer.failed_record_count.unwrap_or(0), 0);
        }
    }

    /// Creates a stream that places records by itself.
    pub(crate) fn create_auto(&self, stream: &str) {
        let request = distributary_wire::types::CreateStreamRequest {
            stream_name: Some(stream.to_owned()),
            stream_mode_details: Some(StreamModeDetails {
                stream_mode: Some(StreamMode::OnDemand),
            }),
            record_distribution_strategy: Some(RecordDistributionStrategy::Auto),
            ..Default::default()
        };
        self.runtime.block_on(self.client.call(&request)).unwrap();
    }

    /// Deletes `stream`, and creates it again.
    pub(crate) fn recreate(&self, stream: &str, shards: u32) {
        let request = distributary_wire::types::DeleteStreamRequest {
            stream_name: Some(stream.to_owned()),
            ..Default::default()
        };
        self.runtime.block_on(self.client.call(&request)).unwrap();
        crate::served::until("the deletion", || {
            self.local.create_stream(stream, shards).ok()
        });
    }

    /// Lets records of `stream` be as large as `mebibytes`.
    pub(crate) fn take_records_of(&self, stream: &str, mebibytes: i32) {
        let describe = distributary_wire::types::DescribeStreamSummaryRequest {
            stream_name: Some(stream.to_owned()),
            ..Default::default()
        };
        let described = self.runtime.block_on(self.client.call(&describe)).unwrap();
        let summary = described.answer.stream_description_summary;
        let request = distributary_wire::types::UpdateMaxRecordSizeRequest {
            stream_arn: Some(summary.stream_arn),
            max_record_size_in_kib: Some(mebibytes * 1024),
            ..Default::default()
        };
        self.runtime.block_on(self.client.call(&request)).unwrap();
    }

    /// Splits the shard numbered `shard` in the middle.
    pub(crate) fn split(&self, stream: &str, shard: usize) {
        let shard = self.shards(stream).swap_remove(shard);
        let range = shard.hash_key_range.unwrap();
        let (start, end): (u128, u128) = (
            range.starting_hash_key.parse().unwrap(),
            range.ending_hash_key.parse().unwrap(),
        );
        let request = distributary_wire::types::SplitShardRequest {
            stream_name: Some(stream.to_owned()),
            shard_to_split: Some(shard.shard_id),
            new_starting_hash_key: Some((start + (end - start) / 2).to_string()),
            ..Default::default()
        };
        self.runtime.block_on(self.client.call(&request)).unwrap();
    }

    /// Merges two shards that lie beside each other.
    pub(crate) fn merge(&self, stream: &str, shard: &Shard, adjacent: &Shard) {
        let request = distributary_wire::types::MergeShardsRequest {
            stream_name: Some(stream.to_owned()),
            shard_to_merge: Some(shard.shard_id.clone()),
            adjacent_shard_to_merge: Some(adjacent.shard_id.clone()),
            ..Default::default()
        };
        self.runtime.block_on(self.client.call(&request)).unwrap();
    }

    /// Keeps a stream's records for so many hours.
    pub(crate) fn keep_for(&self, stream: &str, hours: i32) {
        let request = distributary_wire::types::IncreaseStreamRetentionPeriodRequest {
            stream_name: Some(stream.to_owned()),
            retention_period_hours: Some(hours),
            ..Default::default()
        };
        self.runtime.block_on(self.client.call(&request)).unwrap();
    }

    /// Gives a stream a tag.
    pub(crate) fn tag(&self, stream: &str, key: &str, value: &str) {
        let request = distributary_wire::types::AddTagsToStreamRequest {
            stream_name: Some(stream.to_owned()),
            tags: Some([(key.to_owned(), value.to_owned())].into()),
            ..Default::default()
        };
        self.runtime.block_on(self.client.call(&request)).unwrap();
    }

    /// Deletes a stream.
    pub(crate) fn delete(&self, stream: &str) {
        let request = distributary_wire::types::DeleteStreamRequest::default();
        self.runtime
            .block_on(self.client.on(&stream.parse().unwrap(), request))
            .unwrap();
    }

    /// Lets a stream take records of up to so many KiB.
    pub(crate) fn raise_record_size(&self, stream: &str, kib: i32) {
        let summary = self
            .runtime
            .block_on(self.client.describe(&stream.parse().unwrap()))
            .unwrap()
            .answer;
        let request = distributary_wire::types::UpdateMaxRecordSizeRequest {
            stream_arn: Some(summary.arn),
            max_record_size_in_kib: Some(kib),
            ..Default::default()
        };
        self.runtime.block_on(self.client.call(&request)).unwrap();
    }

    /// The shards of a stream.
    pub(crate) fn shards(&self, stream: &str) -> Vec<Shard> {
        self.runtime
            .block_on(self.client.list_shards(&stream.parse().unwrap()))
            .unwrap()
            .answer
    }

    /// The records of each shard of a stream, by calls of the protocol.
    pub(crate) fn read(&self, stream: &str) -> Vec<Vec<Record>> {
        self.shards(stream)
            .into_iter()
            .map(|shard| self.read_shard(stream, &shard.shard_id))
            .collect()
    }

    fn read_shard(&self, stream: &str, shard: &str) -> Vec<Record> {
        let request = GetShardIteratorRequest {
            shard_id: Some(shard.to_owned()),
            shard_iterator_type: Some(ShardIteratorType::TrimHorizon),
            ..Default::default()
        };
        let answer = self
            .runtime
            .block_on(self.client.on(&stream.parse().unwrap(), request))
            .unwrap()
            .answer;
        let mut iterator = answer.shard_iterator;
        let mut all = Vec::new();
        while let Some(at) = iterator.take() {
            let request = GetRecordsRequest {
                shard_iterator: Some(at),
                ..Default::default()
            };
            let answer = self
                .runtime
                .block_on(self.client.call(&request))
                .unwrap()
                .answer;
            if answer.records.is_empty() {
                break;
            }
            all.extend(answer.records);
            iterator = answer.next_shard_iterator;
        }
        all
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.runtime.block_on(handle.shutdown());
        }
    }
}

/// Key and data of a record.
pub(crate) fn pair(record: &Record) -> (&str, &[u8]) {
    let Blob(data) = &record.data;
    (record.partition_key.as_deref().unwrap_or_default(), data)
}

/// The program, with nothing in its environment that could lead it elsewhere.
pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_distributary"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("AWS_")
            || name.starts_with("DISTRIBUTARY_")
            || name.to_lowercase().ends_with("_proxy")
        {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "x")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .args(args);
    command
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Done {
    /// Its standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Its lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    /// Itself, if it ended with `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Self {
            code: output.status.code(),
            out: output.stdout,
            err,
        }
    }
}

/// Runs a program to its end.
pub(crate) fn finish(command: Command, input: &[u8]) -> Done {
    let mut running = Running::start(command);
    let mut stdin = running.child.stdin.take().unwrap();
    // What the program does not read is lost on it.
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let done = running.wait();
    writer.join().unwrap();
    done
}

/// A program that runs; killed if a test fails before its end.
pub(crate) struct Running {
    pub(crate) child: Child,
}

impl Running {
    /// Starts it with pipes to all three.
    pub(crate) fn start(mut command: Command) -> Self {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Sends it a signal, such as `INT`.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Done {
        let read = |from: Option<Box<dyn std::io::Read + Send>>| {
            std::thread::spawn(move || {
                let mut all = Vec::new();
                if let Some(mut from) = from {
                    from.read_to_end(&mut all).unwrap();
                }
                all
            })
        };
        let out = read(self.child.stdout.take().map(|o| Box::new(o) as _));
        let err = read(self.child.stderr.take().map(|e| Box::new(e) as _));
        let status = until("the program's end", || self.child.try_wait().unwrap());
        let (out, err) = (out.join().unwrap(), err.join().unwrap());
        Done {
            code: status.code(),
            out,
            err: String::from_utf8_lossy(&err).into_owned(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `look` finds something.
#[track_caller]
// A test waits for another process, in real time.
#[allow(clippy::disallowed_methods)]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A directory that is gone at the end.
pub(crate) fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    (dir, path)
}
