//! The kind `file`: lines in a file, with rotation.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use distributary_core::clock::{Clock, Instant, Millis};
use distributary_core::output::KeepsOrder;
use serde::Deserialize;
use toml::Table;

use super::{BuiltOutput, OutputKind};
use crate::keys::{Absent, Form, Key};
use crate::kind::{BuildContext, BuildError, Finding, Severity, Surroundings, Target};
use crate::lines::{self, LineFormat, LineOutput, Sink, WriteError};
use crate::values::{Expected, Size, Span};

/// Bytes that are read at a time in search of the last whole line.
const BLOCK: u64 = 64 << 10;
/// Names that are tried for a rotated file before an error.
const ROTATED_NAMES: u32 = 1_000;

/// The error for devices, pipes and folders.
const NOT_REGULAR: &str = "not a regular file; name another path";

/// The settings of one file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    path: PathBuf,
    #[serde(default, deserialize_with = "lines::format")]
    format: LineFormat,
    rotate_size: Option<Size>,
    rotate_interval: Option<Span>,
}

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "file";
    const SUMMARY: &'static str = "Lines in a file on this machine. A record is durable after \
        fsync; one fsync covers the lines of all shards that wait. Lines are appended; the rest of \
        a line that a crash cut off is removed at the next start. `--to file:PATH`.";
    const DEAD_LETTER_DEFAULTS: &'static [(&'static str, &'static str)] =
        &[("format", "raw"), ("rotate-size", "64MiB")];
    const KEYS: &'static [Key] = &[
        Key {
            name: "path",
            form: Form::Path,
            absent: Absent::Required,
            help: "File to append to; created if missing, in a folder that exists",
            example: "orders.jsonl",
        },
        lines::FORMAT,
        Key {
            name: "rotate-size",
            form: Form::Size,
            absent: Absent::Default("do not"),
            help: "Start a new file before this one would grow larger; the old one gets the time \
                   of the rotation behind the name, and is never overwritten",
            example: "1GiB",
        },
        Key {
            name: "rotate-interval",
            form: Form::Span,
            absent: Absent::Default("do not"),
            help: "Start a new file for the first record after this time",
            example: "1h",
        },
    ];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        if rest.is_empty() {
            return Err(Expected::new(
                "file needs a path: file:PATH; a stream called file is written kinesis:file",
            ));
        }

        let mut table = Table::new();
        table.insert("path".to_owned(), rest.into());
        Ok(table)
    }

    fn default_name(&self) -> String {
        let name = self.path.file_name().map(|name| name.to_string_lossy());
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let name: String = name.unwrap_or_default().chars().filter(allowed).collect();
        match name.as_str() {
            "" => "file".to_owned(),
            _ => name.chars().take(128).collect(),
        }
    }

    fn target(&self, _surroundings: &Surroundings) -> Target {
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        Target {
            text: format!("file {}", path.display()),
            exclusive: true,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        KeepsOrder::PerKey
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        if self.path.file_name().is_none() {
            return vec![format!("path {} names no file", self.path.display())];
        }
        Vec::new()
    }

    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        let failed = |source: io::Error| BuildError::System {
            message: format!(
                "cannot write to the file {}; check the path and its permissions",
                self.path.display()
            ),
            source,
        };
        let path = self.path.clone();
        let probed = tokio::task::spawn_blocking(move || {
            probe(&path)?;
            let folder = fs::canonicalize(folder_of(&path))?;
            Ok(folder.join(path.file_name().unwrap_or_default()))
        });
        let place = probed
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(failed)?;

        let log = Log {
            settings: self.clone(),
            clock: context.clock.clone(),
            current: None,
        };
        let name = self.path.display().to_string();
        let output = LineOutput::start(name, self.format, context.clock.clone(), log);
        Ok(BuiltOutput {
            output: Arc::new(output.map_err(failed)?),
            pump: None,
            identity: place.display().to_string(),
        })
    }

    async fn check(&self, _context: &BuildContext) -> Vec<Finding> {
        let path = self.path.clone();
        let checked = tokio::task::spawn_blocking(move || probe(&path)).await;
        let (severity, finding) = match checked.map_err(io::Error::other).flatten() {
            Ok(finding) => (Severity::Fine, finding.to_owned()),
            Err(error) => (Severity::Failure, error.to_string()),
        };

        vec![Finding {
            subject: self.path.display().to_string(),
            finding,
            severity,
            advice: advice_for(severity).to_owned(),
        }]
    }
}

fn advice_for(severity: Severity) -> &'static str {
    match severity {
        Severity::Failure => "check the path and its permissions",
        Severity::Fine | Severity::Warning => "",
    }
}

/// Looks whether a file can be appended to, or created, and changes nothing.
fn probe(path: &Path) -> io::Result<&'static str> {
    match OpenOptions::new().append(true).open(path) {
        Ok(file) if file.metadata()?.is_file() => return Ok("can be appended to"),
        Ok(_) => return Err(io::Error::other(NOT_REGULAR)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }

    let folder = fs::metadata(folder_of(path))?;
    if folder.permissions().readonly() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok("does not exist; it is created at the start")
}

/// The file that is appended to. Opened with the first line, so that an output that replaces
/// another one of the same path waits until that one has let go of the file.
struct Log {
    settings: Settings,
    clock: Clock,
    current: Option<Current>,
}

/// An open file.
struct Current {
    file: File,
    /// Bytes of whole, durable lines.
    length: u64,
    /// The time of the first line in this file, or of opening a file with lines.
    since: Option<Instant>,
}

impl Current {
    fn open(path: &Path, clock: &Clock) -> io::Result<Self> {
        let file = open(path)?;
        let length = whole_lines(&file, path)?;
        Ok(Self {
            since: (length > 0).then(|| clock.now()),
            file,
            length,
        })
    }

    /// True if `bytes` more bytes belong in a new file.
    fn is_full(&self, bytes: u64, settings: &Settings, now: Instant) -> bool {
        let large = settings
            .rotate_size
            .is_some_and(|Size(limit)| self.length.saturating_add(bytes) > limit as u64);
        let old = match (settings.rotate_interval, self.since) {
            (Some(Span(limit)), Some(since)) => now.since(since) >= limit,
            _ => false,
        };
        self.length > 0 && (large || old)
    }

    /// Appends all texts and syncs them; `length` does not change.
    fn append(&mut self, texts: &[Arc<Vec<u8>>]) -> io::Result<()> {
        for text in texts {
            self.file.write_all(text)?;
        }
        self.file.sync_data()
    }

    /// Removes lines that were not acknowledged.
    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.sync_data()
    }
}

impl Log {
    /// The open file, a new one if `bytes` more bytes belong there.
    fn ready(&mut self, bytes: u64) -> io::Result<Current> {
        let path = &self.settings.path;
        let current = match self.current.take() {
            Some(current) => current,
            None => Current::open(path, &self.clock)?,
        };
        if !current.is_full(bytes, &self.settings, self.clock.now()) {
            return Ok(current);
        }

        let rotated = free_name(path, &self.clock)?;
        fs::rename(path, &rotated)?;
        Current::open(path, &self.clock)
    }
}

impl Sink for Log {
    fn write(&mut self, texts: &[Arc<Vec<u8>>]) -> Result<(), WriteError> {
        let bytes = texts.iter().map(|text| text.len() as u64).sum();
        let mut current = self.ready(bytes).map_err(WriteError::Nothing)?;
        if let Err(error) = current.append(texts) {
            // An error says nothing about the lines in the file: they are removed, and the file is
            // opened anew.
            let is_cut = current.cut().is_ok();
            let reason = if is_cut {
                WriteError::Nothing
            } else {
                WriteError::Unknown
            };
            return Err(reason(error));
        }

        current.length += bytes;
        current.since.get_or_insert_with(|| self.clock.now());
        self.current = Some(current);
        Ok(())
    }
}

/// Opens the file for appending, and locks it against other processes.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    lock(&file)?;

    // Renamed by the process that had the lock: a rotated file.
    let (locked, named) = (file.metadata()?, fs::metadata(path)?);
    if (locked.dev(), locked.ino()) != (named.dev(), named.ino()) {
        return Err(io::Error::other("the file was rotated by another process"));
    }
    File::open(folder_of(path))?.sync_all()?;
    Ok(file)
}

/// Locks a file against other processes, and against an output of this process that holds the file.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(io::Error::other(
            "in use by another process; stop that one, or name another path",
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The length of the file's whole lines; the rest of a line that a crash cut off is removed. The
/// records were never acknowledged, so they are sent again.
fn whole_lines(file: &File, path: &Path) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let whole = end_of_last_line(file, length)?;
    if whole < length {
        tracing::warn!(
            path = %path.display(),
            bytes = length - whole,
            "removed the rest of a line that was cut off"
        );
        file.set_len(whole)?;
        file.sync_data()?;
    }
    Ok(whole)
}

/// The offset behind the last newline before `length`; 0 if there is none.
fn end_of_last_line(mut file: &File, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(newline) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// A moment as part of a name. Colons are not allowed in names on every file system.
fn time_for_name(moment: Millis) -> String {
    let millis = u64::try_from(moment.0).unwrap_or(0);
    let time = UNIX_EPOCH + Duration::from_millis(millis);
    let text = humantime::format_rfc3339_millis(time);
    text.to_string().replace(':', "-")
}

/// A name for the rotated file that no file has: the time behind the name, and a number if that
/// name is taken.
fn free_name(path: &Path, clock: &Clock) -> io::Result<PathBuf> {
    let time = time_for_name(clock.wall());
    for number in 0..ROTATED_NAMES {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{time}"));
        if number > 0 {
            name.push(format!(".{number}"));
        }
        if !fs::exists(&name)? {
            return Ok(name.into());
        }
    }
    Err(io::Error::other("no name is free for the rotated file"))
}
