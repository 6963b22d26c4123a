//! Marks of the dead letters that were sent: lines of JSON in a file beside the letters, so that a
//! process that appends to the letters is not disturbed.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::letters::{Letter, LetterId};

/// The end of the file's name.
const SUFFIX: &str = ".redriven";

/// The marks of one file of letters. The file is locked as long as the value lives.
pub(crate) struct Marks {
    file: File,
    sent: BTreeSet<LetterId>,
}

/// One line.
#[derive(Serialize, Deserialize)]
struct Mark<'a> {
    #[serde(flatten)]
    id: Cow<'a, LetterId>,
    /// The output that the letter was sent to.
    to: Cow<'a, str>,
}

impl Marks {
    /// The place of the marks of the letters at `path`.
    pub(crate) fn path_of(path: &Path) -> PathBuf {
        let mut name = OsString::from(path);
        name.push(SUFFIX);
        name.into()
    }

    /// Opens the marks of the letters at `path`, or creates their file.
    ///
    /// # Errors
    /// The file cannot be read or locked, or holds something else.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(Self::path_of(path))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::Error::other("another redrive is running"),
        })?;

        let sent = read(&file)?;
        Ok(Self { file, sent })
    }

    /// True if the letter was sent.
    pub(crate) fn holds(&self, letter: &Letter) -> bool {
        self.sent.contains(&letter.id)
    }

    /// Marks letters as sent to the output `to`; durable when the call returns.
    ///
    /// # Errors
    /// The marks cannot be written.
    pub(crate) fn add<'a>(
        &mut self,
        letters: impl Iterator<Item = &'a Letter>,
        to: &str,
    ) -> io::Result<()> {
        let mut text = Vec::new();
        for letter in letters {
            let mark = Mark {
                id: Cow::Borrowed(&letter.id),
                to: to.into(),
            };
            serde_json::to_writer(&mut text, &mark)?;
            text.push(b'\n');

            let id = letter.id.clone();
            self.sent.insert(id);
        }
        self.file.write_all(&text)?;
        self.file.sync_data()
    }
}

/// The marks of whole lines. The rest of a line that a crash cut off is removed.
fn read(file: &File) -> io::Result<BTreeSet<LetterId>> {
    let mut lines = BufReader::new(file);
    let mut sent = BTreeSet::new();
    let mut line = Vec::new();
    let mut whole = 0;
    while lines.read_until(b'\n', &mut line)? > 0 {
        if !line.ends_with(b"\n") {
            file.set_len(whole)?;
            break;
        }
        let mark: Mark<'_> = serde_json::from_slice(&line)?;
        let id = mark.id.into_owned();
        sent.insert(id);
        whole += line.len() as u64;
        line.clear();
    }
    Ok(sent)
}
