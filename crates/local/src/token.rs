//! The opaque tokens that clients hand back: shard iterators and the tokens of pages. Base64 of a version, a kind, when
//! and in which epoch it was made, what it carries, and a checksum, so that garbage is told from an old one.

use crate::errors::{Answer, invalid_iterator, invalid_next_token};
use distributary_wire::error::{ApiError, ErrorCode};

const VERSION: u8 = 1;
const CHECKSUM: usize = 4;
/// Version, kind, time and epoch.
const HEAD: usize = 1 + 1 + 8 + 4;
/// Characters of a token that are looked into: none of ours comes near it.
const MAX: usize = 2048;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Iterator = 1,
    Shards = 2,
    Streams = 3,
    Consumers = 4,
}

/// A token opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) created_ms: u64,
    pub(crate) epoch: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn seal(kind: Kind, created_ms: u64, epoch: u32, payload: &[u8]) -> String {
    let mut out = Vec::with_capacity(HEAD + payload.len() + CHECKSUM);
    out.extend([VERSION, kind as u8]);
    out.extend(created_ms.to_be_bytes());
    out.extend(epoch.to_be_bytes());
    out.extend(payload);
    out.extend(crc32fast::hash(&out).to_be_bytes());
    base64_simd::STANDARD.encode_to_string(&out)
}

/// `None` for any text that [`seal`] did not make for this kind.
pub(crate) fn open(kind: Kind, text: &str) -> Option<Opened> {
    if text.len() > MAX {
        return None;
    }
    let bytes = base64_simd::STANDARD.decode_to_vec(text).ok()?;
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM>()?;
    if crc32fast::hash(body).to_be_bytes() != *checksum {
        return None;
    }
    let mut fields = Fields(body);
    let ours = fields.u8()? == VERSION && fields.u8()? == kind as u8;
    let (created_ms, epoch) = (fields.u64()?, fields.u32()?);
    ours.then(|| Opened {
        created_ms,
        epoch,
        payload: fields.0.to_vec(),
    })
}

/// Reads fixed-size fields one after the other.
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

/// A position in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The stream.
    pub(crate) uid: u64,
    pub(crate) shard: u32,
    /// The record to read next.
    pub(crate) offset: u64,
    /// How many empty answers have been given because the position is older than retention.
    pub(crate) empty: u8,
}

impl Position {
    /// The shard iterator.
    pub(crate) fn seal(&self, created_ms: u64, epoch: u32) -> String {
        let mut payload = [0; 21];
        payload[..8].copy_from_slice(&self.uid.to_be_bytes());
        payload[8..12].copy_from_slice(&self.shard.to_be_bytes());
        payload[12..20].copy_from_slice(&self.offset.to_be_bytes());
        payload[20] = self.empty;
        seal(Kind::Iterator, created_ms, epoch, &payload)
    }

    /// The position, when its iterator was made and in which epoch.
    ///
    /// # Errors
    /// `InvalidArgumentException` for what is no iterator.
    pub(crate) fn open(text: &str) -> Answer<(Self, Opened)> {
        let opened = open(Kind::Iterator, text).ok_or_else(invalid_iterator)?;
        let read = |payload: &[u8]| {
            let mut fields = Fields(payload);
            let (uid, shard, offset, empty) =
                (fields.u64()?, fields.u32()?, fields.u64()?, fields.u8()?);
            fields.0.is_empty().then_some(Self {
                uid,
                shard,
                offset,
                empty,
            })
        };
        let position = read(&opened.payload).ok_or_else(invalid_iterator)?;
        Ok((position, opened))
    }
}

/// Opens the token of a page.
///
/// # Errors
/// `InvalidArgumentException` for garbage, `ExpiredNextTokenException` for one older than `age_ms`.
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

/// A stream and the last thing shown of it, as the payload of a page token.
pub(crate) fn page_payload(uid: u64, rest: &[u8]) -> Vec<u8> {
    [&uid.to_be_bytes()[..], rest].concat()
}

/// The two parts of [`page_payload`].
///
/// # Errors
/// `InvalidArgumentException`.
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
            empty: 3,
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
            empty: 0,
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
