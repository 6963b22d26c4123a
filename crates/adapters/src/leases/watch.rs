//! Watches the state file of a running fan-out: a file that was deleted, moved, replaced or
//! truncated no longer holds the progress, whatever SQLite's open file says.

use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use distributary_core::store::StoreError;

/// Only the owner reads and writes the state.
const MODE: u32 = 0o600;

/// Creates the file if there is none, and lets only the owner read it, whatever the umask.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(MODE).open(path)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))
}

/// A file as it was when it was opened.
#[derive(Debug)]
pub(super) struct FileWatch {
    device: u64,
    inode: u64,
    /// The largest length that was seen, in bytes.
    length: AtomicU64,
}

impl FileWatch {
    /// Watches the file at `path`, which exists.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            length: found.len().into(),
        })
    }

    /// Fails with [`StoreError::Foreign`] if the path no longer leads to the file, or the file was
    /// truncated.
    pub(super) fn check(&self, path: &Path) -> Result<(), StoreError> {
        let problem = match fs::metadata(path) {
            Ok(found) => self.problem(&found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some("deleted or moved"),
            // A disk that fails shows in the write as well.
            Err(_) => None,
        };
        let Some(problem) = problem else {
            return Ok(());
        };
        let path = path.display();
        Err(StoreError::Foreign {
            message: format!(
                "the state file {path} was {problem} while the fan-out ran, so the progress cannot be \
                 kept; put the file back and start again (without a file each output begins anew at \
                 its start)"
            ),
        })
    }

    fn problem(&self, found: &Metadata) -> Option<&'static str> {
        let is_same = found.dev() == self.device && found.ino() == self.inode;
        if !is_same {
            return Some("replaced by another file");
        }

        let before = self.length.fetch_max(found.len(), Ordering::Relaxed);
        let is_truncated = found.len() < before;
        is_truncated.then_some("truncated")
    }
}
