//! The opaque tokens that clients pass back: shard iterators and the tokens of pages.
//!
//! A token is base64 of: version (1 byte), kind (1), creation in milliseconds since 1970 (8), epoch
//! (4), payload, CRC-32 of all of these (4). The checksum distinguishes garbage from an expired
//! token.

use crate::errors::{Answer, invalid_iterator, invalid_next_token};
use distributary_wire::error::{ApiError, ErrorCode};

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;
/// Version, kind, creation and epoch.
const HEADER_BYTES: usize = 1 + 1 + 8 + 4;
/// Longer tokens are refused before decoding. The longest token of this crate has 300 characters.
const MAX_CHARS: usize = 2048;

/// The operation that a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Iterator = 1,
    Shards = 2,
    Streams = 3,
    Consumers = 4,
}

/// The content of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) created_ms: u64,
    /// Iterators of an earlier epoch have been expired on command.
    pub(crate) epoch: u32,
    pub(crate) payload: Vec<u8>,
}

/// Makes a token.
pub(crate) fn seal(kind: Kind, created_ms: u64, epoch: u32, payload: &[u8]) -> String {
    let mut out = Vec::with_capacity(HEADER_BYTES + payload.len() + CHECKSUM_BYTES);
    out.extend([VERSION, kind as u8]);
    out.extend(created_ms.to_be_bytes());
    out.extend(epoch.to_be_bytes());
    out.extend(payload);
    out.extend(crc32fast::hash(&out).to_be_bytes());

    base64_simd::STANDARD.encode_to_string(&out)
}

/// Reads a token; `None` for any text that [`seal`] did not make for this kind.
pub(crate) fn open(kind: Kind, text: &str) -> Option<Opened> {
    if text.len() > MAX_CHARS {
        return None;
    }

    let bytes = base64_simd::STANDARD.decode_to_vec(text).ok()?;
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
    if crc32fast::hash(body).to_be_bytes() != *checksum {
        return None;
    }

    let mut fields = Fields(body);
    let is_of_kind = fields.u8()? == VERSION && fields.u8()? == kind as u8;
    let opened = Opened {
        created_ms: fields.u64()?,
        epoch: fields.u32()?,
        payload: fields.0.to_vec(),
    };
    is_of_kind.then_some(opened)
}

/// Reads big-endian fields one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(|[b]| b)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

/// A position in a shard, the payload of a shard iterator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Number of the stream.
    pub(crate) uid: u64,
    pub(crate) shard: u32,
    /// Offset of the next record to read.
    pub(crate) offset: u64,
    /// Empty answers given so far because the position is older than retention.
    pub(crate) empty_answers: u8,
}

impl Position {
    /// Makes a shard iterator.
    pub(crate) fn seal(&self, created_ms: u64, epoch: u32) -> String {
        let mut payload = [0; 21];
        payload[..8].copy_from_slice(&self.uid.to_be_bytes());
        payload[8..12].copy_from_slice(&self.shard.to_be_bytes());
        payload[12..20].copy_from_slice(&self.offset.to_be_bytes());
        payload[20] = self.empty_answers;
        seal(Kind::Iterator, created_ms, epoch, &payload)
    }

    /// Reads a shard iterator.
    ///
    /// # Errors
    /// `InvalidArgumentException` if the text is no iterator.
    pub(crate) fn open(text: &str) -> Answer<(Self, Opened)> {
        let opened = open(Kind::Iterator, text).ok_or_else(invalid_iterator)?;
        let read = |payload: &[u8]| {
            let mut fields = Fields(payload);
            let position = Self {
                uid: fields.u64()?,
                shard: fields.u32()?,
                offset: fields.u64()?,
                empty_answers: fields.u8()?,
            };
            fields.0.is_empty().then_some(position)
        };

        let position = read(&opened.payload).ok_or_else(invalid_iterator)?;
        Ok((position, opened))
    }
}

/// Reads the token of a page: the payload.
///
/// # Errors
/// `InvalidArgumentException` for garbage; `ExpiredNextTokenException` for a token older than
/// `age_ms`.
pub(crate) fn open_page(kind: Kind, text: &str, now_ms: u64, age_ms: u64) -> Answer<Vec<u8>> {
    let opened = open(kind, text).ok_or_else(invalid_next_token)?;
    if now_ms.saturating_sub(opened.created_ms) > age_ms {
        return Err(ApiError::new(
            ErrorCode::ExpiredNextToken,
            "The pagination token has expired.",
        ));
    }

    Ok(opened.payload)
}

/// Makes the payload of a page token: the stream, then the place where the next page starts.
pub(crate) fn page_payload(uid: u64, rest: &[u8]) -> Vec<u8> {
    [&uid.to_be_bytes()[..], rest].concat()
}

/// Splits the payload that [`page_payload`] made.
///
/// # Errors
/// `InvalidArgumentException` if the payload is too short.
pub(crate) fn read_page_payload(payload: &[u8]) -> Answer<(u64, &[u8])> {
    let (uid, rest) = payload
        .split_first_chunk::<8>()
        .ok_or_else(invalid_next_token)?;
    Ok((u64::from_be_bytes(*uid), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_iterator_comes_back() {
        let position = Position {
            uid: u64::MAX,
            shard: 7,
            offset: 1 << 40,
            empty_answers: 3,
        };
        let text = position.seal(1_700_000_000_123, 9);
        assert!(text.len() < 100);
        let (read, opened) = Position::open(&text).unwrap();
        assert_eq!(
            (read, opened.created_ms, opened.epoch),
            (position, 1_700_000_000_123, 9)
        );
    }

    #[test]
    fn tokens_of_another_kind_and_damaged_ones_are_refused() {
        let page = seal(Kind::Shards, 5, 0, b"x");
        assert!(open(Kind::Shards, &page).is_some());
        assert!(open(Kind::Streams, &page).is_none());
        assert!(Position::open(&page).is_err());
        let position = Position {
            uid: 1,
            shard: 0,
            offset: 5,
            empty_answers: 0,
        }
        .seal(0, 0);
        for at in 0..position.len() {
            let mut damaged = position.clone().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            assert!(Position::open(std::str::from_utf8(&damaged).unwrap()).is_err());
        }
        let old = open_page(Kind::Shards, &page, 10, 4).unwrap_err();
        assert_eq!(old.code, ErrorCode::ExpiredNextToken);
    }

    proptest! {
        #[test]
        fn garbage_is_refused(text in "[A-Za-z0-9+/=]{0,80}|.{0,80}") {
            prop_assert!(Position::open(&text).is_err());
        }
    }
}
