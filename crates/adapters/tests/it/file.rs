//! Outputs of the kind `file`: whole lines, rotation, and one writer for one file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64_simd::STANDARD;
use bytes::Bytes;
use distributary_adapters::kind::{BuildContext, Ending, Severity, Surroundings, find};
use distributary_adapters::outputs::{KINDS, OutputSettings};
use distributary_core::batch::{Batch, Origin, ShardId};
use distributary_core::clock::{Clock, Millis};
use distributary_core::output::{Outcome, Output, Picks};
use distributary_core::record::{DataForm, RecordIndex, Span};
use distributary_core::testing::conformance::{self, OutputRig, Seen};
use distributary_core::testing::hash;
use distributary_kinesis::config::Connector;
use serde_json::Value;

pub(crate) fn context() -> BuildContext {
    let clock = Clock::real();
    BuildContext {
        connector: Arc::new(Connector::new(clock.clone()).unwrap()),
        clock,
        surroundings: Surroundings::default(),
        like: None,
        ending: Ending::default(),
    }
}

fn settings(path: &Path, keys: &str) -> OutputSettings {
    let mut table: toml::Table = keys.parse().unwrap();
    table.insert("path".to_owned(), path.to_str().unwrap().into());
    find(KINDS, "file").unwrap().parse(table).unwrap()
}

async fn output(path: &Path, keys: &str) -> Arc<dyn Output> {
    settings(path, keys).build(&context()).await.unwrap().output
}

/// A batch of records with these data, whose key is `k`.
pub(crate) fn batch(data: &[&str]) -> Batch {
    let mut buffer = Vec::new();
    let mut add = |text: &str| {
        let start = u32::try_from(buffer.len()).unwrap();
        buffer.extend_from_slice(text.as_bytes());
        Span {
            start,
            len: u32::try_from(text.len()).unwrap(),
        }
    };
    let records = data.iter().enumerate().map(|(i, data)| RecordIndex {
        sequence: add(&format!("{}", 100 + i)),
        key: Some(add("k")),
        data: add(data),
        arrival: Millis(1_769_817_600_123),
    });
    let records = records.collect();
    let origin = Arc::new(Origin {
        source: "arn:aws:kinesis:eu-west-1:123456789012:stream/input".into(),
        shard: ShardId::new("shardId-000000000002"),
        hash_range: None,
    });
    Batch::new(origin, Bytes::from(buffer), DataForm::Raw, records).unwrap()
}

async fn write(output: &dyn Output, data: &[&str]) -> Outcome {
    let batch = batch(data);
    let chunk = output.encode(&batch, Picks::Run(0..data.len()));
    output.write(&batch, &chunk, Duration::from_secs(10)).await
}

async fn written(output: &dyn Output, data: &[&str]) {
    let outcome = write(output, data).await;
    assert!(matches!(outcome, Outcome::Durable), "{outcome:?}");
}

struct Rig {
    path: PathBuf,
    output: Arc<dyn Output>,
}

#[async_trait]
impl OutputRig for Rig {
    fn output(&self) -> Arc<dyn Output> {
        Arc::clone(&self.output)
    }

    async fn received(&self) -> Result<Vec<Seen>, String> {
        let text = fs::read_to_string(&self.path).map_err(|error| error.to_string())?;
        let seen = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let record = &line["kinesis"];
            let data = record["data"].as_str().unwrap();
            Seen {
                key: record["partitionKey"].as_str().map(str::to_owned),
                digest: hash(&STANDARD.decode_to_vec(data).unwrap()),
            }
        });
        Ok(seen.collect())
    }
}

#[tokio::test]
async fn a_file_does_what_every_output_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    let rig = Rig {
        output: output(&path, "").await,
        path,
    };
    assert_eq!(conformance::output(&rig).await, Ok(()));
}

#[tokio::test]
async fn a_line_is_a_record_of_a_lambda_event() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    written(&*output(&path, "").await, &["hello"]).await;
    let line: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let expected = serde_json::json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "k",
            "sequenceNumber": "100",
            "data": "aGVsbG8=",
            "approximateArrivalTimestamp": 1_769_817_600.123,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "shardId-000000000002:100",
        "eventName": "aws:kinesis:record",
        "awsRegion": "eu-west-1",
        "eventSourceARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/input",
    });
    assert_eq!(line, expected);
}

#[tokio::test]
async fn lines_are_appended_and_a_torn_one_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    fs::write(&path, "old\nto").unwrap();
    written(&*output(&path, "format = \"raw\"").await, &["new"]).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "old\nnew\n");

    // Longer than the blocks in which the file is searched for a newline.
    let path = dir.path().join("b.txt");
    fs::write(&path, format!("old\n{}", "x".repeat(200_000))).unwrap();
    written(&*output(&path, "format = \"raw\"").await, &["new"]).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "old\nnew\n");
}

#[tokio::test]
async fn full_files_are_renamed_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    let keys = "format = \"raw\"\nrotate-size = \"10B\"";
    let output = output(&path, keys).await;
    let data: Vec<String> = (0..40).map(|i| format!("line {i:02}")).collect();
    for line in &data {
        written(&*output, &[line]).await;
    }

    let mut files: Vec<PathBuf> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 40);
    // One line a file: the last one has the plain name, the others a time, perhaps with a number.
    files.sort_by_key(|file| fs::read_to_string(file).unwrap());
    let lines: Vec<String> = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    assert_eq!(lines.concat(), format!("{}\n", data.join("\n")));
    assert_eq!(files.last(), Some(&path));
    let rotated = files[0].file_name().unwrap().to_str().unwrap();
    assert!(rotated.starts_with("a.txt.20"), "{rotated}");
}

#[tokio::test]
async fn old_files_are_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    let keys = "format = \"raw\"\nrotate-interval = \"50ms\"";
    let output = output(&path, keys).await;
    written(&*output, &["one"]).await;
    Clock::real().sleep(Duration::from_millis(60)).await;
    written(&*output, &["two"]).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn a_file_has_one_writer_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    let first = output(&path, "format = \"raw\"").await;
    written(&*first, &["one"]).await;
    let second = output(&path, "format = \"raw\"").await;
    let outcome = write(&*second, &["two"]).await;
    let Outcome::Rejected(trouble) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(trouble.message.contains("in use by another"), "{trouble}");

    drop(first);
    while !matches!(write(&*second, &["two"]).await, Outcome::Durable) {
        Clock::real().sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
}

#[tokio::test]
async fn many_lanes_write_whole_lines_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    let output = output(&path, "format = \"raw\"").await;
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..8 {
        let output = Arc::clone(&output);
        lanes.spawn(async move {
            for i in 0..20 {
                let line = format!("{lane} {i:02}");
                written(&*output, &[&line, &line]).await;
            }
        });
    }
    lanes.join_all().await;

    let text = fs::read_to_string(&path).unwrap();
    for lane in 0..8 {
        let prefix = format!("{lane} ");
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with(&prefix)).collect();
        assert_eq!(lines.len(), 40);
        assert!(lines.is_sorted());
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_reported_before_the_start() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("missing/a.txt"), dir.path().to_owned()] {
        let failed = settings(&path, "").build(&context()).await;
        let error = failed.err().unwrap();
        assert!(error.to_string().contains("check the path"), "{error}");
        let findings = settings(&path, "").check(&context()).await;
        assert_eq!(findings[0].severity, Severity::Failure);
    }
    let fine = settings(&dir.path().join("a.txt"), "");
    assert_eq!(fine.check(&context()).await[0].severity, Severity::Fine);
    assert!(!dir.path().join("a.txt").exists());
}
