//! Reading a body in one pass, and where the parts of the body lie.
//!
//! A [`BodyReader`] accepts the forms that real servers and clients write. Anything else, wrong or
//! only rare, is [`Unexpected`]; the caller then gives the body to the generic codec, which alone
//! decides what is an error. So a reader may refuse too much, but must never read a value that the
//! generic codec would read differently.

use serde::de::DeserializeOwned;

use super::Span;
use crate::codec::CodecError;

/// The body has a form that a [`BodyReader`] does not accept: the generic codec must read the body.
#[derive(Debug)]
pub(super) struct Unexpected;

/// A value in the expected form, or the body is left to the generic codec.
pub(super) type Expected<T> = Result<T, Unexpected>;

/// The shortest record, entry or result in bytes, in either format, with the names of the members.
/// Limits the memory that an announced length can reserve.
pub(super) const ITEM_BYTES_MIN: usize = 16;

/// Reads a body from front to back, in one format.
///
/// A text with escapes is not a slice of the body: the reader appends the text without escapes to
/// `unescaped`. The span of such a text starts after the end of the body, as if `unescaped`
/// followed the body.
pub(super) trait BodyReader<'b>: Sized {
    /// Reads an object; `member` reads the value of each name.
    fn object(&mut self, member: impl FnMut(&mut Self, &'b [u8]) -> Expected<()>) -> Expected<()>;

    /// Reads a list of objects; `item` reads each object.
    fn list<T>(&mut self, item: impl FnMut(&mut Self) -> Expected<T>) -> Expected<Vec<T>>;

    /// Reads a list of objects and counts the objects. `item` reads an object and returns the spans
    /// of two texts; following objects that differ in these two texts only are counted without
    /// calling `item`.
    fn count(&mut self, item: impl FnMut(&mut Self) -> Expected<[Span; 2]>) -> Expected<usize>;

    /// Reads a null if the next value is null; true if so.
    fn null(&mut self) -> Expected<bool>;

    /// Reads a text, checked to be UTF-8.
    fn text(&mut self, unescaped: &mut Vec<u8>) -> Expected<Span>;

    /// Reads data: a byte string, or base64 text (not checked).
    fn data(&mut self) -> Expected<Span>;

    /// Reads an integer.
    fn int(&mut self) -> Expected<i64>;

    /// Reads a boolean.
    fn boolean(&mut self) -> Expected<bool>;

    /// Reads a time in milliseconds since 1970.
    fn time_ms(&mut self) -> Expected<i64>;

    /// Skips a value of any kind.
    fn skip(&mut self) -> Expected<()>;

    /// Reads a value with the generic codec.
    fn generic<T: DeserializeOwned>(&mut self) -> Expected<T>;

    /// Checks that the body ends here.
    fn end(&mut self) -> Expected<()>;
}

/// An object with which others are compared byte by byte, except for two texts.
pub(super) struct Template<'b> {
    bytes: &'b [u8],
    /// Start and end in `bytes` of the parts before, between and after the two texts.
    fixed: [(usize, usize); 3],
}

impl<'b> Template<'b> {
    /// The object at `start..end` of the body, with the spans of two texts; `None` if the texts
    /// overlap or are not in the object.
    pub(super) fn new(body: &'b [u8], start: usize, end: usize, texts: [Span; 2]) -> Option<Self> {
        let bytes = body.get(start..end)?;
        let [mut first, mut second] = texts;
        if second.start < first.start {
            (first, second) = (second, first);
        }

        let offset = |at: u32| (at as usize).checked_sub(start);
        let fixed = [
            (0, offset(first.start)?),
            (offset(first.end)?, offset(second.start)?),
            (offset(second.end)?, bytes.len()),
        ];
        let in_order = fixed.iter().all(|(from, to)| from <= to)
            && fixed[0].1 <= fixed[1].0
            && fixed[1].1 <= fixed[2].0;
        in_order.then_some(Self { bytes, fixed })
    }

    /// Length in bytes of the object, and of every object that matches.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if `next` starts with an object that differs in the two texts only, the texts have the
    /// same lengths, and need no escapes in either format.
    pub(super) fn matches(&self, next: &[u8]) -> bool {
        let Some(next) = next.get(..self.bytes.len()) else {
            return false;
        };
        let [before, between, after] = self.fixed;
        let same = |(from, to): (usize, usize)| self.bytes[from..to] == next[from..to];

        same(before)
            && same(between)
            && same(after)
            && is_plain(&next[before.1..between.0])
            && is_plain(&next[between.1..after.0])
    }
}

/// True for printable ASCII without quotes and backslashes. A loop without early exit: the compiler
/// turns the loop into SIMD instructions.
fn is_plain(text: &[u8]) -> bool {
    !text.iter().fold(false, |odd, b| {
        odd | (*b < 0x20) | (*b >= 0x7f) | (*b == b'"') | (*b == b'\\')
    })
}

/// Reads the value of a member into `slot`; null leaves `None`. The second value of one member is
/// [`Unexpected`].
pub(super) fn read_once<'b, R: BodyReader<'b>, T>(
    reader: &mut R,
    slot: &mut Option<T>,
    read: impl FnOnce(&mut R) -> Expected<T>,
) -> Expected<()> {
    if slot.is_some() {
        return Err(Unexpected);
    }
    if !reader.null()? {
        *slot = Some(read(reader)?);
    }
    Ok(())
}

/// [`read_once`] for a text.
pub(super) fn read_text<'b, R: BodyReader<'b>>(
    reader: &mut R,
    slot: &mut Option<Span>,
    unescaped: &mut Vec<u8>,
) -> Expected<()> {
    read_once(reader, slot, |reader| reader.text(unescaped))
}

/// Appends bytes that the generic codec read to a buffer.
pub(super) fn append(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<Span, CodecError> {
    let start = buffer.len();
    buffer.extend_from_slice(bytes);
    new_span(start, buffer.len())
        .map_err(|Unexpected| CodecError::shape("the records do not fit 32 bits"))
}

/// The span `start..end`, if both fit 32 bits.
pub(super) fn new_span(start: usize, end: usize) -> Expected<Span> {
    Ok(Span {
        start: u32::try_from(start).map_err(|_| Unexpected)?,
        end: u32::try_from(end).map_err(|_| Unexpected)?,
    })
}
