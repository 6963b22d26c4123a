//! Files of the output kind `file`, read back: for the comparison of a copy with its source.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::{Batch, Origin, ShardId};
use distributary_core::checkpoint::Position;
use distributary_core::clock::{Clock, Millis};
use distributary_core::output::{Trouble, TroubleKind};
use distributary_core::record::{DataForm, RecordIndex, Span};
use distributary_core::source::{
    Credit, Fetched, Read, ReadLimits, ServerTime, Shard, ShardReader, Source, SourceError,
    SourceFacts, StreamIdentity,
};
use serde::Deserialize;

/// Bytes of lines in one read, but for a single longer line.
const READ_BYTES: usize = 4 << 20;
/// Records in one read.
const READ_RECORDS: u32 = 10_000;
/// A file keeps records for ever; a century is as good.
const KEPT: Duration = Duration::from_secs(100 * 365 * 86_400);
/// A moment after every record.
const END: Millis = Millis(i64::MAX);

/// The lines of a file in the format `record`, and of the files of earlier rotations.
///
/// Each file is a closed shard, and the file before is the parent. A sequence number is the offset
/// behind a line. The rest of a line that is still being written is not read.
#[derive(Clone, Debug)]
pub struct LineFiles {
    path: PathBuf,
    clock: Clock,
}

impl LineFiles {
    /// The file at `path`. No I/O.
    pub fn new(path: PathBuf, clock: Clock) -> Self {
        Self { path, clock }
    }

    /// The rotated files, the oldest one first, and the file itself.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };

        let mut rotated = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if let Some(key) = rotation(&name, &path) {
                rotated.push((key, path));
            }
        }
        rotated.sort();

        let mut files: Vec<PathBuf> = rotated.into_iter().map(|(_, path)| path).collect();
        if fs::exists(&self.path)? || files.is_empty() {
            files.push(self.path.clone());
        }
        Ok(files)
    }
}

/// Time and number of the rotated file at `path`: the name is `NAME.TIME` or `NAME.TIME.NUMBER`.
fn rotation(name: &str, path: &Path) -> Option<(String, u32)> {
    let other = path.file_name()?.to_str()?;
    let ending = other.strip_prefix(name)?.strip_prefix('.')?;
    // 2026-01-31T00-00-00.123Z
    let (time, rest) = ending.split_at_checked(24)?;
    let is_time = time.ends_with('Z') && time.as_bytes()[10] == b'T';

    let number = match rest.strip_prefix('.') {
        Some(number) => number.parse().ok()?,
        None if rest.is_empty() => 0,
        None => return None,
    };
    is_time.then(|| (time.to_owned(), number))
}

/// Runs a step that waits for the disk.
async fn blocking<T: Send + 'static>(
    path: &Path,
    step: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(step).await;
    done.map_err(io::Error::other).flatten().map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => TroubleKind::Missing,
            io::ErrorKind::PermissionDenied => TroubleKind::Denied,
            _ => TroubleKind::Invalid,
        };
        Trouble::new(kind, format!("{}: {error}", path.display()))
    })
}

#[async_trait]
impl Source for LineFiles {
    async fn facts(&self) -> Result<SourceFacts, SourceError> {
        let path = self.path.clone();
        let path = blocking(&self.path, move || fs::canonicalize(path)).await?;
        let now = self.clock.wall();
        Ok(SourceFacts {
            identity: StreamIdentity {
                arn: path.display().to_string(),
                created: None,
            },
            retention: KEPT,
            time: ServerTime {
                earliest: now,
                latest: now.plus(Duration::from_millis(1)),
            },
            limits: ReadLimits {
                calls: NonZeroU32::MAX,
                per: Duration::from_secs(1),
                bytes_per_second: None,
                answer_records: READ_RECORDS,
                answer_bytes: 2 * READ_BYTES,
                ingest_bytes_per_second: READ_BYTES,
            },
        })
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        let files = self.clone();
        let files = blocking(&self.path, move || files.files()).await?;
        let id = |path: &PathBuf| ShardId::new(&path.display().to_string());
        let parents = std::iter::once(Vec::new()).chain(files.iter().map(|path| vec![id(path)]));
        let shards = files.iter().zip(parents).map(|(path, parents)| Shard {
            id: id(path),
            parents,
            hash_range: None,
            start: None,
            closed: true,
        });
        Ok(shards.collect())
    }

    fn open(&self, shard: &ShardId, position: Position) -> Box<dyn ShardReader> {
        let offset = match position {
            Position::After { sequence, .. } => sequence.as_str().parse().unwrap_or(0),
            _ => 0,
        };
        Box::new(Reader {
            path: PathBuf::from(shard.as_str()),
            offset,
        })
    }
}

struct Reader {
    path: PathBuf,
    /// The offset behind the last line that was read.
    offset: u64,
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self, credit: Credit) -> Result<Read, SourceError> {
        let (path, offset) = (self.path.clone(), self.offset);
        let read = move || Lines::read(&path, offset, credit.records);
        let lines = blocking(&self.path, read).await?;
        if lines.records.is_empty() {
            let children = Vec::new();
            return Ok(Read {
                fetched: Fetched::Closed { children },
                behind: Duration::ZERO,
                complete_until: END,
            });
        }

        self.offset = lines.end;
        Ok(Read {
            fetched: Fetched::Batch(lines.batch(&self.path)?),
            behind: Duration::ZERO,
            complete_until: Millis(0),
        })
    }
}

fn not_a_record(offset: u64, error: &serde_json::Error) -> io::Error {
    io::Error::other(format!(
        "the line at byte {offset} is not a record ({error}); only files of format = \"record\" can \
         be compared"
    ))
}

/// Lines that were read, as the parts of a batch.
struct Lines {
    buffer: Vec<u8>,
    records: Vec<RecordIndex>,
    /// The offset behind the last line.
    end: u64,
}

/// The parts of a line that are compared.
#[derive(Deserialize)]
struct Line {
    kinesis: Payload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    partition_key: Option<String>,
    data: String,
    approximate_arrival_timestamp: f64,
}

impl Lines {
    fn read(path: &Path, offset: u64, most: u32) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut file = BufReader::new(file);
        let mut lines = Self {
            buffer: Vec::new(),
            records: Vec::new(),
            end: offset,
        };
        let mut text = Vec::new();
        while lines.records.len() < most as usize && lines.buffer.len() < READ_BYTES {
            text.clear();
            file.read_until(b'\n', &mut text)?;
            if text.last() != Some(&b'\n') {
                break;
            }

            let line = serde_json::from_slice(&text);
            let line = line.map_err(|error| not_a_record(lines.end, &error))?;
            lines.add(&line, text.len() as u64)?;
        }
        Ok(lines)
    }

    fn add(&mut self, Line { kinesis }: &Line, length: u64) -> io::Result<()> {
        self.end += length;
        // Arrival times are whole milliseconds.
        #[allow(clippy::cast_possible_truncation)]
        let arrival = Millis((kinesis.approximate_arrival_timestamp * 1_000.0).round() as i64);
        let sequence = self.end.to_string();
        let key = kinesis.partition_key.as_ref();
        let index = RecordIndex {
            sequence: self.part(&sequence)?,
            key: key.map(|key| self.part(key)).transpose()?,
            data: self.part(&kinesis.data)?,
            arrival,
        };
        self.records.push(index);
        Ok(())
    }

    fn part(&mut self, text: &str) -> io::Result<Span> {
        let length = |n: usize| u32::try_from(n).map_err(io::Error::other);
        let span = Span {
            start: length(self.buffer.len())?,
            len: length(text.len())?,
        };
        self.buffer.extend_from_slice(text.as_bytes());
        Ok(span)
    }

    fn batch(self, path: &Path) -> Result<Batch, Trouble> {
        let name = path.display().to_string();
        let origin = Origin {
            source: name.as_str().into(),
            shard: ShardId::new(&name),
            hash_range: None,
        };
        let batch = Batch::new(
            Arc::new(origin),
            self.buffer.into(),
            DataForm::Base64,
            self.records,
        );
        batch.map_err(|error| {
            let message = format!("{name}: a line is not a record");
            Trouble::new(TroubleKind::Invalid, message).caused_by(error)
        })
    }
}
