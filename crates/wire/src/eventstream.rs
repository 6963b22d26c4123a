//! `application/vnd.amazon.eventstream`: the frames in which `SubscribeToShard` answers, and the events in them.
//!
//! Format: [Amazon Event Stream specification](https://smithy.io/2.0/aws/amazon-eventstream.html): a prelude (total
//! length, headers' length, CRC-32 of both), headers, payload, CRC-32 of all before it; big-endian.

use bytes::{Bytes, BytesMut};

use crate::codec::Format;
use crate::error::ApiError;

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

/// Cuts a stream of bytes, which may arrive cut anywhere, into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what has arrived.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole frame; `None` until more arrives.
    ///
    /// # Errors
    /// [`FrameError`], after which every call gives the same.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        todo!()
    }

    /// True if the stream may end here: no part of a frame is left over.
    pub fn is_at_boundary(&self) -> bool {
        self.buffer.is_empty()
    }
}

impl Frame {
    /// Writes the frame.
    ///
    /// # Errors
    /// [`FrameError`], if it is over a limit of the format.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        todo!()
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
    /// The frame of an event, as a server sends it.
    pub fn to_frame(&self, format: Format) -> Frame {
        todo!()
    }

    /// What a frame means.
    ///
    /// # Errors
    /// [`FrameError::Headers`] if it does not say what it is.
    pub fn from_frame(frame: Frame) -> Result<Self, FrameError> {
        todo!()
    }
}
