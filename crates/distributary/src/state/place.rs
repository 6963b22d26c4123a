//! A place in a source that a user names.

use std::str::FromStr;

use distributary_adapters::values::{Expected, StartAt};
use distributary_core::checkpoint::Position;
use distributary_core::clock::Millis;
use distributary_core::engine::Start;

/// Digits of a sequence number at most.
const SEQUENCE_DIGITS: usize = 129;

/// A place to move to: a start, or `seq:NUMBER`, after that record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// A start of an output.
    Start(Start),
    /// After the record with this sequence number.
    After(String),
}

impl FromStr for Place {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let Some(number) = text.strip_prefix("seq:") else {
            let start: StartAt = text.parse()?;
            return Ok(Self::Start(start.0));
        };
        sequence(number).map(Self::After)
    }
}

/// A sequence number.
///
/// # Errors
/// [`Expected`] for a text that is none.
pub(crate) fn sequence(text: &str) -> Result<String, Expected> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal && (1..=SEQUENCE_DIGITS).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(Expected(format!("{text:?} is no sequence number")))
}

impl Place {
    /// The position in a shard, at the moment `now`.
    pub(crate) fn position(&self, now: Millis) -> Position {
        match self {
            Self::Start(Start::TrimHorizon) => Position::TrimHorizon,
            Self::Start(Start::At(at)) => Position::At(*at),
            Self::Start(Start::Latest) => Position::At(now),
            Self::After(sequence) => Position::after(sequence),
        }
    }

    /// Fails for a sequence number without the shard that it belongs to.
    ///
    /// # Errors
    /// [`Expected`].
    pub(crate) fn check(&self, has_shard: bool) -> Result<(), Expected> {
        match self {
            Self::After(_) if !has_shard => {
                let text = "a sequence number is one of one shard; name the shard with --shard";
                Err(Expected::new(text))
            }
            Self::After(_) | Self::Start(_) => Ok(()),
        }
    }
}
