//! The two scalars with different forms in JSON and CBOR: bytes and times.

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

/// Bytes of a refused base64 text that the refusal repeats.
const REFUSAL_SHOWS: usize = 256;

/// AWS's refusal of a text that is not base64.
fn base64_refusal(text: &str) -> String {
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
            // The misspelling is AWS's.
            None => "Invalid last non-pad Base64 character dectected".to_owned(),
        }
    };

    // AWS repeats the whole text; the start is enough to find the record.
    let shown = &text[..text.floor_char_boundary(REFUSAL_SHOWS)];
    format!("'{shown}' can not be converted to a Blob: {reason}")
}

/// A blob read from JSON: base64 text.
struct JsonBlob(Blob);

/// A blob read from CBOR: a byte string.
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

/// A point in time: whole milliseconds since 1970-01-01T00:00:00Z, the resolution of Kinesis.
///
/// JSON has seconds with a fraction. CBOR has tag 1 with whole milliseconds, like the clients and
/// servers of AWS for Kinesis; RFC 8949 has seconds after tag 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// The last millisecond of the year 9999: the limit for both signs. Every millisecond up to here
/// can be a float of seconds.
const TIMESTAMP_MAX: u64 = 253_402_300_799_999;

impl Timestamp {
    /// The time so many milliseconds after 1970; `None` after the year 9999, or as far before 1970.
    pub fn from_millis(ms: i64) -> Option<Self> {
        (ms.unsigned_abs() <= TIMESTAMP_MAX).then_some(Self(ms))
    }

    /// The time of a JSON number: seconds since 1970. `None` if out of range, as in
    /// [`from_millis`](Self::from_millis).
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        // The cast saturates, and turns "not a number" into 0.
        Self::from_millis((seconds * 1000.0).round() as i64).filter(|_| !seconds.is_nan())
    }

    /// The time of a CBOR float: milliseconds (AWS) or seconds (RFC 8949). Below 10^11 the float is
    /// taken for seconds: seconds reach 10^11 in the year 5138, and milliseconds did in March 1973.
    /// `None` if out of range, as in [`from_millis`](Self::from_millis).
    pub fn from_cbor_float(value: f64) -> Option<Self> {
        if value.abs() < 1e11 {
            Self::from_seconds(value)
        } else {
            Self::from_seconds(value / 1000.0)
        }
    }

    /// Seconds since 1970 with the milliseconds as fraction, as in JSON.
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

/// A time read from JSON: seconds.
struct JsonTime(Timestamp);

/// A time read from CBOR: milliseconds, or seconds as a float.
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
