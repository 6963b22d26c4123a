//! `application/vnd.amazon.eventstream`: the frames of a `SubscribeToShard` answer, and the events
//! in the frames.
//!
//! Format: [Amazon Event Stream specification](https://smithy.io/2.0/aws/amazon-eventstream.html).
//! A frame is a prelude (length of the frame, length of the headers, CRC-32 of both), the headers,
//! the payload, and the CRC-32 of everything before. Numbers are big-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::codec::{self, Format};
use crate::error::{ApiError, ErrorCode};

/// The `Content-Type` of an event stream.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// Largest frame in bytes: the format's limits of 24 MiB of payload and 128 KiB of headers, and the
/// fixed parts.
pub const FRAME_MAX: usize = 24 * 1024 * 1024 + HEADERS_MAX + 16;
/// Largest headers of one frame in bytes: the format's limit.
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
    /// Names (1 to 255 bytes of text) and values, in the order of the frame.
    pub headers: Vec<(String, HeaderValue)>,
    /// The payload; may be empty.
    pub payload: Bytes,
}

/// A frame could not be read or written. After a read error the rest of the stream is unreadable.
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
        /// Announced bytes of the frame.
        total: u32,
        /// Announced bytes of the headers.
        headers: u32,
    },
    /// The headers cannot be read, or cannot be written.
    #[error("the headers of an event-stream frame: {reason}")]
    Headers {
        /// The fault of the headers.
        reason: &'static str,
    },
}

impl FrameError {
    fn headers(reason: &'static str) -> Self {
        Self::Headers { reason }
    }
}

/// Bytes of a frame's prelude, checksum included.
const PRELUDE: usize = 12;
/// Bytes of a checksum.
const CHECKSUM: usize = 4;
/// Bytes of a frame without headers and payload.
const FRAME_MIN: usize = PRELUDE + CHECKSUM;
/// Most headers of one frame. Our own limit: the format only limits the bytes.
const HEADERS_COUNT_MAX: usize = 64;

/// Cuts a stream of bytes into frames. The stream may arrive in chunks of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    broken: Option<FrameError>,
}

impl Decoder {
    /// A decoder without any bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds received bytes. Take every whole frame out ([`next_frame`](Self::next_frame)) before
    /// the next push; then the buffer never holds more than one incomplete frame ([`FRAME_MAX`]).
    pub fn push(&mut self, chunk: &[u8]) {
        if self.broken.is_none() {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// The next whole frame; `None` if more bytes must arrive first.
    ///
    /// # Errors
    /// [`FrameError`]; every later call returns the same error.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }

        let frame = self.cut_frame();
        if let Err(error) = &frame {
            self.broken = Some(error.clone());
            self.buffer = BytesMut::new();
        }
        frame
    }

    /// True if the stream may end here: no incomplete frame is in the buffer.
    pub fn is_at_boundary(&self) -> bool {
        self.buffer.is_empty() && self.broken.is_none()
    }

    /// Takes one frame off the front of the buffer; `None` if the frame is incomplete.
    fn cut_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(prelude) = self.buffer.get(..PRELUDE) else {
            return Ok(None);
        };
        let (total, headers) = read_prelude(prelude)?;
        if self.buffer.len() < total {
            self.buffer.reserve(total - self.buffer.len());
            return Ok(None);
        }

        let frame = self.buffer.split_to(total).freeze();
        let (checked, mut checksum) = frame.split_at(total - CHECKSUM);
        if crc32fast::hash(checked) != checksum.get_u32() {
            return Err(FrameError::Checksum { part: "frame" });
        }

        let payload = PRELUDE + headers;
        Ok(Some(Frame {
            headers: read_headers(frame.slice(PRELUDE..payload))?,
            payload: frame.slice(payload..total - CHECKSUM),
        }))
    }
}

/// The length of the frame and of the headers, in bytes, both within the limits.
fn read_prelude(prelude: &[u8]) -> Result<(usize, usize), FrameError> {
    let mut words = prelude;
    let (total, headers, checksum) = (words.get_u32(), words.get_u32(), words.get_u32());
    if crc32fast::hash(&prelude[..PRELUDE - CHECKSUM]) != checksum {
        return Err(FrameError::Checksum { part: "prelude" });
    }

    let (total_len, headers_len) = (total as usize, headers as usize);
    let valid = total_len <= FRAME_MAX
        && headers_len <= HEADERS_MAX
        && total_len >= FRAME_MIN + headers_len;
    if valid {
        Ok((total_len, headers_len))
    } else {
        Err(FrameError::Length { total, headers })
    }
}

/// The prelude of a frame, from the length of the frame and of the headers in bytes.
fn new_prelude(total: usize, headers: usize) -> Result<[u8; PRELUDE], FrameError> {
    let over_limit = total > FRAME_MAX || headers > HEADERS_MAX;
    let [total, headers] = [total, headers].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    if over_limit {
        return Err(FrameError::Length { total, headers });
    }

    let mut prelude = [0; PRELUDE];
    prelude[..4].copy_from_slice(&total.to_be_bytes());
    prelude[4..8].copy_from_slice(&headers.to_be_bytes());
    let checksum = crc32fast::hash(&prelude[..8]);
    prelude[8..].copy_from_slice(&checksum.to_be_bytes());
    Ok(prelude)
}

/// Takes `len` bytes off the front of the headers.
fn take(rest: &mut Bytes, len: usize) -> Result<Bytes, FrameError> {
    if rest.len() < len {
        Err(FrameError::headers("they end too early"))
    } else {
        Ok(rest.split_to(len))
    }
}

fn text(bytes: &[u8]) -> Result<String, FrameError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| FrameError::headers("a text is not UTF-8"))
}

fn read_headers(mut rest: Bytes) -> Result<Vec<(String, HeaderValue)>, FrameError> {
    let mut headers = Vec::new();
    while !rest.is_empty() {
        if headers.len() == HEADERS_COUNT_MAX {
            return Err(FrameError::headers("there are too many"));
        }

        let len = take(&mut rest, 1)?.get_u8();
        let name = text(&take(&mut rest, usize::from(len))?)?;
        let value = read_value(&mut rest)?;
        headers.push((name, value));
    }
    Ok(headers)
}

/// Reads the type and the value of one header off the front of the headers.
fn read_value(rest: &mut Bytes) -> Result<HeaderValue, FrameError> {
    let kind = take(rest, 1)?.get_u8();
    let len = match kind {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        6 | 7 => usize::from(take(rest, 2)?.get_u16()),
        9 => 16,
        _ => return Err(FrameError::headers("one has an unknown type")),
    };
    let mut bytes = take(rest, len)?;

    Ok(match kind {
        0 | 1 => HeaderValue::Bool(kind == 0),
        2 => HeaderValue::Byte(bytes.get_i8()),
        3 => HeaderValue::Short(bytes.get_i16()),
        4 => HeaderValue::Int(bytes.get_i32()),
        5 => HeaderValue::Long(bytes.get_i64()),
        6 => HeaderValue::Bytes(bytes),
        7 => HeaderValue::Text(text(&bytes)?),
        8 => HeaderValue::Timestamp(bytes.get_i64()),
        _ => {
            let mut uuid = [0; 16];
            bytes.copy_to_slice(&mut uuid);
            HeaderValue::Uuid(uuid)
        }
    })
}

fn write_headers(out: &mut BytesMut, headers: &[(String, HeaderValue)]) -> Result<(), FrameError> {
    for (name, value) in headers {
        let len = u8::try_from(name.len()).ok().filter(|len| *len > 0);
        let len = len.ok_or(FrameError::headers("a name is empty or too long"))?;
        out.put_u8(len);
        out.put_slice(name.as_bytes());
        write_value(out, value)?;
    }
    Ok(())
}

/// Writes the type and the value of one header.
fn write_value(out: &mut BytesMut, value: &HeaderValue) -> Result<(), FrameError> {
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
        HeaderValue::Bytes(value) => write_sized(out, 6, value)?,
        HeaderValue::Text(value) => write_sized(out, 7, value.as_bytes())?,
        HeaderValue::Timestamp(value) => {
            out.put_u8(8);
            out.put_i64(*value);
        }
        HeaderValue::Uuid(value) => {
            out.put_u8(9);
            out.put_slice(value);
        }
    }
    Ok(())
}

/// Writes a value of variable length: type, length, bytes.
fn write_sized(out: &mut BytesMut, kind: u8, bytes: &[u8]) -> Result<(), FrameError> {
    let len = i16::try_from(bytes.len()).map_err(|_| FrameError::headers("a value is too long"))?;
    out.put_u8(kind);
    out.put_i16(len);
    out.put_slice(bytes);
    Ok(())
}

impl Frame {
    /// Writes the frame.
    ///
    /// # Errors
    /// [`FrameError`], if the frame is over a limit of the format.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        let mut out =
            BytesMut::with_capacity(FRAME_MIN + 64 * self.headers.len() + self.payload.len());
        out.put_bytes(0, PRELUDE);
        write_headers(&mut out, &self.headers)?;

        let headers = out.len() - PRELUDE;
        let total = out.len() + self.payload.len() + CHECKSUM;
        let prelude = new_prelude(total, headers)?;
        out[..PRELUDE].copy_from_slice(&prelude);

        out.put_slice(&self.payload);
        let checksum = crc32fast::hash(&out);
        out.put_u32(checksum);
        Ok(out.freeze())
    }

    /// The text of the header `name`; `None` if there is no such header or the value is not text.
    pub fn text(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(n, _)| n == name);
        header.and_then(|(_, value)| match value {
            HeaderValue::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }
}

/// One frame of a `SubscribeToShard` answer, read.
#[derive(Clone, Debug)]
pub enum SubscribeEvent {
    /// The first frame: the subscription has started.
    InitialResponse,
    /// Records, or a heartbeat without records. Read the payload with
    /// [`GetRecordsAnswer::parse`](crate::hot::GetRecordsAnswer::parse).
    Event {
        /// The encoding of the payload.
        format: Format,
        /// The encoded event.
        payload: Bytes,
    },
    /// The subscription ended with an error.
    Exception(ApiError),
    /// An event of a type that this version does not know; to be ignored.
    Unknown {
        /// The header `:event-type`.
        event_type: String,
    },
}

impl SubscribeEvent {
    /// The frame of an event, as a server sends the event. `format` is the format of the request:
    /// the initial response and an exception have the same.
    pub fn to_frame(&self, format: Format) -> Frame {
        let empty = || codec::encode(format, &crate::types::SubscribeToShardResponse::default());
        let event = |event_type: &str, format: Format, payload: Bytes| {
            new_frame("event", (EVENT_TYPE, event_type), format, payload)
        };
        match self {
            Self::InitialResponse => event(INITIAL_RESPONSE, format, empty()),
            Self::Event { format, payload } => {
                event(SUBSCRIBE_TO_SHARD_EVENT, *format, payload.clone())
            }
            Self::Exception(error) => {
                let exception_type = (EXCEPTION_TYPE, error.code.as_str());
                new_frame("exception", exception_type, format, error.encode(format))
            }
            Self::Unknown { event_type } => event(event_type, format, empty()),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`FrameError::Headers`], if the headers do not name the type of the frame.
    pub fn from_frame(frame: Frame) -> Result<Self, FrameError> {
        match (frame.text(":message-type"), frame.text(EVENT_TYPE)) {
            (Some("event"), Some(INITIAL_RESPONSE)) => Ok(Self::InitialResponse),
            (Some("event"), Some(SUBSCRIBE_TO_SHARD_EVENT)) => Ok(Self::Event {
                format: codec::sniff(frame.text(":content-type"), &frame.payload),
                payload: frame.payload,
            }),
            (Some("event"), Some(event_type)) => Ok(Self::Unknown {
                event_type: event_type.to_owned(),
            }),
            (Some("exception"), _) => Ok(Self::Exception(read_exception(&frame))),
            (Some("error"), _) => Ok(Self::Exception(read_error(&frame))),
            _ => Err(FrameError::headers("they do not say what the frame is")),
        }
    }
}

/// A frame with the three headers that every frame of `SubscribeToShard` has.
fn new_frame(kind: &str, type_header: (&str, &str), format: Format, payload: Bytes) -> Frame {
    let headers = [
        type_header,
        (":content-type", format.content_type()),
        (":message-type", kind),
    ];
    Frame {
        headers: headers
            .map(|(name, value)| (name.to_owned(), HeaderValue::Text(value.to_owned())))
            .to_vec(),
        payload,
    }
}

/// An exception: an error that the API documents, with a body.
fn read_exception(frame: &Frame) -> ApiError {
    let kind = frame
        .text(EXCEPTION_TYPE)
        .or(Some(ErrorCode::InternalFailure.as_str()));
    ApiError::decode_body(0, frame.text(":content-type"), &frame.payload, kind)
}

/// An error that the API does not document: code and message are in headers.
fn read_error(frame: &Frame) -> ApiError {
    let code = frame
        .text(":error-code")
        .map_or(ErrorCode::InternalFailure, ErrorCode::from);
    let message = frame.text(":error-message").unwrap_or_default();
    ApiError {
        status: 0,
        ..ApiError::new(code, message)
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
        // Test vectors of the format: an empty frame, and a frame with the payload {'foo':'bar'}
        // and no headers.
        let empty = [
            0u8, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff,
        ];
        assert_eq!(&Frame::default().encode().unwrap()[..], &empty);

        let with_payload =
            b"\x00\x00\x00\x1d\x00\x00\x00\x00\xfd\x52\x8c\x5a{'foo':'bar'}\xc3\x65\x39\x36";
        let frame = Frame {
            headers: vec![],
            payload: Bytes::from_static(b"{'foo':'bar'}"),
        };
        assert_eq!(&frame.encode().unwrap()[..], with_payload);

        let mut decoder = Decoder::new();
        decoder.push(&empty);
        decoder.push(with_payload);
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
                "the decoder stays broken"
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
        // Valid checksums around headers that end after every possible byte.
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
        // Only the ten cuts between two headers leave valid headers.
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
