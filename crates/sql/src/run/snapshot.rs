//! The persisted form of a processor's state. A change of any part of it needs a new `FORMAT`.

use serde::{Deserialize, Serialize};

use crate::run::operator::{StateError, decode, encode};

/// The first byte of every snapshot.
const FORMAT: u8 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// The fingerprint of the program.
    pub(crate) program: u64,
    pub(crate) started: i64,
    pub(crate) now: Option<i64>,
    pub(crate) records: u64,
    pub(crate) streams: Vec<StreamTime>,
    /// The states of each pump's operators.
    pub(crate) pumps: Vec<Vec<Vec<u8>>>,
}

/// The ROWTIME of a stream's last row.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct StreamTime(pub(crate) Option<i64>);

/// A snapshot that can't be written or taken up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are not of this format.
    #[error(
        "the bytes are no snapshot that this version can read: start from an earlier position without one"
    )]
    Format,
    /// The code or the schema changed since.
    #[error("the snapshot belongs to another program: start the changed program without it")]
    OtherProgram,
    /// An operator's state is damaged.
    #[error("the snapshot is damaged: start from an earlier one")]
    State(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StateError> for RestoreError {
    fn from(error: StateError) -> Self {
        Self::State(Box::new(error))
    }
}

impl Snapshot {
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        let mut bytes = vec![FORMAT];
        bytes.extend(encode(self)?);
        Ok(bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, RestoreError> {
        match bytes.split_first() {
            Some((&FORMAT, state)) => Ok(decode(state)?),
            _ => Err(RestoreError::Format),
        }
    }
}
