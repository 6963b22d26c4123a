//! `application/vnd.amazon.eventstream`: the frames in which `SubscribeToShard` answers, and the events in them.
//!
//! Format: [Amazon Event Stream specification](https://smithy.io/2.0/aws/amazon-eventstream.html): a prelude (total
//! length, headers' length, CRC-32 of both), headers, payload, CRC-32 of all before it; big-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::codec::{self, Format};
use crate::error::{ApiError, ErrorCode};

/// The `Content-Type` of such an answer.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// Bytes of one frame that are taken: the 24 MiB of the format's own limit on payload and 128 KiB on headers, and the
/// fixed parts.
pub const FRAME_MAX: usize = 24 * 1024 * 1024 + HEADERS_MAX + 16;
/// Bytes of the headers of one frame that are taken: the format's own limit.
pub const HEADERS_MAX: usize = 128 * 1024;

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// Types 0 and 1.
    Bool(bool),
    /// Type 2.
    Byte(i8),
    /// Type 3.
    Short(i16),
    /// Type 4.
    Int(i32),
    /// Type 5.
    Long(i64),
    /// Type 6, up to 32,767 bytes.
    Bytes(Bytes),
    /// Type 7, up to 32,767 bytes.
    Text(String),
    /// Type 8: milliseconds since 1970.
    Timestamp(i64),
    /// Type 9.
    Uuid([u8; 16]),
}

/// One frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Names (1 to 255 bytes of text) and values, in their order.
    pub headers: Vec<(String, HeaderValue)>,
    /// What it carries.
    pub payload: Bytes,
}

/// Why a frame could not be read or written. After it a stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A checksum does not fit: the bytes were damaged on the way.
    #[error("the checksum of an event-stream {part} does not fit")]
    Checksum {
        /// `prelude` or `frame`.
        part: &'static str,
    },
    /// A length is impossible or over a limit.
    #[error("an event-stream frame announces {total} bytes with {headers} of headers")]
    Length {
        /// Bytes of the frame, as announced.
        total: u32,
        /// Bytes of its headers, as announced.
        headers: u32,
    },
    /// The headers cannot be read, or written.
    #[error("the headers of an event-stream frame: {reason}")]
    Headers {
        /// What is wrong with them.
        reason: &'static str,
    },
}

/// Bytes of a frame's prelude with its checksum.
const PRELUDE: usize = 12;
/// Bytes of a frame that carries nothing.
const FRAME_MIN: usize = PRELUDE + 4;
/// Headers of one frame that are taken. Not of the format, which only limits their bytes.
const HEADERS_COUNT_MAX: usize = 64;

/// Cuts a stream of bytes, which may arrive cut anywhere, into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    broken: Option<FrameError>,
}

impl Decoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what has arrived. Take every whole frame out ([`next_frame`](Self::next_frame)) before adding more, and no
    /// more than one incomplete frame is held ([`FRAME_MAX`]).
    pub fn push(&mut self, chunk: &[u8]) {
        if self.broken.is_none() {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// The next whole frame; `None` until more arrives.
    ///
    /// # Errors
    /// [`FrameError`], after which every call gives the same.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let frame = self.cut();
        if let Err(error) = &frame {
            self.broken = Some(error.clone());
            self.buffer = BytesMut::new();
        }
        frame
    }

    /// True if the stream may end here: no part of a frame is left over.
    pub fn is_at_boundary(&self) -> bool {
        self.buffer.is_empty() && self.broken.is_none()
    }

    fn cut(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(prelude) = self.buffer.get(..PRELUDE) else {
            return Ok(None);
        };
        let mut words = prelude;
        let (total, headers, checksum) = (words.get_u32(), words.get_u32(), words.get_u32());
        if crc32fast::hash(&prelude[..8]) != checksum {
            return Err(FrameError::Checksum { part: "prelude" });
        }
        let (len, headers_len) = (total as usize, headers as usize);
        if len > FRAME_MAX || headers_len > HEADERS_MAX || len < FRAME_MIN + headers_len {
            return Err(FrameError::Length { total, headers });
        }
        if self.buffer.len() < len {
            self.buffer.reserve(len - self.buffer.len());
            return Ok(None);
        }
        let whole = self.buffer.split_to(len).freeze();
        let (checked, mut checksum) = whole.split_at(len - 4);
        if crc32fast::hash(checked) != checksum.get_u32() {
            return Err(FrameError::Checksum { part: "frame" });
        }
        let headers = read_headers(whole.slice(PRELUDE..PRELUDE + headers_len))?;
        Ok(Some(Frame {
            headers,
            payload: whole.slice(PRELUDE + headers_len..len - 4),
        }))
    }
}

/// Takes `len` bytes off the front.
fn take(rest: &mut Bytes, len: usize) -> Result<Bytes, FrameError> {
    if rest.len() < len {
        Err(FrameError::Headers {
            reason: "they end too early",
        })
    } else {
        Ok(rest.split_to(len))
    }
}

fn text(bytes: &[u8]) -> Result<String, FrameError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| FrameError::Headers {
        reason: "a text is not UTF-8",
    })
}

fn read_headers(mut rest: Bytes) -> Result<Vec<(String, HeaderValue)>, FrameError> {
    let mut headers = Vec::new();
    while !rest.is_empty() {
        if headers.len() == HEADERS_COUNT_MAX {
            return Err(FrameError::Headers {
                reason: "there are too many",
            });
        }
        let len = take(&mut rest, 1)?.get_u8();
        let name = text(&take(&mut rest, usize::from(len))?)?;
        let value = match take(&mut rest, 1)?.get_u8() {
            0 => HeaderValue::Bool(true),
            1 => HeaderValue::Bool(false),
            2 => HeaderValue::Byte(take(&mut rest, 1)?.get_i8()),
            3 => HeaderValue::Short(take(&mut rest, 2)?.get_i16()),
            4 => HeaderValue::Int(take(&mut rest, 4)?.get_i32()),
            5 => HeaderValue::Long(take(&mut rest, 8)?.get_i64()),
            kind @ (6 | 7) => {
                let len = take(&mut rest, 2)?.get_u16();
                let bytes = take(&mut rest, usize::from(len))?;
                if kind == 6 {
                    HeaderValue::Bytes(bytes)
                } else {
                    HeaderValue::Text(text(&bytes)?)
                }
            }
            8 => HeaderValue::Timestamp(take(&mut rest, 8)?.get_i64()),
            9 => {
                let mut uuid = [0; 16];
                take(&mut rest, 16)?.copy_to_slice(&mut uuid);
                HeaderValue::Uuid(uuid)
            }
            _ => {
                return Err(FrameError::Headers {
                    reason: "one has an unknown type",
                });
            }
        };
        headers.push((name, value));
    }
    Ok(headers)
}

fn write_headers(out: &mut BytesMut, headers: &[(String, HeaderValue)]) -> Result<(), FrameError> {
    let sized = |out: &mut BytesMut, kind: u8, bytes: &[u8]| {
        let len = i16::try_from(bytes.len()).map_err(|_| FrameError::Headers {
            reason: "a value is too long",
        })?;
        out.put_u8(kind);
        out.put_i16(len);
        out.put_slice(bytes);
        Ok(())
    };
    for (name, value) in headers {
        let len = u8::try_from(name.len()).ok().filter(|len| *len > 0);
        out.put_u8(len.ok_or(FrameError::Headers {
            reason: "a name is empty or too long",
        })?);
        out.put_slice(name.as_bytes());
        match value {
            HeaderValue::Bool(value) => out.put_u8(u8::from(!value)),
            HeaderValue::Byte(value) => {
                out.put_u8(2);
                out.put_i8(*value);
            }
            HeaderValue::Short(value) => {
                out.put_u8(3);
                out.put_i16(*value);
            }
            HeaderValue::Int(value) => {
                out.put_u8(4);
                out.put_i32(*value);
            }
            HeaderValue::Long(value) => {
                out.put_u8(5);
                out.put_i64(*value);
            }
            HeaderValue::Bytes(value) => sized(out, 6, value)?,
            HeaderValue::Text(value) => sized(out, 7, value.as_bytes())?,
            HeaderValue::Timestamp(value) => {
                out.put_u8(8);
                out.put_i64(*value);
            }
            HeaderValue::Uuid(value) => {
                out.put_u8(9);
                out.put_slice(value);
            }
        }
    }
    Ok(())
}

impl Frame {
    /// Writes the frame.
    ///
    /// # Errors
    /// [`FrameError`], if it is over a limit of the format.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        let mut out =
            BytesMut::with_capacity(FRAME_MIN + 64 * self.headers.len() + self.payload.len());
        out.put_bytes(0, PRELUDE);
        write_headers(&mut out, &self.headers)?;
        let headers = out.len() - PRELUDE;
        let total = out.len() + self.payload.len() + 4;
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        if total > FRAME_MAX || headers > HEADERS_MAX {
            return Err(FrameError::Length {
                total: word(total),
                headers: word(headers),
            });
        }
        out[..4].copy_from_slice(&word(total).to_be_bytes());
        out[4..8].copy_from_slice(&word(headers).to_be_bytes());
        let checksum = crc32fast::hash(&out[..8]);
        out[8..PRELUDE].copy_from_slice(&checksum.to_be_bytes());
        out.put_slice(&self.payload);
        let checksum = crc32fast::hash(&out);
        out.put_u32(checksum);
        Ok(out.freeze())
    }

    /// The text of a header; `None` if there is none of that name or it is no text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .and_then(|(_, value)| match value {
                HeaderValue::Text(text) => Some(text.as_str()),
                _ => None,
            })
    }
}

/// What a frame of a `SubscribeToShard` answer means.
#[derive(Clone, Debug)]
pub enum SubscribeEvent {
    /// The first frame: the subscription is there.
    InitialResponse,
    /// Records, or a heartbeat without any. Read the payload with
    /// [`GetRecordsAnswer::parse`](crate::hot::GetRecordsAnswer::parse).
    Event {
        /// The encoding of the payload.
        format: Format,
        /// The event.
        payload: Bytes,
    },
    /// The subscription ended with an error.
    Exception(ApiError),
    /// An event that this version does not know, to be passed over.
    Unknown {
        /// Its `:event-type`.
        event_type: String,
    },
}

impl SubscribeEvent {
    /// The frame of an event, as a server sends it. `format` is that of the request, which names the encoding of the
    /// initial response and of an exception.
    pub fn to_frame(&self, format: Format) -> Frame {
        let frame = |kind: &str, name: &str, value: &str, format: Format, payload: Bytes| Frame {
            headers: [
                (name, value),
                (":content-type", format.content_type()),
                (":message-type", kind),
            ]
            .map(|(name, value)| (name.to_owned(), HeaderValue::Text(value.to_owned())))
            .to_vec(),
            payload,
        };
        let empty = || codec::encode(format, &crate::types::SubscribeToShardResponse::default());
        match self {
            Self::InitialResponse => frame("event", EVENT_TYPE, INITIAL_RESPONSE, format, empty()),
            Self::Event { format, payload } => frame(
                "event",
                EVENT_TYPE,
                SUBSCRIBE_TO_SHARD_EVENT,
                *format,
                payload.clone(),
            ),
            Self::Exception(error) => frame(
                "exception",
                EXCEPTION_TYPE,
                error.code.as_str(),
                format,
                error.encode(format),
            ),
            Self::Unknown { event_type } => frame("event", EVENT_TYPE, event_type, format, empty()),
        }
    }

    /// What a frame means.
    ///
    /// # Errors
    /// [`FrameError::Headers`] if it does not say what it is.
    pub fn from_frame(frame: Frame) -> Result<Self, FrameError> {
        let content_type = frame.text(":content-type");
        match (frame.text(":message-type"), frame.text(EVENT_TYPE)) {
            (Some("event"), Some(INITIAL_RESPONSE)) => Ok(Self::InitialResponse),
            (Some("event"), Some(SUBSCRIBE_TO_SHARD_EVENT)) => Ok(Self::Event {
                format: codec::sniff(content_type, &frame.payload),
                payload: frame.payload,
            }),
            (Some("event"), Some(event_type)) => Ok(Self::Unknown {
                event_type: event_type.to_owned(),
            }),
            (Some("exception"), _) => {
                let kind = frame
                    .text(EXCEPTION_TYPE)
                    .or(Some(ErrorCode::InternalFailure.as_str()));
                Ok(Self::Exception(ApiError::decode_body(
                    0,
                    content_type,
                    &frame.payload,
                    kind,
                )))
            }
            (Some("error"), _) => {
                let code = frame
                    .text(":error-code")
                    .map_or(ErrorCode::InternalFailure, ErrorCode::from);
                let message = frame.text(":error-message").unwrap_or_default();
                Ok(Self::Exception(ApiError {
                    status: 0,
                    ..ApiError::new(code, message)
                }))
            }
            _ => Err(FrameError::Headers {
                reason: "they do not say what the frame is",
            }),
        }
    }
}

const EVENT_TYPE: &str = ":event-type";
const EXCEPTION_TYPE: &str = ":exception-type";
const INITIAL_RESPONSE: &str = "initial-response";
const SUBSCRIBE_TO_SHARD_EVENT: &str = "SubscribeToShardEvent";

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind_of_header() -> Frame {
        let headers = [
            ("t", HeaderValue::Bool(true)),
            ("f", HeaderValue::Bool(false)),
            ("byte", HeaderValue::Byte(-2)),
            ("short", HeaderValue::Short(-300)),
            ("int", HeaderValue::Int(i32::MIN)),
            ("long", HeaderValue::Long(i64::MAX)),
            ("bytes", HeaderValue::Bytes(Bytes::from_static(&[0, 255]))),
            ("text", HeaderValue::Text("händler".into())),
            ("time", HeaderValue::Timestamp(1_700_000_000_123)),
            ("uuid", HeaderValue::Uuid(*b"0123456789abcdef")),
        ];
        Frame {
            headers: headers
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
            payload: Bytes::from_static(b"payload"),
        }
    }

    #[test]
    fn a_published_frame_is_read_and_written() {
        // The format's own test vectors: an empty message and one that carries {'foo':'bar'} without headers.
        let empty = [
            0u8, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff,
        ];
        assert_eq!(&Frame::default().encode().unwrap()[..], &empty);
        let carried =
            b"\x00\x00\x00\x1d\x00\x00\x00\x00\xfd\x52\x8c\x5a{'foo':'bar'}\xc3\x65\x39\x36";
        let frame = Frame {
            headers: vec![],
            payload: Bytes::from_static(b"{'foo':'bar'}"),
        };
        assert_eq!(&frame.encode().unwrap()[..], carried);
        let mut decoder = Decoder::new();
        decoder.push(&empty);
        decoder.push(carried);
        assert_eq!(decoder.next_frame(), Ok(Some(Frame::default())));
        assert_eq!(decoder.next_frame(), Ok(Some(frame)));
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.is_at_boundary());
    }

    #[test]
    fn frames_are_put_together_from_any_cut() {
        let frames = [
            every_kind_of_header(),
            Frame::default(),
            every_kind_of_header(),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(|f| f.encode().unwrap()).collect();
        for step in 1..bytes.len() {
            let mut decoder = Decoder::new();
            let mut read = Vec::new();
            for chunk in bytes.chunks(step) {
                decoder.push(chunk);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    read.push(frame);
                }
            }
            assert_eq!(read, frames);
            assert!(decoder.is_at_boundary());
        }
    }

    #[test]
    fn damage_is_seen_wherever_it_is() {
        let whole = every_kind_of_header().encode().unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x10;
            let mut decoder = Decoder::new();
            decoder.push(&damaged);
            let part = if at < PRELUDE { "prelude" } else { "frame" };
            assert_eq!(
                decoder.next_frame(),
                Err(FrameError::Checksum { part }),
                "byte {at}"
            );
            decoder.push(&whole);
            assert_eq!(
                decoder.next_frame(),
                Err(FrameError::Checksum { part }),
                "it stays broken"
            );
            assert!(!decoder.is_at_boundary());
        }
    }

    #[test]
    fn lengths_have_limits() {
        for (total, headers) in [(15u32, 0u32), (16, 1), (u32::MAX, 0), (200_000, 140_000)] {
            let mut prelude = [total.to_be_bytes(), headers.to_be_bytes()].concat();
            prelude.extend(crc32fast::hash(&prelude).to_be_bytes());
            let mut decoder = Decoder::new();
            decoder.push(&prelude);
            assert_eq!(
                decoder.next_frame(),
                Err(FrameError::Length { total, headers })
            );
        }
        let long = |name: &str, len| Frame {
            headers: vec![(name.to_owned(), HeaderValue::Text("x".repeat(len)))],
            payload: Bytes::new(),
        };
        assert!(long("n", 32_767).encode().is_ok());
        assert!(matches!(
            long("n", 32_768).encode(),
            Err(FrameError::Headers { .. })
        ));
        assert!(matches!(
            long("", 1).encode(),
            Err(FrameError::Headers { .. })
        ));
        assert!(matches!(
            long(&"n".repeat(256), 1).encode(),
            Err(FrameError::Headers { .. })
        ));
    }

    #[test]
    fn headers_cut_short_are_an_error() {
        // Right checksums around headers that end in the middle of each of their parts.
        let whole = every_kind_of_header().encode().unwrap();
        let headers = &whole[PRELUDE..whole.len() - 4 - 7];
        let mut refused = 0;
        for len in 0..headers.len() {
            let mut bytes = [(FRAME_MIN + len) as u32, len as u32]
                .map(u32::to_be_bytes)
                .concat();
            bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
            bytes.extend(&headers[..len]);
            bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
            let mut decoder = Decoder::new();
            decoder.push(&bytes);
            refused += usize::from(decoder.next_frame().is_err());
        }
        // All but the ten cuts between two headers.
        assert_eq!(refused, headers.len() - 10);
    }

    #[test]
    fn events_in_both_formats() {
        for format in Format::ALL {
            let event = SubscribeEvent::Event {
                format,
                payload: codec::encode(format, &crate::types::Tag::default()),
            };
            let error = ApiError {
                status: 0,
                ..ApiError::new(ErrorCode::ResourceInUse, "taken over")
            };
            let read = |event: &SubscribeEvent| {
                SubscribeEvent::from_frame(event.to_frame(format)).unwrap()
            };
            assert!(matches!(
                read(&SubscribeEvent::InitialResponse),
                SubscribeEvent::InitialResponse
            ));
            assert!(matches!(read(&event), SubscribeEvent::Event { format: f, .. } if f == format));
            assert!(
                matches!(read(&SubscribeEvent::Exception(error.clone())), SubscribeEvent::Exception(e) if e == error)
            );
            let unknown = SubscribeEvent::Unknown {
                event_type: "New".into(),
            };
            assert!(
                matches!(read(&unknown), SubscribeEvent::Unknown { event_type } if event_type == "New")
            );
        }
    }

    #[test]
    fn an_error_without_a_payload() {
        let frame = |headers: &[(&str, &str)]| Frame {
            headers: headers
                .iter()
                .map(|(n, v)| (n.to_string(), HeaderValue::Text(v.to_string())))
                .collect(),
            payload: Bytes::new(),
        };
        let error = frame(&[
            (":message-type", "error"),
            (":error-code", "InternalFailure"),
            (":error-message", "x"),
        ]);
        match SubscribeEvent::from_frame(error) {
            Ok(SubscribeEvent::Exception(e)) => {
                assert_eq!(
                    (e.code, e.message.as_str()),
                    (ErrorCode::InternalFailure, "x")
                );
            }
            other => panic!("{other:?}"),
        }
        assert!(SubscribeEvent::from_frame(frame(&[(":message-type", "event")])).is_err());
        assert!(SubscribeEvent::from_frame(Frame::default()).is_err());
    }
}
