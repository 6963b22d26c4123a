//! The two scalars that JSON and CBOR write differently.

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::codec::member::{Member, Scalar, scalar};

/// Bytes: base64 text in JSON, a byte string in CBOR.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(pub Bytes);

impl<T: Into<Bytes>> From<T> for Blob {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&base64_simd::STANDARD.encode_to_string(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

/// Bytes of a base64 text that its refusal shows.
const REFUSAL_SHOWS: usize = 256;

/// Why AWS refuses a base64 text, in its words.
pub(crate) fn base64_refusal(text: &str) -> String {
    let reason = if !text.len().is_multiple_of(4) {
        format!(
            "Base64 encoded length is expected a multiple of 4 bytes but found: {}",
            text.len()
        )
    } else {
        let body = text.trim_end_matches('=');
        match body
            .chars()
            .find(|c| !c.is_ascii_alphanumeric() && *c != '+' && *c != '/')
        {
            Some(c) => format!("Invalid Base64 character: '{c}'"),
            // AWS's spelling.
            None => "Invalid last non-pad Base64 character dectected".to_owned(),
        }
    };
    // AWS repeats the text; of a long one only the beginning helps anybody.
    let shown = &text[..text.floor_char_boundary(REFUSAL_SHOWS)];
    format!("'{shown}' can not be converted to a Blob: {reason}")
}

/// Where a blob comes from decides how text is read.
struct JsonBlob(Blob);
struct CborBlob(Blob);

impl Scalar for JsonBlob {
    const NAME: &'static str = "a Blob";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        Some(match base64_simd::STANDARD.decode_to_vec(text.as_bytes()) {
            Ok(bytes) => Ok(Self(Blob(bytes.into()))),
            Err(_) => Err(base64_refusal(text)),
        })
    }
}

impl Scalar for CborBlob {
    const NAME: &'static str = "a Blob";

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Blob(Bytes::copy_from_slice(bytes))))
    }
}

impl Member for Blob {
    fn missing() -> Self {
        Self::default()
    }

    fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            scalar::<D, JsonBlob>(deserializer).map(|b| b.0)
        } else {
            scalar::<D, CborBlob>(deserializer).map(|b| b.0)
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::present(deserializer)
    }
}

/// A point in time: whole milliseconds since 1970-01-01T00:00:00Z, the finest that Kinesis knows.
///
/// JSON has seconds with a fraction. CBOR has tag 1 with whole milliseconds, as AWS's own clients and servers have it for
/// Kinesis (RFC 8949 would have seconds).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// The last millisecond of the year 9999. Beyond it a float of seconds no longer holds every millisecond.
const TIMESTAMP_MAX: u64 = 253_402_300_799_999;

impl Timestamp {
    /// The time so many milliseconds after 1970; `None` if it is out of range (the year 9999, and as far back).
    pub fn from_millis(ms: i64) -> Option<Self> {
        (ms.unsigned_abs() <= TIMESTAMP_MAX).then_some(Self(ms))
    }

    /// The time that JSON's number of seconds means; `None` if it is out of range.
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        // Saturates, and is 0 for what is no number.
        Self::from_millis((seconds * 1000.0).round() as i64).filter(|_| !seconds.is_nan())
    }

    /// The time that a CBOR float means. Milliseconds are AWS's way for Kinesis and seconds RFC 8949's; before the year
    /// 5138 no time in seconds reaches 10^11, and after March 1973 every one in milliseconds does.
    pub fn from_cbor_float(value: f64) -> Option<Self> {
        if value.abs() < 1e11 {
            Self::from_seconds(value)
        } else {
            Self::from_seconds(value / 1000.0)
        }
    }

    /// Seconds with the milliseconds as fraction, as JSON writes it.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            if self.0 % 1000 == 0 {
                serializer.serialize_i64(self.0 / 1000)
            } else {
                serializer.serialize_f64(self.seconds())
            }
        } else {
            minicbor_serde::tag::Required::<1, i64>::new(self.0).serialize(serializer)
        }
    }
}

struct JsonTime(Timestamp);
struct CborTime(Timestamp);

impl Scalar for JsonTime {
    const NAME: &'static str = "a Timestamp";

    fn from_int(value: i64) -> Option<Self> {
        value
            .checked_mul(1000)
            .and_then(Timestamp::from_millis)
            .map(Self)
    }

    fn from_float(value: f64) -> Option<Self> {
        Timestamp::from_seconds(value).map(Self)
    }
}

impl Scalar for CborTime {
    const NAME: &'static str = "a Timestamp";

    fn from_int(value: i64) -> Option<Self> {
        Timestamp::from_millis(value).map(Self)
    }

    fn from_float(value: f64) -> Option<Self> {
        Timestamp::from_cbor_float(value).map(Self)
    }
}

impl Member for Timestamp {
    fn missing() -> Self {
        Self::default()
    }

    fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            scalar::<D, JsonTime>(deserializer).map(|t| t.0)
        } else {
            scalar::<D, CborTime>(deserializer).map(|t| t.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::present(deserializer)
    }
}
